"""Variables of a project: which there are, of which type, what they begin with, and the values of global ones.

*global* variables belong to the project: a play begins with their current values and never changes them. *session*
variables belong to a play and begin with their defaults. *scene* variables are set anew by every scene that has them.
All of it is one document, in which every declaration and every value stands by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, islice
from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue

from domain.bounded_json import BoundedJson
from domain.story.authored import Authored, Collection, Created, Edited, Key, Removed, Restored, Wrong
from domain.story.authored_writing import written_by
from domain.story.scene_model import Path, Views
from domain.values import Event, Value

CATEGORY = "variables"

DOCUMENT: Final = "project"
"""The id of the one document that a project has."""

VARIABLES_LIMIT: Final = 10_000

NAME_LIMIT: Final = 190
"""Longest name; with its scope it is the key of an item."""

CLASHES_TOLD: Final = 20
"""Most names that mean two things that are told with a change."""

DECLARATIONS: Final = "declarations"
VALUES: Final = "values"

Scope = Literal["global", "session", "scene"]
Type = Literal["boolean", "integer", "number", "text", "list", "object", "any"]

Name = Annotated[Path, Field(max_length=NAME_LIMIT)]
"""A dot path: ``party.gold``."""

_EXPECTED: Final[Mapping[str, str]] = {
    "boolean": "true or false", "integer": "a whole number", "number": "a number", "text": "a text", "list": "a list",
    "object": "an object",
}


class Declaration(Value):
    """What a variable is. ``known_to`` names the points of view that may know of it; nobody named is everybody."""

    name: Name
    scope: Scope
    type: Type = "any"
    default: BoundedJson = None
    description: Annotated[str, Field(max_length=10_000)] | None = None
    known_to: Views | None = None


class Held(Value):
    """The current value of a global variable; it may be null."""

    value: BoundedJson


class Variables(Value):
    """The variables of a project."""

    declarations: dict[Key, Declaration] = {}
    values: dict[Key, Held] = {}


class AboutVariables(Event):
    """Which document an event is about: a project has one."""

    variables_id: str


class VariablesCreated(Created, AboutVariables):
    """A project has its first variables."""


class VariablesEdited(Edited, AboutVariables):
    """Variables were declared or changed (``declarations/<scope>:<name>``), or values were (``values/<name>``)."""


class VariablesDeleted(Removed, AboutVariables):
    """The variables are out of sight; nothing of them is lost."""


class VariablesRestored(Restored, AboutVariables):
    """Deleted variables are back as they were."""


# --- rules --------------------------------------------------------------------------------------------------------


def key_of(scope: str, name: str) -> str:
    """Under which key a declaration stands: a name may be declared once in every scope."""
    return f"{scope}:{name}"


def fits(type_: str, value: JsonValue) -> bool:
    """Whether a value is of a type. ``3.0`` is a whole number: what is added to in a play becomes one like it."""
    match type_:
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return not isinstance(value, bool) and (
                isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            )
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "text":
            return isinstance(value, str)
        case "list":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
    return True


def misfit(type_: str, value: JsonValue) -> str | None:
    """What is wrong about a value, as a sentence, if anything is."""
    return None if fits(type_, value) else f"The variable is {_EXPECTED[type_]}, and this is {_shown(value)}."


def _shown(value: JsonValue) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value[:60]!r}"
        case list():
            return "a list"
    return "an object"


def rules(document: Mapping[str, Any]) -> list[Wrong]:
    """What no single item shows: keys that are not those of their items, and values that are not of their type."""
    wrong: list[Wrong] = []
    declared = document[DECLARATIONS]
    for key, one in declared.items():
        path = f"{DECLARATIONS}/{key}"
        if key != key_of(one["scope"], one["name"]):
            wrong.append({"path": path, "message": "Its key is its scope and its name.", "code": "wrong_key"})
        elif one.get("default") is not None and (message := misfit(one.get("type", "any"), one["default"])):
            wrong.append({"path": f"{path}/default", "message": message, "code": "wrong_type"})
    for name, held in document[VALUES].items():
        declaration = declared.get(key_of("global", name))
        if declaration and (message := misfit(declaration.get("type", "any"), held["value"])):
            wrong.append({"path": f"{VALUES}/{name}", "message": message, "code": "wrong_type"})
    return wrong


def clashes(names: Mapping[str, Iterable[str]]) -> Iterator[Wrong]:
    """Names that mean two things, given the names of each scope: the same path twice, or one inside another's.

    It is allowed, since a nearer scope wins; authors rarely mean it.
    """
    known = {scope: frozenset(found) for scope, found in names.items()}
    for one, other in combinations(sorted(known), 2):
        for name in sorted(known[one] & known[other]):
            message = f"{name} is a {one} and a {other} variable."
            yield {"path": name, "message": message, "code": "name_used_twice"}
        for outer, inner in ((one, other), (other, one)):
            for name in sorted(known[inner]):
                for parent in parents_of(name):
                    if parent in known[outer]:
                        message = f"{name} is a {inner} variable, and stands inside the {outer} variable {parent}."
                        yield {"path": name, "message": message, "code": "name_inside_another"}


def parents_of(name: str) -> Iterator[str]:
    """``a.b.c`` stands inside ``a`` and ``a.b``."""
    parts = name.split(".")
    for length in range(1, len(parts)):
        yield ".".join(parts[:length])


def summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """What lists show: how many variables of each scope, how many values, and the first names that mean two things."""
    names: dict[str, list[str]] = {"global": [], "session": [], "scene": []}
    for one in (document.get(DECLARATIONS) or {}).values():
        names[one["scope"]].append(one["name"])
    return {
        **{scope: len(found) for scope, found in names.items()}, VALUES: len(document.get(VALUES) or {}),
        "clashes": list(islice(clashes(names), CLASHES_TOLD)),
    }


VARIABLES: Final = Authored(
    category=CATEGORY, name="Variables", plural="Variables", id_field="variables_id", document=Variables,
    created=VariablesCreated, edited=VariablesEdited, removed=VariablesDeleted, restored=VariablesRestored,
    collections=(
        Collection(DECLARATIONS, "declaration", limit=VARIABLES_LIMIT),
        Collection(VALUES, "value", limit=VARIABLES_LIMIT),
    ),
    summary=summary, rules=rules,
)

CONTEXT = VARIABLES.context(written_by(VARIABLES))
