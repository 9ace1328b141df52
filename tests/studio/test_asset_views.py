"""Assets as people see them: filters, pages, what was, and previews."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from studios import look, studio_on

from commands.studio.asset import (
    RecordPreview,
    RecordPreviewFailure,
    ReferenceAsset,
    RegisterAsset,
    ReleaseAsset,
    RemoveAsset,
    RestoreAsset,
    TagAsset,
)
from domain.errors import NotFound, Refused
from domain.studio.asset_values import Variant
from services.studio import Asker, Studio

PERSON = Asker("mo")


async def register(studio: Studio, text: str, kind: str = "text", **said: Any) -> str:
    stored = await studio.blobs.put(text.encode())
    command = RegisterAsset(
        digest=stored.digest, size=stored.size, media_type=said.pop("media_type", "text/plain"), kind=kind,
        name=said.pop("name", text), **said,
    )
    return (await studio.ask(command, PERSON, project="demo")).id


async def ask(studio: Studio, command: Any) -> Any:
    return await studio.ask(command, PERSON, project="demo")


async def names(studio: Studio, **query: Any) -> list[str]:
    return [one["name"] for one in (await look(studio, "ListAssets", **query))["items"]]


def test_every_filter_narrows_and_tags_must_all_match(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        one = await register(studio, "Dusk", tags=("a", "b"), licence="MIT", asset_type="background")
        await register(studio, "dawn", "json", tags=("a",), origin="the dusk choir", media_type="application/json")
        await register(studio, "noon", tags=("b",), notes="100% bright_", nsfw=True, reference="scene:intro")
        assert await names(studio) == ["noon", "dawn", "Dusk"]
        assert await names(studio, tag=("a",)) == ["dawn", "Dusk"]
        assert await names(studio, tag=("a", "b")) == await names(studio, tag="a, b") == ["Dusk"]
        assert await names(studio, type="json") == ["dawn"]
        assert await names(studio, type="background") == ["Dusk"]
        assert await names(studio, q="DUSK") == ["dawn", "Dusk"]
        assert await names(studio, q="100%") == ["noon"]
        assert await names(studio, q="%") == ["noon"]
        assert await names(studio, licence="MIT") == ["Dusk"]
        assert await names(studio, media_type="application/json") == ["dawn"]
        assert await names(studio, nsfw=True) == ["noon"]
        assert await names(studio, reference="scene:intro") == ["noon"]
        full = (await look(studio, "ShowAsset", uid=one))["digest"]
        assert await names(studio, hash=full) == await names(studio, hash=full[:10]) == ["Dusk"]
        assert await names(studio, hash="sha256:" + full.upper()) == ["Dusk"]
        assert await names(studio, tag=("a",), type="json", q="choir") == ["dawn"]
        assert await names(studio, tag=("never",)) == []
        first = await look(studio, "ListAssets", limit=2)
        assert [one["name"] for one in first["items"]] == ["noon", "dawn"]
        assert await names(studio, limit=2, cursor=first["next"]) == ["Dusk"]

    asyncio.run(scenario())


def test_what_changes_shows_and_what_was_can_still_be_seen(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        uid = await register(studio, "room", tags=("old",))
        before = await studio.log.head()
        await ask(studio, TagAsset(uid=uid, add=("new",), remove=("old",)))
        await ask(studio, ReferenceAsset(uid=uid, reference="scene:intro"))
        assert (await names(studio, tag=("old",)), await names(studio, tag=("new",))) == ([], ["room"])
        with pytest.raises(Refused):
            await ask(studio, RemoveAsset(uid=uid))
        await ask(studio, ReleaseAsset(uid=uid, reference="scene:intro"))
        await ask(studio, RemoveAsset(uid=uid))
        assert (await names(studio), await names(studio, removed=True)) == ([], ["room"])
        removed = await studio.log.head()
        await ask(studio, RestoreAsset(uid=uid))
        now = await look(studio, "ShowAsset", uid=uid)
        assert (now["tags"], now["reference_count"], now["removed"], now["version"]) == (["new"], 0, False, 6)
        then = await look(studio, "ShowAsset", uid=uid, as_of=before)
        assert (then["tags"], then["references"], then["removed"]) == (["old"], [], False)
        used = await look(studio, "ShowAsset", uid=uid, as_of=before + 2)
        assert used["references"] == ["scene:intro"]
        assert (await look(studio, "ShowAsset", uid=uid, as_of=removed))["removed"] is True
        with pytest.raises(NotFound):
            await look(studio, "ShowAsset", uid="0" * 16)

    asyncio.run(scenario())


def test_a_preview_and_its_failure_show(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        uid = await register(studio, "picture", "image", media_type="image/png")
        assert (await look(studio, "ShowAsset", uid=uid))["preview"] == {"status": "awaited", "variants": []}
        await ask(studio, RecordPreviewFailure(uid=uid, recipe="image.1", reason="truncated", message="Cut."))
        assert (await look(studio, "ShowAsset", uid=uid))["preview"]["reason"] == "truncated"
        stored = await studio.blobs.put(b"small")
        small = Variant(name="256", digest=stored.digest, size=5, media_type="image/webp", width=2, height=1)
        await ask(studio, RecordPreview(uid=uid, recipe="image.1", variants=(small,), measures={"width": 20}))
        shown = await look(studio, "ShowAsset", uid=uid)
        assert (shown["preview"]["status"], shown["measures"]) == ("made", {"width": 20})
        assert await names(studio, preview="made") == ["picture"]

    asyncio.run(scenario())


def test_bytes_that_are_not_stored_are_not_registered(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        stored = await studio.blobs.put(b"bytes")
        for given in ({"digest": "0" * 64, "size": 5}, {"digest": stored.digest, "size": 6}):
            command = RegisterAsset(**given, media_type="text/plain", kind="text")  # type: ignore[arg-type]
            with pytest.raises(Refused) as caught:
                await ask(studio, command)
            assert caught.value.code == "blob_missing"
        assert await studio.log.head() == 0

    asyncio.run(scenario())
