"""Who could be looked through in a scene, and where each was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from pydantic import Field, JsonValue

from domain.errors import Invalid, Remedy
from domain.ids import Token
from domain.story import character
from domain.story.scene_events import NODE_FIELD
from domain.tables import Reader
from projections.boards.documents import lineage
from projections.boards.story import every
from projections.reading import BranchQuery, View
from projections.story.scene import ShowScene, show_scene

TRACED: Final = 1_000
"""Most entries of a trace."""


class Candidate(NamedTuple):
    """Somebody who could be looked through, and where the document names them."""

    id: str
    name: str
    source: str
    path: str


class FindCandidates(BranchQuery):
    """Who could be looked through in a scene: one that is brought as a document, or one of the studio by its id."""

    scene: Token | dict[str, JsonValue] | None = None
    scene_id: Token | None = None
    debug: bool = Field(default=False, description="Add a trace of everything that was looked at, and the filters.")


def find_candidates(reader: Reader, query: FindCandidates) -> dict[str, Any]:
    """``{"candidates": [{"id", "name", "source"}]}``: the first of an id wins."""
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    document: Mapping[str, Any]
    if isinstance(query.scene, dict):
        document = query.scene
    elif (name := query.scene or query.scene_id) is not None:
        document = show_scene(reader, ShowScene(
            project=query.project, worldline=query.worldline, as_of=query.as_of, scene_id=name, bare=True,
        ))
    else:
        raise Invalid(
            "Candidates are looked for in a scene, and none was named.", error="scene_missing",
            remediation=[Remedy("Bring a `scene`, or name one by `scene_id`.", "name_scene")],
        )
    found: dict[str, Candidate] = {}
    trace: list[dict[str, Any]] = []
    for one in named(document):
        taken = one.id not in found
        if taken:
            found[one.id] = one
        if query.debug and len(trace) < TRACED:
            trace.append({"path": one.path, "id": one.id, "source": one.source, "taken": taken})
    names = _names(reader, chain, query.project, found)
    told: dict[str, Any] = {"candidates": [
        {"id": one.id, "name": one.name or names.get(one.id, one.id), "source": one.source} for one in found.values()
    ]}
    if query.debug:
        told["trace"] = trace
        told["filters"] = {
            "sources": ["cast", "node.meta", "node"], "distinct": "id", "first_wins": True, "blank": "left out",
            "scene": document.get("id"), "worldline": query.worldline, "as_of": query.as_of or None,
        }
    return told


def _names(reader: Reader, chain: list[Any], project: str, found: Mapping[str, Candidate]) -> dict[str, str]:
    nameless = {one.id for one in found.values() if not one.name}
    known = every(reader, chain, project, character.CATEGORY, nameless) if nameless else {}
    return {id_: fields["name"] for id_, fields in known.items() if isinstance(fields.get("name"), str)}


def named(document: Mapping[str, Any]) -> Iterator[Candidate]:
    """Everybody whom a scene document names, in order, as often as it does. Whatever does not fit is passed over."""
    casts = (("cast", document.get("cast")), ("metadata/cast", _object(document.get("metadata")).get("cast")))
    for where, cast in casts:
        for index, one in enumerate(cast if isinstance(cast, list) else ()):
            told = one if isinstance(one, Mapping) else {"id": one}
            if id_ := _text(told.get("id")):
                yield Candidate(id_, _text(told.get("name")), "cast", f"{where}/{index}")
    nodes = document.get("nodes")
    listed = nodes.values() if isinstance(nodes, Mapping) else nodes if isinstance(nodes, list) else ()
    for index, node in enumerate(listed):
        if isinstance(node, Mapping):
            yield from _of_node(node, f"{NODE_FIELD}{index}")


def _of_node(node: Mapping[str, Any], path: str) -> Iterator[Candidate]:
    for part in ("metadata", "data"):
        told = _object(node.get(part))
        for name in ("pov", "speaker_id"):
            if id_ := _text(told.get(name)):
                shown = _text(node.get("speaker")) if name == "speaker_id" else ""
                yield Candidate(id_, shown, "node.meta", f"{path}/{part}/{name}")
    for name in ("pov", "speaker"):
        if id_ := _text(node.get(name)):
            yield Candidate(id_, "", "node", f"{path}/{name}")


def _object(told: Any) -> Mapping[str, Any]:
    return told if isinstance(told, Mapping) else {}


def _text(told: Any) -> str:
    return told.strip()[:200] if isinstance(told, str) else ""


PROJECTIONS = ()

VIEWS = ()

POSED = (
    View("FindCandidates", "/api/pov/candidates", FindCandidates, find_candidates, ("documents", "worldlines"),
         "pov:read"),
)
"""Questions that are too large for an address: asked with a JSON body."""
