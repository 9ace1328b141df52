"""Disks that are really full: it is said how much is missing, nothing half-written stays, and with room it goes on."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from model_server import FileServer, safetensors, serving, sha
from ports.engine_suite import picture
from small_disks import small_disk
from studios import studio_on
from working import a_step, working

from adapters.downloads import WebSource
from adapters.files.blobs import StoredBlobs
from adapters.files.models import ModelFolder
from commands.studio.asset import RecordPreview
from domain.errors import Unavailable
from domain.ids import UNBRANCHED
from domain.ports import Stream
from domain.studio.asset import AssetRegistered
from domain.studio.fault import Fault
from domain.studio.model import Order, Result
from domain.studio.model_entry import Entry
from services.importing_assets import import_folder
from services.media.rendering import Renderer
from services.models.downloading import Download
from services.models.fetching import Failed, Patience
from services.processes.previews import previewed

DISK = 8 * 2**20
CONTENT = safetensors(6_000_000)


@asynccontextmanager
async def fetching(folder: Path, server: FileServer) -> Any:
    async with serving(server):
        source = WebSource(None, [server.origin])

        async def fetch(**more: Any) -> Result | Fault:
            told = {"name": "Harbour", "type": "lora", "url": server.url(), "filename": "harbour.safetensors",
                    "license": "MIT", "sha256": sha(CONTENT), "size_bytes": len(CONTENT), **more}
            order = Order(entry=Entry.model_validate(told), pickle=False)
            patience = Patience(failures=2, pause_seconds=0.01)
            try:
                return await Download(source, ModelFolder(folder), order, 2**40, patience).run()
            except Failed as error:
                return error.fault

        try:
            yield fetch
        finally:
            await source.close()


def test_a_model_that_does_not_fit_is_not_begun(tmp_path: Path) -> None:
    async def scenario() -> None:
        with small_disk(tmp_path / "models", DISK) as disk:
            disk.fill(leave=2**20)
            async with fetching(disk.place, FileServer(CONTENT)) as fetch:
                found = await fetch()
                assert isinstance(found, Fault)
                assert (found.code, found.meaning.action) == ("INSUFFICIENT_DISK_SPACE", "free_disk_space")
                assert found.detail["needed"] == len(CONTENT)
                assert found.detail["missing"] == len(CONTENT) - found.detail["free"] > 4_000_000
                assert f"{len(CONTENT):,} bytes are still to come" in found.message
                assert disk.files() == []
                disk.make_room()
                assert isinstance(await fetch(), Result)
                assert disk.files() == ["loras/harbour.safetensors"]

    asyncio.run(scenario())


@pytest.mark.parametrize("tells", [True, False], ids=["the size is known", "nobody says the size"])
def test_a_disk_that_fills_up_meanwhile_is_told_and_the_download_goes_on_with_room(tmp_path: Path, tells: bool) -> None:
    async def scenario() -> None:
        with small_disk(tmp_path / "models", DISK) as disk:
            server = FileServer(CONTENT, tells_length=tells, holding=asyncio.Event())
            more = {} if tells else {"size_bytes": None}
            async with fetching(disk.place, server) as fetch:
                running = asyncio.create_task(fetch(**more))
                while not list(disk.place.rglob("*.part.json")):  # noqa: ASYNC110 - it has looked at the room by then
                    await asyncio.sleep(0.01)
                disk.fill(leave=3 * 2**20)
                assert server.holding is not None
                server.holding.set()
                found = await running
                assert isinstance(found, Fault)
                assert (found.code, found.meaning.action) == ("DISK_FULL", "free_disk_space")
                kept = found.detail["kept"]
                assert 2**20 < kept < 4 * 2**20
                assert f"{kept:,} bytes that came stay" in found.message
                if tells:
                    assert found.detail["missing"] >= len(CONTENT) - kept - found.detail["free"]
                    assert f"{len(CONTENT) - kept:,} of {len(CONTENT):,} bytes are still to come" in found.message
                assert [one for one in disk.files() if not one.startswith("loras/.harbour")] == []
                disk.make_room()
                assert isinstance(await fetch(**more), Result)
                assert server.asked[-1]["range"] == f"bytes={kept}-"
                assert disk.files() == ["loras/harbour.safetensors"]

    asyncio.run(scenario())


def test_not_even_a_first_byte_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        with small_disk(tmp_path / "models", DISK) as disk:
            (disk.place / "loras").mkdir()
            disk.fill()
            async with fetching(disk.place, FileServer(CONTENT, tells_length=False)) as fetch:
                found = await fetch(size_bytes=None)
                assert isinstance(found, Fault)
                assert found.code in ("DISK_FULL", "INSUFFICIENT_DISK_SPACE")
                assert disk.files() == []

    asyncio.run(scenario())


@pytest.mark.parametrize("full", ["scratch", "blobs"])
def test_what_an_engine_made_needs_room(tmp_path: Path, full: str) -> None:
    async def scenario() -> None:
        with small_disk(tmp_path / "studio" / full, DISK) as disk:
            async with working(tmp_path) as works:
                works.engine()
                disk.fill(leave=2**20)
                works.start()
                step = a_step(parameters={"seed": 1, "bytes": "a" * 1024, "repeat": 4096, "media_type": "text/plain"})
                job = await works.closed(await works.ask(step), 60)
                assert job.fault is not None
                assert (job.outcome, job.fault.code) == ("failed", "DISK_FULL")
                assert job.fault.meaning.action == "free_disk_space"
                assert any(character.isdigit() for character in job.fault.message)
                assert [one for one in disk.files() if one.startswith(("scratch", "incoming", "sha256"))] == []
                assert [one for one in (tmp_path / "studio").rglob("*") if one.name in ("product",)] == []
                disk.make_room()
                assert (await works.closed(await works.ask(step), 60)).outcome == "completed"

    asyncio.run(scenario())


def test_blobs_say_how_much_they_need_and_how_much_there_is(tmp_path: Path) -> None:
    with small_disk(tmp_path / "blobs", 2**20) as disk:
        blobs = StoredBlobs(str(disk.place))
        content, large = b"a" * 3 * 2**20, tmp_path / "large"
        large.write_bytes(content)
        for store in (lambda: blobs.put(content), lambda: blobs.put_file(str(large))):
            with pytest.raises(Unavailable) as caught:
                asyncio.run(store())
            assert (caught.value.code, caught.value.detail["needed"]) == ("disk_full", len(content))
            assert 0 <= caught.value.detail["free"] <= 2**20
            assert f"{len(content):,} bytes were to be stored" in caught.value.message
            assert caught.value.remediation[0].action == "free_space"
            assert disk.files() == []
        assert asyncio.run(blobs.put(b"small")).size == 5


@pytest.mark.parametrize("full", ["scratch", "blobs"])
def test_previews_wait_for_room(tmp_path: Path, full: str) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path / "studio")
        renderer = Renderer()
        try:
            content = picture(600, 400)
            folder = tmp_path / "import"
            folder.mkdir()
            (folder / "face.png").write_bytes(content)
            with small_disk(tmp_path / "studio" / full, DISK) as disk:
                await import_folder(studio, folder, project="demo")
                stream = Stream("demo", UNBRANCHED, "asset", hashlib.sha256(content).hexdigest()[:16])
                asset = studio.registry.happened((await studio.log.read_stream(stream))[0]).event
                assert isinstance(asset, AssetRegistered)
                before = disk.files()
                disk.fill()
                with pytest.raises(Unavailable) as caught:
                    await previewed(studio, renderer, asset)
                assert caught.value.code == "disk_full"
                assert disk.files() == before
                disk.make_room()
                (made,) = await previewed(studio, renderer, asset)
                assert isinstance(made, RecordPreview)
                assert made.variants
        finally:
            await renderer.close()
            studio.models.close()

    asyncio.run(scenario())

