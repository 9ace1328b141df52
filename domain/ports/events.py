"""The log: addresses of streams, events before and after they are recorded, and the port itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from domain.errors import Invalid


class Stream(NamedTuple):
    """The address of one aggregate's events; its ``subject`` is where they stand in the log."""

    project: str
    worldline: str
    category: str
    id: str

    @property
    def subject(self) -> str:
        return f"vn.{self.project}.{self.worldline}.{self.category}.{self.id}"

    @classmethod
    def of(cls, subject: str) -> Stream:
        """The stream of a subject; raises ``Invalid`` for a subject that is not ours."""
        parts = subject.split(".")
        if len(parts) != 5 or parts[0] != "vn":
            raise Invalid(f"{subject!r} is not the subject of an event.", error="invalid_subject")
        return cls(*parts[1:])


class Proposed(NamedTuple):
    """An event that is about to be appended. Times are RFC 3339 in UTC; ``data`` is its JSON body."""

    type: str
    schema: int
    data: bytes
    event_id: str
    version: int
    time: str
    actor: str
    command_id: str
    request: str
    correlation_id: str
    causation_id: str


class Recorded(NamedTuple):
    """An event as the log holds it.

    ``position`` is the log's sequence (1 is the first); ``version`` the aggregate's own (1 is its first event);
    ``request`` the digest of the command that caused it, which tells a retry from a reused key.
    """

    position: int
    stream: Stream
    type: str
    schema: int
    data: bytes
    event_id: str
    version: int
    time: str
    actor: str
    command_id: str
    request: str
    correlation_id: str
    causation_id: str


class Commit(NamedTuple):
    """Events of one stream and the position at which its state was folded (0: nothing yet)."""

    stream: Stream
    expected: int
    events: tuple[Proposed, ...]


class Conflict(Exception):
    """Somebody else appended to a stream first. Not the caller's error: the dispatcher reloads and decides again."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        super().__init__("appended to meanwhile: " + ", ".join(stream.subject for stream in streams))
        self.streams = tuple(streams)


class Log(Protocol):
    """The only truth: an ordered, append-only, durable sequence of events."""

    async def append(self, commits: Sequence[Commit]) -> tuple[int, ...]:
        """Appends all commits or none; the positions of their events in the order given.

        Retrying is the log's own business: an append that finds its own events already there is a success.
        Raises ``Conflict`` when a stream has moved on, ``Unavailable`` when the outcome cannot be learnt in time
        (the events may be there: only the same command id may be tried again), ``Invalid`` when an event is too large.
        """
        ...

    async def load(self, events: Sequence[Recorded]) -> None:
        """Appends up to 1,000 recorded events exactly as they are, all or none: positions, ids and times too.

        The log must stand at ``events[0].position - 1``, else ``Conflict``; positions must have no holes. Finding the
        same events there already is a success. Raises ``Unavailable`` and ``Invalid`` as ``append``.
        """
        ...

    async def head(self) -> int:
        """Position of the newest event, 0 for an empty log."""
        ...

    async def last(self, stream: Stream) -> Recorded | None:
        """The newest event of a stream. Never older than what this process has appended or read of it."""
        ...

    async def read_stream(self, stream: Stream, *, after: int = 0, upto: int | None = None) -> list[Recorded]:
        """The events of one stream with ``after < position <= upto``, complete up to the stream's end."""
        ...

    def read(
        self, *, after: int = 0, upto: int | None = None, pattern: str = "vn.>", batch: int = 1000
    ) -> AsyncIterator[list[Recorded]]:
        """Batches of everything after a position, in order; ends at ``upto``, or at the head as it was at the start."""
        ...

    def follow(self, *, after: int = 0, pattern: str = "vn.>") -> AsyncIterator[list[Recorded]]:
        """Like ``read``, then goes on live for ever: in order, no gaps, no doubles, also across reconnects."""
        ...

    async def load_snapshot(self, stream: Stream) -> bytes | None:
        """What was last saved for a stream, or nothing: a snapshot may always be missing."""
        ...

    async def save_snapshot(self, stream: Stream, snapshot: bytes) -> None:
        """Keeps the newest snapshot of a stream; losing it costs time, never facts."""
        ...
