"""Points of view: through whose eyes, and on which worldline, a view of a project looks, and slots named after them.

A view is a window that somebody has open; a project has as many as it likes, and ``default`` is the one of callers that
name none. What it looks at changes nothing of the story nor of any play.
"""

from __future__ import annotations

import re
from typing import Final, assert_never

from domain.context import Context
from domain.ids import MAIN, TOKEN_LIMIT, derived_id
from domain.story.scene_model import NARRATOR
from domain.values import Event, Value

CATEGORY = "pov"

DEFAULT_VIEW: Final = "default"

HISTORY_LIMIT: Final = 100
"""Points of view that a view remembers having had; the log remembers all of them."""

SLOTS_LIMIT: Final = 5_000
"""Most slot names that one view gives out."""

_JOINT: Final = "__pov_"
_PART_LIMIT: Final = 40
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")


class PovSet(Event):
    """A view looks through somebody else's eyes; the worldline stays."""

    view: str
    pov: str
    worldline: str
    previous: str


class WorldlineEntered(Event):
    """A view looks at another worldline, through the eyes that belong there."""

    view: str
    worldline: str
    pov: str
    previous: str
    previous_worldline: str


class SlotForked(Event):
    """A save slot got a name of its own for a point of view: ``name``, the ``number``-th for that slot and view."""

    view: str
    slot: str
    pov: str
    name: str
    number: int


PovEvent = PovSet | WorldlineEntered | SlotForked


class Viewing(Value):
    """What a view looks at, what it has looked at, and the slot names that it has given out (name -> last number)."""

    pov: str = NARRATOR
    worldline: str = MAIN
    history: tuple[str, ...] = ()
    slots: dict[str, int] = {}


def evolve(state: Viewing, event: PovEvent) -> Viewing:
    """What an event makes of a view."""
    match event:
        case PovSet() | WorldlineEntered():
            history = state.history
            if event.pov != event.previous:
                history = (*history, event.previous)[-HISTORY_LIMIT:]
            return state.model_copy(update={"pov": event.pov, "worldline": event.worldline, "history": history})
        case SlotForked():
            slots = {**state.slots, event.name: 1}
            base = slot_base(event.slot, event.pov)
            slots[base] = max(slots.get(base, 0), event.number)
            return state.model_copy(update={"slots": slots})
        case _:
            assert_never(event)


def slot_base(slot: str, pov: str) -> str:
    """The first name of a slot for a point of view: ``<slot>__pov_<pov>``, of what a slot's name may hold."""
    return _part(slot, "slot") + _JOINT + _part(pov, "pov")


def _part(text: str, kind: str) -> str:
    """A text as a part of a name; one of which nothing would be left, or which is too long, gets a digest of it."""
    fit = _UNFIT.sub("_", text.strip())
    if kind == "slot":
        fit = fit.lstrip("-")
    if not fit.strip("_-"):
        return f"{kind}_{derived_id(text, length=8)}" if text.strip() else kind
    return fit if len(fit) <= _PART_LIMIT else f"{fit[:_PART_LIMIT - 9]}_{derived_id(text, length=8)}"


def next_slot(state: Viewing, slot: str, pov: str) -> tuple[str, int]:
    """The next name for a slot and a point of view, and its number: the second ends in ``_2``. Never given out twice,
    whatever other slots and points of view are called."""
    base = slot_base(slot, pov)
    number = state.slots.get(base, 0) + 1
    while (name := base if number == 1 else f"{base}_{number}") in state.slots:
        number += 1
    assert len(name) <= TOKEN_LIMIT, "parts are short enough for any number"
    return name, number


CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(PovSet, WorldlineEntered, SlotForked),
    state=Viewing,
    initial=Viewing(),
    evolve=evolve,
)
