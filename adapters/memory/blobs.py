"""Blobs in memory: the whole port as real code without a disk, for tests and for thinking."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator

from adapters.files.opening import opened
from domain.errors import NotFound, Remedy
from domain.ports import BlobInfo, KeptBlob

CHUNK = 2**20


class MemoryBlobs:
    """Keeps bytes in a dictionary. Nothing survives the process."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self._stored_at: dict[str, float] = {}

    async def put_file(self, path: str) -> BlobInfo:
        return await self.put(await asyncio.to_thread(_read, path))

    async def put(self, data: bytes) -> BlobInfo:
        digest = hashlib.sha256(data).hexdigest()
        self.kept[digest] = bytes(data)
        self._stored_at[digest] = time.time()
        return BlobInfo(digest, len(data))

    async def head(self, digest: str) -> BlobInfo | None:
        data = self.kept.get(digest)
        return None if data is None else BlobInfo(digest, len(data))

    async def get(self, digest: str) -> bytes:
        if digest not in self.kept:
            raise NotFound(
                f"No bytes are kept under {digest[:80]}.",
                error="unknown_blob",
                remediation=[Remedy("Upload the file again.", "upload")],
                detail={"digest": digest[:80]},
            )
        return self.kept[digest]

    async def stream(self, digest: str, start: int, end: int) -> AsyncIterator[bytes]:
        data = await self.get(digest)
        for offset in range(start, min(end, len(data)), CHUNK):
            yield data[offset : min(offset + CHUNK, end)]

    async def delete(self, digest: str) -> None:
        self.kept.pop(digest, None)

    async def everything(self) -> AsyncIterator[list[KeptBlob]]:
        yield [KeptBlob(digest, len(data), self._stored_at[digest]) for digest, data in self.kept.items()]

    async def discard(self, digest: str, stored_before: float) -> bool:
        if digest not in self.kept or self._stored_at[digest] >= stored_before:
            return False
        del self.kept[digest]
        return True


def _read(path: str) -> bytes:
    with opened(path) as file:
        return file.read()
