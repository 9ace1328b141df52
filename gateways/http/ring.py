"""The newest events of the log, encoded once, bounded in number and in bytes, and cut into chunks for listeners."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple

from domain.ports import Recorded, Stream
from services.wire import event_line

RING_EVENTS: Final = 20_000
RING_BYTES: Final = 32 * 2**20
"""A ring keeps at most that many events, and at most that many bytes of them."""

CHUNK_BYTES: Final = 64 * 2**10
"""A chunk is closed when it is as large as this; a single event may be larger."""


class Wanted(NamedTuple):
    """Which events a subscriber wants; an empty set wants all."""

    project: frozenset[str] = frozenset()
    worldline: frozenset[str] = frozenset()
    category: frozenset[str] = frozenset()
    id: frozenset[str] = frozenset()
    event: frozenset[str] = frozenset()

    def matches(self, stream: Stream, type_: str) -> bool:
        """Whether an event is wanted."""
        return (
            (not self.project or stream.project in self.project)
            and (not self.category or stream.category in self.category)
            and (not self.event or type_ in self.event)
            and (not self.worldline or stream.worldline in self.worldline)
            and (not self.id or stream.id in self.id)
        )

    @property
    def pattern(self) -> str:
        """The narrowest pattern of subjects that covers everything wanted."""
        tokens = [
            next(iter(names)) if len(names) == 1 else "*"
            for names in (self.project, self.worldline, self.category, self.id)
        ]
        return "vn.>" if tokens == ["*"] * 4 else "vn." + ".".join(tokens)


class Entry(NamedTuple):
    """An event in the ring: ``line`` is its JSON, ``frame`` the same as a server-sent event."""

    position: int
    stream: Stream
    type: str
    line: bytes
    frame: bytes

    @property
    def size(self) -> int:
        return len(self.line) + len(self.frame)

    @classmethod
    def of(cls, recorded: Recorded) -> Entry:
        line = event_line(recorded)
        return cls(recorded.position, recorded.stream, recorded.type, line, sse_frame(recorded.position, line))


class Chunk(NamedTuple):
    """Wanted events after one cursor, up to and including position ``upto``. Empty: nothing wanted lies there."""

    entries: tuple[Entry, ...]
    frames: bytes
    upto: int

    @classmethod
    def of(cls, found: Iterable[Entry], upto: int) -> Chunk:
        entries = tuple(found)
        return cls(entries, b"".join([one.frame for one in entries]), upto)


def sse_frame(position: int, line: bytes) -> bytes:
    """An event as a server-sent event; the line holds no line breaks."""
    return b"id: %d\ndata: %b\n\n" % (position, line)


class Ring:
    """Events after position ``floor`` up to and including ``head``."""

    def __init__(self, *, events: int = RING_EVENTS, size: int = RING_BYTES) -> None:
        self.limit, self.size_limit = events, size
        self.head = self.floor = 0
        self._positions: list[int] = []
        self._entries: list[Entry | None] = []
        self._first = 0
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries) - self._first

    @property
    def size(self) -> int:
        """Bytes of the events that are kept: each as a line and as a frame."""
        return self._size

    def begin(self, head: int) -> None:
        """Starts empty at the log's end."""
        self.head = self.floor = head

    def take(self, recorded: Iterable[Recorded]) -> None:
        """Adds the events that follow and forgets the oldest ones that are too many."""
        for one in recorded:
            entry = Entry.of(one)
            self._positions.append(entry.position)
            self._entries.append(entry)
            self._size += entry.size
            self.head = entry.position
        while len(self) > self.limit or (self._size > self.size_limit and len(self)):
            self._forget()
        if self._first > 1000 and self._first * 4 > len(self._entries):
            del self._positions[: self._first]
            del self._entries[: self._first]
            self._first = 0

    def _forget(self) -> None:
        oldest = self._entries[self._first]
        assert oldest is not None, "only what was kept is forgotten"
        self._entries[self._first] = None
        self._size -= oldest.size
        self.floor = oldest.position
        self._first += 1

    def chunk(self, wanted: Wanted, after: int, upto: int) -> Chunk:
        """Wanted events with ``after < position <= upto``, or as many of them as one chunk holds."""
        found: list[Entry] = []
        size = 0
        for index in range(bisect_right(self._positions, after, lo=self._first), len(self._entries)):
            entry = self._entries[index]
            assert entry is not None, "nothing after the floor is forgotten"
            if entry.position > upto:
                break
            if wanted.matches(entry.stream, entry.type):
                found.append(entry)
                size += len(entry.frame)
                if size >= CHUNK_BYTES:
                    return Chunk.of(found, entry.position)
        return Chunk.of(found, upto)
