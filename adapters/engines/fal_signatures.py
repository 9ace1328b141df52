"""Who signed a call of fal: Ed25519 over four lines, with keys that fal publishes.

The signed message is the request's id, the account's id, the time, and the SHA-256 of the body in hex, joined by line
feeds. Keys are kept for a day at most, and fetched again before that when none fits, but not at everybody's bidding.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from adapters.outgoing import NotAllowed, Outgoing, Unreachable, origin_of
from domain.ports.webhooks import Forged

KEYS_URL: Final = "https://rest.fal.ai/.well-known/jwks.json"
WINDOW_SECONDS: Final = 300
KEPT_SECONDS: Final = 24 * 3600.0
AGAIN_SECONDS: Final = 300.0
KEYS_BYTES: Final = 256 * 1024


class FalSignatures:
    """Checks calls of fal. ``url`` is where its public keys are."""

    def __init__(self, url: str = KEYS_URL, outgoing: Outgoing | None = None) -> None:
        private = [] if url.startswith("https://") else [origin_of(url)]
        self._url = url
        self._outgoing = outgoing or Outgoing(private, connect_seconds=5, piece_seconds=10, whole_seconds=15)
        self._keys: list[Ed25519PublicKey] = []
        self._fetched = float("-inf")
        self._fetching = asyncio.Lock()

    async def close(self) -> None:
        await self._outgoing.close()

    async def __call__(self, headers: Mapping[str, str], body: bytes, now: float) -> str:
        named = [headers.get(f"x-fal-webhook-{name}", "") for name in ("request-id", "user-id", "timestamp")]
        if not all(named) or any(len(one) > 200 or "\n" in one for one in named):
            raise Forged("The call is not signed.")
        stamp = named[2]
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12) or abs(now - int(stamp)) > WINDOW_SECONDS:
            raise Forged("The call was signed too long ago, or in the future.")
        try:
            signature = binascii.unhexlify(headers.get("x-fal-webhook-signature", ""))
        except (binascii.Error, ValueError):
            raise Forged("The signature cannot be read.") from None
        message = "\n".join([*named, hashlib.sha256(body).hexdigest()]).encode()
        for renewed in (False, True):
            if any(_fits(key, signature, message) for key in await self._known(now, renewed)):
                return named[0]
        raise Forged("The signature does not fit.")

    async def _known(self, now: float, again: bool) -> list[Ed25519PublicKey]:
        async with self._fetching:
            if now - self._fetched > (AGAIN_SECONDS if again or not self._keys else KEPT_SECONDS):
                self._fetched = now
                self._keys = await self._fetch() or self._keys
            return self._keys

    async def _fetch(self) -> list[Ed25519PublicKey]:
        try:
            async with self._outgoing.get(self._url, limit=KEYS_BYTES) as answer:
                content = b"".join([piece async for piece in answer.pieces]) if answer.status == 200 else b""
            keys = orjson.loads(content)["keys"][:20]
            return [Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(one["x"] + "=" * (-len(one["x"]) % 4)))
                    for one in keys if one.get("crv") == "Ed25519"]
        except (NotAllowed, Unreachable, ValueError, KeyError, TypeError, AttributeError):
            return []


def _fits(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
