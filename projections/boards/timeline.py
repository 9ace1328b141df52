"""What happened to a thing, to a project, on a worldline: who, when, by which command, before and after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic import Field, ValidatorFunctionWrapHandler, field_validator

from domain.bounded_json import same_json
from domain.errors import NotFound, Remedy
from domain.ids import MAIN, UNBRANCHED, Token
from domain.tables import OPEN, Change, Put, Reader, Row, Table, Where
from projections.boards.documents import FIELDS, lineage
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, Query, View, bad_cursor, decode_cursor, encode_cursor

TIMELINE = Table(
    name="timeline",
    columns={
        "project": "text", "position": "int", "worldline": "text", "category": "text", "id": "text", "type": "text",
        "version": "int", "time": "text", "actor": "text", "command_id": "text", "request": "text",
        "correlation_id": "text", "causation_id": "text",
    },
    key=("project", "position"),
    indexes=(
        # One for every filter, so that what is rare is found as quickly as what is common.
        *(("project", column, "position") for column in ("worldline", "category", "id", "type", "actor", "command_id")),
    ),
)

THING: Final = ("project", "worldline", "category", "id")

CHANGES_LIMIT: Final = 100
"""Most events of a page that also tells what they changed."""

ALL: Final = 1_000_000
"""Rows of one thing: as many as it has."""


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

    worldline: Token | None = Field(default=None, description="One worldline; - is what does not branch.")
    inherited: bool = Field(default=False, description=(
        "With a worldline: also what its parents had seen when it left them, so that its whole past is told."
    ))
    category: Token | None = None
    id: Token | None = None
    type: str | None = Field(default=None, max_length=200)
    actor: str | None = Field(default=None, max_length=200)
    command_id: str | None = Field(default=None, max_length=200)
    since: int = Field(default=0, ge=0, le=2**62, description="Only what happened after this position.")
    as_of: int = Field(default=0, ge=0, le=2**62, description="Only what happened up to this position; 0 is all.")
    changes: bool = Field(default=False, description=(
        f"Add what each event changed, fields before and after; a page then has at most {CHANGES_LIMIT} events."
    ))

    @field_validator("worldline", mode="wrap")
    @classmethod
    def _unbranched(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        return value if value == UNBRANCHED else check(value)


class ShowMoment(Query):
    """One event of a project with what it changed."""

    position: int = Field(ge=1, le=2**62)


def show_timeline(reader: Reader, query: ShowTimeline) -> dict[str, Any]:
    """A page of what happened, newest first; raises ``NotFound`` for the past of a worldline that never was."""
    where = [Where("project", "=", query.project)]
    where += [Where(name, "=", value) for name in ("category", "id", "type", "actor", "command_id")
              if (value := getattr(query, name)) is not None]
    if query.since:
        where.append(Where("position", ">", query.since))
    limit = min(query.limit, CHANGES_LIMIT) if query.changes else query.limit
    (after,) = decode_cursor(query.cursor, 1) or [OPEN]
    if not isinstance(after, int):
        raise bad_cursor()
    found: list[Row] = []
    for worldline, upto in _reaches(reader, query):
        narrowed = [Where("worldline", "=", worldline)] if worldline is not None else []
        newest = min(upto, after - 1)
        found += reader.rows(
            TIMELINE.name, *where, *narrowed, Where("position", "<=", newest), order=("-position",), limit=limit + 1,
        )
    found.sort(key=lambda row: -int(row["position"]))
    more = len(found) > limit
    found = found[:limit]
    shown = [{name: value for name, value in row.items() if name not in ("project", "request")} for row in found]
    if query.changes:
        changes = changed(reader, found)
        for one in shown:
            one["changes"] = changes[one["position"]]
    return {"items": shown, "next": encode_cursor([found[-1]["position"]]) if more else None}


def show_moment(reader: Reader, query: ShowMoment) -> dict[str, Any]:
    """One event and what it changed; raises ``NotFound``."""
    row = reader.row(TIMELINE.name, project=query.project, position=query.position)
    if row is None:
        raise NotFound(
            f"Nothing happened to project {query.project} at position {query.position}.",
            error="unknown_position",
            remediation=[Remedy("List what happened: GET /api/timeline.", "show_timeline")],
            detail={"position": query.position},
        )
    shown = {name: value for name, value in row.items() if name not in ("project", "request")}
    return {**shown, "changes": changed(reader, [row])[query.position]}


def _reaches(reader: Reader, query: ShowTimeline) -> list[tuple[str | None, int]]:
    upto = query.as_of or OPEN - 1
    if query.worldline is None or query.worldline == UNBRANCHED or not query.inherited:
        return [(query.worldline, upto)]
    return [(reach.worldline, reach.upto) for reach in lineage(reader, query.project, query.worldline, query.as_of)]


def changed(reader: Reader, rows: Sequence[Row]) -> dict[int, list[dict[str, Any]] | None]:
    """Position of each event -> what it changed, field by field, with the whole value before and after.

    A field's first value on a branch had its parent's before; what never was has null. ``None`` instead of a list: the
    documents have not counted that event yet.
    """
    counted = reader.position("documents")
    by_thing: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        thing = tuple(row[name] for name in THING)
        by_thing.setdefault(thing, []).append(row["position"])
    told: dict[int, list[dict[str, Any]] | None] = {}
    for thing, positions in by_thing.items():
        for position, changes in _changed(reader, thing, positions).items():
            told[position] = changes if position <= counted else None
    return told


def _changed(reader: Reader, thing: tuple[str, ...], positions: list[int]) -> dict[int, list[dict[str, Any]]]:
    about = [Where(name, "=", value) for name, value in zip(THING, thing, strict=True)]
    began = reader.rows(
        FIELDS.name, *about, Where("valid_from", "in", positions), order=("valid_from", "field"), limit=ALL,
    )
    ended = reader.rows(FIELDS.name, *about, Where("valid_to", "in", positions), limit=ALL)
    before = {(one["valid_to"], one["field"]): one["value"] for one in ended}
    first = sorted({one["field"] for one in began if (one["valid_from"], one["field"]) not in before})
    inherited = _inherited(reader, thing, first) if first else {}
    told: dict[int, list[dict[str, Any]]] = {position: [] for position in positions}
    for one in began:
        field, position = one["field"], one["valid_from"]
        was = before.get((position, field), inherited.get(field))
        if not same_json(was, one["value"]):
            told[position].append({"field": field, "before": was, "after": one["value"]})
    return told


def _inherited(reader: Reader, thing: tuple[str, ...], fields: Sequence[str]) -> dict[str, Any]:
    """What a branch saw of its parents' fields: the same at every position on it, since it left them but once."""
    project, worldline, category, id_ = thing
    if worldline in (MAIN, UNBRANCHED):
        return {}
    found: dict[str, Any] = {}
    for reach in reversed(lineage(reader, project, worldline, 0)[1:]):
        for row in reader.rows(
            FIELDS.name, Where("project", "=", project), Where("worldline", "=", reach.worldline),
            Where("category", "=", category), Where("id", "=", id_), Where("field", "in", fields),
            Where("valid_from", "<=", reach.upto), Where("valid_to", ">", reach.upto), limit=ALL,
        ):
            found[row["field"]] = row["value"]
    return found


PROJECTIONS = (
    Projection(
        name="timeline", version=1, tables=(TIMELINE,), apply=apply, decodes=False,
        about="One row per event: what, who, when, by which command.",
    ),
)

VIEWS = (
    View("ShowTimeline", "/api/timeline", ShowTimeline, show_timeline, ("timeline", "documents", "worldlines"),
         "timeline:read"),
    View("ShowMoment", "/api/timeline/{position}", ShowMoment, show_moment, ("timeline", "documents", "worldlines"),
         "timeline:read"),
)
