"""Follows the log and keeps every read model counted: one read of the log for all of them, live and in catch-up.

A projection that fails at an event is stopped there and shown; one whose version was raised is rebuilt beside its old
tables and swapped in; one that is far behind catches up on its own, so that the others stay live. Several projectors at
once do no harm: each transaction moves checkpoints only from where they really are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Final, Literal, NamedTuple

import structlog

from domain.errors import ComfyVNError, Unavailable
from domain.ports import Checkpoint, Log, Overtaken, ReadModels, Recorded
from projections.declaration import Projection
from services.counting import Failure, Track, Unknown, UnknownTypes, count
from services.reading_ahead import ReadAhead, finished
from services.rebuild import rebuild
from services.registry import Registry

FAR_BEHIND: Final = 10_000
"""A projection that is further behind the foremost one reads the log by itself until it is nearer."""

WATCH_SECONDS: Final = 1.0
"""How often checkpoints are looked at for what others did: resumed, swapped, rebuilt."""

LONGEST_PAUSE_SECONDS: Final = 5.0
"""Longest pause between two tries while the database or the log is unavailable."""

ABANDONED_SECONDS: Final = 10.0
"""A rebuild by somebody else that has not moved for so long is taken over."""

RATE_SECONDS: Final = 5.0
"""Stretch of time over which rates are taken."""

State = Literal["live", "catching_up", "rebuilding", "stopped", "newer", "beyond", "refused"]
"""What a projection is doing.

    live, catching_up   counting, near to or far from the log's end
    rebuilding          its old tables stand still while new ones are built beside them
    stopped             an event could not be applied: ``resume`` or ``rebuild``
    newer               a newer release has made its tables: this one leaves them alone
    beyond              it has counted further than this log goes: another log, or one restored from a backup
    refused             its tables cannot be made
"""

log_ = structlog.get_logger("projector")


class ProjectionStatus(NamedTuple):
    """Where one projection stands; ``rate`` in events per second of the log, over the last seconds."""

    name: str
    state: State
    version: int
    position: int
    lag: int
    rate: float
    failed_position: int
    error: str


class ProjectorStatus(NamedTuple):
    """Where all of them stand. ``trouble`` says why nothing moves, when nothing can."""

    head: int
    projections: Mapping[str, ProjectionStatus]
    unknown: Mapping[str, Unknown]
    trouble: str


class Projector:
    """Counts ``log`` into ``models`` by the projections of ``registry`` until it is cancelled."""

    def __init__(self, log: Log, models: ReadModels, registry: Registry) -> None:
        self._log, self._models, self._registry = log, models, registry
        self._unknown = UnknownTypes(registry)
        self._checkpoints: Mapping[str, Checkpoint] = {}
        self._tracks: dict[str, Track] = {}
        self._refused: dict[str, str] = {}
        self._rebuilding: dict[str, int] = {}
        self._rebuild: asyncio.Task[None] | None = None
        self._rates: dict[str, Rate] = {}
        self._head = 0
        self._trouble = ""
        self._regroup = asyncio.Event()
        self._threads: ThreadPoolExecutor | None = None

    async def run(self) -> None:
        """Follows the log for ever; an unavailable database or log is waited for, with growing pauses."""
        pause = 0.02
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="projector")
        try:
            while True:
                try:
                    before = self._positions()
                    await self._lap()
                    pause = 0.02
                except Overtaken:
                    log_.info("overtaken by another projector or a swap")
                except Unavailable as error:
                    if self._trouble != error.message:
                        log_.warning("projector waits", reason=error.message, code=error.code)
                    self._trouble = error.message
                    pause = 0.02 if self._positions() != before else min(pause * 2, LONGEST_PAUSE_SECONDS)
                    await asyncio.sleep(pause)
        finally:
            await _ended([self._rebuild] if self._rebuild else [])
            self._threads.shutdown(wait=False)

    def status(self) -> ProjectorStatus:
        """Where everything stands, from what this projector knows; no input or output."""
        shown = {name: self._status_of(projection) for name, projection in self._registry.projections.items()}
        return ProjectorStatus(self._head, shown, dict(self._unknown.types), self._trouble)

    # One lap: from looking at checkpoints until something other than an event asks to look again.

    async def _lap(self) -> None:
        self._regroup.clear()
        tracks = await self._standing()
        self._trouble = ""
        front = max((track.position for track in tracks), default=0)
        near = [track for track in tracks if front - track.position <= FAR_BEHIND]
        far = [track for track in tracks if front - track.position > FAR_BEHIND]
        tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._regroup.wait())]
        if near:
            tasks.append(asyncio.create_task(self._follow(near, _lowest(near))))
        if far:
            tasks.append(asyncio.create_task(self._catch_up(far)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _ended(tasks)
        for task in done:
            task.result()

    async def _standing(self) -> list[Track]:
        """Makes what is missing, starts rebuilding what is outdated; the tracks of all that can be counted."""
        self._head = await self._log.head()
        found: dict[str, Checkpoint] = {}
        self._refused.clear()
        for projection in self._registry.projections.values():
            try:
                found[projection.name] = await self._work(
                    self._models.create, projection.name, projection.version, projection.tables
                )
            except Unavailable:
                raise
            except ComfyVNError as error:
                self._refuse(projection, error.message)
        self._checkpoints = found
        outdated = [
            name for name, one in found.items()
            if one.version < self._registry.projections[name].version and one.status == "live"
        ]
        if outdated and self._rebuild is None:
            self._rebuild = asyncio.create_task(self._renew(outdated))
        ready = [self._registry.projections[name] for name, one in found.items() if self._runs(one)]
        tracks = [Track(one, found[one.name].generation, found[one.name].position) for one in ready]
        self._tracks = {track.projection.name: track for track in tracks}
        return tracks

    def _runs(self, checkpoint: Checkpoint) -> bool:
        declared = self._registry.projections.get(checkpoint.projection)
        return (
            declared is not None and checkpoint.version == declared.version and checkpoint.status == "live"
            and checkpoint.position <= self._head
        )

    def _refuse(self, projection: Projection, message: str) -> None:
        self._refused[projection.name] = message
        log_.error("projection refused", projection=projection.name, reason=message)

    async def _watch(self) -> None:
        """Returns when checkpoints say that other tracks than the present ones should run."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._head = max(self._head, await self._log.head())
            self._checkpoints = await self._work(self._models.checkpoints)
            running = {
                (track.projection.name, track.generation) for track in self._tracks.values() if track.failure is None
            }
            wanted = {(one.projection, one.generation) for one in self._checkpoints.values() if self._runs(one)}
            missing = self._registry.projections.keys() - self._checkpoints.keys() - self._refused.keys()
            if running != wanted or missing:
                return

    # Counting

    async def _follow(self, tracks: Sequence[Track], after: int) -> None:
        await self._drive(tracks, self._log.follow(after=after), live=True)

    async def _catch_up(self, tracks: Sequence[Track]) -> None:
        await self._drive(tracks, self._log.read(after=_lowest(tracks)), live=False)

    async def _drive(self, tracks: Sequence[Track], batches: AsyncIterator[list[Recorded]], *, live: bool) -> None:
        """Counts a stream of events into some tracks until it ends or none of them is left."""
        async with ReadAhead(batches) as events:
            while taken := await events.take():
                self._head = max(self._head, taken[-1].position)
                if live:
                    self._unknown.note(taken)
                await self._count(tracks, taken)
                if all(track.failure is not None for track in tracks):
                    await self._regroup.wait()

    async def _count(self, tracks: Sequence[Track], events: list[Recorded]) -> None:
        pause = 0.01
        while True:
            before = [(track, track.position) for track in tracks if track.failure is None]
            try:
                await self._work(count, self._models, self._registry, tracks, events)
            except Overtaken:
                # Another projector was faster: go on from where it got, a little behind it.
                if not await self._refreshed(tracks):
                    raise
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.3)
                continue
            break
        for track, position in before:
            self._rates.setdefault(track.projection.name, Rate()).note(track.position - position)
            if track.failure is not None:
                await self._stop(track, track.failure)

    async def _refreshed(self, tracks: Sequence[Track]) -> bool:
        """Moves tracks to their checkpoints; false when one of them can no longer be gone on with."""
        checkpoints = await self._work(self._models.checkpoints)
        for track in tracks:
            if track.failure is not None:
                continue
            one = checkpoints.get(track.projection.name)
            if one is None or one.generation != track.generation or one.status != "live":
                return False
            if one.position < track.position:
                return False
            track.position = one.position
        return True

    async def _stop(self, track: Track, failure: Failure) -> None:
        name = track.projection.name
        log_.error("projection stopped", projection=name, position=failure.position, reason=failure.reason)
        await self._work(self._models.stop, name, failure.position, failure.reason)
        self._note_stopped(name, failure)

    def _note_stopped(self, name: str, failure: Failure) -> None:
        one = self._checkpoints.get(name)
        if one is not None:
            self._checkpoints = {
                **self._checkpoints,
                name: one._replace(status="stopped", failed_position=failure.position, error=failure.reason),
            }

    # Renewing what an older release has made

    async def _renew(self, names: list[str]) -> None:
        """Rebuilds outdated read models; somebody else's rebuild of the same is left alone while it moves."""
        try:
            mine = await self._not_in_work(names)
            self._rebuilding = dict.fromkeys(mine, 0)
            if mine:
                log_.info("rebuilding outdated read models", projections=mine)
                for built in await rebuild(self._log, self._models, self._registry, mine, self._report):
                    if built.failure is not None:
                        await self._work(
                            self._models.stop, built.projection, built.failure.position, built.failure.reason
                        )
        except (Overtaken, ComfyVNError) as error:
            log_.warning("rebuild given up for now", reason=str(error))
            await asyncio.sleep(WATCH_SECONDS)
        finally:
            self._rebuilding = {}
            self._rebuild = None
            self._regroup.set()

    async def _not_in_work(self, names: list[str]) -> list[str]:
        """Those of the names that nobody is rebuilding to this version."""
        before = await self._of_same_version(names)
        if not before:
            return names
        deadline = monotonic() + ABANDONED_SECONDS
        while monotonic() < deadline:
            await asyncio.sleep(WATCH_SECONDS)
            now = await self._of_same_version(names)
            if any(name not in now or now[name] != before[name] for name in before):
                return [name for name in names if name not in before]
        return names

    async def _of_same_version(self, names: list[str]) -> dict[str, tuple[int, int]]:
        found = await self._work(self._models.rebuilds)
        return {
            name: (found[name].generation, found[name].position)
            for name in names if name in found and found[name].version == self._registry.projections[name].version
        }

    def _report(self, done: int, total: int, rate: float) -> None:
        self._rebuilding = dict.fromkeys(self._rebuilding, done)

    # Showing

    def _status_of(self, projection: Projection) -> ProjectionStatus:
        name = projection.name
        one = self._checkpoints.get(name, Checkpoint(name, projection.version, 0, 0, "live", 0, ""))
        track = self._tracks.get(name)
        position = max(one.position, track.position) if track and track.generation == one.generation else one.position
        rate = self._rates[name].per_second() if name in self._rates else 0.0
        lag = max(0, self._head - position)
        state: State = "live" if lag <= 1000 else "catching_up"
        error = one.error
        if name in self._refused:
            state, error = "refused", self._refused[name]
        elif one.status == "stopped":
            state = "stopped"
        elif name in self._rebuilding or one.version < projection.version:
            state = "rebuilding"
        elif one.version > projection.version:
            state = "newer"
        elif one.position > self._head > 0:
            state = "beyond"
        return ProjectionStatus(name, state, one.version, position, lag, rate, one.failed_position, error)

    def _positions(self) -> dict[str, int]:
        return {name: track.position for name, track in self._tracks.items()}

    async def _work(self, work, *args):  # type: ignore[no-untyped-def]
        return await finished(self._threads, work, *args)


class Rate:
    """Events per second over the last seconds."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._events = 0
        self._before = 0.0

    def note(self, events: int) -> None:
        """So many more."""
        self._turn()
        self._events += events

    def per_second(self) -> float:
        """The rate of the last whole stretch, or of the present one when it is the first."""
        self._turn()
        return self._before or self._events / max(monotonic() - self._began, 0.001)

    def _turn(self) -> None:
        passed = monotonic() - self._began
        if passed >= RATE_SECONDS:
            self._before = self._events / passed if passed < 2 * RATE_SECONDS else 0.0
            self._began, self._events = monotonic(), 0


def _lowest(tracks: Sequence[Track]) -> int:
    return min(track.position for track in tracks)


async def _ended(tasks: Sequence[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
