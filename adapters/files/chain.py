"""The audit chain in a folder: ``chain.bin`` (32 bytes per position), ``checkpoints.jsonl``, ``key.pem``.

``key.pub.pem`` beside them is the public key, to be kept elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from adapters.files.replacing import place_first, replace
from domain.errors import Remedy, Unavailable

HASH: Final = 32
"""Bytes of one hash (SHA-256)."""

EMPTY: Final = bytes(HASH)


class ChainFolder:
    """``domain.ports.Chain`` in ``folder``, which is made when something is first kept. One process writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chain = folder / "chain.bin"
        self.checkpoints = folder / "checkpoints.jsonl"
        self.private = folder / "key.pem"
        self.public = folder / "key.pub.pem"

    def length(self) -> int:
        with self._failing(self.chain):
            try:
                return self.chain.stat().st_size // HASH
            except FileNotFoundError:
                return 0

    def mend(self) -> int:
        """Cuts what a crash left unfinished at the end of the chain; the length after that.

        A write that did not reach the disk leaves a piece of a hash, or zeros where the file had grown already.
        Nothing else is ever cut: a wrong hash is evidence.
        """
        with self._failing(self.chain):
            if not self.chain.exists():
                return 0
            with self.chain.open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                whole = size - size % HASH
                while whole:
                    file.seek(whole - HASH)
                    if file.read(HASH) != EMPTY:
                        break
                    whole -= HASH
                if whole != size:
                    file.truncate(whole)
                    os.fsync(file.fileno())
                return whole // HASH

    def hashes(self, first: int, count: int) -> bytes:
        with self._failing(self.chain):
            try:
                with self.chain.open("rb") as file:
                    file.seek((first - 1) * HASH)
                    found = file.read(count * HASH)
            except FileNotFoundError:
                return b""
            return found[: len(found) - len(found) % HASH]

    def extend(self, after: int, hashes: bytes) -> None:
        with self._failing(self.chain):
            self._prepare()
            handle = os.open(self.chain, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(handle).st_size != after * HASH:
                    raise Unavailable(
                        f"{self.chain} does not end at position {after}: another process writes to it.",
                        error="audit_in_use",
                        remediation=[Remedy("Let one worker run on a data folder.", "stop_holder")],
                    )
                _write_all(handle, hashes, after * HASH)
                os.fsync(handle)
            finally:
                os.close(handle)

    def statements(self) -> list[bytes]:
        with self._failing(self.checkpoints):
            try:
                # What follows the last line's end is half of a line that a crash cut off.
                return [line for line in self.checkpoints.read_bytes().split(b"\n")[:-1] if line.strip()]
            except FileNotFoundError:
                return []

    def state(self, statement: bytes) -> None:
        with self._failing(self.checkpoints):
            self._prepare()
            handle = os.open(self.checkpoints, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(handle).st_size
                start = max(0, size - 4096)
                whole = start + os.pread(handle, 4096, start).rfind(b"\n") + 1
                if whole != size:
                    os.ftruncate(handle, whole)  # half a line that a crash left
                _write_all(handle, statement + b"\n", whole)
                os.fsync(handle)
            finally:
                os.close(handle)

    def key(self) -> bytes | None:
        with self._failing(self.private):
            try:
                return self.private.read_bytes()
            except FileNotFoundError:
                return None

    def keep_key(self, private: bytes, public: bytes) -> bytes:
        with self._failing(self.private):
            self._prepare()
            if not self.private.exists():
                place_first(self.private, private)  # whoever comes second finds a whole key and keeps it
            kept = self.private.read_bytes()
            if kept == private and not self.public_key():
                replace(self.public, public)
                self.public.chmod(0o644)
            return kept

    def public_key(self) -> bytes | None:
        with self._failing(self.public):
            try:
                return self.public.read_bytes() or None
            except FileNotFoundError:
                return None

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, mode=0o700, exist_ok=True)

    @contextmanager
    def _failing(self, place: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(
                f"The audit's file {place} cannot be used: {error.strerror or error}.",
                error="audit_unavailable",
                remediation=[Remedy("Free disk space or mend the rights of that folder.", "mend_folder")],
                detail={"file": str(place)},
            ) from error


def _write_all(handle: int, content: bytes, at: int) -> None:
    done = 0
    while done < len(content):
        done += os.pwrite(handle, content[done:], at + done)
