"""Asking for an export, and telling how far it is: who wants one, and the worker that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from commands.declaration import Asking, Command
from commands.envelope import Asked
from domain.errors import Invalid, NotFound, Refused, Remedy
from domain.exchange.export import (
    ATTEMPTS,
    Cancelled,
    ExportAdvanced,
    ExportCancelled,
    ExportEvent,
    ExportFailed,
    ExportFinished,
    ExportRequested,
    ExportStarted,
    Failure,
    Finished,
    Open,
    Order,
    Phase,
    Result,
    State,
    Unrequested,
)
from domain.ids import Token
from domain.ports import BlobInfo

Reason = Annotated[str, Field(max_length=1000)]


class RequestExport(Command):
    """Ask for an export; a worker makes it once the project's policy allows it."""

    export_id: Token | None = None
    order: Order = Order()
    decisions: Annotated[tuple[Token, ...], Field(max_length=200)] = ()

    @model_validator(mode="after")
    def _one_story(self) -> RequestExport:
        if self.order.timeline is not None and self.order.scene is not None:
            raise ValueError("name a timeline or a scene, not both")
        if len(set(self.order.worldlines)) != len(self.order.worldlines):
            raise ValueError("names a worldline twice")
        return self


class StartExport(Command):
    """A worker takes the export up."""

    export_id: Token


class ReportExport(Command):
    """How far the export is; refused once nobody wants it any more, which tells the worker to stop."""

    export_id: Token
    phase: Phase
    done: Annotated[int, Field(ge=0, le=2**40)] = 0
    total: Annotated[int, Field(ge=0, le=2**40)] = 0


class FinishExport(Command):
    """The export is there: its archive is stored."""

    export_id: Token
    result: Result


class FailExport(Command):
    """The export cannot be made."""

    export_id: Token
    failure: Failure


class CancelExport(Command):
    """Stop the export, or do not begin it; nothing of it is kept."""

    export_id: Token
    reason: Reason = ""


def request(command: RequestExport, state: State, asked: Asked) -> list[ExportEvent]:
    """Nothing when it was asked for so already; what is exported is pinned now."""
    assert command.export_id is not None
    order = command.order
    if not order.position:
        order = order.model_copy(update={"position": asked.head})
    elif order.position > asked.head:
        raise Invalid(
            f"Position {order.position} has not happened yet; the newest is {asked.head}.",
            error="position_in_future",
            remediation=[Remedy("Use a position that an answer has given out.", "use_known_position")],
            detail={"position": order.position, "head": asked.head},
        )
    if not isinstance(state, Unrequested):
        if state.order == (order if command.order.position else order.model_copy(
            update={"position": state.order.position}
        )):
            return []
        raise Refused(
            f"There is another export {command.export_id} already.", error="export_exists",
            remediation=[Remedy("Leave the id away: it gets one.", "drop_id")],
            detail={"export_id": command.export_id},
        )
    return [ExportRequested(export_id=command.export_id, order=order, decisions=command.decisions)]


def start(command: StartExport, state: State, asked: Asked) -> list[ExportEvent]:
    """Raises ``Refused`` for what is over; after too many dead workers it fails instead."""
    export = _open(command.export_id, state)
    if export.attempt >= ATTEMPTS:
        failure = Failure(
            error="workers_died", message=f"{ATTEMPTS} workers died over this export.",
            remediation=({"text": "Look at the workers' logs, then ask for it again.", "action": "ask_again"},),
        )
        return [ExportFailed(export_id=command.export_id, failure=failure)]
    return [ExportStarted(export_id=command.export_id, attempt=export.attempt + 1)]


def report(command: ReportExport, state: State, asked: Asked) -> list[ExportEvent]:
    """Nothing when it is so already."""
    export = _open(command.export_id, state)
    if (export.phase, export.done, export.total) == (command.phase, command.done, command.total):
        return []
    return [ExportAdvanced(
        export_id=command.export_id, phase=command.phase, done=command.done, total=command.total,
    )]


def finish(command: FinishExport, state: State, asked: Asked) -> list[ExportEvent]:
    """Nothing when it is finished with the same result."""
    if isinstance(state, Finished) and state.result == command.result:
        return []
    _open(command.export_id, state)
    return [ExportFinished(export_id=command.export_id, result=command.result)]


def fail(command: FailExport, state: State, asked: Asked) -> list[ExportEvent]:
    """Raises ``Refused`` for what is over already."""
    _open(command.export_id, state)
    return [ExportFailed(export_id=command.export_id, failure=command.failure)]


def cancel(command: CancelExport, state: State, asked: Asked) -> list[ExportEvent]:
    """Nothing when it is cancelled already; raises ``Refused`` for what is finished or has failed."""
    if isinstance(state, Cancelled):
        return []
    _open(command.export_id, state)
    return [ExportCancelled(export_id=command.export_id, reason=command.reason)]


def _open(export_id: str, state: State) -> Open:
    match state:
        case Open():
            return state
        case Unrequested():
            raise NotFound(
                f"There is no export {export_id}.", error="unknown_export",
                remediation=[Remedy("List the exports of the project.", "list_exports")],
                detail={"export_id": export_id},
            )
        case _:
            raise Refused(
                f"Export {export_id} is {state.kind} already.", error=f"export_{state.kind}",
                remediation=[Remedy("Ask for another export.", "request_export")],
                detail={"export_id": export_id, "status": state.kind},
            )


def stored(command: FinishExport) -> Sequence[BlobInfo]:
    """The archive must be stored before the export is finished."""
    return (BlobInfo(command.result.digest, command.result.size),)


COMMANDS = (
    Asking(RequestExport, request, id_field="export_id", scope="export:write", route="POST /api/exports",
           creates=True, needs_head=True),
    Asking(StartExport, start, id_field="export_id", scope="export:write"),
    Asking(ReportExport, report, id_field="export_id", scope="export:write"),
    Asking(FinishExport, finish, id_field="export_id", scope="export:write", blobs=stored),
    Asking(FailExport, fail, id_field="export_id", scope="export:write"),
    Asking(CancelExport, cancel, id_field="export_id", scope="export:write",
           route="POST /api/exports/{export_id}/cancel"),
)
