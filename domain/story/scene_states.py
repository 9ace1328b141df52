"""The situations that a scene can be in, and the document that each adds up to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from domain.story.places import Place
from domain.story.scene_events import HEADER, NODE_FIELD, PlacedNode, SceneHeader
from domain.values import Value


class Unwritten(Value):
    """No such scene yet."""

    kind: Literal["unwritten"] = "unwritten"


class Written(Value):
    """A scene that can be read and edited."""

    kind: Literal["written"] = "written"
    scene_id: str
    header: SceneHeader
    nodes: dict[str, PlacedNode]


class Deleted(Value):
    """A scene that was deleted; it can be restored."""

    kind: Literal["deleted"] = "deleted"
    scene: Written


SceneState = Annotated[Unwritten | Written | Deleted, Field(discriminator="kind")]


def document_of(scene: Written) -> dict[str, Any]:
    """The scene document of a state, with exactly the fields that were given."""
    return _document(scene.scene_id, scene.header.model_dump(), [(one.place, one.node) for one in scene.nodes.values()])


def document_from(scene_id: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The scene document that fields (as ``fields`` sets them) add up to."""
    placed = [
        (tuple(value["place"]), value["node"]) for path, value in stored.items()
        if path.startswith(NODE_FIELD) and value is not None
    ]
    return _document(scene_id, stored, placed)


def _document(scene_id: str, header: Mapping[str, Any], placed: list[tuple[Place, Any]]) -> dict[str, Any]:
    known = {name: header[name] for name in HEADER if header.get(name) is not None}
    ordered = sorted(placed, key=lambda one: (one[0], one[1]["id"]))
    return {"id": scene_id, **known, "nodes": [node for _, node in ordered]}
