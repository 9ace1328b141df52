"""Setting and resetting variables of any scope: which command that is, for the project, a play or a scene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field

from commands.declaration import Command
from commands.story.playthrough_asks import ResetPlaythroughVariables, SetPlaythroughVariables
from commands.story.scene import SetSceneVariables
from commands.story.variables import AT_ONCE, ResetVariables, SetVariables, misfitting
from domain.bounded_json import BoundedJson
from domain.errors import Invalid, NotFound, Remedy
from domain.ids import MAIN, Token
from domain.ports import Stream
from domain.story.scene import CATEGORY as SCENE
from domain.story.scene_states import Written
from domain.story.variable_tree import MISSING, change, changed, found
from domain.story.variables import Name, Scope, key_of, misfit
from domain.tables import Reader
from projections.boards.documents import lineage
from projections.boards.story import READS
from projections.boards.variables import declarations, needs_scene
from projections.reading import Query, View
from projections.story.playthrough import ShowPlaythrough, show_playthrough
from services.studio import Studio

_MISFIT: Final = "wrong_type"


class Named(Command):
    """Whose variables: the project's, those of a playthrough, or those that a scene begins with."""

    scope: Scope = "global"
    playthrough: Token | None = None
    scene: Token | None = None


class SetVars(Named):
    """Give a variable a value, or several at once."""

    name: Name | None = None
    value: BoundedJson = None
    values: Annotated[dict[Name, BoundedJson], Field(max_length=AT_ONCE)] | None = None


class ResetVars(Named):
    """Put variables of one scope back to what they begin with: all of them, or those named."""

    name: Name | None = None
    names: Annotated[tuple[Name, ...], Field(max_length=AT_ONCE)] | None = None


class Chosen(NamedTuple):
    """The command that was meant; with ``version`` it was made from what the scene was then, and holds for that."""

    command: Command
    version: int | None = None


class _Facts(Query):
    """What has to be known before a play's or a scene's variables are set."""

    worldline: str = MAIN
    playthrough: str | None = None


async def setting(studio: Studio, asked: SetVars, project: str, worldline: str) -> Chosen:
    """The command that sets what was asked for; raises ``Invalid`` and ``NotFound``."""
    values = _values(asked)
    _whose(asked)
    if asked.scope == "global":
        return Chosen(SetVariables(values=values))
    declared = await _declared(studio, asked, project, worldline)
    wrong = []
    for name, value in values.items():
        one = declared.get(key_of(asked.scope, name))
        if one is not None and (message := misfit(one.get("type", "any"), value)):
            wrong.append({"path": f"values/{name}", "message": message, "code": _MISFIT})
    if wrong:
        raise misfitting(wrong)
    if asked.playthrough is not None:
        return Chosen(SetPlaythroughVariables(playthrough_id=asked.playthrough, scope=asked.scope, set=values))
    assert asked.scene is not None
    begins, version = await _scene(studio, asked.scene, project, worldline)
    return _of_scene(asked.scene, begins, version, values)


async def resetting(studio: Studio, asked: ResetVars, project: str, worldline: str) -> Chosen:
    """The command that resets what was asked for; raises ``Invalid`` and ``NotFound``."""
    names = _names(asked)
    _whose(asked)
    if asked.scope == "global":
        return Chosen(ResetVariables(names=names))
    if asked.playthrough is not None:
        return Chosen(ResetPlaythroughVariables(playthrough_id=asked.playthrough, scope=asked.scope, names=names))
    assert asked.scene is not None
    declared = await _declared(studio, asked, project, worldline)
    begins, version = await _scene(studio, asked.scene, project, worldline)
    defaults = {
        one["name"]: one["default"] for one in declared.values()
        if one["scope"] == "scene" and "default" in one
        and (one["name"] in names if names is not None else found(begins, one["name"].split(".")) is not MISSING)
    }
    unknown = sorted(set(names or ()) - set(defaults))
    if unknown:
        raise NotFound(
            f"No scene variable {unknown[0]} is declared with a default, so there is nothing to go back to.",
            error="unknown_variable",
            remediation=[Remedy("Declare it with a default: POST /api/variables.", "declare_variable")],
            detail={"scope": "scene", "names": unknown[:200]},
        )
    return _of_scene(asked.scene, begins, version, defaults)


def _of_scene(scene: str, begins: Mapping[str, Any], version: int, values: Mapping[str, Any]) -> Chosen:
    inside = any("." in name for name in values)
    return Chosen(SetSceneVariables(scene_id=scene, set=_whole(begins, values)), version if inside else None)


def _whole(begins: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Whole top-level variables of a scene, once dot paths inside them have these values."""
    after = changed(dict(begins), [change({"type": "set", "key": name, "value": one}) for name, one in values.items()])
    return {name: after[name] for name in {path.partition(".")[0] for path in values}}


def _values(asked: SetVars) -> dict[str, Any]:
    if (asked.name is None) == (asked.values is None) or (asked.name is None and "value" in asked.model_fields_set):
        raise _contradicting("Give a `name` and its `value`, or several in `values`.")
    if asked.name is not None and "value" not in asked.model_fields_set:
        raise _contradicting("The variable needs a `value`; null is one.")
    if asked.values is not None and not asked.values:
        raise _contradicting("There is nothing to set in `values`.")
    return asked.values if asked.values is not None else {str(asked.name): asked.value}


def _names(asked: ResetVars) -> tuple[str, ...] | None:
    if asked.name is not None and asked.names is not None:
        raise _contradicting("Give one `name` or several `names`, not both.")
    return asked.names if asked.name is None else (asked.name,)


def _contradicting(message: str) -> Invalid:
    return Invalid(message, error="invalid_fields", remediation=[Remedy("Correct the body.", "fix_fields")])


def _whose(asked: Named) -> None:
    """Raises ``Invalid`` where it is not clear whose variables are meant."""
    if asked.scope == "session" and asked.playthrough is None:
        raise Invalid(
            "Session variables belong to a playthrough.", error="needs_playthrough",
            remediation=[
                Remedy("Name the `playthrough`; start one with POST /api/playthroughs.", "name_playthrough"),
                Remedy("Change what plays begin with: PATCH /api/variables/session/{name}.", "edit_variable"),
            ],
        )
    if asked.scope == "scene" and asked.playthrough is None and asked.scene is None:
        raise needs_scene()
    odd = [
        name for name, value in (("playthrough", asked.playthrough), ("scene", asked.scene)) if value is not None
        and (asked.scope == "global" or (name == "scene" and (asked.scope == "session" or asked.playthrough)))
    ]
    if odd:
        raise _contradicting(f"{asked.scope.capitalize()} variables need no `{odd[0]}` here.")


async def _declared(studio: Studio, asked: Named, project: str, worldline: str) -> dict[str, dict[str, Any]]:
    """Declarations there, and as of what a playthrough is pinned to; raises ``NotFound``."""
    view = View("DeclaredVariables", "", _Facts, _looked, (*READS, "playthroughs"), "variables:read")
    query = _Facts(project=project, worldline=worldline, playthrough=asked.playthrough)
    found_: dict[str, dict[str, Any]] = await studio.look(view, query)
    return found_


def _looked(reader: Reader, query: _Facts) -> dict[str, dict[str, Any]]:
    line, upto = query.worldline, 0
    if query.playthrough is not None:
        asked = ShowPlaythrough(project=query.project, playthrough_id=query.playthrough)
        pin = show_playthrough(reader, asked)["pin"]
        line, upto = pin["worldline"], pin["position"]
    return declarations(reader, lineage(reader, query.project, line, upto), query.project)


async def _scene(studio: Studio, scene: str, project: str, worldline: str) -> tuple[dict[str, Any], int]:
    """What a scene begins with, and its version. What is not there begins with nothing; its command says so."""
    found_ = await studio.dispatcher.aggregates.load(Stream(project, worldline, SCENE, scene))
    state = found_.state
    return (dict(state.header.variables or {}) if isinstance(state, Written) else {}), found_.version
