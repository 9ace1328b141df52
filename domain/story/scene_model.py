"""The closed schema of a scene document: nodes, the choices that join them, conditions, actions and directives.

A field that is left away keeps its default; documents are stored as they were written, without filling defaults in.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, StrictBool, model_validator

from domain.bounded_json import BoundedJson, BoundedObject, Number
from domain.ids import Token
from domain.story.directives import Directive
from domain.texts import exact_line
from domain.values import Value

NODES_LIMIT: Final = 10_000
"""Most nodes of one scene."""

CHOICES_LIMIT: Final = 200
"""Most choices of one node."""

RULES_LIMIT: Final = 100
"""Most conditions, or actions, of one node or choice."""

DIRECTIVES_LIMIT: Final = 200
"""Most presentation directives of one node."""

TEXT_LIMIT: Final = 64_000
"""Longest text of a node in characters."""

NODE_BYTES: Final = 400 * 1024
"""Largest node as compact JSON: one event must be able to carry it."""

HEADER_BYTES: Final = 512 * 1024
"""Largest sum of everything of a scene that is not a node."""

SCENE_BYTES: Final = 32 * 2**20
"""Largest scene document as compact JSON."""

NARRATOR: Final = "narrator"
"""The point of view of a scene that names none."""


def _some(items: tuple[Any, ...]) -> tuple[Any, ...]:
    # Not by min_length: that would add "not 0" to the errors of the items themselves.
    if not items:
        raise ValueError("needs at least one item")
    return items


def _path(text: str) -> str:
    if not all(part.strip() for part in text.split(".")):
        raise ValueError("is not a dot path: a name is missing before, between or after its dots")
    return text


NodeId = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(exact_line)]
ChoiceId = NodeId
Path = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(exact_line), AfterValidator(_path)]
"""Where a variable stands: names joined by dots, ``party.gold``."""

Pov = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(exact_line)]
Title = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(exact_line)]
Text = Annotated[str, Field(max_length=TEXT_LIMIT)]
Words = Annotated[str, Field(max_length=10_000)]

Operator = Literal["eq", "neq", "gt", "gte", "lt", "lte", "in", "not_in", "exists", "not_exists"]


class Condition(Value):
    """A test of one variable. ``exists`` and ``not_exists`` take no value, ``in`` and ``not_in`` a list."""

    key: Path
    operator: Operator
    value: BoundedJson = None

    @model_validator(mode="after")
    def _value_fits(self) -> Self:
        given = "value" in self.model_fields_set
        match self.operator:
            case "exists" | "not_exists":
                if given:
                    raise ValueError(f"{self.operator} takes no value: leave `value` away")
            case "in" | "not_in":
                if not isinstance(self.value, list):
                    raise ValueError(f"{self.operator} needs `value` to be a list")
            case _:
                if not given:
                    raise ValueError(f"{self.operator} needs a `value`")
        return self


class Action(Value):
    """A change of one variable. ``increment`` and ``decrement`` use ``amount``, else ``value``, else 1."""

    type: Literal["set", "increment", "decrement", "clear"]
    key: Path
    value: BoundedJson = None
    amount: Number | None = None

    @model_validator(mode="after")
    def _value_fits(self) -> Self:
        given = self.model_fields_set
        if self.type == "set" and "value" not in given:
            raise ValueError("set needs a `value`")
        number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if self.type in ("increment", "decrement") and self.amount is None and "value" in given and not number:
            raise ValueError(f"{self.type} needs a number: give `amount`")
        return self


Conditions = Annotated[
    tuple[Condition, ...], Field(max_length=RULES_LIMIT, json_schema_extra={"minItems": 1}), AfterValidator(_some)
]
Actions = Annotated[tuple[Action, ...], Field(max_length=RULES_LIMIT)]
Views = Annotated[tuple[Pov, ...], Field(max_length=RULES_LIMIT)]


class Choice(Value):
    """A way from one node to another. Without an ``id`` it is addressed by its target.

    ``weight`` counts when a choice is drawn; 0 hides it. ``visible_to`` names the points of view that are offered it.
    """

    target: NodeId
    id: ChoiceId | None = None
    label: Words = ""
    description: Words = ""
    weight: Annotated[Number, Field(ge=0, json_schema_extra={"minimum": 0})] = 1
    conditions: Conditions = ()
    actions: Actions = ()
    visible_to: Views = ()
    metadata: BoundedObject = {}


Choices = Annotated[tuple[Choice, ...], Field(max_length=CHOICES_LIMIT)]
Directives = Annotated[tuple[Directive, ...], Field(max_length=DIRECTIVES_LIMIT)]


class Node(Value):
    """A moment of a scene. ``type`` is free text; a node without choices, or with ``end``, is where a scene ends."""

    id: NodeId
    type: Annotated[str, Field(min_length=1, max_length=100)] = "dialogue"
    text: Text = ""
    speaker: Annotated[str, Field(max_length=200)] = ""
    data: BoundedObject = {}
    actions: Actions = ()
    choices: Choices = ()
    narrator_rules: BoundedObject = {}
    directives: Directives = ()
    end: StrictBool = False


class SceneBody(Value):
    """A scene document without its id."""

    start: NodeId
    nodes: Annotated[
        tuple[Node, ...], Field(max_length=NODES_LIMIT, json_schema_extra={"minItems": 1}), AfterValidator(_some)
    ]
    title: Title | None = None
    description: Annotated[str, Field(max_length=TEXT_LIMIT)] | None = None
    variables: BoundedObject | None = None
    metadata: BoundedObject | None = None
    default_pov: Pov | None = None


class SceneDocument(SceneBody):
    """A whole scene document."""

    id: Token


def plain(value: Value) -> dict[str, Any]:
    """A value as JSON data, with exactly the fields that were given."""
    return value.model_dump(mode="json", exclude_unset=True)
