"""Bytes by their content, in a folder or in an object store (S3, Google, Azure)."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from adapters.files.opening import opened
from adapters.files.replacing import sync_folder
from domain.errors import NotFound, Remedy, Unavailable
from domain.ports import BlobInfo, KeptBlob

CHUNK: Final = 2**20
"""Largest piece that is held in memory while bytes move."""

LEFTOVER_SECONDS: Final = 3600
"""A file under ``incoming`` that nobody has written to for this long belongs to a process that died."""


REFRESH_SECONDS: Final = 3600
"""An object that is stored again this long after the last time is written anew, so that its time says so."""

LISTED: Final = 1000
"""Blobs of one batch of a listing."""


class StoredBlobs:
    """``place`` is a folder or an address (``s3://bucket/prefix``, ``gs://…``, ``az://…``; credentials from the
    environment as obstore documents them). A blob stands at ``sha256/ab/cd…``, by the hex digits of its digest.

    In a folder a blob is written beside its place, synced, put in place in one step, and its folder synced, before
    it is acknowledged: after a power failure it is there whole or not at all.
    """

    def __init__(self, place: str) -> None:
        scheme, separator, rest = place.partition("://")
        self._folder = None if separator and scheme != "file" else Path(rest if separator else place)
        self._place = place
        self._opened: ObjectStore | None = None
        self._tidied = False

    async def put_file(self, path: str) -> BlobInfo:
        return await asyncio.to_thread(self._put, lambda: opened(path))

    async def put(self, data: bytes) -> BlobInfo:
        digest = hashlib.sha256(data).hexdigest()
        if self._folder is None:
            with _speaking():
                await self._send(digest, len(data), data)
            return BlobInfo(digest, len(data))
        return await asyncio.to_thread(self._put, lambda: _Held(data))

    async def head(self, digest: str) -> BlobInfo | None:
        if not is_digest(digest):
            return None
        with _speaking():
            try:
                return BlobInfo(digest, (await obstore.head_async(self._store(), key(digest)))["size"])
            except (NotFoundError, FileNotFoundError):
                return None

    async def get(self, digest: str) -> bytes:
        with _speaking(), _finding(digest):
            result = await obstore.get_async(self._store(), key(digest))
            data = bytes(await result.bytes_async())
        if hashlib.sha256(data).hexdigest() != digest:
            raise Unavailable(
                f"The stored bytes of {digest} are damaged.",
                error="blob_damaged",
                remediation=[Remedy("Restore the blob from a backup, or register the file again.", "restore_blob")],
                detail={"digest": digest},
            )
        return data

    async def stream(self, digest: str, start: int, end: int) -> AsyncIterator[bytes]:
        info = await self.head(digest)
        if info is None:
            raise missing(digest)
        end = min(end, info.size)
        if start >= end:
            return
        with _speaking(), _finding(digest):
            result = await obstore.get_async(self._store(), key(digest), options={"range": (start, end)})
            async for piece in result.stream(min_chunk_size=CHUNK // 4):
                view = memoryview(piece)
                for offset in range(0, len(view), CHUNK):
                    yield bytes(view[offset : offset + CHUNK])

    async def delete(self, digest: str) -> None:
        if not is_digest(digest):
            return
        with _speaking(), suppress(NotFoundError, FileNotFoundError):
            await obstore.delete_async(self._store(), key(digest))

    async def everything(self) -> AsyncIterator[list[KeptBlob]]:
        with _speaking():
            listed = obstore.list(self._store(), "sha256/", chunk_size=LISTED)
            async for batch in listed:
                yield [
                    KeptBlob(digest, one["size"], one["last_modified"].timestamp()) for one in batch
                    if is_digest(digest := one["path"].removeprefix("sha256/").replace("/", ""))
                    and one["path"] == key(digest)
                ]

    async def discard(self, digest: str, stored_before: float) -> bool:
        if not is_digest(digest):
            return False
        with _speaking():
            if self._folder is not None:
                return await asyncio.to_thread(self._discard, self._folder, digest, stored_before)
            try:
                found = await obstore.head_async(self._store(), key(digest))
            except (NotFoundError, FileNotFoundError):
                return False
            # An object store has no lock: who stores the same bytes in this very moment may find them gone. That is
            # seen when they are registered, which is refused then.
            if found["last_modified"].timestamp() >= stored_before:
                return False
            with suppress(NotFoundError, FileNotFoundError):
                await obstore.delete_async(self._store(), key(digest))
            return True

    def _discard(self, folder: Path, digest: str, stored_before: float) -> bool:
        place = folder / key(digest)
        try:
            with _locked(folder, fcntl.LOCK_EX):  # nobody stores anything meanwhile
                if place.stat().st_mtime >= stored_before:
                    return False
                place.unlink()
        except FileNotFoundError:
            return False
        return True

    # --- writing ----------------------------------------------------------------------------------------------

    def _put(self, source: Callable[[], IO[bytes] | _Held]) -> BlobInfo:
        with source() as reading, _speaking(self._folder, _length(reading)):
            folder = self._incoming()
            handle, name = tempfile.mkstemp(dir=folder, prefix="blob-")
            try:
                with os.fdopen(handle, "wb") as writing:
                    info = _copied(reading, writing)
                    if self._folder is not None:
                        writing.flush()
                        os.fsync(writing.fileno())
                if self._folder is not None:
                    self._settle(Path(name), info)
                else:
                    asyncio.run(self._send(info.digest, info.size, Path(name)))
            finally:
                Path(name).unlink(missing_ok=True)
        return info

    def _settle(self, written: Path, info: BlobInfo) -> None:
        assert self._folder is not None
        place = self._folder / key(info.digest)
        made = _make_folders(place.parent)
        with _locked(self._folder, fcntl.LOCK_SH):
            # A blob of another length is what a damaged disk left of it: the good bytes take its place.
            if not place.exists() or place.stat().st_size != info.size:
                written.replace(place)
            else:
                os.utime(place)  # whoever collects what nobody names sees that somebody is about to
        # Also for bytes that stood there already: whoever put them may not have synced the folder yet.
        for folder in (place.parent, *made):
            sync_folder(folder)

    async def _send(self, digest: str, size: int, data: bytes | Path) -> None:
        try:
            found = await obstore.head_async(self._store(), key(digest))
            if found["size"] == size and found["last_modified"].timestamp() > time.time() - REFRESH_SECONDS:
                return
        except (NotFoundError, FileNotFoundError):
            pass
        try:
            await obstore.put_async(self._store(), key(digest), data)
        except (NotFoundError, FileNotFoundError) as error:  # of what is written only the bucket can be missing
            raise Unavailable(
                "The blob store has no such bucket.", error="blobs_unavailable",
                remediation=[Remedy("Make the bucket that COMFYVN_BLOBS_URL names, or name another.", "check_blobs")],
            ) from error

    def _incoming(self) -> Path | None:
        if self._folder is None:
            return None
        incoming = self._folder / "incoming"
        incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self._tidied:
            _tidy(incoming)
            self._tidied = True
        return incoming

    def _store(self) -> ObjectStore:
        if self._opened is None:
            if self._folder is not None:
                self._opened = LocalStore(self._folder.absolute(), mkdir=True)
            else:
                self._opened = from_url(self._place)
        return self._opened


def key(digest: str) -> str:
    """Where a blob stands below the root of its store."""
    return f"sha256/{digest[:2]}/{digest[2:]}"


def is_digest(text: str) -> bool:
    """Whether a text is a SHA-256 in lower-case hex; anything else names no blob (and could name another file)."""
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def missing(digest: str) -> NotFound:
    """The error for bytes that are not kept here."""
    return NotFound(
        f"No bytes are kept under {digest[:80]}.",
        error="unknown_blob",
        remediation=[Remedy("Upload the file again.", "upload")],
        detail={"digest": digest[:80]},
    )


class _Held:
    """Bytes in memory that are read like a file."""

    def __init__(self, data: bytes) -> None:
        self._view = memoryview(data)

    def __len__(self) -> int:
        return len(self._view)

    def read(self, size: int) -> memoryview:
        piece, self._view = self._view[:size], self._view[size:]
        return piece

    def __enter__(self) -> _Held:
        return self

    def __exit__(self, *_: object) -> None:
        self._view.release()


def _copied(reading: IO[bytes] | _Held, writing: IO[bytes]) -> BlobInfo:
    digest, size = hashlib.sha256(), 0
    while piece := reading.read(CHUNK):
        digest.update(piece)
        writing.write(piece)
        size += len(piece)
    return BlobInfo(digest.hexdigest(), size)


def _make_folders(folder: Path) -> list[Path]:
    """Makes a folder with what is missing above it; the folders that must be synced so that it is found again."""
    missing_ones = []
    above = folder
    while not above.exists():
        missing_ones.append(above)
        above = above.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return [one.parent for one in missing_ones]


def _tidy(incoming: Path) -> None:
    for leftover in _old(incoming):
        leftover.unlink(missing_ok=True)


def _old(incoming: Path) -> Iterator[Path]:
    for one in incoming.glob("blob-*"):
        with suppress(FileNotFoundError):
            if one.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
                yield one


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Holds the store's lock: shared by all who place blobs, alone for whoever takes one away."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


@contextmanager
def _finding(digest: str) -> Iterator[None]:
    if not is_digest(digest):
        raise missing(digest)
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise missing(digest) from error


def _length(reading: IO[bytes] | _Held) -> int | None:
    if isinstance(reading, _Held):
        return len(reading)
    with suppress(OSError):
        return os.fstat(reading.fileno()).st_size
    return None


def _room(folder: Path | None, needed: int | None) -> tuple[str, dict[str, Any]]:
    """How much is free where blobs are, and how much was needed: as a sentence, and as data."""
    if folder is None or needed is None:
        return "", {}
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
        return f" {needed:,} bytes were to be stored, and {free:,} are free there.", {"needed": needed, "free": free}
    return "", {}


@contextmanager
def _speaking(folder: Path | None = None, needed: int | None = None) -> Iterator[None]:
    """Turns what a disk or an object store says into ``Unavailable``; told how many bytes were to be written where, it
    says so when there is no room for them."""
    try:
        yield
    except (NotFoundError, FileNotFoundError):
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        room, detail = _room(folder, needed) if full else ("", {})
        raise Unavailable(
            f"The blob store cannot be written: {error.strerror or error}.{room}" if full
            else f"The blob store cannot be used: {error.strerror or error}.",
            error="disk_full" if full else "blobs_unavailable",
            remediation=[
                Remedy("Make room on the disk.", "free_space") if full
                else Remedy("Check that the studio may read and write the blob folder.", "check_permissions"),
                Remedy("Then try again: nothing was kept of this.", "retry"),
            ],
            detail=detail,
        ) from error
    except (BaseError, ValueError) as error:
        raise Unavailable(
            f"The blob store does not answer ({type(error).__name__}).",
            error="blobs_unavailable",
            remediation=[Remedy("Check the address and the credentials of the blob store.", "check_blobs")],
        ) from error
