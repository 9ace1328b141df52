"""Asking for a scene made from a template: the pattern filled with parameters, created like any other scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_core import to_json

from commands.declaration import Command
from commands.envelope import Asked
from commands.story import scene_documents
from commands.story.authored_refusals import opened
from commands.story.scene_documents import CreateScene
from domain.bounded_json import BoundedJson
from domain.ids import Token
from domain.ports import Stream
from domain.story.authored import Key, State, Unwritten, document_from
from domain.story.authored_writing import invalid
from domain.story.scene import evolve
from domain.story.scene_events import SceneEvent
from domain.story.scene_model import Title
from domain.story.scene_rules import schema_problems
from domain.story.scene_states import Deleted, Written, document_of
from domain.story.scene_states import Unwritten as NoScene
from domain.story.template import CATEGORY, PARAMETERS_LIMIT, TEMPLATE
from domain.story.template_filling import Parameter, Unfillable, filled, values_of
from domain.story.template_library import LIBRARY
from domain.values import Json


class CreateSceneFromTemplate(Command):
    """Write down a scene that a template makes of these parameters; `title` goes before the pattern's."""

    template_id: Token
    id: Token | None = None
    title: Title | None = None
    parameters: Annotated[dict[Key, BoundedJson], Field(max_length=PARAMETERS_LIMIT)] = {}


def templates(command: CreateSceneFromTemplate, asked: Asked) -> list[Stream]:
    """The template, as it is on the worldline."""
    return [Stream(asked.project, asked.worldline, CATEGORY, command.template_id)]


def create(
    command: CreateSceneFromTemplate, state: NoScene | Written | Deleted, asked: Asked, others: Sequence[State]
) -> list[SceneEvent]:
    """Nothing when the very scene stands there already. Everything that is wrong is told at once."""
    assert command.id is not None, "the door gives every scene an id"
    (found,) = others
    if isinstance(found, Unwritten) and command.template_id in LIBRARY:
        template: Mapping[str, Any] = LIBRARY[command.template_id]
    else:
        template = document_from(TEMPLATE, opened(TEMPLATE, command.template_id, found).fields)
    values, wrong = values_of([Parameter.model_validate(one) for one in template["parameters"]], command.parameters)
    if wrong:
        raise invalid("parameters", wrong)
    try:
        document = filled(template["pattern"], values)
    except Unfillable as error:
        raise invalid("parameters", [{"path": "", "message": str(error), "code": "unfillable"}]) from error
    document = {**document, "id": command.id} | ({"title": command.title} if command.title else {})
    try:
        whole = CreateScene.model_validate_json(to_json(document), strict=True)
    except ValidationError as error:
        raise invalid("scene", [one.shown() for one in schema_problems(error)]) from error
    return scene_documents.create(whole, state, asked)


def told(events: Sequence[SceneEvent]) -> Mapping[str, Json]:
    """The scene that was, or would be, created, and what is probably not meant in it."""
    state: NoScene | Written | Deleted = NoScene()
    for event in events:
        state = evolve(state, event)
    if not isinstance(state, Written):
        return {}
    return {"scene": document_of(state), **scene_documents.created_warnings(events)}
