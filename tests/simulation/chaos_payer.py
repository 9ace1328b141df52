"""Jobs on engines that can be paid, asked for by a process beside the server; a person settles what stays in doubt."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines.battered import ENGINES, in_doubt, steps
from engines.scripted import ScriptedEngine
from engines.working_child import engines_in
from working import a_request

from commands.studio.job import ReleaseJob, ResolveAttempt
from domain.errors import ComfyVNError, Unavailable
from domain.ids import UNBRANCHED
from domain.ports import Stream
from services.bootstrap import open_everything
from services.generation.requesting import requested
from services.settings import Settings
from services.studio import Asker, Studio

PURSE = "purse"
OVER = frozenset({"JobCompleted", "JobFailed", "JobCancelled", "JobLost"})


@dataclass
class Payer:
    """Who asks. It attaches to the log anew for every round: a server that was ended in order may be elsewhere."""

    data: Path
    folder: Path
    settings: dict[str, Any]
    project: str
    jobs: list[str] = field(default_factory=list)
    running: bool = False

    @property
    def engines(self) -> list[ScriptedEngine]:
        return engines_in(self.folder)

    @property
    def submitted(self) -> list[dict[str, Any]]:
        """Everything that engines were given, in order."""
        return [one for engine in self.engines for one in engine.submissions()]

    async def press(self, dice: random.Random) -> None:
        """Asks for a job now and then."""
        self.running = True
        while self.running:
            with suppress(Unavailable):
                async with self._opened() as opened:
                    # Whoever begins while there is no server runs the log: then it is a server's turn.
                    while self.running and not opened.reached.server:
                        await self._ask(opened.studio, dice)
                        await asyncio.sleep(dice.uniform(0.3, 2.0))
            await asyncio.sleep(0.3)

    async def settled(self, seconds: float = 90) -> None:
        """Waits until every job is over, or none has moved for so long; resolves what only a person can, and releases
        what is quarantined."""
        waiting: set[str] = set()
        position, moved = 0, time.monotonic()
        async with self._opened() as opened:
            while time.monotonic() - moved < seconds:
                with suppress(ComfyVNError):
                    async for batch in opened.studio.log.read(after=position, pattern=f"vn.{self.project}.-.job.*"):
                        position, moved = batch[-1].position, time.monotonic()
                        waiting |= {one.stream.id for one in batch if one.type == "JobRequested"}
                        waiting -= {one.stream.id for one in batch if one.type in OVER}
                    if not waiting:
                        return
                    for job_id in sorted(waiting):
                        await self._person(opened.studio, job_id)
                await asyncio.sleep(0.5)

    def _opened(self) -> Any:
        return open_everything(Settings.load(data=self.data, log_level="error", **self.settings), projecting=False)

    async def _ask(self, studio: Studio, dice: random.Random) -> None:
        key = f"job-{len(self.jobs)}-{dice.randrange(10**9)}"
        script: dict[str, Any] = {"seconds": dice.choice([0, 0, 0.2, 1.0])}
        if dice.random() < 0.2:
            script |= {"fail": "ENGINE_ERROR", "charged": True}
        plan = steps(dice.choice(ENGINES), dice.randint(1, 2), seed=len(self.jobs) + 1, **script)
        while self.running:
            with suppress(Unavailable):
                asked = await requested(studio, Asker("payer", key=key), a_request(account=PURSE, name=key), plan,
                                        project=self.project)
                self.jobs.append(asked.id)
                return
            await asyncio.sleep(0.2)

    async def _person(self, studio: Studio, job_id: str) -> None:
        stream = Stream(self.project, UNBRANCHED, "job", job_id)
        studio.dispatcher.aggregates.forget(stream)
        job = (await studio.dispatcher.aggregates.load(stream)).state
        if in_doubt(job):
            known = {one["attempt"]: one["id"] for one in self.submitted}
            found = known.get(job.attempt.id)
            await studio.ask(ResolveAttempt(
                job_id=job_id, attempt=job.attempt.id, verdict="accepted" if found else "never_accepted",
                external_id=found,
            ), Asker("payer"), project=self.project)
        elif getattr(job, "quarantined", False):
            await studio.ask(ReleaseJob(job_id=job_id), Asker("payer"), project=self.project)
