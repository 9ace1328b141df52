"""Asking for models: entries of one's own, acknowledging what is risky, downloads; and what a worker tells of those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.studio.model_refusals import (
    another_entry,
    curated,
    nothing_to_cancel,
    over,
    underway,
    unfit_change,
    unknown_risk,
    workers_ended,
)
from commands.studio.model_refusals import unacknowledged as not_acknowledged
from domain.ids import TOKEN_LIMIT, Token
from domain.studio.fault import Fault
from domain.studio.model import (
    ATTEMPTS,
    Cancelled,
    Failed,
    Finished,
    Listed,
    Model,
    ModelAdded,
    ModelChanged,
    ModelDownloadAdvanced,
    ModelDownloadCancelled,
    ModelDownloadFailed,
    ModelDownloadFinished,
    ModelDownloadRequested,
    ModelDownloadStarted,
    ModelEvent,
    ModelRemoved,
    ModelRisksAcknowledged,
    Order,
    Phase,
    Removed,
    Result,
    Underway,
    entry_of,
    unknown_model,
)
from domain.studio.model_entry import Described, Entry
from domain.studio.model_library import LIBRARY
from domain.studio.model_values import (
    GATED,
    EngineIds,
    Filename,
    Licence,
    ModelType,
    Name,
    Risk,
    Sha256,
    Size,
    Tags,
    Url,
    WebPage,
    Words,
    slug,
)
from domain.values import Event, Json

REPORT_BYTES: Final = 64 * 2**20
"""How far a download must get before it is recorded again, at least; of large ones it is a twentieth."""

Risks = Annotated[tuple[Risk, ...], Field(max_length=10)]
Reason = Annotated[str, Field(max_length=1000)]
Number = Annotated[int, Field(ge=1, le=2**53)]
Bytes = Annotated[int, Field(ge=0, le=2**53)]


class AddModel(Command, Described):
    """Add an entry of one's own. Without an id it gets ``custom-`` and its name; ids of entries begin so.

    An unknown licence and a missing checksum have to be acknowledged: name them in ``acknowledge``.
    """

    model_id: Token | None = Field(default=None, description="Begins with `custom-`; else that is put in front.")
    acknowledge: Risks = ()

    @model_validator(mode="after")
    def _named(self) -> AddModel:
        name = self.model_id or slug(self.name)
        name = name if name.startswith("custom-") else f"custom-{name}"
        if len(name) > TOKEN_LIMIT:
            raise ValueError(f"the id must have at most {TOKEN_LIMIT} characters with `custom-` in front")
        object.__setattr__(self, "model_id", name)  # frozen for everybody else; nobody has seen it yet
        return self


class ChangeModel(Command):
    """Change what an entry of one's own says; only what is named changes, and ``null`` takes it away.

    What was acknowledged about the licence or the file has to be acknowledged anew when that changes.
    """

    model_id: Token
    name: Name | None = None
    type: ModelType | None = None
    url: Url | None = None
    filename: Filename | None = None
    license: Licence | None = None
    license_url: WebPage | None = None
    sha256: Sha256 | None = None
    size_bytes: Size | None = None
    source: Words | None = None
    tags: Tags | None = None
    notes: Words | None = None
    recommended_use: Words | None = None
    hardware_notes: Words | None = None
    engines: EngineIds | None = None
    acknowledge: Risks = ()


class RemoveModel(Command):
    """Take an entry of one's own out of the catalogue. A file that was downloaded stays where it is."""

    model_id: Token


class AcknowledgeModel(Command):
    """Take responsibility for what is risky about a model: recorded with your name and what it was about."""

    model_id: Token
    acknowledge: Annotated[tuple[Risk, ...], Field(min_length=1, max_length=10)]


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


# --- entries --------------------------------------------------------------------------------------------------------


def add(command: AddModel, state: Model, asked: Asked) -> list[ModelEvent]:
    """Nothing when it is there, word for word. Raises ``Refused`` for another one of that id, and for risks that
    nobody has acknowledged."""
    model_id = str(command.model_id)
    _own(model_id)
    entry = Entry.model_validate({name: getattr(command, name) for name in Described.model_fields})
    if isinstance(state.listing, Listed):
        if state.listing.entry != entry:
            raise another_entry(model_id)
        return [*_acknowledged(model_id, entry, state, command.acknowledge, asked)]
    _gate(model_id, entry, Model(), command.acknowledge)
    return [
        ModelAdded(model_id=model_id, entry=entry),
        *_acknowledged(model_id, entry, state, command.acknowledge, asked),
    ]


def change(command: ChangeModel, state: Model, asked: Asked) -> list[ModelEvent]:
    """Nothing when it is so already. Raises ``Refused`` while it is being downloaded, and as ``add`` does."""
    listed = _listed(command.model_id, state)
    given = {name: getattr(command, name) for name in command.model_fields_set & Described.model_fields.keys()}
    for name, value in given.items():
        if value is None:
            if (field := Described.model_fields[name]).is_required():
                raise unfit_change(name)
            given[name] = field.get_default()
    entry = Entry.model_validate(listed.entry.model_dump() | given)
    more = _acknowledged(command.model_id, entry, state, command.acknowledge, asked)
    if entry == listed.entry:
        return [*more]
    _idle(command.model_id, state)
    _gate(command.model_id, entry, state, command.acknowledge)
    return [ModelChanged(model_id=command.model_id, entry=entry), *more]


def remove(command: RemoveModel, state: Model, asked: Asked) -> list[ModelEvent]:
    """Nothing when it was removed already. Raises ``Refused`` while it is being downloaded."""
    if isinstance(state.listing, Removed):
        return []
    _listed(command.model_id, state)
    _idle(command.model_id, state)
    return [ModelRemoved(model_id=command.model_id)]


def acknowledge(command: AcknowledgeModel, state: Model, asked: Asked) -> list[ModelEvent]:
    """Nothing when all of it was acknowledged. Raises ``Invalid`` for what is no risk of this model."""
    entry = entry_of(command.model_id, state)
    return [*_acknowledged(command.model_id, entry, state, command.acknowledge, asked)]


def _acknowledged(
    model_id: str, entry: Entry, state: Model, risks: Sequence[Risk], asked: Asked
) -> list[ModelRisksAcknowledged]:
    known = entry.risks()
    for risk in risks:
        if risk not in known:
            raise unknown_risk(model_id, risk, known)
    new = {risk: entry.basis(risk) for risk in known if risk in risks and risk not in state.accepted(entry)}
    if not new:
        return []
    return [ModelRisksAcknowledged(
        model_id=model_id, risks=dict(new), license=entry.license, license_url=entry.license_url,
        acknowledged_by=asked.actor, acknowledged_at=asked.time,
    )]


def _gate(model_id: str, entry: Entry, state: Model, given: Sequence[Risk]) -> None:
    missing = [risk for risk in entry.risks()
               if risk in GATED and risk not in given and risk not in state.accepted(entry)]
    if missing:
        raise not_acknowledged(model_id, entry, missing)


# --- downloads ------------------------------------------------------------------------------------------------------


def download(command: RequestModelDownload, state: Model, asked: Asked) -> list[ModelEvent]:
    """Nothing while it is being downloaded. Raises ``Refused`` for risks that nobody has acknowledged."""
    model_id = command.model_id
    entry = entry_of(model_id, state)
    more = _acknowledged(model_id, entry, state, command.acknowledge, asked)
    if isinstance(state.download, Underway):
        return [*more]
    accepted = state.accepted(entry) | set(command.acknowledge)
    if missing := [risk for risk in entry.risks() if risk not in accepted]:
        raise not_acknowledged(model_id, entry, missing)
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


def _own(model_id: str) -> None:
    if model_id in LIBRARY:
        raise curated(model_id)


def _listed(model_id: str, state: Model) -> Listed:
    _own(model_id)
    if not isinstance(state.listing, Listed):
        raise unknown_model(model_id, removed=isinstance(state.listing, Removed))
    return state.listing


def _idle(model_id: str, state: Model) -> None:
    if isinstance(state.download, Underway):
        raise underway(model_id)


# --- what is told beside --------------------------------------------------------------------------------------------


def warned(events: Sequence[Event]) -> Mapping[str, Json]:
    """What people should know about the entry that they have just written."""
    for event in events:
        if isinstance(event, ModelAdded | ModelChanged):
            return {"warnings": list(event.entry.warnings())}
    return {}


def numbered(events: Sequence[Event]) -> Mapping[str, Any]:
    """Which download it is."""
    return next(({"download": one.number} for one in events if isinstance(one, ModelDownloadRequested)), {})


COMMANDS = (
    Asking(AddModel, add, id_field="model_id", scope="model:write", route="POST /api/models/custom", creates=True,
           told=warned),
    Asking(ChangeModel, change, id_field="model_id", scope="model:write",
           route="PATCH /api/models/custom/{model_id}", told=warned),
    Asking(RemoveModel, remove, id_field="model_id", scope="model:write",
           route="DELETE /api/models/custom/{model_id}"),
    Asking(AcknowledgeModel, acknowledge, id_field="model_id", scope="model:write",
           route="POST /api/models/{model_id}/acknowledge"),
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
