"""What happened to a thing, to a project, on a worldline: who, when, by which command, before and after."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from domain.errors import NotFound
from domain.ids import Token
from domain.tables import Change, Put, Reader, Row, Table, Where
from projections.boards.documents import FIELDS
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, Query, View, page

TIMELINE = Table(
    name="timeline",
    columns={
        "project": "text", "position": "int", "worldline": "text", "category": "text", "id": "text", "type": "text",
        "version": "int", "time": "text", "actor": "text", "command_id": "text", "request": "text",
        "correlation_id": "text", "causation_id": "text",
    },
    key=("project", "position"),
    indexes=(
        ("project", "category", "id", "position"), ("project", "worldline", "position"),
        ("project", "command_id", "position"),
    ),
)


def apply(happened: Happened) -> Iterable[Change]:
    """One row per event, of any type, known or not."""
    recorded = happened.recorded
    project, worldline, category, id_ = recorded.stream
    yield Put(TIMELINE.name, {
        "project": project, "position": recorded.position, "worldline": worldline, "category": category, "id": id_,
        "type": recorded.type, "version": recorded.version, "time": recorded.time, "actor": recorded.actor,
        "command_id": recorded.command_id, "request": recorded.request,
        "correlation_id": recorded.correlation_id, "causation_id": recorded.causation_id,
    })


class ShowTimeline(PageQuery):
    """What happened, newest first; every filter narrows."""

    worldline: Token | None = None
    category: Token | None = None
    id: Token | None = None
    type: str | None = Field(default=None, max_length=200)
    actor: str | None = Field(default=None, max_length=200)
    command_id: str | None = Field(default=None, max_length=200)
    as_of: int = Field(default=0, ge=0, le=2**62)
    changes: bool = Field(default=False, description="Add what each event changed: fields before and after.")


class ShowMoment(Query):
    """One event of a project with what it changed."""

    position: int = Field(ge=1, le=2**62)


def show_timeline(reader: Reader, query: ShowTimeline) -> dict[str, Any]:
    """A page of what happened, newest first."""
    named = ("worldline", "category", "id", "type", "actor", "command_id")
    where = [Where("project", "=", query.project)]
    where += [Where(name, "=", value) for name in named if (value := getattr(query, name)) is not None]
    if query.as_of:
        where.append(Where("position", "<=", query.as_of))
    return page(
        reader, TIMELINE.name, *where, order=("-position",), limit=query.limit, cursor=query.cursor,
        shape=lambda row: _shape(reader, row, query.changes),
    )


def show_moment(reader: Reader, query: ShowMoment) -> dict[str, Any]:
    """One event and what it changed; raises ``NotFound``."""
    row = reader.row(TIMELINE.name, project=query.project, position=query.position)
    if row is None:
        raise NotFound(f"Nothing happened to project {query.project} at position {query.position}.")
    return _shape(reader, row, True)


def _shape(reader: Reader, row: Row, changes: bool) -> dict[str, Any]:
    shown = {name: value for name, value in row.items() if name not in ("project", "request")}
    if changes:
        shown["changes"] = changed(reader, row)
    return shown


def changed(reader: Reader, row: Row) -> list[dict[str, Any]]:
    """What one event changed, field by field; a field's first value on a worldline has ``before`` of null."""
    about = [Where(name, "=", row[name]) for name in ("project", "worldline", "category", "id")]
    after = reader.rows(FIELDS.name, *about, Where("valid_from", "=", row["position"]), order=("field",), limit=2000)
    ended = reader.rows(FIELDS.name, *about, Where("valid_to", "=", row["position"]), order=("field",), limit=2000)
    before = {one["field"]: one["value"] for one in ended}
    return [{"field": one["field"], "before": before.get(one["field"]), "after": one["value"]} for one in after]


PROJECTIONS = (
    Projection(
        name="timeline", version=1, tables=(TIMELINE,), apply=apply, decodes=False,
        about="One row per event: what, who, when, by which command.",
    ),
)

VIEWS = (
    View("ShowTimeline", "/api/timeline", ShowTimeline, show_timeline, ("timeline", "documents"), "timeline:read"),
    View("ShowMoment", "/api/timeline/{position}", ShowMoment, show_moment, ("timeline", "documents"),
         "timeline:read"),
)
