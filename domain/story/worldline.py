"""Worldlines: where a project's story forks. A fork is one event and copies nothing."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, assert_never

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue

from domain.context import Context, Fields
from domain.ids import Token
from domain.values import Event, Value

CATEGORY = "worldline"

Lane = Literal["official", "vn_branch", "scratch"]

LANE_COLORS: Final[dict[str, str]] = {"official": "#D4AF37", "vn_branch": "#1E6FFF", "scratch": "#7A7A7A"}
LANE_LABELS: Final[dict[str, str]] = {"official": "Official", "vn_branch": "VN Branch", "scratch": "Scratch"}

LANE_ALIASES: Final[dict[str, Lane]] = {
    "canon": "official", "main": "official", "vn": "vn_branch", "branch": "vn_branch", "side": "vn_branch",
    "sandbox": "scratch", "experimental": "scratch",
}

OFFICIAL_IDS: Final = frozenset({"official", "canon", "main"})
"""A worldline of such a name is official unless somebody says otherwise."""


def lane_named(told: Any) -> Any:
    """The lane that a name means; what is no name of a lane comes back as it is."""
    return LANE_ALIASES.get(told.strip().lower(), told.strip().lower()) if isinstance(told, str) else told


NamedLane = Annotated[
    Lane, BeforeValidator(lane_named, json_schema_input_type=Literal[
        "official", "vn_branch", "scratch", "canon", "main", "vn", "branch", "side", "sandbox", "experimental"
    ]),
]
"""A lane by its name or by another name of it."""


def lane_of(worldline: str, lane: Lane | None) -> Lane:
    """The lane of a new worldline: the one that was named, else what its name implies. Never that of its parent."""
    return lane or ("official" if worldline.lower() in OFFICIAL_IDS else "vn_branch")


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


class WorldlineArchived(Event):
    """A worldline was put away: nothing is written on it any more, and everything on it can still be read."""

    worldline_id: Token
    reason: Notes


class WorldlineRestored(Event):
    """A worldline that was put away is in use again, as it was."""

    worldline_id: Token


class MergeBase(Value):
    """A version that both sides of a merge had in common."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    worldline: str
    position: int


class WorldlineMerged(Event):
    """What another worldline had changed came in; the documents follow in the same batch, each with its own events.

    ``source_position`` and ``position`` are how far either side was looked at; ``bases`` what they had in common.
    ``only`` names the categories and documents (``scene/intro``) that it was about; empty is all of them.
    ``resolutions`` are decisions about single conflicts (``{"conflict", "address", "kind", "take"}``), ``rule`` is what
    settled the others and ``by_rule`` how many. ``counts`` is by category ``{"added", "changed", "removed"}``;
    ``story`` is what playing the merged story has shown. ``main`` may be merged into as well.
    """

    worldline_id: Token
    source: Token
    source_position: int
    position: int
    bases: tuple[MergeBase, ...]
    fast_forward: bool
    only: tuple[str, ...]
    rule: str | None
    by_rule: int
    resolutions: tuple[dict[str, JsonValue], ...]
    counts: dict[str, JsonValue]
    story: dict[str, JsonValue]


WorldlineEvent = WorldlineForked | WorldlineUpdated | WorldlineArchived | WorldlineRestored | WorldlineMerged


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


class Archived(Value):
    """A worldline that was put away; it can be restored."""

    kind: Literal["archived"] = "archived"
    was: Forked
    reason: str


State = Unforked | Forked | Archived
WorldlineState = Annotated[State, Field(discriminator="kind")]


def forked(state: State) -> Forked | None:
    """A worldline that was forked once, in use or put away."""
    match state:
        case Forked():
            return state
        case Archived():
            return state.was
        case Unforked():
            return None
        case _:
            assert_never(state)


def evolve(state: State, event: WorldlineEvent) -> State:
    """What an event makes of a worldline."""
    match event:
        case WorldlineForked():
            return Forked(parent=event.parent, forked_at=event.forked_at, **described(event))
        case WorldlineUpdated():
            assert isinstance(state, Forked), "a worldline is forked before it is updated"
            return state.model_copy(update=described(event))
        case WorldlineArchived():
            assert isinstance(state, Forked), "a worldline is in use before it is put away"
            return Archived(was=state, reason=event.reason)
        case WorldlineRestored():
            assert isinstance(state, Archived), "a worldline is put away before it is restored"
            return state.was
        case WorldlineMerged():
            return state  # what came in stands in the documents
        case _:
            assert_never(event)


def fields(event: WorldlineEvent) -> Fields:
    """Descriptive fields, each with its value after the event; a fork adds where it left its parent.

    ``archived`` is there, as ``{"reason"}``, while a worldline is put away.
    """
    match event:
        case WorldlineForked():
            return {**described(event), "parent": event.parent, "forked_at": event.forked_at}
        case WorldlineUpdated():
            return described(event)
        case WorldlineArchived():
            return {"archived": {"reason": event.reason}}
        case WorldlineRestored():
            return {"archived": None}
        case WorldlineMerged():
            return {}
        case _:
            assert_never(event)


def described(event: WorldlineForked | WorldlineUpdated) -> dict[str, Any]:
    """What people say about a worldline, as events and rows hold it."""
    return {
        "label": event.label, "lane": event.lane, "pov": event.pov, "root_node": event.root_node,
        "notes": event.notes, "metadata": event.metadata,
    }


CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(WorldlineForked, WorldlineUpdated, WorldlineArchived, WorldlineRestored, WorldlineMerged),
    state=WorldlineState,
    initial=Unforked(),
    evolve=evolve,
    fields=fields,
)
