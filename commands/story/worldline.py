"""Asking for a new worldline, or for other words about one."""

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
    Forked,
    Label,
    Lane,
    Notes,
    Unforked,
    WorldlineEvent,
    WorldlineForked,
    WorldlineUpdated,
)


class ForkWorldline(Command):
    """Start a worldline from its parent as it is now, or as it was ``at`` a position."""

    worldline_id: Token | None = None
    parent: Token = MAIN
    at: int | None = Field(default=None, ge=0, le=2**53)
    label: Label | None = None
    lane: Lane = "vn_branch"
    pov: str = Field(default="narrator", max_length=200)
    root_node: str = Field(default="start", max_length=200)
    notes: Notes = ""
    metadata: dict[str, JsonValue] = {}


class UpdateWorldline(Command):
    """Change what is said about a worldline: only what is named changes."""

    worldline_id: Token
    label: Label | None = None
    lane: Lane | None = None
    pov: str | None = Field(default=None, max_length=200)
    root_node: str | None = Field(default=None, max_length=200)
    notes: Notes | None = None
    metadata: dict[str, JsonValue] | None = None


def fork(
    command: ForkWorldline, state: Unforked | Forked, asked: Asked, others: Sequence[Unforked | Forked] = ()
) -> list[WorldlineEvent]:
    """One event; ``at`` must not lie in the future nor before the parent itself began."""
    assert command.worldline_id is not None, "the door gives every worldline an id"
    at = asked.head if command.at is None else command.at
    if command.worldline_id == MAIN or isinstance(state, Forked):
        raise Refused(
            f"Worldline {command.worldline_id} exists already.",
            error="worldline_exists",
            remediation=[Remedy("Choose another id for the new worldline.", "rename")],
        )
    if at > asked.head:
        raise Invalid(
            f"Position {at} has not happened yet; the newest is {asked.head}.",
            error="position_in_future",
            remediation=[Remedy("Leave `at` away to fork from now.", "fork_now")],
        )
    for parent in others:
        if isinstance(parent, Unforked):
            raise _unknown(command.parent)
        if at < parent.forked_at:
            raise Invalid(
                f"Worldline {command.parent} began at position {parent.forked_at}, after {at}.",
                error="before_parent",
                remediation=[Remedy(f"Fork from {parent.parent} instead.", "fork_grandparent")],
            )
    return [
        WorldlineForked(
            worldline_id=command.worldline_id, parent=command.parent, forked_at=at,
            label=command.label or command.worldline_id, lane=command.lane, pov=command.pov,
            root_node=command.root_node, notes=command.notes, metadata=command.metadata,
        )
    ]


def parents(command: ForkWorldline, asked: Asked) -> list[Stream]:
    """The parent's own stream; ``main`` has none."""
    if command.parent == MAIN:
        return []
    return [Stream(asked.project, UNBRANCHED, CATEGORY, command.parent)]


def update(command: UpdateWorldline, state: Unforked | Forked, asked: Asked) -> list[WorldlineEvent]:
    """Nothing when everything named is so already."""
    if isinstance(state, Unforked):
        raise _unknown(command.worldline_id)
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


def _unknown(worldline: str) -> NotFound:
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
)
