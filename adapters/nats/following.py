"""Following the log live: one shared tail per process, from which any number of followers take what they want.

JetStream republishes every stored event on ``live.…``; that is fast and promises nothing. So the tail counts
positions: whatever does not follow the last one is fetched from the log itself, as is whatever a regular check, a
reconnect or an overflow shows to be missing. The tail keeps the newest events only; who is behind reads the log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

import nats.errors
import structlog

from adapters.nats import wire
from adapters.nats.connection import Connection
from adapters.nats.reading import Reader, unreadable
from domain.errors import Unavailable
from domain.ports import Recorded, Stream

KEPT: Final = 8192
"""Events that the tail keeps."""

KEPT_BYTES: Final = 16 << 20
"""Bytes of event bodies that the tail keeps, and most bytes of live messages that wait to be counted."""

CHECK_SECONDS: Final = 1.0
"""How often the tail is compared with the log when nothing arrives."""

BATCH: Final = 1000

log = structlog.get_logger("log")


class Tail:
    """The newest events without holes: everything after ``floor`` and up to ``end``."""

    def __init__(self, connection: Connection, reader: Reader, subjects: str) -> None:
        self.connection = connection
        self.reader = reader
        self.subjects = subjects
        self.floor = 0
        self.end = 0
        self._events: deque[Recorded] = deque()
        self._size = 0
        self._live: deque[Recorded] = deque()
        self._live_size = 0
        self._news = asyncio.Event()
        self._grown = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._started = asyncio.Lock()
        self._failed: BaseException | None = None

    async def follow(self, after: int, pattern: str) -> AsyncIterator[list[Recorded]]:
        """Batches of everything after a position that matches, for ever."""
        await self._start()
        wanted = matcher(pattern)
        while True:
            grown = self._grown
            if after < self.floor:
                upto = self.end
                async for batch in self.reader.everything(after, upto, pattern, BATCH):
                    yield batch
                after = upto
            elif after < self.end:
                end, found = self.end, self._since(after, wanted)
                after = end
                for start in range(0, len(found), BATCH):
                    yield found[start : start + BATCH]
            else:
                if self._failed is not None:
                    raise self._failed
                await grown.wait()

    async def close(self) -> None:
        """Stops; followers that wait are told so."""
        while self._task is not None and not self._task.done():
            # Again and again: what it awaits may forget a cancellation that meets an answer.
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1)
        self._failed = Unavailable("The log was closed.", error="log_closed")
        self._announce()

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        async with self._started:
            if self._task is not None:
                return
            try:
                await self.connection.raw_subscribe(f"live.{self.subjects}", self._take)
                await self.connection.flush()
            except (nats.errors.Error, OSError) as error:
                raise unreadable(str(error) or type(error).__name__) from error
            self.connection.back.append(self._news.set)
            self.floor = self.end = await self.reader.head()
            self._task = asyncio.create_task(self._run())

    def _take(self, subject: bytes, headers: bytes, body: bytes) -> None:
        # Over its bound the newest is dropped: the hole shows as soon as the next one is counted, or at the check.
        if self._live_size < KEPT_BYTES:
            with contextlib.suppress(KeyError, ValueError, IndexError):
                self._live.append(wire.recorded(headers, body))
                self._live_size += len(body) + 512
        self._news.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        checked = loop.time()
        while True:
            timed_out = False
            try:
                async with asyncio.timeout_at(checked + CHECK_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                timed_out = True
            woken_without_news = self._news.is_set() and not self._live
            self._news.clear()
            try:
                await self._count()
                if timed_out or woken_without_news:
                    checked = loop.time()
                    await self._catch_up(await self.reader.head())
            except Unavailable:
                checked = loop.time()  # the log is away; followers wait, and the next check tries again
            except Exception:
                checked = loop.time()
                log.exception("tail_failed", end=self.end)  # nobody may be left waiting for a tail that has died

    async def _count(self) -> None:
        while self._live:
            one = self._live.popleft()
            self._live_size -= len(one.data) + 512
            if one.position > self.end + 1:
                await self._catch_up(one.position - 1)
            if one.position > self.end:
                self._keep(one)
        self._announce()

    async def _catch_up(self, upto: int) -> None:
        if upto > self.end:
            async for batch in self.reader.everything(self.end, upto, self.subjects, BATCH):
                for one in batch:
                    self._keep(one)
                self._announce()
            self.end = max(self.end, upto)
            self._announce()

    def _keep(self, one: Recorded) -> None:
        self._events.append(one)
        self._size += len(one.data)
        self.end = one.position
        self.reader.saw(one.stream.subject, one.position)
        while len(self._events) > KEPT or self._size > KEPT_BYTES:
            gone = self._events.popleft()
            self._size -= len(gone.data)
            self.floor = gone.position

    def _announce(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    def _since(self, after: int, wanted: Callable[[Stream], bool]) -> list[Recorded]:
        found: list[Recorded] = []
        for one in reversed(self._events):
            if one.position <= after:
                break
            if wanted(one.stream):
                found.append(one)
        found.reverse()
        return found


def matcher(pattern: str) -> Callable[[Stream], bool]:
    """Whether a stream's subject matches a NATS pattern (``*`` one token, ``>`` all that follow), as a function.

    Every subject of a log has five tokens and begins like its patterns, so only the other four are compared.
    """
    wanted = pattern.split(".")[1:]
    open_end = wanted[-1:] == [">"]
    fixed = [(index, part) for index, part in enumerate(wanted) if part not in ("*", ">")]
    if len(wanted) > 4 or (len(wanted) < 4 and not open_end):
        return lambda stream: False
    if not fixed:
        return lambda stream: True
    return lambda stream: all(stream[index] == part for index, part in fixed)
