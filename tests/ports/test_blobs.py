"""Blobs: one suite for every adapter, and what a folder promises beyond it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adapters.files.blobs import LEFTOVER_SECONDS, StoredBlobs, key
from adapters.memory.blobs import MemoryBlobs
from domain.errors import NotFound, Unavailable
from domain.ports import BlobInfo, Blobs

DATA = bytes(range(256)) * 9000  # more than two chunks
DIGEST = hashlib.sha256(DATA).hexdigest()
SHORT = hashlib.sha256(DATA[:99]).hexdigest()
BUCKET = os.environ.get("COMFYVN_TEST_BLOBS_URL", "")
KINDS = ("memory", "folder", "object store", "bucket")


@pytest.fixture(params=KINDS)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    made: dict[str, Callable[[], Blobs]] = {
        "memory": MemoryBlobs,
        "folder": lambda: StoredBlobs(str(tmp_path / "blobs")),
        "object store": lambda: StoredBlobs("memory:///"),
        "bucket": lambda: a_bucket(tmp_path),
    }
    return made[request.param]()


def a_bucket(tmp_path: Path) -> StoredBlobs:
    """A place of its own in a real bucket."""
    if not BUCKET:
        pytest.skip("blobs in a bucket: `make test-s3`, or COMFYVN_TEST_BLOBS_URL=s3://…")
    return StoredBlobs(f"{BUCKET}/{tmp_path.name}-{time.time_ns()}")


def test_a_bucket_that_is_not_there_is_told(tmp_path: Path) -> None:
    a_bucket(tmp_path)
    with pytest.raises(Unavailable, match="no such bucket") as caught:
        asyncio.run(StoredBlobs("s3://nobody-made-this-bucket").put(DATA))
    assert caught.value.code == "blobs_unavailable"


async def read(blobs: Blobs, digest: str, start: int, end: int) -> list[bytes]:
    return [piece async for piece in blobs.stream(digest, start, end)]


def test_bytes_come_back_under_their_hash(blobs: Blobs) -> None:
    async def scenario() -> None:
        assert await blobs.head(DIGEST) is None
        assert await blobs.put(DATA) == BlobInfo(DIGEST, len(DATA))
        assert await blobs.head(DIGEST) == BlobInfo(DIGEST, len(DATA))
        assert await blobs.get(DIGEST) == DATA

    asyncio.run(scenario())


def test_a_file_is_stored_like_its_bytes_and_stays_where_it_is(blobs: Blobs, tmp_path: Path) -> None:
    file = tmp_path / "art.png"
    file.write_bytes(DATA)

    async def scenario() -> None:
        assert await blobs.put_file(str(file)) == await blobs.put(DATA) == BlobInfo(DIGEST, len(DATA))
        assert await blobs.get(DIGEST) == DATA

    asyncio.run(scenario())
    assert file.read_bytes() == DATA


def test_a_missing_file_is_not_found(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        asyncio.run(blobs.put_file(str(tmp_path / "nothing")))
    assert caught.value.code == "unknown_file"


@pytest.mark.parametrize(("start", "end"), [(0, 10), (5, 6), (0, len(DATA)), (2**20 - 1, 2**21 + 1), (9, 10**12)])
def test_a_range_is_read_in_pieces_of_at_most_a_mebibyte(blobs: Blobs, start: int, end: int) -> None:
    async def scenario() -> None:
        await blobs.put(DATA)
        pieces = await read(blobs, DIGEST, start, end)
        assert b"".join(pieces) == DATA[start:end]
        assert all(0 < len(piece) <= 2**20 for piece in pieces)

    asyncio.run(scenario())


def test_an_empty_range_and_a_range_past_the_end_hold_nothing(blobs: Blobs) -> None:
    async def scenario() -> None:
        await blobs.put(DATA)
        assert await read(blobs, DIGEST, 7, 7) == []
        assert await read(blobs, DIGEST, len(DATA), len(DATA) + 5) == []

    asyncio.run(scenario())


def test_no_bytes_at_all_are_a_blob_too(blobs: Blobs) -> None:
    async def scenario() -> None:
        info = await blobs.put(b"")
        assert info.size == 0
        assert await blobs.get(info.digest) == b""

    asyncio.run(scenario())


@pytest.mark.parametrize("digest", ["0" * 64, "../../../etc/passwd", "", "A" * 64, "x" * 5000])
def test_what_is_not_kept_is_not_found_and_no_name_leads_out(blobs: Blobs, digest: str) -> None:
    async def scenario() -> None:
        assert await blobs.head(digest) is None
        with pytest.raises(NotFound):
            await blobs.get(digest)
        with pytest.raises(NotFound):
            await read(blobs, digest, 0, 1)
        await blobs.delete(digest)

    asyncio.run(scenario())


def test_a_deleted_blob_is_gone_and_may_be_stored_again(blobs: Blobs) -> None:
    async def scenario() -> None:
        await blobs.put(DATA)
        await blobs.delete(DIGEST)
        await blobs.delete(DIGEST)
        assert await blobs.head(DIGEST) is None
        await blobs.put(DATA)
        assert await blobs.get(DIGEST) == DATA

    asyncio.run(scenario())


def test_many_who_store_the_same_bytes_at_once_all_succeed(blobs: Blobs) -> None:
    async def scenario() -> None:
        infos = await asyncio.gather(*(blobs.put(DATA) for _ in range(8)))
        assert set(infos) == {BlobInfo(DIGEST, len(DATA))}
        assert await blobs.get(DIGEST) == DATA

    asyncio.run(scenario())


# --- what a folder promises beyond the port ----------------------------------------------------------------------


def files(folder: Path) -> list[Path]:
    return sorted(one for one in folder.rglob("*") if one.is_file())


def test_the_same_bytes_are_kept_once_and_nothing_else_is_left(tmp_path: Path) -> None:
    blobs = StoredBlobs(str(tmp_path))
    asyncio.run(blobs.put(DATA))
    asyncio.run(StoredBlobs(str(tmp_path)).put(DATA))
    assert files(tmp_path) == [tmp_path / key(DIGEST)]


def test_file_and_folder_are_synced_before_a_blob_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, Path.replace

    def watched_sync(handle: int) -> None:
        place = Path(f"/proc/self/fd/{handle}").resolve()
        if place.is_relative_to(tmp_path):  # other threads sync files of their own
            steps.append("sync folder" if place.is_dir() else "sync file")
        sync(handle)

    def watched_replace(self: Path, target: Path) -> Path:
        if self.is_relative_to(tmp_path):
            steps.append("place")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    asyncio.run(StoredBlobs(str(tmp_path)).put(b"precious"))
    assert steps[:3] == ["sync file", "place", "sync folder"]
    steps.clear()
    asyncio.run(StoredBlobs(str(tmp_path)).put(b"precious"))
    assert "sync folder" in steps


def test_a_blob_of_the_wrong_length_is_mended_by_storing_it_again(tmp_path: Path) -> None:
    blobs = StoredBlobs(str(tmp_path))
    asyncio.run(blobs.put(DATA))
    (tmp_path / key(DIGEST)).write_bytes(DATA[:100])
    asyncio.run(blobs.put(DATA))
    assert asyncio.run(blobs.get(DIGEST)) == DATA


def test_damaged_bytes_are_never_handed_out_as_the_blob(tmp_path: Path) -> None:
    blobs = StoredBlobs(str(tmp_path))
    asyncio.run(blobs.put(DATA))
    (tmp_path / key(DIGEST)).write_bytes(DATA[:-1] + b"!")
    with pytest.raises(Unavailable) as caught:
        asyncio.run(blobs.get(DIGEST))
    assert caught.value.code == "blob_damaged"


def test_a_full_disk_is_said_and_nothing_half_is_left(tmp_path: Path) -> None:
    blobs = StoredBlobs(str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))  # the kernel refuses to let any file grow beyond this
    try:
        with pytest.raises(Unavailable) as caught:
            asyncio.run(blobs.put(DATA))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == "disk_full"
    assert caught.value.remediation
    assert files(tmp_path) == []
    asyncio.run(blobs.put(DATA))
    assert asyncio.run(blobs.get(DIGEST)) == DATA


def test_a_place_that_cannot_be_a_folder_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file stands here")
    blobs = StoredBlobs(str(tmp_path / "blobs"))
    for asked in (blobs.put(DATA), blobs.head(DIGEST), blobs.get(DIGEST)):
        with pytest.raises(Unavailable):
            asyncio.run(asked)


def test_leftovers_of_a_dead_process_are_cleaned_and_work_in_progress_is_not(tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    dead, alive = incoming / "blob-dead", incoming / "blob-alive"
    for one in (dead, alive):
        one.write_bytes(b"half")
    past = time.time() - LEFTOVER_SECONDS - 1
    os.utime(dead, (past, past))
    asyncio.run(StoredBlobs(str(tmp_path)).put(DATA))
    assert not dead.exists()
    assert alive.exists()


def test_an_address_that_nothing_stands_behind_is_unavailable() -> None:
    blobs = StoredBlobs("nowhere://bucket")
    with pytest.raises(Unavailable):
        asyncio.run(blobs.put(DATA))


# --- what is there, and taking it away ---------------------------------------------------------------------------


def test_everything_that_is_stored_is_listed(blobs: Blobs) -> None:
    async def scenario() -> None:
        began = time.time()
        assert [one async for batch in blobs.everything() for one in batch] == []
        infos = {await blobs.put(b"%d" % number) for number in range(7)}
        listed = [one async for batch in blobs.everything() for one in batch]
        assert {BlobInfo(one.digest, one.size) for one in listed} == infos
        assert len(listed) == 7
        assert all(began - 2 < one.stored_at < time.time() + 2 for one in listed)

    asyncio.run(scenario())


def test_a_blob_is_discarded_unless_it_was_stored_since(blobs: Blobs) -> None:
    async def scenario() -> None:
        await blobs.put(DATA)
        assert not await blobs.discard(DIGEST, time.time() - 60)
        assert await blobs.head(DIGEST) is not None
        assert await blobs.discard(DIGEST, time.time() + 60)
        assert await blobs.head(DIGEST) is None
        assert not await blobs.discard(DIGEST, time.time() + 60)
        assert not await blobs.discard("../../etc/passwd", time.time() + 60)

    asyncio.run(scenario())


def test_bytes_that_are_stored_again_are_fresh_again(tmp_path: Path) -> None:
    blobs = StoredBlobs(str(tmp_path))
    asyncio.run(blobs.put(DATA))
    old = time.time() - 10**6
    os.utime(tmp_path / key(DIGEST), (old, old))
    asyncio.run(blobs.put(DATA))
    assert not asyncio.run(blobs.discard(DIGEST, time.time() - 60))
    assert asyncio.run(blobs.get(DIGEST)) == DATA


def test_files_that_are_no_blobs_are_not_listed(tmp_path: Path) -> None:
    blobs = StoredBlobs(str(tmp_path))
    asyncio.run(blobs.put(DATA))
    for strange in ("sha256/readme.txt", "sha256/ab/short", f"sha256/{DIGEST}", "incoming/blob-x"):
        (tmp_path / strange).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / strange).write_bytes(b"x")

    async def listed() -> list[str]:
        return [one.digest async for batch in blobs.everything() for one in batch]

    assert asyncio.run(listed()) == [DIGEST]


def test_who_stores_and_who_discards_at_once_lose_nothing(tmp_path: Path) -> None:
    """Whoever was told that bytes are stored finds them, however eagerly others discard what is old."""
    place = tmp_path / key(SHORT)

    def stored() -> None:
        for _ in range(60):
            with contextlib.suppress(FileNotFoundError):
                os.utime(place, (1, 1))
            asyncio.run(StoredBlobs(str(tmp_path)).put(DATA[:99]))
            assert place.exists()

    def discarded() -> None:
        for _ in range(400):
            asyncio.run(StoredBlobs(str(tmp_path)).discard(SHORT, time.time() - 60))

    with ThreadPoolExecutor(4) as threads:
        for one in [threads.submit(stored), threads.submit(discarded), threads.submit(discarded)]:
            one.result()
