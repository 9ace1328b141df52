"""Views as people see them: through whose eyes, on which worldline, and what they looked at before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from domain.ids import MAIN, Token
from domain.story.pov import CATEGORY, DEFAULT_VIEW, HISTORY_LIMIT, PovSet, SlotForked, WorldlineEntered
from domain.story.scene_model import NARRATOR
from domain.tables import Change, Put, Reader, Row, Table, Where
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, Query, View, page

VIEWS_TABLE = Table(
    name="pov_views",
    columns={
        "project": "text", "view_id": "text", "pov": "text", "worldline": "text", "version": "int",
        "updated_at": "text",
    },
    key=("project", "view_id"),
)

CHANGES = Table(
    name="pov_changes",
    columns={
        "project": "text", "view_id": "text", "position": "int", "pov": "text", "previous": "text",
        "worldline": "text", "previous_worldline": "text", "turned": "bool", "time": "text", "actor": "text",
    },
    key=("project", "view_id", "position"),
    indexes=(("project", "view_id", "turned", "position"),),
)

SLOTS = Table(
    name="pov_slots",
    columns={
        "project": "text", "name": "text", "view_id": "text", "slot": "text", "pov": "text", "number": "int",
        "position": "int", "time": "text",
    },
    key=("project", "view_id", "name"),
    indexes=(("project", "view_id", "position"),),
)


def apply(happened: Happened) -> Iterable[Change]:
    """A row for what a view looks at, one for each change, and one for each slot name given out."""
    recorded, event = happened
    project = recorded.stream.project
    match event:
        case PovSet() | WorldlineEntered():
            left = event.previous_worldline if isinstance(event, WorldlineEntered) else event.worldline
            yield Put(VIEWS_TABLE.name, {
                "project": project, "view_id": event.view, "pov": event.pov, "worldline": event.worldline,
                "version": recorded.version, "updated_at": recorded.time,
            })
            yield Put(CHANGES.name, {
                "project": project, "view_id": event.view, "position": recorded.position, "pov": event.pov,
                "previous": event.previous, "worldline": event.worldline,
                "previous_worldline": left,
                "turned": event.pov != event.previous, "time": recorded.time, "actor": recorded.actor,
            })
        case SlotForked():
            yield Put(SLOTS.name, {
                "project": project, "name": event.name, "view_id": event.view, "slot": event.slot, "pov": event.pov,
                "number": event.number, "position": recorded.position, "time": recorded.time,
            })


class ShowPov(Query):
    """Through whose eyes a view looks, on which worldline, and through whose it looked before."""

    view: Token = Field(default=DEFAULT_VIEW, description="Which view.")


class ListPovChanges(PageQuery):
    """What a view looked at, newest first."""

    view: Token = Field(default=DEFAULT_VIEW, description="Which view.")


class ListSlotForks(PageQuery):
    """The slot names that a view has given out, newest first."""

    view: Token = Field(default=DEFAULT_VIEW, description="Which view.")


def show_pov(reader: Reader, query: ShowPov) -> dict[str, Any]:
    """``{"view", "pov", "worldline", "history"}``; the history holds earlier points of view, oldest first."""
    row = reader.row(VIEWS_TABLE.name, project=query.project, view_id=query.view)
    turned = reader.rows(
        CHANGES.name, Where("project", "=", query.project), Where("view_id", "=", query.view),
        Where("turned", "=", True), order=("-position",), limit=HISTORY_LIMIT,
    )
    return {
        "view": query.view, "pov": row["pov"] if row else NARRATOR, "worldline": row["worldline"] if row else MAIN,
        "history": [one["previous"] for one in reversed(turned)], "version": row["version"] if row else 0,
        "updated_at": row["updated_at"] if row else None,
    }


def list_changes(reader: Reader, query: ListPovChanges) -> dict[str, Any]:
    """A page of ``{"position", "time", "actor", "pov", "previous", "worldline", "previous_worldline"}``."""
    return page(
        reader, CHANGES.name, Where("project", "=", query.project), Where("view_id", "=", query.view),
        order=("-position",), limit=query.limit, cursor=query.cursor, shape=_listed,
    )


def list_slots(reader: Reader, query: ListSlotForks) -> dict[str, Any]:
    """A page of ``{"name", "slot", "pov", "number", "position", "time"}``."""
    return page(
        reader, SLOTS.name, Where("project", "=", query.project), Where("view_id", "=", query.view),
        order=("-position",), limit=query.limit, cursor=query.cursor, shape=_listed,
    )


def _listed(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("project", "view_id", "turned")}


PROJECTIONS = (
    Projection(
        name="pov", version=1, tables=(VIEWS_TABLE, CHANGES, SLOTS), apply=apply, categories=frozenset({CATEGORY}),
        about="What views look at, and have looked at.",
    ),
)

VIEWS = (
    View("ShowPov", "/api/pov/get", ShowPov, show_pov, ("pov",), "pov:read"),
    View("ListPovChanges", "/api/pov/history", ListPovChanges, list_changes, ("pov",), "pov:read"),
    View("ListSlotForks", "/api/pov/slots", ListSlotForks, list_slots, ("pov",), "pov:read"),
)
