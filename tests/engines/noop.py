"""An engine that takes no time and makes one line of text: what is left of a job's time over it is ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from domain.ports.engines import (
    Accepted,
    Balance,
    Cancelling,
    Done,
    Health,
    Offer,
    Outcome,
    Product,
    Reading,
    Task,
    Traits,
)


class NoopEngine:
    """Done as soon as it is asked; what it makes is the attempt's own id."""

    traits = Traits("noop", "Nothing", "local", paid=False, finds_attempts=False, slots=8, poll_seconds=0.05)

    async def verify(self) -> None:
        return None

    async def balance(self) -> Balance | None:
        return None

    async def health(self) -> Health:
        return Health("running")

    async def offers(self) -> Sequence[Offer]:
        return ()

    async def estimate(self, task: Task) -> tuple[float, str] | None:
        return None

    async def submit(self, task: Task, reading: Reading) -> Accepted:
        return Accepted(task.attempt)

    async def find(self, attempt: str) -> Accepted | None:
        return None

    async def poll(self, accepted: Accepted) -> Outcome:
        return Done((Product("line", "text/plain", {}),))

    async def cancel(self, accepted: Accepted) -> Cancelling:
        return Cancelling.TOO_LATE

    @asynccontextmanager
    async def fetch(self, accepted: Accepted, product: Product) -> AsyncIterator[AsyncIterator[bytes]]:
        async def pieces() -> AsyncIterator[bytes]:
            yield accepted.external_id.encode()

        yield pieces()

    async def close(self) -> None:
        return None
