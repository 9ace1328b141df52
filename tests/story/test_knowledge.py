"""What a point of view may know: masked scenes stay scenes, masking twice is masking once, plays are not touched."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.story.knowledge import concerns, known, masked_node, masked_scene
from domain.story.scene_rules import judge

DECLARED = {
    "killer": {"known_to": ["mara"]}, "party.gold": {"known_to": ["ivo"]}, "mood": {}, "weather": {"known_to": []},
}

POVS = st.sampled_from(["mara", "ivo", "narrator"])
VIEWS = st.lists(POVS, max_size=2)
PATHS = st.sampled_from(["killer", "killer.name", "party", "party.gold", "party.size", "mood"])


def test_variables_are_left_out_with_everything_below_them() -> None:
    variables = {"killer": {"name": "ivo"}, "party": {"gold": 3, "size": 2}, "mood": "calm", "weather": 1, "free": 0}
    before = copy.deepcopy(variables)
    assert known(variables, DECLARED, "mara") == {
        "killer": {"name": "ivo"}, "party": {"size": 2}, "mood": "calm", "weather": 1, "free": 0,
    }
    assert known(variables, DECLARED, "ivo") == {name: value for name, value in variables.items() if name != "killer"}
    assert variables == before, "what others hold is not changed"
    assert known({"party": 5}, DECLARED, "mara") == {"party": 5}, "a path that leads nowhere hides nothing"


def test_nobody_named_is_everybody() -> None:
    assert concerns([], "mara")
    assert concerns(None, "mara")
    assert concerns(["mara"], "mara")
    assert not concerns(["ivo"], "mara")


def test_choices_of_others_and_rules_about_secrets_are_left_out() -> None:
    node = {
        "id": "a", "text": "Who was it?", "actions": [{"type": "set", "key": "killer", "value": "ivo"}],
        "choices": [
            {"target": "b", "visible_to": ["ivo"]},
            {"target": "c", "conditions": [
                {"key": "killer.name", "operator": "exists"}, {"key": "mood", "operator": "exists"},
            ]},
            {"target": "d", "conditions": [{"key": "killer", "operator": "exists"}]},
        ],
    }
    assert masked_node(node, "narrator", DECLARED) == {
        "id": "a", "text": "Who was it?", "choices": [
            {"target": "c", "conditions": [{"key": "mood", "operator": "exists"}]}, {"target": "d"},
        ],
    }
    assert masked_node(node, "mara", DECLARED)["actions"] == node["actions"]


def test_of_a_moment_that_is_not_known_only_the_graph_remains() -> None:
    node = {
        "id": "a", "type": "choice", "text": "I did it.", "speaker": "Ivo", "data": {"known_to": ["ivo"], "mood": 1},
        "directives": [{"kind": "background", "asset": "cellar"}],
        "choices": [{"target": "b", "id": "x", "label": "Confess", "visible_to": ["mara"]}],
    }
    assert masked_node(node, "mara") == {
        "id": "a", "type": "choice", "data": {"hidden": True},
        "choices": [{"target": "b", "id": "x", "visible_to": ["mara"]}],
    }
    assert masked_node(node, "ivo") == {**node, "choices": []}


@st.composite
def scenes(draw: st.DrawFn) -> dict[str, Any]:
    ids = [f"n{number}" for number in range(draw(st.integers(1, 5)))]
    condition = st.builds(lambda key: {"key": key, "operator": "exists"}, PATHS)
    action = st.builds(lambda key: {"type": "set", "key": key, "value": 1}, PATHS)
    choice = st.fixed_dictionaries(
        {"target": st.sampled_from(ids)},
        optional={"visible_to": VIEWS, "conditions": st.lists(condition, min_size=1, max_size=3),
                  "actions": st.lists(action, max_size=2), "label": st.text(max_size=3)},
    )
    nodes = [
        {"id": id_, **draw(st.fixed_dictionaries({}, optional={
            "choices": st.lists(choice, max_size=3), "actions": st.lists(action, max_size=2),
            "text": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
            "data": st.fixed_dictionaries({}, optional={"known_to": VIEWS, "fact": st.booleans()}),
            "end": st.booleans(),
        }))}
        for id_ in ids
    ]
    return {"id": "s", "start": ids[0], "nodes": nodes, "variables": {"killer": 1, "party": {"gold": 1}}}


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(scenes(), POVS)
def test_masking_twice_is_masking_once_and_keeps_a_scene_valid(scene: dict[str, Any], pov: str) -> None:
    before = copy.deepcopy(scene)
    once = masked_scene(scene, pov, DECLARED)
    assert masked_scene(once, pov, DECLARED) == once
    assert scene == before
    assert judge(scene)["valid"]
    assert judge(once)["valid"]
    assert [node["id"] for node in once["nodes"]] == [node["id"] for node in scene["nodes"]]
    assert all(concerns(one.get("visible_to"), pov) for node in once["nodes"] for one in node.get("choices", ()))


@given(st.dictionaries(st.sampled_from(["killer", "mood", "party"]), st.integers()), POVS, POVS)
def test_no_mask_shows_more_than_another_left(variables: dict[str, Any], one: str, other: str) -> None:
    both = known(known(variables, DECLARED, one), DECLARED, other)
    assert both == known(known(variables, DECLARED, other), DECLARED, one)
    assert known(both, DECLARED, one) == both
