"""The hash of an event and the signature under a checkpoint: what makes a rewrite of the past visible.

``h(0)`` is the SHA-256 of ``comfyvn audit chain 1``; ``h(n)`` that of ``h(n-1)`` followed by the position in 8 bytes
and, each behind its length in 4 bytes (all big-endian), the subject, type, schema version, id, version, time, actor,
command id, request, correlation id, causation id (UTF-8, numbers in decimal) and the body's bytes. A position that
holds no event counts as 8 bytes of position and ``nothing``. Whoever can compute SHA-256 can check this.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Final, NamedTuple

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from domain.errors import Invalid, Remedy
from domain.ports import Recorded

HASH: Final = 32
"""Bytes of one hash."""

CHECKPOINT_EVERY: Final = 1000
"""Positions between two signed checkpoints."""

GENESIS: Final = sha256(b"comfyvn audit chain 1").digest()
"""The hash before the first event."""


def linked(previous: bytes, event: Recorded) -> bytes:
    """The hash of an event at its position, after the hash before it."""
    parts = [previous, event.position.to_bytes(8, "big")]
    for text in (
        event.stream.subject, event.type, str(event.schema), event.event_id, str(event.version), event.time,
        event.actor, event.command_id, event.request, event.correlation_id, event.causation_id,
    ):
        encoded = text.encode("utf-8", "surrogatepass")
        parts += (len(encoded).to_bytes(4, "big"), encoded)
    parts += (len(event.data).to_bytes(4, "big"), event.data)
    return sha256(b"".join(parts)).digest()


def unheld(previous: bytes, position: int) -> bytes:
    """The hash of a position that holds no event."""
    return sha256(previous + position.to_bytes(8, "big") + b"nothing").digest()


class Checkpoint(NamedTuple):
    """A signed statement: at this time the hash at ``position`` was ``digest`` (hex).

    ``number`` counts the checkpoints of a chain from 1, so that a missing one shows; ``key`` is the SHA-256 of the raw
    public key in hex, ``signature`` Ed25519 over ``message`` in base64.
    """

    number: int
    position: int
    digest: str
    time: str
    key: str
    signature: str

    @property
    def message(self) -> bytes:
        """The bytes that are signed."""
        said = ("comfyvn audit checkpoint", self.number, self.position, self.digest, self.time, self.key)
        return "".join(f"{one}\n" for one in said).encode()

    def line(self) -> bytes:
        """One line of JSON."""
        return orjson.dumps(self._asdict())

    @classmethod
    def of(cls, line: bytes) -> Checkpoint | None:
        """The checkpoint in a line; nothing when there is none."""
        try:
            told = orjson.loads(line)
            found = cls(**told)
        except (orjson.JSONDecodeError, TypeError):
            return None
        numbers = type(found.number) is int and type(found.position) is int and found.position > 0
        return found if numbers and all(isinstance(text, str) for text in found[2:]) else None


class Signer:
    """Signs checkpoints with one private key."""

    def __init__(self, private: bytes) -> None:
        try:
            key = serialization.load_pem_private_key(private, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise _unusable("private") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise _unusable("private")
        self._key = key
        self.fingerprint = fingerprint(key.public_key())

    def sign(self, number: int, position: int, digest: bytes, time: str) -> Checkpoint:
        """A checkpoint for the hash at a position."""
        unsigned = Checkpoint(number, position, digest.hex(), time, self.fingerprint, "")
        return unsigned._replace(signature=b64encode(self._key.sign(unsigned.message)).decode())

    @property
    def public(self) -> bytes:
        """The public key in PEM."""
        return _public_pem(self._key.public_key())


def is_signing_key(private: bytes) -> bool:
    """Whether checkpoints can be signed with a private key in PEM."""
    try:
        Signer(private)
    except Invalid:
        return False
    return True


def new_pair() -> tuple[bytes, bytes]:
    """A new private key and its public one, in PEM."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, _public_pem(key.public_key())


def public_key(pem: bytes) -> Ed25519PublicKey:
    """The public key in a PEM text; raises ``Invalid``."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unusable("public") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _unusable("public")
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of the raw public key in hex: what one writes down."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return sha256(raw).hexdigest()


def is_signed(checkpoint: Checkpoint, key: Ed25519PublicKey) -> bool:
    """Whether a checkpoint was signed by the owner of a key and not changed since."""
    try:
        key.verify(b64decode(checkpoint.signature, validate=True), checkpoint.message)
    except (InvalidSignature, ValueError):
        return False
    return checkpoint.key == fingerprint(key)


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _unusable(which: str) -> Invalid:
    return Invalid(
        f"The {which} key of the audit is not an Ed25519 key in PEM.",
        error="invalid_audit_key",
        remediation=[Remedy("Put the right key file back from a backup.", "restore_key")],
    )
