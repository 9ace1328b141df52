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
from time import monotonic
from typing import Final

import structlog

from domain.errors import ComfyVNError, Unavailable
from domain.ids import UNBRANCHED
from domain.ports import Inbox, Inboxes, Recorded, Stream
from domain.ports.leases import Lease, Leases
from domain.studio.job import (
    CATEGORY,
    AttemptResolved,
    JobCancelRequested,
    JobPrioritised,
    JobReleased,
    JobRequested,
    Open,
)
from services.generation.executing import Execution, Tools
from services.generation.pace import Pace
from services.generation.queue import Place, Queue, Running
from services.generation.recording import Hand, moment
from services.generation.slots import Slots
from services.media.rendering import Renderer
from services.studio import Studio

INBOX: Final = "jobs"
NEWS: Final = frozenset(
    one.__name__ for one in (JobRequested, JobReleased, JobPrioritised, JobCancelRequested, AttemptResolved)
)
"""Events after which there may be something to take."""

COUNTED_SECONDS: Final = 2.0
"""How long a look waits for the read model; then it looks at what is there."""

AT_ONCE: Final = 16

SERVED_LIMIT: Final = 10_000

SPARE: Final = 8
"""Jobs that a look at the queue finds beyond those that there is room for."""

OVER_LIMIT: Final = 1_000

FRESH_LIMIT: Final = 64
"""News that are kept until the next look; older ones stand in the read model by then."""

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
    _held: dict[Lease, tuple[str, str]] = field(default_factory=dict)
    _resting: dict[str, float] = field(default_factory=dict)
    _served: dict[str, int] = field(default_factory=dict)
    _left: dict[tuple[str, str], float] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _position: int = 0
    _serving: int = 0
    _suspicion: asyncio.Lock = field(default_factory=asyncio.Lock)
    _swept: float = float("-inf")
    _looked: float = float("-inf")
    _drained: bool = False
    _running: Running = field(default_factory=lambda: Running((), {}, {}))
    _fresh: list[Recorded] = field(default_factory=list)
    _over: dict[tuple[str, str], int] = field(default_factory=dict)

    async def run(self) -> None:
        """Until it is cancelled; its jobs are given back in order then."""
        self.leases.listen(self._touched)
        renderer = Renderer()
        slots = Slots(self.leases, self._size)
        async with asyncio.TaskGroup() as around:
            # Jobs are held until they are given back: an engine that is just answering may take longer than a lease.
            beating = around.create_task(self._heartbeat(), name="leases")
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._intake(), name="news of jobs")
                    group.create_task(self._work(slots, renderer), name="work")
            finally:
                for run in self.runs.values():
                    run.cancel()
                await asyncio.gather(*self.runs.values(), return_exceptions=True)
                beating.cancel()
                await renderer.close()

    # --- news -------------------------------------------------------------------------------------------------

    async def _intake(self) -> None:
        """Events of jobs, shared among all workers: taken only while there is room, so that a busy one keeps none."""
        inbox: Inbox | None = None
        while True:
            if len(self.runs) >= self.at_once:
                await asyncio.wait(set(self.runs.values()), return_when=asyncio.FIRST_COMPLETED)
                continue
            try:
                inbox = inbox or await self.inboxes.open(
                    INBOX, ["vn.*.*.job.*"], ack_wait_seconds=30.0, in_flight=4096
                )
                deliveries = await inbox.fetch(256, 5.0)
                for delivery in deliveries:
                    if delivery.recorded.type in NEWS:
                        self._position = max(self._position, delivery.recorded.position)
                    await delivery.ack()
                self._fresh += [one.recorded for one in deliveries if one.recorded.type == JobRequested.__name__]
                del self._fresh[:-FRESH_LIMIT]
                if any(one.recorded.type in NEWS for one in deliveries):
                    self._news.set()
            except Unavailable as error:
                self.trouble = error.message
                await asyncio.sleep(self.pace.look)

    def _touched(self, key: str) -> None:
        project, _, job_id = key.partition(".")
        hand = self._hands.get((project, job_id))
        if hand is not None:
            hand.touched.set()
        self._news.set()

    # --- leases -----------------------------------------------------------------------------------------------

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self.leases.seconds / 3)
            held = [(lease, key) for lease, key in self._held.items()]
            await asyncio.gather(*(self._renewed(lease, key) for lease, key in held))

    async def _renewed(self, lease: Lease, key: tuple[str, str]) -> None:
        try:
            if await lease.renew():
                return
        except Unavailable as error:
            self.trouble = error.message
            if lease.held:
                return
        if lease in self._held:
            log.warning("lease_lost", lease=lease.name)
            run = self.runs.get(key)
            if run is not None:
                run.cancel()

    # --- taking -----------------------------------------------------------------------------------------------

    async def _work(self, slots: Slots, renderer: Renderer) -> None:
        while True:
            self._news.clear()
            try:
                await self._look(slots, renderer)
            except Unavailable as error:
                self.trouble = error.message
                log.warning("queue_not_read", reason=error.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.pace.look):
                    await self._news.wait()

    async def _look(self, slots: Slots, renderer: Renderer) -> None:
        """Takes whatever there is to take and room for."""
        fresh, self._fresh = self._fresh, []
        if len(self.runs) >= self.at_once:
            return
        if self._drained and monotonic() - self._looked < self.pace.look:
            await self._take_fresh(fresh, slots, renderer)
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
                    await self._take(place, slots, renderer, None)
            await self._sweep(running, slots, renderer)
        owners, full = Counter(running.owners), set[str]()
        while len(self.runs) < self.at_once:
            room = {one: free for one in self.studio.engines if one not in full and (free := self._open(one, slots))}
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
            await self._take_line(line, room, owners, full, slots, renderer)

    async def _take_line(
        self, line: Sequence[Place], room: Mapping[str, int], owners: Counter[str], full: set[str], slots: Slots,
        renderer: Renderer,
    ) -> None:
        """Takes jobs of a line as far as there are slots, one after the other so that they begin in its order; counts
        them in ``owners``, and engines that have no more room as ``full``."""
        wanted = Counter(one.engine for one in line)
        held = await self._slots_for({one: min(count, room[one]) for one, count in wanted.items()}, slots)
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
                elif await self._take(place, slots, renderer, held[place.engine][-1]):
                    held[place.engine].pop()
                    owners[place.owner] += 1
        finally:
            for unused in held.values():
                for slot in unused:
                    with suppress(ComfyVNError):
                        await slots.release(slot)

    async def _slots_for(self, wanted: Mapping[str, int], slots: Slots) -> dict[str, list[Lease]]:
        """Slots of engines, as many as there are of what is wanted; raises ``Unavailable``."""
        held: dict[str, list[Lease]] = {engine: [] for engine in wanted}
        engines = [engine for engine, count in wanted.items() for _ in range(count)]
        found = await asyncio.gather(*(slots.acquire(engine) for engine in engines), return_exceptions=True)
        for engine, slot in zip(engines, found, strict=True):
            if slot is not None and not isinstance(slot, BaseException):
                held[engine].append(slot)
        failed = next((one for one in found if isinstance(one, BaseException)), None)
        if failed is not None:
            for lease in (one for some in held.values() for one in some):
                with suppress(ComfyVNError):
                    await slots.release(lease)
            raise failed
        return held

    async def _take_fresh(self, fresh: Sequence[Recorded], slots: Slots, renderer: Renderer) -> None:
        """Takes jobs that were just asked for, while nobody else was waiting: there is no queue to look at."""
        found: list[Place] = []
        for recorded in fresh:
            job = (await self.studio.dispatcher.aggregates.load(recorded.stream)).state
            if isinstance(job, Open) and not job.taken and not job.cancelling and job.steps:
                request = job.request
                found.append(Place(recorded.stream.project, recorded.stream.id, job.steps[0].engine, request.owner,
                                   request.priority, recorded.position))
        for place in sorted(found, key=lambda one: (-one.priority, one.since)):
            room = place.engine in self.studio.engines and self._open(place.engine, slots)
            slot = await slots.acquire(place.engine) if room and len(self.runs) < self.at_once else None
            if slot is None:
                self._drained = False
            elif await self._orphaned(place.engine, self._running):
                self._drained = False
                await slots.release(slot)
            else:
                taken = False
                try:
                    taken = await self._take(place, slots, renderer, slot)
                finally:
                    if not taken:
                        with suppress(ComfyVNError):
                            await slots.release(slot)

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

    async def _sweep(self, running: Running, slots: Slots, renderer: Renderer) -> None:
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
                await self._take(place, slots, renderer, None)

    async def _take(self, place: Place, slots: Slots, renderer: Renderer, slot: Lease | None) -> bool:
        """Starts on a job whose lease is free, and with that on the slot; false when it is not. The slot is still the
        caller's then, as when ``Unavailable`` is raised."""
        if place.key in self.runs or len(self.runs) >= self.at_once:
            return False
        lease = await self.leases.acquire(place.lease)
        if lease is None:
            self._left[place.key] = monotonic() + self.leases.seconds
            return False
        hand = Hand(self.studio, place.project, place.job_id, self.name, lease)

        def hold(one: Lease) -> None:
            self._held[one] = place.key

        def drop(one: Lease) -> None:
            self._held.pop(one, None)

        tools = Tools(self.studio.engines, slots, renderer, self.pace, self._rest, hold, drop, self._suspicion)
        hold(lease)
        if slot is not None:
            hold(slot)
        execution = Execution(hand, tools, None if slot is None else (place.engine, slot))
        self._hands[place.key] = hand
        if len(self._served) > SERVED_LIMIT:
            self._served.clear()
        self._serving = max(self._serving, self._position) + 1
        self._served[place.owner] = self._serving
        task = asyncio.create_task(self._executed(execution, place), name=f"job {place.job_id}")
        self.runs[place.key] = task
        return True

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
            self._news.set()

    # --- what there is ----------------------------------------------------------------------------------------

    async def _counted(self) -> None:
        """Waits, not long, until the read model has counted what this worker knows of."""
        end = monotonic() + COUNTED_SECONDS
        pause = 0.002
        while monotonic() < end:
            known = await asyncio.to_thread(self.studio.models.checkpoints)
            if "job_queue" in known and known["job_queue"].position >= self._position:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def _size(self, engine: str) -> int:
        return self.studio.engines.slots_of(engine)

    def _still(self, running: Running) -> Running:
        """What has begun, without what this worker has put down since it was counted."""
        self._over = {key: position for key, position in self._over.items() if position > running.position}
        return Running.of((one for one in running.places if one.key not in self._over), running.position)

    def _open(self, engine: str, slots: Slots) -> int:
        """How much new work may be taken to an engine: none while it needs a rest or somebody here waits for it, else
        as much as it may have room for beside what is ours."""
        if self._resting.get(engine, 0.0) > monotonic() or slots.awaited(engine):
            return 0
        ours = sum(one.name.startswith(f"slot.{engine}.") for one in self._held)
        return max(0, self._size(engine) - ours)

    def _rest(self, engine: str, seconds: float) -> None:
        self._resting[engine] = max(self._resting.get(engine, 0.0), monotonic() + seconds)

    def _without(self) -> Collection[tuple[str, str]]:
        """Jobs that are not to be taken now: in hand, put down and not yet counted as such, or somebody else's a moment
        ago."""
        now = monotonic()
        self._left = {key: until for key, until in self._left.items() if until > now}
        return {*self.runs, *self._left, *self._over}
