"""From fields to events of a scene, for what sets fields without knowing the document (a merge)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import to_json

from domain.bounded_json import json_size, same_json
from domain.context import Fields
from domain.errors import Invalid, Remedy
from domain.story.places import LONGEST
from domain.story.scene_events import (
    HEADER,
    NODE_FIELD,
    NodeMoved,
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
from domain.story.scene_model import NODES_LIMIT, SceneDocument
from domain.story.scene_rules import SHOWN, Problem, graph_problems, schema_problems
from domain.story.scene_states import Deleted, Unwritten, Written, document_of

BATCH_BYTES: Final = 400 * 1024
"""Bytes of nodes that one event carries before the next begins."""

SUMMARY: Final = "summary"

PLACE_LIMIT: Final = 2**53
"""Integers of a place lie between this and its negative."""


def write(id_: str, state: Unwritten | Written | Deleted, fields: Fields) -> Sequence[SceneEvent]:
    """``Context.write`` of scenes: see there. Places of nodes are taken as they are given."""
    before = _held(state, id_)
    wanted = {path: value for path, value in fields.items() if path != SUMMARY}
    alive = fields[SUMMARY] is not None if SUMMARY in fields else not isinstance(state, Deleted)
    after = _after(before, wanted)
    header = before.header.model_dump()
    changed = tuple(name for name in HEADER if not same_json(header[name], getattr(after.header, name)))
    written = [one for one in after.nodes.values() if not same_node(one, before.nodes.get(one.id))]
    removed = tuple(name for name in before.nodes if name not in after.nodes)
    differs = bool(changed or written or removed)
    if isinstance(state, Unwritten) and not differs:
        return []
    if differs:
        _must_hold(after, written)
    events: list[SceneEvent] = []
    if isinstance(state, Unwritten):
        events += _created(after)
    else:
        if isinstance(state, Deleted) and (alive or differs):
            events.append(SceneRestored(scene_id=id_, summary=summed(id_, before.header, len(before.nodes))))
        events += _nodes_written(before, after, sorted(written, key=lambda one: (one.place, one.id)), removed)
        if changed:
            events.append(SceneEdited(
                scene_id=id_, changed=changed, summary=summed(id_, after.header, len(after.nodes)),
                header=SceneHeader(**{name: getattr(after.header, name) for name in changed}),
            ))
    if not alive and (events or isinstance(state, Written)):
        events.append(SceneDeleted(scene_id=id_))
    return events


def _held(state: Unwritten | Written | Deleted, id_: str) -> Written:
    match state:
        case Written():
            return state
        case Deleted():
            return state.scene
        case Unwritten():
            return Written(scene_id=id_, header=SceneHeader(), nodes={})


def _after(before: Written, wanted: Mapping[str, Any]) -> Written:
    """The scene once these fields have these values; raises ``Invalid`` for fields that a scene does not have."""
    wrong: list[Problem] = []
    nodes = dict(before.nodes)
    header: dict[str, Any] = {}
    for path, value in wanted.items():
        name = path.removeprefix(NODE_FIELD)
        if path in HEADER:
            header[path] = value
        elif name == path:
            wrong.append(Problem(path[:400], "A scene has no such field.", "unknown_field"))
        elif value is None:
            nodes.pop(name, None)
        elif (message := _misplaced(name, value)) is not None:
            wrong.append(Problem(path[:400], message, "wrong_node"))
        else:
            nodes[name] = PlacedNode(place=tuple(value["place"]), node=value["node"])
    if not wrong and header:
        try:
            SceneHeader.model_validate({**before.header.model_dump(), **header}, strict=True)
        except ValidationError as error:
            wrong += schema_problems(error)
    if wrong:
        raise _invalid(wrong)
    return Written(scene_id=before.scene_id, header=before.header.model_copy(update=header), nodes=nodes)


def _misplaced(name: str, value: Any) -> str | None:
    if not isinstance(value, Mapping) or set(value) != {"node", "place"} or not isinstance(value["node"], Mapping):
        return "It needs a `node` and its `place`."
    place = value["place"]
    if not isinstance(place, list | tuple) or not 1 <= len(place) <= 2 * LONGEST or not all(
        type(one) is int and abs(one) < PLACE_LIMIT for one in place
    ):
        return "Its place is a short list of integers."
    return None if value["node"].get("id") == name else "Its id and its field differ."


def _must_hold(scene: Written, written: Sequence[PlacedNode]) -> None:
    """Raises ``Invalid`` where the scene would not be valid. Nodes that stay as they are have been judged before."""
    document = document_of(scene)
    judged = [one.node for one in written] or document["nodes"][:1]
    try:
        SceneDocument.model_validate_json(to_json({**document, "nodes": judged}), strict=True)
    except ValidationError as error:
        raise _invalid(schema_problems(error)) from error
    problems = graph_problems(document)
    if len(scene.nodes) > NODES_LIMIT:
        problems.append(Problem("nodes", f"A scene has at most {NODES_LIMIT} nodes.", "too_large"))
    if problems:
        raise _invalid(problems)


def _invalid(problems: Sequence[Problem]) -> Invalid:
    first, more = problems[0], len(problems) - 1
    return Invalid(
        (f"{first.path}: {first.message}" if first.path else first.message) + (f" ({more} more)" if more else ""),
        error="invalid_scene",
        remediation=[Remedy("Mend what `detail.errors` names.", "fix_fields")],
        detail={"errors": [one.shown() for one in problems[:SHOWN]]},
    )


# --- events -------------------------------------------------------------------------------------------------------


def _created(scene: Written) -> list[SceneEvent]:
    first, *rest = batches(sorted(scene.nodes.values(), key=lambda one: (one.place, one.id)))
    known = len(first)
    events: list[SceneEvent] = [SceneCreated(
        scene_id=scene.scene_id, header=scene.header, nodes=tuple(first),
        summary=summed(scene.scene_id, scene.header, known),
    )]
    for portion in rest:
        known += len(portion)
        events.append(NodesWritten(
            scene_id=scene.scene_id, written=tuple(portion), removed=(),
            summary=summed(scene.scene_id, scene.header, known),
        ))
    return events


def _nodes_written(
    before: Written, after: Written, written: list[PlacedNode], removed: tuple[str, ...]
) -> list[SceneEvent]:
    """One event for each portion; removals go with the last, when nothing points to them any more."""
    if not written and not removed:
        return []
    if len(written) == 1 and not removed:
        known = before.nodes.get(written[0].id)
        if known is not None and same_json(known.node, written[0].node):
            return [NodeMoved(scene_id=before.scene_id, node=written[0])]
    portions = list(batches(written)) or [[]]
    present = set(before.nodes)
    events: list[SceneEvent] = []
    for number, portion in enumerate(portions, start=1):
        present |= {one.id for one in portion}
        gone = removed if number == len(portions) else ()
        events.append(NodesWritten(
            scene_id=before.scene_id, written=tuple(portion), removed=gone,
            summary=summed(before.scene_id, before.header, len(present) - len(gone)),
        ))
    return events


def summed(scene_id: str, header: SceneHeader, nodes: int) -> Summary:
    """What lists show: the title, or the id of a scene without one."""
    return Summary(title=header.title or scene_id, nodes=nodes)


def same_node(one: PlacedNode, other: PlacedNode | None) -> bool:
    """Whether a node says the same and stands at the same place."""
    return other is not None and one.place == other.place and same_json(one.node, other.node)


def batches(nodes: Iterable[PlacedNode]) -> Iterator[list[PlacedNode]]:
    """Nodes in portions that fit into one event each."""
    portion: list[PlacedNode] = []
    size = 0
    for one in nodes:
        more = json_size(one.node)
        if portion and size + more > BATCH_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(one)
        size += more
    if portion:
        yield portion
