"""An audit chain in memory: the whole port without files, for tests."""

from __future__ import annotations

from typing import Final

HASH: Final = 32


class MemoryChain:
    """Keeps hashes in a byte array. Nothing survives the process."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.lines: list[bytes] = []
        self.private: bytes | None = None
        self.public: bytes | None = None

    def length(self) -> int:
        return len(self.content) // HASH

    def mend(self) -> int:
        return self.length()

    def hashes(self, first: int, count: int) -> bytes:
        return bytes(self.content[(first - 1) * HASH : (first - 1 + count) * HASH])

    def extend(self, after: int, hashes: bytes) -> None:
        assert after == self.length(), "hashes are added at the end"
        self.content += hashes

    def statements(self) -> list[bytes]:
        return list(self.lines)

    def state(self, statement: bytes) -> None:
        self.lines.append(statement)

    def key(self) -> bytes | None:
        return self.private

    def keep_key(self, private: bytes, public: bytes) -> bytes:
        if self.private is None:
            self.private = private
        if self.private == private and self.public is None:
            self.public = public
        return self.private

    def public_key(self) -> bytes | None:
        return self.public
