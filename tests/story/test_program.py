"""A scene made ready to be played: how nodes are left, what is offered to whom, and the order of work of a choice."""

from __future__ import annotations

from typing import Any

import pytest

from domain.story.dice import drawn, thrown
from domain.story.program import VIEWS_REMEMBERED, Program, cast, manner, named, offered, program, taken


def scene(*nodes: dict[str, Any], **fields: Any) -> Program:
    return program({"id": "s", "start": nodes[0]["id"], "nodes": list(nodes), **fields})


def two(**fields: Any) -> list[dict[str, Any]]:
    return [{"target": "a", "id": "x", **fields}, {"target": "a", "id": "y", **fields}]


@pytest.mark.parametrize(("node", "expected"), [
    ({"id": "a"}, "end"),
    ({"id": "a", "end": True}, "end"),
    ({"id": "a", "type": "choice"}, "end"),
    ({"id": "a", "choices": [{"target": "a"}]}, "continue"),
    ({"id": "a", "choices": [{"target": "a", "weight": 3, "label": "On"}]}, "continue"),
    ({"id": "a", "type": "menu", "choices": [{"target": "a"}]}, "ask"),
    ({"id": "a", "type": "random", "choices": [{"target": "a"}]}, "chance"),
    ({"id": "a", "choices": two()}, "chance"),
    ({"id": "a", "choices": two(label="Go")}, "ask"),
    ({"id": "a", "choices": two(label="Go", weight=0)}, "ask"),
    ({"id": "a", "choices": two(label="Go", weight=2)}, "chance"),
    ({"id": "a", "type": "choice", "choices": two(weight=2)}, "ask"),
    ({"id": "a", "type": "chance", "choices": two(label="Go")}, "chance"),
])
def test_how_a_node_is_left(node: dict[str, Any], expected: str) -> None:
    assert manner(node) == expected


def test_what_is_offered_depends_on_weight_view_and_conditions() -> None:
    made = scene({"id": "a", "choices": [
        {"id": "never", "target": "a", "weight": 0},
        {"id": "hers", "target": "a", "visible_to": ["mara"]},
        {"id": "rich", "target": "a", "conditions": [{"key": "gold", "operator": "gte", "value": 5}]},
        {"target": "b"},
    ]}, {"id": "b"})
    node = made.nodes["a"]
    assert [one.id for one in offered(node, {}, "narrator")] == ["b"]
    assert [one.id for one in offered(node, {"gold": 5}, "mara")] == ["hers", "rich", "b"]
    assert [one.id for one in node.seen_by("mara")] == ["hers", "rich", "b"]
    assert named(offered(node, {}, "mara"), "rich") is None
    assert named(offered(node, {"gold": 6}, "mara"), "rich") is not None


def test_the_choice_acts_before_the_node_that_it_leads_to() -> None:
    made = scene(
        {"id": "a", "choices": [{"target": "b", "actions": [{"type": "set", "key": "said", "value": "choice"}]}]},
        {"id": "b", "actions": [
            {"type": "set", "key": "kept", "value": 1}, {"type": "set", "key": "said", "value": "node"},
        ]},
    )
    before = {"x": 1}
    node, after = taken(made, made.nodes["a"].choices[0], before)
    assert node is made.nodes["b"]
    assert after == {"x": 1, "said": "node", "kept": 1}
    assert before == {"x": 1}


def test_a_cast_is_one_draw_among_what_is_offered() -> None:
    made = scene({"id": "a", "type": "chance", "choices": [
        {"id": "one", "target": "a", "weight": 1}, {"id": "two", "target": "a", "weight": 3},
    ]})
    counts = {"one": 0, "two": 0}
    dice = thrown(0)
    for uses in range(1, 2001):
        choice, dice = cast(dice, made.nodes["a"].choices)
        counts[choice.id] += 1
        assert dice.uses == uses
    assert 430 < counts["one"] < 570
    assert cast(thrown(5), made.nodes["a"].choices)[1] == drawn(thrown(5))[1]


@pytest.mark.parametrize(("fields", "expected"), [
    ({}, "narrator"), ({"default_pov": "mara"}, "mara"), ({"metadata": {"default_pov": " ivo "}}, "ivo"),
    ({"default_pov": "mara", "metadata": {"default_pov": "ivo"}}, "mara"),
    ({"metadata": {"default_pov": 7}}, "narrator"), ({"metadata": {"default_pov": "  "}}, "narrator"),
])
def test_the_point_of_view_when_nobody_names_one(fields: dict[str, Any], expected: str) -> None:
    assert scene({"id": "a"}, **fields).default_pov == expected


def test_a_node_does_not_remember_every_view_that_ever_asked() -> None:
    node = scene({"id": "a", "choices": [{"target": "a"}]}).nodes["a"]
    for number in range(VIEWS_REMEMBERED * 3):
        assert len(node.seen_by(f"view {number}")) == 1
    assert len(node._seen) <= VIEWS_REMEMBERED
