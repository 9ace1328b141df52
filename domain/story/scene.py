"""Scenes: what each event makes of one, and which fields of its document it sets.

The events themselves are in ``scene_events.py``, the situations in ``scene_states.py``; ``scene_writing.py`` leads the
other way, from fields to events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

from domain.context import Context, Fields, Layout
from domain.story.scene_events import (
    HEADER,
    NODE_FIELD,
    NodeAdded,
    NodeEdited,
    NodeMoved,
    NodeRemoved,
    NodesWritten,
    PlacedNode,
    SceneCreated,
    SceneDeleted,
    SceneEdited,
    SceneEvent,
    SceneHeader,
    SceneRestored,
    Summary,
)
from domain.story.scene_references import references
from domain.story.scene_states import Deleted, SceneState, Unwritten, Written
from domain.story.scene_writing import write

CATEGORY = "scene"


def evolve(state: Unwritten | Written | Deleted, event: SceneEvent) -> Unwritten | Written | Deleted:
    """What an event makes of a scene."""
    match event:
        case SceneCreated():
            return Written(scene_id=event.scene_id, header=event.header, nodes={one.id: one for one in event.nodes})
        case SceneRestored():
            assert isinstance(state, Deleted), "a scene is deleted before it is restored"
            return state.scene
    assert isinstance(state, Written), "a scene is written before it changes"
    match event:
        case SceneEdited():
            after = {name: getattr(event.header, name) for name in event.changed}
            return state.model_copy(update={"header": state.header.model_copy(update=after)})
        case NodeAdded() | NodeEdited() | NodeMoved():
            return _with(state, (event.node,), ())
        case NodeRemoved():
            return _with(state, (), (event.node_id,))
        case NodesWritten():
            return _with(state, event.written, event.removed)
        case SceneDeleted():
            return Deleted(scene=state)
        case _:
            assert_never(event)


def _with(scene: Written, written: Iterable[PlacedNode], removed: Iterable[str]) -> Written:
    nodes = dict(scene.nodes)
    for id_ in removed:
        nodes.pop(id_, None)
    nodes.update((one.id, one) for one in written)
    return scene.model_copy(update={"nodes": nodes})


def fields(event: SceneEvent) -> Fields:
    """What an event sets: ``summary``, the fields of the header, and ``nodes/<id>`` as ``{"node", "place"}``."""
    match event:
        case SceneCreated():
            return {"summary": _json(event.summary), **_header(event.header, HEADER), **_nodes(event.nodes)}
        case SceneEdited():
            return {"summary": _json(event.summary), **_header(event.header, event.changed)}
        case NodeAdded():
            return {"summary": _json(event.summary), **_nodes((event.node,))}
        case NodeEdited() | NodeMoved():
            return _nodes((event.node,))
        case NodeRemoved():
            return {"summary": _json(event.summary), NODE_FIELD + event.node_id: None}
        case NodesWritten():
            gone: dict[str, Any] = {NODE_FIELD + id_: None for id_ in event.removed}
            return {"summary": _json(event.summary), **gone, **_nodes(event.written)}
        case SceneDeleted():
            return {"summary": None}
        case SceneRestored():
            return {"summary": _json(event.summary)}
        case _:
            assert_never(event)


def _json(summary: Summary) -> dict[str, Any]:
    return {"title": summary.title, "nodes": summary.nodes}


def _header(header: SceneHeader, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(header, name) for name in names}


def _nodes(nodes: Iterable[PlacedNode]) -> dict[str, Any]:
    return {NODE_FIELD + one.id: {"node": one.node, "place": list(one.place)} for one in nodes}


CONTEXT = Context(
    category=CATEGORY,
    branches=True,
    events=(
        SceneCreated, SceneEdited, NodeAdded, NodeEdited, NodeMoved, NodeRemoved, NodesWritten, SceneDeleted,
        SceneRestored,
    ),
    state=SceneState,
    initial=Unwritten(),
    evolve=evolve,
    fields=fields,
    write=write,
    layout=Layout({name: name for name in HEADER}, {"nodes": "node"}),
    references=references,
)
