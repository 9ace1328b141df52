"""What the core needs from the outside world, as protocols; adapters implement them, one test suite holds them all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Protocol

from domain.errors import Invalid
from domain.tables import Change, Reader, Table


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


class Checkpoint(NamedTuple):
    """How far a read model has counted.

    ``generation`` grows with every swap, so that a projector that still works for the old tables notices.
    A ``stopped`` projection met an event that it could not apply: ``failed_position`` and ``error`` say which and why;
    its tables stay readable as of ``position``.
    """

    projection: str
    version: int
    generation: int
    position: int
    status: Literal["live", "stopped"]
    failed_position: int
    error: str


class Progress(NamedTuple):
    """Row changes of one projection for one stretch of the log: from ``after`` (exclusive) up to ``position``.

    ``changes`` pairs each change with the position of the event that it follows from, in order.
    """

    projection: str
    generation: int
    after: int
    position: int
    changes: Sequence[tuple[int, Change]]


class Fingerprint(NamedTuple):
    """What the tables of a read model hold at a position: table -> digest of its rows."""

    version: int
    position: int
    tables: Mapping[str, str]


class Overtaken(Exception):
    """A read model moved on under a projector (another projector, a swap): read the checkpoint and start from there."""


class ReadModels(Protocol):
    """Tables of read models with their checkpoints in the same database. Blocking: call it from a thread.

    Every method raises ``Unavailable`` when the database cannot be reached, is full or is damaged.
    """

    def reader(self) -> AbstractContextManager[Reader]:
        """A reader on one consistent state of all live tables."""
        ...

    def checkpoints(self) -> Mapping[str, Checkpoint]:
        """Projection name -> checkpoint, for every projection that has live tables."""
        ...

    def create(self, projection: str, version: int, tables: Sequence[Table]) -> Checkpoint:
        """Empty live tables at position 0 for a projection that has none; its checkpoint if it has.

        That checkpoint says version 0 when the live tables are of another shape than the declared ones. Raises
        ``Refused`` when a table of that name is there already and belongs to somebody else.
        """
        ...

    def advance(self, steps: Sequence[Progress]) -> None:
        """Applies steps of several projections and moves their checkpoints, all in one transaction.

        Raises ``Overtaken`` (and changes nothing) when a checkpoint is not where a step starts.
        """
        ...

    def stop(self, projection: str, failed_position: int, error: str) -> None:
        """Marks a projection as stopped by an event; ``resume`` takes that back."""
        ...

    def resume(self, projection: str) -> None:
        """Marks a stopped projection as live again, from its checkpoint."""
        ...

    def begin_rebuild(self, projection: str, version: int, tables: Sequence[Table]) -> int:
        """Makes empty tables beside the live ones (dropping leftovers of an earlier try); their generation.

        ``advance`` takes steps for that generation as for the live one.
        """
        ...

    def swap(self, projection: str, generation: int, *, beyond: bool = False) -> bool:
        """Puts rebuilt tables in place of the live ones in one transaction and drops those.

        False, and nothing changes, while the rebuilt tables have counted less than the live ones, unless ``beyond``:
        the live ones have counted beyond the end of the log, so they belong to another one.
        """
        ...

    def drop_rebuild(self, projection: str, generation: int) -> None:
        """Throws rebuilt tables away."""
        ...

    def rebuilds(self) -> Mapping[str, Checkpoint]:
        """Projection name -> checkpoint of its tables that are being rebuilt, for every projection that has such."""
        ...

    def digests(self, projection: str, generation: int | None = None) -> Mapping[str, str]:
        """Table -> digest of its rows in canonical form, the same for the same rows on every database.

        ``generation`` of ``None`` means the live tables.
        """
        ...

    def fingerprint(self, projection: str, generation: int | None = None) -> Fingerprint:
        """``digests`` together with the position that they belong to, from one consistent state.

        Raises ``NotFound`` when there are no such tables.
        """
        ...

    def mend(self) -> str | None:
        """Moves a damaged database aside, so that every read model can be made anew; where it lies now.

        Nothing when the database is sound, or when mending it is its own administrator's business.
        """
        ...

    def close(self) -> None:
        """Gives connections back."""
        ...


class BlobInfo(NamedTuple):
    """A stored blob: ``digest`` is the SHA-256 of its bytes in hex; ``size`` in bytes."""

    digest: str
    size: int


class Blobs(Protocol):
    """Bytes by their content: the same bytes are kept once."""

    async def put_file(self, path: str) -> BlobInfo:
        """Stores a local file's bytes, durably, and returns their address; storing them again is harmless."""
        ...

    async def put(self, data: bytes) -> BlobInfo:
        """Stores bytes that fit in memory."""
        ...

    async def head(self, digest: str) -> BlobInfo | None:
        """What is stored under a digest, or nothing."""
        ...

    async def get(self, digest: str) -> bytes:
        """All bytes of a blob; raises ``NotFound``."""
        ...

    def stream(self, digest: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes ``start <= i < end`` in chunks of at most 1 MiB; raises ``NotFound``."""
        ...

    async def delete(self, digest: str) -> None:
        """Forgets a blob; forgetting what is not there is harmless."""
        ...


class Chain(Protocol):
    """Where the audit keeps its hashes (32 bytes per position of the log) and its signed checkpoints.

    Blocking: call it from a thread. Raises ``Unavailable`` when it cannot be read or written.
    """

    def length(self) -> int:
        """Positions that have a hash: 1 to this one."""
        ...

    def mend(self) -> int:
        """Cuts what a crash left unfinished at the end, nothing else; the length after that. For the writer alone."""
        ...

    def hashes(self, first: int, count: int) -> bytes:
        """The hashes of up to ``count`` positions from ``first`` on, one after the other."""
        ...

    def extend(self, after: int, hashes: bytes) -> None:
        """Durably adds the hashes of the positions that follow ``after``, which must be the length as it is."""
        ...

    def statements(self) -> list[bytes]:
        """The signed checkpoints as they were written, oldest first."""
        ...

    def state(self, statement: bytes) -> None:
        """Durably adds one signed checkpoint, a text of one line."""
        ...

    def key(self) -> bytes | None:
        """The private key (PEM), if there is one here."""
        ...

    def keep_key(self, private: bytes, public: bytes) -> bytes:
        """Keeps a key pair (PEM), the private one for its owner alone, unless there is one; the private key now."""
        ...

    def public_key(self) -> bytes | None:
        """The public key (PEM), if there is one here."""
        ...


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
