"""What the policy strips is not in what is registered, downloaded and exported; what it keeps is; on real files."""

from __future__ import annotations

import asyncio
import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from door import Door, door, run
from PIL import Image, PngImagePlugin
from signed_files import ffmpeg, made, picture
from studios import studio_on
from working import Works, a_step, working

from commands.studio.asset import RegisterAsset
from commands.trust.policy import RemovePolicyHandling, SetPolicyHandling
from domain.errors import Locked
from domain.exchange.renpy.material import Asset
from domain.ids import UNBRANCHED
from domain.ports import Stream
from domain.studio.asset import Registered
from services.exports.clearing import cleared
from services.exports.exporting import fetching
from services.studio import Asker, Studio

GRAPH = '{"3": {"class_type": "KSampler", "inputs": {"seed": 7}}}'
SECRET = "a lantern at number nine"
WHO = Asker("mo")


def leaking(folder: Path, media_type: str) -> bytes:
    """A file as engines and cameras make them, that tells more than it shows."""
    exif = Image.Exif()
    exif[0x010E] = SECRET
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    xmp = f"<x:xmpmeta>{SECRET}</x:xmpmeta>".encode()
    match media_type:
        case "image/png":
            text = PngImagePlugin.PngInfo()
            text.add_text("prompt", GRAPH.replace("KSampler", f"KSampler {SECRET}"))
            text.add_text("workflow", GRAPH)
            return picture(kind="PNG", pnginfo=text)
        case "image/jpeg":
            return picture(kind="JPEG", exif=exif.tobytes(), xmp=xmp, comment=SECRET)
        case "image/webp":
            return picture(kind="WEBP", exif=exif.tobytes(), xmp=xmp, lossless=True)
    plain = made(folder, media_type)
    told = plain.with_name(f"told{plain.suffix}")
    ffmpeg("-i", str(plain), "-metadata", f"title={SECRET}", "-metadata", f"comment={SECRET}", str(told))
    return told.read_bytes()


def strip(*actions: str, id_: str = "clean", **more: Any) -> SetPolicyHandling:
    said = {"handling_id": id_, "what": "metadata", "actions": actions, "then": "strip"}
    return SetPolicyHandling.model_validate(said | more)


def shown(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB").tobytes()


# --- registering ------------------------------------------------------------------------------------------------------


async def registered(works: Works, data: bytes, media_type: str, **parameters: Any) -> tuple[Registered, bytes]:
    """What becomes of a file that an engine makes."""
    step = a_step(parameters={
        "bytes": data.decode("latin-1"), "media_type": media_type, "seed": 7, "prompt": SECRET, **parameters,
    })
    job = await works.closed(await works.ask(step), 60)
    assert job.outcome == "completed", job.fault
    (uid,) = job.outputs["image"]
    found = await works.studio.dispatcher.aggregates.load(Stream("demo", UNBRANCHED, "asset", uid))
    assert isinstance(found.state, Registered)
    return found.state, await works.studio.blobs.get(found.state.digest)


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "image/webp", "video/mp4"])
def test_a_result_is_registered_as_it_is_or_without_what_leaks(tmp_path: Path, media_type: str) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine()
            works.start()
            data = leaking(tmp_path, media_type)
            assert SECRET.encode() in data
            kept, bytes_ = await registered(works, data, media_type)
            assert bytes_ == data
            assert "handling" not in kept.described.metadata["generation"]
            assert "prompt" not in kept.described.metadata["generation"]
            await works.studio.ask(strip("generate"), WHO, project="demo")
            clean, bytes_ = await registered(works, data, media_type)
            assert SECRET.encode() not in bytes_
            assert b"KSampler" not in bytes_
            assert clean.digest == hashlib.sha256(bytes_).hexdigest() != kept.digest
            assert clean.size == len(bytes_)
            if media_type.startswith("image/"):
                assert shown(bytes_) == shown(data)
            told: Any = clean.described.metadata["generation"]["handling"]
            assert (told["metadata"]["state"], told["metadata"]["by"]) == ("stripped", ["clean"])
            assert told["metadata"]["removed"]
            await works.studio.ask(RemovePolicyHandling(handling_id="clean"), WHO, project="demo")
            again, _ = await registered(works, data, media_type)
            assert again.digest == kept.digest

    asyncio.run(scenario())


def test_the_prompt_is_registered_where_the_policy_keeps_it_and_its_hash_always(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine()
            works.engine(id_="far", paid=True)
            works.start()
            await works.studio.ask(SetPolicyHandling.model_validate({
                "handling_id": "words", "what": "prompt", "actions": ["generate.image"], "then": "keep",
                "when": [{"fact": "remote", "op": "is_not", "values": [True]}],
            }), WHO, project="demo")
            asset, _ = await registered(works, picture(1), "image/png")
            told: Any = asset.described.metadata["generation"]
            assert told["prompt"] == SECRET
            assert told["prompt_sha256"] == hashlib.sha256(SECRET.encode()).hexdigest()
            assert told["handling"] == {"prompt": {"then": "keep", "by": ["words"]}}
            await works.studio.ask(strip("generate", id_="careful", what="prompt"), WHO, project="demo")
            asset, _ = await registered(works, picture(2), "image/png")
            told = asset.described.metadata["generation"]
            assert "prompt" not in told
            assert told["handling"] == {"prompt": {"then": "strip", "by": ["careful"]}}

    asyncio.run(scenario())


def test_what_nobody_can_strip_is_not_lost_but_registered_as_it_is_and_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine()
            works.start()
            await works.studio.ask(strip("generate"), WHO, project="demo")
            data = made(tmp_path, "video/webm").read_bytes()
            asset, bytes_ = await registered(works, data, "video/webm")
            assert bytes_ == data
            told: Any = asset.described.metadata["generation"]["handling"]["metadata"]
            assert (told["state"], told["reason"]) == ("unstrippable", "unknown_format")

    asyncio.run(scenario())


# --- downloading ------------------------------------------------------------------------------------------------------


async def uploaded(at: Door, data: bytes, name: str) -> str:
    answer = await at.client.post("/api/assets/upload?project=demo", files={"file": (name, data)})
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["id"])


def test_a_download_is_what_the_policy_says_and_nobody_gets_round_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with door() as at:
            data = leaking(tmp_path, "image/png")
            uid = await uploaded(at, data, "room.png")

            async def got(query: str = "", what: str = "download") -> Any:
                return await at.client.get(f"/api/assets/{uid}/{what}?project=demo{query}")

            assert (await got()).content == data
            assert SECRET.encode() not in (await got("&metadata=strip")).content
            await at.ask("SetPolicyHandling", strip("download").model_dump(mode="json"), status=201)
            clean = await got()
            assert SECRET.encode() not in clean.content
            assert shown(clean.content) == shown(data)
            assert "tEXt workflow" in clean.headers["x-comfyvn-stripped"]
            refused = await got("&metadata=keep")
            assert (refused.status_code, refused.json()["error"]) == (423, "metadata_policy")
            assert {one["action"] for one in refused.json()["remediation"]} == {"strip_metadata", "set_policy_handling"}
            part = await at.client.get(f"/api/assets/{uid}/download?project=demo", headers={"range": "bytes=0-9999999"})
            assert SECRET.encode() not in part.content
            assert (await got("&metadata=odd")).status_code == 422
            await at.ask("SetPolicyHandling", strip("download", when=[
                {"fact": "media_type", "op": "is", "values": ["image/jpeg"]}]).model_dump(mode="json"), status=200)
            assert (await got()).content == data

    run(scenario)


def test_the_setting_is_what_a_project_that_says_nothing_gets_and_its_keep_goes_before(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with door(download_metadata="strip") as at:
            data = leaking(tmp_path, "image/jpeg")
            uid = await uploaded(at, data, "room.jpg")
            place = f"/api/assets/{uid}/download?project=demo"
            assert SECRET.encode() not in (await at.client.get(place)).content
            assert (await at.client.get(f"{place}&metadata=keep")).content == data
            kept = strip("download", then="keep").model_dump(mode="json")
            await at.ask("SetPolicyHandling", kept, status=201)
            assert (await at.client.get(place)).content == data

    run(scenario)


# --- exporting --------------------------------------------------------------------------------------------------------


async def stored(studio: Studio, data: bytes, media_type: str) -> Asset:
    blob = await studio.blobs.put(data)
    await studio.ask(RegisterAsset(
        digest=blob.digest, size=blob.size, media_type=media_type, kind="image", name="room",
    ), WHO, project="demo")
    return Asset(blob.digest[:16], blob.digest, blob.size, media_type, "room", "image")


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "image/webp"])
def test_a_game_has_the_files_that_the_policy_lets_out(tmp_path: Path, media_type: str) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path / "studio")
        data = leaking(tmp_path, media_type)
        asset = await stored(studio, data, media_type)
        assert await cleared(studio, "demo", {"room": asset}) == {"room": asset}
        await studio.ask(strip("export"), WHO, project="demo")
        found = (await cleared(studio, "demo", {"room": asset}))["room"]
        assert found.stored == (asset.digest, asset.size)
        place = tmp_path / "room"
        await asyncio.to_thread(fetching(studio, asyncio.get_running_loop()), found, place)
        written = place.read_bytes()
        assert SECRET.encode() not in written
        assert (hashlib.sha256(written).hexdigest(), len(written)) == (found.digest, found.size)
        assert shown(written) == shown(data)
        await asyncio.to_thread(fetching(studio, asyncio.get_running_loop()), asset, place)
        assert place.read_bytes() == data
        studio.models.close()

    asyncio.run(scenario())


def test_a_game_is_not_written_with_what_nobody_can_strip(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path / "studio")
        data = made(tmp_path, "audio/ogg").read_bytes()
        asset = await stored(studio, data, "audio/ogg")
        await studio.ask(strip("export.renpy"), WHO, project="demo")
        with pytest.raises(Locked) as caught:
            await cleared(studio, "demo", {"rain": asset})
        assert caught.value.code == "metadata_policy"
        assert [one.action for one in caught.value.remediation] == ["replace_asset", "set_policy_handling"]
        assert list(caught.value.detail["assets"]) == [asset.uid]
        studio.models.close()

    asyncio.run(scenario())
