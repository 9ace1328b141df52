"""Figures of comparing and merging worldlines, over HTTP on a real `comfyvn serve`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx

from tests.bench.doors import served
from tests.bench.figures import Figure, median, milliseconds
from tests.bench.rounds import load_process
from tests.bench.story import scene

BATCH = 250


def merging_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """A diff of two worldlines with 20 changed scenes among few and among many; a merge of 200; the graph."""
    small, large = 500, 2_000 if quick else 10_000
    with served(folder) as (url, _), httpx.Client(base_url=url, timeout=600) as client:
        for project, scenes in (("small", small), ("large", large)):
            _written(client, project, scenes)
            _fork(client, project, "w")
            _edited(url, project, "w", range(20))
            _edited(url, project, "main", range(20, 30))
        few, many = [], []
        for _ in range(5 if quick else 20):
            few.append(_timed(client, "small", "/api/pov/diff", {"source": "main", "target": "w"}))
            many.append(_timed(client, "large", "/api/pov/diff", {"source": "main", "target": "w"}))
        merged, raced = [], []
        for number in range(2 if quick else 3):
            name = f"m{number}"
            _fork(client, "small", name)
            _edited(url, "small", name, range(200), f"Line of {name}.")
            raced.append(_timed(client, "small", "/api/pov/merge", {"source": name, "apply": False}))
            merged.append(_timed(client, "small", "/api/pov/merge", {"source": name}))
        events = client.get("/api/log", params={"project": "small", "type": "WorldlineMerged"}).json()["items"]
        _written(client, "graph", 50)
        for number in range(8):
            _fork(client, "graph", f"g{number}")
            _edited(url, "graph", f"g{number}", range(number, number + 5))
        graph = [_timed(client, "graph", "/api/diffmerge/worldlines/graph", {}) for _ in range(3)]
        _fork(client, "large", "late")
        _edited(url, "large", "late", range(20))
        late = _timed(client, "large", "/api/pov/merge", {"source": "late"})
    slow, quick_ = median(many), median(few)
    return [
        Figure(f"diff of two worldlines of {large:,} scenes, 20 changed", f"p50 {milliseconds(slow)}",
               f"the same of {small:,} scenes p50 {milliseconds(quick_)}", "follows the 20: at most 1.5 times + 5 ms",
               slow <= 1.5 * quick_ + 0.005, "POST /api/pov/diff; 10 more were changed on the other side"),
        Figure("merge of 200 changed scenes", f"p50 {milliseconds(median(merged))}",
               f"its preview p50 {milliseconds(median(raced))}", "one atomic batch, under 1 s",
               median(merged) < 1.0 and len(events) == len(merged),
               f"worked out, validated, played, appended; every scene's variables change; project of {small:,} scenes"),
        Figure(f"merge of 20 changed scenes into {large:,}", milliseconds(late), "", "", None, "one, not repeated"),
        Figure("graph of 9 worldlines of 1,000 nodes", f"p50 {milliseconds(median(graph))}", "", "under 1 s",
               median(graph) < 1.0, "with what could be fast-forwarded"),
    ]


def _written(client: httpx.Client, project: str, scenes: int) -> None:
    for start in range(0, scenes, BATCH):
        asks = [{"command": "CreateScene", **scene(f"s{number}")} for number in
                range(start, min(start + BATCH, scenes))]
        answer = client.post("/api/commands", params={"project": project}, json={"commands": asks})
        answer.raise_for_status()
    position = answer.json()["position"]
    deadline = time.monotonic() + 600
    while client.get("/api/scenes/s0", params={"project": project, "min_position": position}).status_code != 200:
        assert time.monotonic() < deadline, "the read side did not catch up"
        time.sleep(0.2)


def _fork(client: httpx.Client, project: str, name: str) -> None:
    client.post("/api/pov/worlds", params={"project": project}, json={"worldline_id": name}).raise_for_status()


def _edited(url: str, project: str, line: str, numbers: Iterable[int], text: str = "Another line.") -> None:
    path = f"/api/commands/EditNode?project={project}&worldline={line}"
    requests = [
        ("POST", path, json.dumps({
            "scene_id": f"s{number}", "node_id": "n1", "text": f"{text} {line}",
            "actions": [{"type": "set", "key": "line", "value": line}],
        }))
        for number in numbers
    ]
    told = load_process(url, [requests[start::8] for start in range(8) if requests[start::8]])
    assert set(told["statuses"]) == {"200"}, told["statuses"]


def _timed(client: httpx.Client, project: str, path: str, body: dict[str, Any]) -> float:
    began = time.perf_counter()
    client.post(path, params={"project": project}, json=body).raise_for_status()
    return time.perf_counter() - began
