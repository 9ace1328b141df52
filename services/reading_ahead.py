"""Reading a log ahead of whoever works on it: bounded in events and bytes, and never waiting for a batch to fill."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import Final, ParamSpec, TypeVar

from domain.ports import Recorded

AGAIN_SECONDS: Final = 1.0
MOST_EVENTS: Final = 5000
"""Events handed out at once at most."""

AHEAD_EVENTS: Final = 15_000
"""Reading pauses when more events wait than this."""

AHEAD_BYTES: Final = 32 * 2**20
"""Reading pauses when the bodies of those that wait are larger than this."""

P = ParamSpec("P")
T = TypeVar("T")


class ReadAhead:
    """Batches of a log as one stream that is read while earlier events are worked on.

    ``take`` gives whatever is there as soon as there is something: one event when the log is quiet, many when it runs
    ahead. Use as an async context manager; leaving it ends the reading.
    """

    def __init__(self, batches: AsyncIterator[list[Recorded]]) -> None:
        self._batches = batches
        self._waiting: deque[list[Recorded]] = deque()
        self._events = 0
        self._bytes = 0
        self._ended = False
        self._error: BaseException | None = None
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ReadAhead:
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._task is not None
        left = {self._task}
        while left:  # a cancellation that meets an answer can get lost in what is read: then it is repeated
            self._task.cancel()
            _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
        close = getattr(self._batches, "aclose", None)
        if close is not None:
            await close()

    @property
    def waiting(self) -> int:
        """Events that have been read and not taken."""
        return self._events

    async def take(self) -> list[Recorded]:
        """The next events in order; empty when the reading has ended. Raises what the reading raised."""
        async with self._changed:
            while not self._waiting and not self._ended:
                await self._changed.wait()
            if not self._waiting and self._error is not None:
                raise self._error
            taken: list[Recorded] = []
            while self._waiting and (not taken or len(taken) + len(self._waiting[0]) <= MOST_EVENTS):
                taken += self._waiting.popleft()
            self._events -= len(taken)
            self._bytes -= sum(len(one.data) for one in taken)
            self._changed.notify_all()
            return taken

    async def _read(self) -> None:
        try:
            async for batch in self._batches:
                async with self._changed:
                    self._waiting.append(batch)
                    self._events += len(batch)
                    self._bytes += sum(len(one.data) for one in batch)
                    self._changed.notify_all()
                    while self._events > AHEAD_EVENTS or self._bytes > AHEAD_BYTES:
                        await self._changed.wait()
        except Exception as error:
            self._error = error
        finally:
            self._ended = True
            async with self._changed:
                self._changed.notify_all()


async def finished(executor: Executor | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs blocking work in a thread and waits for its end even when cancelled: a write is never left behind."""
    loop = asyncio.get_running_loop()
    job = loop.run_in_executor(executor, lambda: work(*args, **kwargs))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait([job])
        raise
