"""One job in one worker's hands: loading it as it is now, and recording what happens to it, whatever is away."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import structlog

from commands.declaration import Command
from domain.errors import ComfyVNError, Unavailable
from domain.ids import UNBRANCHED
from domain.ports import Stream
from domain.ports.leases import Lease
from domain.studio.fault import Fault
from domain.studio.job import CATEGORY, Closed, Open, Unrequested
from services.redaction import redact
from services.studio import Asker, Studio

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0

FRESH_SECONDS: Final = 0.05
"""How long a job counts as known after something was recorded of it here."""

log = structlog.get_logger("jobs")


class Gone(Exception):
    """The job is not ours any more: somebody else may be working on it, so nothing more is done or said about it."""


@dataclass(slots=True)
class Hand:
    """A job that this worker holds. ``position`` is that of the newest event that was recorded here."""

    studio: Studio
    project: str
    job_id: str
    worker: str
    lease: Lease
    position: int = 0
    refusals: int = 0
    refused: str = ""
    recorded_at: float = float("-inf")
    touched: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def stream(self) -> Stream:
        return Stream(self.project, UNBRANCHED, CATEGORY, self.job_id)

    async def load(self) -> Unrequested | Open | Closed:
        """The job as it is now, whoever has moved it; waits while the log is away. Raises ``Gone``."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            self.check()
            try:
                aggregates = self.studio.dispatcher.aggregates
                # What was recorded a moment ago was decided on everything before it, and what is not in memory is read
                # anyway: neither need be asked for.
                fresh = monotonic() - self.recorded_at < FRESH_SECONDS or self.stream not in aggregates
                newest = None if fresh else await self.studio.log.last(self.stream)
                found = await aggregates.load(self.stream)
                if newest is not None and found.position < newest.position:
                    aggregates.forget(self.stream)
                    found = await aggregates.load(self.stream)
                state: Unrequested | Open | Closed = found.state
                return state
            except Unavailable as error:
                log.warning("job_not_loaded", job=self.job_id, reason=error.message)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def record(self, *commands: Command) -> bool:
        """Asks commands as one, again and again while the log is away; false when a rule says no, since the job has
        moved on meanwhile. Raises ``Gone``."""
        asker = Asker(f"worker:{self.worker}", correlation_id=self.job_id)
        pause = FIRST_PAUSE_SECONDS
        while True:
            self.check()
            try:
                receipts = await self.studio.ask_all(commands, asker, project=self.project)
                self.position = max(self.position, *(one.position for one in receipts))
                self.refusals, self.recorded_at = 0, monotonic()
                return True
            except Unavailable as error:
                log.warning("job_not_recorded", job=self.job_id, what=type(commands[0]).__name__, reason=error.message)
            except ComfyVNError as error:
                log.info("job_moved_on", job=self.job_id, what=type(commands[0]).__name__, why=error.code)
                self.studio.dispatcher.aggregates.forget(self.stream)
                self.recorded_at = float("-inf")
                self.refusals, self.refused = self.refusals + 1, error.message
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def check(self) -> None:
        """Raises ``Gone`` when somebody else may have the job."""
        if not self.lease.held:
            raise Gone

    async def rest(self, step: float, seconds: float) -> None:
        """Waits so long, looking every ``step`` whether the job is still ours; raises ``Gone``."""
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0:
            self.check()
            await asyncio.sleep(min(left, step))

    def now(self) -> datetime:
        return moment(self.studio.clock())

    def until(self, told: str) -> float:
        """Seconds until a time; negative when it is over."""
        return (moment(told) - self.now()).total_seconds()


def moment(told: str) -> datetime:
    """RFC 3339 as a time in UTC."""
    found = datetime.fromisoformat(told)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def stamp(at: datetime) -> str:
    """A time as events carry it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def safe(fault: Fault) -> Fault:
    """A fault as it may be kept for ever: nothing secret, nothing endless."""
    return fault.model_copy(update={"message": str(redact(fault.message))[:2000], "detail": redact(fault.detail)})
