"""Exports: what was asked for, how far it is, and what came of it. Nothing leaves without a decision of the gate."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, assert_never

from pydantic import ConfigDict, Field, JsonValue

from domain.context import Context, Fields
from domain.ids import MAIN, Token
from domain.values import Event, Value

CATEGORY = "export"

ATTEMPTS: Final = 5
"""Workers that may die over one export before it has failed."""

POVS_LIMIT: Final = 50
WORLDS_LIMIT: Final = 20

Words = Annotated[str, Field(max_length=300)]
Pov = Annotated[str, Field(min_length=1, max_length=200)]
Phase = Literal["waiting", "reading", "writing", "packing", "storing"]


class Order(Value):
    """What is to be exported, and how.

    ``position`` pins what is exported (0: what stands when it is asked); ``timeline`` or ``scene`` names one story,
    else it is the one that is played when nobody says. Of several ``worldlines`` the first is the game's own in the
    world mode ``canonical``; ``multi`` lets the player choose. ``povs`` are the points of view that become routes.
    ``mode`` and ``nsfw_acknowledged`` are what the policy's rules look at. ``folder`` names the export among those of
    the project.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["renpy"] = "renpy"
    timeline: Token | None = None
    scene: Token | None = None
    worldlines: Annotated[tuple[Token, ...], Field(min_length=1, max_length=WORLDS_LIMIT)] = (MAIN,)
    world_mode: Literal["canonical", "multi"] = "canonical"
    position: int = Field(default=0, ge=0, le=2**53)
    povs: Annotated[tuple[Pov, ...], Field(max_length=POVS_LIMIT)] = ()
    pov_mode: Literal["disabled", "single", "master", "forks", "both"] | None = None
    title: Words = ""
    version: Annotated[str, Field(max_length=100)] = "1.0"
    mode: Literal["sfw", "warn", "unrestricted"] = "sfw"
    nsfw_acknowledged: bool = False
    folder: Token | None = None
    force: bool = False


class Result(Value):
    """The finished export: its archive as a blob, and what was counted on the way."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: str
    size: int = Field(ge=0)
    name: str
    position: int
    files: int
    new: int
    modified: int
    unchanged: int
    removed: int
    missing: int
    unused: int
    recipe: str


class Failure(Value):
    """Why an export has failed, in the words of an error."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    error: str
    message: str
    remediation: tuple[dict[str, str], ...] = ()
    detail: dict[str, JsonValue] = {}


class ExportRequested(Event):
    """Somebody asked for an export. ``decisions`` are those of the gate that already allow it."""

    export_id: str
    order: Order
    decisions: tuple[str, ...]


class ExportStarted(Event):
    """A worker took the export up; from 2 on, after another one died over it."""

    export_id: str
    attempt: int


class ExportAdvanced(Event):
    """How far it is: ``done`` of ``total`` files in this phase."""

    export_id: str
    phase: Phase
    done: int
    total: int


class ExportFinished(Event):
    """The export is there."""

    export_id: str
    result: Result


class ExportFailed(Event):
    """The export cannot be made; nothing of it was kept."""

    export_id: str
    failure: Failure


class ExportCancelled(Event):
    """Nobody wants the export any more; nothing of it is kept."""

    export_id: str
    reason: str


ExportEvent = (
    ExportRequested | ExportStarted | ExportAdvanced | ExportFinished | ExportFailed | ExportCancelled
)


class Unrequested(Value):
    """No such export."""

    kind: Literal["unrequested"] = "unrequested"


class Open(Value):
    """An export that is waited for. ``attempt`` 0: no worker has taken it up yet."""

    kind: Literal["open"] = "open"
    order: Order
    decisions: tuple[str, ...]
    attempt: int = 0
    phase: Phase = "waiting"
    done: int = 0
    total: int = 0


class Finished(Value):
    """An export that can be downloaded."""

    kind: Literal["finished"] = "finished"
    order: Order
    result: Result


class Failed(Value):
    """An export of which nothing was kept."""

    kind: Literal["failed"] = "failed"
    order: Order
    failure: Failure


class Cancelled(Value):
    """An export that nobody wants."""

    kind: Literal["cancelled"] = "cancelled"
    order: Order
    reason: str


State = Unrequested | Open | Finished | Failed | Cancelled
ExportState = Annotated[State, Field(discriminator="kind")]


def evolve(state: State, event: ExportEvent) -> State:
    """What an event makes of an export."""
    if isinstance(event, ExportRequested):
        return Open(order=event.order, decisions=event.decisions)
    assert isinstance(state, Open), "an export is asked for before anything happens to it"
    match event:
        case ExportStarted():
            return state.model_copy(update={"attempt": event.attempt, "phase": "reading", "done": 0, "total": 0})
        case ExportAdvanced():
            return state.model_copy(update={"phase": event.phase, "done": event.done, "total": event.total})
        case ExportFinished():
            return Finished(order=state.order, result=event.result)
        case ExportFailed():
            return Failed(order=state.order, failure=event.failure)
        case ExportCancelled():
            return Cancelled(order=state.order, reason=event.reason)
        case _:
            assert_never(event)


def fields(event: ExportEvent) -> Fields:
    """What an event sets: the order, how far it is, and its end."""
    match event:
        case ExportRequested():
            return {"order": event.order.model_dump(mode="json"), "decisions": list(event.decisions),
                    "status": "waiting"}
        case ExportStarted():
            return {"status": "running", "attempt": event.attempt}
        case ExportAdvanced():
            return {"progress": _progress(event)}
        case ExportFinished():
            return {"status": "finished", "result": event.result.model_dump(mode="json")}
        case ExportFailed():
            return {"status": "failed", "failure": event.failure.model_dump(mode="json")}
        case ExportCancelled():
            return {"status": "cancelled", "reason": event.reason}
        case _:
            assert_never(event)


def _progress(event: ExportAdvanced) -> dict[str, Any]:
    return {"phase": event.phase, "done": event.done, "total": event.total}


CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(ExportRequested, ExportStarted, ExportAdvanced, ExportFinished, ExportFailed, ExportCancelled),
    state=ExportState,
    initial=Unrequested(),
    evolve=evolve,
    fields=fields,
)
"""The exports of a project."""
