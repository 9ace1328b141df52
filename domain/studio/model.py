"""Model: an entry of the catalogue, what was acknowledged about it, and its download. Curated ones are no events."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, assert_never

from pydantic import ConfigDict, Field

from domain.context import Context, Fields
from domain.errors import NotFound, Remedy
from domain.studio.fault import Fault
from domain.studio.model_entry import Entry
from domain.studio.model_library import LIBRARY
from domain.studio.model_values import Risk
from domain.values import Event, Value

CATEGORY = "model"

ATTEMPTS: Final = 50
"""Workers that may end over one download before it has failed. Each goes on where the last one stopped."""

Phase = Literal["waiting", "connecting", "downloading", "checking", "placing"]


class Order(Value):
    """What is downloaded, as it stood when it was asked for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    entry: Entry
    pickle: bool = False


class Result(Value):
    """The file that is there: below the models folder, with its digest. ``reused``: it was there already."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: str
    sha256: str
    size_bytes: int = Field(ge=0)
    format: str
    reused: bool = False
    detail: dict[str, Any] = {}


class ModelAdded(Event):
    """Somebody has added an entry of their own."""

    model_id: str
    entry: Entry


class ModelChanged(Event):
    """The entry says something else now; ``entry`` is the whole of it."""

    model_id: str
    entry: Entry


class ModelRemoved(Event):
    """The entry is not in the catalogue any more. A file that was downloaded stays."""

    model_id: str


class ModelRisksAcknowledged(Event):
    """Somebody takes responsibility. ``risks`` maps each to what it was about: the licence, or the file."""

    model_id: str
    risks: dict[str, str]
    license: str
    license_url: str
    acknowledged_by: str
    acknowledged_at: str


class ModelDownloadRequested(Event):
    """Somebody wants the file; ``number`` counts the downloads of this model."""

    model_id: str
    number: int
    order: Order


class ModelDownloadStarted(Event):
    """A worker has taken the download up; from 2 on, after another one ended over it."""

    model_id: str
    number: int
    attempt: int


class ModelDownloadAdvanced(Event):
    """How far it is, now and then: ``done`` of ``total`` bytes (0: nobody knows)."""

    model_id: str
    number: int
    phase: Phase
    done: int
    total: int


class ModelDownloadFinished(Event):
    """The file is in the models folder, and is what was wanted."""

    model_id: str
    number: int
    result: Result


class ModelDownloadFailed(Event):
    """The file could not be had."""

    model_id: str
    number: int
    fault: Fault


class ModelDownloadCancelled(Event):
    """Nobody wants the file any more; what had come of it is thrown away."""

    model_id: str
    number: int
    reason: str


ModelEvent = (
    ModelAdded | ModelChanged | ModelRemoved | ModelRisksAcknowledged | ModelDownloadRequested | ModelDownloadStarted
    | ModelDownloadAdvanced | ModelDownloadFinished | ModelDownloadFailed | ModelDownloadCancelled
)


class Unlisted(Value):
    """No entry of somebody's own; a curated one may have this id."""

    kind: Literal["unlisted"] = "unlisted"


class Listed(Value):
    """An entry of somebody's own."""

    kind: Literal["listed"] = "listed"
    entry: Entry


class Removed(Value):
    """There was one."""

    kind: Literal["removed"] = "removed"


class Idle(Value):
    """No download has been asked for."""

    kind: Literal["idle"] = "idle"


class Underway(Value):
    """A download that is waited for. ``attempt`` 0: no worker has taken it up yet."""

    kind: Literal["underway"] = "underway"
    order: Order
    attempt: int = 0
    phase: Phase = "waiting"
    done: int = 0
    total: int = 0


class Finished(Value):
    """The file is there."""

    kind: Literal["finished"] = "finished"
    order: Order
    result: Result


class Failed(Value):
    """The file could not be had."""

    kind: Literal["failed"] = "failed"
    order: Order
    fault: Fault


class Cancelled(Value):
    """Nobody wanted the file any more."""

    kind: Literal["cancelled"] = "cancelled"
    order: Order


class Model(Value):
    """An entry and its download. ``acknowledged``: risk → what it was about; ``number``: downloads so far."""

    listing: Annotated[Unlisted | Listed | Removed, Field(discriminator="kind")] = Unlisted()
    acknowledged: dict[str, str] = {}
    number: int = 0
    download: Annotated[Idle | Underway | Finished | Failed | Cancelled, Field(discriminator="kind")] = Idle()

    def accepted(self, entry: Entry) -> frozenset[Risk]:
        """Risks of an entry as it is now that somebody has acknowledged."""
        return frozenset(risk for risk in entry.risks() if self.acknowledged.get(risk) == entry.basis(risk))


def entry_of(model_id: str, state: Model) -> Entry:
    """The entry of that id, curated or of somebody's own; raises ``NotFound``."""
    if (curated := LIBRARY.get(model_id)) is not None:
        return curated
    if isinstance(state.listing, Listed):
        return state.listing.entry
    raise unknown_model(model_id, removed=isinstance(state.listing, Removed))


def unknown_model(model_id: str, *, removed: bool = False) -> NotFound:
    """No entry has that id."""
    return NotFound(
        f"The entry {model_id[:100]} was removed." if removed else f"The catalogue has no model {model_id[:100]}.",
        error="model_removed" if removed else "unknown_model",
        remediation=[Remedy("List the catalogue.", "list_models"), Remedy("Or add an entry of your own.", "add_model")],
        detail={"model": model_id[:100]},
    )


def evolve(state: Model, event: ModelEvent) -> Model:
    """What an event makes of a model."""
    match event:
        case ModelAdded() | ModelChanged():
            return state.model_copy(update={"listing": Listed(entry=event.entry)})
        case ModelRemoved():
            return state.model_copy(update={"listing": Removed(), "acknowledged": {}})
        case ModelRisksAcknowledged():
            return state.model_copy(update={"acknowledged": {**state.acknowledged, **event.risks}})
        case ModelDownloadRequested():
            return state.model_copy(update={"number": event.number, "download": Underway(order=event.order)})
        case _:
            return state.model_copy(update={"download": _went_on(state.download, event)})


def _went_on(
    download: Idle | Underway | Finished | Failed | Cancelled,
    event: ModelDownloadStarted | ModelDownloadAdvanced | ModelDownloadFinished | ModelDownloadFailed
    | ModelDownloadCancelled,
) -> Underway | Finished | Failed | Cancelled:
    if isinstance(event, ModelDownloadCancelled):
        assert isinstance(download, Underway | Failed), "there is something to give up"
        return Cancelled(order=download.order)
    assert isinstance(download, Underway), "a download is asked for before anything happens to it"
    match event:
        case ModelDownloadStarted():
            return download.model_copy(update={"attempt": event.attempt, "phase": "connecting"})
        case ModelDownloadAdvanced():
            return download.model_copy(update={"phase": event.phase, "done": event.done, "total": event.total})
        case ModelDownloadFinished():
            return Finished(order=download.order, result=event.result)
        case ModelDownloadFailed():
            return Failed(order=download.order, fault=event.fault)
        case _:
            assert_never(event)


def fields(event: ModelEvent) -> Fields:
    """What an event sets: the entry, what was acknowledged, and how the download stands."""
    match event:
        case ModelAdded() | ModelChanged():
            return {"entry": event.entry.model_dump(mode="json"),
                    "summary": {"title": event.entry.name, "type": event.entry.type}}
        case ModelRemoved():
            return {"summary": None}
        case ModelRisksAcknowledged():
            return {f"acknowledged/{risk}": {"about": about, "by": event.acknowledged_by, "at": event.acknowledged_at}
                    for risk, about in event.risks.items()}
        case ModelDownloadRequested():
            return {"download": "waiting", "number": event.number}
        case ModelDownloadStarted():
            return {"download": "running", "attempt": event.attempt}
        case ModelDownloadAdvanced():
            return {"progress": {"phase": event.phase, "done": event.done, "total": event.total}}
        case ModelDownloadFinished():
            return {"download": "finished", "result": event.result.model_dump(mode="json")}
        case ModelDownloadFailed():
            return {"download": "failed", "fault": event.fault.model_dump(mode="json")}
        case ModelDownloadCancelled():
            return {"download": "cancelled"}
        case _:
            assert_never(event)


CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(
        ModelAdded, ModelChanged, ModelRemoved, ModelRisksAcknowledged, ModelDownloadRequested, ModelDownloadStarted,
        ModelDownloadAdvanced, ModelDownloadFinished, ModelDownloadFailed, ModelDownloadCancelled,
    ),
    state=Model,
    initial=Model(),
    evolve=evolve,
    fields=fields,
)
"""The models of a project."""
