"""Whose events stand there: what a refused append turns out to have been.

The log refuses when a stream is not where an append expects it. Either somebody else was first, or the append itself
was recorded by an earlier try whose answer was lost, or such a try is still on its way through the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from adapters.nats.reading import Reader
from domain.ports import Commit, Conflict, Recorded, Stream


class Found(NamedTuple):
    """What a look has shown. ``positions`` when all is there; ``begun`` when a part of it is, which may still grow."""

    positions: tuple[int, ...] | None = None
    begun: tuple[Stream, ...] = ()


class _Part(NamedTuple):
    stream: Stream
    positions: list[int]
    whole: bool
    ends_at: int


async def look(reader: Reader, commits: Sequence[Commit]) -> Found:
    """Finds the events of an append; raises ``Conflict`` when others stand where they were expected.

    The events of an append stand side by side. A reader may see a batch while it is being written, so a part of them
    counts as foreign only if the log is longer than the whole would make it.
    """
    # Asked before the streams are read: what is missing below this position will not come any more.
    head = await reader.head()
    total = sum(len(commit.events) for commit in commits)
    offset = 0
    parts: list[_Part] = []
    behind: list[Stream] = []
    for commit in commits:
        since = await reader.stream(commit.stream, commit.expected, None)
        part = _part(commit, since, offset, total)
        if part is not None and (part.whole or part.ends_at > head):
            parts.append(part)
        elif since or not await _reaches(reader, commit):
            behind.append(commit.stream)
        offset += len(commit.events)
    if behind:
        raise Conflict(behind)
    begun = tuple(part.stream for part in parts)
    if len(parts) == len(commits) and all(part.whole for part in parts):
        return Found(tuple(position for part in parts for position in part.positions))
    if any(part.ends_at <= head for part in parts):
        raise Conflict(begun)
    return Found(begun=begun)


def _part(commit: Commit, since: list[Recorded], offset: int, total: int) -> _Part | None:
    """The beginning of a commit's events in what was recorded after the position it expects."""
    ids = [event.event_id for event in commit.events]
    if not ids:
        return _Part(commit.stream, [], True, 0)
    found = [one.event_id for one in since]
    if ids[0] not in found:
        return None
    start = found.index(ids[0])
    there = since[start : start + len(ids)]
    if [one.event_id for one in there] != ids[: len(there)]:
        return None
    positions = [one.position for one in there]
    return _Part(commit.stream, positions, len(there) == len(ids), positions[0] - offset + total - 1)


async def _reaches(reader: Reader, commit: Commit) -> bool:
    """Whether a stream in which nothing was found is as long as expected.

    One that is longer by now has grown between the two questions, and the next look tells by whom.
    """
    last = await reader.last(commit.stream)
    return (last.position if last else 0) >= commit.expected
