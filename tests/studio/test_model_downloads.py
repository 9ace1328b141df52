"""Downloads of model files against a real server that behaves as servers do, well and badly."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from model_server import FileServer, safetensors, serving, sha

from adapters.downloads import WebSource
from adapters.files.models import ModelFolder
from domain.studio.fault import CODES
from domain.studio.model import Order, Result
from domain.studio.model_entry import Entry
from services.models.downloading import Download
from services.models.fetching import Failed, Patience
from services.models.judging import NotThat

CONTENT = safetensors()
OTHER = safetensors(seed=5)
QUICK = Patience(failures=3, pause_seconds=0.01)
STALE = {"Last-Modified": "Sat, 02 Jan 2021 00:00:00 GMT", "Date": "Sat, 02 Jan 2021 12:00:00 GMT"}


def order(server: FileServer, path: str = "/model", pickle: bool = False, **more: Any) -> Order:
    told = {"name": "Harbour", "type": "lora", "url": server.url(path), "filename": "harbour.safetensors",
            "license": "MIT", "sha256": sha(CONTENT), "size_bytes": len(CONTENT), **more}
    return Order(entry=Entry.model_validate(told), pickle=pickle)


class Room:
    """A models folder and the web, for one test."""

    def __init__(self, folder: Path, *origins: str, reserve: int = 0, limit: int = 2**30, **source: Any) -> None:
        self.files = ModelFolder(folder / "models", reserve)
        self.source = WebSource(source.pop("secrets", None), origins, **source)
        self.limit = limit

    def download(self, wanted: Order, patience: Patience = QUICK, name: str = "") -> Download:
        return Download(self.source, self.files, wanted, self.limit, patience, name)

    async def run(self, wanted: Order, patience: Patience = QUICK) -> Result:
        return await self.download(wanted, patience).run()

    async def fails(self, wanted: Order, patience: Patience = QUICK) -> str:
        """The code of the fault; nothing was left under the file's name."""
        with pytest.raises((Failed, NotThat)) as caught:
            await self.run(wanted, patience)
        assert caught.value.fault.code in CODES
        assert self.files.found(wanted.entry.folder, wanted.entry.filename) is None
        return caught.value.fault.code

    def there(self, wanted: Order) -> bytes:
        return (Path(self.files.root) / wanted.entry.path).read_bytes()

    def part(self, wanted: Order) -> int | None:
        return self.files.coming(wanted.entry.folder, wanted.entry.filename)

    def put(self, wanted: Order, content: bytes, **memo: Any) -> None:
        """What an earlier worker has left."""
        with self.files.part(wanted.entry.folder, wanted.entry.filename) as part:
            assert part is not None
            part.write(content)
            part.remember({"url": wanted.entry.url, "etag": '"one"', "modified": "", "date": "",
                           "total": len(CONTENT), **memo})


def run(work: Awaitable[Any]) -> Any:
    async def whole() -> Any:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(whole())


@contextlib.asynccontextmanager
async def room(folder: Path, server: FileServer, **given: Any) -> Any:
    async with serving(server):
        here = Room(folder, server.origin, **given)
        try:
            yield here
        finally:
            await here.source.close()


def test_a_file_comes_is_checked_and_gets_its_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT)) as here:
            wanted = order(server)
            result = await here.run(wanted)
            assert (result.path, result.sha256, result.size_bytes) == (
                "loras/harbour.safetensors", sha(CONTENT), len(CONTENT))
            assert (result.format, result.detail["tensors"], result.reused) == ("safetensors", 1, False)
            assert here.there(wanted) == CONTENT
            assert [one.name for one in (tmp_path / "models" / "loras").iterdir()] == ["harbour.safetensors"]
            assert (await here.run(wanted)).reused
            assert len(server.asked) == 1

    run(scenario())


def test_a_cut_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT, cuts=[100_000, 20_000])) as here:
            assert (await here.run(wanted := order(server))).sha256 == sha(CONTENT)
            assert here.there(wanted) == CONTENT
            assert [one.get("range") for one in server.asked] == [None, "bytes=100000-", "bytes=120000-"]
            assert [one.get("if-range") for one in server.asked] == [None, '"one"', '"one"']

    run(scenario())


def test_what_an_earlier_worker_left_is_gone_on_with(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT)) as here:
            wanted = order(server)
            here.put(wanted, CONTENT[:150_000])
            await here.run(wanted)
            assert [one.get("range") for one in server.asked] == ["bytes=150000-"]
            assert here.there(wanted) == CONTENT

    run(scenario())


def test_a_part_that_is_whole_is_not_asked_for_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT)) as here:
            wanted = order(server)
            here.put(wanted, CONTENT)
            await here.run(wanted)
            assert server.asked == []
            # Nobody knows how long it is: the server says that nothing is behind it.
            chunked = order(server, filename="second.safetensors")
            here.put(chunked, CONTENT, total=None)
            await here.run(chunked)
            assert server.asked[0]["range"] == f"bytes={len(CONTENT)}-"
            assert here.there(chunked) == CONTENT

    run(scenario())


@pytest.mark.parametrize("server", [
    FileServer(CONTENT, ranges=False),
    FileServer(CONTENT, etag='"two"'),
    FileServer(CONTENT, etag='"two"', if_range=False),
    FileServer(CONTENT, etag='W/"one"'),
], ids=["the range is ignored", "another tag", "another tag and If-Range ignored", "a weak tag"])
def test_bytes_of_two_answers_that_do_not_belong_together_never_meet(tmp_path: Path, server: FileServer) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server) as here:
            wanted = order(server)
            here.put(wanted, OTHER[:150_000])
            await here.run(wanted)
            assert here.there(wanted) == CONTENT
            # Without a checksum nothing else would notice.
            free = order(server, filename="free.safetensors", sha256=None, size_bytes=None)
            here.put(free, OTHER[:150_000])
            await here.run(free)
            assert here.there(free) == CONTENT

    run(scenario())


def test_without_a_strong_validator_it_begins_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT, etag='W/"one"', cuts=[100_000])) as here:
            await here.run(order(server))
            assert [one.get("range") for one in server.asked] == [None, None]

    run(scenario())


def test_a_date_is_a_validator_when_it_is_old_enough(tmp_path: Path) -> None:
    async def scenario(fresh: bool) -> None:
        headers = STALE | ({"Date": STALE["Last-Modified"]} if fresh else {})
        server = FileServer(CONTENT, etag="", headers=headers, cuts=[100_000])
        async with room(tmp_path / str(fresh), server) as here:
            await here.run(order(server))
            assert server.asked[1].get("if-range") == (None if fresh else STALE["Last-Modified"])

    run(scenario(False))
    run(scenario(True))


def test_a_file_that_changes_between_two_answers_is_taken_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = FileServer(OTHER, cuts=[100_000], then=(CONTENT, '"two"'))
        async with room(tmp_path, server) as here:
            await here.run(wanted := order(server, sha256=None))
            assert here.there(wanted) == CONTENT

    run(scenario())


def test_a_server_that_lies_about_its_tag_is_found_out_by_the_checksum(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = FileServer(OTHER, cuts=[100_000], then=(CONTENT, '"one"'))
        async with room(tmp_path, server) as here:
            await here.run(wanted := order(server))
            assert here.there(wanted) == CONTENT
            assert [one.get("range") for one in server.asked] == [None, "bytes=100000-", None]

    run(scenario())


def test_a_part_that_is_longer_than_the_file_is_thrown_away(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT)) as here:
            wanted = order(server)
            here.put(wanted, CONTENT + b"more", total=None)
            await here.run(wanted)
            assert [one.get("range") for one in server.asked] == [f"bytes={len(CONTENT) + 4}-", None]

    run(scenario())


@pytest.mark.parametrize(("server", "more", "code", "kept"), [
    (FileServer(OTHER), {}, "CHECKSUM_MISMATCH", False),
    (FileServer(CONTENT + b"x"), {}, "CHECKSUM_MISMATCH", False),
    (FileServer(CONTENT + b"x", tells_length=False), {}, "FILE_REFUSED", False),
    (FileServer(CONTENT + b"x"), {"sha256": None, "size_bytes": None}, "FILE_REFUSED", False),
    (FileServer(b"<!DOCTYPE html><html>Log in"), {"sha256": None, "size_bytes": None}, "FILE_REFUSED", False),
    (FileServer(CONTENT, tells_length=False), {"sha256": None, "size_bytes": None}, "DOWNLOAD_FAILED", True),
    (FileServer(CONTENT, headers={"Content-Encoding": "gzip"}), {}, "FILE_REFUSED", False),
    (FileServer(CONTENT, statuses=[("404 Not Found", {})]), {}, "FILE_NOT_FOUND", False),
    (FileServer(CONTENT, statuses=[("401 Unauthorized", {})]), {}, "AUTH_MISSING", False),
    (FileServer(CONTENT, statuses=[("403 Forbidden", {})]), {}, "AUTH_INSUFFICIENT_PERMISSIONS", False),
    (FileServer(CONTENT, statuses=[("500 Oh", {})] * 3), {}, "DOWNLOAD_FAILED", False),
    (FileServer(CONTENT, statuses=[("304 Not Modified", {})]), {}, "DOWNLOAD_FAILED", False),
    (FileServer(CONTENT, statuses=[("206 Partial Content", {})]), {}, "DOWNLOAD_FAILED", False),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_not_right_fails_and_says_why(
    tmp_path: Path, server: FileServer, more: dict[str, Any], code: str, kept: bool
) -> None:
    server = copy.deepcopy(server)  # each time from its first answer on

    async def scenario() -> None:
        async with room(tmp_path, server) as here:
            wanted = order(server, **more)
            assert await here.fails(wanted) == code
            assert (here.part(wanted) is not None) == kept

    run(scenario())


def test_what_came_before_outlasts_a_refusal(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT, statuses=[("404 Not Found", {})])) as here:
            wanted = order(server)
            here.put(wanted, CONTENT[:1000])
            assert await here.fails(wanted) == "FILE_NOT_FOUND"
            assert here.part(wanted) == 1000

    run(scenario())


def test_servers_that_ask_to_wait_are_asked_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        statuses = [("429 Slow", {"Retry-After": "0"}), ("503 Later", {"Retry-After": "x"})]
        async with room(tmp_path, server := FileServer(CONTENT, statuses=statuses)) as here:
            await here.run(order(server))
            assert len(server.asked) == 3

    run(scenario())


def test_sizes_are_held_also_against_an_endless_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        endless = FileServer(safetensors(5_000_000), tells_length=False)
        async with room(tmp_path, endless, limit=300_000) as here:
            wanted = order(endless, sha256=None, size_bytes=None)
            assert await here.fails(wanted) == "FILE_REFUSED"
        announced = FileServer(CONTENT)
        async with room(tmp_path, announced, limit=1000) as here:
            assert await here.fails(order(announced, size_bytes=None)) == "FILE_REFUSED"

    run(scenario())


def test_the_disk_is_looked_at_before_anything_is_written(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT), reserve=2**60) as here:
            wanted = order(server)
            assert await here.fails(wanted) == "INSUFFICIENT_DISK_SPACE"
            assert here.part(wanted) is None

    run(scenario())


def test_a_server_that_drips_or_is_silent_is_left(tmp_path: Path) -> None:
    async def scenario() -> None:
        drips = FileServer(CONTENT, pause_seconds=0.05)
        hurry = Patience(failures=1, pause_seconds=0.01, window_seconds=0.02, least_bytes=10**9)
        async with room(tmp_path, drips) as here:
            assert await here.fails(order(drips), hurry) == "DOWNLOAD_TIMEOUT"
        silent = FileServer(CONTENT, holding=asyncio.Event())
        async with room(tmp_path / "b", silent, piece_seconds=0.1) as here:
            patient = Patience(failures=1, pause_seconds=0.01)
            with pytest.raises(Failed) as caught:
                await here.run(wanted := order(silent), patient)
            assert caught.value.fault.code == "DOWNLOAD_TIMEOUT"
            assert here.part(wanted)

    run(scenario())


@pytest.mark.parametrize("there", [
    "file:///etc/passwd", "ftp://127.0.0.1/x", "http://127.0.0.1:1/x", "http://169.254.169.254/latest", "https://[::1]/x",
    "https://localhost/x", "https://10.0.0.1/x",
])
def test_redirects_to_other_schemes_and_private_addresses_are_refused(tmp_path: Path, there: str) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT, redirects={"/model": there})) as here:
            assert await here.fails(order(server)) == "DOWNLOAD_FAILED"
            assert len(server.asked) == 1

    run(scenario())


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x", "http://example.org/x", "https://192.168.0.1/x"])
def test_addresses_that_are_never_asked_fail_before_anything_is_opened(tmp_path: Path, address: str) -> None:
    async def scenario() -> None:
        here = Room(tmp_path)
        told = {"name": "x", "type": "vae", "url": address, "filename": "x.safetensors", "license": "MIT"}
        assert await here.fails(Order(entry=Entry.model_validate(told))) == "DOWNLOAD_FAILED"
        await here.source.close()

    run(scenario())


def test_a_hubs_key_stays_at_the_hub(tmp_path: Path) -> None:
    async def scenario() -> None:
        async def secrets(name: str, /) -> dict[str, str] | None:
            return {"api_key": "hub-key-123456"} if name == "hub_test" else None

        async with serving(FileServer(CONTENT)) as storage, serving(FileServer(CONTENT)) as hub:
            hub.redirects["/model"] = storage.url("/blob")
            here = Room(tmp_path, hub.origin, storage.origin, secrets=secrets, hubs={hub.origin: "hub_test"})
            await here.run(order(hub))
            assert hub.asked[0]["authorization"] == "Bearer hub-key-123456"
            assert "authorization" not in storage.asked[0]
            await here.source.close()

    run(scenario())


def test_another_file_of_that_name_is_left_as_it_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT)) as here:
            wanted = order(server)
            place = tmp_path / "models" / "loras"
            place.mkdir(parents=True)
            (place / "harbour.safetensors").write_bytes(OTHER)
            for one in (wanted, order(server, sha256=None)):
                with pytest.raises(Failed) as caught:
                    await here.run(one)
                assert caught.value.fault.code == "TARGET_EXISTS"
            assert here.there(wanted) == OTHER
            assert server.asked == []

    run(scenario())


@pytest.mark.parametrize("known", [True, False], ids=["with its checksum", "without one"])
def test_a_file_whose_worker_died_before_it_could_say_so_is_its_downloads(tmp_path: Path, known: bool) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT)) as here:
            wanted = order(server, sha256=sha(CONTENT) if known else None)
            first = await here.download(wanted, name="demo/harbour/1").run()
            again = await here.download(wanted, name="demo/harbour/1").run()
            assert again == first
            assert len(server.asked) == 1
            Download.forgotten(here.files, wanted, "demo/harbour/1")
            assert [one.name for one in (tmp_path / "models" / "loras").iterdir()] == ["harbour.safetensors"]

    run(scenario())


def test_a_file_that_was_changed_or_is_anothers_is_not_believed_to_be_ones_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT)) as here:
            wanted = order(server, sha256=None)
            await here.download(wanted, name="demo/harbour/1").run()
            with pytest.raises(Failed, match="no checksum says"):
                await here.download(wanted, name="demo/harbour/2").run()
            (tmp_path / "models" / wanted.entry.path).unlink()
            await here.download(wanted, name="demo/harbour/3").run()
            (tmp_path / "models" / wanted.entry.path).write_bytes(OTHER)
            with pytest.raises(Failed) as caught:
                await here.download(wanted, name="demo/harbour/3").run()
            assert caught.value.fault.code == "TARGET_EXISTS"

    run(scenario())


def test_two_downloads_of_one_file_are_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT, pause_seconds=0.02)) as here:
            results = await asyncio.gather(*(here.run(order(server)) for _ in range(4)))
            assert sorted(one.reused for one in results) == [False, True, True, True]
            assert len(server.asked) == 1

    run(scenario())


def test_two_files_of_one_name_do_not_mix(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT, pause_seconds=0.02)) as here, serving(
            FileServer(OTHER, pause_seconds=0.02)
        ) as second:
            here.source = WebSource(None, [server.origin, second.origin])
            other = order(second, sha256=sha(OTHER))
            told = await asyncio.gather(here.run(order(server)), here.run(other), return_exceptions=True)
            failed = [one for one in told if isinstance(one, Failed)]
            assert [one.fault.code for one in failed] == ["TARGET_EXISTS"]
            assert here.there(other) in (CONTENT, OTHER)

    run(scenario())


def test_a_download_that_is_told_to_stop_keeps_what_came_and_can_go_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        big = safetensors(3_000_000)
        server = FileServer(big, pause_seconds=0.01)
        async with room(tmp_path, server) as here:
            wanted = order(server, sha256=sha(big), size_bytes=len(big))
            working = asyncio.create_task(here.run(wanted))
            while (here.part(wanted) or 0) < 2**20:  # noqa: ASYNC110 - the disk tells nobody
                await asyncio.sleep(0.005)
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working
            kept = here.part(wanted)
            assert kept is not None
            assert kept >= 2**20
            assert (await here.run(wanted)).sha256 == sha(big)
            assert server.asked[-1]["range"] == f"bytes={kept}-"

    run(scenario())


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with room(tmp_path, server := FileServer(CONTENT)) as here:
            (tmp_path / "models").write_text("a file where the folder should be")
            from domain.ports.model_files import FilesError

            with pytest.raises(FilesError) as caught:
                await here.run(order(server))
            assert caught.value.fault.code == "DOWNLOAD_FAILED"

    run(scenario())
