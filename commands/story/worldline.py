"""Asking for a new worldline, for other words about one, to put one away and to take it into use again."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, JsonValue

from commands.declaration import Asking, Command
from commands.envelope import Asked
from domain.errors import Invalid, NotFound, Refused, Remedy
from domain.ids import MAIN, UNBRANCHED, Token
from domain.ports import Stream
from domain.story.worldline import (
    CATEGORY,
    Archived,
    Forked,
    Label,
    NamedLane,
    Notes,
    State,
    Unforked,
    WorldlineArchived,
    WorldlineEvent,
    WorldlineForked,
    WorldlineRestored,
    WorldlineUpdated,
    forked,
    lane_of,
)


class ForkWorldline(Command):
    """Start a worldline from its parent as it is now, or as it was ``at`` a position."""

    worldline_id: Token | None = None
    parent: Token = MAIN
    at: int | None = Field(default=None, ge=0, le=2**53)
    label: Label | None = None
    lane: NamedLane | None = Field(default=None, description=(
        "Else `official` where the id is official, canon or main, and `vn_branch` for any other; never the parent's."
    ))
    pov: str = Field(default="narrator", max_length=200)
    root_node: str = Field(default="start", max_length=200)
    notes: Notes = ""
    metadata: dict[str, JsonValue] = {}


class UpdateWorldline(Command):
    """Change what is said about a worldline: only what is named changes."""

    worldline_id: Token
    label: Label | None = None
    lane: NamedLane | None = None
    pov: str | None = Field(default=None, max_length=200)
    root_node: str | None = Field(default=None, max_length=200)
    notes: Notes | None = None
    metadata: dict[str, JsonValue] | None = None


class ArchiveWorldline(Command):
    """Put a worldline away: nothing is written on it until it is restored, and all of it can still be read."""

    worldline_id: Token
    reason: Notes = ""


class RestoreWorldline(Command):
    """Take a worldline that was put away into use again."""

    worldline_id: Token


def fork(
    command: ForkWorldline, state: State, asked: Asked, others: Sequence[State] = ()
) -> list[WorldlineEvent]:
    """One event; ``at`` must not lie in the future nor before the parent itself began."""
    assert command.worldline_id is not None, "the door gives every worldline an id"
    at = asked.head if command.at is None else command.at
    if command.worldline_id == MAIN or not isinstance(state, Unforked):
        raise Refused(
            f"Worldline {command.worldline_id} exists already"
            + (" and was put away." if isinstance(state, Archived) else "."),
            error="worldline_exists",
            remediation=[
                Remedy("Choose another id for the new worldline.", "rename"),
                *([Remedy("Restore it: nothing of it is lost.", "restore_worldline")]
                  if isinstance(state, Archived) else []),
            ],
        )
    if at > asked.head:
        raise Invalid(
            f"Position {at} has not happened yet; the newest is {asked.head}.",
            error="position_in_future",
            remediation=[Remedy("Leave `at` away to fork from now.", "fork_now")],
        )
    for other in others:
        if (parent := forked(other)) is None:
            raise unknown(command.parent)
        if at < parent.forked_at:
            raise Invalid(
                f"Worldline {command.parent} began at position {parent.forked_at}, after {at}.",
                error="before_parent",
                remediation=[Remedy(f"Fork from {parent.parent} instead.", "fork_grandparent")],
            )
    return [
        WorldlineForked(
            worldline_id=command.worldline_id, parent=command.parent, forked_at=at,
            label=command.label or command.worldline_id, lane=lane_of(command.worldline_id, command.lane),
            pov=command.pov, root_node=command.root_node, notes=command.notes, metadata=command.metadata,
        )
    ]


def parents(command: ForkWorldline, asked: Asked) -> list[Stream]:
    """The parent's own stream; ``main`` has none."""
    if command.parent == MAIN:
        return []
    return [Stream(asked.project, UNBRANCHED, CATEGORY, command.parent)]


def update(command: UpdateWorldline, state: State, asked: Asked) -> list[WorldlineEvent]:
    """Nothing when everything named is so already."""
    state = in_use(command.worldline_id, state)
    named = command.model_dump(exclude={"worldline_id"}, exclude_none=True)
    after = state.model_copy(update=named)
    if after == state:
        return []
    return [
        WorldlineUpdated(
            worldline_id=command.worldline_id, label=after.label, lane=after.lane, pov=after.pov,
            root_node=after.root_node, notes=after.notes, metadata=after.metadata,
        )
    ]


def archive(command: ArchiveWorldline, state: State, asked: Asked) -> list[WorldlineEvent]:
    """Nothing when it is put away already. ``main`` always stays."""
    if command.worldline_id == MAIN:
        raise Refused(
            "The worldline main is never put away: every other one stands on it.",
            error="main_stays",
            remediation=[Remedy("Put a fork away, or delete documents on main.", "choose_fork")],
        )
    match state:
        case Unforked():
            raise unknown(command.worldline_id)
        case Archived():
            return []
        case _:
            return [WorldlineArchived(worldline_id=command.worldline_id, reason=command.reason)]


def restore(command: RestoreWorldline, state: State, asked: Asked) -> list[WorldlineEvent]:
    """Nothing when it is in use."""
    if command.worldline_id != MAIN and isinstance(state, Unforked):
        raise unknown(command.worldline_id)
    return [WorldlineRestored(worldline_id=command.worldline_id)] if isinstance(state, Archived) else []


def in_use(worldline: str, state: State) -> Forked:
    """The worldline, when something may be written on it; raises ``NotFound`` and ``Refused``."""
    match state:
        case Unforked():
            raise unknown(worldline)
        case Archived():
            raise put_away(worldline)
        case _:
            return state


def put_away(worldline: str) -> Refused:
    """Nothing is written on a worldline that was put away."""
    return Refused(
        f"Worldline {worldline} was put away: it can be read, and nothing is written on it.",
        error="worldline_archived",
        remediation=[
            Remedy("Restore it: nothing of it is lost.", "restore_worldline"),
            Remedy("Fork it, and go on there.", "fork_worldline"),
        ],
        detail={"worldline": worldline},
    )


def unknown(worldline: str) -> NotFound:
    """There is no such worldline."""
    return NotFound(
        f"There is no worldline {worldline}.",
        error="unknown_worldline",
        remediation=[Remedy("List the worldlines of the project.", "list_worldlines")],
        detail={"worldline": worldline},
    )


COMMANDS = (
    Asking(
        ForkWorldline, fork, id_field="worldline_id", scope="worldline:write", route="POST /api/pov/worlds",
        creates=True, needs_head=True, others=parents,
    ),
    Asking(
        UpdateWorldline, update, id_field="worldline_id", scope="worldline:write",
        route="PATCH /api/pov/worlds/{worldline_id}",
    ),
    Asking(
        ArchiveWorldline, archive, id_field="worldline_id", scope="worldline:write",
        route="DELETE /api/pov/worlds/{worldline_id}",
    ),
    Asking(
        RestoreWorldline, restore, id_field="worldline_id", scope="worldline:write",
        route="POST /api/pov/worlds/{worldline_id}/restore",
    ),
)
