"""The small language of presets: what conditions say, what references become, and that nothing else can be said."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.studio.expressions import condition, filled, looked_up, references

KNOWN: dict[str, Any] = {
    "inputs": {"audio": "a1", "none": None, "empty": "", "number": 3, "yes": True, "no": False, "list": ["x", "y"]},
    "quality": {"level": "pro", "scale": 2.0},
}


@pytest.mark.parametrize(("text", "holds"), [
    ("inputs.audio", True), ("inputs.none", False), ("inputs.empty", False), ("inputs.nothing.at.all", False),
    ("not inputs.none", True), ("not not inputs.none", False), ("inputs.number == 3", True),
    ("inputs.number == 3.0", True), ("inputs.number == '3'", False), ("inputs.yes == 1", False),
    ("inputs.yes == true", True), ("1 in [true]", False), ("inputs.none == null", True), ("quality.scale > 1", True),
    ("quality.scale >= 2", True), ("quality.level in ['low', 'pro']", True), ("'x' in inputs.list", True),
    ("quality.level < 3", False), ("inputs.audio and quality.level == 'pro'", True),
    ("inputs.none or inputs.audio", True), ("not (inputs.none or inputs.audio)", False),
    ("inputs.no or inputs.none and inputs.audio", False), ("-1 < 0", True),
])
def test_conditions(text: str, holds: bool) -> None:
    assert condition(text).holds(KNOWN) is holds


@pytest.mark.parametrize("text", [
    "", "(", ")", "a ==", "== a", "a = b", "a and", "and a", "a b", "f(x)", "a[0]",
    "a.1 == 'y'", "a.b.", "'open", "[a", "[a b]",
    "lambda: 1", "a if b else c", "a; b", "__import__('os').system('x')", "{a}", "a ** 9", "(" * 30 + "a" + ")" * 30,
    "[" * 200, "not " * 100 + "a", "a or " * 200 + "a", "9" * 400 + ".0 > 1",
])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        condition(text)


@given(st.text(alphabet=string.ascii_letters + string.digits + " .'()[]<>=!,-_", max_size=120))
def test_any_text_is_read_or_refused_and_never_more(text: str) -> None:
    try:
        read = condition(text)
    except ValueError:
        return
    assert read.holds(KNOWN) in (True, False)
    assert read.holds({}) in (True, False)


def conditions() -> st.SearchStrategy[tuple[str, bool]]:
    leaves = st.sampled_from([
        ("inputs.yes", True), ("inputs.no", False), ("quality.scale > 1", True), ("quality.level == 'low'", False),
    ])
    return st.recursive(leaves, lambda inner: st.one_of(
        inner.map(lambda one: (f"not ({one[0]})", not one[1])),
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]}) and ({two[1][0]})", two[0][1] and two[1][1])),
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]}) or ({two[1][0]})", two[0][1] or two[1][1])),
    ), max_leaves=8)


@given(conditions())
def test_conditions_mean_what_logic_says(one: tuple[str, bool]) -> None:
    text, holds = one
    if len(text) <= 500:
        assert condition(text).holds(KNOWN) is holds


@pytest.mark.parametrize(("value", "becomes"), [
    ("{{inputs.number}}", 3), ("{{ inputs.list }}", ["x", "y"]), ("{{inputs.list.1}}", "y"), ("{{inputs.none}}", None),
    ("a{{inputs.none}}b", "ab"), ("{{inputs.number}} of {{quality.level}}", "3 of pro"), ("{{inputs.yes}}!", "true!"),
    ("{{inputs.number", "{{inputs.number"), ("{inputs.number}", "{inputs.number}"), (5, 5),
    ({"a": ["{{inputs.number}}", {"b": "{{inputs.audio}}"}]}, {"a": [3, {"b": "a1"}]}),
])
def test_references_keep_the_type_when_they_stand_alone(value: Any, becomes: Any) -> None:
    assert filled(value, KNOWN) == becomes


@given(st.text(max_size=60))
def test_what_is_put_in_is_never_read_again(said: str) -> None:
    known = {"inputs": {"prompt": said, "secret": "hidden"}}
    assert filled("{{inputs.prompt}}", known) == said
    assert filled("a {{inputs.prompt}} b", known) == f"a {said} b"
    assert filled("x{{inputs.prompt}}", {"inputs": {"prompt": "{{inputs.secret}}", "secret": "hidden"}}) == (
        "x{{inputs.secret}}"
    )


def test_names_are_told_in_order_and_looked_up_by_dots() -> None:
    assert references("{{b.c}} {{a}} {{ b.c }}") == ["b.c", "a", "b.c"]
    assert looked_up(KNOWN, "inputs.list.9") is None
    assert looked_up(KNOWN, "inputs.audio.length") is None
