"""Variables: declared with types that are checked, set, reset, listed, and where they are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from behaviour import ASKED, given
from hypothesis import given as given_any
from hypothesis import strategies as st
from pydantic import ValidationError
from story_reading import Telling

from commands.story.scene import CreateScene
from commands.story.timeline import CreateTimeline
from commands.story.variables import DeclareVariable, EditVariable, RemoveVariable, ResetVariables, SetVariables
from commands.story.variables import declare as decide
from commands.story.worldline import ForkWorldline
from domain.errors import Invalid, NotFound, Refused
from domain.story.variables import CONTEXT, VariablesCreated, VariablesEdited, fits
from projections.boards.story import story_content, tree

GOLD = {"name": "party.gold", "scope": "global", "type": "integer", "default": 3}


def said(clashes: list[Any] | None = None, **counts: int) -> dict[str, Any]:
    return {"global": 0, "session": 0, "scene": 0, "values": 0, "clashes": clashes or [], **counts}


def declare(**told: Any) -> Any:
    return DeclareVariable.model_validate(told)


def set_(**values: Any) -> Any:
    return SetVariables(values={name.replace("__", "."): value for name, value in values.items()})


DECLARED = VariablesCreated(
    variables_id="project", fields={"declarations/global:party.gold": GOLD}, summary=said(**{"global": 1}))
SET = VariablesEdited(
    variables_id="project", fields={"values/party.gold": {"value": 9}}, summary=said(**{"global": 1, "values": 1}))


# --- deciding -----------------------------------------------------------------------------------------------------


def test_a_variable_is_declared_once() -> None:
    given().when(declare(**GOLD)).then(DECLARED).and_again_nothing()
    given(DECLARED).when(declare(**{**GOLD, "default": 4})).then_refused("variable_exists", Refused)
    given().when(declare(**{**GOLD, "default": "three"})).then_refused("invalid_variables", Invalid)
    for wrong in ({"name": "a..b"}, {"name": ""}, {"name": " a"}, {"scope": "planet"}, {"type": "date"},
                  {"known_to": [""]}, {"name": "n" * 191}):
        with pytest.raises(ValidationError):
            declare(**{**GOLD, **wrong})


def test_a_name_used_twice_is_told_and_not_refused() -> None:
    (event,) = given(DECLARED).when(declare(name="party.gold", scope="session"))._decide()
    assert event.summary["clashes"] == [{  # type: ignore[attr-defined]
        "path": "party.gold", "message": "party.gold is a global and a session variable.", "code": "name_used_twice"}]
    (inside,) = given(DECLARED).when(declare(name="party", scope="session"))._decide()
    assert [one["code"] for one in inside.summary["clashes"]] == [  # type: ignore[attr-defined]
        "name_inside_another"]


def test_a_value_is_of_its_type() -> None:
    given(DECLARED).when(set_(party__gold=9)).then(SET).and_again_nothing()
    given(DECLARED).when(set_(party__gold=9.0)).and_again_nothing()
    refused = given(DECLARED).when(set_(party__gold="much", other=1)).then_refused("wrong_type", Invalid)
    assert [one["path"] for one in refused.detail["errors"]] == ["values/party.gold"]
    given(DECLARED).when(set_(party__gold=True)).then_refused("wrong_type", Invalid)
    given(DECLARED).when(set_(party__gold=2.5)).then_refused("wrong_type", Invalid)


def test_what_nobody_declared_may_hold_anything() -> None:
    given().when(set_(weather=None)).then(VariablesCreated(
        variables_id="project", fields={"values/weather": {"value": None}}, summary=said(values=1))).and_again_nothing()


def test_a_reset_touches_values_alone() -> None:
    back = VariablesEdited(variables_id="project", fields={"values/party.gold": None}, summary=said(**{"global": 1}))
    given(DECLARED, SET).when(ResetVariables()).then(back).and_again_nothing()
    given(DECLARED, SET).when(ResetVariables(names=("party.gold",))).then(back)
    given(DECLARED).when(ResetVariables(names=("party.gold",))).then_nothing()
    given().when(ResetVariables()).then_nothing()
    given(DECLARED).when(ResetVariables(names=("nobody",))).then_refused("unknown_variable", NotFound)


def test_a_type_changes_only_where_the_value_still_fits() -> None:
    def edit(**told: Any) -> Any:
        return EditVariable.model_validate({"scope": "global", "name": "party.gold", **told})

    given(DECLARED, SET).when(edit(type="text")).then_refused("invalid_variables", Invalid)
    number = {**GOLD, "type": "number"}
    del number["default"]
    given(DECLARED, SET).when(edit(type="number", default=None)).then(VariablesEdited(
        variables_id="project", fields={"declarations/global:party.gold": number},
        summary=said(**{"global": 1, "values": 1}))).and_again_nothing()
    given().when(edit(type="number")).then_refused("unknown_variable", NotFound)


def test_a_removed_variable_takes_its_value_along() -> None:
    gone = RemoveVariable(scope="global", name="party.gold")
    given(DECLARED, SET).when(gone).then(VariablesEdited(
        variables_id="project", fields={"declarations/global:party.gold": None, "values/party.gold": None},
        summary=said())).and_again_nothing()
    given().when(gone).then_nothing()


@given_any(st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)))
def test_every_value_is_of_one_kind(value: Any) -> None:
    kinds = [type_ for type_ in ("boolean", "number", "text", "list", "object") if fits(type_, value)]
    assert len(kinds) == (0 if value is None else 1)
    assert fits("any", value)
    assert fits("number", value) or not fits("integer", value)


@given_any(st.dictionaries(st.sampled_from(["a", "a.b", "a.b.c", "a.d", "e"]), st.integers() | st.just({"x": 1})))
def test_the_tree_holds_every_leaf_and_changes_nothing(values: dict[str, Any]) -> None:
    before = {name: dict(value) if isinstance(value, dict) else value for name, value in values.items()}
    found = tree(values)
    assert values == before
    for name, value in values.items():
        at: Any = found
        for part in name.split("."):
            at = at[part]
        inside = any(other.startswith(f"{name}.") for other in values)
        assert at == value or inside


@given_any(st.lists(st.tuples(st.sampled_from(["global", "session"]), st.sampled_from(["a", "a.b"])), max_size=4))
def test_written_fields_say_the_same_as_commands(declared: list[tuple[str, str]]) -> None:
    state = CONTEXT.initial
    for scope, name in dict.fromkeys(declared):
        command = declare(scope=scope, name=name, type="number", default=1)
        for event in decide(command, state, ASKED):
            state = CONTEXT.evolve(state, event)
    assert CONTEXT.write is not None
    if declared:
        copy = CONTEXT.initial
        for event in CONTEXT.write("project", CONTEXT.initial, {**state.fields, "summary": {}}):
            copy = CONTEXT.evolve(copy, event)
        assert copy == state


# --- reading ------------------------------------------------------------------------------------------------------


@pytest.fixture
def telling(tmp_path: Path) -> Telling:
    told = Telling(tmp_path)
    told.ask(declare(**GOLD))
    told.ask(declare(name="party.hp", scope="session", type="number", default=10, known_to=["mara"]))
    told.ask(declare(name="mood", scope="scene", type="text", default="calm"))
    told.ask(CreateScene.model_validate({
        "id": "gate", "start": "a", "variables": {"mood": "tense", "doors": {"open": 2}}, "nodes": [
            {"id": "a", "actions": [{"type": "increment", "key": "party.gold"}], "choices": [
                {"id": "in", "target": "b", "conditions": [{"key": "party.hp", "operator": "gt", "value": 0}],
                 "actions": [{"type": "set", "key": "met", "value": True}]}]},
            {"id": "b", "end": True}]}))
    return told


def names(page: dict[str, Any]) -> list[tuple[str, str, Any]]:
    return [(one["scope"], one["name"], one.get("value")) for one in page["items"]]


def test_variables_of_all_scopes_are_listed(telling: Telling) -> None:
    assert names(telling.look("ListVars", scene="gate")) == [
        ("global", "party.gold", 3), ("scene", "doors.open", 2), ("scene", "mood", "tense"),
        ("session", "party.hp", 10)]
    telling.ask(set_(party__gold=7, weather={"wind": "north"}))
    found = telling.look("ListVars", scope="global")
    assert names(found) == [("global", "party.gold", 7), ("global", "weather.wind", "north")]
    assert found["items"][0]["declared"] is True
    assert found["items"][0]["type"] == "integer"
    assert names(telling.look("ListVars", q="HP")) == [("session", "party.hp", 10)]
    first = telling.look("ListVars", scene="gate", limit=2)
    rest = telling.look("ListVars", scene="gate", limit=50, cursor=first["next"])
    assert len(first["items"]) + len(rest["items"]) == 5
    assert rest["next"] is None


def test_one_variable_is_told_also_as_it_was_and_on_a_branch(telling: Telling) -> None:
    before = telling.head
    telling.ask(set_(party__gold=7))
    assert telling.look("GetVar", name="party.gold")["value"] == 7
    assert telling.look("GetVar", name="party")["value"] == {"gold": 7}
    assert telling.look("GetVar", name="party.gold", as_of=before)["value"] == 3
    assert telling.look("GetVar", scope="scene", scene="gate", name="doors")["value"] == {"open": 2}
    telling.ask(ForkWorldline(worldline_id="storm"))
    telling.ask(set_(party__gold=1), worldline="storm")
    assert telling.look("GetVar", name="party.gold")["value"] == 7
    assert telling.look("GetVar", name="party.gold", worldline="storm")["value"] == 1
    for wrong, error in (
        ({"name": "nothing"}, "unknown_variable"), ({"name": "x", "scope": "scene"}, "needs_scene"),
        ({"name": "x", "scope": "scene", "scene": "none"}, "unknown_scene"),
        ({"name": "x", "scope": "session", "playthrough": "none"}, "unknown_playthrough"),
    ):
        with pytest.raises((NotFound, Invalid)) as caught:
            telling.look("GetVar", **wrong)
        assert caught.value.code == error


def test_a_story_begins_with_values_and_defaults(telling: Telling) -> None:
    telling.ask(set_(party__gold=7, weather="wind"))
    telling.count()
    with telling.models.reader() as reader:
        content = story_content(reader, "demo")
    assert content["variables"] == {"party": {"gold": 7, "hp": 10}, "weather": "wind"}
    assert content["declarations"]["party.hp"]["known_to"] == ["mara"]


def test_where_variables_are_used_is_told(telling: Telling) -> None:
    telling.ask(CreateTimeline.model_validate({"id": "main", "entries": [
        {"scene": "gate", "conditions": [{"key": "weather", "operator": "exists"}]}]}))
    found = {one["name"]: one for one in telling.look("ListVariableUses")["items"]}
    assert list(found) == ["doors", "met", "mood", "party.gold", "party.hp", "weather"]
    assert found["party.gold"]["set"] == [{"scene": "gate", "path": "nodes/a"}]
    assert found["party.hp"]["read"] == [{"scene": "gate", "path": "nodes/a/choices/in"}]
    assert found["weather"]["read"] == [{"timeline": "main", "path": "entries/gate"}]
    assert found["mood"]["begun"] == [{"scene": "gate"}]
    assert found["mood"]["declared"] == ["scene"]
    first = telling.look("ListVariableUses", limit=4)
    assert len(telling.look("ListVariableUses", cursor=first["next"])["items"]) == 2


def test_odd_variables_are_told(telling: Telling) -> None:
    telling.ask(declare(name="mood", scope="session"))
    found = telling.look("CheckVariables")["warnings"]
    assert ("mood", "name_used_twice") in [(one["path"], one["code"]) for one in found]
    assert [one["path"] for one in found if one["code"] == "never_read"] == ["mood", "mood", "party.gold"]
