"""Inboxes: durable deliveries of events to processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from domain.ports.events import Recorded


class Parked(NamedTuple):
    """A delivery that was given up: it waits for a person to run it again. ``time`` is RFC 3339 in UTC."""

    position: int
    attempts: int
    reason: str
    time: str


class InboxStatus(NamedTuple):
    """How an inbox stands: events not delivered yet, delivered and not answered yet, and given up."""

    waiting: int
    in_flight: int
    parked: int


class Delivery(Protocol):
    """One event on its way to one process. What is not answered within the inbox's time comes again, somewhere.

    Every method raises ``Unavailable`` when the answer cannot be given; the event then comes again.
    """

    @property
    def recorded(self) -> Recorded: ...

    @property
    def attempt(self) -> int:
        """1 for the first delivery."""
        ...

    async def ack(self) -> None:
        """It is done with."""
        ...

    async def later(self, seconds: float) -> None:
        """It comes again after so many seconds."""
        ...

    async def working(self) -> None:
        """It is being worked on: its time begins anew."""
        ...

    async def give_up(self, reason: str, time: str) -> None:
        """It is parked, durably, and comes no more by itself."""
        ...


class Inbox(Protocol):
    """The events that one process has yet to react to, remembered durably and shared by all its workers."""

    async def fetch(self, count: int, seconds: float) -> list[Delivery]:
        """Up to ``count`` deliveries, waiting at most so long for the first; raises ``Unavailable``."""
        ...

    async def parked(self) -> list[Parked]:
        """What was given up, by position; at most 1,000 of them."""
        ...

    async def forget(self, position: int) -> None:
        """Takes a parked delivery off the list; harmless when it is not there."""
        ...

    async def status(self) -> InboxStatus:
        """How it stands; raises ``Unavailable``."""
        ...


class Inboxes(Protocol):
    """Where processes get their inboxes."""

    async def open(
        self, name: str, patterns: Sequence[str], *, ack_wait_seconds: float, in_flight: int
    ) -> Inbox:
        """The inbox of that name, made when there is none: it then begins with the first event of the log.

        ``patterns`` are subjects with wildcards. At most ``in_flight`` deliveries are unanswered at a time, over all
        workers. Raises ``Unavailable``.
        """
        ...

    async def close(self) -> None:
        """Gives connections back."""
        ...
