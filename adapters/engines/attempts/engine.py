"""An engine whose tasks are attempts on this machine: what every such engine does in the same way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from adapters.engines.attempts.attempts import Attempts
from domain.ports.engines import Accepted, Balance, Cancelling, Outcome, Product, Task, Traits


class AttemptsEngine:
    """Costs nothing, has no account, and asks its attempts for everything about a task that was taken.

    What is left to each engine: ``verify``, ``health``, ``offers`` and ``submit``.
    """

    def __init__(self, traits: Traits, attempts: Attempts) -> None:
        self._traits = traits
        self._attempts = attempts

    @property
    def traits(self) -> Traits:
        return self._traits

    async def balance(self) -> Balance | None:
        return None

    async def estimate(self, task: Task) -> tuple[float, str] | None:
        return 0.0, "credits"

    async def find(self, attempt: str) -> Accepted | None:
        return await self._attempts.find(attempt)

    async def poll(self, accepted: Accepted) -> Outcome:
        return await self._attempts.poll(accepted)

    async def cancel(self, accepted: Accepted) -> Cancelling:
        return await self._attempts.cancel(accepted)

    def fetch(self, accepted: Accepted, product: Product) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._attempts.fetch(accepted, product)

    async def close(self) -> None:
        await self._attempts.close()
