"""Figures of stories: a whole project read as of a position, through the door of a real `comfyvn serve`."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable
from pathlib import Path

import httpx

from tests.bench.doors import ask, served
from tests.bench.figures import Figure, median, milliseconds, percentile
from tests.bench.rounds import load_process
from tests.bench.story import NODES, scene

LIMIT_SECONDS = 0.3
SCENES = 1_000


def story_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """Every document of a project of 1,000 scenes: now, at random positions of its past, and on a fork."""
    dice = random.Random(11)
    edits = 1_000 if quick else 10_000
    with served(folder) as (url, _):
        made = [("POST", "/api/scenes?project=bench", json.dumps(scene(f"s{number}"))) for number in range(SCENES)]
        load_process(url, [made[start::16] for start in range(16)])
        first = httpx.get(f"{url}/api/log?project=bench&limit=1", timeout=60).json()["items"][0]["position"]
        changed = [_edit(dice, number) for number in range(edits)]
        load_process(url, [changed[start::16] for start in range(16)])
        told = ask(url, "/api/pov/worlds?project=bench", worldline_id="storm")
        _, path, body = _edit(dice, edits)
        httpx.post(f"{url}{path}&worldline=storm", content=body, headers={"content-type": "application/json"},
                   timeout=60).raise_for_status()
        head = told["position"]
        times: dict[str, list[float]] = {"now": [], "past": [], "fork": []}
        size = 0
        with httpx.Client(base_url=url, timeout=120) as client:
            for _ in range(7 if quick else 25):
                size = _timed(client, times["now"], min_position=head)
                _timed(client, times["past"], as_of=dice.randrange(first + SCENES, head))
                _timed(client, times["fork"], worldline="storm")
    how = f"{SCENES * NODES:,} nodes, {size / 2**20:.1f} MiB of JSON in one answer, {edits:,} edits in the log"
    names = {"now": "now", "past": "as of a random position", "fork": "on a fork"}
    return [
        Figure(
            f"as-of read of a whole {SCENES:,}-scene project, {names[name]}",
            f"p50 {milliseconds(median(taken))}, p90 {milliseconds(percentile(taken, 0.9))}", "",
            f"p50 under {milliseconds(LIMIT_SECONDS)}", median(taken) < LIMIT_SECONDS, how,
        )
        for name, taken in times.items()
    ]


def _edit(dice: random.Random, number: int) -> tuple[str, str, str]:
    body = {"scene_id": f"s{dice.randrange(SCENES)}", "node_id": f"n{dice.randrange(NODES - 1)}",
            "text": f"Line {number}, as it was written again."}
    return "POST", "/api/commands/EditNode?project=bench", json.dumps(body)


def _timed(client: httpx.Client, taken: list[float], **query: int | str) -> int:
    began = time.perf_counter()
    answer = client.get("/api/project/document", params={"project": "bench", **query})
    taken.append(time.perf_counter() - began)
    told = answer.raise_for_status().json()
    assert len(told["documents"]["scene"]) == SCENES, told["counts"]
    assert told["next"] is None
    return len(answer.content)
