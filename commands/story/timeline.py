"""Asking for timelines: their entries, their order, and copies of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import Field

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.story.authored import asked_of
from commands.story.authored_refusals import already_there, is_deleted, opened
from domain.bounded_json import same_json
from domain.ids import Token
from domain.ports import Stream
from domain.story.authored import Deleted, State, Written, held
from domain.story.authored_writing import changed
from domain.story.scene_model import Title
from domain.story.timeline import CATEGORY, TIMELINE, Seed, identified
from domain.values import Event

Decide = Callable[..., Sequence[Event]]


class DuplicateTimeline(Command):
    """Make another timeline that says the same, under an id of its own.

    The seed comes along unless ``with_seed`` is false or another ``seed`` is given.
    """

    timeline_id: Token
    id: Token | None = None
    title: Title | None = Field(default=None, description="Without it, the title of the original and “(copy)”.")
    seed: Seed | None = None
    with_seed: bool = True


def duplicate(command: DuplicateTimeline, state: State, asked: Asked, others: Sequence[State]) -> list[Event]:
    """Nothing when the same document stands there already."""
    assert command.id is not None, "the door gives every document an id"
    original = opened(TIMELINE, command.timeline_id, others[0])
    wanted: dict[str, Any] = {**original.fields, "title": _title(command, original)}
    if command.seed is not None:
        wanted["seed"] = command.seed
    elif not command.with_seed:
        wanted.pop("seed", None)
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if isinstance(state, Deleted):
        raise is_deleted(TIMELINE, command.id)
    if isinstance(state, Written):
        if same_json(held(state), wanted):
            return []
        raise already_there(TIMELINE, command.id)
    return changed(TIMELINE, command.id, state, wanted)


def _title(command: DuplicateTimeline, original: Written) -> Any:
    if command.title is not None or "title" not in original.fields:
        return command.title
    return f"{str(original.fields['title'])[:290].rstrip()} (copy)"


def _original(command: DuplicateTimeline, asked: Asked) -> Sequence[Stream]:
    return (Stream(asked.project, asked.worldline, CATEGORY, command.timeline_id),)


def _identified(decide: Decide, command: Any, state: State, asked: Asked) -> Sequence[Event]:
    """Decides once every entry that is given has an id."""
    more: dict[str, Any] = {}
    if getattr(command, "entries", None):
        more["entries"] = identified(command.entries)
    if getattr(command, "entry", None) is not None:
        more["entry"] = identified([command.entry])[0]
    return decide(command.model_copy(update=more) if more else command, state, asked)


ASKS = asked_of(TIMELINE, "/api/timelines")

COMMANDS = (
    *(replace(asking, decide=partial(_identified, asking.decide)) for asking in ASKS.commands),
    Asking(DuplicateTimeline, duplicate, "id", f"{CATEGORY}:write", "POST /api/timelines/{timeline_id}/duplicate",
           creates=True, others=_original),
)

CreateTimeline = ASKS["CreateTimeline"]
ReplaceTimeline = ASKS["ReplaceTimeline"]
EditTimeline = ASKS["EditTimeline"]
DeleteTimeline = ASKS["DeleteTimeline"]
RestoreTimeline = ASKS["RestoreTimeline"]
AddTimelineEntry = ASKS["AddTimelineEntry"]
EditTimelineEntry = ASKS["EditTimelineEntry"]
MoveTimelineEntry = ASKS["MoveTimelineEntry"]
RemoveTimelineEntry = ASKS["RemoveTimelineEntry"]
ReorderTimelineEntries = ASKS["ReorderTimelineEntries"]
