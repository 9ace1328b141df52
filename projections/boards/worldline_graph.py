"""Worldlines beside each other: which nodes they share, in which order, and whether they could be fast-forwarded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

from pydantic import Field

from domain.ids import MAIN, Token
from domain.story.merging.held import Held
from domain.story.merging.history import Version
from domain.story.merging.seen import seen_by
from domain.story.worldline import LANE_COLORS
from domain.tables import OPEN, Reader, Where
from projections.boards.differing import BRANCHING, NODES, SCENE, declared_at, pov_of
from projections.boards.documents import lineage
from projections.boards.merging import READS, Wanted, compare, plan
from projections.boards.story import every
from projections.boards.story_order import scene_order
from projections.reading import Query, View

WORLDS_LIMIT: Final = 50
"""Most worldlines beside each other."""

NODES_SHOWN: Final = 20_000
"""Most nodes of one answer."""

CONFLICTS_SHOWN: Final = 20

Scenes = dict[str, dict[str, tuple[Any, Any]]]
"""Scene -> node -> (place, node) of one worldline."""


class ShowWorldlineGraph(Query):
    """Worldlines beside each other."""

    target: Token = Field(default=MAIN, description="What the others are compared with, and would be merged into.")
    worlds: tuple[Token, ...] = Field(default=(), max_length=WORLDS_LIMIT, description=(
        f"These; else the first {WORLDS_LIMIT} that are in use."
    ))
    as_of: int = Field(default=0, ge=0, le=2**62, description="As everything was at this position; 0 is now.")
    pov: str | None = Field(default=None, max_length=200)
    mask_pov: bool | None = None
    fast_forward: bool = Field(default=True, description="Also tell which could be merged, and how.")

    @property
    def source(self) -> str:
        return self.target


def show_graph(reader: Reader, query: ShowWorldlineGraph) -> dict[str, Any]:
    """The answer; its shape is in docs/merging.md. Nodes are ``scene/node``; edges follow the story."""
    at = query.as_of or OPEN - 1
    rows = _worlds(reader, query)
    for row in rows:
        lineage(reader, query.project, row["id"], query.as_of)
    pov = pov_of(reader, query)
    declared = declared_at(reader, query.project, [Version(query.target, at)]) if pov else {}
    target = Version(query.target, at)
    common = _scenes(every(reader, lineage(reader, query.project, query.target, query.as_of), query.project, SCENE),
                     pov, declared)
    timeline: dict[str, list[str]] = {}
    worlds = []
    by_node: dict[str, list[str]] = {}
    for row in rows:
        name = row["id"]
        version = Version(name, at)
        scenes = common if version == target else _of(reader, query, version, target, common, pov, declared)
        nodes = {f"{scene}/{node}": told for scene, placed in scenes.items() for node, told in placed.items()}
        order = scene_order(reader, query.project, version, scenes)
        timeline[name] = [f"{scene}/{node}" for scene in order for node in _in_order(scenes[scene])]
        for node in nodes:
            by_node.setdefault(node, []).append(name)
        worlds.append(row | {"node_count": len(nodes), **_shared(scenes, common)})
    return {
        "ok": True, "target": query.target, "pov": pov, "worlds": worlds,
        "graph": {
            "nodes": [{"id": node, "worlds": names} for node, names in _by_story(by_node, timeline, query.target)],
            "edges": _edges(timeline),
        },
        "timeline": timeline,
        "fast_forward": _fast_forward(reader, query, rows, target) if query.fast_forward else {},
    }


def _worlds(reader: Reader, query: ShowWorldlineGraph) -> list[dict[str, Any]]:
    main = {"id": MAIN, "label": "main", "lane": "official", "lane_color": LANE_COLORS["official"], "parent_id": None}
    where = [Where("project", "=", query.project)]
    if query.worlds:
        where.append(Where("worldline_id", "in", list(dict.fromkeys([*query.worlds, query.target]))))
    else:
        where.append(Where("archived", "=", False))
    found = {
        row["worldline_id"]: {
            "id": row["worldline_id"], "label": row["label"], "lane": row["lane"],
            "lane_color": LANE_COLORS[row["lane"]], "parent_id": row["parent"],
        }
        for row in reader.rows("worldlines", *where, order=("worldline_id",), limit=WORLDS_LIMIT + 1)
        if not query.as_of or row["forked_position"] <= query.as_of or query.worlds
    }
    if not query.worlds or MAIN in (*query.worlds, query.target):
        found = {MAIN: main, **found}
    for name in (*query.worlds, query.target):
        # Naming one that is not there is refused when its lineage is looked for.
        found.setdefault(name, {"id": name})
    first = [query.target, *(name for name in found if name != query.target)]
    return [found[name] for name in first][: WORLDS_LIMIT + 1]


def _of(
    reader: Reader, query: ShowWorldlineGraph, version: Version, target: Version, common: Scenes, pov: str | None,
    declared: Mapping[str, Any],
) -> Scenes:
    """The scenes of a worldline: those of the target, but for what differs."""
    found = compare(reader, query.project, target, version, {SCENE})
    scenes = dict(common)
    for (_, id_), (_, after) in found.differing.items():
        scenes.pop(id_, None)
        if after.alive:
            scenes |= _scenes({id_: dict(after.fields)}, pov, declared)
    return scenes


def _scenes(found: Mapping[str, Mapping[str, Any]], pov: str | None, declared: Mapping[str, Any]) -> Scenes:
    scenes: Scenes = {}
    for id_, fields in found.items():
        held = Held(fields)
        if pov is not None:
            held = replace(held, fields=seen_by(SCENE, held, pov, declared).fields)
        scenes[id_] = {
            path.removeprefix(NODES): (tuple(value["place"]), value["node"])
            for path, value in held.fields.items() if path.startswith(NODES)
        }
    return scenes


def _in_order(placed: Mapping[str, tuple[Any, Any]]) -> list[str]:
    return sorted(placed, key=lambda node: (placed[node][0], node))


def _shared(scenes: Scenes, common: Scenes) -> dict[str, int]:
    """How many nodes say the same as on the target, and how many do not or are only on one of the two."""
    overlap = differing = 0
    for id_ in {*scenes, *common}:
        mine, theirs = scenes.get(id_, {}), common.get(id_, {})
        if mine is theirs:
            overlap += len(mine)
            continue
        same = sum(node in theirs and theirs[node][1] == told[1] for node, told in mine.items())
        overlap += same
        differing += len({*mine, *theirs}) - same
    return {"overlap": overlap, "divergence": differing}


def _by_story(
    by_node: Mapping[str, list[str]], timeline: Mapping[str, Sequence[str]], target: str
) -> Iterable[tuple[str, list[str]]]:
    """Every node once, in the order of the target's story; what others have more stands behind, in theirs."""
    order = dict.fromkeys(timeline[target])
    for nodes in timeline.values():
        order |= dict.fromkeys(nodes)
    return [(node, by_node[node]) for node in [*order][:NODES_SHOWN]]


def _edges(timeline: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    edges: list[dict[str, Any]] = []
    for world, nodes in timeline.items():
        edges += [
            {"world": world, "source": one, "target": another, "index": index}
            for index, (one, another) in enumerate(pairwise(nodes))
        ]
        if len(edges) > NODES_SHOWN * 5:
            break
    return edges


def _fast_forward(
    reader: Reader, query: ShowWorldlineGraph, rows: Sequence[Mapping[str, Any]], target: Version
) -> dict[str, Any]:
    """Whether each worldline could be merged into the target, and whether the target has diverged at all."""
    found: dict[str, Any] = {}
    for row in rows:
        if row["id"] == query.target:
            continue
        made = plan(
            reader, query.project, Version(row["id"], target.position), target, BRANCHING, Wanted(),
        )
        added = [
            f"{one.id}/{path.removeprefix(NODES)}" for one in made.changed if one.category == SCENE
            for path, value in one.writes.items()
            if path.startswith(NODES) and value is not None and path not in one.ours.fields
        ]
        found[row["id"]] = {
            "ok": not made.open, "fast_forward": made.fast_forward and not made.open, "changes": len(made.changed),
            "added_nodes": added[:1000], "conflict_count": len(made.open),
            "conflicts": [one.shown() for one in made.open[:CONFLICTS_SHOWN]],
        }
    return found


PROJECTIONS = ()

VIEWS = (
    View("ShowWorldlineGraph", "/api/diffmerge/worldlines/graph", ShowWorldlineGraph, show_graph, READS,
         "worldline:read"),
)
