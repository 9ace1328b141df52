"""Building read models anew beside the live ones, comparing them, and taking up a stopped one again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, NamedTuple

import structlog

from domain.errors import NotFound, Refused, Remedy
from domain.ports import Fingerprint, Log, ReadModels
from projections.declaration import Projection
from services.counting import Failure, Track, count
from services.reading_ahead import ReadAhead, finished
from services.registry import Registry

Report = Callable[[int, int, float], None]
"""Called with (positions done, positions in all, events per second), about ten times a second and at the end."""

REPORT_SECONDS: Final = 0.1

log_ = structlog.get_logger("rebuild")


class Rebuilt(NamedTuple):
    """What became of a rebuild: swapped in at ``position``, or (``failure``) thrown away because of an event."""

    projection: str
    position: int
    failure: Failure | None


class Verified(NamedTuple):
    """One table of a read model beside a second one, built anew up to the same position.

    ``live`` and ``rebuilt`` are digests; one is empty when the table is missing there, or when the second copy could
    not be built (``error`` says why).
    """

    projection: str
    table: str
    position: int
    live: str
    rebuilt: str
    error: str = ""

    @property
    def equal(self) -> bool:
        return self.live == self.rebuilt


async def rebuild(
    log: Log, models: ReadModels, registry: Registry, names: Sequence[str] = (), report: Report | None = None
) -> list[Rebuilt]:
    """Builds read models (all, when none is named) beside the live ones in one read of the log, and swaps them in.

    A damaged SQLite file is moved aside first. The live ones go on meanwhile; a crash leaves them as they are, and the
    next try starts clean. A projection that fails at an event keeps its live tables. Raises ``NotFound`` for a name
    that nobody declares, ``Overtaken`` when somebody else begins to rebuild the same, ``Unavailable``.
    """
    chosen = named(registry, names)
    aside = await finished(None, models.mend)
    if aside is not None:
        log_.warning("damaged read side moved aside", kept_as=aside)
    tracks: list[Track] = []
    try:
        for projection in chosen:
            await finished(None, models.create, projection.name, projection.version, projection.tables)
            tracks.append(await _begun(models, projection))
        await _build(log, models, registry, tracks, report)
        await _swap_all(log, models, registry, tracks)
    except BaseException:
        await _drop(models, tracks)
        raise
    await _drop(models, [track for track in tracks if track.failure is not None])
    return [Rebuilt(track.projection.name, track.position, track.failure) for track in tracks]


async def verify(
    log: Log, models: ReadModels, registry: Registry, names: Sequence[str] = (), report: Report | None = None
) -> list[Verified]:
    """Compares live tables with ones built anew from the log, table by table.

    The digests of the live tables and their position are taken from one consistent state; the second copy is then built
    up to exactly that position. So the live ones may go on meanwhile. Raises ``Refused`` for a read model that an other
    version of its projection has made.
    """
    pinned: list[tuple[Projection, Fingerprint]] = []
    for projection in named(registry, names):
        live = await finished(None, models.fingerprint, projection.name)
        if live.version != projection.version:
            raise _outdated(projection, live.version)
        pinned.append((projection, live))
    tracks: list[Track] = []
    try:
        for projection, live in pinned:
            tracks.append(await _begun(models, projection, upto=live.position))
        await _build(log, models, registry, tracks, report)
        compared: list[Verified] = []
        for track, (_, live) in zip(tracks, pinned, strict=True):
            built = await finished(None, models.fingerprint, track.projection.name, track.generation)
            compared += _compared(track, live, built)
        return compared
    finally:
        await _drop(models, tracks)


async def resume(models: ReadModels, registry: Registry, name: str) -> None:
    """Lets a stopped read model go on from where it stopped; a running projector takes it up within a second."""
    named(registry, [name])
    await finished(None, models.resume, name)


async def _begun(models: ReadModels, projection: Projection, upto: int | None = None) -> Track:
    generation = await finished(None, models.begin_rebuild, projection.name, projection.version, projection.tables)
    return Track(projection, generation, 0, upto)


async def _build(
    log: Log, models: ReadModels, registry: Registry, tracks: Sequence[Track], report: Report | None
) -> None:
    """Counts the log into all tracks up to their ends, or to the log's end as it is now."""
    head = await log.head()
    ends = [head if track.upto is None else track.upto for track in tracks]
    end = max(ends, default=0)
    pace = _Pace(end, report)
    await _count_to(log, models, registry, tracks, end, pace)
    # The last events may concern nobody; the position is reached all the same.
    pace.at(end, 0, last=True)


async def _count_to(
    log: Log, models: ReadModels, registry: Registry, tracks: Sequence[Track], end: int, pace: _Pace | None = None
) -> None:
    after = min((track.position for track in tracks if track.failure is None), default=end)
    if after >= end:
        return
    async with ReadAhead(log.read(after=after, upto=end)) as events:
        while taken := await events.take():
            await finished(None, count, models, registry, tracks, taken)
            if pace is not None:
                pace.at(taken[-1].position, len(taken))
            if all(track.failure is not None for track in tracks):
                return


async def _swap_all(log: Log, models: ReadModels, registry: Registry, tracks: Sequence[Track]) -> None:
    """Swaps every track as soon as it has counted as much as its live tables."""
    waiting = [track for track in tracks if track.failure is None]
    while waiting:
        head = await log.head()
        await _count_to(log, models, registry, waiting, head)
        left: list[Track] = []
        for track in waiting:
            if track.failure is not None:
                continue
            # Live tables that have counted beyond the log's end come from another log, or from before a restore.
            checkpoint = (await finished(None, models.checkpoints)).get(track.projection.name)
            beyond = checkpoint is not None and checkpoint.position > await log.head()
            if not await finished(None, models.swap, track.projection.name, track.generation, beyond=beyond):
                left.append(track)
        waiting = left
        if waiting:
            await asyncio.sleep(0)


async def _drop(models: ReadModels, tracks: Sequence[Track]) -> None:
    for track in tracks:
        try:
            await finished(None, models.drop_rebuild, track.projection.name, track.generation)
        except Exception as error:
            # Leftovers are dropped by the next try; what went wrong before matters more.
            log_.warning("rebuilt tables not dropped", projection=track.projection.name, reason=str(error))


def _compared(track: Track, live: Fingerprint, built: Fingerprint) -> list[Verified]:
    error = ""
    if track.failure is not None:
        error = f"at position {track.failure.position}: {track.failure.reason}"
    elif built.position != live.position:
        error = f"the log ends at position {built.position}"
    names = sorted({*live.tables, *built.tables})
    return [
        Verified(
            track.projection.name, name, live.position, live.tables.get(name, ""),
            "" if error else built.tables.get(name, ""), error,
        )
        for name in names
    ]


def named(registry: Registry, names: Sequence[str]) -> list[Projection]:
    """The projections of these names, all where there are none. Raises ``NotFound``."""
    unknown = sorted(set(names) - registry.projections.keys())
    if unknown:
        raise NotFound(
            f"There is no projection {unknown[0]}.", error="unknown_projection",
            remediation=[Remedy("List the projections.", "list_projections")],
            detail={"unknown": unknown, "known": sorted(registry.projections)},
        )
    return [registry.projections[name] for name in sorted(set(names) or registry.projections)]


def _outdated(projection: Projection, version: int) -> Refused:
    return Refused(
        f"The tables of {projection.name} are of version {version}, and this release makes version "
        f"{projection.version}: they cannot be compared.",
        error="read_model_outdated",
        remediation=[Remedy(f"Run `comfyvn projections rebuild {projection.name}` first.", "rebuild_projections")],
        detail={"projection": projection.name, "live": version, "declared": projection.version},
    )


class _Pace:
    """Tells how far it is, not too often."""

    def __init__(self, total: int, report: Report | None) -> None:
        self._total, self._report = total, report
        self._began = self._told = monotonic()
        self._events = 0

    def at(self, position: int, events: int, *, last: bool = False) -> None:
        self._events += events
        now = monotonic()
        if self._report is not None and (last or now - self._told >= REPORT_SECONDS):
            self._told = now
            self._report(position, self._total, self._events / max(now - self._began, 1e-9))
