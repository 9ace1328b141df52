"""Runs processes: an event comes out of an inbox, commands go in, and whatever crashes in between changes nothing.

The commands of one event are asked under a key made from the event's id, so the second worker that does the same work
gets the first one's answer. What the studio cannot answer now is tried again with growing pauses; what a rule refuses,
or what fails again and again, is parked: it stands in ``survey()``, in the log and waits for ``rerun``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import structlog

from domain.errors import ComfyVNError, NotFound, Remedy, Unavailable
from domain.ports import Delivery, Inbox, Inboxes, Parked, Recorded
from services.processes.declaration import Process, React
from services.registry import Undecodable
from services.studio import Asker, Studio

FAILURES: Final = 5
"""Deliveries of one event after which an error of the process itself parks it."""

PATIENCE: Final = 200
"""Deliveries of one event after which it is parked although only something was away: hours, with the pauses."""

LONGEST_PAUSE_SECONDS: Final = 60.0

log = structlog.get_logger("processes")


@dataclass(slots=True)
class Tally:
    """What one process has done in this worker since it started."""

    running: int = 0
    done: int = 0
    put_off: int = 0
    parked: int = 0
    trouble: str = ""


class Surveyed(NamedTuple):
    """How a process stands, whoever works for it: events waiting, being worked on, and parked."""

    name: str
    about: str
    waiting: int
    in_flight: int
    parked: tuple[Parked, ...]


@dataclass(slots=True)
class Runner:
    """All declared processes in one worker. ``pause_seconds`` is the first pause before something is tried again."""

    studio: Studio
    inboxes: Inboxes
    processes: Sequence[Process]
    pause_seconds: float = 1.0
    tallies: dict[str, Tally] = field(default_factory=dict)

    async def run(self) -> None:
        """Until it is cancelled; what is being worked on then goes to the next worker at once."""
        async with asyncio.TaskGroup() as group:
            for process in self.processes:
                group.create_task(self._serve(process), name=f"process {process.name}")

    def status(self) -> Mapping[str, Tally]:
        """What this worker has done, by process."""
        return {process.name: self._tally(process) for process in self.processes}

    async def survey(self) -> list[Surveyed]:
        """How every process stands; raises ``Unavailable``. Needs no running worker."""
        found = []
        for process in self.processes:
            inbox = await self._inbox(process)
            waiting, in_flight, _ = await inbox.status()
            found.append(Surveyed(process.name, process.about, waiting, in_flight, tuple(await inbox.parked())))
        return found

    async def rerun(self, name: str, position: int | None = None, *, dry_run: bool = False) -> list[int]:
        """Runs a parked event again, or all of them; the positions that are done with now. With ``dry_run`` those that
        would be run.

        Raises ``NotFound`` for an unknown process or an event that is not parked, and whatever stops the first that
        fails again; that one and those after it stay parked.
        """
        process = next((one for one in self.processes if one.name == name), None)
        inbox = await self._inbox(process) if process else None
        parked = await inbox.parked() if inbox else []
        positions = [one.position for one in parked if position in (None, one.position)]
        if process is None or inbox is None or (position is not None and not positions):
            what = f"position {position} of {name}" if process else f"process {name}"
            raise NotFound(
                f"There is no {what} to run again.", error="not_parked",
                remediation=[Remedy("List what is parked.", "list_parked")],
                detail={"processes": [one.name for one in self.processes]},
            )
        if dry_run:
            return positions
        async with process.opened(self.studio) as react:
            for one in positions:
                async for batch in self.studio.log.read(after=one - 1, upto=one):
                    for recorded in batch:
                        await self._react(process, react, recorded)
                await inbox.forget(one)
        return positions

    # --- one process ------------------------------------------------------------------------------------------

    async def _serve(self, process: Process) -> None:
        tally = self._tally(process)
        async with AsyncExitStack() as stack:
            react = await stack.enter_async_context(process.opened(self.studio))
            inbox: Inbox | None = None
            tasks: set[asyncio.Task[None]] = set()
            stack.push_async_callback(_ended, tasks)
            away = 0
            while True:
                if len(tasks) >= process.at_once:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    continue
                try:
                    inbox = inbox or await self._inbox(process)
                    deliveries = await inbox.fetch(process.at_once - len(tasks), process.ack_wait_seconds / 6)
                    away = 0
                except Unavailable as error:
                    away += 1
                    tally.trouble = error.message
                    log.warning("inbox_unavailable", process=process.name, reason=error.message)
                    await asyncio.sleep(self._pause(away))
                    continue
                except Exception as error:  # nobody may be left waiting for a process that has died
                    away += 1
                    tally.trouble = f"{type(error).__name__}: {error}"[:500]
                    log.error("process_defect", process=process.name, exc_info=error)
                    await asyncio.sleep(self._pause(away))
                    continue
                for delivery in deliveries:
                    task = asyncio.create_task(self._handle(process, react, delivery))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)

    async def _handle(self, process: Process, react: React, delivery: Delivery) -> None:
        tally = self._tally(process)
        tally.running += 1
        recorded = delivery.recorded
        try:
            async with _alive(delivery, process.ack_wait_seconds / 3):
                await self._react(process, react, recorded)
            await delivery.ack()
            tally.done += 1
        except asyncio.CancelledError:
            with suppress(Unavailable):
                await delivery.later(0)
            raise
        except Exception as error:
            tally.trouble = f"position {recorded.position}: {error}"[:500]
            with suppress(Unavailable):  # then it comes again by itself
                await self._failed(process, delivery, error, tally)
        finally:
            tally.running -= 1

    async def _failed(self, process: Process, delivery: Delivery, error: Exception, tally: Tally) -> None:
        told: dict[str, Any] = {
            "process": process.name, "position": delivery.recorded.position, "type": delivery.recorded.type,
            "attempt": delivery.attempt, "reason": str(error)[:500],
        }
        limit = 1 if isinstance(error, ComfyVNError | Undecodable) else FAILURES
        if isinstance(error, Unavailable):
            limit = PATIENCE
        if delivery.attempt >= limit:
            unexpected = not isinstance(error, ComfyVNError | Undecodable)
            log.error("event_parked", **told, exc_info=error if unexpected else None)
            await delivery.give_up(f"{type(error).__name__}: {error}"[:1000], self.studio.clock())
            tally.parked += 1
        else:
            pause = self._pause(delivery.attempt)
            log.warning("event_put_off", **told, pause_seconds=pause)
            await delivery.later(pause)
            tally.put_off += 1

    async def _react(self, process: Process, react: React, recorded: Recorded) -> None:
        if recorded.type not in {event.__name__ for event in process.events}:
            return
        happened = self.studio.registry.happened(recorded)
        if happened.event is None:  # written by a newer release, which has its own processes
            return
        commands = await react(happened)
        if not commands:
            return
        asker = Asker(
            actor=f"process:{process.name}", key=f"{process.name}:{recorded.event_id}",
            correlation_id=recorded.correlation_id, causation_id=recorded.event_id,
        )
        try:
            await self.studio.ask_all(
                commands, asker, project=recorded.stream.project, worldline=_worldline(recorded)
            )
        except ComfyVNError as error:
            # Somebody has reacted to this event before, with other words (a newer decoder, say): theirs stand.
            if error.code != "idempotency_key_reused":
                raise

    async def _inbox(self, process: Process) -> Inbox:
        homes = self.studio.registry.event_types
        categories = sorted({homes[event.__name__][0].category for event in process.events})
        return await self.inboxes.open(
            process.name, [f"vn.*.*.{category}.*" for category in categories],
            ack_wait_seconds=process.ack_wait_seconds, in_flight=max(64, process.at_once * 8),
        )

    def _tally(self, process: Process) -> Tally:
        return self.tallies.setdefault(process.name, Tally())

    def _pause(self, attempt: int) -> float:
        return float(min(self.pause_seconds * 2 ** min(attempt - 1, 20), LONGEST_PAUSE_SECONDS))


def _worldline(recorded: Recorded) -> str:
    return "main" if recorded.stream.worldline == "-" else recorded.stream.worldline


@asynccontextmanager
async def _alive(delivery: Delivery, every_seconds: float) -> AsyncIterator[None]:
    """Keeps saying that the delivery is being worked on."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(every_seconds)
            with suppress(Unavailable):
                await delivery.working()

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


async def _ended(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
