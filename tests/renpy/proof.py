"""One exported game against the studio: lint must be clean, and every path be met in the engine as in the studio."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from domain.story import play
from tests.renpy.engine import OVERLAY, Engine
from tests.renpy.meeting import Difference, difference, met_in_engine, met_in_studio
from tests.renpy.paths import Path as Path_
from tests.renpy.paths import paths_of

MOMENTS: Final = 40
"""Longest play in moments: what loops is stopped there on both sides."""

PATIENCE_SECONDS: Final = 600
"""How long an engine may take besides ten seconds for each play: a machine that is busy is no difference."""

SHOWN: Final = 3
"""Most differences that one game reports: the first ones tell what is wrong."""


@dataclass(frozen=True, slots=True)
class Route:
    """A way through a game: a story from one point of view. ``first`` are the choices before it begins, by what their
    menus are given: ``{"pov": …}``, ``{"world": …}``; a game that does not ask goes on without."""

    content: Mapping[str, Any]
    pov: str
    first: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was proved of one game. ``whole``: no route had more paths than were played; ``again`` is the
    command that does it again."""

    name: str
    paths: int = 0
    moments: int = 0
    whole: bool = True
    seconds: float = 0
    troubles: tuple[str, ...] = ()
    again: str = ""


@dataclass(slots=True)
class Plays:
    """What shall be played: plans for the engine, and for each what the studio says of it."""

    plans: list[dict[str, Any]] = field(default_factory=list)
    told: list[tuple[Route, int, tuple[int, ...], list[dict[str, Any]], bool]] = field(default_factory=list)
    whole: bool = True


def plays_of(routes: Sequence[Route], seeds: Sequence[int], *, most: int, moments: int = MOMENTS) -> Plays:
    """Every path of every route for every seed, at most ``most`` for each."""
    plays = Plays()
    for route in routes:
        story = play.story(route.content)
        for seed in seeds:
            found = paths_of(story, route.pov, seed, moments=moments, most=most)
            plays.whole &= found.whole
            for path in found.paths:
                steps = [
                    met_in_studio(step, dice, route.content) for step, dice in zip(path.steps, path.dice, strict=True)
                ]
                plays.plans.append({"first": [*route.first], "set": {"vn_seed": seed}, "picks": list(path.picks)})
                plays.told.append((route, seed, path.picks, steps, path.cut))
            _going_back(plays, found.paths)
    return plays


def _going_back(plays: Plays, paths: Sequence[Path_]) -> None:
    """One more play of the path with the most menus: it is saved on the way and loaded after its end, and rolled back
    once; all the same it must be met as if nobody had gone back."""
    number, longest = max(enumerate(paths), key=lambda one: len(one[1].picks))
    menus = len(longest.picks)
    if menus < 3:
        return
    plays.plans.append({
        **plays.plans[number - len(paths)], "save": menus // 2, "back": menus - 1,
        "checkpoints": 1 + menus % (menus - 2),
    })
    plays.told.append(plays.told[number - len(paths)])


def prove(
    engine: Engine, name: str, game: Path, plays: Plays, *, moments: int = MOMENTS, keep: Path | None = None,
    again: str = "",
) -> Verdict:
    """Lints a copy of the game, plays every plan in it, and compares. The game itself is not touched; where it differs
    it is left in ``keep``."""
    began = time.monotonic()
    copy = engine.scratch / "game"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(game, copy)
    lint = engine.run(copy, "lint", "--error-code")
    troubles = [f"lint --error-code ended with {lint.code}:\n{indented(lint.output)}"] if lint.code else []
    paths, compared_, more = judged(engine, copy, plays, moments=moments)
    troubles += more
    if troubles and keep is not None:
        left = keep / name.replace(" ", "-")
        shutil.rmtree(left, ignore_errors=True)
        shutil.copytree(game, left)
    seconds = time.monotonic() - began
    return Verdict(name, paths, compared_, plays.whole, seconds, tuple(troubles), again)


def judged(
    engine: Engine, copy: Path, plays: Plays, *, moments: int = MOMENTS, sound: bool = False
) -> tuple[int, int, list[str]]:
    """Plays every plan and compares: paths played, moments compared, and what differs."""
    steps, troubles = played(engine, copy, plays.plans, moments=moments, sound=sound)
    moments_compared = 0
    differences = 0
    for number, (route, seed, picks, studio, cut) in enumerate(plays.told):
        if number not in steps:
            continue
        line = steps[number]
        found = compared(studio, line, route.content, cut) or _went_back(plays.plans[number], line)
        moments_compared += len(studio)
        if found is not None:
            differences += 1
            if differences <= SHOWN:
                troubles.append(f"point of view {route.pov!r}, seed {seed}, picks {list(picks)}, {found}")
    if differences > SHOWN:
        troubles.append(f"and {differences - SHOWN} more paths that differ")
    if len(steps) < len(plays.plans):
        troubles.append(f"{len(plays.plans) - len(steps)} of {len(plays.plans)} paths were not played to their end")
    return len(steps), moments_compared, troubles


def _went_back(plan: Mapping[str, Any], line: Mapping[str, Any]) -> str | None:
    """What is wrong with saving, loading and rolling back, where the plan asks for it."""
    if line["problems"]:
        return "; ".join(line["problems"])
    if "save" in plan and not line["returns"]:
        return "neither loading nor rolling back went anywhere"
    return None


def played(
    engine: Engine, copy: Path, plans: list[dict[str, Any]], *, moments: int = MOMENTS, sound: bool = False
) -> tuple[dict[int, dict[str, Any]], list[str]]:
    """Plays all plans in one engine: what was written down by the plan's number, and what went wrong. With ``sound``
    its files are opened and played, to a device that nobody hears."""
    shutil.copy(OVERLAY, copy / "game" / OVERLAY.name)
    told, out = engine.scratch / "plans.json", engine.scratch / "played.jsonl"
    out.unlink(missing_ok=True)
    told.write_text(json.dumps({"out": str(out), "moments": moments, "plans": plans}))
    done = engine.run(
        copy, "run", video="offscreen",
        environment={"COMFYVN_PROOF": str(told), **({"RENPY_DISABLE_SOUND": ""} if sound else {})},
        timeout_seconds=PATIENCE_SECONDS + 10 * len(plans),
    )
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    steps = {line["plan"]: line for line in lines if "plan" in line}
    troubles = [f"the game failed:\n{indented(line['exception'])}" for line in lines if "exception" in line]
    if done.code and not troubles:
        troubles.append(f"the engine ended with {done.code}:\n{indented(done.output)}")
    return steps, troubles


def compared(
    studio: list[dict[str, Any]], line: Mapping[str, Any], content: Mapping[str, Any], cut: bool
) -> Difference | None:
    """The first difference between what the studio tells of a path and what the overlay wrote down."""
    wanted, end = "cut" if cut else "ended", line["end"]
    last = len(line["steps"]) - 1
    engine = [
        met_in_engine(step, end if number == last else "", content) for number, step in enumerate(line["steps"])
    ]
    found = difference(studio, engine)
    if found is None and end != wanted:
        return Difference(len(studio), "end", wanted, end)
    return found


def indented(text: str) -> str:
    """The first lines of what an engine said, below what is told of it."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return "\n".join("      " + line[:300] for line in lines[:30])
