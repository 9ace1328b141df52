"""Worldlines: where a project's story forks. A fork is one event and copies nothing."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, assert_never

from pydantic import Field, JsonValue

from domain.context import Context, Fields
from domain.ids import Token
from domain.values import Event, Value

CATEGORY = "worldline"

Lane = Literal["official", "vn_branch", "scratch"]

LANE_COLORS: Final[dict[str, str]] = {"official": "#D4AF37", "vn_branch": "#1E6FFF", "scratch": "#7A7A7A"}
LANE_LABELS: Final[dict[str, str]] = {"official": "Official", "vn_branch": "VN Branch", "scratch": "Scratch"}

Label = Annotated[str, Field(min_length=1, max_length=200)]
Notes = Annotated[str, Field(max_length=10_000)]


class WorldlineForked(Event):
    """A worldline left its parent. Documents not yet edited on it are read from the parent as of ``forked_at``."""

    worldline_id: Token
    parent: Token
    forked_at: int = Field(ge=0)
    label: Label
    lane: Lane
    pov: str
    root_node: str
    notes: Notes
    metadata: dict[str, JsonValue]


class WorldlineUpdated(Event):
    """Some of a worldline's descriptive fields changed; every field stands with its value after the change."""

    worldline_id: Token
    label: Label
    lane: Lane
    pov: str
    root_node: str
    notes: Notes
    metadata: dict[str, JsonValue]


WorldlineEvent = WorldlineForked | WorldlineUpdated


class Unforked(Value):
    """No such worldline yet."""

    kind: Literal["unforked"] = "unforked"


class Forked(Value):
    """A worldline that exists; ``parent`` and ``forked_at`` never change."""

    kind: Literal["forked"] = "forked"
    parent: str
    forked_at: int
    label: str
    lane: Lane
    pov: str
    root_node: str
    notes: str
    metadata: dict[str, JsonValue]


WorldlineState = Annotated[Unforked | Forked, Field(discriminator="kind")]


def evolve(state: Unforked | Forked, event: WorldlineEvent) -> Unforked | Forked:
    """What an event makes of a worldline."""
    match event:
        case WorldlineForked():
            return Forked(parent=event.parent, forked_at=event.forked_at, **_described(event))
        case WorldlineUpdated():
            assert isinstance(state, Forked), "a worldline is forked before it is updated"
            return state.model_copy(update=_described(event))
        case _:
            assert_never(event)


def fields(event: WorldlineEvent) -> Fields:
    """Descriptive fields, each with its value after the event; a fork adds where it left its parent."""
    described: dict[str, Any] = _described(event)
    if isinstance(event, WorldlineForked):
        described |= {"parent": event.parent, "forked_at": event.forked_at}
    return described


def _described(event: WorldlineEvent) -> dict[str, Any]:
    return {
        "label": event.label, "lane": event.lane, "pov": event.pov, "root_node": event.root_node,
        "notes": event.notes, "metadata": event.metadata,
    }


CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(WorldlineForked, WorldlineUpdated),
    state=WorldlineState,
    initial=Unforked(),
    evolve=evolve,
    fields=fields,
)
