"""Where the keys of providers are kept: by the provider's id, a few named texts each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Secrets(Protocol):
    """How an engine gets its key: ``await secrets("provider_fal")``, at the moment of the call, never kept."""

    async def __call__(self, name: str, /) -> Mapping[str, str] | None:
        """The fields of the key (``api_key``…), or nothing. Raises ``Unavailable`` when the vault cannot be opened."""
        ...


class Kept(NamedTuple):
    """What may be told of a stored key: the names of its parts, a fingerprint that leads nowhere, and since when."""

    fields: tuple[str, ...]
    fingerprint: str
    since: str


class VaultState(NamedTuple):
    """How a vault stands. ``lock`` is what opens it (``key_file`` or ``passphrase``); ``place`` is where the key file
    is; ``key_id`` names the master key and says nothing about it."""

    exists: bool
    lock: str
    place: str
    key_id: str
    entries: int
    trouble: str = ""


class SecretStore(Protocol):
    """Keeps secrets at rest so that whoever has its files alone has nothing.

    Everything raises ``Unavailable`` when the vault cannot be opened (``vault_locked``: the key is missing or another;
    ``vault_damaged``: it is not what was written), in words that hold no secret.
    """

    def get(self, name: str) -> Mapping[str, str] | None:
        """The secret of a name; what another process has stored is seen."""
        ...

    def all(self) -> Mapping[str, Kept]:
        """What is there, without the secrets."""
        ...

    def put(self, name: str, values: Mapping[str, str], since: str) -> Kept:
        """Stores or replaces one, durably and in one step."""
        ...

    def remove(self, name: str) -> Kept | None:
        """Forgets one; nothing when it is not there."""
        ...

    def fingerprint(self, name: str, values: Mapping[str, str]) -> str:
        """A short keyed hash: the same for the same secret in this vault, of no use to anybody else."""
        ...

    def rotate(self, passphrase: str | None = None) -> str:
        """Seals everything anew under a new master key: a new key file entry, or one made of a passphrase. The id of
        the new key. What was sealed before cannot be opened any more."""
        ...

    def state(self) -> VaultState:
        """How it stands; never raises."""
        ...
