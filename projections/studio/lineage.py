"""Lineage: what an asset was made from, all the way back, what was made from it, all the way on, and its faces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field

from domain.studio.asset import CATEGORY, AssetDescribed, AssetRegistered
from domain.studio.asset_values import Uid
from domain.studio.generated import generation_of, parents_of
from domain.studio.job import CATEGORY as JOB
from domain.studio.job import JobRequested
from domain.tables import Add, Change, Drop, Put, Reader, Table, Where
from projections.declaration import Happened, Projection
from projections.reading import Query, View
from projections.studio.asset import ASSETS, asset_row

EDGES_LIMIT: Final = 20_000
"""Most connections that one answer follows in each direction."""

CHUNK: Final = 1000

EDGES = Table(
    name="lineage_edges",
    columns={"project": "text", "uid": "text", "parent": "text", "place": "int", "role": "text"},
    key=("project", "uid", "parent"),
    indexes=(("project", "parent", "uid"),),
)

LIKENESSES = Table(name="likenesses", columns={"project": "text", "uid": "text", "jobs": "int"}, key=("project", "uid"))

CREDENTIALS: Final = "credentials"
"""The table of how each asset is signed."""


def apply(happened: Happened) -> Iterable[Change]:
    """One row per asset that another was made from; a description replaces them all."""
    event = happened.event
    if not isinstance(event, AssetRegistered | AssetDescribed):
        return
    project = happened.recorded.stream.project
    yield Drop(EDGES.name, {"project": project, "uid": event.uid})
    generation = generation_of(event.sources, event.metadata, uid=event.uid)
    roles: Mapping[str, str] = {one.uid: one.role for one in generation.ingredients} if generation else {}
    for place, parent in enumerate(parents_of(event.sources, event.metadata, uid=event.uid)):
        yield Put(EDGES.name, {
            "project": project, "uid": event.uid, "parent": parent, "place": place,
            "role": roles.get(parent, "component"),
        })


def apply_likeness(happened: Happened) -> Iterable[Change]:
    """One row per asset of which somebody has said that it shows a person who agreed to be shown."""
    event = happened.event
    if isinstance(event, JobRequested) and event.request.consent is not None:
        project = happened.recorded.stream.project
        for uid in dict.fromkeys(event.request.consent.assets):
            yield Add(LIKENESSES.name, {"project": project, "uid": uid}, {"jobs": 1}, {})


class FindLikenesses(Query):
    """Assets in which a person is known to be shown, or that were made from such."""

    uids: tuple[Uid, ...] = Field(max_length=200)


def find_likenesses(reader: Reader, query: FindLikenesses) -> dict[str, str]:
    """Those of the assets in which somebody's likeness is -> the asset in which it was shown first."""
    own = Where("project", "=", query.project)
    found: dict[str, str] = {}
    for uid in query.uids:
        edges = reader.walk(EDGES.name, "uid", "parent", [uid], own, limit=EDGES_LIMIT + 1)
        line = list(dict.fromkeys((uid, *(str(parent) for _, parent in edges))))
        for start in range(0, len(line), CHUNK):
            part = line[start : start + CHUNK]
            (shown,) = reader.columns(LIKENESSES.name, ("uid",), own, Where("uid", "in", part), limit=CHUNK)
            if shown:
                found[uid] = next(one for one in part if one in set(shown))
                break
    return found


class ShowLineage(Query):
    """The whole tree of an asset: what it was made from and what was made from it."""

    uid: Uid
    direction: Literal["both", "ancestors", "descendants"] = "both"
    depth: int = Field(default=0, ge=0, le=10_000, description="How many generations away at most; 0: all of them.")


def show_lineage(reader: Reader, query: ShowLineage) -> dict[str, Any]:
    """Assets by how many generations away they are, and their connections; raises ``NotFound``."""
    asset_row(reader, query.project, query.uid)
    own = Where("project", "=", query.project)
    found: dict[str, list[tuple[Any, ...]]] = {"ancestors": [], "descendants": []}
    if query.direction in ("both", "ancestors"):
        found["ancestors"] = reader.walk(EDGES.name, "uid", "parent", [query.uid], own, limit=EDGES_LIMIT + 1)
    if query.direction in ("both", "descendants"):
        found["descendants"] = reader.walk(EDGES.name, "parent", "uid", [query.uid], own, limit=EDGES_LIMIT + 1)
    truncated = any(len(edges) > EDGES_LIMIT for edges in found.values())
    up = _generations(query.uid, found["ancestors"][:EDGES_LIMIT], query.depth)
    down = _generations(query.uid, found["descendants"][:EDGES_LIMIT], query.depth)
    distance = {**down, **{uid: -far for uid, far in up.items()}, query.uid: 0}
    edges = {(child, parent) for child, parent in found["ancestors"][:EDGES_LIMIT]}
    edges |= {(child, parent) for parent, child in found["descendants"][:EDGES_LIMIT]}
    kept = sorted((child, parent) for child, parent in edges if child in distance and parent in distance)
    nodes = _nodes(reader, query.project, distance)
    return {
        "uid": query.uid, "nodes": nodes,
        "edges": [{"from": parent, "to": child} for child, parent in kept],
        "ancestors": len(up) - (query.uid in up), "descendants": len(down) - (query.uid in down),
        "truncated": truncated, "picture": f"/api/assets/{query.uid}/lineage.svg",
    }


def _generations(start: str, edges: Iterable[Sequence[Any]], depth: int) -> dict[str, int]:
    """Asset -> how many generations away it is at least; what was made from itself by mistake is met once."""
    near: dict[str, list[str]] = {}
    for one, other in edges:
        near.setdefault(one, []).append(other)
    far, level = {start: 0}, [start]
    while level and (not depth or far[level[0]] < depth):
        following = []
        for one in level:
            for other in near.get(one, ()):
                if other not in far:
                    far[other] = far[one] + 1
                    following.append(other)
        level = following
    return far


def _nodes(reader: Reader, project: str, distance: Mapping[str, int]) -> list[dict[str, Any]]:
    names = ("uid", "name", "kind", "media_type", "removed", "sources")
    known: dict[str, dict[str, Any]] = {}
    signed: dict[str, str] = {}
    wanted = sorted(distance)
    for start in range(0, len(wanted), CHUNK):
        part = wanted[start : start + CHUNK]
        where = (Where("project", "=", project), Where("uid", "in", part))
        for row in zip(*reader.columns(ASSETS.name, names, *where, limit=CHUNK), strict=True):
            known[row[0]] = dict(zip(names, row, strict=True))
        for uid, state in zip(*reader.columns(CREDENTIALS, ("uid", "state"), *where, limit=CHUNK), strict=True):
            signed[uid] = state
    return [
        _node(uid, distance[uid], known.get(uid), signed.get(uid, "unsigned"))
        for uid in sorted(wanted, key=lambda uid: (distance[uid], uid))
    ]


def _node(uid: str, far: int, row: Mapping[str, Any] | None, signed: str) -> dict[str, Any]:
    told: dict[str, Any] = {"uid": uid, "generation": far, "known": row is not None, "credentials": signed}
    if row is None:
        return {**told, "name": "", "kind": "other", "media_type": "", "removed": False, "how": "", "engine": "",
                "model": "", "job": ""}
    generated = next((one for one in reversed(row["sources"]) if one["how"] == "generate"), None)
    source = generated or (row["sources"][-1] if row["sources"] else {})
    return {
        **told, "name": row["name"], "kind": row["kind"], "media_type": row["media_type"], "removed": row["removed"],
        "how": source.get("how", ""), "engine": source.get("engine", ""), "model": source.get("model", ""),
        "job": source.get("job_id", ""),
    }


PROJECTIONS = (
    Projection(
        name="lineage", version=1, tables=(EDGES,), apply=apply, categories=frozenset({CATEGORY}),
        about="Which asset was made from which.",
    ),
    Projection(
        name="likenesses", version=1, tables=(LIKENESSES,), apply=apply_likeness, categories=frozenset({JOB}),
        about="In which assets a person is shown who agreed to it.",
    ),
)

LIKENESS = View("FindLikenesses", "", FindLikenesses, find_likenesses, ("lineage", "likenesses"), "asset:read")
"""Asked by whoever plans work, and by no door."""


VIEWS = (
    View("ShowLineage", "/api/assets/{uid}/lineage", ShowLineage, show_lineage, ("assets", "lineage", "credentials"),
         "asset:read"),
)
