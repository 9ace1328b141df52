"""Opening a studio with everything behind and beside it, and closing all in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import structlog

from adapters.downloads import WebSource
from adapters.files.chain import ChainFolder
from adapters.files.folder import read_json, write_private_json
from adapters.files.lock import FolderLock, Role
from adapters.sql.read_models import SqlReadModels
from domain.errors import ComfyVNError, Remedy, Unavailable
from services.audit import Auditor
from services.bootstrap.background import Background
from services.bootstrap.connecting import reach_models, reach_runner, reach_webhooks, reach_worker
from services.bootstrap.log import Reached, reach_log
from services.bootstrap.ports import (
    reach_blobs,
    reach_credentials,
    reach_engines,
    reach_model_files,
    reach_vault,
)
from services.dispatcher import Dispatcher
from services.generation.worker import Worker
from services.projector import Projector
from services.receipts import TimelineReceipts
from services.registry import REGISTRY
from services.settings import Settings
from services.studio import Studio

BEGINNING_SECONDS: Final = 5.0

log = structlog.get_logger("bootstrap")


@dataclass(slots=True)
class Opened:
    """A studio with what stands behind it and the loops beside it."""

    studio: Studio
    reached: Reached
    projector: Projector | None = None
    background: Background = field(default_factory=Background)
    worker: Worker | None = None

    @property
    def chain(self) -> ChainFolder:
        """Where the audit keeps its hashes."""
        return ChainFolder(self.reached.folder.audit)

    async def audit(self) -> None:
        """Keeps the chain of hashes for as long as it runs. One process of a data folder does; another one waits."""
        async with self._auditing():
            await Auditor(self.studio.log, self.chain).run()

    async def audit_begun(self) -> None:
        """Waits, not long, until the process that holds the folder has hashed its first event: a studio may be new."""
        end = monotonic() + BEGINNING_SECONDS
        while self.reached.attached_to is not None and monotonic() < end:
            if await asyncio.to_thread(self.chain.length):
                return
            await asyncio.sleep(0.1)

    async def audited_everything(self) -> None:
        """Brings the chain of hashes to the log's end when this process is the only one here: nobody else would.

        Raises what stands in its way, and says that what was asked is recorded all the same.
        """
        if self.reached.attached_to is None:
            try:
                async with self._auditing():
                    await Auditor(self.studio.log, self.chain).catch_up()
            except ComfyVNError as error:
                raise type(error)(
                    f"What was asked is recorded; the audit cannot follow: {error.message}", error=error.code,
                    remediation=error.remediation, detail=error.detail,
                ) from error

    @asynccontextmanager
    async def _auditing(self) -> AsyncIterator[None]:
        await asyncio.to_thread(self.reached.folder.audit.mkdir, mode=0o700, parents=True, exist_ok=True)
        lock = FolderLock(self.reached.folder.audit / "lock")
        while await asyncio.to_thread(lock.try_acquire, "worker") is not None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(1)
        try:
            yield
        finally:
            lock.release()

    def announce(self, url: str, told: Mapping[str, Any]) -> None:
        """Says where the door is: in the lock's note and in the data folder's ``server.json``."""
        if self.reached.lock is not None:
            self.reached.lock.announce(url)
        write_private_json(self.reached.folder.server, told)

    def withdraw(self) -> None:
        """Takes ``server.json`` away again, unless another door has announced itself since."""
        if (read_json(self.reached.folder.server) or {}).get("pid") == os.getpid():
            self.reached.folder.server.unlink(missing_ok=True)

    async def counted_everything(self, projections: Sequence[str] | None = None) -> int:
        """Waits until read models have counted the whole log as it is now, however long that takes; its head.

        Raises ``Unavailable`` when nobody counts: the loop died, a projection is stopped, or nothing moves for long.
        """
        head = await self.studio.log.head()
        names = list(self.studio.registry.projections if projections is None else projections)
        moved, last = monotonic(), -1
        failing = asyncio.create_task(self.background.failure())
        try:
            while True:
                known = await asyncio.to_thread(self.studio.models.checkpoints)
                places = {name: known[name].position if name in known else 0 for name in names}
                if not (behind := sorted(name for name, place in places.items() if place < head)):
                    return head
                if sum(places.values()) != last:
                    moved, last = monotonic(), sum(places.values())
                stopped = [name for name in behind if name in known and known[name].status == "stopped"]
                if stopped or failing.done() or monotonic() - moved > self.studio.settings.wait_seconds * 2:
                    raise _not_counted(behind, stopped, head)
                await asyncio.sleep(0.02)
        finally:
            failing.cancel()


def _not_counted(behind: Sequence[str], stopped: Sequence[str], head: int) -> Unavailable:
    why = f"{', '.join(stopped)} is stopped" if stopped else f"{', '.join(behind)} has not counted position {head}"
    return Unavailable(
        f"The read side is behind: {why}.", error="read_side_behind",
        remediation=[Remedy("`comfyvn doctor` says what holds it up.", "doctor")],
        detail={"position": head, "behind": list(behind), "stopped": list(stopped)},
    )


@asynccontextmanager
async def open_studio(
    settings: Settings, *, projecting: bool = True, processes: bool = False, auditing: bool = False,
    role: Role = "console", create: bool = True,
) -> AsyncIterator[Studio]:
    """A studio on the servers that the settings name, closed in order at the end. See ``open_everything``."""
    async with open_everything(
        settings, projecting=projecting, processes=processes, auditing=auditing, role=role, create=create
    ) as opened:
        yield opened.studio


@asynccontextmanager
async def open_everything(
    settings: Settings, *, projecting: bool = True, processes: bool = False, auditing: bool = False,
    jobs: bool = False, role: Role = "console", create: bool = True, hold: bool = True,
) -> AsyncIterator[Opened]:
    """Opens the log, the read side and the blobs, and starts the loops that are asked for; closes all in order.

    On a data folder with an embedded log, a ``server`` takes the folder's lock or is refused; everybody else attaches
    to the process that holds it, or holds it and runs the embedded log for its own duration. Who attaches to a server
    does not project by itself, except a ``worker``. ``jobs``: jobs are worked on as well. Without ``hold`` it only ever
    attaches: a helper that took a folder while nobody had it would keep the next server out.
    Raises ``Refused`` (the folder is in use), ``Unavailable``, and without ``create`` ``NotFound`` for a folder where
    no studio has been.
    """
    async with AsyncExitStack() as stack:
        reached = await reach_log(settings, stack, role=role, create=create, hold=hold)
        models = await reach_models(settings, stack)
        dispatcher = Dispatcher(reached.log, REGISTRY, TimelineReceipts(models, settings.wait_seconds))
        stack.push_async_callback(dispatcher.close)
        vault = reach_vault(settings)
        if role != "console":
            await vault.known_to_redaction()
        engines = reach_engines(settings, vault)
        stack.push_async_callback(engines.close)
        studio = Studio(
            settings, REGISTRY, reached.log, dispatcher, models, reach_blobs(settings), engines=engines, vault=vault,
            credentials=reach_credentials(settings), model_files=reach_model_files(settings),
        )
        source = WebSource(vault, settings.model_origins)
        stack.push_async_callback(source.close)
        studio.source = source
        studio.webhooks = await reach_webhooks(settings, reached, stack, hearing=role == "server")
        opened = Opened(studio, reached)
        if role == "server":
            await asyncio.to_thread(_make_read_models, models)
        alone = reached.attached_to is None or role == "worker"
        # Reached before the loops' ending is promised: the connections must outlive the loops that use them.
        runner = await reach_runner(studio, reached, stack) if processes and alone else None
        opened.worker = await reach_worker(studio, reached, stack) if jobs else None
        stack.push_async_callback(opened.background.close)
        if projecting and alone:
            opened.projector = Projector(reached.log, models, REGISTRY)
            opened.background.start("projector", opened.projector.run())
        if auditing and alone:
            opened.background.start("audit", opened.audit())
        if runner is not None:
            opened.background.start("processes", runner.run())
        if opened.worker is not None:
            opened.background.start("jobs", opened.worker.run())
        yield opened


def _make_read_models(models: SqlReadModels) -> None:
    """Makes the read models that are missing, so that a new studio's first question is answered at once."""
    try:
        for projection in REGISTRY.projections.values():
            models.create(projection.name, projection.version, projection.tables)
    except ComfyVNError as error:
        # The projector tries again for as long as it takes; commands and the log work meanwhile.
        log.warning("read_models_not_made", code=error.code, reason=error.message)
