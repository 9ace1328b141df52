"""Figures of playing every path: states a second and memory, on a story of 2,000 nodes and 30 flags."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from services.playtest.running import Playtests
from tests.bench.figures import Figure, rate

BOUND = 1_000_000
"""States for one point of view, as in the console."""


def story(nodes: int, flags: int, reach: int, seed: int = 1) -> dict[str, Any]:
    """A scene of many nodes in which flags are set, and asked for at most ``reach`` nodes later."""
    chance = random.Random(seed)
    each = max(1, nodes // flags)
    written: list[dict[str, Any]] = []
    for number in range(nodes - 1):
        choices = [{"id": "on", "label": "On", "target": f"n{number + 1}"}]
        if chance.random() < 0.45:
            choices.append(_other(number, nodes, flags, each, reach, chance))
        written.append({"id": f"n{number}", "text": "Some words that are read on the way.", "choices": choices})
    written.append({"id": f"n{nodes - 1}", "text": "The end.", "end": True})
    scene = {"id": "s", "start": "n0", "nodes": written}
    return {"id": "bench", "entries": [{"id": "e", "scene": "s"}], "scenes": {"s": scene}, "variables": {}}


def _other(number: int, nodes: int, flags: int, each: int, reach: int, chance: random.Random) -> dict[str, Any]:
    target = f"n{min(nodes - 1, number + chance.randrange(1, 6))}"
    choice: dict[str, Any] = {"id": "or", "label": "Or", "target": target}
    if chance.random() < 0.4:
        flag = f"f{min(flags - 1, number // each)}"
        choice["actions"] = [{"type": "set", "key": flag, "value": True}]
    elif chance.random() < 0.6:
        back = max(0, number - chance.randrange(1, reach))
        choice["conditions"] = [{"key": f"f{min(flags - 1, back // each)}", "operator": "eq", "value": True}]
    return choice


def playtest_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """Flags that are asked for some chapters later, and flags that are asked for anywhere."""
    bound = BOUND // 5 if quick else BOUND
    for name, reach in (("flags asked for up to 400 nodes later", 400), ("flags asked for anywhere later", 2_000)):
        report = _played(story(2_000, 30, reach), bound)
        (view,), timing = report["views"], report["timing"]
        reached = f"stopped at the bound, {view['frontier']:,} states open" if view["bounds_reached"] else "every path"
        nodes = view["coverage"]["nodes"]
        yield Figure(
            f"exhaustive playtest, 2,000 nodes and 30 flags: {name}",
            f"{view['states']:,} states in {timing['playing_seconds']:.1f} s, {rate(timing['per_second'], 'states')}",
            f"bound {bound:,} states; peak {timing['peak_bytes'] / 2**20:,.0f} MiB",
            "finishes within the bound of states and 1 GiB",
            view["states"] <= bound and timing["peak_bytes"] < 2**30,
            f"{reached}; {nodes['met']:,} of {nodes['total']:,} nodes met; with the report {timing['seconds']:.1f} s",
        )


def _played(content: dict[str, Any], bound: int) -> dict[str, Any]:
    wanted = {"bounds": {"states": bound, "transitions": 10 * bound}}
    done = asyncio.run(Playtests(seconds=None).run({"task": "report", "content": content, "wanted": wanted}))
    report: dict[str, Any] = orjson.loads(done.report)
    return report
