"""What presets become: steps with everything decided, for whatever engines are at hand. The twelve, one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given as sampled
from hypothesis import strategies as st

from domain.studio.fault import CODES, fault
from domain.studio.preset_model import Preset, input_problems
from domain.studio.preset_plan import Ability, Asked, Given, Outline, outline
from services.generation.library import built_in

EVERYTHING = frozenset({
    "local_comfy", "provider_kling", "provider_fal", "provider_runware", "provider_synclabs", "provider_liveportrait",
    "studio_local",
})


def able(*engines: str) -> Callable[[Asked], Ability]:
    """Engines that can do whatever they are asked; the others are away."""

    def ability(asked: Asked) -> Ability:
        if asked.engine not in engines:
            return Ability(fault=fault("ENGINE_OFFLINE", f"{asked.engine} is away.", engine=asked.engine))
        return Ability(model=asked.model or "any", paid=asked.engine.startswith("provider"),
                       remote=asked.engine.startswith("provider"))

    return ability


INPUTS: dict[str, dict[str, Any]] = {
    "photoreal_portrait_v1": {"prompt": "a sailor"},
    "cinematic_portrait_v1": {"prompt": "a sailor"},
    "identity_lock_portrait_v1": {"prompt": "a sailor", "identity_reference": ["face1", "face2"]},
    "image_to_video_v1": {"image": "pic"},
    "talking_clip_v1": {"video": "film", "audio": "voice"},
    "video_identity_consistency_v1": {"video": "film", "identity_reference": "face1"},
    "upscale_denoise_image_v1": {"image": "pic"},
    "upscale_deflicker_video_v1": {"video": "film"},
    "color_grade_film_grain_v1": {"video": "film"},
    "storyboard_builder_v1": {"prompt_template": "shot {shot_number}", "shot_count": 3},
    "ugc_clip_builder_v1": {"product_image": "pic", "prompt": "on a table"},
}
"""What each needs, and no more. The repair preset has no steps of its own."""


def planned(preset_id: str, engines: Any = EVERYTHING, level: str = "standard", **more: Any) -> Outline:
    preset = built_in()[preset_id].preset
    inputs = INPUTS[preset_id] | more
    assert not [*input_problems(preset, inputs)]
    return outline(preset, Given(inputs, level, 7), able(*engines))


def told(found: Outline) -> list[str]:
    assert not found.faults, found.faults
    return [f"{one.id}:{one.engine}" for one in found.steps]


@pytest.mark.parametrize("preset_id", INPUTS)
@pytest.mark.parametrize("level", ["low", "standard", "pro"])
def test_every_preset_is_planned_at_every_level(preset_id: str, level: str) -> None:
    found = planned(preset_id, level=level)
    assert not found.faults
    made: set[str] = set()
    for one in found.steps:
        for refs in one.inputs.values():
            assert refs
            assert all(ref.startswith("asset:") or ref.removeprefix("step:") in made for ref in refs)
        made.add(f"{one.id}.{one.output}")
        assert "{{" not in str(one.parameters)
        assert None not in one.parameters.values()


WITHOUT_ANY = {
    "upscale_denoise_image_v1": ["denoise:studio_local", "upscale:studio_local"],
    "upscale_deflicker_video_v1": ["deflicker:studio_local", "upscale:studio_local"],
    "color_grade_film_grain_v1": ["grade:studio_local", "grain:studio_local"],
    "image_to_video_v1": ["clip:studio_local"],
    "ugc_clip_builder_v1": ["clip:studio_local", "grade:studio_local"],
}
"""What runs in the default installation, where nothing was connected."""


@pytest.mark.parametrize("preset_id", INPUTS)
def test_what_runs_where_nothing_was_connected(preset_id: str) -> None:
    found = planned(preset_id, ["studio_local"])
    if preset_id in WITHOUT_ANY:
        assert told(found) == WITHOUT_ANY[preset_id]
    else:
        assert found.faults
        assert found.faults[0].code in CODES
        assert found.faults[0].remediation()


@pytest.mark.parametrize("preset_id", [id_ for id_, one in built_in().items() if "draft" in one.preset.inputs])
@pytest.mark.parametrize("level", ["low", "standard", "pro"])
def test_drafts_need_nothing_but_the_studio(preset_id: str, level: str) -> None:
    for engines in (["studio_local"], EVERYTHING):
        found = planned(preset_id, engines, level, draft=True)
        assert {one.engine for one in found.steps} == {"studio_local"}
        assert not found.faults


def test_placeholders_are_made_only_when_they_were_asked_for() -> None:
    for preset_id in INPUTS:
        if "draft" in built_in()[preset_id].preset.inputs:
            assert all(one.model != "placeholder" for one in planned(preset_id, ["local_comfy", "studio_local",
                       "provider_synclabs"]).steps)


def test_the_wanted_engine_goes_first_and_the_next_steps_in() -> None:
    assert told(planned("image_to_video_v1"))[0] == "clip:provider_kling"
    assert told(planned("image_to_video_v1", EVERYTHING - {"provider_kling"}))[0] == "clip:provider_fal"
    preset = built_in()["image_to_video_v1"].preset
    preferred = Given(INPUTS["image_to_video_v1"], "low", 1, prefer="studio_local")
    assert [one.engine for one in outline(preset, preferred, able(*EVERYTHING)).steps] == ["studio_local"]
    excluded = Given(INPUTS["image_to_video_v1"], "low", 1, without=frozenset({"provider_kling"}))
    assert [one.engine for one in outline(preset, excluded, able(*EVERYTHING)).steps] == ["provider_fal"]


def test_a_reference_is_never_sent_to_an_engine_that_would_ignore_it() -> None:
    found = planned("photoreal_portrait_v1", EVERYTHING - {"local_comfy"}, identity_reference=["face1"])
    assert found.faults[0].detail["engine"] == "local_comfy"
    with_it = planned("photoreal_portrait_v1", identity_reference=["face1", "face2"])
    assert with_it.steps[0].inputs == {"identity": ("asset:face1",)}


def test_steps_that_are_left_out_hand_on_their_own_input() -> None:
    found = planned("cinematic_portrait_v1", level="low")
    assert [one.id for one in found.steps] == ["portrait", "grain"]
    assert found.steps[1].inputs == {"image": ("step:portrait.image",)}
    assert [one.id for one in found.left_out] == ["tone", "grade"]


def test_optional_steps_are_left_out_when_nobody_can_do_them() -> None:
    found = planned("ugc_clip_builder_v1", ["studio_local"], "pro", audio="voice")
    assert told(found) == [
        "clip:studio_local", "voice:studio_local", "grade:studio_local", "upscale:studio_local",
    ]
    assert found.left_out[0].id == "scene"
    assert found.left_out[0].fault is not None


def test_a_storyboard_has_its_shots_numbered_seeded_and_put_together() -> None:
    found = planned("storyboard_builder_v1", level="pro", seed=5)
    shots = found.steps[:3]
    assert [one.parameters["prompt"] for one in shots] == ["shot 1", "shot 2", "shot 3"]
    assert [one.parameters["seed"] for one in shots] == [7, 8, 9]
    over = found.steps[3:6]
    assert [one.inputs["image"] for one in over] == [(f"step:shots_{n}.image",) for n in (1, 2, 3)]
    assert found.steps[6].inputs["images"] == tuple(f"step:consistent_{n}.image" for n in (1, 2, 3))


def test_seeds_wrap_and_the_same_is_planned_again() -> None:
    preset = built_in()["storyboard_builder_v1"].preset
    last = Given(INPUTS["storyboard_builder_v1"], "low", 2**32 - 1)
    found = outline(preset, last, able(*EVERYTHING))
    assert [one.parameters["seed"] for one in found.steps[:3]] == [2**32 - 1, 0, 1]
    assert found == outline(preset, last, able(*EVERYTHING))


@sampled(st.sets(st.sampled_from(sorted(EVERYTHING))), st.sampled_from(sorted(INPUTS)),
         st.sampled_from(["low", "standard", "pro"]), st.booleans())
def test_with_any_engines_there_is_a_plan_on_them_or_a_reason(
    engines: set[str], preset_id: str, level: str, draft: bool
) -> None:
    more = {"draft": draft} if "draft" in built_in()[preset_id].preset.inputs else {}
    found = planned(preset_id, engines, level, **more)
    assert {one.engine for one in found.steps} <= engines
    assert bool(found.steps) or bool(found.faults)
    for why in found.faults:
        assert why.remediation()[0]["action"]


def test_a_preset_of_which_nothing_applies_says_so() -> None:
    preset = Preset.model_validate({
        "id": "none", "name": "None", "category": "post_processing", "inputs": {"go": {"type": "boolean"}},
        "quality_levels": {"low": {}}, "steps": [{"id": "one", "operation": "text_to_image", "when": "inputs.go",
                                                  "ways": [{"engine": "local_comfy"}]}],
    })
    assert outline(preset, Given({}, "low", 1), able(*EVERYTHING)).faults[0].code == "VALIDATION_ERROR"


def test_what_hears_no_voice_gets_it_put_under() -> None:
    local = planned("talking_clip_v1", ["provider_liveportrait", "studio_local"], identity_reference="face1")
    assert told(local) == ["talk:provider_liveportrait", "voice:studio_local"]
    assert local.steps[0].inputs == {"image": ("asset:face1",), "video": ("asset:film",)}
    assert local.steps[1].inputs == {"video": ("step:talk.video",), "audio": ("asset:voice",)}
    assert told(planned("talking_clip_v1", identity_reference="face1")) == ["talk:provider_synclabs"]


def test_only_what_is_missing_itself_is_told_as_missing() -> None:
    for preset_id in INPUTS:
        for one in planned(preset_id, ["studio_local"]).faults:
            assert one.detail["engine"] != "studio_local", one.message
