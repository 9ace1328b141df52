"""A studio whose processes are killed while it works: a real server, a real worker, and whoever starts them again.

What the kill tests share. Somebody who asks for a job repeats the question with the same key until there is an answer,
as every client of ours does; somebody who is asked about a doubt looks at the engine's own list.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from engines.deadly import Deadly, carried_out, lay_down
from engines.scripted import ScriptedEngine
from engines.working_child import engines_in
from fixtures_studio import RunningServer
from working import a_request, a_step

from commands.operations.ledger import GrantCredits
from commands.studio.job import ResolveAttempt
from domain.errors import ComfyVNError, Unavailable
from domain.ids import UNBRANCHED
from domain.operations.ledger import Account
from domain.ports import Stream
from domain.studio.asset import AssetRegistered
from domain.studio.job import Closed
from services.bootstrap import open_everything
from services.generation.requesting import requested
from services.orphans import survey
from services.settings import Settings
from services.studio import Asker, Studio

GRANTED: Final = 1_000_000
LEASE_SECONDS: Final = 1.0
LOG_SECONDS: Final = 60.0
ENGINES: Final = ("free", "found", "paid")


def steps(engine: str, count: int = 1, seed: int = 0, **script: Any) -> list[Any]:
    """A plan on one engine. Its first step makes two files, so that there is something between two of them."""
    paid = engine != "free"
    return [
        a_step(f"s{n}", engine, paid=paid, finds_attempts=engine == "found", estimate=500 * paid,
               parameters={"seed": seed * 10 + n * 3, "cost": 0.000001 * paid, "products": 1 + (n == 0), **script})
        for n in range(count)
    ]


@dataclass
class Battered:
    """The studio. ``studio`` is that of a process beside the server; who dies is started again."""

    project: str
    server: RunningServer
    folder: Path
    studio: Studio
    engines: list[ScriptedEngine]
    jobs: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None
    keep_working: bool = True

    @property
    def pids(self) -> dict[str, list[int]]:
        """Whom an order may kill, by who it is."""
        return {"self": [], "log": [int(self.server.nats()["pid"])], "api": [self.server.pid],
                "worker": [self.process.pid] if self.process else []}

    def order(self, type_: str, nth: int, when: str, victim: str) -> None:
        """Somebody dies at that point, once."""
        lay_down(self.folder, type=type_, nth=nth, when=when, victim=victim, pids=self.pids[victim])

    async def carried_out(self, seconds: float = 30) -> bool:
        """Whether the last order was carried out; what was recorded is seen before whoever recorded it goes on."""
        deadline = time.monotonic() + seconds
        while not (done := carried_out(self.folder)) and time.monotonic() < deadline:  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.02)
        return done

    async def ask(self, plan: list[Any], key: str = "") -> str:
        """Asks for a job until there is an answer; its id."""
        asker = Asker("author", key=key or f"job-{len(self.jobs)}")
        while True:
            with contextlib.suppress(Unavailable):
                asked = await requested(self.studio, asker, a_request(account="purse", name=asker.key), plan,
                                        project=self.project)
                self.jobs.append(asked.id)
                return asked.id
            await self.mended()

    async def mended(self) -> None:
        """Starts again whoever has died."""
        if self.server.process is None or self.server.process.poll() is not None:
            await asyncio.to_thread(self.server.restart)
        if self.keep_working and (self.process is None or self.process.poll() is not None):
            await asyncio.to_thread(self.start_worker)

    async def steady(self) -> None:
        """Waits until everybody stands again: somebody may have died after the last event of the last job."""
        deadline = time.monotonic() + LOG_SECONDS
        while True:
            await self.mended()
            try:
                await self.studio.log.head()
                return
            except Unavailable:
                if time.monotonic() > deadline:
                    raise

    def start_worker(self) -> None:
        """A worker process on the server's folder, once it is ready."""
        command = [sys.executable, "-m", "tests.engines.working_child", str(self.server.data), str(self.folder),
                   str(LEASE_SECONDS)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([".", "tests"])},
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def end_worker(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Its exit code."""
        self.keep_working = False
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    async def state(self, category: str, id_: str) -> Any:
        stream = Stream(self.project, UNBRANCHED, category, id_)
        self.studio.dispatcher.aggregates.forget(stream)
        return (await self.studio.dispatcher.aggregates.load(stream)).state

    async def story(self, job_id: str) -> list[str]:
        """What happened to a job, with the time between the events: what one wants to know of one that stands still."""
        events = await self.studio.log.read_stream(Stream(self.project, UNBRANCHED, "job", job_id))
        return [f"{one.time[14:23]} {one.type}" for one in events]

    async def until(self, job_id: str, true: Callable[[Any], bool], seconds: float = 120) -> Any:
        """The job when something is so; whoever dies meanwhile is started again."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(Unavailable):
                if true(job := await self.state("job", job_id)):
                    return job
            await self.mended()
            if time.monotonic() > deadline:
                raise AssertionError(f"the job stands still: {await self.story(job_id)}")
            await asyncio.sleep(0.03)

    async def closed(self, job_id: str) -> Closed:
        """The job when it is over; a person settles its doubts."""
        while True:
            job = await self.until(job_id, lambda job: isinstance(job, Closed) or in_doubt(job))
            if isinstance(job, Closed):
                return job
            assert job.step().engine == "paid", "only an engine that cannot be asked leaves a doubt"
            await self.resolved(job_id, job)

    async def resolved(self, job_id: str, job: Any) -> None:
        """Does what a person does about a doubt: looks at the engine's own list, and says what is there."""
        known = {one["attempt"]: one["id"] for one in self.engines[2].submissions()}
        found = known.get(job.attempt.id)
        with contextlib.suppress(ComfyVNError):  # said before, and the answer was lost
            await self.studio.ask(ResolveAttempt(
                job_id=job_id, attempt=job.attempt.id, verdict="accepted" if found else "never_accepted",
                external_id=found,
            ), Asker("author"), project=self.project)

    async def check(self) -> None:
        """What has to be so once every job is over, whoever was killed when."""
        await self.steady()
        jobs = {job_id: await self.state("job", job_id) for job_id in self.jobs}
        for job_id, job in jobs.items():
            assert isinstance(job, Closed), await self.story(job_id)
            assert job.outcome == "completed", (job.fault, await self.story(job_id))
        account = await self.state("ledger", "purse")
        assert isinstance(account, Account)
        assert (account.reserved, account.balance) == (0, GRANTED - sum(job.cost for job in jobs.values()))
        paid = [one["attempt"] for engine in self.engines if engine.traits.paid for one in engine.submissions()]
        assert len(paid) == len(set(paid)) == sum(step.paid for job in jobs.values() for step in job.was.steps)
        await self.check_files(jobs)

    async def check_files(self, jobs: dict[str, Any]) -> None:
        """Every file of a job is an asset whose bytes are there, and every stored file is one that an event names."""
        kept = {}
        async for batch in self.studio.log.read(pattern=f"vn.{self.project}.-.asset.*"):
            for one in batch:
                if isinstance(event := self.studio.registry.decode(one), AssetRegistered):
                    kept[one.stream.id] = event.digest
        uids = {uid for job in jobs.values() for outputs in job.was.finished.values() for one in outputs.values()
                for uid in one}
        assert uids
        for uid in uids:
            assert await self.studio.blobs.get(kept[uid])  # whole, or it is said to be damaged
        found = await survey(self.studio.log, self.studio.blobs, datetime.now(UTC) + timedelta(days=2))
        assert found.blobs >= len(uids)
        assert found.orphans == ()


def in_doubt(job: Any) -> bool:
    return not isinstance(job, Closed) and job.attempt is not None and job.attempt.situation == "doubted"


@asynccontextmanager
async def battered(server: RunningServer, folder: Path) -> AsyncIterator[Battered]:
    """The studio with credits in a project of its own, and without a worker. ``folder`` is where its engines live."""
    project = f"p{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    engines = engines_in(folder)
    settings = Settings.load(data=server.data, lease_seconds=LEASE_SECONDS, log_level="error")
    if server.process is None or server.process.poll() is not None:
        await asyncio.to_thread(server.restart)  # whoever was killed last stays dead when a test has failed
    # Whoever only looks on never takes the folder, or the next server would find it in use.
    async with open_everything(settings, projecting=False, hold=False) as opened:
        await opened.studio.ask(GrantCredits(account="purse", amount=GRANTED), Asker("author"), project=project)
        opened.studio.dispatcher.log = Deadly(opened.studio.log, folder)
        one = Battered(project, server, folder, opened.studio, engines)
        try:
            yield one
        finally:
            one.end_worker()
