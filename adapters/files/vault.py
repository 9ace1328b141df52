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

import base64
import binascii
import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.errors import Refused, Remedy, Unavailable
from domain.ports.secrets import Kept, VaultState

FORMAT: Final = "comfyvn-vault-1"
LARGEST: Final = 2**20
"""Bytes of the whole file. Some dozens of keys take some thousands."""

ENTRIES: Final = 200

COST: Final = {"n": 2**15, "r": 8, "p": 1}
"""Of scrypt: about a tenth of a second and 32 MiB for each guess."""

KEY_BYTES: Final = 32


class _Master(NamedTuple):
    id: str
    key: bytes


class _Opened(NamedTuple):
    header: dict[str, Any]
    content: dict[str, Any]
    master: _Master


class FileVault:
    """A vault in one file, which several processes may use at once."""

    def __init__(
        self, place: Path, key_file: Path | None = None, passphrase: Callable[[], str | None] = lambda: None
    ) -> None:
        """``place`` is the sealed file; ``key_file`` where master keys are (default: the user's configuration)."""
        self.place = place
        self.key_file = key_file or default_key_file()
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
        return _fingerprint(opened.content, name, values)

    def rotate(self, passphrase: str | None = None) -> str:
        """Seals everything under a new master key. Raises ``Unavailable`` and, for an empty passphrase, ``Refused``."""
        if passphrase is not None and len(passphrase) < 8:
            raise Refused(
                "A passphrase needs eight characters at least.", error="weak_passphrase",
                remediation=[Remedy("Choose a longer one; several words are good.", "choose_passphrase")],
            )
        with self._locked():
            old = self._read()
            content = old.content if old else _empty()
            vault = old.header["vault"] if old else secrets.token_hex(8)
            if passphrase is not None:
                header, master = _from_passphrase(vault, passphrase)
            else:
                master = self._new_key(vault)
                header = {"format": FORMAT, "vault": vault, "lock": "key_file", "key": master.id}
            self._write(header, content, master)
            # Only now: had the file not been replaced, the older key would still be needed.
            self._drop_other_keys(vault, master.id if passphrase is None else None)
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
            raise _unusable(self.place, error) from error
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
            raise _unusable(self.place, error) from error
        if len(raw) > LARGEST:
            raise _damaged(self.place, "it is too large")
        return raw

    def _header(self) -> dict[str, Any] | None:
        raw = self._bytes()
        return None if raw is None else _parsed(self.place, raw)[0]

    def _read(self) -> _Opened | None:
        raw = self._bytes()
        if raw is None:
            return None
        header, nonce, sealed = _parsed(self.place, raw)
        master = self._master(header)
        try:
            text = AESGCM(_sealing_key(master.key, header)).decrypt(nonce, sealed, _associated(header))
        except InvalidTag:
            raise _damaged(self.place, "it is not what was sealed, or it was sealed with another key") from None
        content = orjson.loads(text)
        return _Opened(header, content, master)

    def _master(self, header: Mapping[str, Any]) -> _Master:
        if header["lock"] == "passphrase":
            passphrase = self._passphrase()
            if not passphrase:
                raise _locked("It was sealed with a passphrase, and none was given.",
                              "Set COMFYVN_VAULT_PASSPHRASE.", "set_passphrase")
            key = _stretched(passphrase, header["salt"], header["n"], header["r"], header["p"])
            if not hmac.compare_digest(_key_id(key), header["key"]):
                raise _locked("The passphrase is not the one that it was sealed with.",
                              "Set COMFYVN_VAULT_PASSPHRASE to that one.", "set_passphrase")
            return _Master(header["key"], key)
        for vault, key in self._keys():
            if vault in ("", header["vault"]) and hmac.compare_digest(_key_id(key), header["key"]):
                return _Master(header["key"], key)
        raise _locked(
            f"Its master key {header['key']} is not in {self.key_file}.",
            "Put that key file back or name it with COMFYVN_VAULT_KEY_FILE; without it, move vault.json away and "
            "connect the providers again.", "restore_vault_key",
        )

    @contextlib.contextmanager
    def _changing(self) -> Iterator[_Opened]:
        with self._locked():
            opened = self._read()
            if opened is None:
                opened = self._made()
            yield opened
            self._write(opened.header, opened.content, opened.master)

    def _made(self) -> _Opened:
        vault = secrets.token_hex(8)
        passphrase = self._passphrase()
        if passphrase:
            header, master = _from_passphrase(vault, passphrase)
        else:
            shared = next((key for owner, key in self._keys() if not owner), None)
            master = _Master(_key_id(shared), shared) if shared else self._new_key(vault)
            header = {"format": FORMAT, "vault": vault, "lock": "key_file", "key": master.id}
        return _Opened(header, _empty(), master)

    def _write(self, header: Mapping[str, Any], content: Mapping[str, Any], master: _Master) -> None:
        nonce = secrets.token_bytes(12)
        text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        # Padded, so that the size does not tell how long a key is.
        text += b" " * (-len(text) % 512)
        sealed = AESGCM(_sealing_key(master.key, header)).encrypt(nonce, text, _associated(header))
        told = {**header, "nonce": _coded(nonce), "sealed": _coded(sealed)}
        _replace(self.place, orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
        self._stamp, self._opened = None, None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with _lock(self.place):
            yield

    # --- the key file ---------------------------------------------------------------------------------------------

    def _keys(self) -> list[tuple[str, bytes]]:
        """(vault, key) of every line; an empty vault means any. Raises ``Unavailable`` for a file that others read."""
        self._outside()
        try:
            with self.key_file.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                raw = file.read(LARGEST)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _locked(f"The key file {self.key_file} cannot be read: {error.strerror}.",
                          "Correct its owner or mode.", "fix_permissions") from error
        if stat.S_ISREG(mode) and mode & 0o077:
            raise _locked(f"Others on this machine may read the key file {self.key_file} ({stat.filemode(mode)}).",
                          f"chmod 600 {self.key_file}", "fix_permissions")
        found = []
        for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), start=1):
            words = line.split("#")[0].split()
            if not words:
                continue
            key = _decoded_key(words[-1])
            if key is None or len(words) not in (1, 3):
                raise _locked(f"Line {number} of the key file {self.key_file} is no key.",
                              "A line is one key of 32 bytes in base64, or what the studio wrote.", "mend_key_file")
            found.append((words[0] if len(words) == 3 else "", key))
        return found

    def _new_key(self, vault: str) -> _Master:
        key = secrets.token_bytes(KEY_BYTES)
        master = _Master(_key_id(key), key)
        with self._changing_keys() as lines:
            lines.append(f"{vault} {master.id} {_coded(key)}")
        return master

    def _drop_other_keys(self, vault: str, kept: str | None) -> None:
        if not self.key_file.exists():
            return
        with self._changing_keys() as lines:
            lines[:] = [line for line in lines if line.split()[:1] != [vault] or line.split()[1] == kept]

    @contextlib.contextmanager
    def _changing_keys(self) -> Iterator[list[str]]:
        self._outside()
        with _lock(self.key_file):
            self._keys()  # a file that cannot be understood is not written over
            try:
                before = self.key_file.read_text(encoding="utf-8").splitlines()
            except FileNotFoundError:
                before = []
            lines = [line for line in before if line.strip()]
            yield lines
            if lines != before:
                _replace(self.key_file, "".join(f"{line}\n" for line in lines).encode())

    def _outside(self) -> None:
        folder = self.place.parent.resolve()
        if self.key_file.resolve().is_relative_to(folder):
            raise _locked(
                f"The key file {self.key_file} lies in the data folder: whoever copies the folder would have both.",
                "Name one outside with COMFYVN_VAULT_KEY_FILE.", "move_key_file",
            )


def default_key_file() -> Path:
    """In the user's configuration folder."""
    configuration = os.environ.get("XDG_CONFIG_HOME", "")
    base_ = Path(configuration) if configuration.startswith("/") else Path.home() / ".config"
    return base_ / "comfyvn" / "vault.keys"


def _empty() -> dict[str, Any]:
    return {"mark": secrets.token_hex(32), "entries": {}}


def _kept(content: Mapping[str, Any], name: str) -> Kept:
    entry = content["entries"][name]
    return Kept(tuple(sorted(entry["values"])), _fingerprint(content, name, entry["values"]), entry["since"])


def _fingerprint(content: Mapping[str, Any], name: str, values: Mapping[str, str]) -> str:
    told = orjson.dumps([name, sorted(values.items())])
    return hmac.new(bytes.fromhex(content["mark"]), told, hashlib.sha256).hexdigest()[:12]


def _parsed(place: Path, raw: bytes) -> tuple[dict[str, Any], bytes, bytes]:
    try:
        told = orjson.loads(raw)
        nonce, sealed = _plain(told.pop("nonce")), _plain(told.pop("sealed"))
        texts = [told[name] for name in ("format", "vault", "lock", "key")]
        if told["format"] != FORMAT or len(nonce) != 12 or not all(isinstance(one, str) for one in texts):
            raise ValueError(told["format"])
        if told["lock"] == "passphrase":
            n, r, p = (told[name] for name in ("n", "r", "p"))
            # Bounded: a file that was tampered with must not make this process take all memory.
            if not (n in (2**15, 2**16, 2**17, 2**18) and r == 8 and p == 1 and len(_plain(told["salt"])) == 16):
                raise ValueError("cost")
        elif told["lock"] != "key_file":
            raise ValueError("lock")
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise _damaged(place, "it is no vault of this release") from None
    return told, nonce, sealed


def _associated(header: Mapping[str, Any]) -> bytes:
    return orjson.dumps(dict(header), option=orjson.OPT_SORT_KEYS)


def _sealing_key(master: bytes, header: Mapping[str, Any]) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, header["vault"].encode(), b"comfyvn vault sealing").derive(master)


def _key_id(key: bytes) -> str:
    return HKDF(SHA256(), 6, None, b"comfyvn vault key id").derive(key).hex()


def _from_passphrase(vault: str, passphrase: str) -> tuple[dict[str, Any], _Master]:
    salt = _coded(secrets.token_bytes(16))
    key = _stretched(passphrase, salt, **COST)
    header = {"format": FORMAT, "vault": vault, "lock": "passphrase", "key": _key_id(key), "salt": salt, **COST}
    return header, _Master(header["key"], key)


@lru_cache(maxsize=8)
def _stretched(passphrase: str, salt: str, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(
        passphrase.encode("utf-8", "surrogatepass"), salt=_plain(salt), n=n, r=r, p=p, dklen=KEY_BYTES,
        maxmem=256 * 2**20 * (n // 2**15),
    )


def _coded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _plain(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _decoded_key(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return key if len(key) == KEY_BYTES else None


@contextlib.contextmanager
def _lock(place: Path) -> Iterator[None]:
    try:
        place.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        handle = os.open(place.with_name(place.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(place, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(place: Path, body: bytes) -> None:
    try:
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=place.name + ".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(place)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _unusable(place, error) from error


def _locked(why: str, text: str, action: str) -> Unavailable:
    return Unavailable(f"The vault cannot be opened. {why}", error="vault_locked", remediation=[Remedy(text, action)])


def _damaged(place: Path, why: str) -> Unavailable:
    return Unavailable(
        f"The vault {place} is damaged: {why}.", error="vault_damaged",
        remediation=[
            Remedy("Put it back from a backup; or move it away and connect the providers again.", "restore_vault"),
        ],
    )


def _unusable(place: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"{place} cannot be used: {error.strerror or error}.", error="vault_unusable",
        remediation=[Remedy("Look at its owner and mode, and at the disk's space.", "fix_permissions")],
    )
