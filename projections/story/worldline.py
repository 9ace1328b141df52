"""The worldlines of a project as people see them: who left whom, where, and in which lane."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic import Field

from domain.bounded_json import same_json
from domain.errors import NotFound, Remedy
from domain.ids import MAIN, UNBRANCHED, Token
from domain.story.worldline import (
    CATEGORY,
    LANE_COLORS,
    LANE_LABELS,
    WorldlineArchived,
    WorldlineForked,
    WorldlineMerged,
    WorldlineRestored,
    WorldlineUpdated,
    described,
)
from domain.tables import Change, Patch, Put, Reader, Row, Table, Where
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, Query, View, page

WORLDLINES = Table(
    name="worldlines",
    columns={
        "project": "text", "worldline_id": "text", "parent": "text", "forked_at": "int", "forked_position": "int",
        "label": "text", "lane": "text", "pov": "text", "root_node": "text", "notes": "text", "metadata": "json",
        "archived": "bool", "reason": "text", "version": "int", "created_at": "text", "updated_at": "text",
    },
    key=("project", "worldline_id"),
    indexes=(
        ("project", "archived", "worldline_id"), ("project", "parent", "worldline_id"),
        ("project", "archived", "lane", "worldline_id"),
    ),
)

MERGES = Table(
    name="worldline_merges",
    columns={
        "project": "text", "worldline_id": "text", "position": "int", "version": "int", "source": "text",
        "source_position": "int", "merged_at": "int", "bases": "json", "fast_forward": "bool", "only": "json",
        "rule": "text", "by_rule": "int", "resolutions": "json", "counts": "json", "story": "json", "actor": "text",
        "time": "text",
    },
    key=("project", "worldline_id", "position"),
    indexes=(("project", "source", "position"),),
)

DELTA_SCHEMA: Final = "v1"

DEPTH: Final = 100
"""Longest line of ancestors whose metadata is laid over one another."""


def apply(happened: Happened) -> Iterable[Change]:
    """A fork is a row; an update sets what may change."""
    recorded, event = happened
    match event:
        case WorldlineForked():
            yield Put(WORLDLINES.name, {
                "project": recorded.stream.project, "worldline_id": event.worldline_id, "parent": event.parent,
                "forked_at": event.forked_at, "forked_position": recorded.position, **described(event),
                "archived": False, "reason": "", "version": recorded.version,
                "created_at": recorded.time, "updated_at": recorded.time,
            })
        case WorldlineUpdated():
            key = {"project": recorded.stream.project, "worldline_id": event.worldline_id}
            yield Patch(WORLDLINES.name, key, {
                **described(event), "version": recorded.version, "updated_at": recorded.time,
            })
        case WorldlineArchived() | WorldlineRestored():
            key = {"project": recorded.stream.project, "worldline_id": event.worldline_id}
            away = isinstance(event, WorldlineArchived)
            yield Patch(WORLDLINES.name, key, {
                "archived": away, "reason": event.reason if isinstance(event, WorldlineArchived) else "",
                "version": recorded.version, "updated_at": recorded.time,
            })
        case WorldlineMerged():
            yield from _merged(happened, event)


def _merged(happened: Happened, event: WorldlineMerged) -> Iterable[Change]:
    recorded = happened.recorded
    key = {"project": recorded.stream.project, "worldline_id": event.worldline_id}
    yield Patch(WORLDLINES.name, key, {"version": recorded.version})
    yield Put(MERGES.name, {
        **key, "position": recorded.position, "version": recorded.version, "source": event.source,
        "source_position": event.source_position, "merged_at": event.position,
        "bases": [one.model_dump() for one in event.bases], "fast_forward": event.fast_forward,
        "only": list(event.only), "rule": event.rule or "", "by_rule": event.by_rule,
        "resolutions": [dict(one) for one in event.resolutions], "counts": event.counts, "story": event.story,
        "actor": recorded.actor, "time": recorded.time,
    })


class ListWorldlines(PageQuery):
    """The worldlines of a project."""

    archived: bool = Field(default=False, description="Only those that were put away, which can be restored.")
    parent: Token | None = Field(default=None, description="Only those that left this one.")


class ListMerges(PageQuery):
    """What was merged into a worldline, newest first: from where, how conflicts were settled, what came of it."""

    worldline_id: Token


class ShowWorldline(Query):
    """One worldline."""

    worldline_id: Token


def list_worldlines(reader: Reader, query: ListWorldlines) -> dict[str, Any]:
    """``main`` first of all (it needs no event), then every fork by id."""
    narrowed = [] if query.parent is None else [Where("parent", "=", query.parent)]
    found = page(
        reader, WORLDLINES.name, Where("project", "=", query.project), Where("archived", "=", query.archived),
        *narrowed, order=("worldline_id",), limit=query.limit, cursor=query.cursor, shape=shape,
    )
    if not query.cursor and not query.archived and query.parent is None:
        found["items"] = [main(), *found["items"]]  # type: ignore[misc]
    return found


def show_worldline(reader: Reader, query: ShowWorldline) -> dict[str, Any]:
    """One worldline, with what its metadata adds to its parent's; raises ``NotFound``.

    ``delta`` holds the fields of its own metadata that differ from its parent's; ``effective_metadata`` is that of its
    ancestors, as they were when it left them, with its own laid over it.
    """
    if query.worldline_id == MAIN:
        return {**main(), "delta": None, "effective_metadata": {}}
    row = reader.row(WORLDLINES.name, project=query.project, worldline_id=query.worldline_id)
    if row is None:
        raise NotFound(
            f"Project {query.project} has no worldline {query.worldline_id}.",
            error="unknown_worldline",
            remediation=[Remedy("List the worldlines of the project.", "list_worldlines")],
        )
    base = _laid(reader, query.project, row["parent"], row["forked_at"], DEPTH)
    return {**shape(row), "delta": delta(row["parent"], base, row["metadata"]),
            "effective_metadata": {**base, **row["metadata"]}}


def list_merges(reader: Reader, query: ListMerges) -> dict[str, Any]:
    """A page of the merges into a worldline."""
    if query.worldline_id != MAIN:
        show_worldline(reader, ShowWorldline(project=query.project, worldline_id=query.worldline_id))
    return page(
        reader, MERGES.name, Where("project", "=", query.project), Where("worldline_id", "=", query.worldline_id),
        order=("-position",), limit=query.limit, cursor=query.cursor,
        shape=lambda row: {name: value for name, value in row.items() if name not in ("project", "version")}
        | {"rule": row["rule"] or None},
    )


def delta(parent: str, base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What own metadata says otherwise than a base: whole values by key. Snapshots are kept elsewhere and left out."""
    changed = {
        key: value for key, value in own.items()
        if key != "snapshots" and not (key in base and same_json(base[key], value))
    }
    return {"base": parent, "schema": DELTA_SCHEMA, "metadata": changed}


def _laid(reader: Reader, project: str, worldline: str, at: int, depth: int) -> dict[str, Any]:
    """The metadata of a worldline and its ancestors as of a position: later edits of a parent do not flow down."""
    if worldline == MAIN or depth == 0:
        return {}
    row = reader.row(WORLDLINES.name, project=project, worldline_id=worldline)
    if row is None:
        return {}
    held = reader.rows(
        "document_fields", Where("project", "=", project), Where("worldline", "=", UNBRANCHED),
        Where("category", "=", CATEGORY), Where("id", "=", worldline), Where("field", "=", "metadata"),
        Where("valid_from", "<=", at), Where("valid_to", ">", at), limit=1,
    )
    own = held[0]["value"] if held else {}
    return {**_laid(reader, project, row["parent"], row["forked_at"], depth - 1), **own}


def main() -> dict[str, Any]:
    """The worldline that every project has from the beginning, as it is shown."""
    return {
        "id": MAIN, "label": "main", "parent_id": None, "forked_at": 0, "lane": "official",
        "lane_color": LANE_COLORS["official"], "lane_label": LANE_LABELS["official"], "pov": "narrator",
        "root_node": "start", "notes": "", "metadata": {}, "version": 0, "created_at": None, "updated_at": None,
    }


def shape(row: Row) -> dict[str, Any]:
    """A worldline as it is shown; one that was put away says so, and why."""
    away = {"archived": True, "reason": row["reason"]} if row["archived"] else {}
    return {
        "id": row["worldline_id"], "label": row["label"], "parent_id": row["parent"], "forked_at": row["forked_at"],
        "lane": row["lane"], "lane_color": LANE_COLORS[row["lane"]], "lane_label": LANE_LABELS[row["lane"]],
        "pov": row["pov"], "root_node": row["root_node"], "notes": row["notes"], "metadata": row["metadata"],
        **away, "version": row["version"], "created_at": row["created_at"], "updated_at": row["updated_at"],
    }


PROJECTIONS = (
    Projection(
        name="worldlines", version=3, tables=(WORLDLINES, MERGES), apply=apply, categories=frozenset({CATEGORY}),
        about="Who left whom, where, and in which lane.",
    ),
)

VIEWS = (
    View("ListWorldlines", "/api/pov/worlds", ListWorldlines, list_worldlines, ("worldlines",), "worldline:read"),
    View("ShowWorldline", "/api/pov/worlds/{worldline_id}", ShowWorldline, show_worldline,
         ("worldlines", "documents"), "worldline:read"),
    View("ListMerges", "/api/pov/worlds/{worldline_id}/merges", ListMerges, list_merges, ("worldlines",),
         "worldline:read"),
)
