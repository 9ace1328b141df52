"""An engine that wants a key and does nothing else: what the registry of providers is tried against."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from domain.ports.engines import (
    Accepted,
    Balance,
    Cancelling,
    EngineError,
    Health,
    Lost,
    Offer,
    Outcome,
    Product,
    Reading,
    Task,
    Traits,
)
from domain.ports.secrets import Secrets
from domain.studio.fault import fault


@dataclass
class Keyed:
    """Takes the keys in ``good``. Its errors quote the key, as those of real services sometimes do."""

    secrets: Secrets
    good: set[str] = field(default_factory=set)
    id: str = "provider_fal"
    part: str = "api_key"
    credits: float | None = 12.5
    trouble: str = ""
    hangs: bool = False
    asked: list[str] = field(default_factory=list)

    @property
    def traits(self) -> Traits:
        return Traits(self.id, "fal", "remote", True, False, 2)

    async def verify(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        key = await self.secrets(self.id)
        if key is None:
            raise EngineError(fault("AUTH_MISSING", "fal is not connected."))
        self.asked.append(key[self.part])
        if self.trouble:
            raise EngineError(fault(self.trouble, f"fal is away: GET https://u:{key[self.part]}@fal.example"))
        if key[self.part] not in self.good:
            raise EngineError(fault("AUTH_INVALID", f"fal says: no user for key {key[self.part]}", sent=key[self.part]))

    async def balance(self) -> Balance | None:
        await self.verify()
        return None if self.credits is None else Balance(self.credits, "usd", "an hour old")

    async def health(self) -> Health:
        try:
            await self.verify()
        except EngineError as error:
            status = "not_connected" if error.fault.code == "AUTH_MISSING" else "error"
            return Health(status, error.fault.message, (error.fault.meaning.text, error.fault.meaning.action))
        return Health("connected", "The key is good.")

    async def offers(self) -> Sequence[Offer]:
        return []

    async def estimate(self, task: Task) -> tuple[float, str] | None:
        return None

    async def submit(self, task: Task, reading: Reading) -> Accepted:
        raise EngineError(fault("ENGINE_ERROR", "It makes nothing."))

    async def find(self, attempt: str) -> Accepted | None:
        return None

    async def poll(self, accepted: Accepted) -> Outcome:
        return Lost()

    async def cancel(self, accepted: Accepted) -> Cancelling:
        return Cancelling.UNKNOWN_TASK

    @asynccontextmanager
    async def fetch(self, accepted: Accepted, product: Product) -> AsyncIterator[AsyncIterator[bytes]]:
        raise EngineError(fault("FILE_NOT_FOUND", "There is nothing."))
        yield

    async def close(self) -> None:
        """Nothing to let go of."""
