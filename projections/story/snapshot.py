"""Snapshots as people see them: with their keys, their lanes and the sidecar that goes with a picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from domain.errors import NotFound, Remedy
from domain.ids import MAIN, Token
from domain.story.snapshot import CATEGORY, SCHEMA, SHOWN, TOOL, SnapshotDropped, SnapshotTaken
from domain.story.worldline import LANE_COLORS, LANE_LABELS
from domain.tables import OPEN, Change, Drop, Put, Reader, Row, Table, Where
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, Query, View, bad_cursor, decode_cursor, encode_cursor

SNAPSHOTS = Table(
    name="snapshots",
    columns={
        "project": "text", "snapshot_id": "text", "cache_key": "text", "worldline": "text", "scene": "text",
        "node": "text", "pov": "text", "seed": "text", "theme": "text", "weather": "text", "vars_digest": "text",
        "lane": "text", "at": "int", "workflow_hash": "text", "thumbnail": "text", "thumbnail_hash": "text",
        "metadata": "json", "position": "int", "version": "int", "captured_at": "text", "actor": "text",
    },
    key=("project", "snapshot_id"),
    nullable=frozenset({"thumbnail", "thumbnail_hash"}),
    indexes=(("project", "worldline", "position"), ("project", "worldline", "scene", "position")),
)


def apply(happened: Happened) -> Iterable[Change]:
    """A row per snapshot; taken anew it is a new one."""
    recorded, event = happened
    match event:
        case SnapshotTaken():
            yield Put(SNAPSHOTS.name, {
                "project": recorded.stream.project, **event.moment.model_dump(),
                **event.model_dump(exclude={"moment"}), "position": recorded.position, "version": recorded.version,
                "captured_at": recorded.time, "actor": recorded.actor,
            })
        case SnapshotDropped():
            yield Drop(SNAPSHOTS.name, {"project": recorded.stream.project, "snapshot_id": event.snapshot_id})


class ListSnapshots(PageQuery):
    """The snapshots of a worldline, newest first."""

    worldline: Token = MAIN
    scene: Token | None = None
    older: bool = Field(default=False, description=f"Also those beyond the newest {SHOWN}.")


class ShowSnapshot(Query):
    """One snapshot with its sidecar."""

    snapshot_id: Token


def list_snapshots(reader: Reader, query: ListSnapshots) -> dict[str, Any]:
    """A page of snapshots. Only the newest 250 of a worldline (or of a scene on it) are shown unless ``older``."""
    (after,) = decode_cursor(query.cursor, 1) or [OPEN]
    if not isinstance(after, int):
        raise bad_cursor()
    where = [Where("project", "=", query.project), Where("worldline", "=", query.worldline)]
    if query.scene is not None:
        where.append(Where("scene", "=", query.scene))
    if not query.older:
        where.append(Where("position", ">=", _oldest(reader, where)))
    found = reader.rows(
        SNAPSHOTS.name, *where, Where("position", "<", after), order=("-position",), limit=query.limit + 1,
    )
    more = len(found) > query.limit
    found = found[:query.limit]
    return {"items": [shape(row) for row in found],
            "next": encode_cursor([found[-1]["position"]]) if more else None}


def _oldest(reader: Reader, where: list[Where]) -> int:
    """The position of the oldest snapshot that is shown."""
    newest = reader.rows(SNAPSHOTS.name, *where, order=("-position",), limit=SHOWN)
    return int(newest[-1]["position"]) if len(newest) == SHOWN else 0


def show_snapshot(reader: Reader, query: ShowSnapshot) -> dict[str, Any]:
    """One snapshot; raises ``NotFound``."""
    row = reader.row(SNAPSHOTS.name, project=query.project, snapshot_id=query.snapshot_id)
    if row is None:
        raise NotFound(
            f"Project {query.project} has no snapshot {query.snapshot_id}.",
            error="unknown_snapshot",
            remediation=[Remedy("List the snapshots of the worldline.", "list_snapshots")],
        )
    return shape(row)


def shape(row: Row) -> dict[str, Any]:
    """A snapshot as it is shown, with the sidecar that goes with its picture."""
    lane = {"lane": row["lane"], "lane_color": LANE_COLORS[row["lane"]], "lane_label": LANE_LABELS[row["lane"]]}
    seed = int(row["seed"]) if row["seed"] else None
    told = {
        "workflow_hash": row["workflow_hash"], "seed": seed, "worldline": row["worldline"], "pov": row["pov"],
        "theme": row["theme"], "weather": row["weather"], "vars_digest": row["vars_digest"],
        "cache_key": row["cache_key"], **lane, "captured_at": row["captured_at"], "thumbnail": row["thumbnail"],
        "thumbnail_hash": row["thumbnail_hash"],
    }
    return {
        "id": row["snapshot_id"], "scene": row["scene"], "node": row["node"], **told, "at": row["at"],
        "position": row["position"], "version": row["version"], "actor": row["actor"],
        "metadata": {**row["metadata"], "tool": TOOL, "version": SCHEMA},
        "sidecar": {"tool": TOOL, "version": SCHEMA, **told},
    }


PROJECTIONS = (
    Projection(
        name="snapshots", version=1, tables=(SNAPSHOTS,), apply=apply, categories=frozenset({CATEGORY}),
        about="Moments that were kept, with their keys.",
    ),
)

VIEWS = (
    View("ListSnapshots", "/api/snapshots", ListSnapshots, list_snapshots, ("snapshots",), "snapshot:read"),
    View("ShowSnapshot", "/api/snapshots/{snapshot_id}", ShowSnapshot, show_snapshot, ("snapshots",),
         "snapshot:read"),
)
