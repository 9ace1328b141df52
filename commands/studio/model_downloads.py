"""Asking for the files of models, and what a worker tells of a download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.studio.model_refusals import nothing_to_cancel, over, unacknowledged, workers_ended
from commands.studio.model_risks import Risks, acknowledged
from domain.ids import Token
from domain.studio.fault import Fault
from domain.studio.model import (
    ATTEMPTS,
    Cancelled,
    Failed,
    Finished,
    Model,
    ModelDownloadAdvanced,
    ModelDownloadCancelled,
    ModelDownloadFailed,
    ModelDownloadFinished,
    ModelDownloadRequested,
    ModelDownloadStarted,
    ModelEvent,
    Order,
    Phase,
    Result,
    Underway,
    entry_of,
    unknown_model,
)
from domain.values import Event

REPORT_BYTES: Final = 64 * 2**20
"""How far a download must get before it is recorded again, at least; of large ones it is a twentieth."""

Reason = Annotated[str, Field(max_length=1000)]
Number = Annotated[int, Field(ge=1, le=2**53)]
Bytes = Annotated[int, Field(ge=0, le=2**53)]


class RequestModelDownload(Command):
    """Ask for a model's file; a worker downloads and checks it. Asked again while it runs, it is the same download."""

    model_id: Token
    acknowledge: Risks = ()


class CancelModelDownload(Command):
    """Stop a download, or do not begin it; what had come is thrown away, also of one that has failed."""

    model_id: Token
    reason: Reason = ""


class StartModelDownload(Command):
    """A worker takes the download up."""

    model_id: Token
    number: Number


class ReportModelDownload(Command):
    """How far the download is; refused once nobody wants it any more, which tells the worker to stop."""

    model_id: Token
    number: Number
    phase: Phase
    done: Bytes = 0
    total: Bytes = 0


class FinishModelDownload(Command):
    """The file is in the models folder."""

    model_id: Token
    number: Number
    result: Result


class FailModelDownload(Command):
    """The file cannot be had."""

    model_id: Token
    number: Number
    fault: Fault


def download(command: RequestModelDownload, state: Model, asked: Asked) -> list[ModelEvent]:
    """Nothing while it is being downloaded. Raises ``Refused`` for risks that nobody has acknowledged."""
    model_id = command.model_id
    entry = entry_of(model_id, state)
    more = acknowledged(model_id, entry, state, command.acknowledge, asked)
    if isinstance(state.download, Underway):
        return [*more]
    accepted = state.accepted(entry) | set(command.acknowledge)
    if missing := [risk for risk in entry.risks() if risk not in accepted]:
        raise unacknowledged(model_id, entry, missing)
    order = Order(entry=entry, pickle="pickle" in accepted)
    return [*more, ModelDownloadRequested(model_id=model_id, number=state.number + 1, order=order)]


def cancel(command: CancelModelDownload, state: Model, asked: Asked) -> list[ModelEvent]:
    """Nothing when it is cancelled already. Raises ``Refused`` where nothing is downloaded or left of a download."""
    if isinstance(state.download, Cancelled):
        return []
    if not isinstance(state.download, Underway | Failed):
        entry_of(command.model_id, state)
        raise nothing_to_cancel(command.model_id, state.download.kind)
    return [ModelDownloadCancelled(model_id=command.model_id, number=state.number, reason=command.reason)]


def start(command: StartModelDownload, state: Model, asked: Asked) -> list[ModelEvent]:
    """Raises ``Refused`` for what is over; after too many workers it fails instead."""
    found = _underway(command.model_id, command.number, state)
    if found.attempt >= ATTEMPTS:
        return [ModelDownloadFailed(
            model_id=command.model_id, number=command.number, fault=workers_ended(ATTEMPTS)
        )]
    return [ModelDownloadStarted(model_id=command.model_id, number=command.number, attempt=found.attempt + 1)]


def report(command: ReportModelDownload, state: Model, asked: Asked) -> list[ModelEvent]:
    """Nothing when it has not got far enough to be worth an event."""
    found = _underway(command.model_id, command.number, state)
    step = max(REPORT_BYTES, command.total // 20)
    same = (found.phase, found.total) == (command.phase, command.total)
    if same and found.done <= command.done < found.done + step:
        return []
    return [ModelDownloadAdvanced(
        model_id=command.model_id, number=command.number, phase=command.phase, done=command.done, total=command.total,
    )]


def finish(command: FinishModelDownload, state: Model, asked: Asked) -> list[ModelEvent]:
    """Nothing when it is finished with the same file."""
    if isinstance(state.download, Finished) and state.number == command.number:
        now, then = command.result, state.download.result
        if (now.path, now.sha256) == (then.path, then.sha256):
            return []
    _underway(command.model_id, command.number, state)
    return [ModelDownloadFinished(model_id=command.model_id, number=command.number, result=command.result)]


def fail(command: FailModelDownload, state: Model, asked: Asked) -> list[ModelEvent]:
    """Raises ``Refused`` for what is over already."""
    _underway(command.model_id, command.number, state)
    return [ModelDownloadFailed(model_id=command.model_id, number=command.number, fault=command.fault)]


def _underway(model_id: str, number: int, state: Model) -> Underway:
    if isinstance(state.download, Underway) and state.number == number:
        return state.download
    if not state.number:
        raise unknown_model(model_id)
    raise over(model_id, state.download.kind)


def numbered(events: Sequence[Event]) -> Mapping[str, Any]:
    """Which download it is."""
    return next(({"download": one.number} for one in events if isinstance(one, ModelDownloadRequested)), {})


COMMANDS = (
    Asking(RequestModelDownload, download, id_field="model_id", scope="model:write", told=numbered),
    Asking(CancelModelDownload, cancel, id_field="model_id", scope="model:write",
           route="POST /api/models/{model_id}/cancel"),
)

INNER = (
    Asking(StartModelDownload, start, id_field="model_id", scope="model:write"),
    Asking(ReportModelDownload, report, id_field="model_id", scope="model:write"),
    Asking(FinishModelDownload, finish, id_field="model_id", scope="model:write"),
    Asking(FailModelDownload, fail, id_field="model_id", scope="model:write"),
)
"""What a worker tells."""
