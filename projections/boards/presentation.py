"""The plan of a node, and the stage along a path, read from the studio or from what the asker brings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, JsonValue

from domain.errors import Invalid, NotFound, Remedy
from domain.ids import Token
from domain.story import character, scene
from domain.story.presentation import Characters, plan, read, staged
from domain.story.scene_events import NODE_FIELD
from domain.story.scene_model import NodeId
from domain.story.staging import EMPTY, Stage
from domain.tables import Reader, Where
from domain.values import Value
from projections.boards.documents import FIELDS, Reach, lineage
from projections.boards.story import every
from projections.reading import BranchQuery, View

PATH_LIMIT: Final = 10_000
"""Most nodes of a path along which the stage is built up."""

JsonObject = dict[str, JsonValue]


class SceneState(Value):
    """The state of a scene that somebody brings; what nobody here understands is left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    scene_id: Annotated[str, Field(min_length=1, max_length=300)]
    characters: dict[str, JsonObject] | list[JsonObject] | None = None
    stage: Stage = EMPTY


class Place(Value):
    """A node of a scene."""

    scene: Token
    node: NodeId


Path = Annotated[tuple[NodeId | Place, ...], Field(max_length=PATH_LIMIT)]


class ShowPlan(BranchQuery):
    """The ordered plan of a node of the studio, on the stage that a path of nodes of its scene has left."""

    scene: Token
    node: NodeId
    path: tuple[NodeId, ...] = Field(default=(), max_length=150, description="Nodes that were played before, in order.")


class PlanPresentation(BranchQuery):
    """The ordered plan of a node: one that is brought with the scene's state, or one of the studio by its names.

    Either ``scene_state`` and ``node`` as an object, or ``scene`` and ``node`` by id.
    """

    scene_state: SceneState | None = None
    scene: Token | None = None
    node: NodeId | JsonObject
    path: Path = ()
    stage: Stage | None = None


class BuildStage(BranchQuery):
    """The stage after a path of nodes, so that a viewer may jump into the middle."""

    scene: Token | None = None
    path: Path = ()
    nodes: Annotated[tuple[JsonObject, ...], Field(max_length=PATH_LIMIT)] = ()
    characters: dict[str, JsonObject] | list[JsonObject] | None = None
    stage: Stage = EMPTY


def show_plan(reader: Reader, query: ShowPlan) -> dict[str, Any]:
    """The plan; raises ``NotFound``."""
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    found = _nodes(reader, chain, query.project, query.scene, [*query.path, query.node])
    return _planned(reader, chain, query.project, query.scene, found[-1], found[:-1], EMPTY)


def plan_presentation(reader: Reader, query: PlanPresentation) -> dict[str, Any]:
    """The plan; raises ``NotFound`` and ``Invalid``."""
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    state = query.scene_state
    stage = query.stage or (state.stage if state else EMPTY)
    if isinstance(query.node, dict):
        characters = _given(state.characters if state else None)
        name = state.scene_id if state else query.scene or ""
        before = _path(reader, chain, query.project, query.scene, query.path)
        return _planned(reader, chain, query.project, name, query.node, before, stage, characters)
    home = query.scene or (state.scene_id if state else None)
    if home is None:
        raise _nameless()
    before = _path(reader, chain, query.project, home, query.path)
    (node,) = _nodes(reader, chain, query.project, home, [query.node])
    return _planned(
        reader, chain, query.project, home, node, before, stage, _given(state.characters if state else None)
    )


def build_stage(reader: Reader, query: BuildStage) -> dict[str, Any]:
    """``{"stage", "nodes"}``; raises ``NotFound`` and ``Invalid``."""
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    nodes = [*_path(reader, chain, query.project, query.scene, query.path), *query.nodes]
    characters = _given(query.characters)
    if characters is None:
        characters = _cast(reader, chain, query.project, nodes)
    stage = staged(nodes, query.stage, characters)
    return {"stage": stage.shown(), "nodes": len(nodes), "worldline": query.worldline}


def _planned(
    reader: Reader, chain: list[Reach], project: str, name: str, node: Mapping[str, Any],
    before: Sequence[Mapping[str, Any]], stage: Stage, characters: Characters | None = None,
) -> dict[str, Any]:
    if characters is None:
        characters = _cast(reader, chain, project, [*before, node])
    told = plan(node, staged(before, stage, characters), characters)
    return {"scene": name, "worldline": chain[0].worldline, "speaker": node.get("speaker", ""), **told.shown()}


def _given(characters: Mapping[str, JsonObject] | Sequence[JsonObject] | None) -> Characters | None:
    if isinstance(characters, list):
        return {str(one.get("id") or one.get("name") or ""): one for one in characters}
    return characters if isinstance(characters, Mapping) else None


def _cast(reader: Reader, chain: list[Reach], project: str, nodes: Iterable[Mapping[str, Any]]) -> Characters:
    """The characters that directives name, as they are on the worldline. Nobody of the studio: nothing can be said."""
    names = {
        one.character for node in nodes for one in read(node.get("directives", ())) if hasattr(one, "character")
    }
    return every(reader, chain, project, character.CATEGORY, names) if names else {}


def _path(
    reader: Reader, chain: list[Reach], project: str, name: str | None, path: Sequence[str | Place]
) -> list[Mapping[str, Any]]:
    """The nodes of a path, each read once."""
    wanted: dict[str, list[str]] = {}
    places = []
    for one in path:
        place = one if isinstance(one, Place) else None
        home = place.scene if place else name
        if home is None:
            raise _nameless()
        node = place.node if place else str(one)
        wanted.setdefault(home, []).append(node)
        places.append((home, node))
    known = {
        (home, node["id"]): node for home, ids in wanted.items()
        for node in _nodes(reader, chain, project, home, list(dict.fromkeys(ids)))
    }
    return [known[place] for place in places]


def _nodes(
    reader: Reader, chain: list[Reach], project: str, name: str, ids: Sequence[str]
) -> list[Mapping[str, Any]]:
    """Nodes of a scene in that order; raises ``NotFound``. Only they are read, however large the scene is."""
    paths = sorted({NODE_FIELD + id_ for id_ in ids})
    found: dict[str, Any] = {}
    for reach in reversed(chain):
        for start in range(0, len(paths), 400):
            rows = reader.rows(
                FIELDS.name, Where("project", "=", project), Where("worldline", "=", reach.worldline),
                Where("category", "=", scene.CATEGORY), Where("id", "=", name),
                Where("field", "in", [*paths[start : start + 400], "summary"]),
                Where("valid_from", "<=", reach.upto), Where("valid_to", ">", reach.upto), limit=1000,
            )
            found.update((row["field"], row["value"]) for row in rows)
    if found.get("summary") is None:
        raise NotFound(
            f"There is no scene {name} there and then.", error="unknown_scene",
            remediation=[Remedy("List the scenes of the worldline.", "list_scenes")], detail={"scene": name},
        )
    missing = [id_ for id_ in ids if found.get(NODE_FIELD + id_) is None]
    if missing:
        raise NotFound(
            f"Scene {name} has no node {missing[0]!r} there and then.", error="unknown_node",
            remediation=[Remedy("Look at the scene for the ids of its nodes.", "show_scene")],
            detail={"scene": name, "nodes": missing[:100]},
        )
    return [found[NODE_FIELD + id_]["node"] for id_ in ids]


def _nameless() -> Invalid:
    return Invalid(
        "A node by its id needs the scene that it stands in.", error="scene_missing",
        remediation=[Remedy("Name the `scene`, or bring the node as an object.", "name_scene")],
    )


PROJECTIONS = ()

_READS = ("documents", "worldlines")

VIEWS = (View("ShowPlan", "/api/presentation/plan", ShowPlan, show_plan, _READS, "presentation:read"),)

POSED = (
    View("PlanPresentation", "/api/presentation/plan", PlanPresentation, plan_presentation, _READS,
         "presentation:read"),
    View("BuildStage", "/api/presentation/stage", BuildStage, build_stage, _READS, "presentation:read"),
)
"""Questions that are too large for an address: asked with a JSON body."""
