"""A node's directives as a plan: in order, with assets, with what is implied, and the stage before and after."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.story.looks import look
from domain.story.presentation import KINDS, plan, read, staged
from domain.story.scene_rules import judge
from domain.story.staging import EMPTY, Stage

MIRA: dict[str, Any] = {
    "name": "Mira", "portrait": {"asset": "mira"},
    "expressions": {"glad": {"asset": "mira-glad"}, "stern": "mira-stern"},
    "poses": {"sitting": {"asset": "mira-sitting"}},
}
CAST = {"mira": MIRA, "ivo": {"name": "Ivo"}}


def node(*directives: dict[str, Any]) -> dict[str, Any]:
    return {"id": "n", "directives": list(directives)}


def does(*directives: dict[str, Any], stage: Stage = EMPTY) -> list[str]:
    return [step["does"] for step in plan(node(*directives), stage, CAST).steps]


def warned(*directives: dict[str, Any], stage: Stage = EMPTY) -> list[tuple[str, str]]:
    return [(one.path, one.code) for one in plan(node(*directives), stage, CAST).warnings]


ENTER = {"kind": "portrait", "character": "mira"}


def test_steps_stand_in_the_order_of_their_times_and_then_as_written() -> None:
    found = plan(node(
        {"kind": "custom", "name": "late", "at_seconds": 2}, {"kind": "custom", "name": "first"},
        {"kind": "custom", "name": "second"}, {"kind": "custom", "name": "early", "at_seconds": 0.5},
    ))
    assert [step["name"] for step in found.steps] == ["first", "second", "early", "late"]
    assert [step["directive"] for step in found.steps] == [1, 2, 3, 0]
    assert [step["at_seconds"] for step in found.steps] == [0.0, 0.0, 0.5, 2.0]
    assert found.seconds == 2.0


def test_a_wait_holds_back_what_comes_after_it() -> None:
    found = plan(node(
        {"kind": "timing", "seconds": 1.5}, {"kind": "background", "asset": "pier"},
        {"kind": "timing", "action": "wait_for_input"}, {"kind": "timing", "action": "advance", "at_seconds": 9},
    ))
    assert [(step["at_seconds"], step["seconds"], step["phase"]) for step in found.steps] == [
        (0.0, 1.5, 0), (1.5, 0.0, 0), (1.5, None, 0), (9.0, 0.0, 1),
    ]
    assert (found.seconds, found.phases) == (9.0, 2)


def test_a_character_enters_moves_changes_and_leaves() -> None:
    found = plan(node(
        {**ENTER, "expression": "glad", "position": "left"}, {**ENTER, "position": "right"},
        {"kind": "expression", "character": "mira", "expression": "stern"},
        {"kind": "pose", "character": "mira", "pose": "sitting"},
        {**ENTER}, {**ENTER, "action": "hide"},
    ), characters=CAST)
    assert [step["does"] for step in found.steps] == ["enter", "move", "change", "change", "stay", "leave"]
    assert [step["asset"] for step in found.steps] == [
        "mira-glad", "mira-glad", "mira-stern", "mira-stern", "mira-stern", None,
    ]
    assert [step.get("position") for step in found.steps[:2]] == ["left", "right"]
    assert found.steps[1]["implied"] == ["already_on_stage"]
    assert found.steps[1]["from"]["position"] == "left"
    assert (found.warnings, found.after.characters) == ((), {})


def test_an_asset_that_was_named_stays_until_another_look_is_asked_for() -> None:
    found = plan(node({**ENTER, "asset": "cloak"}, {**ENTER, "action": "move", "x": 0.3}), characters=CAST)
    assert [(step["asset"], step["asset_by"]) for step in found.steps] == [("cloak", "directive"), ("cloak", "stage")]
    sits = plan(node({**ENTER, "pose": "sitting"}), characters=CAST)
    assert [(step["asset"], step["asset_by"]) for step in sits.steps] == [("mira-sitting", "pose")]


@pytest.mark.parametrize(("character", "expression", "pose", "asset"), [
    (MIRA, "glad", None, "mira-glad"), (MIRA, "stern", "sitting", "mira-stern"),
    (MIRA, None, "sitting", "mira-sitting"), (MIRA, "unheard", None, "mira"), ({}, "glad", "sitting", None),
    ({"expressions": [{"name": "glad", "asset": "a"}, {"name": "glad", "pose": "sitting", "asset": "b"}]}, "glad",
     "sitting", "b"),
    ({"expressions": {"glad": {"asset": "a", "poses": {"sitting": "c"}}}}, "glad", "sitting", "c"),
    ({"expressions/glad": {"item": {"id": "glad", "asset": "d"}, "place": [0]}}, "glad", None, "d"),
    ({"expressions/e1": {"name": "glad", "asset": "e"}}, "glad", None, "e"),
])
def test_the_asset_of_an_expression_and_a_pose(
    character: dict[str, Any], expression: str | None, pose: str | None, asset: str | None
) -> None:
    assert look(character, expression, pose).asset == asset


def test_what_happens_to_somebody_who_is_not_there_is_warned_of() -> None:
    assert does({"kind": "expression", "character": "mira", "expression": "glad"}) == ["nothing"]
    assert warned(
        {"kind": "expression", "character": "mira", "expression": "glad"}, {**ENTER, "action": "hide"},
        {"kind": "tween", "target": "mira", "effect": "fade"}, {"kind": "prop", "prop": "lamp", "action": "hide"},
        {"kind": "overlay", "overlay": "rain", "action": "hide"}, {"kind": "camera", "focus": "mira"},
    ) == [(f"directives/{number}", "not_on_stage") for number in range(6)]
    assert warned({**ENTER, "action": "move"}) == [("directives/0", "not_on_stage")]
    assert warned({**ENTER, "expression": "furious"}) == [("directives/0", "unknown_expression")]
    assert warned({"kind": "portrait", "character": "ghost"}) == [("directives/0", "unknown_character")]
    assert warned({"kind": "portrait", "character": "ivo"}) == [("directives/0", "no_asset")]
    assert warned({"kind": "sound", "channel": "music", "action": "stop"}, {"kind": "sound"}) == [
        ("directives/0", "nothing_sounds"), ("directives/1", "no_asset"),
    ]


def test_a_background_is_cut_or_crossfaded() -> None:
    fade = {"name": "fade", "seconds": 0.5}
    assert does(
        {"kind": "background", "asset": "a", "transition": fade}, {"kind": "background", "asset": "b"},
        {"kind": "background", "asset": "a", "transition": fade}, {"kind": "background", "asset": "a"},
        {"kind": "background", "transition": fade},
    ) == ["fade_in", "cut", "crossfade", "stay", "fade_out"]
    found = plan(node({"kind": "background", "asset": "b", "transition": fade}), EMPTY)
    assert (found.steps[0]["seconds"], found.seconds) == (0.5, 0.5)


def test_music_goes_on_and_effects_do_not() -> None:
    sea = {"kind": "sound", "channel": "ambience", "asset": "sea", "loop": True}
    assert does(sea, sea, {**sea, "asset": "rain"}, {**sea, "action": "gain", "gain_db": -6},
                {**sea, "action": "stop"}) == ["play", "stay", "replace", "gain", "stop"]
    after = plan(node({**sea, "gain_db": -3}, {"kind": "sound", "asset": "bell"})).after
    assert after.shown()["sound"] == {"ambience": {"asset": "sea", "gain_db": -3, "loop": True}}


def test_the_camera_keeps_what_is_left_away() -> None:
    found = plan(node(
        {"kind": "camera", "action": "set", "zoom": 1.5}, {"kind": "camera", "x": 0.2, "seconds": 2},
        {"kind": "camera", "action": "shake", "seconds": 1}, {"kind": "camera", "x": 0.2},
        {"kind": "camera", "action": "reset", "seconds": 1},
    ))
    assert [step["does"] for step in found.steps] == ["cut", "move", "shake", "stay", "move"]
    assert (found.steps[1]["camera"]["x"], found.steps[1]["camera"]["zoom"]) == (0.2, 1.5)
    assert found.after.camera == EMPTY.camera


def test_a_viewer_may_jump_into_the_middle() -> None:
    path = [
        node({"kind": "background", "asset": "pier"}, {**ENTER, "position": "left"}), {"id": "silent"},
        node({"kind": "expression", "character": "mira", "expression": "glad"}),
    ]
    stage = staged(path, characters=CAST)
    assert (stage.background, stage.characters["mira"].asset) == ("pier", "mira-glad")
    assert staged(path[2:], staged(path[:2], characters=CAST), CAST) == stage
    assert Stage.model_validate_json(json.dumps(stage.shown())) == stage


@pytest.mark.parametrize(("told", "path"), [
    ([{"kind": "explode"}], "directives/0/kind"), ([{"type": "background"}], "directives/0/kind"),
    (["fade"], "directives/0"), ({"background": "pier"}, "directives"),
    ([{"kind": "background", "image": "x"}], "directives/0/background/image"),
    ([{"kind": "camera", "zoom": 0}], "directives/0/camera/zoom"),
])
def test_what_is_no_directive_is_refused_by_its_place(told: Any, path: str) -> None:
    with pytest.raises(Invalid) as caught:
        plan({"id": "n", "directives": told})
    assert caught.value.code == "invalid_directives"
    assert caught.value.detail["fields"][0]["path"] == path


NAMES = st.sampled_from(["mira", "ivo", "lamp", "rain", "camera"])
TIMES = st.sampled_from([0, 0.5, 1, 3])
LOOKS = st.sampled_from(["glad", "stern", "odd"])


def cues(kind: str, required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"kind": st.just(kind), **required}, optional={"at_seconds": TIMES, **optional})


TRANSITIONS = st.fixed_dictionaries({}, optional={"name": st.sampled_from(["cut", "fade"]), "seconds": TIMES})
DIRECTIVES = st.lists(st.one_of(
    cues("background", {}, asset=NAMES, transition=TRANSITIONS),
    cues("portrait", {"character": NAMES}, action=st.sampled_from(["show", "move", "hide"]), expression=LOOKS,
         position=LOOKS, x=TIMES, transition=TRANSITIONS, asset=NAMES),
    cues("expression", {"character": NAMES, "expression": LOOKS}), cues("pose", {"character": NAMES, "pose": LOOKS}),
    cues("camera", {}, action=st.sampled_from(["set", "move", "shake", "reset"]), focus=NAMES, x=TIMES, seconds=TIMES),
    cues("tween", {"target": NAMES, "effect": st.just("fade")}, loop=st.booleans()),
    cues("timing", {}, action=st.sampled_from(["wait", "wait_for_input", "wait_for_sound", "advance"]), seconds=TIMES),
    cues("sound", {}, channel=st.sampled_from(["music", "voice"]), asset=NAMES, loop=st.booleans(),
         action=st.sampled_from(["play", "queue", "stop", "gain"])),
    cues("prop", {"prop": NAMES}, action=st.sampled_from(["show", "hide"])),
    cues("overlay", {"overlay": NAMES}, action=st.sampled_from(["show", "hide"])), cues("custom", {"name": LOOKS}),
), max_size=8)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(DIRECTIVES, DIRECTIVES)
def test_every_valid_node_has_one_plan(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    assert judge({"id": "s", "start": "n", "nodes": [node(*first)]})["valid"]
    one = plan(node(*first), EMPTY, CAST)
    assert one.shown() == plan(node(*first), EMPTY, CAST).shown()
    assert sorted(step["directive"] for step in one.steps) == list(range(len(first)))
    starts = [step["at_seconds"] for step in one.steps]
    assert starts == sorted(starts)
    assert {step["kind"] for step in one.steps} <= set(KINDS)
    assert len(read(first)) == len(first)
    after = plan(node(*second), one.after, CAST).after
    assert after == staged([node(*first), node(*second)], EMPTY, CAST)
    assert Stage.model_validate_json(json.dumps(after.shown())) == after
