"""Group commit: what waits together is made durable together, and nobody pays for a neighbour's conflict.

A durable publish is one disk flush; an atomic batch has a fixed price of some milliseconds whatever its size. So a
few waiting events are published one by one, and many become one batch, each keeping its own expectation. A batch
that is refused tells nothing about its members: each is then tried alone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence
from typing import Final

from adapters.nats import wire
from adapters.nats.publishing import Entry, Publisher, full, out_of_time
from domain.errors import Invalid, Remedy
from domain.ports import Commit

FEW: Final = 8
"""Up to so many single events at once are published one by one; measured, see docs/decisions/0010."""

MANY: Final = 256
"""Most messages of different commits in one batch (the server takes 1000, which one commit alone may use)."""

BYTES: Final = 4 << 20
"""Most bytes of different commits in one batch."""

EVENTS: Final = 1000
"""Most events of one append: what JetStream takes in one atomic batch."""

APPEND_BYTES: Final = 64 << 20
"""Most bytes of one append."""


class GroupCommit:
    """Sends appends at once while they are few, else in rounds; no subject is under way twice."""

    def __init__(self, publisher: Publisher, *, event_limit: int, patience_seconds: float) -> None:
        self.publisher = publisher
        self.event_limit = event_limit
        self.patience_seconds = patience_seconds
        self._waiting: deque[Entry] = deque()
        self._busy: set[str] = set()
        self._flights: set[asyncio.Task[None]] = set()
        self._round: asyncio.Task[None] | None = None
        self._closed = False

    async def append(self, commits: Sequence[Commit]) -> tuple[int, ...]:
        """Appends all or none; see ``domain.ports.Log.append``."""
        entry = self._entry(commits)
        if not entry.messages:
            return ()
        if self._closed:
            raise out_of_time(entry, "the log is closed")
        if why := self.publisher.lack():
            raise full(why)
        self._waiting.append(entry)
        self._pump()
        # A caller that is cancelled cancels this future and nothing else: an entry that still waits is passed over,
        # one that is under way goes on, since its neighbours in the batch depend on it.
        return await entry.future

    async def close(self) -> None:
        """Lets what is under way finish and turns away what still waits."""
        self._closed = True
        for entry in self._waiting:
            entry.fail(out_of_time(entry, "the log was closed"))
        self._waiting.clear()
        await asyncio.gather(*self._flights, return_exceptions=True)

    def _entry(self, commits: Sequence[Commit]) -> Entry:
        messages: list[tuple[str, bytes, bytes, int | None]] = []
        size = 0
        for commit in commits:
            subject = commit.stream.subject
            for index, event in enumerate(commit.events):
                if len(event.data) > self.event_limit:
                    raise _too_large(event.type, len(event.data), self.event_limit)
                headers = wire.event_headers(commit.stream, event)
                messages.append((subject, headers, event.data, commit.expected if index == 0 else None))
                size += len(headers) + len(event.data)
        if len(messages) > EVENTS or size > APPEND_BYTES:
            raise Invalid(
                f"One append takes at most {EVENTS} events and {APPEND_BYTES} bytes; here it is {len(messages)} events "
                f"and {size} bytes.",
                error="append_too_large",
                remediation=[Remedy("Divide it into several commands.", "divide")],
                detail={"events": len(messages), "bytes": size, "limit": EVENTS, "limit_bytes": APPEND_BYTES},
            )
        subjects = [commit.stream.subject for commit in commits]
        if len(set(subjects)) != len(subjects):
            raise Invalid(
                "One append names a stream twice.", error="stream_named_twice",
                remediation=[Remedy("Put all events of a stream into one commit.", "merge_commits")],
            )
        loop = asyncio.get_running_loop()
        return Entry(tuple(commits), messages, size, frozenset(subjects), loop.time() + self.patience_seconds,
                     loop.create_future())

    def _pump(self) -> None:
        while self._waiting and self._round is None:
            entries = self._take()
            if not entries:
                return
            if len(entries) + len(self._flights) <= FEW and all(len(entry.messages) == 1 for entry in entries):
                for entry in entries:
                    self._launch([entry])
            else:
                self._round = self._launch(entries)

    def _launch(self, entries: list[Entry]) -> asyncio.Task[None]:
        for entry in entries:
            self._busy |= entry.subjects
        flight = asyncio.create_task(self._fly(entries))
        self._flights.add(flight)
        flight.add_done_callback(self._landed)
        return flight

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        if flight is self._round:
            self._round = None
        self._pump()

    def _take(self) -> list[Entry]:
        now = asyncio.get_running_loop().time()
        taken: list[Entry] = []
        left: list[Entry] = []
        subjects = set(self._busy)
        messages = size = 0
        while self._waiting and messages < MANY and size < BYTES:
            entry = self._waiting.popleft()
            if entry.future.done():
                continue
            if now > entry.deadline:
                entry.fail(out_of_time(entry, "too many others were waiting"))
                continue
            fits = messages + len(entry.messages) <= MANY and size + entry.size <= BYTES
            if not subjects.isdisjoint(entry.subjects) or (taken and not fits):
                left.append(entry)
                continue
            taken.append(entry)
            subjects |= entry.subjects
            messages += len(entry.messages)
            size += entry.size
        self._waiting.extendleft(reversed(left))
        return taken

    async def _fly(self, entries: list[Entry]) -> None:
        try:
            await self._commit(entries)
        except Exception as error:
            for entry in entries:
                entry.fail(error)
        finally:
            for entry in entries:
                self._busy -= entry.subjects

    async def _commit(self, entries: list[Entry]) -> None:
        publisher = self.publisher
        if len(entries) == 1:
            await publisher.alone(entries[0])
            return
        sound = [entry for entry in entries if not publisher.overtaken(entry)]
        singles = all(len(entry.messages) == 1 for entry in sound)
        if len(sound) > (FEW if singles else 1) and await publisher.together(sound, secrets.token_urlsafe(9)):
            entries = [entry for entry in entries if not entry.future.done()]
        if entries:
            await asyncio.gather(*(publisher.alone(entry) for entry in entries))


def _too_large(type_: str, size: int, limit: int) -> Invalid:
    return Invalid(
        f"One event takes at most {limit} bytes; this {type_} has {size}.",
        error="event_too_large",
        remediation=[Remedy("Divide the change, or keep large content as an asset and name it by its hash.", "divide")],
        detail={"event": type_, "size": size, "limit": limit},
    )
