"""Reading the log by batched direct gets, and never less than there is.

A direct get may be answered by any replica, so on a cluster it may be behind. What it gives is always an unbroken
beginning of the truth; so after the last message it gave, the leader is asked whether there is another one.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

import orjson

from adapters.nats import stream as streams
from adapters.nats import wire
from adapters.nats.connection import Connection, Lost, Message, Unanswered
from domain.errors import Remedy, Unavailable
from domain.ports import Recorded, Stream

BYTES: Final = 8 << 20
"""Most bytes of one answer; one event more may come."""

KNOWN: Final = 65_536
"""Subjects whose newest position is remembered."""

NOTHING: Final = 10037
"""JetStream's code for: no such message."""

T = TypeVar("T")


class Reader:
    """Reads one stream over one connection."""

    def __init__(
        self, connection: Connection, name: str, subjects: str, *, replicated: bool, patience_seconds: float
    ) -> None:
        self.connection = connection
        self.name = name
        self.subjects = subjects
        self.replicated = replicated
        self.patience_seconds = patience_seconds
        self.newest = 0
        self._known: OrderedDict[str, int] = OrderedDict()

    def saw(self, subject: str, position: int) -> None:
        """Remembers that a subject has grown to a position."""
        known = self._known
        if position > known.get(subject, 0):
            known[subject] = position
            known.move_to_end(subject)
            if len(known) > KNOWN:
                known.popitem(last=False)
        self.newest = max(self.newest, position)

    def known(self, subject: str) -> int:
        """The newest position that this process has seen of a subject; 0 when it has seen none."""
        return self._known.get(subject, 0)

    # --- single questions -----------------------------------------------------------------------------------------

    async def head(self) -> int:
        """Position of the newest event of all."""

        async def attempt() -> int | None:
            last = (await streams.info(self.connection, self.name, seconds=2.5)).last
            return last if last >= self.newest else None

        self.newest = max(self.newest, found := await self._patiently(attempt))
        return found

    async def last(self, stream: Stream) -> Recorded | None:
        """The newest event of a stream."""
        subject = stream.subject

        async def attempt() -> tuple[Recorded | None] | None:
            found = await (self._last_of_leader(subject) if self.replicated else self._last_direct(subject))
            return (found,) if (found.position if found else 0) >= self.known(subject) else None

        (found,) = await self._patiently(attempt)
        if found is not None:
            self.saw(subject, found.position)
        return found

    async def last_position(self, pattern: str) -> int:
        """Position of the newest event that matches a pattern, 0 for none."""

        async def attempt() -> tuple[Recorded | None]:
            return (await self._of_leader({"last_by_subj": pattern}),)

        (found,) = await self._patiently(attempt)
        return found.position if found else 0

    async def _last_direct(self, subject: str) -> Recorded | None:
        headers, body = await self.connection.ask(f"$JS.API.DIRECT.GET.{self.name}.{subject}", seconds=2.5)
        return None if wire.status(headers) == 404 else wire.recorded(headers, body)

    async def _last_of_leader(self, subject: str) -> Recorded | None:
        return await self._of_leader({"last_by_subj": subject})

    async def _of_leader(self, request: dict[str, Any]) -> Recorded | None:
        try:
            told = await streams.api(self.connection, f"STREAM.MSG.GET.{self.name}", request, seconds=2.5)
        except streams.ApiError as error:
            if error.code == NOTHING:
                return None
            raise
        message = told["message"]
        headers = wire.parsed(b64decode(message.get("hdrs", "")))
        return wire.event_of(message["subject"], message["seq"], headers, b64decode(message.get("data", "")))

    # --- many -----------------------------------------------------------------------------------------------------

    async def stream(self, stream: Stream, after: int, upto: int | None) -> list[Recorded]:
        """The events of one stream, complete."""
        subject = stream.subject
        found: list[Recorded] = []
        # When an end is given, the beginning is likely a small part of the whole: ask for little first.
        size = 1000 if upto is None else 128
        position = after
        while True:
            batch, more = await self.batch(position, subject, size)
            found += batch
            size = 1000
            if batch:
                position = batch[-1].position
            if upto is not None and position >= upto:
                return [one for one in found if one.position <= upto]
            if more:
                continue
            extra = await self._next(position, subject, upto)
            if extra is None:
                self.saw(subject, position if found else 0)
                return found
            found.append(extra)
            position = extra.position

    async def everything(self, after: int, upto: int, pattern: str, size: int) -> AsyncIterator[list[Recorded]]:
        """Batches in order up to a position; the next one is fetched while the caller works on this one."""
        fetching: asyncio.Task[tuple[list[Recorded], bool]] | None = None
        try:
            while after < upto:
                if fetching is None:
                    fetching = asyncio.create_task(self.batch(after, pattern, size))
                batch, more = await fetching
                fetching = None
                if batch and batch[-1].position >= upto:
                    batch = [one for one in batch if one.position <= upto]
                    after = upto
                elif more:
                    after = batch[-1].position
                    fetching = asyncio.create_task(self.batch(after, pattern, size))
                else:
                    after = batch[-1].position if batch else after
                    extra = await self._next(after, pattern, upto)
                    if extra is None:
                        after = upto
                    else:
                        batch.append(extra)
                        after = extra.position
                if batch:
                    self.newest = max(self.newest, batch[-1].position)
                    yield batch
        finally:
            if fetching is not None:
                fetching.cancel()

    async def batch(self, after: int, pattern: str, size: int) -> tuple[list[Recorded], bool]:
        """Up to ``size`` events after a position, and whether the one who answered has more."""
        request = orjson.dumps(
            {"seq": after + 1, "next_by_subj": self._asked_for(pattern), "batch": size, "max_bytes": BYTES}
        )

        async def attempt() -> list[Message] | None:
            messages = await self.connection.ask_many(f"$JS.API.DIRECT.GET.{self.name}", request, seconds=5)
            return messages if wire.status(messages[-1][0]) in (204, 404) else None

        messages = await self._patiently(attempt)
        end, _ = messages.pop()
        more = wire.status(end) == 204 and wire.parsed(end).get("Nats-Num-Pending", "0") != "0"
        return [wire.recorded(headers, body) for headers, body in messages], more and bool(messages)

    async def _next(self, after: int, pattern: str, upto: int | None) -> Recorded | None:
        """Whether the leader has one more where a replica saw the end; on a single server there is no difference."""
        if not self.replicated:
            return None

        async def attempt() -> tuple[Recorded | None]:
            return (await self._of_leader({"seq": after + 1, "next_by_subj": self._asked_for(pattern)}),)

        (found,) = await self._patiently(attempt)
        return found if found is not None and (upto is None or found.position <= upto) else None

    def _asked_for(self, pattern: str) -> str:
        # The server does not look at subjects when the filter is word for word the stream's own: three times as fast.
        return self.subjects if pattern == wire.EVERYTHING else pattern

    async def _patiently(self, attempt: Callable[[], Awaitable[T | None]]) -> T:
        """Asks until there is an answer; ``None`` from an attempt means one that is older than what is known."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.patience_seconds
        pause, reason = 0.01, "the one who answered was behind"
        while True:
            try:
                found = await attempt()
                if found is not None:
                    return found
            except TimeoutError:
                reason = "it did not answer in time"
                await self.connection.doubt()
            except (Lost, Unanswered, streams.ApiError) as error:
                reason = str(error) or type(error).__name__
            if loop.time() >= end or self.connection.is_closed:
                raise unreadable(reason)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)
            await self.connection.ready(end - loop.time())


def unreadable(reason: str) -> Unavailable:
    """The log cannot be read at the moment."""
    return Unavailable(
        f"The log cannot be read now: {reason}.",
        error="log_unreachable",
        remediation=[Remedy("Try again; if it lasts, check the NATS server with comfyvn doctor.", "retry")],
    )
