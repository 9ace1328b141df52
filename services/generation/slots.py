"""Slots: how many tasks an engine is given at a time, strictly, over all workers of the studio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from domain.ports.leases import Lease, Leases

AGAIN_SECONDS: Final = 0.1
"""Pause between two looks at slots that other workers hold."""


class Slots:
    """The slots of engines, each a lease. Who waits here longest is served first."""

    def __init__(self, leases: Leases, size: Callable[[str], int]) -> None:
        self._leases = leases
        self._size = size
        self._waiting: dict[str, deque[object]] = {}
        self._freed = asyncio.Event()
        self._held: set[str] = set()
        self._last: dict[str, int] = {}

    def awaited(self, engine: str) -> bool:
        """Whether somebody in this process waits for a slot of that engine."""
        return bool(self._waiting.get(engine))

    async def acquire(self, engine: str) -> Lease | None:
        """A slot, or nothing while all are taken; raises ``Unavailable``."""
        size = self._size(engine)
        # What was given back here last is most likely still free; what is held here need not be asked for.
        first = self._last.get(engine, 0)
        for number in (*range(first, size), *range(min(first, size))):
            name = f"slot.{engine}.{number}"
            if name in self._held:
                continue
            self._held.add(name)
            try:
                lease = await self._leases.acquire(name)
            except BaseException:
                self._held.discard(name)
                raise
            if lease is not None:
                return lease
            self._held.discard(name)
        return None

    async def wait(self, engine: str) -> Lease:
        """A slot, as soon as there is one; raises ``Unavailable``."""
        ticket = object()
        line = self._waiting.setdefault(engine, deque())
        line.append(ticket)
        try:
            while True:
                self._freed.clear()
                if line[0] is ticket and (lease := await self.acquire(engine)):
                    return lease
                try:
                    async with asyncio.timeout(AGAIN_SECONDS):
                        await self._freed.wait()
                except TimeoutError:
                    pass
        finally:
            line.remove(ticket)
            self._freed.set()

    async def release(self, lease: Lease) -> None:
        """Gives a slot back; raises ``Unavailable``, and then it ends by itself."""
        engine, _, number = lease.name.removeprefix("slot.").rpartition(".")
        try:
            await lease.release()
        finally:
            self._held.discard(lease.name)
            self._last[engine] = int(number)
            self._freed.set()
