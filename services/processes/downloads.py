"""When a model's file is asked for, a worker downloads it; when nobody wants it any more, what came is thrown away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from commands.declaration import Command
from commands.studio.model_downloads import (
    FailModelDownload,
    FinishModelDownload,
    ReportModelDownload,
    StartModelDownload,
)
from domain.errors import ComfyVNError, Refused, Unavailable
from domain.ports.downloads import Source
from domain.ports.model_files import FilesError, ModelFiles
from domain.studio.fault import Fault, fault
from domain.studio.model import (
    Cancelled,
    ModelDownloadCancelled,
    ModelDownloadRequested,
    ModelDownloadStarted,
    Order,
)
from projections.declaration import Happened
from services.dispatcher import Receipt
from services.models.catalogue import model_now, shelf
from services.models.downloading import Download
from services.models.fetching import Failed, Patience
from services.models.judging import NotThat
from services.models.settled import settled
from services.processes.declaration import Process, React
from services.studio import Asker, Studio

BEAT_SECONDS: Final = 0.5
"""How often a worker looks whether anybody still wants the file. How far it is, is recorded far more rarely."""

log = structlog.get_logger("downloads")


@asynccontextmanager
async def opened(studio: Studio) -> AsyncIterator[React]:
    """The reaction; it keeps nothing between downloads."""

    async def react(happened: Happened) -> Sequence[Command]:
        event, project = happened.event, happened.recorded.stream.project
        if isinstance(event, ModelDownloadRequested):
            await Job(studio, project, event, happened.recorded.event_id).run()
        elif isinstance(event, ModelDownloadCancelled):
            await _thrown_away(studio, project, event)
        return ()

    yield react


async def _thrown_away(studio: Studio, project: str, event: ModelDownloadCancelled) -> None:
    """What came of a cancelled download. A worker that still has it in hand throws it away itself."""
    files, _ = shelf(studio)
    download = (await model_now(studio, project, event.model_id)).download
    if isinstance(download, Cancelled):
        await _discarded(files, download.order)


async def _discarded(files: ModelFiles, order: Order) -> None:
    def discard() -> None:
        with suppress(FilesError), files.part(order.entry.folder, order.entry.filename) as part:
            if part is not None:
                part.discard()

    await settled(discard)


@dataclass(slots=True)
class Job:
    """One download in one worker. What it leaves when it dies, the next one goes on with."""

    studio: Studio
    project: str
    asked: ModelDownloadRequested
    cause: str
    patience: Patience = Patience()  # noqa: RUF009 - frozen

    async def run(self) -> None:
        """Downloads the file and records what came of it; raises ``Unavailable`` when it has to be tried again."""
        files, source = shelf(self.studio)
        try:
            receipt = await self._ask(StartModelDownload(**self._which()))
            if not any(one.type == ModelDownloadStarted.__name__ for one in receipt.events):
                return  # too many workers ended over it
            if (told := await self._made(files, source)) is not None:
                await self._ask(told)
            if isinstance(told, FinishModelDownload):
                await self._forgotten(files)
        except Refused as error:
            if error.code != "download_over":
                raise
            # Cancelled, or finished by a worker that died before it could say that it had.
            log.info("download_over", project=self.project, model=self.asked.model_id)
            await self._forgotten(files)

    async def _made(self, files: ModelFiles, source: Source) -> FinishModelDownload | FailModelDownload | None:
        """What came of it; nothing when nobody wants it any more."""
        download = Download(source, files, self.asked.order, self.studio.settings.model_limit, self.patience,
                            self._name)
        work = asyncio.create_task(download.run())
        try:
            while not work.done():
                if not await self._wanted(download):
                    work.cancel()
                    with suppress(asyncio.CancelledError, Exception):
                        await work
                    await _discarded(files, self.asked.order)
                    log.info("download_stopped", project=self.project, model=self.asked.model_id)
                    return None
                await asyncio.wait([work], timeout=BEAT_SECONDS)
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        try:
            return FinishModelDownload(**self._which(), result=work.result())
        except (Failed, NotThat, FilesError) as error:
            return self._failure(error.fault)
        except Exception:
            log.exception("download_failed", project=self.project, model=self.asked.model_id)
            return self._failure(fault("UNKNOWN_ERROR", "A defect of ours; the worker's log says where."))

    async def _wanted(self, download: Download) -> bool:
        try:
            await self._ask(ReportModelDownload(
                **self._which(), phase=download.phase, done=download.done, total=download.total,
            ))
        except Unavailable:
            pass  # the work itself will find out whether that matters
        except ComfyVNError:
            return False
        return True

    def _failure(self, why: Fault) -> FailModelDownload:
        log.info("download_failed", project=self.project, model=self.asked.model_id, code=why.code, why=why.message)
        return FailModelDownload(**self._which(), fault=why)

    @property
    def _name(self) -> str:
        return f"{self.project}/{self.asked.model_id}/{self.asked.number}"

    async def _forgotten(self, files: ModelFiles) -> None:
        await settled(partial(Download.forgotten, files, self.asked.order, self._name))

    def _which(self) -> dict[str, Any]:
        return {"model_id": self.asked.model_id, "number": self.asked.number}

    async def _ask(self, command: Command) -> Receipt:
        asker = Asker("process:downloads", correlation_id=self.asked.model_id, causation_id=self.cause)
        return await self.studio.ask(command, asker, project=self.project)


PROCESS = Process(
    name="downloads", events=(ModelDownloadRequested, ModelDownloadCancelled), opened=opened, at_once=3,
    ack_wait_seconds=9.0, about="Files of models, checked before they get their names.",
)
