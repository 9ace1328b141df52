"""How quickly a story goes on by itself, beside the continue rate of inkjs on the equivalent ink story."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from domain.story.play import Station, Story, begun, run, story
from tests.bench.figures import Figure, median, rate

NODES: Final = 500

PEER: Final = "inkjs"

ROUND_STEPS: Final = 40_000
PEER_STEPS: Final = 4_000


def playing_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """Automatic steps per second of the runner alone, in rounds that alternate with the peer's."""
    told = looping_story()
    rounds = 5 if quick else 15
    ours, kept, theirs = [], [], []
    with peer(folder) as (continued, why_not):
        for _ in range(rounds):
            ours.append(steps_per_second(told, ROUND_STEPS, keep=False))
            kept.append(steps_per_second(told, ROUND_STEPS, keep=True))
            if continued is not None:
                theirs.append(continued(PEER_STEPS))
    beside = f"{PEER}: {rate(median(theirs), 'lines')}" if theirs else f"{PEER} did not run: {why_not}"
    how = f"{NODES} nodes: lines, counters, conditions and weighted draws; one step is one line"
    yield Figure(
        "automatic steps, runner alone", rate(median(ours), "steps"), beside, f"at least {PEER}, same run",
        median(ours) >= median(theirs) if theirs else None, how,
    )
    yield Figure(
        "automatic steps, every moment kept", rate(median(kept), "steps"), beside, f"at least {PEER}, same run",
        median(kept) >= median(theirs) if theirs else None, "as a playthrough and a playtest need them",
    )


def steps_per_second(told: Story, steps: int, *, keep: bool) -> float:
    """Of one round from the beginning."""
    met: list[Station] | None = [] if keep else None
    at = begun(told, seed=7)
    began = time.perf_counter()
    run(told, at, steps, met)
    seconds = time.perf_counter() - began
    assert met is None or len(met) == steps
    return steps / seconds


def looping_story() -> Story:
    """A story without menus and without an end: every tenth node counts, every fifth draws, every seventh asks a
    variable."""
    nodes = [_node(number) for number in range(NODES)]
    scene = {"id": "loop", "start": "n0", "nodes": nodes}
    return story({
        "id": "loop", "entries": [{"id": "loop", "scene": "loop"}], "scenes": {"loop": scene},
        "variables": {"count": 0},
    })


def _next(number: int, ahead: int) -> str:
    return f"n{(number + ahead) % NODES}"


def _node(number: int) -> dict[str, Any]:
    node: dict[str, Any] = {"id": f"n{number}", "text": f"Line {number} of the story."}
    if number % 10 == 0:
        node["actions"] = [{"type": "increment", "key": "count"}]
    if number % 5 == 4:
        node["type"] = "chance"
        node["choices"] = [
            {"id": f"w{weight}", "target": _next(number, weight), "weight": weight} for weight in (1, 2, 3)
        ]
    elif number % 7 == 3:
        node["type"] = "chance"
        node["choices"] = [
            {"id": "few", "target": _next(number, 1), "conditions": [
                {"key": "count", "operator": "lt", "value": 1000}]},
            {"id": "many", "target": _next(number, 2), "conditions": [
                {"key": "count", "operator": "gte", "value": 1000}]},
        ]
    else:
        node["choices"] = [{"target": _next(number, 1)}]
    return node


def ink() -> str:
    """The same story in ink: a knot for a node, a divert for a choice."""
    lines = ["VAR count = 0", "VAR roll = 0", "-> n0"]
    for number in range(NODES):
        lines.append(f"=== n{number} ===")
        if number % 10 == 0:
            lines.append("~ count = count + 1")
        lines.append(f"Line {number} of the story.")
        if number % 5 == 4:
            lines += [
                "~ roll = RANDOM(1, 6)", "{", f"- roll <= 1: -> {_next(number, 1)}",
                f"- roll <= 3: -> {_next(number, 2)}", f"- else: -> {_next(number, 3)}", "}",
            ]
        elif number % 7 == 3:
            lines += [
                "{", f"- count < 1000: -> {_next(number, 1)}", f"- else: -> {_next(number, 2)}", "}",
            ]
        else:
            lines.append(f"-> {_next(number, 1)}")
    return "\n".join(lines) + "\n"


SCRIPT: Final = """
const fs = require("fs"), readline = require("readline");
const {Compiler} = require("inkjs/full");
const story = new Compiler(fs.readFileSync("story.ink", "utf8")).Compile();
story.state.storySeed = 7;
console.log("ready");
readline.createInterface({input: process.stdin}).on("line", text => {
  const steps = Number(text), began = process.hrtime.bigint();
  let size = 0;
  for (let step = 0; step < steps; step++) size += story.Continue().length;
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  console.log(JSON.stringify({steps, seconds, size}));
});
"""


@contextmanager
def peer(folder: Path) -> Iterator[tuple[Any, str]]:
    """The peer as a process that waits for its rounds, or nothing and why it is missing."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        yield None, f"{'npm' if npm is None else 'node'} is not installed here"
        return
    (folder / "story.ink").write_text(ink())
    (folder / "play.js").write_text(SCRIPT)
    (folder / "package.json").write_text("{}")
    try:
        got = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", PEER], cwd=folder, capture_output=True, text=True, timeout=180,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield None, "npm did not install it within three minutes"
        return
    if got.returncode != 0:
        yield None, f"npm could not install it: {(got.stderr or got.stdout).strip().splitlines()[-1][:200]}"
        return
    running = subprocess.Popen(
        [node, "play.js"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert running.stdin is not None
    assert running.stdout is not None
    into, out = running.stdin, running.stdout
    try:
        if out.readline().strip() != "ready":
            yield None, "it could not read the story"
            return

        def continued(steps: int) -> float:
            into.write(f"{steps}\n")
            told = json.loads(out.readline())
            assert told["size"] > steps, "it said something at every step"
            return steps / float(told["seconds"])

        continued(PEER_STEPS)  # its first round is compiled while it runs
        yield continued, ""
    finally:
        into.close()
        running.wait(30)
