"""Importing a folder: every good file once, every bad one with its reason, nothing half."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from studios import look, studio_on

from domain.errors import Invalid, NotFound
from services.importing_assets import ImportProgress, ImportReport, import_folder
from services.studio import Studio


def art(folder: Path) -> Path:
    (folder / "bg" / ".hidden").mkdir(parents=True)
    (folder / "bg" / "_meta").mkdir()
    Image.new("RGB", (9, 9), "red").save(folder / "bg" / "room.png")
    (folder / "copy.png").write_bytes((folder / "bg" / "room.png").read_bytes())
    (folder / "words.txt").write_text("Hello.")
    (folder / "empty.bin").write_bytes(b"")
    (folder / ".secret").write_text("hidden")
    (folder / "bg" / ".hidden" / "a.txt").write_text("hidden")
    (folder / "bg" / "_meta" / "room.png.asset.json").write_text("{}")
    (folder / "link.png").symlink_to(folder / "copy.png")
    (folder / "bg" / "room.png.asset.json").write_text(json.dumps({
        "id": "0" * 16, "hash": "f" * 64, "created_at": "2025-01-01", "tags": ["room"], "license": "CC-BY-4.0",
        "origin": "https://example.org", "version": 3, "bytes": 1, "preview": {}, "metadata": {"artist": "Mo"},
    }))
    (folder / "broken.txt").write_text("its sidecar is broken")
    (folder / "broken.txt.asset.json").write_text("{")
    (folder / "wrong.txt").write_text("its sidecar says too much")
    (folder / "wrong.txt.asset.json").write_text(json.dumps({"tags": ["x" * 100]}))
    (folder / "alone.asset.json").write_text('{"this": "describes no file"}')
    return folder


async def imported(studio: Studio, folder: Path, **given: Any) -> ImportReport:
    return await import_folder(studio, folder, project="demo", tags=["imported"], licence="CC0-1.0", **given)


def test_a_folder_becomes_assets_and_bad_files_are_reported(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path / "data")
        seen: list[ImportProgress] = []
        told = await imported(studio, art(tmp_path / "art"), report=seen.append)
        assert {one.path: one.error for one in told.failed} == {
            "empty.bin": "empty_file", "broken.txt": "invalid_sidecar", "wrong.txt": "invalid_sidecar",
        }
        assert all(one.message for one in told.failed)
        assert {one.path for one in told.files} - {one.path for one in told.failed} == {
            "alone.asset.json", "bg/room.png", "copy.png", "words.txt",
        }
        assert (told.total, told.skipped, told.count("registered", "merged")) == (7, 5, 4)
        assert [one.done for one in seen] == list(range(1, 8))
        room = next(one for one in told.files if one.path == "bg/room.png")
        assert room.warnings == ("sidecar_of_other_bytes",)
        shown = await look(studio, "ShowAsset", uid=room.uid)
        assert shown["tags"] == ["imported", "room"]
        assert (shown["reference_count"], shown["metadata"]) == (2, {"artist": "Mo"})
        used = await look(studio, "ListAssetReferences", uid=room.uid)
        assert used["items"] == ["path:bg/room.png", "path:copy.png"]
        blobs = [one for one in (tmp_path / "data" / "blobs" / "sha256").rglob("*") if one.is_file()]
        assert len(blobs) == 3

    asyncio.run(scenario())


def test_importing_again_registers_only_what_is_new(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path / "data")
        folder = tmp_path / "art"
        folder.mkdir()
        (folder / "a.txt").write_text("a")
        await imported(studio, folder)
        head = await studio.log.head()
        (folder / "b.txt").write_text("b")
        told = await imported(studio, folder)
        assert {one.path: one.outcome for one in told.files} == {"a.txt": "known", "b.txt": "registered"}
        assert await studio.log.head() == head + 1

    asyncio.run(scenario())


def test_a_dry_run_says_what_would_be_and_keeps_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path / "data")
        told = await imported(studio, art(tmp_path / "art"), dry_run=True)
        assert told.count("would_register") == 4
        assert await studio.log.head() == 0
        assert not (tmp_path / "data" / "blobs" / "sha256").exists()

    asyncio.run(scenario())


def test_a_sidecar_that_the_studio_gave_out_is_read_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        first, second = studio_on(tmp_path / "one"), studio_on(tmp_path / "two")
        folder = tmp_path / "art"
        folder.mkdir()
        (folder / "a.txt").write_text("a")
        (folder / "a.txt.asset.json").write_text(json.dumps({
            "tags": ["x"], "license": "MIT", "source": {"how": "generate", "job_id": "job-1", "seed": "7"},
        }))
        (one,) = (await imported(first, folder)).files
        written = await look(first, "ShowSidecar", uid=one.uid)
        assert (written["id"], written["license"], written["hash"][:16]) == (one.uid, "MIT", one.uid)
        (folder / "a.txt.asset.json").write_text(json.dumps(written))
        (again,) = (await imported(second, folder)).files
        assert again.warnings == ()
        for view in ("tags", "license", "sources", "name"):
            assert (await look(second, "ShowSidecar", uid=again.uid))[view] == written[view]

    asyncio.run(scenario())


def test_a_name_that_is_no_text_is_reported_and_stops_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path / "data")
        folder = tmp_path / "art"
        folder.mkdir()
        (folder / os.fsdecode(b"bad\xff\n.txt")).write_bytes(b"bytes")
        (folder / "good.txt").write_text("good")
        told = await imported(studio, folder)
        assert told.count("registered") + len(told.failed) == 2
        assert told.count("registered") >= 1

    asyncio.run(scenario())


def test_what_is_no_folder_and_tags_that_are_none_stop_the_import(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path / "data")
        with pytest.raises(NotFound):
            await imported(studio, tmp_path / "nowhere")
        with pytest.raises(Invalid):
            await import_folder(studio, tmp_path, tags=["a,b"])

    asyncio.run(scenario())
