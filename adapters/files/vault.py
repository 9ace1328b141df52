"""The vault: keys of providers in one sealed file of the data folder, whose master key lies elsewhere.

The file holds a header in plain JSON and one piece of AES-256-GCM over everything else, the header included as
associated data: a changed byte, a swapped entry or another folder's header does not open. The master key is

- an entry of a key file outside the data folder (``~/.config/comfyvn/vault.keys`` unless told otherwise, mode 0600, one
  line ``<vault> <key id> <base64>`` per vault; a line that is a single base64 key serves every vault), or
- made of a passphrase by scrypt with a salt of this vault.

Either goes through HKDF with the vault's id, so that one key never seals two vaults with the same bytes. An older copy
of the file, put in the place of the newer one, opens if the master key has not been rotated since: nothing in the
folder itself can tell. Rotating is what makes older copies worthless.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from adapters.files.vault_keys import KeyFile, default_key_file
from adapters.files.vault_sealing import (
    Master,
    damaged,
    empty,
    fingerprint,
    key_id,
    locked,
    parts_of,
    sealed,
    stretched,
    under_key_file,
    under_passphrase,
    unsealed,
)
from adapters.files.vault_writing import alone, unusable, write
from domain.errors import Refused, Remedy, Unavailable
from domain.ports.secrets import Kept, VaultState

LARGEST: Final = 2**20
"""Bytes of the whole file. Some dozens of keys take some thousands."""

ENTRIES: Final = 200


class _Opened(NamedTuple):
    header: dict[str, Any]
    content: dict[str, Any]
    master: Master


class FileVault:
    """A vault in one file, which several processes may use at once."""

    def __init__(
        self, place: Path, key_file: Path | None = None, passphrase: Callable[[], str | None] = lambda: None
    ) -> None:
        """``place`` is the sealed file; ``key_file`` where master keys are (default: the user's configuration)."""
        self.place = place
        self.key_file = key_file or default_key_file()
        self._keys = KeyFile(self.key_file, place.parent)
        self._passphrase = passphrase
        self._stamp: tuple[int, int, int] | None = None
        self._opened: _Opened | None = None

    # --- asking ---------------------------------------------------------------------------------------------------

    def get(self, name: str) -> Mapping[str, str] | None:
        """The secret of a name, or nothing. Raises ``Unavailable``."""
        opened = self._current()
        found = opened.content["entries"].get(name) if opened else None
        return dict(found["values"]) if found else None

    def all(self) -> Mapping[str, Kept]:
        """What is there, without the secrets. Raises ``Unavailable``."""
        opened = self._current()
        return {} if opened is None else {
            name: _kept(opened.content, name) for name in sorted(opened.content["entries"])
        }

    def put(self, name: str, values: Mapping[str, str], since: str) -> Kept:
        """Stores or replaces one. Raises ``Unavailable``, and ``Refused`` when there are too many."""
        with self._changing() as opened:
            entries = opened.content["entries"]
            if name not in entries and len(entries) >= ENTRIES:
                raise Refused(
                    f"The vault holds {ENTRIES} keys, which is the most.", error="vault_full",
                    remediation=[Remedy("Remove a provider that is not used.", "remove_provider")],
                )
            entries[name] = {"values": dict(values), "since": since}
            return _kept(opened.content, name)

    def remove(self, name: str) -> Kept | None:
        """Forgets one. Raises ``Unavailable``."""
        current = self._current()
        if current is None or name not in current.content["entries"]:
            return None
        with self._changing() as opened:
            if name not in opened.content["entries"]:
                return None
            kept = _kept(opened.content, name)
            del opened.content["entries"][name]
            return kept

    def fingerprint(self, name: str, values: Mapping[str, str]) -> str:
        """A short keyed hash. Makes the vault when there is none, for its key. Raises ``Unavailable``."""
        opened = self._current()
        if opened is None:
            with self._changing() as opened:
                pass
        return fingerprint(opened.content, name, values)

    def rotate(self, passphrase: str | None = None) -> str:
        """Seals everything under a new master key. Raises ``Unavailable`` and, for an empty passphrase, ``Refused``."""
        if passphrase is not None and len(passphrase) < 8:
            raise Refused(
                "A passphrase needs eight characters at least.", error="weak_passphrase",
                remediation=[Remedy("Choose a longer one; several words are good.", "choose_passphrase")],
            )
        with alone(self.place):
            old = self._read()
            content = old.content if old else empty()
            vault = old.header["vault"] if old else secrets.token_hex(8)
            if passphrase is not None:
                header, master = under_passphrase(vault, passphrase)
            else:
                master = self._keys.new(vault)
                header = under_key_file(vault, master)
            self._write(header, content, master)
            # Only now: had the file not been replaced, the older key would still be needed.
            self._keys.drop_others(vault, master.id if passphrase is None else None)
            return master.id

    def state(self) -> VaultState:
        """How it stands; never raises."""
        try:
            header = self._header()
            if header is None:
                return VaultState(False, "passphrase" if self._passphrase() else "key_file", str(self.key_file), "", 0)
        except Unavailable as error:
            return VaultState(True, "", str(self.key_file), "", 0, error.message)
        told = VaultState(True, header["lock"], str(self.key_file), header["key"], 0)
        try:
            opened = self._current()
        except Unavailable as error:
            return told._replace(trouble=error.message)
        return told._replace(entries=len(opened.content["entries"]) if opened else 0)

    # --- the file -------------------------------------------------------------------------------------------------

    def _current(self) -> _Opened | None:
        try:
            found = self.place.stat()
        except FileNotFoundError:
            self._stamp, self._opened = None, None
            return None
        except OSError as error:
            raise unusable(self.place, error) from error
        # A file is replaced, never written into: another inode, or another time, is another content.
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp != self._stamp or self._opened is None:
            self._opened, self._stamp = None, None
            self._opened = self._read()
            self._stamp = stamp
        return self._opened

    def _bytes(self) -> bytes | None:
        try:
            with self.place.open("rb") as file:
                raw = file.read(LARGEST + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unusable(self.place, error) from error
        if len(raw) > LARGEST:
            raise damaged(self.place, "it is too large")
        return raw

    def _header(self) -> dict[str, Any] | None:
        raw = self._bytes()
        return None if raw is None else parts_of(self.place, raw).header

    def _read(self) -> _Opened | None:
        raw = self._bytes()
        if raw is None:
            return None
        parts = parts_of(self.place, raw)
        master = self._master(parts.header)
        return _Opened(parts.header, unsealed(self.place, parts, master), master)

    def _master(self, header: Mapping[str, Any]) -> Master:
        if header["lock"] == "passphrase":
            passphrase = self._passphrase()
            if not passphrase:
                raise locked("It was sealed with a passphrase, and none was given.",
                              "Set COMFYVN_VAULT_PASSPHRASE.", "set_passphrase")
            key = stretched(passphrase, header["salt"], header["n"], header["r"], header["p"])
            if not hmac.compare_digest(key_id(key), header["key"]):
                raise locked("The passphrase is not the one that it was sealed with.",
                              "Set COMFYVN_VAULT_PASSPHRASE to that one.", "set_passphrase")
            return Master(header["key"], key)
        for vault, key in self._keys.all():
            if vault in ("", header["vault"]) and hmac.compare_digest(key_id(key), header["key"]):
                return Master(header["key"], key)
        raise locked(
            f"Its master key {header['key']} is not in {self.key_file}.",
            "Put that key file back or name it with COMFYVN_VAULT_KEY_FILE; without it, move vault.json away and "
            "connect the providers again.", "restore_vault_key",
        )

    @contextlib.contextmanager
    def _changing(self) -> Iterator[_Opened]:
        with alone(self.place):
            opened = self._read()
            if opened is None:
                opened = self._made()
            yield opened
            self._write(opened.header, opened.content, opened.master)

    def _made(self) -> _Opened:
        vault = secrets.token_hex(8)
        passphrase = self._passphrase()
        if passphrase:
            header, master = under_passphrase(vault, passphrase)
        else:
            master = self._keys.shared() or self._keys.new(vault)
            header = under_key_file(vault, master)
        return _Opened(header, empty(), master)

    def _write(self, header: Mapping[str, Any], content: Mapping[str, Any], master: Master) -> None:
        write(self.place, sealed(header, content, master))
        self._stamp, self._opened = None, None


def _kept(content: Mapping[str, Any], name: str) -> Kept:
    entry = content["entries"][name]
    return Kept(tuple(sorted(entry["values"])), fingerprint(content, name, entry["values"]), entry["since"])
