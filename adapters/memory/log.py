"""A log in memory: the whole port as real code without a server, for tests and for thinking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

from domain.errors import Invalid
from domain.ports import Commit, Conflict, Proposed, Recorded, Stream


class MemoryLog:
    """Keeps events in a list; positions start at 1. Nothing survives the process."""

    def __init__(self, *, event_limit: int = 2**20) -> None:
        self.events: list[Recorded] = []
        self.event_limit = event_limit
        self._streams: dict[Stream, list[Recorded]] = {}
        self._snapshots: dict[Stream, bytes] = {}
        self._grown = asyncio.Condition()

    async def append(self, commits: Sequence[Commit]) -> tuple[int, ...]:
        self._check(commits)
        behind = [commit.stream for commit in commits if self._last_position(commit.stream) != commit.expected]
        if behind:
            there = [self._there(commit) for commit in commits]
            if all(there):
                return tuple(one.position for found in there for one in found)
            raise Conflict(behind)
        recorded = [self._record(commit.stream, event) for commit in commits for event in commit.events]
        async with self._grown:
            self._grown.notify_all()
        return tuple(one.position for one in recorded)

    async def load(self, events: Sequence[Recorded]) -> None:
        if not events:
            return
        if [one.position for one in events] != list(range(events[0].position, events[0].position + len(events))):
            raise Invalid("Loaded events must follow on one another.", error="positions_with_holes")
        if events[0].position != len(self.events) + 1:
            if self.events[events[0].position - 1 : events[-1].position] == list(events):
                return
            raise Conflict([events[0].stream])
        for one in events:
            self.events.append(one)
            self._streams.setdefault(one.stream, []).append(one)
        async with self._grown:
            self._grown.notify_all()

    async def head(self) -> int:
        return len(self.events)

    async def last(self, stream: Stream) -> Recorded | None:
        events = self._streams.get(stream)
        return events[-1] if events else None

    async def read_stream(self, stream: Stream, *, after: int = 0, upto: int | None = None) -> list[Recorded]:
        end = len(self.events) if upto is None else upto
        return [one for one in self._streams.get(stream, ()) if after < one.position <= end]

    async def read(
        self, *, after: int = 0, upto: int | None = None, pattern: str = "vn.>", batch: int = 1000
    ) -> AsyncIterator[list[Recorded]]:
        end = len(self.events) if upto is None else min(upto, len(self.events))
        for found in self._slices(after, end, pattern, batch):
            yield found

    async def follow(self, *, after: int = 0, pattern: str = "vn.>") -> AsyncIterator[list[Recorded]]:
        while True:
            end = len(self.events)
            for found in self._slices(after, end, pattern, 1000):
                yield found
            after = max(after, end)
            async with self._grown:
                while len(self.events) <= after:
                    await self._grown.wait()

    async def load_snapshot(self, stream: Stream) -> bytes | None:
        return self._snapshots.get(stream)

    async def save_snapshot(self, stream: Stream, snapshot: bytes) -> None:
        self._snapshots[stream] = snapshot

    def _slices(self, after: int, end: int, pattern: str, size: int) -> Iterator[list[Recorded]]:
        for start in range(after, end, size):
            matching = [one for one in self.events[start : min(start + size, end)]
                        if subject_matches(pattern, one.stream.subject)]
            if matching:
                yield matching

    def _last_position(self, stream: Stream) -> int:
        events = self._streams.get(stream)
        return events[-1].position if events else 0

    def _check(self, commits: Sequence[Commit]) -> None:
        events = [event for commit in commits for event in commit.events]
        if len(events) > 1000:
            raise Invalid("One append takes at most 1000 events.", error="append_too_large")
        if any(len(event.data) > self.event_limit for event in events):
            raise Invalid(f"One event takes at most {self.event_limit} bytes.", error="event_too_large")
        if len({commit.stream for commit in commits}) != len(commits):
            raise Invalid("One append names a stream twice.", error="stream_named_twice")

    def _there(self, commit: Commit) -> list[Recorded]:
        """The commit's own events, when they stand in the stream after the position that it expects."""
        since = [one for one in self._streams.get(commit.stream, ()) if one.position > commit.expected]
        ids, found = [event.event_id for event in commit.events], [one.event_id for one in since]
        start = found.index(ids[0]) if ids and ids[0] in found else len(found)
        return since[start : start + len(ids)] if found[start : start + len(ids)] == ids else []

    def _record(self, stream: Stream, event: Proposed) -> Recorded:
        recorded = Recorded(
            len(self.events) + 1, stream, event.type, event.schema, event.data, event.event_id, event.version,
            event.time, event.actor, event.command_id, event.request, event.correlation_id, event.causation_id,
        )
        self.events.append(recorded)
        self._streams.setdefault(stream, []).append(recorded)
        return recorded


def subject_matches(pattern: str, subject: str) -> bool:
    """Whether a NATS subject pattern (``*`` one token, ``>`` all that follow) matches a subject."""
    wanted, tokens = pattern.split("."), subject.split(".")
    for index, part in enumerate(wanted):
        if part == ">":
            return len(tokens) > index
        if index >= len(tokens) or part not in ("*", tokens[index]):
            return False
    return len(wanted) == len(tokens)
