"""When an export is asked for, a worker makes it: read, allowed, written, packed, stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import structlog

from commands.declaration import Command
from commands.exchange.export import FailExport, FinishExport, ReportExport, StartExport
from domain.errors import ComfyVNError, Refused, Unavailable
from domain.exchange.export import ExportRequested, ExportStarted, Failure, Phase, Result
from domain.ports import BlobInfo
from domain.tables import Where
from projections.declaration import Happened
from services.dispatcher import Receipt
from services.exports.exporting import Made, Stopped, export_archive, export_folder, home
from services.exports.gate import enforced, foreseen
from services.exports.gathering import Gathered, gathered
from services.processes.declaration import Process, React
from services.scratch import scratch
from services.studio import Asker, Studio

BEAT_SECONDS: Final = 0.5
"""How often a worker tells how far it is, and learns that nobody wants the export any more."""

FINAL: Final = frozenset({"disk_full", "unwritable", "blob_damaged"})
"""What cannot be answered now, and will not be answered by trying again at once either."""

log = structlog.get_logger("exports")


@asynccontextmanager
async def opened(studio: Studio) -> AsyncIterator[React]:
    """The reaction; it keeps nothing between exports."""

    async def react(happened: Happened) -> Sequence[Command]:
        event = happened.event
        assert isinstance(event, ExportRequested)
        await Job(studio, happened.recorded.stream.project, event, happened.recorded.event_id).run()
        return ()

    yield react


@dataclass(slots=True)
class Job:
    """One export in one worker. Whatever it leaves, when it dies, the next one cleans up."""

    studio: Studio
    project: str
    asked: ExportRequested
    cause: str
    phase: Phase = "waiting"
    done: int = 0
    total: int = 0
    unwanted: bool = False

    async def run(self) -> None:
        """Makes the export and records what came of it; raises ``Unavailable`` when it has to be tried again."""
        try:
            receipt = await self._ask(StartExport(export_id=self.asked.export_id))
            if not any(one.type == ExportStarted.__name__ for one in receipt.events):
                return  # too many workers died over it
            beating = asyncio.create_task(self._beat())
            try:
                await self._ask(await self._made())
            finally:
                beating.cancel()
                with suppress(asyncio.CancelledError):
                    await beating
        except Stopped:
            log.info("export_stopped", project=self.project, export=self.asked.export_id)
        except Refused as error:
            if not error.code.startswith("export_") or error.code == "export_edited":
                raise
            # It is over already: cancelled, or made by a worker that died before it could say so.
            log.info("export_over", project=self.project, export=self.asked.export_id, why=error.code)

    async def _made(self) -> FinishExport | FailExport:
        try:
            return FinishExport(export_id=self.asked.export_id, result=await self._result())
        except Stopped:
            raise
        except Unavailable as error:
            if error.code not in FINAL:
                raise
            return self._failure(error)
        except ComfyVNError as error:
            return self._failure(error)
        except Exception:
            log.exception("export_failed", project=self.project, export=self.asked.export_id)
            return FailExport(export_id=self.asked.export_id, failure=Failure(
                error="export_defect", message="The export failed by a defect of ours; the worker's log says where.",
                remediation=({"text": "Report it with the worker's log.", "action": "report_defect"},),
            ))

    def _failure(self, error: ComfyVNError) -> FailExport:
        return FailExport(export_id=self.asked.export_id, failure=Failure(
            error=error.code, message=error.message[:2000],
            remediation=tuple({"text": one.text, "action": one.action} for one in error.remediation[:20]),
            detail=error.detail,
        ))

    async def _result(self) -> Result:
        self._tell("reading", 0, 0)
        order = self.asked.order
        found = await gathered(self.studio, self.project, order)
        await self._allowed(found)
        folder = home(self.studio.settings, self.project, order)
        made = await export_folder(self.studio, found, folder, self._tell, force=order.force)
        name = f"{self.project}-{folder.name}"
        stored = await self._known(made) or await self._packed(found, made, name)
        return Result(digest=stored.digest, size=stored.size, name=f"{name}.zip", **made.told())

    async def _allowed(self, found: Gathered) -> None:
        """The gate, before anything is written. What was allowed when it was asked for must still be."""
        who = self._asker()
        if self.asked.decisions and all(one["allow"] for one in await foreseen(self.studio, self.project, found, who)):
            return
        await enforced(self.studio, self.project, found, who)

    async def _known(self, made: Made) -> BlobInfo | None:
        """The archive of an earlier export of the same recipe, where it is still stored."""
        rows = await asyncio.to_thread(self._finished)
        for result in rows:
            if result["recipe"] == made.recipe and (one := await self.studio.blobs.head(result["digest"])):
                return one
        return None

    def _finished(self) -> list[dict[str, str]]:
        with self.studio.models.reader() as reader:
            rows = reader.rows("exports", Where("project", "=", self.project), Where("status", "=", "finished"),
                               order=("-requested_position",), limit=20)
        return [row["result"] for row in rows]

    async def _packed(self, found: Gathered, made: Made, root: str) -> BlobInfo:
        package = made.package
        if package is None:
            package = await asyncio.to_thread(found.packed)
        with scratch(self.studio.settings, "export") as room:
            place = room / "game.zip"
            await export_archive(self.studio, package, place, root, self._tell)
            self._tell("storing", 0, 1)
            return await self.studio.blobs.put_file(str(place))

    def _tell(self, phase: Phase, done: int, total: int) -> None:
        self.phase, self.done, self.total = phase, done, total
        if self.unwanted:
            raise Stopped

    async def _beat(self) -> None:
        """Tells how far it is, not oftener than people look; a refusal says that nobody wants it any more."""
        while not self.unwanted:
            try:
                await self._ask(ReportExport(
                    export_id=self.asked.export_id, phase=self.phase, done=self.done, total=self.total,
                ))
            except Unavailable:
                pass  # the work itself will find out whether that matters
            except ComfyVNError:
                self.unwanted = True
            await asyncio.sleep(BEAT_SECONDS)

    async def _ask(self, command: Command) -> Receipt:
        return await self.studio.ask(command, self._asker(), project=self.project)

    def _asker(self) -> Asker:
        return Asker("process:exports", correlation_id=self.asked.export_id, causation_id=self.cause)


PROCESS = Process(
    name="exports", events=(ExportRequested,), opened=opened, at_once=1, ack_wait_seconds=9.0,
    about="Games made of stories, after the policy allowed it.",
)
