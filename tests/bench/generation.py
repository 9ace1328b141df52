"""Figures of jobs: what they cost beside their engine, how many go through, and what a long queue does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from domain.ids import UNBRANCHED
from domain.ports import Stream
from domain.studio.job_values import Request, Step
from projections.studio.job_queue import QUEUE
from services.bootstrap import open_everything
from services.generation.requesting import requested
from services.settings import Settings
from services.studio import Asker, Studio
from tests.bench.figures import Figure, median, milliseconds, percentile, rate

PROJECT = "bench"


def job_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """Overhead over an engine that takes no time, throughput with two workers, and a queue of 10,000."""
    with _served(folder) as data:
        yield from asyncio.run(_measured(data, quick))


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[Path]:
    """A real server without a worker of its own, so that only the workers measured here count."""
    command = [sys.executable, "-m", "gateways.cli", "serve", "--data", str(folder), "--port", "0", "--json",
               "--no-worker"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        json.loads(process.stdout.readline())
        yield folder
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def _workers(data: Path, count: int) -> Iterator[list[int]]:
    """So many workers, ready; their process ids."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", "tests"])}
    command = [sys.executable, "-m", "tests.engines.working_child", str(data)]
    running = [
        subprocess.Popen([*command, "=" if number else "-", "6"], stdout=subprocess.PIPE, text=True, env=environment)
        for number in range(count)
    ]
    try:
        for one in running:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        yield [one.pid for one in running]
    finally:
        for one in running:
            one.terminate()
        for one in running:
            one.wait(30)


async def _measured(data: Path, quick: bool) -> list[Figure]:
    settings = Settings.load(data=data, log_level="error")
    async with open_everything(settings, projecting=False) as opened:
        studio = opened.studio
        figures = [await _overhead(studio, data, 20 if quick else 100)]
        figures.append(await _throughput(studio, data, 200))
        figures += await _long_queue(studio, data, 1_000 if quick else 10_000)
        return figures


async def _ask(studio: Studio, number: int) -> str:
    request = Request(
        preset="bench", preset_digest="d", name=f"n{number}", inputs={}, quality="standard", seed=number,
        owner="author", account=None, priority=5, deadline=None, consent=None, retry_of=None, root="",
    )
    step = Step(id="only", operation="text_to_image", engine="noop", model="", parameters={"seed": number}, inputs={},
                output="line", paid=False, finds_attempts=False, estimate=0)
    return (await requested(studio, Asker("author"), request, (step,), project=PROJECT)).id


async def _events(studio: Studio, id_: str) -> list[Any]:
    return await studio.log.read_stream(Stream(PROJECT, UNBRANCHED, "job", id_))


async def _completed(studio: Studio, id_: str) -> None:
    while True:
        last = await studio.log.last(Stream(PROJECT, UNBRANCHED, "job", id_))
        if last is not None and last.type == "JobCompleted":
            return
        await asyncio.sleep(0.001)


async def _overhead(studio: Studio, data: Path, rounds: int) -> Figure:
    took = []
    with _workers(data, 1):
        await _completed(studio, await _ask(studio, 0))
        for number in range(rounds):
            began = time.perf_counter()
            await _completed(studio, await _ask(studio, number))
            took.append(time.perf_counter() - began)
    return Figure(
        "our overhead per job, submit to completed, durable", f"p50 {milliseconds(median(took))}",
        f"p95 {milliseconds(percentile(took, 0.95))}", "p50 at most 60 ms", median(took) <= 0.060,
        "an engine that takes no time; seven commits, one file stored and registered",
    )


async def _throughput(studio: Studio, data: Path, count: int) -> Figure:
    ids = [await _ask(studio, number) for number in range(count)]
    with _workers(data, 2):
        for id_ in ids:
            await _completed(studio, id_)
    begun, ended, workers = [], [], set()
    for id_ in ids:
        events = await _events(studio, id_)
        begun.append(next(datetime.fromisoformat(one.time) for one in events if one.type == "JobTaken"))
        ended.append(datetime.fromisoformat(events[-1].time))
        workers |= {one.actor for one in events if one.type == "JobTaken"}
    seconds = (max(ended) - min(begun)).total_seconds()
    return Figure(
        f"{count} queued jobs, {len(workers)} workers", rate(count / seconds, "jobs"), "ComfyUI alone: 37 jobs/s",
        "at least 25 jobs/s", count / seconds >= 25,
    )


async def _long_queue(studio: Studio, data: Path, count: int) -> list[Figure]:
    tenth = count // 10
    rates, ids = [], []
    for part in range(10):
        began = time.perf_counter()
        for first in range(0, tenth, 32):
            ids += await asyncio.gather(
                *(_ask(studio, part * tenth + n) for n in range(first, min(first + 32, tenth)))
            )
        rates.append(tenth / (time.perf_counter() - began))
    head = await studio.log.head()
    with _workers(data, 1) as (pid,):
        await _counted(studio, head)
        first_memory = _resident(pid)
        await asyncio.gather(*(_completed(studio, id_) for id_ in ids[:1]))
        early = min(200, count // 5)
        await _completed(studio, ids[early])
        last_memory = _resident(pid)
        order = await _taken(studio, ids[:early])
    with studio.models.reader() as reader:
        waiting = reader.count(QUEUE.name)
    with _workers(data, 2):
        for id_ in ids:
            await _completed(studio, id_)
    return [
        Figure(f"submitting {count:,} jobs", f"last tenth {rate(rates[-1], 'jobs')}",
               f"first tenth {rate(rates[0], 'jobs')}", "flat: at least 0.7 ×", rates[-1] >= 0.7 * rates[0]),
        Figure(f"a worker's memory, {count:,} queued", f"{last_memory / 2**20:.0f} MiB",
               f"before its first job {first_memory / 2**20:.0f} MiB", "flat: at most 64 MiB more",
               last_memory - first_memory <= 64 * 2**20),
        Figure("order of the queue, and what a restart finds",
               f"{'in order' if order else 'OUT OF ORDER'}, {waiting:,} waiting found, all {count:,} done", "",
               "in order, all", order and 0 < waiting < count),
    ]


async def _counted(studio: Studio, position: int) -> None:
    while True:
        known = await asyncio.to_thread(studio.models.checkpoints)
        if "job_queue" in known and known["job_queue"].position >= position:
            return
        await asyncio.sleep(0.05)


async def _taken(studio: Studio, ids: list[str]) -> bool:
    """Whether jobs were taken in the order in which they were recorded, but for those under way together."""
    places = []
    for id_ in ids:
        events = await _events(studio, id_)
        places.append((events[0].position, next((one.position for one in events if one.type == "JobTaken"), 0)))
    taken = [second for _, second in sorted(places) if second]
    return all(later > earlier for earlier, later in zip(taken, taken[16:], strict=False))


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
