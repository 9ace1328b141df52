"""A worker that is told to end ends within seconds, whatever it has in hand, and gives its jobs back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engines.battered import ENGINES, Battered, battered, steps
from fixtures_studio import RunningServer, RunningWorker, is_alive, wait_until
from working import a_request, a_step

from domain.studio.job import Open
from services.bootstrap import open_everything
from services.generation.requesting import requested
from services.settings import Settings
from services.studio import Asker

PROMPT_SECONDS = 25.0
"""It takes one or two on a quiet machine; a worker that hangs takes for ever."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("ending") / "studio", "--no-worker").start()
    yield server
    server.stop()


async def ended(one: Battered, number: signal.Signals) -> float:
    """How long the worker took to end."""
    began = time.monotonic()
    assert await asyncio.to_thread(one.end_worker, number) == 0
    return time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_jobs_that_run_at_engines_are_given_back(
    shared: RunningServer, tmp_path: Path, number: signal.Signals
) -> None:
    async def scenario() -> None:
        async with battered(shared, tmp_path / "engines") as one:
            await one.mended()
            ids = [await one.ask(steps(engine, seed=n, seconds=3)) for n, engine in enumerate(ENGINES)]
            slow = await one.ask(steps("paid", seed=9, slow_submit=1.5))  # its engine is just about to answer
            for job_id in ids:
                await one.until(job_id, lambda job: isinstance(job, Open) and job.attempt is not None
                                and job.attempt.situation == "accepted")
            await one.until(slow, lambda job: job.attempt is not None)
            assert await ended(one, number) < PROMPT_SECONDS
            for job_id in (*ids, slow):
                assert (await one.story(job_id))[-1].endswith("JobLeft")
                assert (await one.state("job", job_id)).attempt.situation == "accepted"
            one.keep_working = True
            for job_id in (*ids, slow):
                assert (await one.closed(job_id)).outcome == "completed"
            await one.check()

    asyncio.run(scenario())


def test_it_ends_also_when_the_log_hangs(shared: RunningServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with battered(shared, tmp_path / "engines") as one:
            await one.mended()
            job_id = await one.ask(steps("found", seconds=2))
            await one.until(job_id, lambda job: isinstance(job, Open) and job.attempt is not None
                            and job.attempt.situation == "accepted")
            log = int(shared.nats()["pid"])
            os.kill(log, signal.SIGSTOP)
            try:
                assert await ended(one, signal.SIGTERM) < PROMPT_SECONDS
            finally:
                os.kill(log, signal.SIGCONT)
            one.keep_working = True
            assert (await one.closed(job_id)).outcome == "completed"
            await one.check()

    asyncio.run(scenario())


def test_a_log_that_hangs_for_longer_than_a_lease_costs_nothing(shared: RunningServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with battered(shared, tmp_path / "engines") as one:
            await one.mended()
            ids = [await one.ask(steps(engine, 2, seed=n, seconds=0.4)) for n, engine in enumerate(ENGINES)]
            await one.until(ids[0], lambda job: job.attempt is not None)
            log = int(shared.nats()["pid"])
            os.kill(log, signal.SIGSTOP)
            await asyncio.sleep(2.5)
            os.kill(log, signal.SIGCONT)
            for job_id in ids:
                await one.closed(job_id)
            await one.check()

    asyncio.run(scenario())


def asked(data: Path, count: int) -> list[str]:
    """Jobs for the engine that is built in; their ids."""
    async def scenario() -> list[str]:
        async with open_everything(Settings.load(data=data), projecting=False) as opened:
            plan = [a_step(engine="studio_local", model="placeholder", parameters={
                "prompt": "a pier", "width": 256, "height": 256, "seed": 3,
            })]
            return [
                (await requested(opened.studio, Asker("author"), a_request(name=f"n{n}"), plan, project="demo")).id
                for n in range(count)
            ]

    return asyncio.run(scenario())


def stories(server: RunningServer, ids: list[str]) -> list[dict[str, Any]]:
    with server.client() as client:
        return [client.get(f"/api/jobs/{job_id}", params={"project": "demo"}).json() for job_id in ids]


def test_serve_ends_in_order_with_jobs_in_hand(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "studio").start()
    worker = server.worker()
    ids = asked(server.data, 3)
    wait_until(lambda: any(one["status"] == "completed" for one in stories(server, ids)), "the first job")
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < PROMPT_SECONDS
    assert not is_alive(worker)
    assert "child_killed" not in server.said()
    assert "Traceback" not in server.said()
    server.restart()
    try:
        wait_until(lambda: all(one["status"] == "completed" for one in stories(server, ids)), "the others", 300)
    finally:
        server.stop()


def test_worker_ends_in_order_with_jobs_in_hand(shared: RunningServer) -> None:
    ids = asked(shared.data, 12)
    running = RunningWorker(shared.data, "worker").start()
    time.sleep(1)  # it has some of them in hand, or is about to
    began = time.monotonic()
    code = running.stop()
    assert time.monotonic() - began < PROMPT_SECONDS
    assert (code, "Traceback" in running.said()) == (0, False)
    assert ids
