"""Inboxes on a log in memory: the whole port as real code without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Final

from adapters.memory.log import MemoryLog, subject_matches
from domain.ports import Delivery, InboxStatus, Parked, Recorded

PAUSE_SECONDS: Final = 0.005


class MemoryInboxes:
    """Inboxes that live as long as this object; opening one again, as after a crash, finds it as it was."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._inboxes: dict[str, MemoryInbox] = {}

    async def open(
        self, name: str, patterns: Sequence[str], *, ack_wait_seconds: float, in_flight: int
    ) -> MemoryInbox:
        inbox = self._inboxes.setdefault(name, MemoryInbox(self._log))
        inbox.patterns, inbox.ack_wait_seconds, inbox.in_flight = tuple(patterns), ack_wait_seconds, in_flight
        return inbox

    async def close(self) -> None:
        """Nothing to give back."""


class MemoryInbox:
    """One inbox: where it is in the log, what is out and until when, and what was given up."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.patterns: tuple[str, ...] = ()
        self.ack_wait_seconds = 30.0
        self.in_flight = 1
        self._position = 0
        self.out: dict[int, MemoryDelivery] = {}
        self.given_up: dict[int, Parked] = {}

    async def fetch(self, count: int, seconds: float) -> list[Delivery]:
        end = monotonic() + seconds
        while True:
            found: list[Delivery] = list(self._due(count))
            if found or monotonic() >= end:
                return found
            await asyncio.sleep(PAUSE_SECONDS)

    async def parked(self) -> list[Parked]:
        return [self.given_up[position] for position in sorted(self.given_up)][:1000]

    async def forget(self, position: int) -> None:
        self.given_up.pop(position, None)

    async def status(self) -> InboxStatus:
        waiting = sum(self._wanted(one) for one in self._log.events[self._position :])
        return InboxStatus(waiting, len(self.out), len(self.given_up))

    def _wanted(self, recorded: Recorded) -> bool:
        return any(subject_matches(pattern, recorded.stream.subject) for pattern in self.patterns)

    def _due(self, count: int) -> list[MemoryDelivery]:
        now = monotonic()
        found = [MemoryDelivery(self, one.recorded, one.attempt + 1)
                 for _, one in sorted(self.out.items()) if one.until <= now][:count]
        while len(found) < count and self._position < len(self._log.events):
            recorded = self._log.events[self._position]
            if self._wanted(recorded):
                if len(self.out) >= self.in_flight:
                    break
                found.append(MemoryDelivery(self, recorded, 1))
                self.out[recorded.position] = found[-1]
            self._position += 1
        for one in found:
            one.until = now + self.ack_wait_seconds
            self.out[one.recorded.position] = one
        return found


class MemoryDelivery:
    """An event that is out until ``until``, by the monotonic clock."""

    def __init__(self, inbox: MemoryInbox, recorded: Recorded, attempt: int) -> None:
        self._inbox = inbox
        self.recorded = recorded
        self.attempt = attempt
        self.until = 0.0

    async def ack(self) -> None:
        self._inbox.out.pop(self.recorded.position, None)

    async def later(self, seconds: float) -> None:
        self._until(seconds)

    async def working(self) -> None:
        self._until(self._inbox.ack_wait_seconds)

    async def give_up(self, reason: str, time: str) -> None:
        position = self.recorded.position
        self._inbox.given_up[position] = Parked(position, self.attempt, reason, time)
        await self.ack()

    def _until(self, seconds: float) -> None:
        held = self._inbox.out.get(self.recorded.position)
        if held is self:
            self.until = monotonic() + seconds
