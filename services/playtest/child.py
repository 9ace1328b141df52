"""The playing process: reads one order, tells how far it is, answers with the report and, where asked for, its page.

Playing every path keeps a core busy for as long as it takes, so it never happens in the process that serves. Frames on
standard output: a kind (one letter), a length (8 bytes) and so many bytes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from domain.errors import ComfyVNError, Invalid, Remedy, Unavailable
from domain.story.play import Story, story
from domain.story.playtest import comparing, golden
from domain.story.playtest.asking import Wanted
from domain.story.playtest.exploring import Bounds
from domain.story.playtest.reporting import playtested
from domain.story.playtest.trace import trace
from services.media.child import limit
from services.playtest.page import page

PAUSE_SECONDS: Final = 0.1
"""Between two words about how far it is."""

GOLDEN_STEPS: Final = 5_000
"""Most steps of a recorded random play."""


def wanted_of(told: Mapping[str, Any]) -> Wanted:
    """What is asked, from JSON."""
    return Wanted(**{**told, "povs": tuple(told.get("povs", ())), "bounds": Bounds(**told.get("bounds", {}))})


class _Talk:
    """Frames out, and progress no more often than anybody can look."""

    def __init__(self) -> None:
        self._last = 0.0

    def frame(self, kind: bytes, data: bytes) -> None:
        sys.stdout.buffer.write(kind + len(data).to_bytes(8, "big") + data)
        sys.stdout.buffer.flush()

    def tell(self, stage: str, done: int, most: int) -> None:
        now = time.monotonic()
        if now - self._last >= PAUSE_SECONDS:
            self._last = now
            self.frame(b"p", json.dumps([stage, done, most]).encode())


def _timed(made: Story, wanted: Wanted, talk: _Talk) -> dict[str, Any]:
    began = mark = time.perf_counter()
    playing = 0.0

    def tell(stage: str, done: int, most: int) -> None:
        nonlocal mark, playing
        now = time.perf_counter()
        if stage.startswith("playing"):
            playing += now - mark
        mark = now
        talk.tell(stage, done, most)

    report = playtested(made, wanted, tell)
    seconds = time.perf_counter() - began
    done = sum(view.get("states", view.get("steps", 0)) for view in report["views"])
    report["timing"] = {
        "seconds": round(seconds, 3), "playing_seconds": round(playing, 3),
        "per_second": round(done / playing) if playing else None,
        "of": "states" if wanted.mode == "exhaustive" else "steps", "peak_bytes": _peak(),
    }
    return report


def _peak() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def report(order: Mapping[str, Any], talk: _Talk) -> None:
    """A report, beside that of another version of the story where one is given."""
    wanted = wanted_of(order["wanted"])
    made = story(order["content"])
    found = _timed(made, wanted, talk)
    other = order.get("against")
    if other is not None:
        before = story(other)
        old = _timed(before, wanted, talk)
        found["comparison"] = comparing.compared(before, old, made, found)
    if order.get("page"):
        talk.tell("drawing the page", 0, 0)
        talk.frame(b"h", page(made, found).encode())
    shown = found
    if not order.get("tables", True):
        views = [{name: rows for name, rows in view.items() if name not in ("nodes", "choices", "conditions")}
                 for view in found["views"]]
        shown = {**found, "views": views}
    talk.frame(b"r", json.dumps(shown, separators=(",", ":")).encode())


def golden_plays(order: Mapping[str, Any], talk: _Talk) -> None:
    """Golden plays compared with today's, and those that would be recorded today and are not there."""
    wanted = wanted_of(order["wanted"])
    made = story(order["content"])
    results = []
    for number, (source, told) in enumerate(order["recorded"].items()):
        talk.tell("playing golden plays", number, len(order["recorded"]))
        results.append({**golden.compared(made, golden.read(told, source)), "file": source})
    names = {one["name"] for one in results}
    fresh = [one for one in _today(made, wanted, talk) if one["name"] not in names]
    talk.frame(b"r", json.dumps({"results": results, "new": fresh}).encode())


def _today(made: Story, wanted: Wanted, talk: _Talk) -> list[dict[str, Any]]:
    """Every ending by a shortest way, and some random plays, for every point of view."""
    found = playtested(made, wanted._replace(mode="exhaustive", seed=None), talk.tell)
    plays = []
    for view in found["views"]:
        if not view["playable"]:
            continue
        pov = view["pov"]
        for ending in view["endings"]:
            path = ending["path"]
            if path is not None and path["choices"] is not None:
                name = f"{made.id} {pov} ending {ending['scene']}/{ending['node']}"
                plays.append(golden.golden(made, name, pov, path["seed"] or 0, path["choices"],
                                           dice=path["seed"] is not None, variables=wanted.variables))
        base = made.seed if wanted.seed is None else wanted.seed
        for seed, decisions in golden.at_random(made, pov, base, wanted.plays, GOLDEN_STEPS, wanted.variables):
            plays.append(golden.golden(made, f"{made.id} {pov} seed {seed}", pov, seed, decisions, dice=True,
                                       variables=wanted.variables, steps=GOLDEN_STEPS))
    return plays


def traced(order: Mapping[str, Any], talk: _Talk) -> None:
    """One play by the dice."""
    found = trace(order["scene"], seed=order["seed"], pov=order["pov"], variables=order["variables"],
                  steps=order["steps"], choices=tuple(order["choices"]))
    talk.frame(b"r", json.dumps(found, separators=(",", ":")).encode())


TASKS: Final = {"report": report, "golden": golden_plays, "trace": traced}


def main() -> None:
    """Does what the order says; whatever goes wrong becomes a frame of its own."""
    limit(int(sys.argv[1]))
    talk = _Talk()
    try:
        order = json.load(sys.stdin.buffer)
        TASKS[order["task"]](order, talk)
    except ComfyVNError as error:
        _failed(talk, error)
    except (MemoryError, RecursionError):
        _failed(talk, Unavailable(
            "The playtest needs more memory than it may have.", error="playtest_too_large",
            remediation=[Remedy("Lower max_states, or play fewer points of view at once.", "lower_bounds")],
        ))


def _failed(talk: _Talk, error: ComfyVNError) -> None:
    kind = next(one.__name__ for one in type(error).__mro__ if one.__module__ == Invalid.__module__)
    talk.frame(b"e", json.dumps({
        "kind": kind, "error": error.code, "message": error.message, "detail": error.detail,
        "remediation": [list(remedy) for remedy in error.remediation],
    }).encode())


if __name__ == "__main__":
    main()
