"""A worker: takes jobs from the queue, as many as it has places, and executes them until it is told to end.

News of jobs comes out of a durable inbox that all workers share, so that each wakes one of them; a look at the queue
now and then finds whatever nobody was woken for, and what a worker that died has left behind.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Final

import structlog

from domain.errors import ComfyVNError, Unavailable
from domain.ids import UNBRANCHED
from domain.ports import Inboxes, Recorded, Stream
from domain.ports.leases import Lease, Leases
from domain.studio.job import CATEGORY, Open
from services.generation.executing import Execution, Tools
from services.generation.holding import Holdings
from services.generation.news import News
from services.generation.pace import Pace
from services.generation.queue import Place, Queue, Running
from services.generation.recording import Hand, moment
from services.generation.slots import Slots
from services.media.rendering import Renderer
from services.studio import Studio

LISTEN_SECONDS: Final = 5.0

COUNTED_SECONDS: Final = 2.0
"""How long a look waits for the read model; then it looks at what is there."""

AT_ONCE: Final = 16

SERVED_LIMIT: Final = 10_000

SPARE: Final = 8
"""Jobs that a look at the queue finds beyond those that there is room for."""

OVER_LIMIT: Final = 1_000

log = structlog.get_logger("jobs")


@dataclass(slots=True)
class Worker:
    """All jobs of one process. ``at_once`` is how many it works on at a time; engines' slots bound it too."""

    studio: Studio
    leases: Leases
    inboxes: Inboxes
    at_once: int = AT_ONCE
    pace: Pace = field(default_factory=Pace)
    name: str = field(default_factory=lambda: f"{socket.gethostname()[:60]}-{os.getpid()}")
    done: int = 0
    trouble: str = ""
    runs: dict[tuple[str, str], asyncio.Task[None]] = field(default_factory=dict)
    _hands: dict[tuple[str, str], Hand] = field(default_factory=dict)
    _resting: dict[str, float] = field(default_factory=dict)
    _served: dict[str, int] = field(default_factory=dict)
    _left: dict[tuple[str, str], float] = field(default_factory=dict)
    _over: dict[tuple[str, str], int] = field(default_factory=dict)
    _serving: int = 0
    _suspicion: asyncio.Lock = field(default_factory=asyncio.Lock)
    _swept: float = float("-inf")
    _looked: float = float("-inf")
    _drained: bool = False
    _running: Running = field(default_factory=lambda: Running((), {}, {}))
    _renderer: Renderer = field(default_factory=Renderer)
    _news: News = field(init=False)
    _slots: Slots = field(init=False)
    _held: Holdings = field(init=False)

    def __post_init__(self) -> None:
        self._news = News(self.inboxes)
        self._slots = Slots(self.leases, self.studio.engines.slots_of)
        self._held = Holdings(self.leases, self._lost, self._troubled)

    async def run(self) -> None:
        """Until it is cancelled; its jobs are given back in order then."""
        self.leases.listen(self._touched)
        async with asyncio.TaskGroup() as around:
            # Jobs are held until they are given back: an engine that is just answering may take longer than a lease.
            beating = around.create_task(self._held.keep(), name="leases")
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._intake(), name="news of jobs")
                    group.create_task(self._work(), name="work")
            finally:
                for run in self.runs.values():
                    run.cancel()
                await asyncio.gather(*self.runs.values(), return_exceptions=True)
                beating.cancel()
                await self._renderer.close()

    # --- news and leases --------------------------------------------------------------------------------------

    async def _intake(self) -> None:
        """News are taken only while there is room, so that a busy worker keeps none from the others."""
        while True:
            if len(self.runs) >= self.at_once:
                await asyncio.wait(set(self.runs.values()), return_when=asyncio.FIRST_COMPLETED)
                continue
            try:
                await self._news.hear(LISTEN_SECONDS)
            except Exception as error:
                self._stumbled(error)
                await asyncio.sleep(self.pace.look)

    def _stumbled(self, error: Exception) -> None:
        """Notes what came between; the next look may be well again, and a worker that has died never looks."""
        if isinstance(error, Unavailable):
            self.trouble = error.message
            log.warning("queue_not_read", reason=error.message)
        else:
            self.trouble = f"{type(error).__name__}: {error}"[:500]
            log.error("worker_defect", exc_info=error)

    def _troubled(self, told: str) -> None:
        self.trouble = told

    def _touched(self, key: str) -> None:
        project, _, job_id = key.partition(".")
        hand = self._hands.get((project, job_id))
        if hand is not None:
            hand.touched.set()
        self._news.stirred.set()

    def _lost(self, key: tuple[str, str]) -> None:
        if (run := self.runs.get(key)) is not None:
            run.cancel()

    # --- taking -----------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            self._news.stirred.clear()
            try:
                await self._look()
            except Exception as error:
                self._stumbled(error)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.pace.look):
                    await self._news.stirred.wait()

    async def _look(self) -> None:
        """Takes whatever there is to take and room for."""
        fresh = self._news.fresh()
        if len(self.runs) >= self.at_once:
            return
        if self._drained and monotonic() - self._looked < self.pace.look:
            await self._take_fresh(fresh)
            if self._drained:
                return
        await self._counted()
        self._looked = monotonic()
        queue = Queue(self.studio.models)
        running = self._running = self._still(await asyncio.to_thread(queue.running))
        if monotonic() - self._swept >= self.pace.look:
            self._swept = monotonic()
            for place in await asyncio.to_thread(queue.urgent, self.studio.clock()):
                if place.key not in self._without():
                    await self._take(place, None)
            await self._sweep(running)
        owners, full = Counter(running.owners), set[str]()
        while len(self.runs) < self.at_once:
            room = {one: free for one in self.studio.engines if one not in full and (free := self._open(one))}
            if not room:
                return
            # Some more than there is room for: another worker may have what is first in the line in hand already.
            line = await asyncio.to_thread(
                queue.line, {one: free + SPARE for one, free in room.items()}, owners, self._served, self._without(),
                self.at_once - len(self.runs) + SPARE,
            )
            if not line:
                self._drained = len(room) == len(self.studio.engines)
                return
            self._drained = False
            await self._take_line(line, room, owners, full)

    async def _take_line(
        self, line: Sequence[Place], room: Mapping[str, int], owners: Counter[str], full: set[str]
    ) -> None:
        """Takes jobs of a line as far as there are slots, one after the other so that they begin in its order; counts
        them in ``owners``, and engines that have no more room as ``full``."""
        wanted = Counter(one.engine for one in line)
        held = await self._slots_for({one: min(count, room[one]) for one, count in wanted.items()})
        try:
            for engine in held:
                if held[engine] and await self._orphaned(engine, self._running):
                    # What a dead worker has left at the engine still takes up room there: it comes first.
                    full.add(engine)
                    self._swept = float("-inf")
            for place in line:
                if place.engine in full or len(self.runs) >= self.at_once:
                    continue
                if not held[place.engine]:
                    full.add(place.engine)
                elif await self._take(place, held[place.engine][-1]):
                    held[place.engine].pop()
                    owners[place.owner] += 1
        finally:
            for slot in (one for unused in held.values() for one in unused):
                await self._put_back(slot, None)

    async def _slots_for(self, wanted: Mapping[str, int]) -> dict[str, list[Lease]]:
        """Slots of engines, as many as there are of what is wanted; raises ``Unavailable``."""
        held: dict[str, list[Lease]] = {engine: [] for engine in wanted}
        engines = [engine for engine, count in wanted.items() for _ in range(count)]
        found = await asyncio.gather(*(self._slots.acquire(engine) for engine in engines), return_exceptions=True)
        for engine, slot in zip(engines, found, strict=True):
            if slot is not None and not isinstance(slot, BaseException):
                held[engine].append(slot)
        failed = next((one for one in found if isinstance(one, BaseException)), None)
        if failed is not None:
            for slot in (one for some in held.values() for one in some):
                await self._put_back(slot, None)
            raise failed
        return held

    async def _take_fresh(self, fresh: Sequence[Recorded]) -> None:
        """Takes jobs that were just asked for, while nobody else was waiting: there is no queue to look at."""
        found: list[Place] = []
        for recorded in fresh:
            job = (await self.studio.dispatcher.aggregates.load(recorded.stream)).state
            if isinstance(job, Open) and not job.taken and not job.cancelling and job.steps:
                request = job.request
                found.append(Place(recorded.stream.project, recorded.stream.id, job.steps[0].engine, request.owner,
                                   request.priority, recorded.position))
        for place in sorted(found, key=lambda one: (-one.priority, one.since)):
            room = place.engine in self.studio.engines and self._open(place.engine)
            if not room or len(self.runs) >= self.at_once:
                self._drained = False
            else:
                await self._take_at_once(place)

    async def _take_at_once(self, place: Place) -> None:
        """Takes a job, unless somebody was faster or the engine has no room: then a look at the queue says more."""
        slot, lease = await self._both(place)
        begun = False
        try:
            if slot is None or await self._orphaned(place.engine, self._running):
                self._drained = False
            elif lease is not None and place.key not in self.runs:
                self._begin(place, slot, lease)
                begun = True
        finally:
            if not begun:
                await self._put_back(slot, lease)

    async def _both(self, place: Place) -> tuple[Lease | None, Lease | None]:
        """A slot and the job's lease, asked for together; raises ``Unavailable``, and then has neither."""
        found = await asyncio.gather(
            self._slots.acquire(place.engine), self.leases.acquire(place.lease), return_exceptions=True
        )
        slot, lease = (None if isinstance(one, BaseException) else one for one in found)
        failed = next((one for one in found if isinstance(one, BaseException)), None)
        if failed is None:
            return slot, lease
        await self._put_back(slot, lease)
        raise failed

    async def _put_back(self, slot: Lease | None, lease: Lease | None) -> None:
        """Gives back what was not used; what cannot be given back now ends by itself."""
        if slot is not None:
            with suppress(ComfyVNError):
                await self._slots.release(slot)
        if lease is not None:
            with suppress(ComfyVNError):
                await lease.release()

    async def _orphaned(self, engine: str, running: Running) -> bool:
        """Whether an attempt may be running at an engine that nobody follows. Asked while a slot is held."""
        suspects = [
            one for one in running.places
            if one.busy and one.engine == engine and one.key not in self.runs and one.key not in self._over
        ]
        if not suspects:
            return False
        held = await self.leases.held("job")
        for one in suspects:
            if one.lease in held:
                continue
            stream = Stream(one.project, UNBRANCHED, CATEGORY, one.job_id)
            self.studio.dispatcher.aggregates.forget(stream)
            job = (await self.studio.dispatcher.aggregates.load(stream)).state
            if isinstance(job, Open) and job.attempt is not None and job.attempt.situation in ("started", "accepted"):
                return True
        return False

    async def _sweep(self, running: Running) -> None:
        """Jobs that were begun and that nobody has in hand: their worker died, or it is time to try them again."""
        now = moment(self.studio.clock())
        due = [
            one for one in running.places
            if one.key not in self.runs and one.engine in self.studio.engines
            and not (one.retry_at and moment(one.retry_at) > now) and self._left.get(one.key, 0.0) <= monotonic()
        ]
        if not due:
            return
        held = await self.leases.held("job")
        for place in due:
            if len(self.runs) >= self.at_once:
                return
            if place.lease not in held:
                await self._take(place, None)

    async def _take(self, place: Place, slot: Lease | None) -> bool:
        """Starts on a job whose lease is free, and with that on the slot; false when it is not. The slot is still the
        caller's then, as when ``Unavailable`` is raised."""
        if place.key in self.runs or len(self.runs) >= self.at_once:
            return False
        lease = await self.leases.acquire(place.lease)
        if lease is None:
            self._left[place.key] = monotonic() + self.leases.seconds
            return False
        self._begin(place, slot, lease)
        return True

    def _begin(self, place: Place, slot: Lease | None, lease: Lease) -> None:
        """Starts on a job: the leases are the execution's from now on."""
        hand = Hand(self.studio, place.project, place.job_id, self.name, lease)
        hold = partial(self._held.hold, key=place.key)
        tools = Tools(self.studio.engines, self._slots, self._renderer, self.pace, self._rest, hold, self._held.drop,
                      self._suspicion)
        for one in (lease, *(() if slot is None else (slot,))):
            hold(one)
        execution = Execution(hand, tools, None if slot is None else (place.engine, slot))
        self._hands[place.key] = hand
        if len(self._served) > SERVED_LIMIT:
            self._served.clear()
        self._serving = max(self._serving, self._news.position) + 1
        self._served[place.owner] = self._serving
        task = asyncio.create_task(self._executed(execution, place), name=f"job {place.job_id}")
        self.runs[place.key] = task

    async def _executed(self, execution: Execution, place: Place) -> None:
        try:
            await execution.run()
            self.done += 1
        except ComfyVNError as error:
            self.trouble = f"{place.job_id}: {error.message}"
            log.warning("job_put_off", job=place.job_id, reason=error.message)
            self._left[place.key] = monotonic() + self.pace.look
        except Exception as error:  # a defect of ours: the job stays as it is, and after some of these in quarantine
            self.trouble = f"{place.job_id}: {error}"[:500]
            log.exception("job_broke", job=place.job_id)
            self._left[place.key] = monotonic() + self.leases.seconds
        finally:
            self.runs.pop(place.key, None)
            # Whoever is served from now on is served later than this, also where the read model knows only of this.
            self._serving = max(self._serving, execution.hand.position)
            if len(self._over) < OVER_LIMIT:
                self._over[place.key] = execution.hand.position
            self._hands.pop(place.key, None)
            self._news.stirred.set()

    # --- what there is ----------------------------------------------------------------------------------------

    async def _counted(self) -> None:
        """Waits, not long, until the read model has counted what this worker knows of."""
        end = monotonic() + COUNTED_SECONDS
        pause = 0.002
        while monotonic() < end:
            known = await asyncio.to_thread(self.studio.models.checkpoints)
            if "job_queue" in known and known["job_queue"].position >= self._news.position:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def _still(self, running: Running) -> Running:
        """What has begun, without what this worker has put down since it was counted."""
        self._over = {key: position for key, position in self._over.items() if position > running.position}
        return Running.of((one for one in running.places if one.key not in self._over), running.position)

    def _open(self, engine: str) -> int:
        """How much new work may be taken to an engine: none while it needs a rest or somebody here waits for it, else
        as much as it may have room for beside what is ours."""
        if self._resting.get(engine, 0.0) > monotonic() or self._slots.awaited(engine):
            return 0
        return max(0, self.studio.engines.slots_of(engine) - self._held.count(f"slot.{engine}."))

    def _rest(self, engine: str, seconds: float) -> None:
        self._resting[engine] = max(self._resting.get(engine, 0.0), monotonic() + seconds)

    def _without(self) -> Collection[tuple[str, str]]:
        """Jobs that are not to be taken now: in hand, put down and not yet counted as such, or somebody else's a moment
        ago."""
        now = monotonic()
        self._left = {key: until for key, until in self._left.items() if until > now}
        return {*self.runs, *self._left, *self._over}
