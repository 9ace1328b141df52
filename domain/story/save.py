"""Save slots: a named place of a project where a play is kept, by whoever plays it and with whatever.

A slot holds a body as old players send it (``vars``, ``node_pointer``, ``seed`` and anything else). One that was saved
from a playthrough also keeps that play's pin and course, so that a new one can begin exactly there. Saving again
overwrites; what was there before stays in the log.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, assert_never

from pydantic import AfterValidator, Field, JsonValue

from domain.context import Context
from domain.ids import TOKEN_LIMIT, token
from domain.story.playthrough_values import Move, Origin, Pin, Standing
from domain.values import Event, Value

CATEGORY = "save"

NEEDED: Final = ("vars", "node_pointer", "seed")
"""What the body of every slot holds."""

SCHEMA: Final = "comfyvn.save.v2"
"""What bodies that were saved from a playthrough say they are; older ones say nothing."""

NAME_LIMIT: Final = 200
"""Longest name of a slot in characters."""

RESERVED: Final = frozenset({"list"})
"""Names that address something else."""

_HASHED = re.compile(r".*-[0-9a-f]{10}\Z", re.DOTALL)


def slot_name(text: str) -> str:
    """``text`` if a slot may be called so, else ``ValueError`` with the rule as its sentence."""
    if not text.strip() or text != text.strip() or any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ValueError("must not be empty, start or end with a space nor hold control characters")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("must not hold half of a surrogate pair")
    if text in RESERVED:
        raise ValueError(f"must not be {text!r}: that address lists the slots")
    return text


SlotName = Annotated[str, Field(min_length=1, max_length=NAME_LIMIT), AfterValidator(slot_name)]
"""What a slot is called; for a point of view of its own ``<slot>__pov_<pov>``."""


def slot_id(name: str) -> str:
    """The id of the slot of that name: the name itself where it is a safe one, else what is safe of it and a digest,
    so that two names never meet in one slot."""
    try:
        if not _HASHED.match(name):
            return token(name)
    except ValueError:
        pass
    safe = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "slot"
    return f"{safe[:TOKEN_LIMIT - 11]}-{sha256(name.encode()).hexdigest()[:10]}"


def for_pov(slot: str, pov: str) -> str:
    """The name of a slot's own place for a point of view."""
    return f"{slot}__pov_{pov}"


def milliseconds(time: str) -> int:
    """Milliseconds since 1970 of a time as events have it (RFC 3339 in UTC)."""
    year, month, day, hour, minute, second = (int(part) for part in re.split(r"[-T:.Z]", time)[:6])
    fraction = re.search(r"\.(\d+)", time)
    # Days from civil: the year begins in March, so that the leap day is its last.
    shifted = year - (month <= 2)
    era, of_era = divmod(shifted, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + day_of_year - 719468
    millis = int((fraction[1] + "000")[:3]) if fraction else 0
    return ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + millis


class Kept(Value):
    """A playthrough as it stood when it was saved: enough to go on exactly there. ``course`` is missing where it was
    too
    long to be kept."""

    playthrough_id: str
    pin: Pin
    seed: int
    pov: str
    given: dict[str, JsonValue]
    origin: Origin | None
    course: tuple[Move, ...] | None
    standing: Standing
    variables: dict[str, JsonValue]


class SlotSaved(Event):
    """A play was kept under a name. The body speaks of a story as it stood on a worldline at a position."""

    slot: str
    body: dict[str, JsonValue]
    saved_at: str
    worldline: str
    position: int
    kept: Kept | None = None


class SlotDeleted(Event):
    """Nothing is kept under that name any more."""

    slot: str


SaveEvent = SlotSaved | SlotDeleted


class Empty(Value):
    """Nothing is kept there. ``saves`` counts how often something was."""

    kind: Literal["empty"] = "empty"
    saves: int = 0


class Filled(Value):
    """A slot that can be loaded."""

    kind: Literal["filled"] = "filled"
    saves: int
    slot: str
    body: dict[str, JsonValue]
    worldline: str
    position: int
    kept: Kept | None


SaveState = Annotated[Empty | Filled, Field(discriminator="kind")]


def evolve(state: Empty | Filled, event: SaveEvent) -> Empty | Filled:
    """What an event makes of a slot."""
    match event:
        case SlotSaved():
            return Filled(
                saves=state.saves + 1, slot=event.slot, body=event.body, worldline=event.worldline,
                position=event.position, kept=event.kept,
            )
        case SlotDeleted():
            return Empty(saves=state.saves)
        case _:
            assert_never(event)


def shown(slot: str, saved_at: str, body: dict[str, Any]) -> dict[str, Any]:
    """A slot as it is told: its body with ``slot``, ``saved_at`` (milliseconds) and ``saved_at_iso``."""
    return {**body, "slot": slot, "saved_at": milliseconds(saved_at), "saved_at_iso": saved_at}


CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(SlotSaved, SlotDeleted),
    state=SaveState,
    initial=Empty(),
    evolve=evolve,
)
