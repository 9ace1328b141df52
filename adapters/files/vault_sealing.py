"""How a vault is sealed: its header, the keys that are made of a master key, and the piece that they close.

The header is plain JSON and goes into the seal as associated data. Either master key, the one of a key file and the
one that scrypt makes of a passphrase, goes through HKDF with the vault's id, so that one key never seals two vaults
with the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.errors import Remedy, Unavailable

FORMAT: Final = "comfyvn-vault-1"

COST: Final = {"n": 2**15, "r": 8, "p": 1}
"""Of scrypt: about a tenth of a second and 32 MiB for each guess."""

KEY_BYTES: Final = 32


class Master(NamedTuple):
    """A master key, and the name that headers and key files know it by."""

    id: str
    key: bytes


class Parts(NamedTuple):
    """What a vault file holds."""

    header: dict[str, Any]
    nonce: bytes
    sealed: bytes


def parts_of(place: Path, raw: bytes) -> Parts:
    """The parts of a file, judged before anything is done with them. Raises ``Unavailable``."""
    try:
        told = orjson.loads(raw)
        nonce, sealed = _decoded(told.pop("nonce")), _decoded(told.pop("sealed"))
        texts = [told[name] for name in ("format", "vault", "lock", "key")]
        fits = all(isinstance(one, str) and one.isascii() for one in texts)
        if told["format"] != FORMAT or len(nonce) != 12 or not fits:
            raise ValueError(told["format"])
        if told["lock"] == "passphrase":
            n, r, p = (told[name] for name in ("n", "r", "p"))
            # Bounded: a file that was tampered with must not make this process take all memory.
            whole = all(type(one) is int for one in (n, r, p)) and len(_decoded(told["salt"])) == 16
            if not (whole and n in (2**15, 2**16, 2**17, 2**18) and r == 8 and p == 1):
                raise ValueError("cost")
        elif told["lock"] != "key_file":
            raise ValueError("lock")
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise damaged(place, "it is no vault of this release") from None
    return Parts(told, nonce, sealed)


def unsealed(place: Path, parts: Parts, master: Master) -> dict[str, Any]:
    """The content. Raises ``Unavailable`` where a byte differs from what was sealed with this key."""
    header = parts.header
    try:
        text = AESGCM(_sealing_key(master.key, header)).decrypt(parts.nonce, parts.sealed, _associated(header))
    except InvalidTag:
        raise damaged(place, "it is not what was sealed, or it was sealed with another key") from None
    content: dict[str, Any] = orjson.loads(text)
    return content


def sealed(header: Mapping[str, Any], content: Mapping[str, Any], master: Master) -> bytes:
    """The bytes of a vault file."""
    nonce = secrets.token_bytes(12)
    text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    # Padded, so that the size does not tell how long a key is.
    text += b" " * (-len(text) % 512)
    closed = AESGCM(_sealing_key(master.key, header)).encrypt(nonce, text, _associated(header))
    told = {**header, "nonce": coded(nonce), "sealed": coded(closed)}
    return orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n"


def under_key_file(vault: str, master: Master) -> dict[str, Any]:
    """The header of a vault whose master key lies in a key file."""
    return {"format": FORMAT, "vault": vault, "lock": "key_file", "key": master.id}


def under_passphrase(vault: str, passphrase: str) -> tuple[dict[str, Any], Master]:
    """The header of a vault that a passphrase opens, with a new salt, and its master key."""
    salt = coded(secrets.token_bytes(16))
    key = stretched(passphrase, salt, **COST)
    header = {"format": FORMAT, "vault": vault, "lock": "passphrase", "key": key_id(key), "salt": salt, **COST}
    return header, Master(header["key"], key)


@lru_cache(maxsize=8)
def stretched(passphrase: str, salt: str, n: int, r: int, p: int) -> bytes:
    """The master key that a passphrase makes."""
    return hashlib.scrypt(
        passphrase.encode("utf-8", "surrogatepass"), salt=_decoded(salt), n=n, r=r, p=p, dklen=KEY_BYTES,
        maxmem=256 * 2**20 * (n // 2**15),
    )


def key_id(key: bytes) -> str:
    """The name of a master key, which tells nothing of it."""
    return HKDF(SHA256(), 6, None, b"comfyvn vault key id").derive(key).hex()


def fingerprint(content: Mapping[str, Any], name: str, values: Mapping[str, str]) -> str:
    """A short hash of one secret, keyed with the vault's own mark."""
    told = orjson.dumps([name, sorted(values.items())])
    return hmac.new(bytes.fromhex(content["mark"]), told, hashlib.sha256).hexdigest()[:12]


def empty() -> dict[str, Any]:
    """The content of a new vault."""
    return {"mark": secrets.token_hex(32), "entries": {}}


def coded(raw: bytes) -> str:
    """Bytes as both files write them."""
    return base64.b64encode(raw).decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def decoded_key(text: str) -> bytes | None:
    """A master key in base64; nothing for what is none."""
    try:
        key = _decoded(text)
    except (ValueError, binascii.Error):
        return None
    return key if len(key) == KEY_BYTES else None


def _associated(header: Mapping[str, Any]) -> bytes:
    return orjson.dumps(dict(header), option=orjson.OPT_SORT_KEYS)


def _sealing_key(master: bytes, header: Mapping[str, Any]) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, header["vault"].encode(), b"comfyvn vault sealing").derive(master)


def locked(why: str, text: str, action: str) -> Unavailable:
    """The key that would open it is not at hand."""
    return Unavailable(f"The vault cannot be opened. {why}", error="vault_locked", remediation=[Remedy(text, action)])


def damaged(place: Path, why: str) -> Unavailable:
    """No key opens it any more."""
    return Unavailable(
        f"The vault {place} is damaged: {why}.", error="vault_damaged",
        remediation=[
            Remedy("Put it back from a backup; or move it away and connect the providers again.", "restore_vault"),
        ],
    )
