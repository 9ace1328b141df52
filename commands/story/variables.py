"""Asking for variables: declared, changed, taken away, and the values of global ones set and reset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from commands.declaration import Asking, Command
from commands.envelope import Asked
from domain.bounded_json import BoundedJson, same_json
from domain.errors import Invalid, NotFound, Refused, Remedy
from domain.story.authored import State, held
from domain.story.authored_writing import changed
from domain.story.scene_model import Views, plain
from domain.story.variables import (
    CATEGORY,
    DECLARATIONS,
    DOCUMENT,
    VALUES,
    VARIABLES,
    Declaration,
    Name,
    Scope,
    Type,
    key_of,
    misfit,
)
from domain.values import Event, Json

AT_ONCE: Final = 1000
"""Most variables that one command sets."""

Document = Annotated[Literal["project"], Field(description="A project has one document of variables.")]


class DeclareVariable(Declaration, Command):
    """Say that there is a variable: its scope, its type, and what it begins with."""

    variables_id: Document = DOCUMENT


class EditVariable(Command):
    """Change what a variable is: only what is named changes, `null` takes it away."""

    variables_id: Document = DOCUMENT
    scope: Scope
    name: Name
    type: Type | None = None
    default: BoundedJson = None
    description: Annotated[str, Field(max_length=10_000)] | None = None
    known_to: Views | None = None


class RemoveVariable(Command):
    """Take a declaration away, and with it the value of a global variable."""

    variables_id: Document = DOCUMENT
    scope: Scope
    name: Name


class SetVariables(Command):
    """Give global variables values. One that nobody has declared may hold anything."""

    variables_id: Document = DOCUMENT
    values: dict[Name, BoundedJson] = Field(min_length=1, max_length=AT_ONCE)


class ResetVariables(Command):
    """Put global variables, all or those named, back to their defaults; those without one are gone."""

    variables_id: Document = DOCUMENT
    names: tuple[Name, ...] | None = Field(default=None, max_length=AT_ONCE)


def _path(collection: str, key: str) -> str:
    return f"{collection}/{key}"


def _declaration(state: State, scope: str, name: str) -> dict[str, Any] | None:
    found = held(state).get(_path(DECLARATIONS, key_of(scope, name)))
    return found if isinstance(found, dict) else None


def declare(command: DeclareVariable, state: State, asked: Asked) -> list[Event]:
    """Nothing when it is declared so already."""
    wanted = plain(command)
    wanted.pop("variables_id", None)
    wanted = {name: value for name, value in wanted.items() if value is not None}
    before = _declaration(state, command.scope, command.name)
    if before is not None and not same_json(before, wanted):
        raise Refused(
            f"The {command.scope} variable {command.name} is declared already, as something else.",
            error="variable_exists",
            remediation=[Remedy("Change the one that is there, or choose another name.", "edit_variable")],
            detail={"scope": command.scope, "name": command.name},
        )
    path = _path(DECLARATIONS, key_of(command.scope, command.name))
    return changed(VARIABLES, DOCUMENT, state, {path: wanted})


def edit(command: EditVariable, state: State, asked: Asked) -> list[Event]:
    """Nothing when everything named is so already. Raises ``Invalid`` when its value is not of its new type."""
    before = _found(state, command.scope, command.name)
    named = {name: value for name, value in plain(command).items() if name not in ("variables_id", "scope", "name")}
    wanted = {name: value for name, value in {**before, **named}.items() if value is not None}
    path = _path(DECLARATIONS, key_of(command.scope, command.name))
    return changed(VARIABLES, DOCUMENT, state, {path: wanted})


def _found(state: State, scope: str, name: str) -> dict[str, Any]:
    before = _declaration(state, scope, name)
    if before is None:
        raise NotFound(
            f"There is no {scope} variable {name} on this worldline.", error="unknown_variable",
            remediation=[Remedy("Declare it, or list those there are.", "list_variables")],
            detail={"scope": scope, "name": name},
        )
    return before


def remove(command: RemoveVariable, state: State, asked: Asked) -> list[Event]:
    """A variable that is gone stays so."""
    gone: dict[str, Json] = {_path(DECLARATIONS, key_of(command.scope, command.name)): None}
    if command.scope == "global":
        gone[_path(VALUES, command.name)] = None
    return _changed_if_any(state, gone)


def set_values(command: SetVariables, state: State, asked: Asked) -> list[Event]:
    """Nothing when they have these values already. Raises ``Invalid`` with every value that is not of its type."""
    wrong = []
    for name, value in command.values.items():
        declared = _declaration(state, "global", name)
        if declared is not None and (message := misfit(declared.get("type", "any"), value)):
            wrong.append({"path": f"values/{name}", "message": message, "code": "wrong_type"})
    if wrong:
        raise misfitting(wrong)
    wanted: dict[str, Any] = {_path(VALUES, name): {"value": value} for name, value in command.values.items()}
    return changed(VARIABLES, DOCUMENT, state, wanted)


def reset(command: ResetVariables, state: State, asked: Asked) -> list[Event]:
    """Nothing when they are so already. Nothing of the other scopes is touched."""
    start = VALUES + "/"
    there = [path for path in held(state) if path.startswith(start)]
    if command.names is not None:
        named = {_path(VALUES, name) for name in command.names}
        unknown = [name for name in command.names
                   if _path(VALUES, name) not in there and _declaration(state, "global", name) is None]
        if unknown:
            _found(state, "global", unknown[0])
        there = [path for path in there if path in named]
    return _changed_if_any(state, dict.fromkeys(there))


def _changed_if_any(state: State, wanted: Mapping[str, Json]) -> list[Event]:
    """A project without variables does not get a document by something being taken away."""
    known = held(state)
    gone = {path: value for path, value in wanted.items() if path in known}
    return changed(VARIABLES, DOCUMENT, state, gone) if gone else []


def misfitting(wrong: Sequence[Mapping[str, str]]) -> Invalid:
    """Values that are not of their variables' types."""
    more = f" ({len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return Invalid(
        f"{wrong[0]['path']}: {wrong[0]['message']}{more}", error="wrong_type",
        remediation=[
            Remedy("Send a value of that type.", "correct_value"),
            Remedy("Change the variable's type: PATCH /api/variables/{scope}/{name}.", "edit_variable"),
        ],
        detail={"errors": list(wrong[:200]), "count": len(wrong)},
    )


def told(events: Sequence[Any]) -> Mapping[str, Json]:
    """Declared names that mean two things at once: allowed, and rarely meant."""
    return {"warnings": events[-1].summary["clashes"]} if events else {}


def _asking(command: type[Command], decide: Any, route: str | None, **more: Any) -> Asking:
    return Asking(command, decide, id_field="variables_id", scope=f"{CATEGORY}:write", route=route, **more)


_ONE: Final = "/api/variables/{scope}/{name}"

COMMANDS = (
    _asking(DeclareVariable, declare, "POST /api/variables", told=told),
    _asking(EditVariable, edit, f"PATCH {_ONE}", told=told),
    _asking(RemoveVariable, remove, f"DELETE {_ONE}"),
    _asking(SetVariables, set_values, None),
    _asking(ResetVariables, reset, None),
)
