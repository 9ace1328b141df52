"""Variables as people read them: those of a project, of a play and of a scene in one list, and where they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import Field

from domain.errors import Invalid, NotFound, Remedy
from domain.ids import Token
from domain.story import scene as scenes
from domain.story.knowledge import concerns, known
from domain.story.variable_tree import MISSING, found
from domain.story.variables import CATEGORY, DECLARATIONS, DOCUMENT, VALUES, Name, Scope, fits, key_of
from domain.tables import Reader
from projections.boards.documents import Reach, document, lineage
from projections.boards.story import every, items, tree
from projections.reading import BranchPageQuery, BranchQuery, View, bad_cursor, decode_cursor, encode_cursor
from projections.story.playthrough import ShowPlaythrough, show_playthrough

SCOPES: Final = ("global", "scene", "session")

_EVERYTHING = Field(default=False, description="With a playthrough: also what its point of view cannot know.")


class ListVars(BranchPageQuery):
    """Variables with their values: of the project, and of a playthrough or a scene where one is named."""

    scope: Scope | None = None
    playthrough: Token | None = None
    scene: Token | None = None
    q: str = Field(default="", max_length=200, description="Only those whose name holds this text.")
    everything: bool = _EVERYTHING


class GetVar(BranchQuery):
    """One variable with its value."""

    scope: Scope = "global"
    name: Name
    playthrough: Token | None = None
    scene: Token | None = None
    everything: bool = _EVERYTHING


# --- lists --------------------------------------------------------------------------------------------------------


def list_vars(reader: Reader, query: ListVars) -> dict[str, Any]:
    """A page of ``{"scope", "name", "value"?, "type", "declared", "default"?, …}`` by scope and name."""
    after = decode_cursor(query.cursor, 2)
    if not all(isinstance(one, str) for one in after):
        raise bad_cursor()
    wanted = query.q.casefold()
    there = [one for one in _all(reader, query) if wanted in one["name"].casefold()]
    rest = [one for one in there if [one["scope"], one["name"]] > after]
    shown = rest[: query.limit]
    more = len(rest) > len(shown)
    return {
        "items": shown, "next": encode_cursor([shown[-1]["scope"], shown[-1]["name"]]) if more else None,
        "playthrough": query.playthrough, "scene": query.scene,
    }


def get_var(reader: Reader, query: GetVar) -> dict[str, Any]:
    """One item of the list, also an object of which single fields are declared; raises ``NotFound``."""
    values = _values(reader, query, query.scope)
    value = found(values.trees[query.scope], query.name.split("."))
    declared = values.declared.get(key_of(query.scope, query.name))
    if value is MISSING and declared is None:
        raise NotFound(
            f"There is no {query.scope} variable {query.name} there.", error="unknown_variable",
            remediation=[Remedy("List those there are: GET /api/vars/list.", "list_variables")],
            detail={"scope": query.scope, "name": query.name},
        )
    return _item(query.scope, query.name, value, declared)


class _Values:
    """Declarations by key, and the values of the scopes that were asked for as trees."""

    def __init__(self, declared: Mapping[str, Any]) -> None:
        self.declared = declared
        self.trees: dict[str, dict[str, Any]] = {}


def _all(reader: Reader, query: ListVars) -> Iterator[dict[str, Any]]:
    values = _values(reader, query, query.scope)
    for scope in SCOPES:
        if scope not in values.trees:
            continue
        declared = {one["name"]: one for one in values.declared.values() if one["scope"] == scope}
        told = {name: found(values.trees[scope], name.split(".")) for name in declared}
        told |= dict(leaves(values.trees[scope], frozenset(declared)))
        for name in sorted(told):
            yield _item(scope, name, told[name], declared.get(name))


def leaves(tree_: Mapping[str, Any], stop: frozenset[str], before: str = "") -> Iterator[tuple[str, Any]]:
    """Values by dot path, objects opened, without what is declared: that stands for itself."""
    for name, value in tree_.items():
        path = f"{before}{name}"
        if path in stop:
            continue
        if isinstance(value, dict) and value:
            yield from leaves(value, stop, f"{path}.")
        else:
            yield path, value


def _item(scope: str, name: str, value: Any, declared: Mapping[str, Any] | None) -> dict[str, Any]:
    told: dict[str, Any] = {"scope": scope, "name": name, "type": "any", "declared": declared is not None}
    told |= {key: one for key, one in (declared or {}).items() if key not in ("scope", "name")}
    if value is not MISSING:
        told["value"] = value
        told["fits"] = fits(told["type"], value)
    return told


def _values(reader: Reader, query: ListVars | GetVar, scope: str | None) -> _Values:
    """What there is of a scope, or of all that can be told; raises ``Invalid`` when it needs something named."""
    if query.playthrough is not None:
        return _of_play(reader, query, query.playthrough, scope)
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    values = _Values(declarations(reader, chain, query.project))
    if scope in (None, "global"):
        values.trees["global"] = tree(global_values(reader, chain, query.project))
    if scope in (None, "session"):
        values.trees["session"] = tree(_defaults(values.declared, "session"))
    if query.scene is not None and scope in (None, "scene"):
        stored = document(reader, chain, query.project, scenes.CATEGORY, query.scene)
        if stored is None or "summary" not in stored.fields:
            raise NotFound(
                f"There is no scene {query.scene} on worldline {query.worldline}.", error="unknown_scene",
                remediation=[Remedy("List the scenes of the worldline.", "list_scenes")], detail={"scene": query.scene},
            )
        values.trees["scene"] = dict(stored.fields.get("variables") or {})
    elif scope == "scene":
        raise needs_scene()
    return values


def _of_play(reader: Reader, query: ListVars | GetVar, playthrough: str, scope: str | None) -> _Values:
    asked = ShowPlaythrough(project=query.project, playthrough_id=playthrough, everything=query.everything)
    play = show_playthrough(reader, asked)
    pin = play["pin"]
    chain = lineage(reader, query.project, pin["worldline"], pin["position"])
    declared = declarations(reader, chain, query.project)
    secret = {} if query.everything else {one["name"]: one for one in declared.values() if one.get("known_to")}
    hidden = {name for name, one in secret.items() if not concerns(one["known_to"], play["pov"])}
    values = _Values({key: one for key, one in declared.items() if one["name"] not in hidden})
    stored = document(reader, chain, query.project, scenes.CATEGORY, play["scene"])
    own = (stored.fields.get("variables") or {}) if stored else {}
    if scope in (None, "global"):
        values.trees["global"] = known(tree(global_values(reader, chain, query.project)), secret, play["pov"])
    if scope in (None, "session"):
        values.trees["session"] = {name: one for name, one in play["variables"].items() if name not in own}
    if scope in (None, "scene"):
        values.trees["scene"] = {name: one for name, one in play["variables"].items() if name in own}
    return values


def needs_scene() -> Invalid:
    """Variables of a scene were asked for, and no scene."""
    return Invalid(
        "Variables of a scene belong to a scene, or to a playthrough that stands in one.", error="needs_scene",
        remediation=[
            Remedy("Name the `scene` for what it begins with.", "name_scene"),
            Remedy("Name the `playthrough` for what they are in a play.", "name_playthrough"),
        ],
    )


def declarations(reader: Reader, chain: Sequence[Reach], project: str) -> dict[str, dict[str, Any]]:
    """Declarations by key (``session:party.gold``)."""
    fields = every(reader, chain, project, CATEGORY, [DOCUMENT]).get(DOCUMENT, {})
    return items(fields, DECLARATIONS + "/")


def global_values(reader: Reader, chain: Sequence[Reach], project: str) -> dict[str, Any]:
    """Values of global variables by name: those that were set, else their defaults."""
    fields = every(reader, chain, project, CATEGORY, [DOCUMENT]).get(DOCUMENT, {})
    set_ = {name: one["value"] for name, one in items(fields, VALUES + "/").items()}
    return {**_defaults(items(fields, DECLARATIONS + "/"), "global"), **set_}


def _defaults(declared: Mapping[str, Any], scope: str) -> dict[str, Any]:
    return {one["name"]: one["default"] for one in declared.values() if one["scope"] == scope and "default" in one}


PROJECTIONS = ()

_READS: Final = ("documents", "worldlines", "playthroughs")
_SCOPE: Final = "variables:read"

VIEWS = (
    View("ListVars", "/api/vars/list", ListVars, list_vars, _READS, _SCOPE),
    View("GetVar", "/api/vars/get", GetVar, get_var, _READS, _SCOPE),
)
