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
from secrets import token_hex
from typing import Any

from domain.ids import UNBRANCHED
from domain.ports import Commit, Stream
from domain.studio.job_values import Request, Step
from projections.studio.job_queue import QUEUE
from services.bootstrap import open_everything
from services.generation.requesting import requested
from services.settings import Settings
from services.studio import Asker, Studio
from tests.bench.figures import Figure, median, milliseconds, percentile, rate
from tests.bench.rounds import proposed

PROJECT = "bench"
STUCK_SECONDS = 120.0
"""How long nothing may end before the bench gives up."""

APPENDS = (2, 2, 1, 4)
"""Events of a job by step: asked for and planned, taken and begun, accepted, then its file, its asset and its end."""


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
        studio, ends = opened.studio, Ends(opened.studio)
        await asyncio.sleep(0)
        try:
            figures = [await _overhead(studio, ends, data, 20 if quick else 100)]
            figures.append(await _throughput(studio, ends, data, 50 if quick else 200))
            figures += await _long_queue(studio, ends, data, 500 if quick else 10_000)
        finally:
            await ends.close()
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


class Ends:
    """Which jobs are done, as the log says it: followed rather than asked for, so that waiting costs little."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._done: set[str] = set()
        self._grown = asyncio.Event()
        self._task = asyncio.create_task(self._follow())

    async def of(self, ids: Iterable[str]) -> None:
        """Waits until all of these are completed; raises when one ends otherwise, or when nothing ends for long."""
        left = set(ids) - self._done
        while left:
            self._grown.clear()
            async with asyncio.timeout(STUCK_SECONDS):
                await self._grown.wait()
            if self._task.done():
                self._task.result()
            left -= self._done

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        try:
            async for batch in self._studio.log.follow(after=await self._studio.log.head(), pattern="vn.*.*.job.*"):
                if any(one.type in ("JobFailed", "JobCancelled", "JobLost", "JobQuarantined") for one in batch):
                    raise AssertionError("a job of the bench did not end well")
                self._done |= {one.stream.id for one in batch if one.type == "JobCompleted"}
                self._grown.set()
        finally:
            self._grown.set()


async def _overhead(studio: Studio, ends: Ends, data: Path, rounds: int) -> Figure:
    took, limit = [], []
    with _workers(data, 1):
        await ends.of([await _ask(studio, 0)])
        for number in range(rounds):
            began = time.perf_counter()
            await ends.of([await _ask(studio, number)])
            took.append(time.perf_counter() - began)
            limit.append(await _appended(studio, f"{number}"))
    return Figure(
        "our overhead per job, submit to completed, durable", f"p50 {milliseconds(median(took))}",
        f"the same {sum(APPENDS)} events appended alone in {len(APPENDS)} steps p50 {milliseconds(median(limit))}",
        "p50 at most 60 ms", median(took) <= 0.060,
        f"p95 {milliseconds(percentile(took, 0.95))}; an engine that takes no time, one file stored and registered",
    )


async def _appended(studio: Studio, name: str) -> float:
    """The limit: a job's events one step after the other with nothing in between."""
    stream = Stream("limit", UNBRANCHED, "note", f"{name}-{token_hex(4)}")
    position, version = 0, 0
    began = time.perf_counter()
    for count in APPENDS:
        events = tuple(
            proposed(version + n, "NoteTaken", b'{"text":"%b"}' % (b"x" * 240), version=version + n + 1)
            for n in range(count)
        )
        position = (await studio.log.append([Commit(stream, position, events)]))[-1]
        version += count
    return time.perf_counter() - began


async def _throughput(studio: Studio, ends: Ends, data: Path, count: int) -> Figure:
    ids = [await _ask(studio, number) for number in range(count)]
    with _workers(data, 2):
        await ends.of(ids)
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


async def _long_queue(studio: Studio, ends: Ends, data: Path, count: int) -> list[Figure]:
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
        early = min(200, count // 5)
        await ends.of([ids[0], ids[early]])
        last_memory = _resident(pid)
        order = await _taken(studio, ids[:early])
    with studio.models.reader() as reader:
        waiting = reader.count(QUEUE.name)
    with _workers(data, 2) as pids:
        await ends.of(ids)
        at_the_end = max(_resident(pid) for pid in pids)
    return [
        Figure(f"submitting {count:,} jobs", f"last tenth {rate(rates[-1], 'jobs')}",
               f"first tenth {rate(rates[0], 'jobs')}", "flat: at least 0.7 ×", rates[-1] >= 0.7 * rates[0]),
        Figure(f"a worker's memory, {count:,} queued", f"{last_memory / 2**20:.0f} MiB",
               f"before its first job {first_memory / 2**20:.0f} MiB", "flat: at most 64 MiB more",
               last_memory - first_memory <= 64 * 2**20,
               f"{at_the_end / 2**20:.0f} MiB when the last of all is done"),
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
