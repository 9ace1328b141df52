"""Faces are used only with consent, however they come: named, by a step, or inside what was made before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from engines.scripted import ScriptedEngine, picture
from working import ASKER, Works, working

from commands.studio.asset import RegisterAsset
from commands.studio.preset import CreatePreset
from commands.trust.policy import AcknowledgePolicy
from domain.errors import ComfyVNError
from domain.ports.engines import Offer
from domain.studio.asset_values import Source
from domain.studio.job import Open
from domain.studio.preset_model import Preset
from domain.studio.preset_plan import PlannedStep
from services.generation.accepting import accepted, again, foreseen
from services.generation.likeness import faces_named
from services.generation.wishes import Wish
from services.studio import Asker

PROJECT = "demo"
WAYS = [{"engine": "scripted", "parameters": {"seed": 1}}]
PLAIN = {
    "id": "plain", "name": "Plain", "category": "post_processing", "inputs": {"image": {"type": "image"}},
    "quality_levels": {"standard": {}},
    "steps": [{"id": "edit", "operation": "edit_image", "inputs": {"image": "{{inputs.image}}"}, "ways": WAYS}],
}
PORTRAIT = PLAIN | {
    "id": "portrait", "name": "Portrait",
    "inputs": {"face": {"type": "image", "shows_person": True, "required": True}},
    "steps": [{"id": "edit", "operation": "edit_image", "inputs": {"image": "{{inputs.face}}"}, "ways": WAYS}],
}
HIDDEN = PLAIN | {
    "id": "hidden", "name": "Hidden",
    "steps": [
        {"id": "first", "operation": "edit_image", "inputs": {"image": "{{inputs.image}}"}, "ways": WAYS},
        {"id": "second", "operation": "edit_image", "inputs": {"identity": "{{first.image}}"}, "ways": WAYS},
    ],
}


class Editor(ScriptedEngine):
    """Edits pictures, and imitates a person when it is given one."""

    async def offers(self) -> Sequence[Offer]:
        return (Offer("edit_image", "scripted", {}),)


def run(folder: Path, work: Callable[[Works, list[str]], Awaitable[None]]) -> None:
    async def tell() -> None:
        async with working(folder) as works:
            works.studio.engines.add(Editor(folder / "scripted"))
            await works.studio.ask(AcknowledgePolicy(), ASKER, project=PROJECT)
            for one in (PLAIN, PORTRAIT, HIDDEN):
                await works.studio.ask(CreatePreset.model_validate(one), ASKER, project=PROJECT)
            await work(works, [await registered(works, number) for number in range(2)])

    asyncio.run(tell())


async def registered(works: Works, number: int, *parents: str) -> str:
    """A picture in the studio, made from others."""
    content = picture(number)
    kept = await works.studio.blobs.put(content)
    source = Source(how="import", made_from=parents)
    command = RegisterAsset(digest=kept.digest, size=kept.size, media_type="image/png", kind="image", source=source)
    return (await works.studio.ask(command, ASKER, project=PROJECT)).id


async def refused(work: Awaitable[Any]) -> ComfyVNError:
    with pytest.raises(ComfyVNError) as caught:
        await work
    assert caught.value.code == "CONSENT_MISSING", caught.value.message
    assert caught.value.remediation[0].action == "give_consent"
    return caught.value


def wish(preset: str, agreed: bool = False, **inputs: Any) -> Wish:
    return Wish(preset_id=preset, inputs=inputs, consent_given=agreed)


def test_a_step_that_imitates_needs_consent_whatever_stands_before_it(tmp_path: Path) -> None:
    async def work(works: Works, uids: list[str]) -> None:
        one, _ = uids
        problem = await refused(accepted(works.studio, PROJECT, wish("hidden", image=one), ASKER))
        assert problem.detail["fields"] == ["image"]
        assert "step second imitates" in problem.message
        await refused(foreseen(works.studio, PROJECT, wish("hidden", image=one), ASKER))
        found = await accepted(works.studio, PROJECT, wish("hidden", True, image=one), ASKER)
        assert isinstance(found.job, Open)
        assert found.job.request.consent is not None
        assert found.job.request.consent.assets == (one,)

    run(tmp_path, work)


def test_a_face_stays_a_face_in_what_is_made_from_it(tmp_path: Path) -> None:
    async def work(works: Works, uids: list[str]) -> None:
        face, other = uids
        made = await registered(works, 2, face)
        made_again = await registered(works, 3, made, other)
        await accepted(works.studio, PROJECT, wish("plain", image=made_again), ASKER)  # nobody knows of a face yet
        await accepted(works.studio, PROJECT, wish("portrait", True, face=face), ASKER)
        for uid, why in ((face, "used as a picture of a person"), (made, f"made from {face}"),
                         (made_again, f"made from {face}")):
            problem = await refused(accepted(works.studio, PROJECT, wish("plain", image=uid), ASKER))
            assert why in problem.message
            assert problem.detail["fields"] == ["image"]
        await accepted(works.studio, PROJECT, wish("plain", image=other), ASKER)
        agreed = await accepted(works.studio, PROJECT, wish("plain", True, image=made_again), Asker("mara"))
        assert isinstance(agreed.job, Open)
        consent = agreed.job.request.consent
        assert consent is not None
        assert (consent.by, consent.assets) == ("mara", (made_again,))
        repeated = await again(works.studio, PROJECT, agreed.job_id, ASKER)  # what was agreed to there holds here
        assert isinstance(repeated.job, Open)
        assert repeated.job.request.consent == consent

    run(tmp_path, work)


def test_of_steps_that_hand_each_other_pictures_every_source_is_found() -> None:
    def step(id_: str, operation: str, **inputs: str) -> PlannedStep:
        return PlannedStep(id_, operation, "e", "m", {}, {name: (ref,) for name, ref in inputs.items()}, "image",
                           False, True, False)

    preset = Preset.model_validate(PLAIN)
    chain = [step("a", "edit_image", image="asset:one"), step("b", "edit_image", image="step:a.image"),
             step("c", "expression_transfer", image="step:b.image", video="asset:two")]
    assert faces_named(preset, {}, chain).keys() == {"one"}
    assert faces_named(preset, {}, [step("a", "edit_image", image="step:a.image", face="step:a.image")]) == {}
    assert faces_named(preset, {}, chain[:2]) == {}
