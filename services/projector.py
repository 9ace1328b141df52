"""Follows the log and keeps every read model counted: one read of the log for all of them, live and in catch-up.

A projection that fails at an event is stopped there and shown; one whose version was raised is rebuilt beside its old
tables and swapped in; one that is far behind catches up on its own, so that the others stay live. Several projectors at
once do no harm: each transaction moves checkpoints only from where they really are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Final, ParamSpec, TypeVar

import structlog

from domain.errors import ComfyVNError, Unavailable
from domain.ports import Checkpoint, Log, Overtaken, ReadModels, Recorded
from projections.declaration import Projection
from services.counting import Failure, Track, count
from services.projection_status import NEAR, ProjectionStatus, ProjectorStatus, Rate, State
from services.reading_ahead import ReadAhead, finished
from services.registry import Registry
from services.renewal import Renewal
from services.unknown_types import UnknownTypes

FAR_BEHIND: Final = 10_000
"""A projection that is further behind the foremost one reads the log by itself until it is nearer."""

WATCH_SECONDS: Final = 1.0
"""How often checkpoints are looked at for what others did: resumed, swapped, rebuilt."""

RESTS_SECONDS: Final = 0.02
"""Longest rest between two batches of live events when more wait already: writing a batch costs much the same for one
event as for fifty, so a busy log is counted in fewer, larger ones. A log that is not busy is counted at once."""

FEW_EVENTS: Final = 200
"""So many that wait are worth a batch of their own: then there is no rest."""

LONGEST_PAUSE_SECONDS: Final = 5.0
"""Longest pause between two tries while the database or the log is unavailable."""

P = ParamSpec("P")
T = TypeVar("T")

log_ = structlog.get_logger("projector")


class Projector:
    """Counts ``log`` into ``models`` by the projections of ``registry`` until it is cancelled."""

    def __init__(
        self, log: Log, models: ReadModels, registry: Registry, *, far_behind: int = FAR_BEHIND
    ) -> None:
        self._far_behind = far_behind
        self._log, self._models, self._registry = log, models, registry
        self._unknown = UnknownTypes(registry)
        self._regroup = asyncio.Event()
        self._renewal = Renewal(log, models, registry, self._regroup.set)
        self._checkpoints: Mapping[str, Checkpoint] = {}
        self._misshapen: frozenset[tuple[str, int]] = frozenset()
        self._refused: dict[str, str] = {}
        self._tracks: dict[str, Track] = {}
        self._rates: dict[str, Rate] = {}
        self._head = 0
        self._trouble = ""
        self._threads: ThreadPoolExecutor | None = None

    async def run(self) -> None:
        """Follows the log for ever; an unavailable database or log is waited for, with growing pauses."""
        pause = 0.02
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="projector")
        try:
            while True:
                before = self._positions()
                try:
                    await self._lap()
                except Overtaken:
                    log_.info("overtaken by another projector or a swap")
                except Unavailable as error:
                    if self._trouble != error.message:
                        log_.warning("projector waits", reason=error.message, code=error.code)
                    self._trouble = error.message
                    pause = await self._rested(pause, before)
                except Exception as error:  # nobody may be left waiting for a projector that has died
                    log_.error("projector_defect", exc_info=error)
                    self._trouble = f"{type(error).__name__}: {error}"[:500]
                    pause = await self._rested(pause, before)
        finally:
            await self._renewal.close()
            self._threads.shutdown(wait=False)

    async def _rested(self, pause: float, before: Mapping[str, int]) -> float:
        """Rests, longer each time in which nothing moved; how long it was."""
        pause = 0.02 if self._positions() != before else min(pause * 2, LONGEST_PAUSE_SECONDS)
        await asyncio.sleep(pause)
        return pause

    def status(self) -> ProjectorStatus:
        """Where everything stands, from what this projector knows; no input or output."""
        shown = {name: self._status_of(projection) for name, projection in self._registry.projections.items()}
        return ProjectorStatus(self._head, shown, dict(self._unknown.types), self._trouble)

    # One lap: from looking at checkpoints until something other than an event asks to look again.

    async def _lap(self) -> None:
        self._regroup.clear()
        tracks = await self._standing()
        front = max((track.position for track in tracks), default=0)
        near = [track for track in tracks if front - track.position <= self._far_behind]
        far = [track for track in tracks if front - track.position > self._far_behind]
        tasks: list[asyncio.Task[object]] = [
            asyncio.create_task(self._watch()), asyncio.create_task(self._regroup.wait()),
        ]
        if near:
            tasks.append(asyncio.create_task(self._drive(near, self._log.follow(after=_lowest(near)), live=True)))
        if far:
            tasks.append(asyncio.create_task(self._drive(far, self._log.read(after=_lowest(far)), live=False)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _standing(self) -> list[Track]:
        """Makes what is missing, starts to rebuild what is outdated; the tracks of all that can be counted."""
        self._head = await self._log.head()
        found: dict[str, Checkpoint] = {}
        refused: dict[str, str] = {}
        for projection in self._registry.projections.values():
            try:
                found[projection.name] = await self._work(
                    self._models.create, projection.name, projection.version, projection.tables
                )
            except Unavailable:
                raise
            except ComfyVNError as error:
                log_.error("projection refused", projection=projection.name, reason=error.message)
                refused[projection.name] = error.message
        self._checkpoints, self._refused = found, refused
        self._misshapen = frozenset((one.projection, one.generation) for one in found.values() if not one.version)
        self._renewal.start([name for name, one in found.items() if self._outdated(one) and one.status == "live"])
        tracks = [
            Track(self._registry.projections[name], one.generation, one.position)
            for name, one in found.items() if self._runs(one)
        ]
        self._tracks = {track.projection.name: track for track in tracks}
        return tracks

    def _outdated(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.version < self._registry.projections[checkpoint.projection].version

    def _runs(self, checkpoint: Checkpoint) -> bool:
        """Whether tables can be counted into by this release and this log."""
        declared = self._registry.projections.get(checkpoint.projection)
        return (
            declared is not None and checkpoint.version == declared.version and checkpoint.status == "live"
            and checkpoint.position <= self._head
            and (checkpoint.projection, checkpoint.generation) not in self._misshapen
        )

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
            if all(track.position >= self._head for track in self._tracks.values()):
                self._trouble = ""

    # Counting

    async def _drive(self, tracks: Sequence[Track], batches: AsyncIterator[list[Recorded]], *, live: bool) -> None:
        """Counts a stream of events into some tracks until it ends or asks to look again."""
        async with ReadAhead(batches) as events:
            while taken := await events.take():
                self._head = max(self._head, taken[-1].position)
                if live:
                    self._unknown.note(taken)
                began = monotonic()
                await self._count(tracks, taken)
                if live and 0 < events.waiting < FEW_EVENTS:
                    await asyncio.sleep(min(monotonic() - began, RESTS_SECONDS))
                if all(track.failure is not None for track in tracks):
                    await self._regroup.wait()

    async def _count(self, tracks: Sequence[Track], events: list[Recorded]) -> None:
        running = [(track, track.position) for track in tracks if track.failure is None]
        pause = 0.01
        while True:
            try:
                await self._work(count, self._models, self._registry, tracks, events)
                break
            except Overtaken:
                # Another projector was faster: go on from where it got, a little behind it.
                if not await self._refreshed(tracks):
                    raise
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.3)
        self._trouble = ""
        for track, position in running:
            self._rates.setdefault(track.projection.name, Rate()).note(track.position - position)
            if track.failure is not None:
                await self._stop(track.projection.name, track.failure)

    async def _refreshed(self, tracks: Sequence[Track]) -> bool:
        """Moves tracks to their checkpoints; false when one of them can no longer be gone on with."""
        checkpoints = await self._work(self._models.checkpoints)
        for track in tracks:
            if track.failure is None:
                one = checkpoints.get(track.projection.name)
                if one is None or one.generation != track.generation or one.status != "live":
                    return False
                if one.position < track.position:
                    return False
                track.position = one.position
        return True

    async def _stop(self, name: str, failure: Failure) -> None:
        log_.error("projection stopped", projection=name, position=failure.position, reason=failure.reason)
        await self._work(self._models.stop, name, failure.position, failure.reason)
        self._checkpoints = await self._work(self._models.checkpoints)

    # Showing

    def _status_of(self, projection: Projection) -> ProjectionStatus:
        name = projection.name
        one = self._checkpoints.get(name, Checkpoint(name, projection.version, 0, 0, "live", 0, ""))
        track = self._tracks.get(name)
        position = max(one.position, track.position) if track and track.generation == one.generation else one.position
        lag = max(0, self._head - position)
        rate = self._rates[name].per_second() if name in self._rates else 0.0
        return ProjectionStatus(
            name, self._state_of(projection, one, lag), one.version, position, lag, rate, one.failed_position,
            self._refused.get(name, one.error),
        )

    def _state_of(self, projection: Projection, checkpoint: Checkpoint, lag: int) -> State:
        if projection.name in self._refused:
            return "refused"
        if checkpoint.status == "stopped":
            return "stopped"
        if projection.name in self._renewal.names or checkpoint.version < projection.version:
            return "rebuilding"
        if checkpoint.version > projection.version:
            return "newer"
        if checkpoint.position > self._head:
            return "beyond"
        return "live" if lag <= NEAR else "catching_up"

    def _positions(self) -> dict[str, int]:
        return {name: track.position for name, track in self._tracks.items()}

    async def _work(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Blocking work in a thread of the projector's own: requests that occupy the others do not hold it up."""
        return await finished(self._threads, work, *args, **kwargs)


def _lowest(tracks: Sequence[Track]) -> int:
    return min(track.position for track in tracks)
