"""Counting events into read models: decode once, apply every projection, write all of it in one transaction.

The projector and rebuilding share this. A projection that cannot be applied to an event, or whose changes the database
refuses, keeps everything before that event and is stopped there; the others go on.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final, NamedTuple

from domain.errors import Unavailable
from domain.ports import Overtaken, Progress, ReadModels, Recorded
from domain.tables import Change
from projections.declaration import Happened, Projection
from services.registry import Registry, Undecodable

REASON_LIMIT: Final = 2000
"""Characters of a reason for stopping."""

class Failure(NamedTuple):
    """The event that stopped a projection, and why."""

    position: int
    reason: str


@dataclass(slots=True)
class Track:
    """A projection on its way through the log. ``upto`` of ``None`` goes on for ever."""

    projection: Projection
    generation: int
    position: int
    upto: int | None = None
    failure: Failure | None = None

    def due(self, position: int) -> bool:
        """Whether events up to a position have something to say to it."""
        return self.failure is None and self.position < position and (self.upto is None or self.position < self.upto)


class Broken(NamedTuple):
    """An event whose body does not fit its type; only who needs it minds."""

    recorded: Recorded
    error: Undecodable


Told = Sequence[Happened | Broken]


def count(models: ReadModels, registry: Registry, tracks: Iterable[Track], events: Sequence[Recorded]) -> None:
    """Applies events, in the order of the log, to every track and writes what follows. Blocking.

    Tracks move forward; one that fails gets its ``failure``. Raises ``Overtaken`` and ``Unavailable``, and then no
    track has moved: the same events can be counted again.
    """
    with _uncollected():
        _count(models, registry, tracks, events)


def _count(models: ReadModels, registry: Registry, tracks: Iterable[Track], events: Sequence[Recorded]) -> None:
    if not events:
        return
    last = events[-1].position
    due = [track for track in tracks if track.due(last)]
    decoded = _decoded(registry, [track for track in due if track.projection.decodes], events)
    bare = [] if all(track.projection.decodes for track in due) else [Happened(recorded, None) for recorded in events]
    sorted_decoded, sorted_bare = _by_category(decoded), _by_category(bare)
    found = []
    for track in due:
        told, of_category = (decoded, sorted_decoded) if track.projection.decodes else (bare, sorted_bare)
        found.append((track, *_applied(track, _for(track.projection, told, of_category), last)))
    steps = [step for _, step, _ in found if step is not None]
    try:
        if steps:
            models.advance(steps)
    except (Overtaken, Unavailable):
        raise
    except Exception:
        # The database refuses something of somebody: each alone, so that the others go on.
        for track, step, failure in found:
            refused = _count_alone(models, track, step) if step is not None else None
            track.failure = refused or failure
        return
    for track, step, failure in found:
        if step is not None:
            track.position = step.position
        track.failure = failure


def _decoded(registry: Registry, tracks: Sequence[Track], events: Sequence[Recorded]) -> Told:
    """The events that one of the tracks needs, each decoded once."""
    if not tracks:
        return ()
    wanted: frozenset[str] | None = frozenset()
    for track in tracks:
        categories = track.projection.categories
        wanted = None if wanted is None or categories is None else wanted | categories
    start = min(track.position for track in tracks)
    told: list[Happened | Broken] = []
    decode = registry.decode
    for recorded in events:
        if recorded.position > start and (wanted is None or recorded.stream.category in wanted):
            try:
                told.append(Happened(recorded, decode(recorded)))
            except Undecodable as error:
                told.append(Broken(recorded, error))
    return told


def _by_category(told: Told) -> dict[str, list[Happened | Broken]]:
    found: dict[str, list[Happened | Broken]] = {}
    for one in told:
        found.setdefault(one[0].stream.category, []).append(one)
    return found


def _for(projection: Projection, told: Told, of_category: Mapping[str, Told]) -> Told:
    """The events that a projection is interested in, without looking at each when that is plain."""
    categories = projection.categories
    if categories is None or of_category.keys() <= categories:
        return told
    present = [category for category in of_category if category in categories]
    if len(present) <= 1:
        return of_category[present[0]] if present else ()
    return [one for one in told if one[0].stream.category in present]


def _applied(track: Track, told: Told, last: int) -> tuple[Progress | None, Failure | None]:
    """What follows for a track from events up to ``last``, and where it fails if it does."""
    projection, start = track.projection, track.position
    apply = projection.apply
    end = last if track.upto is None else min(last, track.upto)
    changes: list[tuple[int, Change]] = []
    failure = None
    for happened in told:
        position = happened[0].position
        if position <= start:
            continue
        if position > end:
            break
        mark = len(changes)
        try:
            if isinstance(happened, Broken):
                raise happened.error
            for change in apply(happened):
                changes.append((position, change))
        except Exception as error:
            # Whatever a projection raises, it concerns that projection and that event.
            del changes[mark:]
            failure = Failure(position, reason(error))
            end = position - 1
            break
    step = Progress(projection.name, track.generation, start, end, changes) if end > start else None
    return step, failure


def _count_alone(models: ReadModels, track: Track, step: Progress) -> Failure | None:
    """Advances one track by halves until the event is found whose changes are refused."""
    try:
        models.advance([step])
    except (Overtaken, Unavailable):
        raise
    except Exception as error:
        positions = sorted({position for position, _ in step.changes})
        if len(positions) <= 1:
            return _count_before(models, track, step, positions[0] if positions else step.position, error)
        middle = positions[len(positions) // 2 - 1]
        former = [change for change in step.changes if change[0] <= middle]
        latter = [change for change in step.changes if change[0] > middle]
        first = Progress(step.projection, step.generation, step.after, middle, former)
        second = Progress(step.projection, step.generation, middle, step.position, latter)
        return _count_alone(models, track, first) or _count_alone(models, track, second)
    track.position = step.position
    return None


def _count_before(models: ReadModels, track: Track, step: Progress, failed: int, error: Exception) -> Failure:
    if failed - 1 > step.after:
        models.advance([step._replace(position=failed - 1, changes=())])
        track.position = failed - 1
    return Failure(failed, reason(error))


_collecting = Lock()
_counts = 0


@contextmanager
def _uncollected() -> Iterator[None]:
    """Lets the garbage collector rest while a batch is counted.

    A batch is some hundred thousand small objects that live until it is written and form no cycles. The collector would
    walk all of them, and everything else in the process, again and again: half of the time of a rebuild.
    """
    global _counts
    if not gc.isenabled() and not _counts:
        yield
        return
    with _collecting:
        _counts += 1
        gc.disable()
    try:
        yield
    finally:
        with _collecting:
            _counts -= 1
            if not _counts:
                gc.enable()


def reason(error: Exception) -> str:
    """Why a projection was stopped, in one text."""
    return f"{type(error).__name__}: {error}"[:REASON_LIMIT]
