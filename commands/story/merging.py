"""What a merge asks: each document that changes, and the record of the merge. Worked out by a service, never by hand.

Each is decided on the version that the merge was worked out on, and refused as stale on any other: nothing that
happened in between is overwritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from pydantic import Field, JsonValue, create_model

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.story.worldline import put_away, unknown
from domain.context import Context, Write
from domain.ids import MAIN, UNBRANCHED, Token
from domain.ports import Stream
from domain.story.worldline import (
    CATEGORY,
    Archived,
    MergeBase,
    State,
    Unforked,
    WorldlineEvent,
    WorldlineMerged,
)
from domain.values import Event


class MergeDocument(Command):
    """Give a document the fields that a merge has worked out (``None`` removes one), on that version of it."""

    id: Token
    fields: dict[str, Any]
    version: int = Field(ge=0)


class RecordMerge(Command):
    """Keep what was merged into a worldline, from where, and how it was decided."""

    worldline_id: Token
    version: int = Field(ge=0)
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


@lru_cache
def merging_of(category: str) -> type[MergeDocument]:
    """The command that merges a document of a category: ``MergeScene``."""
    return create_model(
        "Merge" + "".join(part.title() for part in category.split("_")), __base__=MergeDocument, __module__=__name__,
        __doc__=f"Give a {category} the fields that a merge has worked out, on that version of it.",
    )


def asked_of(contexts: Iterable[Context]) -> Iterator[tuple[str, Asking]]:
    """Category and command for everything that can be merged, and the record itself."""
    for context in contexts:
        if context.branches and context.write is not None:
            yield context.category, Asking(
                merging_of(context.category), partial(_written, context.write), "id", f"{context.category}:write",
                expects=_version,
            )
    yield CATEGORY, Asking(
        RecordMerge, record, "worldline_id", f"{CATEGORY}:write", others=_source, expects=_version, told=merged_told,
    )


def _version(command: MergeDocument | RecordMerge) -> int:
    return command.version


def _written(write: Write, command: MergeDocument, state: Any, asked: Asked) -> Sequence[Event]:
    return write(command.id, state, command.fields)


def record(command: RecordMerge, state: State, asked: Asked, others: Sequence[State] = ()) -> list[WorldlineEvent]:
    """Both worldlines are in use; ``main`` always is."""
    for name, one in _told(command, state, others):
        if isinstance(one, Unforked):
            raise unknown(name)
        if isinstance(one, Archived):
            raise put_away(name)
    told: Mapping[str, Any] = {name: getattr(command, name) for name in RecordMerge.model_fields if name != "version"}
    return [WorldlineMerged(**told)]


def _told(command: RecordMerge, state: State, others: Sequence[State]) -> Iterator[tuple[str, State]]:
    if command.worldline_id != MAIN:
        yield command.worldline_id, state
    for other in others:
        yield command.source, other


def _source(command: RecordMerge, asked: Asked) -> list[Stream]:
    return [] if command.source == MAIN else [Stream(asked.project, UNBRANCHED, CATEGORY, command.source)]


def merged_told(events: Sequence[WorldlineEvent]) -> dict[str, Any]:
    """What a recorded merge was."""
    event = next(one for one in events if isinstance(one, WorldlineMerged))
    return {
        "ok": True, "source": event.source, "target": event.worldline_id, "source_position": event.source_position,
        "position": event.position, "bases": [one.model_dump() for one in event.bases],
        "fast_forward": event.fast_forward, "only": list(event.only), "rule": event.rule, "by_rule": event.by_rule,
        "resolutions": [dict(one) for one in event.resolutions], "counts": event.counts, "story": event.story,
        "conflicts": [], "conflict_count": 0,
    }
