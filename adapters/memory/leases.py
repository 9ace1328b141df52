"""Leases in memory: the whole port as real code without a server, shared by whoever shares the object."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class MemoryLeases:
    """Leases that live as long as this object."""

    def __init__(self, seconds: float = 5.0) -> None:
        self.seconds = seconds
        self.taken: dict[str, MemoryLease] = {}
        self._told: list[Callable[[str], None]] = []

    async def acquire(self, name: str) -> MemoryLease | None:
        known = self.taken.get(name)
        if known is not None and known.held:
            return None
        lease = self.taken[name] = MemoryLease(self, name)
        return lease

    async def held(self, prefix: str) -> frozenset[str]:
        return frozenset(name for name, one in self.taken.items() if one.held and name.startswith(f"{prefix}."))

    async def wake(self, key: str) -> None:
        for told in self._told:
            told(key)

    def listen(self, told: Callable[[str], None]) -> None:
        self._told.append(told)

    async def close(self) -> None:
        """Nothing to give back."""


class MemoryLease:
    """A lease until ``until``, by the monotonic clock."""

    def __init__(self, leases: MemoryLeases, name: str) -> None:
        self._leases = leases
        self.name = name
        self.until = monotonic() + leases.seconds

    @property
    def held(self) -> bool:
        return self._leases.taken.get(self.name) is self and monotonic() < self.until

    async def renew(self) -> bool:
        if not self.held:
            return False
        self.until = monotonic() + self._leases.seconds
        return True

    async def release(self) -> None:
        if self._leases.taken.get(self.name) is self:
            del self._leases.taken[self.name]
