"""Templates: written, judged, and the scenes that are made of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from behaviour import given
from hypothesis import given as for_all
from hypothesis import strategies as st
from story_reading import Telling

from commands.story.scene import CreateSceneFromTemplate, DeleteScene
from commands.story.template import (
    AddTemplateParameter,
    CreateTemplate,
    DeleteTemplate,
    EditTemplate,
    EditTemplateParameter,
    MoveTemplateParameter,
    RemoveTemplateParameter,
    ReorderTemplateParameters,
    ReplaceTemplate,
    RestoreTemplate,
)
from commands.story.worldline import ForkWorldline
from domain.errors import Invalid, NotFound, Refused
from domain.story.authored import Deleted, Unwritten, Written
from domain.story.scene_rules import judge, warnings
from domain.story.template import TemplateCreated, TemplateDeleted, TemplateEdited, TemplateRestored
from domain.story.template_filling import FILLED_BYTES, Parameter, Unfillable, filled, misfit, values_of
from domain.story.template_library import LIBRARY
from services.dispatcher import Dispatcher
from services.registry import REGISTRY

NAME = {"name": "who", "type": "character", "required": True}
ODDS = {"name": "odds", "type": "number", "default": 1}
PATTERN: dict[str, Any] = {"start": "a", "nodes": [
    {"id": "a", "speaker": "{{who}}", "text": "I am {{ who }}, {{odds}} to one.",
     "choices": [{"target": "a", "weight": "{{odds}}"}]},
]}
SUMMARY: dict[str, Any] = {"title": "Boast", "tags": [], "parameters": ["who", "odds"]}
CREATED = TemplateCreated(template_id="boast", summary=SUMMARY, fields={
    "pattern": PATTERN, "title": "Boast", "parameters/odds": {"item": ODDS, "place": [65536]},
    "parameters/who": {"item": NAME, "place": [0]},
})
GONE = TemplateDeleted(template_id="boast")


def creating(**changed: Any) -> Any:
    return CreateTemplate.model_validate({
        "id": "boast", "title": "Boast", "parameters": [NAME, ODDS], "pattern": PATTERN,
    } | changed)


def about(type_: Any, **fields: Any) -> Any:
    return type_.model_validate({"template_id": "boast", **fields})


def edited(summary: dict[str, Any] | None = None, /, **fields: Any) -> TemplateEdited:
    return TemplateEdited(template_id="boast", summary=SUMMARY | (summary or {}), fields={
        name.replace("__", "/"): value for name, value in fields.items()
    })


# --- the document -------------------------------------------------------------------------------------------------


def test_a_template_is_written_replaced_deleted_and_restored() -> None:
    given().when(creating()).then(CREATED).and_again_nothing()
    given(CREATED).when(creating(title="Other")).then_refused("template_exists", Refused)
    given(CREATED).when(about(ReplaceTemplate, title="Boast", pattern=PATTERN, parameters=[ODDS, NAME])).then(
        edited({"parameters": ["odds", "who"]}, parameters__odds={"item": ODDS, "place": [-65536]}),
    ).and_again_nothing()
    given(CREATED).when(about(EditTemplate, title=None)).then(edited({"title": None}, title=None)).and_again_nothing()
    given(CREATED).when(about(DeleteTemplate)).then(GONE).and_again_nothing()
    given(CREATED, GONE).when(about(RestoreTemplate)).then(
        TemplateRestored(template_id="boast", summary=SUMMARY)).and_again_nothing()


def test_parameters_are_added_edited_moved_ordered_and_removed() -> None:
    new = {"name": "where", "default": "here"}
    given(CREATED).when(about(AddTemplateParameter, parameter=new, before="odds")).then(
        edited({"parameters": ["who", "where", "odds"]}, parameters__where={"item": new, "place": [32768]})
    ).and_again_nothing()
    given(CREATED).when(about(AddTemplateParameter, parameter={"name": "who"})).then_refused("parameter_exists")
    given(CREATED).when(about(AddTemplateParameter, parameter=new, after="when")).then_refused("unknown_parameter")
    given(CREATED).when(about(AddTemplateParameter, parameter=new, after="who", at=1)).then_refused(
        "contradicting_places", Invalid)
    given(CREATED).when(about(EditTemplateParameter, parameter_id="odds", fields={"default": 2.5})).then(
        edited(parameters__odds={"item": {**ODDS, "default": 2.5}, "place": [65536]})
    ).and_again_nothing()
    moved = {"item": ODDS, "place": [-65536]}
    given(CREATED).when(about(MoveTemplateParameter, parameter_id="odds", at=0)).then(
        edited({"parameters": ["odds", "who"]}, parameters__odds=moved)).and_again_nothing()
    given(CREATED).when(about(MoveTemplateParameter, parameter_id="odds", after="odds")).then_refused("own_neighbour")
    given(CREATED).when(about(ReorderTemplateParameters, order=["odds", "who"])).and_again_nothing()
    for order in (["odds"], ["odds", "odds", "who"], ["odds", "when"]):
        given(CREATED).when(about(ReorderTemplateParameters, order=order)).then_refused("incomplete_order", Invalid)
    given(CREATED).when(about(RemoveTemplateParameter, parameter_id="never")).then_nothing()
    given(CREATED).when(about(EditTemplateParameter, parameter_id="x", fields={})).then_refused("unknown_parameter")


def test_a_parameter_that_the_pattern_needs_stays() -> None:
    error = given(CREATED).when(about(RemoveTemplateParameter, parameter_id="odds")).then_refused("invalid_template")
    assert [one["path"] for one in error.detail["errors"]] == [
        "pattern/nodes/0/text", "pattern/nodes/0/choices/0/weight"]
    given(CREATED).when(about(EditTemplateParameter, parameter_id="odds", fields={"name": "luck"})).then_refused(
        "invalid_template", Invalid)


@pytest.mark.parametrize(("changed", "path", "code"), [
    ({"pattern": {"nodes": [{"id": "a"}]}}, "pattern", "no_scene"),
    ({"pattern": {"start": "a", "nodes": []}}, "pattern", "no_scene"),
    ({"pattern": {**PATTERN, "title": "{{nobody}}"}}, "pattern/title", "unknown_parameter"),
    ({"pattern": {**PATTERN, "variables": {"{{nobody}}": 1}}}, "pattern/variables/{{nobody}}", "unknown_parameter"),
    ({"pattern": {**PATTERN, "title": "a {{ b"}}, "pattern/title", "malformed_placeholder"),
    ({"parameters": [NAME, {**ODDS, "default": "one"}]}, "parameters/1/default", "wrong_default"),
    ({"parameters": [NAME, ODDS, {"name": "x", "type": "choice"}]}, "parameters/2/choices", "no_choices"),
    ({"parameters": [NAME, ODDS, NAME]}, "parameters/2/name", "duplicate_id"),
])
def test_a_template_that_cannot_work_is_refused(changed: dict[str, Any], path: str, code: str) -> None:
    error = given().when(creating(**changed)).then_refused(
        "invalid_parameter" if code == "duplicate_id" else "invalid_template", Invalid)
    assert {"path": path, "code": code}.items() <= error.detail["errors"][0].items()


# --- filling ------------------------------------------------------------------------------------------------------


def test_a_whole_placeholder_keeps_what_the_value_is() -> None:
    pattern = {"a": "{{n}}", "b": ["{{list}}", "{{gone}}"], "c": "{{gone}}", "d": "{{gone}}!", "{{key}}": "{{ flag }}"}
    assert filled(pattern, {"n": 1.5, "list": [1, {"x": None}], "key": "k", "flag": False}) == {
        "a": 1.5, "b": [[1, {"x": None}]], "d": "!", "k": False,
    }


def test_inside_a_text_a_value_is_text() -> None:
    values = {"n": 1.5, "flag": True, "list": ["é"], "word": "{{n}}"}
    assert filled("{{n}} {{flag}} {{list}} {{word}} {{{{n}} }}", values) == '1.5 true ["é"] {{n}} {{n}} }}'


@for_all(st.text(max_size=40))
def test_what_is_put_in_is_never_read_again(text: str) -> None:
    assert filled("<{{x}}>", {"x": text}) == f"<{text}>"
    assert filled(text.replace("{{", "{{{{"), {}) == text


def test_a_pattern_that_would_grow_without_bound_is_not_filled() -> None:
    bomb = {"nodes": ["{{x}}{{x}}" * 500] * 1000}
    with pytest.raises(Unfillable):
        filled(bomb, {"x": "y" * (FILLED_BYTES // 100)})
    with pytest.raises(Unfillable):
        filled({"{{a}}": 1, "{{b}}": 2}, {"a": "same", "b": "same"})


@pytest.mark.parametrize(("type_", "good", "bad"), [
    ("text", "x", 1), ("number", 1.5, "1"), ("number", 3, True), ("integer", 3, 3.5), ("boolean", False, 0),
    ("character", "mara", "two words"), ("asset", "art/x.png", ""), ("scene", "s-1", "a/b"), ("node", "x y", " x"),
    ("variable", "a.b", "a..b"), ("list", [1], {}), ("object", {"a": 1}, []),
])
def test_values_fit_their_type(type_: str, good: Any, bad: Any) -> None:
    parameter = Parameter.model_validate({"name": "x", "type": type_})
    assert misfit(parameter, good) is None
    assert misfit(parameter, bad)


def test_everything_wrong_about_parameters_is_told_at_once() -> None:
    parameters = [Parameter.model_validate(one) for one in (
        NAME, ODDS, {"name": "mood", "type": "choice", "choices": ["calm", 1]},
    )]
    _, wrong = values_of(parameters, {"odds": "even", "mood": 1.0, "nobody": 1})
    assert [(one["path"], one["code"]) for one in wrong] == [
        ("parameters/nobody", "unknown_parameter"), ("parameters/who", "missing_parameter"),
        ("parameters/odds", "wrong_parameter"), ("parameters/mood", "wrong_parameter"),
    ]


# --- scenes -------------------------------------------------------------------------------------------------------


TEMPLATE = Written(fields=CREATED.fields)


def making(**changed: Any) -> CreateSceneFromTemplate:
    return CreateSceneFromTemplate.model_validate({
        "template_id": "boast", "id": "s", "parameters": {"who": "mara", "odds": 3}, **changed,
    })


def test_a_scene_is_made_once() -> None:
    follow = given(others=[TEMPLATE]).when(making())
    (event,) = follow._decide()
    assert event.nodes[0].node == {
        "id": "a", "speaker": "mara", "text": "I am mara, 3 to one.", "choices": [{"target": "a", "weight": 3}],
    }
    follow.and_again_nothing()
    given(event, others=[TEMPLATE]).when(making(title="Another")).then_refused("scene_exists", Refused)


def test_a_scene_that_would_be_invalid_is_refused_with_its_paths() -> None:
    error = given(others=[TEMPLATE]).when(making(parameters={"who": "mara", "odds": -1})).then_refused("invalid_scene")
    assert error.detail["errors"][0]["path"] == "nodes/0/choices/0/weight"
    error = given(others=[TEMPLATE]).when(making(parameters={"who": 7, "x": 1})).then_refused("invalid_parameters")
    assert len(error.detail["errors"]) == 2


def test_a_template_must_be_there() -> None:
    given(others=[Unwritten()]).when(making()).then_refused("unknown_template", NotFound)
    given(others=[Deleted(fields=CREATED.fields)]).when(making()).then_refused("template_deleted", Refused)


SAMPLES = {"text": "Words.", "character": "mara", "asset": "art/x.png", "variable": "flag", "number": 2, "integer": 2}


@pytest.mark.parametrize("id_", sorted(LIBRARY))
def test_a_template_that_every_project_has_makes_a_sound_scene(id_: str) -> None:
    template = LIBRARY[id_]
    assert REGISTRY.contexts["template"].write("x", Unwritten(), {  # type: ignore[misc]
        "pattern": template["pattern"], "title": template["title"],
        **{f"parameters/{one['name']}": {"item": one, "place": [index]}
           for index, one in enumerate(template["parameters"])},
    })
    given_ = {one["name"]: SAMPLES[one["type"]] for one in template["parameters"]}
    needed = {one["name"]: given_[one["name"]] for one in template["parameters"] if "required" in one}
    for parameters in (given_, needed):
        command = CreateSceneFromTemplate(template_id=id_, id="s", parameters=parameters)
        events = given(others=[Unwritten()]).when(command)._decide()
        scene = REGISTRY.askings["CreateSceneFromTemplate"].told(events)["scene"]
        assert isinstance(scene, dict)
        assert judge(scene)["valid"]
        assert warnings(scene) == []


def test_a_scene_is_made_on_the_worldline_of_its_template(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(creating())
    telling.ask(ForkWorldline(worldline_id="dark"))
    telling.ask(about(EditTemplate, pattern={**PATTERN, "title": "In the dark"}), worldline="dark")
    for worldline, title in (("main", "s"), ("dark", "In the dark")):
        receipt = telling.ask(making(), worldline=worldline)
        assert receipt.told["scene"]["nodes"][0]["speaker"] == "mara"
        assert telling.look("ShowScene", scene_id="s", worldline=worldline).get("title", "s") == title
    telling.ask(DeleteScene(scene_id="s"))
    with pytest.raises(Refused):
        telling.ask(making())


def test_a_template_that_another_process_edited_is_used_as_it_is_now(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(creating())
    telling.ask(making(id="before"))
    other = Dispatcher(telling.log, REGISTRY)
    asyncio.run(other.ask(about(EditTemplate, pattern={**PATTERN, "title": "Newer"}), telling.asked()))
    assert telling.ask(making(id="after")).told["scene"]["title"] == "Newer"


def test_templates_are_listed_and_shown(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(creating())
    telling.ask(creating(id="hub"))
    assert [one["id"] for one in telling.look("ListTemplates")["items"]] == ["boast", "hub"]
    built_in = telling.look("ListTemplates", built_in=True)["items"]
    assert [one["id"] for one in built_in] == ["chance", "choice", "hub", "talk"]
    assert telling.look("ListTemplates", built_in=True, tag="linear", q="TAL")["items"][0]["id"] == "talk"
    assert telling.look("ShowTemplate", template_id="talk")["built_in"] is True
    mine = telling.look("ShowTemplate", template_id="hub")
    assert (mine["built_in"], mine["title"], mine["version"]) == (False, "Boast", 1)
    assert telling.look("ShowTemplate", template_id="boast", bare=True) == {
        "id": "boast", "title": "Boast", "parameters": [NAME, ODDS], "pattern": PATTERN}
    assert telling.look("ShowTemplateItem", template_id="boast", collection="parameters", key="who")["item"] == NAME
    with pytest.raises(NotFound):
        telling.look("ShowTemplate", template_id="never")
