"""Leases: what one worker holds and no other does, for as long as it says that it is alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Lease(Protocol):
    """Something held. It ends by itself when it has not been renewed for the leases' time."""

    @property
    def name(self) -> str: ...

    @property
    def held(self) -> bool:
        """Whether it is still ours, as far as anybody here can know; false as soon as its time may be over."""
        ...

    async def renew(self) -> bool:
        """Holds it for a whole time more; false when somebody else has it now. Raises ``Unavailable``."""
        ...

    async def release(self) -> None:
        """Gives it back; harmless when it was not ours any more. Raises ``Unavailable``."""
        ...


class Leases(Protocol):
    """Where workers of all processes agree on who does what, and wake each other."""

    @property
    def seconds(self) -> float:
        """How long a lease holds without being renewed."""
        ...

    async def acquire(self, name: str) -> Lease | None:
        """The lease of that name (tokens of ``A-Za-z0-9_-`` with dots between them), or nothing while somebody has it.

        Raises ``Unavailable``.
        """
        ...

    async def held(self, prefix: str) -> frozenset[str]:
        """Names that begin with ``prefix`` (whole tokens) and are held by anybody; raises ``Unavailable``."""
        ...

    async def wake(self, key: str) -> None:
        """Tells every worker that there is news of ``key``. A hint: it may get lost, and says nothing by itself."""
        ...

    def listen(self, told: Callable[[str], None]) -> None:
        """Calls ``told(key)`` for every ``wake`` from now on, whoever sent it; it must not raise."""
        ...

    async def close(self) -> None:
        """Gives connections back; what is held ends by itself."""
        ...
