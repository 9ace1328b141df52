"""A character's pictures are looked at when work is asked for, not when it has been paid for: there, kept, pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from engines.scripted import ScriptedEngine, picture
from working import ASKER, Works, working

from commands.story.character import CreateCharacter
from commands.studio.asset import RegisterAsset, RemoveAsset
from commands.studio.preset import CreatePreset
from domain.errors import ComfyVNError
from domain.ports.engines import Offer
from domain.studio.asset_values import Source
from domain.studio.job import Open
from services.generation.accepting import accepted, foreseen
from services.generation.wishes import Wish

PROJECT = "demo"
WAYS = [{"engine": "scripted", "parameters": {"seed": 1}}]
PRESET = {
    "id": "as_shown", "name": "As shown", "category": "post_processing",
    "inputs": {"who": {"type": "character"}, "expression": {"type": "text"}},
    "quality_levels": {"standard": {}},
    "steps": [
        {"id": "first", "operation": "edit_image", "inputs": {"image": "{{character.portrait}}"}, "ways": WAYS},
        {"id": "second", "operation": "edit_image", "when": "inputs.expression", "ways": WAYS,
         "inputs": {"image": ["{{first.image}}", "{{character.look}}"]}},
    ],
}


class Editor(ScriptedEngine):
    """Edits pictures."""

    async def offers(self) -> Sequence[Offer]:
        return (Offer("edit_image", "scripted", {}),)


def run(folder: Path, work: Callable[[Works, str, str], Awaitable[None]]) -> None:
    """Does something in a studio where Mira has a portrait and a glad face."""

    async def tell() -> None:
        async with working(folder) as works:
            works.studio.engines.add(Editor(folder / "scripted"))
            await works.studio.ask(CreatePreset.model_validate(PRESET), ASKER, project=PROJECT)
            portrait, glad = [await registered(works, number) for number in (1, 2)]
            await character(works, "mira", portrait, glad)
            await work(works, portrait, glad)

    asyncio.run(tell())


async def character(works: Works, id_: str, portrait: str, glad: str) -> None:
    await works.studio.ask(CreateCharacter.model_validate({
        "id": id_, "name": id_.title(), "portrait": portrait, "expressions": {"glad": {"asset": glad}},
    }), ASKER, project=PROJECT)


async def registered(works: Works, number: int, kind: str = "image", media_type: str = "image/png") -> str:
    kept = await works.studio.blobs.put(picture(number))
    command = RegisterAsset(digest=kept.digest, size=kept.size, media_type=media_type, kind=kind,  # type: ignore[arg-type]
                            source=Source(how="upload"))
    return (await works.studio.ask(command, ASKER, project=PROJECT)).id


async def lost(works: Works, number: int) -> None:
    await works.studio.blobs.delete(sha256(picture(number)).hexdigest())


async def refused(works: Works, code: str, **inputs: Any) -> ComfyVNError:
    """What is said, alike for a dry run and the request; nothing was asked for then."""
    wish = Wish(preset_id="as_shown", inputs=inputs)
    head = await works.studio.log.head()
    said = []
    for asked in (foreseen, accepted):
        with pytest.raises(ComfyVNError) as caught:
            await asked(works.studio, PROJECT, wish, ASKER)
        said.append(caught.value)
    assert [one.code for one in said] == [code, code]
    assert said[0].message == said[1].message
    assert said[0].remediation[0].action == "choose_file"
    assert await works.studio.log.head() == head
    return said[1]


def test_a_portrait_whose_bytes_are_gone_is_refused_at_the_request(tmp_path: Path) -> None:
    async def work(works: Works, portrait: str, glad: str) -> None:
        job = (await accepted(works.studio, PROJECT, Wish(preset_id="as_shown", inputs={"who": "mira"}), ASKER)).job
        assert isinstance(job, Open)
        await lost(works, 1)
        error = await refused(works, "FILE_NOT_FOUND", who="mira")
        assert f"asset {portrait}" in error.message
        assert "restore them from a backup" in error.message
        assert error.detail["uid"] == portrait

    run(tmp_path, work)


def test_only_the_pictures_that_are_used_have_to_be_there(tmp_path: Path) -> None:
    async def work(works: Works, portrait: str, glad: str) -> None:
        await lost(works, 2)
        await accepted(works.studio, PROJECT, Wish(preset_id="as_shown", inputs={"who": "mira"}), ASKER)
        error = await refused(works, "FILE_NOT_FOUND", who="mira", expression="glad")
        assert error.detail["uid"] == glad

    run(tmp_path, work)


def test_a_picture_that_the_project_has_not_is_named_with_its_character(tmp_path: Path) -> None:
    async def work(works: Works, portrait: str, glad: str) -> None:
        await character(works, "ivo", "ab" * 8, "ivo-glad")
        error = await refused(works, "FILE_NOT_FOUND", who="ivo")
        assert "portrait of character ivo" in error.message
        assert "Give the character another portrait" in error.message
        await character(works, "ada", portrait, "ada-glad")
        assert "picture of character ada is asset ada-glad" in (
            await refused(works, "FILE_NOT_FOUND", who="ada", expression="glad")).message
        await works.studio.ask(RemoveAsset(uid=portrait), ASKER, project=PROJECT)
        assert (await refused(works, "FILE_NOT_FOUND", who="mira")).detail["uid"] == portrait

    run(tmp_path, work)


def test_a_portrait_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    async def work(works: Works, portrait: str, glad: str) -> None:
        sound = await registered(works, 3, "audio", "audio/wav")
        await character(works, "ivo", sound, glad)
        assert "of the kind audio" in (await refused(works, "FILE_REFUSED", who="ivo")).message

    run(tmp_path, work)


def test_the_policy_is_held_against_a_portrait_as_against_any_other_input(tmp_path: Path) -> None:
    async def work(works: Works, portrait: str, glad: str) -> None:
        plan = (await accepted(works.studio, PROJECT, Wish(preset_id="as_shown", inputs={"who": "mira"}), ASKER)).plan
        assert plan is not None
        assert set(plan.assets) == {portrait}

    run(tmp_path, work)
