"""News of jobs: events out of a durable inbox that all workers share, so that each of them wakes one."""

from __future__ import annotations

import asyncio
from typing import Final

from domain.ports import Inbox, Inboxes, Recorded
from domain.studio.job import AttemptResolved, JobCancelRequested, JobPrioritised, JobReleased, JobRequested

INBOX: Final = "jobs"
NEWS: Final = frozenset(
    one.__name__ for one in (JobRequested, JobReleased, JobPrioritised, JobCancelRequested, AttemptResolved)
)
"""Events after which there may be something to take."""

FRESH_LIMIT: Final = 64
"""Requests that are kept until the next look; older ones stand in the read model by then."""


class News:
    """What one worker has heard. ``position`` is that of the newest event after which there may be something to take;
    ``stirred`` is set when there is a reason to look."""

    def __init__(self, inboxes: Inboxes) -> None:
        self._inboxes = inboxes
        self._inbox: Inbox | None = None
        self._fresh: list[Recorded] = []
        self.position = 0
        self.stirred = asyncio.Event()

    async def hear(self, seconds: float) -> None:
        """Takes what there is, waiting for it for so long; raises ``Unavailable``."""
        self._inbox = self._inbox or await self._inboxes.open(
            INBOX, ["vn.*.*.job.*"], ack_wait_seconds=30.0, in_flight=4096
        )
        deliveries = await self._inbox.fetch(256, seconds)
        for delivery in deliveries:
            if delivery.recorded.type in NEWS:
                self.position = max(self.position, delivery.recorded.position)
            await delivery.ack()
        self._fresh += [one.recorded for one in deliveries if one.recorded.type == JobRequested.__name__]
        del self._fresh[:-FRESH_LIMIT]
        if any(one.recorded.type in NEWS for one in deliveries):
            self.stirred.set()

    def fresh(self) -> list[Recorded]:
        """The requests since this was asked last, each told once."""
        told, self._fresh = self._fresh, []
        return told
