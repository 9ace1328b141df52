"""Models as people see them: entries of their own, what was acknowledged about any, and how downloads stand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from domain.errors import NotFound, Remedy
from domain.ids import Token
from domain.studio.fault import Fault
from domain.studio.model import (
    CATEGORY,
    ModelAdded,
    ModelChanged,
    ModelDownloadAdvanced,
    ModelDownloadCancelled,
    ModelDownloadFailed,
    ModelDownloadFinished,
    ModelDownloadRequested,
    ModelDownloadStarted,
    ModelRemoved,
    ModelRisksAcknowledged,
    unknown_model,
)
from domain.studio.model_entry import Entry
from domain.studio.model_values import ModelType, licence
from domain.tables import Change, Drop, Patch, Put, Reader, Row, Table, Where
from projections.declaration import Happened, Projection
from projections.orders import OrdersQuery, advanced, newest_first, requested
from projections.reading import PageQuery, Query, View, page

CUSTOM = Table(
    name="custom_models",
    columns={
        "project": "text", "model_id": "text", "name": "text", "type": "text", "license": "text", "entry": "json",
        "actor": "text", "version": "int", "position": "int", "added_at": "text", "updated_at": "text",
    },
    key=("project", "model_id"),
    indexes=(("project", "type", "model_id"), ("project", "license", "model_id")),
)

ACKNOWLEDGED = Table(
    name="model_acknowledgements",
    columns={
        "project": "text", "model_id": "text", "risk": "text", "about": "text", "license": "text",
        "license_url": "text", "acknowledged_by": "text", "acknowledged_at": "text", "position": "int",
    },
    key=("project", "model_id", "risk"),
)

DOWNLOADS = Table(
    name="model_downloads",
    columns={
        "project": "text", "model_id": "text", "number": "int", "status": "text", "entry": "json", "attempt": "int",
        "phase": "text", "done": "int", "total": "int", "result": "json", "fault": "json", "reason": "text",
        "actor": "text", "position": "int", "requested_position": "int", "created_at": "text", "updated_at": "text",
    },
    key=("project", "model_id"),
    indexes=(("project", "requested_position"), ("project", "status", "requested_position")),
)
"""The newest download of each model; the log has the others."""


def apply(happened: Happened) -> Iterable[Change]:
    """An entry, an acknowledgement or a download is a row each; what follows sets what it changed."""
    recorded, event = happened
    key = {"project": recorded.stream.project, "model_id": recorded.stream.id}
    moment = {"position": recorded.position, "updated_at": recorded.time}
    match event:
        case ModelAdded():
            yield Put(CUSTOM.name, {
                **key, **_entry(event.entry), "actor": recorded.actor, "version": recorded.version,
                "added_at": recorded.time, **moment,
            })
        case ModelChanged():
            yield Patch(CUSTOM.name, key, {**_entry(event.entry), "version": recorded.version, **moment})
        case ModelRemoved():
            yield Drop(CUSTOM.name, key)
            yield Drop(ACKNOWLEDGED.name, key)
        case ModelRisksAcknowledged():
            for risk, about in event.risks.items():
                yield Put(ACKNOWLEDGED.name, {
                    **key, "risk": risk, "about": about, "license": event.license, "license_url": event.license_url,
                    "acknowledged_by": event.acknowledged_by, "acknowledged_at": event.acknowledged_at,
                    "position": recorded.position,
                })
        case ModelDownloadRequested():
            yield Put(DOWNLOADS.name, {
                **key, **requested(happened), "number": event.number,
                "entry": event.order.entry.model_dump(mode="json"), "fault": None, **moment,
            })
        case _:
            if changed := _went_on(event):
                yield Patch(DOWNLOADS.name, key, {**changed, **moment})
    if not isinstance(event, ModelAdded | ModelChanged | ModelRemoved):
        # The version that If-Match takes is that of everything that has happened to the model.
        yield Patch(CUSTOM.name, key, {"version": recorded.version, "position": recorded.position})


def _went_on(event: Any) -> dict[str, Any]:
    match event:
        case ModelDownloadStarted():
            return {"status": "running", "attempt": event.attempt, "phase": "connecting"}
        case ModelDownloadAdvanced():
            return advanced(event)
        case ModelDownloadFinished():
            size = event.result.size_bytes
            return {"status": "finished", "phase": "placing", "done": size, "total": size,
                    "result": event.result.model_dump(mode="json")}
        case ModelDownloadFailed():
            return {"status": "failed", "fault": event.fault.model_dump(mode="json")}
        case ModelDownloadCancelled():
            return {"status": "cancelled", "reason": event.reason}
    return {}


def _entry(entry: Entry) -> dict[str, Any]:
    return {"name": entry.name, "type": entry.type, "license": entry.license, "entry": entry.model_dump(mode="json")}


class ListCustomModels(PageQuery):
    """Entries of the project's own, by id."""

    type: ModelType | None = None
    license: str | None = Field(default=None, max_length=100)


class ShowCustomModel(Query):
    """One entry of the project's own, and who acknowledged what about it."""

    model_id: Token


class ListModelDownloads(OrdersQuery):
    """The newest download of each model, newest first."""


class ShowModelDownload(Query):
    """The newest download of a model: how far it is, what came of it."""

    model_id: Token


def list_custom(reader: Reader, query: ListCustomModels) -> dict[str, Any]:
    """A page of entries."""
    where = [Where("project", "=", query.project)]
    if query.type is not None:
        where.append(Where("type", "=", query.type))
    if query.license is not None:
        where.append(Where("license", "=", licence(query.license)))
    return page(reader, CUSTOM.name, *where, order=("model_id",), limit=query.limit, cursor=query.cursor,
                shape=custom_shape)


def show_custom(reader: Reader, query: ShowCustomModel) -> dict[str, Any]:
    """One entry; raises ``NotFound``."""
    row = reader.row(CUSTOM.name, project=query.project, model_id=query.model_id)
    if row is None:
        raise unknown_model(query.model_id)
    return custom_shape(row) | {"acknowledged": acknowledgements(reader, query.project, query.model_id)}


def acknowledgements(reader: Reader, project: str, model_id: str) -> list[dict[str, Any]]:
    """Who has acknowledged what about a model."""
    rows = reader.rows(ACKNOWLEDGED.name, Where("project", "=", project), Where("model_id", "=", model_id),
                       order=("risk",))
    return [{name: row[name] for name in ("risk", "about", "license", "license_url", "acknowledged_by",
                                          "acknowledged_at")} for row in rows]


def list_downloads(reader: Reader, query: ListModelDownloads) -> dict[str, Any]:
    """A page of downloads."""
    return newest_first(reader, DOWNLOADS.name, query, download_shape)


def show_download(reader: Reader, query: ShowModelDownload) -> dict[str, Any]:
    """One download; raises ``NotFound``."""
    row = reader.row(DOWNLOADS.name, project=query.project, model_id=query.model_id)
    if row is None:
        raise NotFound(
            f"Nobody has asked for a download of {query.model_id}.", error="unknown_download",
            remediation=[Remedy("Ask for it: POST /api/models/{id}/download.", "download_model")],
            detail={"model": query.model_id},
        )
    return download_shape(row)


def custom_shape(row: Row) -> dict[str, Any]:
    """An entry of somebody's own as lists and the single view show it."""
    entry = Entry.model_validate(row["entry"])
    return {
        "id": row["model_id"], "origin": "custom", **entry.told(), "warnings": entry.warnings(),
        "added_by": row["actor"], "added_at": row["added_at"], "updated_at": row["updated_at"],
        "version": row["version"], "position": row["position"],
    }


def download_shape(row: Row) -> dict[str, Any]:
    """A download as people see it; a failed one with what to do next."""
    fault = Fault.model_validate(row["fault"]) if row["fault"] else None
    entry = Entry.model_validate(row["entry"])
    return {
        "id": row["model_id"], "number": row["number"], "status": row["status"], "name": entry.name,
        "path": entry.path, "license": entry.license, "attempt": row["attempt"],
        "progress": {"phase": row["phase"], "done": row["done"], "total": row["total"] or entry.size_bytes or 0},
        "result": row["result"],
        "error": None if fault is None else {
            "code": fault.code, "message": fault.message, "retryable": fault.retryable, "detail": fault.detail,
            "remediation": fault.remediation(),
        },
        "reason": row["reason"], "requested_by": row["actor"], "requested_at": row["created_at"],
        "updated_at": row["updated_at"], "position": row["position"],
    }


PROJECTIONS = (
    Projection(
        name="models", version=1, tables=(CUSTOM, ACKNOWLEDGED, DOWNLOADS), apply=apply,
        categories=frozenset({CATEGORY}), about="Entries of one's own, what was acknowledged, how downloads stand.",
    ),
)

VIEWS = (
    View("ListCustomModels", "/api/models/custom", ListCustomModels, list_custom, ("models",), "model:read"),
    View("ShowCustomModel", "/api/models/custom/{model_id}", ShowCustomModel, show_custom, ("models",), "model:read"),
    View("ListModelDownloads", "/api/models/downloads", ListModelDownloads, list_downloads, ("models",), "model:read"),
    View("ShowModelDownload", "/api/models/{model_id}/download", ShowModelDownload, show_download, ("models",),
         "model:read"),
)
