"""Asking for a play to be kept under a name, with a body of one's own or from a playthrough, and for forgetting it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import JsonValue

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.story.playthrough_refusals import unknown_playthrough, unknown_slot
from domain.bounded_json import BoundedObject, json_size
from domain.errors import Invalid, Remedy
from domain.ids import UNBRANCHED, Token
from domain.ports import Stream
from domain.story import playthrough
from domain.story.playthrough import Playing, Unstarted
from domain.story.save import (
    CATEGORY,
    NEEDED,
    SCHEMA,
    Empty,
    Filled,
    Kept,
    SaveEvent,
    SlotDeleted,
    SlotName,
    SlotSaved,
    shown,
    slot_id,
)

COURSE_BYTES: Final = 256 * 1024
"""Longest course that a slot keeps; the moment itself is kept always."""


class OfSlot(Command):
    """What every command about a slot names: the slot."""

    slot: SlotName

    @property
    def slot_id(self) -> str:
        """The id under which a slot of that name is kept."""
        return slot_id(self.slot)


class SaveSlot(OfSlot):
    """Keep a body (``vars``, ``node_pointer``, ``seed`` and anything else) in a slot; what was there is overwritten."""

    body: BoundedObject


class SavePlaythrough(OfSlot):
    """Keep a playthrough as it stands in a slot; ``note`` is for people."""

    playthrough_id: Token
    note: str = ""


class DeleteSlot(OfSlot):
    """Keep nothing in a slot any more. What was there stays in the log."""


def save(command: SaveSlot, state: Empty | Filled, asked: Asked) -> list[SaveEvent]:
    """Nothing when the slot holds exactly that already."""
    missing = [name for name in NEEDED if name not in command.body]
    if missing:
        raise Invalid(
            f"missing keys: {', '.join(missing)}",
            error="missing_keys",
            remediation=[Remedy(f"Send an object with {', '.join(NEEDED)}; anything else is kept too.", "add_keys")],
            detail={"missing": missing, "needed": list(NEEDED)},
        )
    return [SlotSaved(
        slot=command.slot, body=command.body, saved_at=asked.time, worldline=asked.worldline, position=asked.head,
    )]


def save_playthrough(
    command: SavePlaythrough, state: Empty | Filled, asked: Asked, others: Sequence[Unstarted | Playing]
) -> list[SaveEvent]:
    """Nothing when the slot keeps exactly that moment of that playthrough already."""
    playing = others[0]
    if isinstance(playing, Unstarted):
        raise unknown_playthrough(command.playthrough_id)
    kept = _kept(command.playthrough_id, playing)
    if isinstance(state, Filled) and state.kept == kept and state.body.get("note", "") == command.note:
        return []
    pin = playing.pin
    return [SlotSaved(
        slot=command.slot, body=_body(command, kept, asked), saved_at=asked.time, worldline=pin.worldline,
        position=pin.position, kept=kept,
    )]


def _kept(playthrough_id: str, playing: Playing) -> Kept:
    course = playing.course
    known = json_size(course) <= COURSE_BYTES
    return Kept(
        playthrough_id=playthrough_id, pin=playing.pin, seed=playing.seed, pov=playing.pov, given=playing.given,
        origin=playing.origin, course=course if known else None, standing=playing.standing,
        variables=playing.variables,
    )


def _body(command: SavePlaythrough, kept: Kept, asked: Asked) -> dict[str, JsonValue]:
    """What old players find in a slot, and where it came from."""
    standing, pin = kept.standing, kept.pin
    told: dict[str, JsonValue] = {
        "schema": SCHEMA, "project": asked.project, "playthrough": kept.playthrough_id, "vars": kept.variables,
        "node_pointer": standing.node, "seed": standing.dice.seed, "scene": standing.scene,
        "rng": standing.dice.model_dump(mode="json"), "pov": standing.pov, "finished": standing.next == "finished",
        "step": standing.step, "worldline": pin.worldline, "position": pin.position, "timeline": pin.timeline,
        "content": pin.content,
    }
    return told | ({"note": command.note} if command.note else {})


def delete(command: DeleteSlot, state: Empty | Filled, asked: Asked) -> list[SaveEvent]:
    """Nothing when it is empty already; a slot that never held anything is unknown."""
    if isinstance(state, Filled):
        return [SlotDeleted(slot=command.slot)]
    if not state.saves:
        raise unknown_slot(command.slot)
    return []


def told(events: Sequence[Any]) -> Mapping[str, Any]:
    """The slot as it is shown."""
    for event in events:
        if isinstance(event, SlotSaved):
            return {"save": shown(event.slot, event.saved_at, event.body)}
    return {}


def _played(command: SavePlaythrough, asked: Asked) -> list[Stream]:
    return [Stream(asked.project, UNBRANCHED, playthrough.CATEGORY, command.playthrough_id)]


COMMANDS = (
    Asking(SaveSlot, save, id_field="slot_id", scope=f"{CATEGORY}:write", needs_head=True, told=told),
    Asking(
        SavePlaythrough, save_playthrough, id_field="slot_id", scope=f"{CATEGORY}:write", told=told, others=_played,
        route="POST /api/playthroughs/{playthrough_id}/save",
    ),
    Asking(DeleteSlot, delete, id_field="slot_id", scope=f"{CATEGORY}:write"),
)
