"""Blobs: bytes by their content."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol


class BlobInfo(NamedTuple):
    """A stored blob: ``digest`` is the SHA-256 of its bytes in hex; ``size`` in bytes."""

    digest: str
    size: int


class KeptBlob(NamedTuple):
    """A stored blob as a listing tells it; ``stored_at`` is when it was stored last, also when it was there already
    (seconds since the epoch)."""

    digest: str
    size: int
    stored_at: float


class Blobs(Protocol):
    """Bytes by their content: the same bytes are kept once."""

    async def put_file(self, path: str) -> BlobInfo:
        """Stores a local file's bytes, durably, and returns their address; storing them again is harmless."""
        ...

    async def put(self, data: bytes) -> BlobInfo:
        """Stores bytes that fit in memory."""
        ...

    async def head(self, digest: str) -> BlobInfo | None:
        """What is stored under a digest, or nothing."""
        ...

    async def get(self, digest: str) -> bytes:
        """All bytes of a blob; raises ``NotFound``."""
        ...

    def stream(self, digest: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes ``start <= i < end`` in chunks of at most 1 MiB; raises ``NotFound``."""
        ...

    async def delete(self, digest: str) -> None:
        """Forgets a blob; forgetting what is not there is harmless."""
        ...

    def everything(self) -> AsyncIterator[list[KeptBlob]]:
        """Every stored blob, in batches and in no order."""
        ...

    async def discard(self, digest: str, stored_before: float) -> bool:
        """Forgets a blob unless somebody has stored it again since that moment; whether it was forgotten."""
        ...
