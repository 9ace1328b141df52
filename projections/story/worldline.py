"""The worldlines of a project as people see them: who left whom, where, and in which lane."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from domain.errors import NotFound, Remedy
from domain.ids import MAIN, Token
from domain.story.worldline import CATEGORY, LANE_COLORS, LANE_LABELS, WorldlineForked, WorldlineUpdated
from domain.tables import Change, Patch, Put, Reader, Row, Table, Where
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, Query, View, page

WORLDLINES = Table(
    name="worldlines",
    columns={
        "project": "text", "worldline_id": "text", "parent": "text", "forked_at": "int", "forked_position": "int",
        "label": "text", "lane": "text", "pov": "text", "root_node": "text", "notes": "text", "metadata": "json",
        "version": "int", "created_at": "text", "updated_at": "text",
    },
    key=("project", "worldline_id"),
)


def apply(happened: Happened) -> Iterable[Change]:
    """A fork is a row; an update sets what may change."""
    recorded, event = happened
    match event:
        case WorldlineForked():
            yield Put(WORLDLINES.name, {
                "project": recorded.stream.project, "worldline_id": event.worldline_id, "parent": event.parent,
                "forked_at": event.forked_at, "forked_position": recorded.position, **_described(event),
                "version": recorded.version, "created_at": recorded.time, "updated_at": recorded.time,
            })
        case WorldlineUpdated():
            key = {"project": recorded.stream.project, "worldline_id": event.worldline_id}
            yield Patch(WORLDLINES.name, key, {
                **_described(event), "version": recorded.version, "updated_at": recorded.time,
            })


def _described(event: WorldlineForked | WorldlineUpdated) -> dict[str, Any]:
    return {
        "label": event.label, "lane": event.lane, "pov": event.pov, "root_node": event.root_node,
        "notes": event.notes, "metadata": event.metadata,
    }


class ListWorldlines(PageQuery):
    """The worldlines of a project."""


class ShowWorldline(Query):
    """One worldline."""

    worldline_id: Token


def list_worldlines(reader: Reader, query: ListWorldlines) -> dict[str, Any]:
    """``main`` first of all (it needs no event), then every fork by id."""
    found = page(
        reader, WORLDLINES.name, Where("project", "=", query.project), order=("worldline_id",),
        limit=query.limit, cursor=query.cursor, shape=_shape,
    )
    if not query.cursor:
        found["items"] = [_main(), *found["items"]]  # type: ignore[misc]
    return found


def show_worldline(reader: Reader, query: ShowWorldline) -> dict[str, Any]:
    """One worldline; raises ``NotFound``."""
    if query.worldline_id == MAIN:
        return _main()
    row = reader.row(WORLDLINES.name, project=query.project, worldline_id=query.worldline_id)
    if row is None:
        raise NotFound(
            f"Project {query.project} has no worldline {query.worldline_id}.",
            error="unknown_worldline",
            remediation=[Remedy("List the worldlines of the project.", "list_worldlines")],
        )
    return _shape(row)


def _main() -> dict[str, Any]:
    return {
        "id": MAIN, "label": "main", "parent_id": None, "forked_at": 0, "lane": "official",
        "lane_color": LANE_COLORS["official"], "lane_label": LANE_LABELS["official"], "pov": "narrator",
        "root_node": "start", "notes": "", "metadata": {}, "version": 0, "created_at": None, "updated_at": None,
    }


def _shape(row: Row) -> dict[str, Any]:
    return {
        "id": row["worldline_id"], "label": row["label"], "parent_id": row["parent"], "forked_at": row["forked_at"],
        "lane": row["lane"], "lane_color": LANE_COLORS[row["lane"]], "lane_label": LANE_LABELS[row["lane"]],
        "pov": row["pov"], "root_node": row["root_node"], "notes": row["notes"], "metadata": row["metadata"],
        "version": row["version"], "created_at": row["created_at"], "updated_at": row["updated_at"],
    }


PROJECTIONS = (
    Projection(
        name="worldlines", version=1, tables=(WORLDLINES,), apply=apply, categories=frozenset({CATEGORY}),
        about="Who left whom, where, and in which lane.",
    ),
)

VIEWS = (
    View("ListWorldlines", "/api/pov/worlds", ListWorldlines, list_worldlines, ("worldlines",), "worldline:read"),
    View("ShowWorldline", "/api/pov/worlds/{worldline_id}", ShowWorldline, show_worldline, ("worldlines",),
         "worldline:read"),
)
