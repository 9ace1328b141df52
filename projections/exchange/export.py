"""Exports as people see them: what was asked for, how far it is, and where it can be had."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from domain.errors import NotFound, Remedy
from domain.exchange.export import (
    CATEGORY,
    ExportAdvanced,
    ExportCancelled,
    ExportFailed,
    ExportFinished,
    ExportRequested,
    ExportStarted,
)
from domain.ids import Token
from domain.tables import Change, Patch, Put, Reader, Row, Table
from projections.declaration import Happened, Projection
from projections.orders import OrdersQuery, advanced, newest_first, requested
from projections.reading import Query, View

EXPORTS = Table(
    name="exports",
    columns={
        "project": "text", "export_id": "text", "status": "text", "kind": "text", "ordered": "json",
        "decisions": "json", "attempt": "int", "phase": "text", "done": "int", "total": "int", "result": "json",
        "failure": "json", "reason": "text", "actor": "text", "version": "int", "position": "int",
        "requested_position": "int", "created_at": "text", "updated_at": "text",
    },
    key=("project", "export_id"),
    indexes=(("project", "requested_position"), ("project", "status", "requested_position")),
)


def apply(happened: Happened) -> Iterable[Change]:
    """A request is a row; whatever follows sets what it changed."""
    recorded, event = happened
    key = {"project": recorded.stream.project, "export_id": recorded.stream.id}
    told = {"version": recorded.version, "position": recorded.position, "updated_at": recorded.time}
    match event:
        case ExportRequested():
            yield Put(EXPORTS.name, {
                **key, **requested(happened), "kind": event.order.kind, "ordered": event.order.model_dump(mode="json"),
                "decisions": list(event.decisions), "failure": None, **told,
            })
        case ExportStarted():
            changed = {"status": "running", "attempt": event.attempt, "phase": "reading", "done": 0, "total": 0}
            yield Patch(EXPORTS.name, key, {**changed, **told})
        case ExportAdvanced():
            yield Patch(EXPORTS.name, key, {**advanced(event), **told})
        case ExportFinished():
            result = event.result.model_dump(mode="json")
            yield Patch(EXPORTS.name, key, {"status": "finished", "result": result, **told})
        case ExportFailed():
            failure = event.failure.model_dump(mode="json")
            yield Patch(EXPORTS.name, key, {"status": "failed", "failure": failure, **told})
        case ExportCancelled():
            yield Patch(EXPORTS.name, key, {"status": "cancelled", "reason": event.reason, **told})


class ListExports(OrdersQuery):
    """Exports, newest first."""


class ShowExport(Query):
    """One export: what was asked for, how far it is, what came of it."""

    export_id: Token


def list_exports(reader: Reader, query: ListExports) -> dict[str, Any]:
    """A page of exports."""
    return newest_first(reader, EXPORTS.name, query, shape)


def show_export(reader: Reader, query: ShowExport) -> dict[str, Any]:
    """One export; raises ``NotFound``."""
    row = reader.row(EXPORTS.name, project=query.project, export_id=query.export_id)
    if row is None:
        raise NotFound(
            f"Project {query.project} has no export {query.export_id}.", error="unknown_export",
            remediation=[Remedy("List the exports of the project.", "list_exports")],
            detail={"project": query.project, "export_id": query.export_id},
        )
    return shape(row)


def shape(row: Row) -> dict[str, Any]:
    """An export as the list and the single view show it."""
    hidden = {"project", "export_id", "phase", "done", "total", "ordered"}
    told = {name: value for name, value in row.items() if name not in hidden}
    progress = {name: row[name] for name in ("phase", "done", "total")}
    file = f"/api/exports/{row['export_id']}/file?project={row['project']}" if row["status"] == "finished" else None
    return {"id": row["export_id"], "order": row["ordered"], "progress": progress, "file": file, **told}


PROJECTIONS = (
    Projection(
        name="exports", version=1, tables=(EXPORTS,), apply=apply, categories=frozenset({CATEGORY}),
        about="What was asked for, how far it is, and what came of it.",
    ),
)

VIEWS = (
    View("ListExports", "/api/exports", ListExports, list_exports, ("exports",), "export:read"),
    View("ShowExport", "/api/exports/{export_id}", ShowExport, show_export, ("exports",), "export:read"),
)
