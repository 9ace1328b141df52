"""Secrets in memory: the whole port without a file or a cipher, for tests. Nothing survives the process."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from secrets import token_bytes, token_hex
from typing import Final

from domain.errors import Refused, Remedy
from domain.ports.secrets import Kept, VaultState

ENTRIES: Final = 200
"""Most secrets, as in the vault on the disk."""

PASSPHRASE_LEAST: Final = 8


class MemorySecrets:
    """Keeps secrets in a dictionary. Fingerprints are those of this object alone."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[dict[str, str], str]] = {}
        self._mark = token_bytes(32)
        self._key = ""
        self._lock = "key_file"

    def get(self, name: str) -> Mapping[str, str] | None:
        found = self._kept.get(name)
        return None if found is None else dict(found[0])

    def all(self) -> Mapping[str, Kept]:
        return {name: self._told(name) for name in sorted(self._kept)}

    def put(self, name: str, values: Mapping[str, str], since: str) -> Kept:
        if name not in self._kept and len(self._kept) >= ENTRIES:
            raise Refused(
                f"The vault holds {ENTRIES} keys, which is the most.", error="vault_full",
                remediation=[Remedy("Remove a provider that is not used.", "remove_provider")],
            )
        self._made()
        self._kept[name] = (dict(values), since)
        return self._told(name)

    def remove(self, name: str) -> Kept | None:
        if name not in self._kept:
            return None
        told = self._told(name)
        del self._kept[name]
        return told

    def fingerprint(self, name: str, values: Mapping[str, str]) -> str:
        self._made()
        told = repr([name, sorted(values.items())]).encode("utf-8", "surrogatepass")
        return hmac.new(self._mark, told, hashlib.sha256).hexdigest()[:12]

    def rotate(self, passphrase: str | None = None) -> str:
        if passphrase is not None and len(passphrase) < PASSPHRASE_LEAST:
            raise Refused(
                "A passphrase needs eight characters at least.", error="weak_passphrase",
                remediation=[Remedy("Choose a longer one; several words are good.", "choose_passphrase")],
            )
        self._lock = "key_file" if passphrase is None else "passphrase"
        self._key = token_hex(6)
        return self._key

    def state(self) -> VaultState:
        return VaultState(bool(self._key), self._lock, "", self._key, len(self._kept))

    def _made(self) -> None:
        self._key = self._key or token_hex(6)

    def _told(self, name: str) -> Kept:
        values, since = self._kept[name]
        return Kept(tuple(sorted(values)), self.fingerprint(name, values), since)
