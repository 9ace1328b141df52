"""What conditions ask and what actions make of variables: every operator, dot paths, and nothing changed in place."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.story.variable_tree import MISSING, change, changed, found, number
from domain.story.variable_tree import test as condition_test

VARIABLES: dict[str, Any] = {
    "gold": 3, "name": "Mara", "text": "12.5", "yes": True, "none": None, "party": {"size": 2, "deep": {"x": [1]}},
}

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
TREES = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)
PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)
OPERATORS = ("eq", "neq", "gt", "gte", "lt", "lte", "in", "not_in", "exists", "not_exists")


def holds(key: str, operator: str, *value: Any) -> bool:
    condition = {"key": key, "operator": operator} | ({"value": value[0]} if value else {})
    return condition_test(condition)(VARIABLES)


@pytest.mark.parametrize(("key", "operator", "value", "expected"), [
    ("gold", "eq", 3, True), ("gold", "eq", 3.0, True), ("gold", "eq", "3", False), ("gold", "neq", 4, True),
    ("party.size", "gte", 2, True), ("party.size", "gt", 2, False), ("party.size", "lt", "2.5", True),
    ("text", "gt", 12, True), ("name", "gt", 0, False), ("yes", "gte", 1, True), ("none", "lt", 1, False),
    ("gold", "in", [1, 3], True), ("gold", "not_in", [1, 3], False), ("party.size.more", "eq", 1, False),
    ("gold", "lte", "three", False), ("party", "gt", 0, False),
])
def test_conditions(key: str, operator: str, value: Any, expected: bool) -> None:
    assert holds(key, operator, value) is expected


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_missing_key_fails_everything_but_not_exists(operator: str) -> None:
    value: tuple[Any, ...] = () if "exists" in operator else ([None],) if "in" in operator else (0,)
    assert holds("nowhere.at.all", operator, *value) is (operator == "not_exists")


def test_what_is_none_exists() -> None:
    assert holds("none", "exists")
    assert not holds("none", "not_exists")


@pytest.mark.parametrize(("value", "expected"), [
    ("1e3", 1000.0), (" 7 ", 7.0), ("+.5", 0.5), ("0x10", None), ("1_000", None), ("nan", None), ("inf", None),
    ("", None), (True, 1.0), ([], None), (None, None), ("٣", None),
])
def test_what_counts_as_a_number(value: Any, expected: float | None) -> None:
    assert number(value) == expected


def after(variables: dict[str, Any], *actions: dict[str, Any]) -> dict[str, Any]:
    return changed(variables, [change(one) for one in actions])


def test_actions() -> None:
    assert after({}, {"type": "set", "key": "a.b", "value": 1}) == {"a": {"b": 1}}
    assert after({"a": 5}, {"type": "set", "key": "a.b", "value": 1}) == {"a": {"b": 1}}
    assert repr(after({"n": 2}, {"type": "increment", "key": "n"})["n"]) == "3.0"
    assert after({"n": "many"}, {"type": "increment", "key": "n", "amount": 4}) == {"n": 4.0}
    assert after({}, {"type": "decrement", "key": "n", "value": 2.5}) == {"n": -2.5}
    assert after({"n": 1}, {"type": "increment", "key": "n", "amount": 2, "value": 9}) == {"n": 3.0}
    assert after({"a": {"b": 1, "c": 2}}, {"type": "clear", "key": "a.b"}) == {"a": {"c": 2}}
    assert after({"a": 1}, {"type": "clear", "key": "a.b.c"}) == {"a": 1}


@pytest.mark.parametrize("row", ["1", "12.", " ", "1.1", "1e1", "+1", "1 "])
def test_a_long_row_that_is_no_number_is_seen_at_once(row: str) -> None:
    # Whoever plays holds the variables: a text of megabytes must not take its length squared.
    assert number(row * 500_000 + "x") is None


def test_a_sum_too_large_stays_at_the_largest_number() -> None:
    grown = after({"n": 1.7e308}, {"type": "increment", "key": "n", "amount": 1.7e308})
    assert grown["n"] == pytest.approx(1.7976931348623157e308)


def test_without_actions_the_variables_are_the_same_object() -> None:
    variables = {"a": 1}
    assert changed(variables, []) is variables


ACTIONS = st.one_of(
    st.builds(lambda key, value: {"type": "set", "key": key, "value": value}, PATHS, JSON),
    st.builds(lambda type_, key: {"type": type_, "key": key}, st.sampled_from(["increment", "decrement"]), PATHS),
    st.builds(lambda key: {"type": "clear", "key": key}, PATHS),
)


@given(TREES, st.lists(ACTIONS, max_size=6))
def test_actions_change_nothing_in_place(variables: dict[str, Any], actions: list[dict[str, Any]]) -> None:
    before, told = copy.deepcopy(variables), copy.deepcopy(actions)
    one, other = after(variables, *actions), after(variables, *actions)
    assert variables == before
    assert actions == told
    assert repr(one) == repr(other)


@given(TREES, PATHS, JSON)
def test_what_was_set_is_found_and_what_was_cleared_is_not(variables: dict[str, Any], key: str, value: Any) -> None:
    path = key.split(".")
    there = after(variables, {"type": "set", "key": key, "value": value})
    assert repr(found(there, path)) == repr(value)
    assert found(after(there, {"type": "clear", "key": key}), path) is MISSING


@given(TREES, PATHS, st.sampled_from(OPERATORS), JSON)
def test_any_condition_on_anything_is_true_or_false(
    variables: dict[str, Any], key: str, operator: str, value: Any
) -> None:
    condition: dict[str, Any] = {"key": key, "operator": operator}
    if "in" in operator:
        condition["value"] = [value]
    elif "exists" not in operator:
        condition["value"] = value
    assert condition_test(condition)(variables) in (True, False)
