"""Presets of a project's own: every command accepted, refused, repeated; those of the studio stay as they are."""

from __future__ import annotations

from typing import Any

import pytest
from behaviour import given
from pydantic import ValidationError

from commands.studio.preset import CreatePreset, DeletePreset, ReplacePreset, RestorePreset
from domain.studio.preset import (
    BUILT_IN,
    PresetCreated,
    PresetDeleted,
    PresetReplaced,
    PresetRestored,
)
from domain.studio.preset_model import Preset, input_problems
from services.generation.library import built_in

DOCUMENT: dict[str, Any] = {
    "id": "poster", "name": "Poster", "category": "image_generation",
    "inputs": {"prompt": {"type": "text", "required": True}},
    "quality_levels": {"low": {"steps": 10}},
    "steps": [{"id": "paint", "operation": "text_to_image", "ways": [
        {"engine": "local_comfy", "parameters": {"prompt": "{{inputs.prompt}}", "steps": "{{quality.steps}}"}},
    ]}],
}
STORED = Preset.model_validate(DOCUMENT).model_dump(mode="json", exclude_defaults=True)
OTHER = {**STORED, "name": "Large poster"}
CREATED = PresetCreated(preset_id="poster", document=STORED)


def command(type_: Any, **changes: Any) -> Any:
    return type_.model_validate(DOCUMENT | changes)


def test_a_preset_is_written_whole_and_again_changes_nothing() -> None:
    given().when(command(CreatePreset)).then(CREATED)
    given().when(command(CreatePreset)).and_again_nothing()
    assert Preset.model_validate(CREATED.document) == Preset.model_validate(DOCUMENT)


def test_an_id_that_is_taken_is_refused() -> None:
    given(CREATED).when(command(CreatePreset, name="Another")).then_refused("preset_exists")
    gone = PresetDeleted(preset_id="poster")
    refused = given(CREATED, gone).when(command(CreatePreset)).then_refused("preset_exists")
    assert refused.remediation[0].action == "restore_preset"


def test_it_is_replaced_once() -> None:
    given(CREATED).when(command(ReplacePreset, name="Large poster")).then(
        PresetReplaced(preset_id="poster", document=OTHER)
    )
    given(CREATED).when(command(ReplacePreset, name="Large poster")).and_again_nothing()
    given(CREATED).when(command(ReplacePreset)).then_nothing()
    given().when(command(ReplacePreset)).then_refused("unknown_preset")
    given(CREATED, PresetDeleted(preset_id="poster")).when(command(ReplacePreset)).then_refused("preset_deleted")


def test_it_is_put_away_and_brought_back_as_it_was() -> None:
    gone = PresetDeleted(preset_id="poster")
    given(CREATED).when(DeletePreset(id="poster")).then(gone)
    given(CREATED, gone).when(DeletePreset(id="poster")).then_nothing()
    given().when(DeletePreset(id="poster")).then_refused("unknown_preset")
    back = PresetRestored(preset_id="poster", document=STORED)
    given(CREATED, gone).when(RestorePreset(id="poster")).then(back)
    given(CREATED).when(RestorePreset(id="poster")).then_nothing()
    given().when(RestorePreset(id="poster")).then_refused("unknown_preset")


@pytest.mark.parametrize("preset_id", sorted(BUILT_IN | {"own"}))
def test_presets_of_the_studio_cannot_be_touched(preset_id: str) -> None:
    for type_ in (CreatePreset, ReplacePreset):
        given().when(command(type_, id=preset_id)).then_refused("built_in_preset")
    for type_ in (DeletePreset, RestorePreset):
        given().when(type_(id=preset_id)).then_refused("built_in_preset")


# --- the schema -----------------------------------------------------------------------------------------------------


def step(**changes: Any) -> list[dict[str, Any]]:
    return [{**DOCUMENT["steps"][0], **changes}]


PICTURE = {"type": "image"}


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"steps": step(parameters={"x": "{{inputs.nothing}}"})}, "inputs.nothing, which is not there"),
    ({"steps": step(parameters={"x": "{{quality.nothing}}"})}, "quality.nothing"),
    ({"steps": step(parameters={"x": "{{later.image}}"})}, "later.image"),
    ({"steps": step(parameters={"x": "{{index}}"})}, "index"),
    ({"steps": step(parameters={"x": "{{character.name}}"})}, "character.name"),
    ({"steps": step(when="inputs.prompt ==")}, "needs a value"),
    ({"steps": step(when="__import__('os')")}, "cannot be read"),
    ({"steps": step(inputs={"image": "{{inputs.prompt}}"})}, "which is none"),
    ({"steps": step(inputs={"image": "/etc/passwd"})}, "no reference"),
    ({"steps": [*step(), *step()]}, "paint is taken"),
    ({"steps": step(id="seed")}, "seed is taken"),
    ({"steps": []}, "has steps, or says by `reruns`"),
    ({"steps": step(operation="format_disk")}, "Input should be"),
    ({"inputs": {"prompt": PICTURE}}, "files go into inputs"),
    ({"inputs": {"prompt": {"type": "choice"}}}, "has `choices`"),
    ({"inputs": {"prompt": {"type": "integer", "default": "three"}}}, "must be a whole number"),
    ({"inputs": {"prompt": {"type": "integer", "default": "{{quality.pages}}"}}}, "no value of every quality"),
    ({"inputs": {"prompt": {**PICTURE, "default": "x"}}}, "cannot have a file as its default"),
    ({"requires_consent": True}, "no input shows a person"),
    ({"failure_modes": {"OH_NO": "Oh no."}}, "no fault code OH_NO"),
    ({"quality_levels": {}}, "at least 1"),
    ({"reruns": "prompt", "steps": []}, "no input of the type job"),
    ({"colour": "red"}, "Extra inputs"),
])
def test_what_does_not_hang_together_is_refused_in_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Preset.model_validate(DOCUMENT | changes)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("value", "code"), [
    ("", "MISSING_REQUIRED_FIELD"), (None, "MISSING_REQUIRED_FIELD"), (7, "INVALID_FIELD_TYPE"),
    (["a"], "INVALID_FIELD_TYPE"), (True, "INVALID_FIELD_TYPE"), ("x" * 2001, "INVALID_FIELD_VALUE"),
    ("\ud800", "INVALID_FIELD_VALUE"),
])
def test_a_prompt_is_a_text(value: Any, code: str) -> None:
    problems = [*input_problems(Preset.model_validate(DOCUMENT), {"prompt": value})]
    assert [(name, found) for name, found, _ in problems] == [("prompt", code)]


@pytest.mark.parametrize(("given_", "wrong"), [
    ({"prompt": "x", "seed": 2**32}, "seed"), ({"prompt": "x", "seed": -1}, "seed"),
    ({"prompt": "x", "seed": 1.5}, "seed"), ({"prompt": "x", "seed": True}, "seed"),
    ({"prompt": "x", "identity_reference": ["a", "b", "c", "d"]}, "identity_reference"),
    ({"prompt": "x", "identity_reference": [["a"]]}, "identity_reference"),
    ({"prompt": "x", "identity_reference": ["../../etc"]}, "identity_reference"),
    ({"prompt": "x", "draft": "yes"}, "draft"), ({"prompt": "x", "width": 100_000}, "width"),
    ({"prompt": "x", "wide": 1}, "wide"),
    ({}, "prompt"),
])
def test_inputs_of_a_portrait_are_really_checked(given_: dict[str, Any], wrong: str) -> None:
    preset = built_in()["photoreal_portrait_v1"].preset
    assert {name for name, _, _ in input_problems(preset, given_)} == {wrong}


def test_the_largest_seed_is_one_below_two_to_the_thirty_second() -> None:
    preset = built_in()["photoreal_portrait_v1"].preset
    assert not [*input_problems(preset, {"prompt": "x", "seed": 2**32 - 1})]
