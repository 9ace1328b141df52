"""Save slots as people see them: what each holds, and which there are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from domain.bounded_json import json_size
from domain.errors import NotFound, Remedy
from domain.story.save import CATEGORY, SlotDeleted, SlotName, SlotSaved, milliseconds, shown, slot_id
from domain.tables import Change, Drop, Put, Reader, Row, Table, Where
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, Query, View, page

SLOTS = Table(
    name="save_slots",
    columns={
        "project": "text", "slot_id": "text", "slot": "text", "body": "json", "size_bytes": "int", "saved_at": "text",
        "playthrough": "text", "version": "int", "position": "int", "actor": "text",
    },
    key=("project", "slot_id"),
    indexes=(("project", "slot"),),
    nullable=frozenset({"playthrough"}),
)


def apply(happened: Happened) -> Iterable[Change]:
    """The slot as it is now. What it held before stands in the log."""
    recorded, event = happened
    key = {"project": recorded.stream.project, "slot_id": recorded.stream.id}
    if isinstance(event, SlotSaved):
        yield Put(SLOTS.name, {
            **key, "slot": event.slot, "body": event.body, "size_bytes": json_size(event.body),
            "saved_at": event.saved_at, "playthrough": event.kept.playthrough_id if event.kept else None,
            "version": recorded.version, "position": recorded.position, "actor": recorded.actor,
        })
    elif isinstance(event, SlotDeleted):
        yield Drop(SLOTS.name, key)


class ListSaves(PageQuery):
    """The slots of a project that hold something, by their names."""


class ShowSave(Query):
    """What a slot holds."""

    slot: SlotName


def list_saves(reader: Reader, query: ListSaves) -> dict[str, Any]:
    """``{"slots": [{"slot", "saved_at", "saved_at_iso", "size_bytes", …}], "next"}``."""
    found = page(
        reader, SLOTS.name, Where("project", "=", query.project), order=("slot",), limit=query.limit,
        cursor=query.cursor, shape=_listed,
    )
    return {"slots": found["items"], "next": found["next"]}


def _listed(row: Row) -> dict[str, Any]:
    return {
        "slot": row["slot"], "saved_at": milliseconds(row["saved_at"]), "saved_at_iso": row["saved_at"],
        "size_bytes": row["size_bytes"], "playthrough": row["playthrough"], "version": row["version"],
        "saved_by": row["actor"],
    }


def show_save(reader: Reader, query: ShowSave) -> dict[str, Any]:
    """``{"ok", "save": {…body, "slot", "saved_at", "saved_at_iso"}}``; raises ``NotFound``."""
    row = reader.row(SLOTS.name, project=query.project, slot_id=slot_id(query.slot))
    if row is None:
        raise NotFound(
            f"Nothing is saved in slot {query.slot!r} of project {query.project}.", error="unknown_slot",
            remediation=[Remedy("List the slots: GET /api/save/list.", "list_slots")],
            detail={"slot": query.slot, "project": query.project},
        )
    return {
        "ok": True, "save": shown(row["slot"], row["saved_at"], row["body"]), "size_bytes": row["size_bytes"],
        "version": row["version"], "position": row["position"],
    }


PROJECTIONS = (
    Projection(
        name="saves", version=1, tables=(SLOTS,), apply=apply, categories=frozenset({CATEGORY}),
        about="What every save slot holds.",
    ),
)

VIEWS = (
    View("ListSaves", "/api/save/list", ListSaves, list_saves, ("saves",), f"{CATEGORY}:read"),
    View("ShowSave", "/api/save/{slot}", ShowSave, show_save, ("saves",), f"{CATEGORY}:read"),
)
