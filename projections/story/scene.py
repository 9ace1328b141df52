"""Scenes as people read them: lists, whole documents, and single nodes, at any position on any worldline."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from domain.errors import NotFound, Remedy
from domain.ids import Token
from domain.story.scene import CATEGORY
from domain.story.scene_events import NODE_FIELD
from domain.story.scene_rules import SHOWN, judge, warnings
from domain.story.scene_states import document_from
from domain.tables import Reader, Row
from projections.boards.documents import Document, Reach, document, lineage, listing, standing
from projections.reading import BranchPageQuery, BranchQuery, View

PROJECTIONS = ()


class ListScenes(BranchPageQuery):
    """The scenes of a worldline by id, as of a position."""

    q: str = Field(default="", max_length=300, description="Only scenes whose title or id holds this text.")
    deleted: bool = Field(default=False, description="Only deleted scenes, which can be restored.")


class ShowScene(BranchQuery):
    """One scene: its document, with its version, where it stands, and what is odd about it."""

    scene_id: Token
    bare: bool = Field(default=False, description="Only the document, as `PUT` takes it.")


class ShowNode(BranchQuery):
    """One node of a scene."""

    scene_id: Token
    node_id: str = Field(min_length=1, max_length=128)


class CheckScene(BranchQuery):
    """Whether a scene is valid, and what is odd about it: unreachable nodes, dead ends, choices never offered."""

    scene_id: Token


def list_scenes(reader: Reader, query: ListScenes) -> dict[str, Any]:
    """A page of ``{"id", "title", "nodes", "version", "position", "worldline"}``."""
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    wanted = query.q.casefold()

    def keep(row: Row) -> bool:
        if query.deleted or row["value"] is None:
            return query.deleted and row["value"] is None and wanted in row["id"].casefold()
        return wanted in row["value"]["title"].casefold() or wanted in row["id"].casefold()

    return listing(
        reader, chain, query.project, CATEGORY, field="summary", limit=query.limit, cursor=query.cursor,
        shape=_listed, keep=keep,
    )


def _listed(row: Row) -> dict[str, Any]:
    summary = row["value"] or {"title": None, "nodes": None}
    return {
        "id": row["id"], "title": summary["title"], "nodes": summary["nodes"], "version": row["version"],
        "position": row["valid_from"], "worldline": row["worldline"],
    }


def show_scene(reader: Reader, query: ShowScene) -> dict[str, Any]:
    """The document, and besides it ``version``, ``position``, ``worldline``, ``inherited`` and ``warnings``."""
    found = _found(reader, query, query.scene_id)
    scene = document_from(query.scene_id, found.fields)
    if query.bare:
        return scene
    return {
        **scene, **standing(found, query.worldline),
        "warnings": [one.shown() for one in warnings(scene)[:SHOWN]],
    }


def show_node(reader: Reader, query: ShowNode) -> dict[str, Any]:
    """``{"node", "scene_id", "version", …}``; raises ``NotFound``."""
    found = _found(reader, query, query.scene_id)
    stored = found.fields.get(NODE_FIELD + query.node_id)
    if stored is None:
        raise NotFound(
            f"Scene {query.scene_id} has no node {query.node_id!r} there and then.",
            error="unknown_node",
            remediation=[Remedy("Look at the scene for the ids of its nodes.", "show_scene")],
            detail={"scene": query.scene_id, "node": query.node_id},
        )
    return {"scene_id": query.scene_id, "node": stored["node"], **standing(found, query.worldline)}


def check_scene(reader: Reader, query: CheckScene) -> dict[str, Any]:
    """``{"id", "valid", "errors", "warnings", …}``."""
    found = _found(reader, query, query.scene_id)
    verdict = judge(document_from(query.scene_id, found.fields))
    return {"id": query.scene_id, **verdict, **standing(found, query.worldline)}


def _found(reader: Reader, query: BranchQuery, scene_id: str) -> Document:
    chain: list[Reach] = lineage(reader, query.project, query.worldline, query.as_of)
    found = document(reader, chain, query.project, CATEGORY, scene_id)
    detail = {"scene": scene_id, "worldline": query.worldline, "as_of": query.as_of}
    if found is None:
        raise NotFound(
            f"There is no scene {scene_id} on worldline {query.worldline}"
            + (f" at position {query.as_of}." if query.as_of else "."),
            error="unknown_scene",
            remediation=[Remedy("List the scenes of the worldline.", "list_scenes")],
            detail=detail,
        )
    if "summary" not in found.fields:
        raise NotFound(
            f"Scene {scene_id} was deleted.",
            error="scene_deleted",
            remediation=[
                Remedy("Restore it: nothing of it is lost.", "restore_scene"),
                Remedy("Look at it `as_of` an earlier position.", "look_back"),
            ],
            detail=detail | {"deleted_at": found.position},
        )
    return found


_SCENE = "/api/scenes/{scene_id}"
_READS = ("documents", "worldlines")

VIEWS = (
    View("ListScenes", "/api/scenes", ListScenes, list_scenes, _READS, "scene:read"),
    View("ShowScene", _SCENE, ShowScene, show_scene, _READS, "scene:read"),
    View("ShowNode", f"{_SCENE}/nodes/{{node_id}}", ShowNode, show_node, _READS, "scene:read"),
    View("CheckScene", f"{_SCENE}/check", CheckScene, check_scene, _READS, "scene:read"),
)
