"""What the figures are made of: rounds of one thing after the other, so that a noisy minute hits all of them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from domain.ports import Commit, Log, Proposed, Recorded, Stream

TIME = "2026-01-01T00:00:00.000000Z"


def proposed(number: int, type_: str, body: bytes, *, version: int = 1) -> Proposed:
    """An event that is about to be appended, with ids made from its number."""
    id_ = f"e{number:x}"
    return Proposed(type_, 1, body, id_, version, TIME, "bench", id_, "r", id_, "")


def recorded(position: int, stream: Stream, type_: str, body: bytes, *, version: int = 1) -> Recorded:
    """An event as a log holds it, for filling a log quickly."""
    event = proposed(position, type_, body, version=version)
    return Recorded(position, stream, *event)


async def appends(log: Log, count: int, writers: int) -> tuple[float, list[float]]:
    """(events per second, latencies) of one-event commits of 256 bytes, each on a stream of its own."""
    body = json.dumps({"text": "x" * 240}).encode()
    run = uuid4().hex[:10]
    left = iter(range(count))
    latencies: list[float] = []

    async def writer() -> None:
        for number in left:
            stream = Stream("bench", "-", "note", f"{run}-{number}")
            began = time.perf_counter()
            await log.append([Commit(stream, 0, (proposed(number, "NoteTaken", body),))])
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(writer() for _ in range(writers)))
    return count / (time.perf_counter() - began), latencies


def load_process(url: str, requests: Sequence[Sequence[tuple[str, str, str]]]) -> dict[str, Any]:
    """Runs the lean load as a process of its own: one client per list of (method, path, body)."""
    host, port = url.removeprefix("http://").split(":")
    asked = json.dumps({"host": host, "port": int(port), "requests": [list(mine) for mine in requests]})
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"], input=asked, capture_output=True, text=True, check=True,
        timeout=600, cwd=Path(__file__).parents[2],
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told
