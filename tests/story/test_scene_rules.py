"""What a scene document may be, what is odd about one, and that any valid one comes back as it was written."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from behaviour import ASKED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import ValidationError
from story_reading import Telling

from commands.story.scene import CreateScene
from domain.bounded_json import check_json, same_json
from domain.story.scene import CONTEXT
from domain.story.scene_model import Choice, Condition, Node, SceneDocument, plain
from domain.story.scene_rules import graph_problems, judge, warnings
from domain.story.scene_states import document_from, document_of
from services.registry import REGISTRY

# --- any valid document -------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=12)
NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)), max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=3)
KEYS = st.lists(NAMES.map(lambda name: name.replace(".", "_")), min_size=1, max_size=3).map(".".join)


def some(required: dict[str, SearchStrategy[Any]], **optional: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


CONDITIONS = st.one_of(
    some({"key": KEYS, "operator": st.sampled_from(["eq", "neq", "gt", "gte", "lt", "lte"]), "value": JSON}),
    some({"key": KEYS, "operator": st.sampled_from(["in", "not_in"]), "value": st.lists(JSON, max_size=3)}),
    some({"key": KEYS, "operator": st.sampled_from(["exists", "not_exists"])}),
)
ACTIONS = st.one_of(
    some({"key": KEYS, "type": st.just("set"), "value": JSON}),
    some({"key": KEYS, "type": st.sampled_from(["increment", "decrement"])}, amount=NUMBERS),
    some({"key": KEYS, "type": st.just("clear")}),
)
DIRECTIVES = st.one_of(
    some({"kind": st.just("portrait"), "character": NAMES}, expression=NAMES, x=st.integers(0, 1), flip=st.booleans()),
    some({"kind": st.just("camera")}, zoom=st.floats(0.1, 4), seconds=st.integers(0, 9)),
    some({"kind": st.just("sound")}, asset=NAMES, channel=st.sampled_from(["music", "voice"]), gain_db=st.just(-6)),
    some({"kind": st.just("timing")}, seconds=st.floats(0, 9)),
    some({"kind": st.just("custom"), "name": NAMES}, parameters=OBJECTS),
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    ids = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    nodes = []
    for id_ in ids:
        targets = draw(st.lists(st.sampled_from(ids), max_size=3))
        choices = [
            draw(some(
                {"target": st.just(target), "id": st.just(f"c{index}")}, label=TEXTS, weight=st.integers(0, 5),
                conditions=st.lists(CONDITIONS, min_size=1, max_size=2), actions=st.lists(ACTIONS, max_size=2),
                visible_to=st.lists(NAMES, max_size=2), metadata=OBJECTS,
            ))
            for index, target in enumerate(targets)
        ]
        nodes.append(draw(some(
            {"id": st.just(id_), "choices": st.just(choices)}, type=NAMES, text=TEXTS, speaker=TEXTS, data=OBJECTS,
            actions=st.lists(ACTIONS, max_size=2), narrator_rules=OBJECTS, end=st.booleans(),
            directives=st.lists(DIRECTIVES, max_size=2),
        )))
    return draw(some(
        {"id": st.just("scene"), "start": st.sampled_from(ids), "nodes": st.just(nodes)}, title=NAMES,
        description=TEXTS, variables=OBJECTS, metadata=OBJECTS, default_pov=NAMES,
    ))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_any_valid_document_comes_back_as_it_was_written(document: dict[str, Any]) -> None:
    assert judge(document)["valid"]
    asking = REGISTRY.askings["CreateScene"]
    events = asking.decide(CreateScene.model_validate_json(json.dumps(document)), CONTEXT.initial, None)
    stored: dict[str, Any] = {}
    state: Any = CONTEXT.initial
    for event in events:
        stored_event = type(event).model_validate_json(REGISTRY.encode(event))
        assert stored_event == event
        stored |= CONTEXT.fields(stored_event)
        state = CONTEXT.evolve(state, stored_event)
    assert same_json(document_of(state), document)
    assert same_json(document_from("scene", json.loads(json.dumps(stored))), document)


def test_a_document_comes_back_through_the_log_and_the_tables(tmp_path: Path) -> None:
    document = {
        "id": "scene", "title": "Ünïcode \u2028 \U0001f3ad", "start": "a/b c", "metadata": {"x": [1, 1.0, True, None]},
        "nodes": [{"id": "a/b c", "text": "{\"'%}\n\0\t", "data": {"": {"deep": [[[]]]}}, "end": True}],
    }
    telling = Telling(tmp_path)
    telling.ask(CreateScene.model_validate(document))
    assert same_json(telling.look("ShowScene", scene_id="scene", bare=True), document)
    assert telling.look("ShowNode", scene_id="scene", node_id="a/b c")["node"] == document["nodes"][0]  # type: ignore[index]


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("condition", "accepted"), [
    ({"key": "a.b", "operator": "eq", "value": None}, True), ({"key": "a", "operator": "eq"}, False),
    ({"key": "a", "operator": "neq", "value": 1}, True), ({"key": "a", "operator": "neq"}, False),
    ({"key": "a", "operator": "gt", "value": "5"}, True), ({"key": "a", "operator": "gt"}, False),
    ({"key": "a", "operator": "gte", "value": 5}, True), ({"key": "a", "operator": "gte"}, False),
    ({"key": "a", "operator": "lt", "value": 5}, True), ({"key": "a", "operator": "lt"}, False),
    ({"key": "a", "operator": "lte", "value": 5}, True), ({"key": "a", "operator": "lte"}, False),
    ({"key": "a", "operator": "in", "value": []}, True), ({"key": "a", "operator": "in", "value": 1}, False),
    ({"key": "a", "operator": "not_in", "value": [1]}, True), ({"key": "a", "operator": "not_in"}, False),
    ({"key": "a", "operator": "exists"}, True), ({"key": "a", "operator": "exists", "value": None}, False),
    ({"key": "a", "operator": "not_exists"}, True), ({"key": "a", "operator": "not_exists", "value": 1}, False),
    ({"key": "a", "operator": "is", "value": 1}, False), ({"key": "", "operator": "exists"}, False),
    ({"key": "a..b", "operator": "exists"}, False), ({"key": ".a", "operator": "exists"}, False),
    ({"key": "a", "operator": "eq", "value": 2**64}, False), ({"key": "a", "operator": "exists", "x": 1}, False),
])
def test_a_condition_has_the_value_that_its_operator_takes(condition: dict[str, Any], accepted: bool) -> None:
    if accepted:
        assert plain(Condition.model_validate(condition)) == condition
    else:
        with pytest.raises(ValidationError):
            Condition.model_validate(condition)


@pytest.mark.parametrize("choice", [
    {}, {"target": ""}, {"target": " a"}, {"target": "a", "weight": -1}, {"target": "a", "weight": float("nan")},
    {"target": "a", "weight": float("inf")}, {"target": "a", "weight": True}, {"target": "a", "weight": "2"},
    {"target": "a", "conditions": []}, {"target": "a", "goto": "b"}, {"target": "a", "metadata": {"x": float("nan")}},
    {"target": "a", "metadata": {"x": 10**30}}, {"target": "a", "label": None}, {"target": "a", "label": "\ud800"},
    {"target": "a", "actions": [{"type": "set", "key": "x"}]},
    {"target": "a", "actions": [{"type": "increment", "key": "x", "value": "many"}]},
    {"target": "a", "actions": [{"type": "toggle", "key": "x"}]},
    {"target": "a\nb"}, {"target": "a" * 129},
])
def test_a_choice_outside_the_schema_is_refused(choice: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Choice.model_validate(choice)


@pytest.mark.parametrize("directive", [
    {"kind": "smell"}, {"kind": "portrait"}, {"kind": "tween", "target": "a", "effect": "fade", "seconds": 0},
    {"kind": "camera", "zoom": 0}, {"kind": "sound", "gain_db": 99}, {"kind": "timing", "seconds": -1}, {},
])
def test_a_directive_outside_the_union_is_refused(directive: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Node.model_validate({"id": "a", "directives": [directive]})


def test_json_is_bounded_in_depth_in_size_and_in_numbers() -> None:
    deep: Any = []
    for _ in range(40):
        deep = [deep]
    with pytest.raises(ValueError, match="deeper"):
        check_json(deep)
    with pytest.raises(ValueError, match="larger"):
        check_json("x" * 300_000)
    with pytest.raises(ValueError, match="surrogate"):
        check_json({"a": ["\udc00"]})
    with pytest.raises(ValueError, match=r"64 bits at a\[0\]"):
        check_json({"a": [2**63]})
    check_json({"a": [2**63 - 1, -(2**63), 1e308]})


# --- judging ------------------------------------------------------------------------------------------------------


def scene(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "s", "start": "a", "nodes": list(nodes), **more}


def codes(found: list[dict[str, str]]) -> set[tuple[str, str]]:
    return {(one["path"], one["code"]) for one in found}


def test_errors_of_the_schema_come_with_their_paths() -> None:
    verdict = judge(scene({"id": "a", "choices": [{"target": "a", "conditions": [{"key": "x", "operator": "eq"}]}]}))
    assert not verdict["valid"]
    assert verdict["errors"] == [{
        "path": "nodes/0/choices/0/conditions/0", "message": "eq needs a `value`", "code": "value_error",
    }]
    for nonsense in (None, [], "scene", 7, {}):
        assert not judge(nonsense)["valid"]


def test_errors_of_the_graph_come_with_their_paths() -> None:
    found = graph_problems(scene(
        {"id": "a", "choices": [{"target": "b", "id": "x"}, {"target": "a", "id": "x"}],
         "directives": [{"kind": "timing", "id": "t"}, {"kind": "timing", "id": "t"}]},
        {"id": "a"},
    ))
    assert {(one.path, one.code) for one in found} == {
        ("nodes/1/id", "duplicate_node"), ("nodes/0/choices/0/target", "missing_target"),
        ("nodes/0/choices/1/id", "duplicate_choice"), ("nodes/0/directives/1/id", "duplicate_directive"),
    }


def test_unreachable_nodes_and_dead_ends_are_warnings() -> None:
    verdict = judge(scene(
        {"id": "a", "choices": [{"target": "b"}, {"target": "c", "weight": 0}]},
        {"id": "b"}, {"id": "c", "end": True}, {"id": "d", "choices": [{"target": "d"}], "end": True},
    ))
    assert verdict["valid"]
    assert codes(verdict["warnings"]) == {
        ("nodes/0/choices/1/weight", "never_offered"), ("nodes/1", "dead_end"), ("nodes/2", "unreachable"),
        ("nodes/3", "unreachable"), ("nodes/3", "end_with_choices"),
    }


def test_a_comparison_that_can_never_hold_is_a_warning() -> None:
    condition = {"key": "gold", "operator": "gt", "value": "many"}
    found = warnings(scene({"id": "a", "choices": [{"target": "a", "conditions": [condition]}]}))
    assert [(one.path, one.code) for one in found] == [("nodes/0/choices/0/conditions/0/value", "never_true")]
    numeric = {"key": "gold", "operator": "gt", "value": "12"}
    assert not warnings(scene({"id": "a", "choices": [{"target": "a", "conditions": [numeric]}]}))


def test_choices_that_cannot_be_told_apart_are_a_warning() -> None:
    found = warnings(scene({"id": "a", "choices": [{"target": "a"}, {"target": "a"}]}))
    assert [(one.path, one.code) for one in found] == [("nodes/0/choices/1", "ambiguous_choice")]


def test_ten_thousand_nodes_are_judged_and_one_more_is_refused() -> None:
    nodes = [{"id": f"n{n}", "choices": [{"target": f"n{(n + 1) % 10_000}"}]} for n in range(10_000)]
    assert judge({"start": "n0", "nodes": nodes}) == {"valid": True, "errors": [], "warnings": []}
    with pytest.raises(ValidationError, match="at most 10000"):
        SceneDocument.model_validate({"id": "s", "start": "n0", "nodes": [*nodes, {"id": "more"}]})


def test_warnings_are_shown_with_a_scene(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    asyncio.run(telling.ask_later(CreateScene.model_validate(scene({"id": "a"}))))
    assert codes(telling.look("ShowScene", scene_id="s")["warnings"]) == {("nodes/0", "dead_end")}
    checked = telling.look("CheckScene", scene_id="s")
    assert checked["valid"]
    assert codes(checked["warnings"]) == {("nodes/0", "dead_end")}


def test_who_creates_a_scene_is_told_what_is_probably_not_meant() -> None:
    asking = REGISTRY.askings["CreateScene"]
    command = asking.command.model_validate({
        "id": "pier", "start": "a",
        "nodes": [{"id": "a", "choices": [{"target": "b"}]}, {"id": "b"}, {"id": "lost", "end": True}],
    })
    events = asking.decide(command, REGISTRY.homes["CreateScene"].initial, ASKED)
    told = asking.told(events)["warnings"]
    assert [one["message"] for one in told] == [  # type: ignore[index,call-overload,union-attr]
        one.message for one in warnings(document_of(CONTEXT.evolve(CONTEXT.initial, events[0])))
    ]
    assert len(told) == 2  # type: ignore[arg-type]
    assert asking.told([]) == {}
