"""Asking to look through other eyes, at another worldline, and for a slot's name for a point of view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.story.worldline import in_use
from domain.errors import Refused, Remedy
from domain.ids import MAIN, UNBRANCHED, Token
from domain.ports import Stream
from domain.story import worldline
from domain.story.pov import (
    DEFAULT_VIEW,
    SLOTS_LIMIT,
    PovEvent,
    PovSet,
    SlotForked,
    Viewing,
    WorldlineEntered,
    next_slot,
)
from domain.story.scene_model import NARRATOR
from domain.texts import tidy_line
from domain.values import Json

PovName = Annotated[str, Field(max_length=200), AfterValidator(tidy_line)]
View = Annotated[Token, Field(description="Which view; several windows on one project have one each.")]


class SetPov(Command):
    """Look through somebody's eyes; an empty point of view is the narrator's."""

    view: View = DEFAULT_VIEW
    pov: PovName | None = None


class ForkSlot(Command):
    """Get a name of its own for a save slot, for a point of view; an empty one is the view's current."""

    view: View = DEFAULT_VIEW
    slot: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(tidy_line)]
    pov: PovName | None = None


class SwitchWorldline(Command):
    """Look at another worldline, through the eyes that belong there unless others are named."""

    view: View = DEFAULT_VIEW
    id: Token
    pov: PovName | None = None


class ActivateWorldline(Command):
    """Look at this worldline, through the eyes that belong there unless others are named."""

    view: View = DEFAULT_VIEW
    worldline_id: Token
    pov: PovName | None = None


def set_pov(command: SetPov, state: Viewing, asked: Asked) -> list[PovEvent]:
    """Nothing when the view looks through those eyes already."""
    pov = command.pov or NARRATOR
    if pov == state.pov:
        return []
    return [PovSet(view=command.view, pov=pov, worldline=state.worldline, previous=state.pov)]


def fork_slot(command: ForkSlot, state: Viewing, asked: Asked) -> list[PovEvent]:
    """Always one name more."""
    if len(state.slots) >= SLOTS_LIMIT:
        raise Refused(
            f"View {command.view} has given out {SLOTS_LIMIT} slot names, the most that one view gives.",
            error="too_many_slots",
            remediation=[Remedy("Name another `view`.", "other_view")],
            detail={"view": command.view, "limit": SLOTS_LIMIT},
        )
    pov = command.pov or state.pov
    name, number = next_slot(state, command.slot, pov)
    return [SlotForked(view=command.view, slot=command.slot, pov=pov, name=name, number=number)]


def switch(
    command: SwitchWorldline | ActivateWorldline, state: Viewing, asked: Asked,
    others: Sequence[worldline.State] = (),
) -> list[PovEvent]:
    """Nothing when the view looks there already, through those eyes."""
    target = _target(command)
    belongs = NARRATOR
    for one in others:
        belongs = in_use(target, one).pov or NARRATOR
    pov = command.pov or belongs
    if (target, pov) == (state.worldline, state.pov):
        return []
    return [WorldlineEntered(
        view=command.view, worldline=target, pov=pov, previous=state.pov, previous_worldline=state.worldline,
    )]


def targets(command: SwitchWorldline | ActivateWorldline, asked: Asked) -> list[Stream]:
    """The worldline's own stream; ``main`` has none."""
    target = _target(command)
    return [] if target == MAIN else [Stream(asked.project, UNBRANCHED, worldline.CATEGORY, target)]


def _target(command: SwitchWorldline | ActivateWorldline) -> str:
    return command.id if isinstance(command, SwitchWorldline) else command.worldline_id


def _looks(events: Sequence[Any]) -> Mapping[str, Json]:
    return {name: value for event in events for name, value in (
        ("pov", event.pov), ("previous", event.previous), ("active", event.worldline)
    )}


def _named(events: Sequence[Any]) -> Mapping[str, Json]:
    return {"slot": events[-1].name, "pov": events[-1].pov} if events else {}


COMMANDS = (
    Asking(SetPov, set_pov, id_field="view", scope="pov:write", route="POST /api/pov/set", creates=True, told=_looks),
    Asking(ForkSlot, fork_slot, id_field="view", scope="pov:write", route="POST /api/pov/fork", creates=True,
           told=_named),
    Asking(SwitchWorldline, switch, id_field="view", scope="pov:write", route="POST /api/pov/worlds/switch",
           creates=True, others=targets, told=_looks),
    Asking(ActivateWorldline, switch, id_field="view", scope="pov:write",
           route="POST /api/pov/worlds/{worldline_id}/activate", creates=True, others=targets, told=_looks),
)
