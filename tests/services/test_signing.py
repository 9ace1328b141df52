"""Generated assets are signed by themselves, others when somebody asks, each with what it was made from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from signed_files import flipped, picture

from commands.studio.asset import RegisterAsset
from commands.studio.provenance import SignAsset
from domain.errors import NotFound
from domain.studio.asset_values import Source
from services.provenance import verify_manifest
from services.signing import read_kept, shown, signing
from services.studio import Asker, Studio

PERSON = Asker("mo")


async def kept(studio: Studio, data: bytes, media_type: str = "image/png", **said: Any) -> str:
    stored = await studio.blobs.put(data)
    command = RegisterAsset(digest=stored.digest, size=stored.size, media_type=media_type,
                            kind=media_type.partition("/")[0], **{"name": "a picture", **said})
    return (await studio.ask(command, PERSON, project="demo")).id


async def look(studio: Studio, name: str, **asked: Any) -> Any:
    view = studio.registry.views[name]
    return await studio.look(view, view.query.model_validate({"project": "demo", **asked}))


async def signed(studio: Studio, uid: str, number: int = 1) -> dict[str, Any]:
    """The credentials of an asset once they have been made ``number`` times."""
    async with asyncio.timeout(60):
        while True:
            manifest = await look(studio, "ShowAssetProvenance", uid=uid)
            found: dict[str, Any] = manifest["credentials"]
            if found.get("version", 0) >= number and not found["requested"]:
                assert await verify_manifest(studio.log, manifest, blobs=studio.blobs) == []
                return found
            await asyncio.sleep(0.05)


def generated(*made_from: str, engine: str = "local_comfy", **more: Any) -> Source:
    return Source(how="generate", engine=engine, model="sdxl", seed="18446744073709551615", job_id="job-1",
                  made_from=made_from, **more)


def facts(operation: str, **more: Any) -> dict[str, Any]:
    return {"generation": {"operation": operation, "preset": "portrait", "prompt_sha256": "cd" * 32, **more}}


def test_what_was_generated_is_signed_with_what_it_was_made_from(studio_factory: Any) -> None:
    async def scenario() -> None:
        async with studio_factory(processes=True) as opened:
            studio = opened.studio
            first = await kept(studio, picture(1), source=generated(), metadata=facts("text_to_image"))
            second = await kept(studio, picture(2), source=generated(first, engine="studio_local"),
                                metadata=facts("upscale_image"))
            board = await kept(studio, picture(3), source=generated(first, second, engine="studio_local"),
                               metadata=facts("compose_images"))
            drawn = await kept(studio, picture(4), source=generated(engine="studio_local"),
                               metadata=facts("text_to_image"))
            one, two, three, four = [await signed(studio, uid) for uid in (first, second, board, drawn)]
            assert [told["source_type"] for told in (one, two, three, four)] == [
                "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia",
                "compositeWithTrainedAlgorithmicMedia", "algorithmicMedia"]
            assert one["assertion"]["seed"] == "18446744073709551615"
            assert one["assertion"]["prompt_sha256"] == "cd" * 32
            assert [action["action"] for action in two["actions"]] == ["c2pa.opened", "c2pa.edited"]
            assert [(part["uid"], part["relationship"], part["state"]) for part in two["ingredients"]] == [
                (first, "parentOf", "valid")]
            assert {part["uid"] for part in three["ingredients"] if part["depth"] == 1} == {first, second}
            assert "untrusted outside" in one["words"]
            made, found = await read_kept(studio, "demo", second)
            assert made is not None
            assert (found.state, found.trusted) == ("valid", True)
            assert shown(found)["assertions"]["org.comfyvn.generation"]["asset"] == second
            original = await look(studio, "ShowAsset", uid=first)
            assert await studio.blobs.get(original["digest"]) == picture(1), "the asset's own bytes stay"

    asyncio.run(scenario())


def test_what_was_brought_in_is_signed_when_somebody_asks_and_claims_nothing(studio_factory: Any) -> None:
    async def scenario() -> None:
        async with studio_factory(processes=True) as opened:
            studio = opened.studio
            uid = await kept(studio, picture(1))
            before = (await look(studio, "ShowAssetProvenance", uid=uid))["credentials"]
            assert before["state"] == "unsigned"
            await studio.ask(SignAsset(uid=uid), PERSON, project="demo")
            told = await signed(studio, uid, 2)
            assert (told["state"], told["source_type"], [one["action"] for one in told["actions"]]) == (
                "valid", "", ["c2pa.opened"])
            await studio.ask(SignAsset(uid=uid, again=True), PERSON, project="demo")
            again = await signed(studio, uid, 4)
            assert again["signed_digest"] != told["signed_digest"]

    asyncio.run(scenario())


def test_a_tampered_file_that_was_brought_in_marks_what_is_made_of_it(studio_factory: Any) -> None:
    async def scenario() -> None:
        async with studio_factory(processes=True) as opened:
            studio = opened.studio
            first = await kept(studio, picture(1), source=generated())
            digest = (await signed(studio, first))["signed_digest"]
            tampered = await kept(studio, flipped(await studio.blobs.get(digest), -40), name="tram.png")
            child = await kept(studio, picture(2), source=generated(tampered), metadata=facts("image_to_image"))
            told = await signed(studio, child)
            assert (told["state"], told["ingredients"][0]["state"]) == ("marked", "invalid")
            assert "tram.png" in told["words"]
            _, found = await read_kept(studio, "demo", child)
            assert found.state == "marked"

    asyncio.run(scenario())


def test_what_cannot_be_signed_says_why(studio_factory: Any) -> None:
    async def scenario() -> None:
        async with studio_factory(processes=True) as opened:
            studio = opened.studio
            uid = await kept(studio, picture(1)[:300], source=generated())
            told = await signed(studio, uid)
            assert (told["state"], told["failure"]["reason"]) == ("failed", "unreadable_file")
            gone = await kept(studio, picture(2), source=generated(), name="gone")
            assert (await signed(studio, gone))["state"] == "valid"

    asyncio.run(scenario())


def test_an_asset_that_is_not_there_is_not_signed(studio_factory: Any) -> None:
    async def scenario() -> None:
        async with studio_factory() as opened:
            assert await signing(opened.studio, "demo", "ab" * 8) == []
            with pytest.raises(NotFound):
                await read_kept(opened.studio, "demo", "ab" * 8)
            text = await kept(opened.studio, b"lantern", "text/plain")
            (command,) = await signing(opened.studio, "demo", text)
            assert command.signing.form == "sidecar"  # type: ignore[attr-defined]
            assert command.signing.media_type == "application/json"  # type: ignore[attr-defined]

    asyncio.run(scenario())


def test_keys_lie_where_the_settings_say(studio_factory: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with studio_factory(signing_keys=tmp_path / "keys") as opened:
            uid = await kept(opened.studio, picture(1), source=generated())
            await signing(opened.studio, "demo", uid)
            assert sorted(one.name for one in (tmp_path / "keys").iterdir()) == ["leaf.pem", "root.pem", "roots"]
            assert not list((tmp_path / "studio").rglob("*.pem"))

    asyncio.run(scenario())
