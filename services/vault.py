"""The vault as the studio uses it: keys are handed out at call time, and redaction knows whatever was handed out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

import structlog

from domain.errors import ComfyVNError, Remedy, Unavailable
from domain.ports.secrets import Kept, SecretStore, VaultState
from services.redaction import SECRETS, Redactor

log = structlog.get_logger("vault")

_TRIED: Final[ContextVar[Mapping[str, Mapping[str, str]]]] = ContextVar("tried", default=MappingProxyType({}))
"""Keys that are being tried by this task alone, by provider."""


class NoStore:
    """For studios without a vault: it holds nothing and takes nothing."""

    def get(self, name: str) -> Mapping[str, str] | None:
        return None

    def all(self) -> Mapping[str, Kept]:
        return {}

    def put(self, name: str, values: Mapping[str, str], since: str) -> Kept:
        raise _none()

    def remove(self, name: str) -> Kept | None:
        return None

    def fingerprint(self, name: str, values: Mapping[str, str]) -> str:
        raise _none()

    def rotate(self, passphrase: str | None = None) -> str:
        raise _none()

    def state(self) -> VaultState:
        return VaultState(False, "", "", "", 0, "This studio was opened without a vault.")


def _none() -> Unavailable:
    return Unavailable(
        "This studio was opened without a vault, so it can keep no key.", error="vault_locked",
        remediation=[Remedy("Start it with `comfyvn serve`.", "serve")],
    )


class Vault:
    """Hands keys out: ``await vault("provider_fal")`` gives its fields, or nothing.

    Called at the moment of a call and never kept by whoever calls: a rotated key is used by the next call, in every
    process. Raises ``Unavailable`` when the vault cannot be opened.
    """

    def __init__(self, store: SecretStore | None = None, redactor: Redactor = SECRETS) -> None:
        self.store: SecretStore = store or NoStore()
        self._redactor = redactor

    async def __call__(self, name: str) -> Mapping[str, str] | None:
        tried = _TRIED.get().get(name)
        if tried is not None:
            return dict(tried)
        found = await asyncio.to_thread(self.store.get, name)
        if found is not None:
            self._redactor.keep_out(found.values())
        return found

    @contextmanager
    def trying(self, name: str, values: Mapping[str, str]) -> Iterator[None]:
        """Within it, and for this task alone, the provider's key is this one: nothing is stored."""
        self._redactor.register(values.values())
        token = _TRIED.set({**_TRIED.get(), name: values})
        try:
            yield
        finally:
            _TRIED.reset(token)

    async def put(self, name: str, values: Mapping[str, str], since: str) -> Kept:
        """Stores a key or replaces it. Raises ``Unavailable`` and ``Refused``."""
        self._redactor.keep_out(values.values())
        return await asyncio.to_thread(self.store.put, name, values, since)

    async def remove(self, name: str) -> Kept | None:
        """Forgets a key. Redaction goes on knowing it."""
        return await asyncio.to_thread(self.store.remove, name)

    async def all(self) -> Mapping[str, Kept]:
        """What is there, without the secrets."""
        return await asyncio.to_thread(self.store.all)

    async def fingerprint(self, name: str, values: Mapping[str, str]) -> str:
        """A short keyed hash of a key."""
        return await asyncio.to_thread(self.store.fingerprint, name, values)

    async def state(self) -> VaultState:
        """How it stands; never raises."""
        return await asyncio.to_thread(self.store.state)

    async def known_to_redaction(self) -> None:
        """Tells redaction every stored key, so that none leaves this process even before it is first used here."""
        try:
            for name in await self.all():
                await self(name)
        except ComfyVNError as error:
            log.warning("vault_not_opened", code=error.code, reason=error.message)
