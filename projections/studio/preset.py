"""Presets of a project's own as they were written. What can be run now is shown beside those of the studio."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from domain.ids import Token
from domain.studio.preset import (
    CATEGORY,
    PresetCreated,
    PresetDeleted,
    PresetReplaced,
    PresetRestored,
    deleted_preset,
    unknown_preset,
)
from domain.tables import Change, Patch, Put, Reader, Row, Table, Where
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, Query, View, page

PRESETS = Table(
    name="presets",
    columns={
        "project": "text", "preset_id": "text", "name": "text", "category": "text", "document": "json",
        "deleted": "bool", "version": "int", "position": "int", "created_at": "text", "updated_at": "text",
    },
    key=("project", "preset_id"),
    indexes=(("project", "deleted", "preset_id"),),
)


def apply(happened: Happened) -> Iterable[Change]:
    """A preset is a row with its whole document."""
    recorded, event = happened
    key = {"project": recorded.stream.project, "preset_id": recorded.stream.id}
    told = {"version": recorded.version, "position": recorded.position, "updated_at": recorded.time}
    match event:
        case PresetCreated():
            yield Put(PRESETS.name, {
                **key, **_said(event.document), "deleted": False, "created_at": recorded.time, **told,
            })
        case PresetReplaced() | PresetRestored():
            yield Patch(PRESETS.name, key, {**_said(event.document), "deleted": False, **told})
        case PresetDeleted():
            yield Patch(PRESETS.name, key, {"deleted": True, **told})


def _said(document: dict[str, Any]) -> dict[str, Any]:
    return {"name": str(document.get("name", "")), "category": str(document.get("category", "")), "document": document}


class ListOwnPresets(PageQuery):
    """The presets that the project has written itself, by id, each whole."""

    deleted: bool = Field(default=False, description="Only deleted ones, which can be restored.")


class ShowOwnPreset(Query):
    """One preset of the project's own, as `PUT` takes it, with its version."""

    id: Token


def list_own_presets(reader: Reader, query: ListOwnPresets) -> dict[str, Any]:
    """A page of presets with where they stand."""
    return page(
        reader, PRESETS.name, Where("project", "=", query.project), Where("deleted", "=", query.deleted),
        order=("preset_id",), limit=query.limit, cursor=query.cursor, shape=shape,
    )


def show_own_preset(reader: Reader, query: ShowOwnPreset) -> dict[str, Any]:
    """One preset; raises ``NotFound``."""
    row = reader.row(PRESETS.name, project=query.project, preset_id=query.id)
    if row is None:
        raise unknown_preset(query.id)
    if row["deleted"]:
        raise deleted_preset(query.id)
    return shape(row)


def shape(row: Row) -> dict[str, Any]:
    """A preset as list and single view show it."""
    names = ("deleted", "version", "position", "created_at", "updated_at")
    return {"id": row["preset_id"], "preset": row["document"], **{name: row[name] for name in names}}


PROJECTIONS = (
    Projection(
        name="presets", version=1, tables=(PRESETS,), apply=apply, categories=frozenset({CATEGORY}),
        about="The presets that projects have written themselves.",
    ),
)

VIEWS = (
    View("ListOwnPresets", "/api/presets/own", ListOwnPresets, list_own_presets, ("presets",), "preset:read"),
    View("ShowOwnPreset", "/api/presets/own/{id}", ShowOwnPreset, show_own_preset, ("presets",), "preset:read"),
)
