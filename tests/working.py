"""Studios with workers for the tests of generation: real parts, a log in memory, and the words to ask for jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from door import PATIENCE_SECONDS
from engines.scripted import ScriptedEngine
from studios import studio_on

from adapters.memory.inbox import MemoryInbox, MemoryInboxes
from adapters.memory.leases import MemoryLeases
from commands.operations.ledger import GrantCredits
from domain.ids import UNBRANCHED
from domain.operations.ledger import Account
from domain.ports import Stream
from domain.studio.job import Closed, Open
from domain.studio.job_values import Request, Step
from services.generation.pace import Pace
from services.generation.requesting import requested
from services.generation.worker import Worker
from services.projector import Projector
from services.studio import Asker, Studio

QUICK = Pace(look=0.05, check=0.02, retry=0.05, cancel=0.5, steady=0.2, progress=0.0, attempts=3, fetches=2)
ASKER = Asker("author")


def a_request(**changes: Any) -> Request:
    known: dict[str, Any] = {
        "preset": "portrait", "preset_digest": "d1", "name": "Portrait", "inputs": {}, "quality": "standard",
        "seed": 7, "owner": "author", "account": None, "priority": 5, "deadline": None, "consent": None,
        "retry_of": None, "root": "",
    }
    return Request(**known | changes)


def a_step(id_: str = "draw", engine: str = "scripted", **changes: Any) -> Step:
    known: dict[str, Any] = {
        "id": id_, "operation": "text_to_image", "engine": engine, "model": "m", "parameters": {"seed": 7},
        "inputs": {}, "output": "image", "paid": False, "finds_attempts": False, "estimate": 0,
    }
    return Step(**known | changes)


@dataclass
class Works:
    """A studio with engines, counted live, and the means to run workers on it."""

    studio: Studio
    folder: Path
    leases: MemoryLeases
    inboxes: MemoryInboxes
    project: str = "demo"
    workers: list[asyncio.Task[None]] = field(default_factory=list)

    def engine(self, **given: Any) -> ScriptedEngine:
        """One more engine."""
        engine = ScriptedEngine(self.folder / str(given.get("id_", "scripted")), **given)
        self.studio.engines.add(engine)
        return engine

    def worker(self, **given: Any) -> Worker:
        """A worker that is not running yet."""
        return Worker(self.studio, self.leases, self.inboxes, **{"pace": QUICK, **given})

    def start(self, **given: Any) -> asyncio.Task[None]:
        """A worker that runs."""
        task = asyncio.create_task(self.worker(**given).run())
        self.workers.append(task)
        return task

    async def ask(self, *steps: Step, asker: Asker = ASKER, **request: Any) -> str:
        """A job; its id."""
        receipt = await requested(self.studio, asker, a_request(**request), steps or (a_step(),), project=self.project)
        return receipt.id

    async def job(self, job_id: str) -> Any:
        stream = Stream(self.project, UNBRANCHED, "job", job_id)
        return (await self.studio.dispatcher.aggregates.load(stream)).state

    async def events(self, job_id: str) -> list[str]:
        """Names of what happened to a job."""
        stream = Stream(self.project, UNBRANCHED, "job", job_id)
        return [one.type for one in await self.studio.log.read_stream(stream)]

    async def closed(self, job_id: str, seconds: float = 20) -> Closed:
        """The job when it is over."""
        job = await self.until(job_id, lambda job: isinstance(job, Closed), seconds)
        assert isinstance(job, Closed)
        return job

    async def until(self, job_id: str, true: Callable[[Any], bool], seconds: float = 20) -> Any:
        """The job when something is so."""
        try:
            async with asyncio.timeout(seconds):
                # Another process moves the job, so there is no event to await.
                while not true(job := await self.job(job_id)):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                return job
        except TimeoutError:
            died = [task for task in self.workers if task.done() and not task.cancelled()]
            told = f"{await self.events(job_id)}: {await self.job(job_id)}"
            raise AssertionError(f"{told} {[task.exception() for task in died]}") from None

    async def accepted(self, job_id: str) -> Open:
        """The job when an engine has it."""
        job = await self.until(job_id, lambda job: isinstance(job, Open) and job.attempt is not None
                               and job.attempt.situation == "accepted")
        assert isinstance(job, Open)
        return job

    async def grant(self, amount: int, account: str = "purse") -> None:
        await self.studio.ask(GrantCredits(account=account, amount=amount), ASKER, project=self.project)

    async def account(self, account: str = "purse") -> Account:
        stream = Stream(self.project, UNBRANCHED, "ledger", account)
        state = (await self.studio.dispatcher.aggregates.load(stream)).state
        assert isinstance(state, Account)
        return state


class Stumbling(MemoryInboxes):
    """Inboxes that cannot be opened twice, for a reason that is nobody's."""

    left = 2

    async def open(self, *arguments: Any, **given: Any) -> MemoryInbox:
        if self.left:
            self.left -= 1
            raise KeyError("a word that no server has said before")
        return await super().open(*arguments, **given)


@asynccontextmanager
async def working(folder: Path, *, lease_seconds: float = 5.0) -> AsyncIterator[Works]:
    """A studio that counts what happens, without a worker."""
    studio = studio_on(folder / "studio")
    studio.moment_seconds = PATIENCE_SECONDS
    log: Any = studio.log
    works = Works(studio, folder, MemoryLeases(lease_seconds), MemoryInboxes(log))
    projecting = asyncio.create_task(Projector(studio.log, studio.models, studio.registry).run())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(studio.dispatcher.close)
        try:
            yield works
        finally:
            for task in (*works.workers, projecting):
                task.cancel()
            for task in (*works.workers, projecting):
                with suppress(asyncio.CancelledError):
                    await task
            studio.models.close()
