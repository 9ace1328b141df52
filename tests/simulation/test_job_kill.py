"""Workers, the API and the log are killed between neighbouring events of jobs: every job ends well, or says why not.

Afterwards, each time: every job is finished, failed or in doubt with its reason; nothing paid was submitted twice; the
account holds what jobs cost and nothing else; every stored file is the file of an asset.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from engines.scripted import ScriptedEngine
from engines.working_child import engines_in
from fixtures_studio import RunningServer
from working import a_request, a_step

from commands.operations.ledger import GrantCredits
from commands.studio.job import ResolveAttempt
from domain.ids import UNBRANCHED
from domain.operations.ledger import Account
from domain.ports import Stream
from domain.studio.job import Closed, Open
from services.bootstrap import open_everything
from services.generation.requesting import requested
from services.settings import Settings
from services.studio import Asker, Studio

pytestmark = pytest.mark.skipif(
    not os.environ.get("COMFYVN_TEST_JOB_KILLS"),
    reason="a long proof of its own, which needs a quiet machine: `make test-job-kills` runs it",
)

PROJECT = "demo"
ASKER = Asker("author")
GRANTED = 100_000
LEASE = 1.0
SEED = int(os.environ.get("COMFYVN_CRASH_SEED", str(random.SystemRandom().randrange(2**32))))

EVENTS = ["JobTaken", "AttemptStarted", "AttemptAccepted", "ArtifactStored", "StepFinished", "JobCompleted"]
MOMENTS = [f"{event}:{when}" for event in EVENTS for when in ("before", "after")]
"""Before an event is after the one before it and whatever was done outside in between; both are tried all the same."""


@contextmanager
def worker(server: RunningServer, folder: Path, kill: str = "") -> Iterator[subprocess.Popen[str]]:
    """A worker process on a server's folder."""
    command = [sys.executable, "-m", "tests.engines.working_child", str(server.data), str(folder), str(LEASE)]
    process = subprocess.Popen(
        [*command, *([kill] if kill else [])], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([".", "tests"])},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


def steps(engine: str, count: int = 1, **script: Any) -> list[Any]:
    """A plan on one engine."""
    paid = engine != "free"
    return [
        a_step(f"s{n}", engine, paid=paid, finds_attempts=engine == "found", estimate=500 * paid,
               parameters={"seed": n, "cost": 0.000001 * paid, **script})
        for n in range(count)
    ]


async def on(server: RunningServer, work: Callable[[Studio], Any]) -> Any:
    """Does something as a process beside the server."""
    settings = Settings.load(data=server.data, lease_seconds=LEASE, log_level="error")
    async with open_everything(settings, projecting=False) as opened:
        return await work(opened.studio)


async def ask(studio: Studio, plans: list[list[Any]]) -> list[str]:
    return [
        (await requested(studio, ASKER, a_request(account="purse", name=f"n{n}"), plan, project=PROJECT)).id
        for n, plan in enumerate(plans)
    ]


async def begun(studio: Studio, plans: list[list[Any]]) -> list[str]:
    await studio.ask(GrantCredits(account="purse", amount=GRANTED), ASKER, project=PROJECT)
    return await ask(studio, plans)


async def state(studio: Studio, category: str, id_: str) -> Any:
    stream = Stream(PROJECT, UNBRANCHED, category, id_)
    studio.dispatcher.aggregates.forget(stream)
    return (await studio.dispatcher.aggregates.load(stream)).state


def ended(job: Any) -> bool:
    return isinstance(job, Closed) or (job.attempt is not None and job.attempt.situation == "doubted")


async def settled(studio: Studio, ids: list[str], seconds: float = 180) -> dict[str, Any]:
    """Every job, when none of them goes on by itself."""
    deadline = time.monotonic() + seconds
    while True:
        jobs = {id_: await state(studio, "job", id_) for id_ in ids}
        if all(ended(job) for job in jobs.values()):
            return jobs
        if time.monotonic() > deadline:
            stories = {
                id_: [one.type for one in await studio.log.read_stream(Stream(PROJECT, UNBRANCHED, "job", id_))]
                for id_, job in jobs.items() if not ended(job)
            }
            pytest.fail(f"these jobs do not end: {stories}")
        await asyncio.sleep(0.05)


async def resolved(studio: Studio, jobs: dict[str, Any], engine: ScriptedEngine) -> None:
    """Does what a person does about jobs in doubt: looks at the engine's own list, and says what is there."""
    known = {one["attempt"]: one["id"] for one in engine.submissions()}
    for id_, job in jobs.items():
        if isinstance(job, Open):
            assert job.attempt is not None
            found = known.get(job.attempt.id)
            await studio.ask(ResolveAttempt(
                job_id=id_, attempt=job.attempt.id, verdict="accepted" if found else "never_accepted",
                external_id=found,
            ), ASKER, project=PROJECT)


async def check(studio: Studio, jobs: dict[str, Any], engines: list[ScriptedEngine]) -> None:
    """What has to be so, whoever was killed when."""
    for id_, job in jobs.items():
        assert isinstance(job, Closed), id_
        assert job.outcome == "completed", (id_, job.fault)
    account = await state(studio, "ledger", "purse")
    assert isinstance(account, Account)
    assert account.reserved == 0
    assert account.balance == GRANTED - sum(job.cost for job in jobs.values())
    for engine in engines:
        if engine.traits.paid:
            submitted = [one["attempt"] for one in engine.submissions()]
            assert len(submitted) == len(set(submitted))
    paid_steps = sum(step.paid for job in jobs.values() for step in job.was.steps)
    assert sum(len(engine.submissions()) for engine in engines if engine.traits.paid) == paid_steps
    kept = set()
    async for batch in studio.log.read(pattern=f"vn.{PROJECT}.-.asset.*"):
        kept |= {studio.registry.decode(one).digest for one in batch if one.type == "AssetRegistered"}  # type: ignore[union-attr]
    for job in jobs.values():
        for outputs in job.was.finished.values():
            for uid in (uid for uids in outputs.values() for uid in uids):
                digest = next(one for one in kept if one.startswith(uid))
                assert await studio.blobs.head(digest) is not None
    stored = {one.name for one in (studio.settings.data / "blobs").rglob("*") if one.is_file() and len(one.name) == 64}
    assert stored <= kept, "every stored file is the file of an asset"


def test_workers_die_between_all_neighbouring_events(
    server_factory: Callable[..., RunningServer], tmp_path: Path
) -> None:
    """One worker after the other takes up what the last has left, and dies at another event."""
    server = server_factory("--no-worker")
    folder = tmp_path / "engines"
    engines = engines_in(folder)

    async def scenario(studio: Studio) -> None:
        ids: list[str] = []
        await begun(studio, [])
        for moment in MOMENTS:
            ids += await ask(studio, [steps("free", 2), steps("found", 2), steps("paid", 2)])
            with worker(server, folder, moment) as victim:
                await asyncio.to_thread(victim.wait, 60)
                assert victim.returncode == -signal.SIGKILL, moment
        with worker(server, folder):
            while True:
                jobs = await settled(studio, ids)
                doubted = [job for job in jobs.values() if isinstance(job, Open)]
                if not doubted:
                    break
                assert {job.step().engine for job in doubted if job.step()} == {"paid"}
                await resolved(studio, jobs, engines[2])
            await check(studio, jobs, engines)

    asyncio.run(on(server, scenario))


def test_everything_dies_at_random_moments(server_factory: Callable[..., RunningServer], tmp_path: Path) -> None:
    print("seed", SEED)
    dice = random.Random(SEED)
    server = server_factory("--no-worker")
    folder = tmp_path / "engines"
    engines = engines_in(folder)
    plans = [steps(dice.choice(["free", "found", "paid"]), dice.randint(1, 3), seconds=dice.choice([0, 0.1, 0.5]))
             for _ in range(20)]
    ids = asyncio.run(on(server, lambda studio: begun(studio, plans)))
    for _ in range(6):
        victim = dice.choice(["worker", "worker", "log", "api"])
        with worker(server, folder) as process:
            time.sleep(dice.uniform(0.1, 1.0))
            if victim == "log":
                os.kill(server.nats()["pid"], signal.SIGKILL)
                time.sleep(dice.uniform(0.5, 1.5))
            elif victim == "api":
                server.kill()
                process.kill()
                server.restart()

    async def scenario(studio: Studio) -> None:
        with worker(server, folder):
            for _ in range(20):
                jobs = await settled(studio, ids)
                if all(isinstance(job, Closed) for job in jobs.values()):
                    break
                await resolved(studio, jobs, engines[2])
            await check(studio, jobs, engines)

    asyncio.run(on(server, scenario))
