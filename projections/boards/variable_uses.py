"""Where variables are read and set across a project, and what is odd about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import Field

from domain.story import scene as scenes
from domain.story.scene_events import NODE_FIELD
from domain.story.scene_rules import address
from domain.story.timeline import alternatives_of
from domain.story.variables import clashes
from domain.tables import Reader
from projections.boards.documents import Reach, lineage
from projections.boards.story import TIMELINE, entries_of, every
from projections.boards.variables import SCOPES, declarations, global_values
from projections.reading import BranchPageQuery, BranchQuery, View, bad_cursor, decode_cursor, encode_cursor

SHOWN: Final = 200
"""Most places of one variable, and most warnings, that are told at once."""


class ListVariableUses(BranchPageQuery):
    """Where variables are read and set, across scenes and timelines."""

    q: str = Field(default="", max_length=200, description="Only those whose name holds this text.")


class CheckVariables(BranchQuery):
    """Names that mean two things, and variables that nothing reads."""


def list_uses(reader: Reader, query: ListVariableUses) -> dict[str, Any]:
    """A page of ``{"name", "declared", "read", "set", "begun", "reads", "sets"}``: places, and how many there are.

    ``begun`` are scenes that set it when they begin. Places are as in a scene: ``nodes/gate/choices/stay``.
    """
    after = decode_cursor(query.cursor, 1) or [""]
    if not isinstance(after[0], str):
        raise bad_cursor()
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    used = _used(reader, chain, query.project)
    scopes: dict[str, list[str]] = {}
    for one in declarations(reader, chain, query.project).values():
        scopes.setdefault(one["name"], []).append(one["scope"])
    wanted = query.q.casefold()
    names = [name for name in sorted({*used, *scopes}) if name > after[0] and wanted in name.casefold()]
    shown = names[: query.limit]
    nowhere: dict[str, list[Any]] = {"read": [], "set": [], "begun": []}
    return {
        "items": [
            {
                "name": name, "declared": sorted(scopes.get(name, [])),
                **{how: places[:SHOWN] for how, places in used.get(name, nowhere).items()},
                "reads": len(used.get(name, nowhere)["read"]), "sets": len(used.get(name, nowhere)["set"]),
            }
            for name in shown
        ],
        "next": encode_cursor([shown[-1]]) if len(names) > len(shown) else None,
    }


def _used(reader: Reader, chain: Sequence[Reach], project: str) -> dict[str, dict[str, list[Any]]]:
    used: dict[str, dict[str, list[Any]]] = {}

    def note(name: str, how: str, where: Mapping[str, str]) -> None:
        used.setdefault(name, {"read": [], "set": [], "begun": []})[how].append(where)

    for id_, fields in every(reader, chain, project, scenes.CATEGORY).items():
        for name in fields.get("variables") or {}:
            note(name, "begun", {"scene": id_})
        for path, value in sorted(fields.items()):
            if path.startswith(NODE_FIELD):
                for how, name, where in uses(value["node"]):
                    note(name, how, {"scene": id_, "path": where})
    for id_, fields in every(reader, chain, project, TIMELINE).items():
        for entry in entries_of(fields):
            parts = [entry, *(alternatives_of(entry) if "alternatives" in entry else ())]
            for condition in (one for part in parts for one in part.get("conditions", ())):
                note(condition["key"], "read", {"timeline": id_, "path": f"entries/{entry['id']}"})
    return used


def uses(node: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """``(read or set, name, where)`` of everything that a node does with variables."""
    place = f"nodes/{node['id']}"
    for action in node.get("actions", ()):
        yield "set", action["key"], place
    for choice in node.get("choices", ()):
        where = f"{place}/choices/{address(choice)}"
        for condition in choice.get("conditions", ()):
            yield "read", condition["key"], where
        for action in choice.get("actions", ()):
            yield "set", action["key"], where


def check_variables(reader: Reader, query: CheckVariables) -> dict[str, Any]:
    """``{"warnings": [{"path", "message", "code"}], "count", "worldline"}``."""
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    declared = declarations(reader, chain, query.project)
    names: dict[str, set[str]] = {scope: set() for scope in SCOPES}
    for one in declared.values():
        names[one["scope"]].add(one["name"])
    names["global"] |= global_values(reader, chain, query.project).keys()
    used = _used(reader, chain, query.project)
    names["scene"] |= {name for name, places in used.items() if places["begun"]}
    warnings = [*clashes(names), *_unused(declared.values(), used)]
    return {"warnings": warnings[:SHOWN], "count": len(warnings), "worldline": query.worldline}


def _unused(declared: Iterable[Mapping[str, Any]], used: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Variables of which nothing is read, nor of anything inside them or around them."""
    read = {name for name, places in used.items() if places["read"]}
    for one in sorted(declared, key=lambda one: (one["name"], one["scope"])):
        name = one["name"]
        if not any(_touches(name, other) for other in read):
            yield {"path": name, "message": f"Nothing reads the {one['scope']} variable {name}.", "code": "never_read"}


def _touches(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


PROJECTIONS = ()

_READS: Final = ("documents", "worldlines")
_SCOPE: Final = "variables:read"

VIEWS = (
    View("ListVariableUses", "/api/variables", ListVariableUses, list_uses, _READS, _SCOPE),
    View("CheckVariables", "/api/variables/check", CheckVariables, check_variables, _READS, _SCOPE),
)
