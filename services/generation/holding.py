"""The leases that a worker holds for its jobs: renewed until they are given back, whatever an engine is waiting for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from domain.errors import Unavailable
from domain.ports.leases import Lease, Leases

BEATS: Final = 3
"""How often a lease is renewed in the time that it lasts."""

log = structlog.get_logger("jobs")

class Holdings:
    """Leases by job. ``lost(key)`` is told when a lease of a job may be somebody else's by now, ``troubled(why)`` when
    the leases cannot be reached."""

    def __init__(
        self, leases: Leases, lost: Callable[[tuple[str, str]], None], troubled: Callable[[str], None]
    ) -> None:
        self._leases = leases
        self._lost = lost
        self._troubled = troubled
        self._held: dict[Lease, tuple[str, str]] = {}

    def hold(self, lease: Lease, key: tuple[str, str]) -> None:
        """From now on it is renewed."""
        self._held[lease] = key

    def drop(self, lease: Lease) -> None:
        """From now on it is not: it is given back."""
        self._held.pop(lease, None)

    def count(self, prefix: str) -> int:
        """How many are held whose names begin so."""
        return sum(one.name.startswith(prefix) for one in self._held)

    async def keep(self) -> None:
        """Renews all, until it is cancelled."""
        while True:
            await asyncio.sleep(self._leases.seconds / BEATS)
            await asyncio.gather(*(self._renewed(lease, key) for lease, key in list(self._held.items())))

    async def _renewed(self, lease: Lease, key: tuple[str, str]) -> None:
        try:
            if await lease.renew():
                return
        except Unavailable as error:
            self._troubled(error.message)
            if lease.held:
                return
        if lease in self._held:
            log.warning("lease_lost", lease=lease.name)
            self._lost(key)
