"""One follower of the log per process, and everybody who listens: each event is encoded once and kept in a ring.

A subscriber is a cursor into the ring and nothing more. Subscribers that want the same events share a lane; at each
beat of the hub a lane makes one chunk of bytes for all of its subscribers. At once when it is quiet, and at most about
thirty times a second when it is not: many small writes to many sockets are what a stream costs. Who falls off the ring
is told to resume, so memory is bounded by the ring, whatever the readers do.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

import structlog

from domain.errors import Remedy, Unavailable
from domain.ports import Log
from gateways.http.ring import RING_BYTES, RING_EVENTS, Chunk, Ring, Wanted

CHUNKS: Final = 64
"""Chunks that are kept to be shared."""

BEAT_SECONDS: Final = 0.03
HEARTBEAT_SECONDS: Final = 15.0
SUBSCRIBERS: Final = 4096
"""Most open streams of one process."""

READY_SECONDS: Final = 5.0

READERS: Final = 2
"""Most streams that read the past from the log at a time; the others wait for their turn."""

log = structlog.get_logger("streams")


class Behind(Exception):
    """A subscriber has fallen off the ring: ``after`` is what it has received."""

    def __init__(self, after: int, reason: str) -> None:
        super().__init__(reason)
        self.after = after
        self.reason = reason


class Subscription:
    """One subscriber. ``cursor`` is the position up to which it has everything that it wants."""

    __slots__ = ("closed", "cursor", "hub", "lane", "moves", "quiet_since", "turn", "waiting", "wanted")

    def __init__(self, hub: Hub, wanted: Wanted, cursor: int) -> None:
        self.hub = hub
        self.wanted = wanted
        self.cursor = cursor
        self.closed: str | None = None
        self.turn = self.moves = 0
        self.waiting: asyncio.Future[None] | None = None
        self.quiet_since = hub.now()
        self.lane = hub.lane(wanted)
        self.lane.subscriptions.add(self)

    def change(self, wanted: Wanted, cursor: int | None) -> None:
        """Wants something else from now on; ``turn`` tells a loop that works for it to look again."""
        self.hub.leave(self.lane, self)
        self.turn += 1
        self.wanted = wanted
        if cursor is not None:
            self.cursor = cursor
            self.moves += 1
        self.lane = self.hub.lane(wanted)
        self.lane.subscriptions.add(self)
        self.wake()

    async def next(self) -> Chunk | None:
        """The next chunk, an empty one after a change; ``None`` when it is time for a heartbeat. Raises ``Behind``."""
        turn = self.turn
        while True:
            if self.closed is not None:
                raise Behind(self.cursor, self.closed)
            if self.turn != turn:
                return Chunk((), b"", self.cursor)
            lane = self.lane
            if self.cursor < lane.position:
                chunk = self.hub.chunk(lane, self.cursor)
                self.cursor = chunk.upto
                if chunk.entries:
                    self.quiet_since = self.hub.now()
                    return chunk
                continue
            self.waiting = self.hub.loop.create_future()
            lane.waiting.append(self)
            try:
                await self.waiting
            finally:
                self.waiting = None
            if self.closed is None and self.hub.now() - self.quiet_since >= self.hub.heartbeat_seconds:
                self.quiet_since = self.hub.now()
                return None

    def wake(self) -> None:
        """Makes ``next`` look again."""
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)

    def close(self, reason: str) -> None:
        """Ends it: ``next`` raises ``Behind`` with that reason."""
        self.closed = self.closed or reason
        self.wake()

    def leave(self) -> None:
        """Gives its place back."""
        self.hub.leave(self.lane, self)


class Lane:
    """Subscribers that want the same events. Those who wait have everything up to ``position``."""

    __slots__ = ("position", "subscriptions", "waiting", "wanted")

    def __init__(self, wanted: Wanted, position: int) -> None:
        self.wanted = wanted
        self.position = position
        self.subscriptions: set[Subscription] = set()
        self.waiting: list[Subscription] = []


class Hub:
    """Follows a log and serves subscriptions."""

    def __init__(
        self, followed: Log, *, ring_events: int = RING_EVENTS, ring_bytes: int = RING_BYTES,
        beat_seconds: float = BEAT_SECONDS, heartbeat_seconds: float = HEARTBEAT_SECONDS,
        subscribers: int = SUBSCRIBERS,
    ) -> None:
        self.log = followed
        self.ring = Ring(events=ring_events, size=ring_bytes)
        self.beat_seconds, self.heartbeat_seconds = beat_seconds, heartbeat_seconds
        self.limit = subscribers
        self.closing = False
        self.reading = asyncio.Semaphore(READERS)
        self._lanes: dict[Wanted, Lane] = {}
        self._chunks: OrderedDict[tuple[Wanted, int, int], Chunk] = OrderedDict()
        self._count = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._following = asyncio.Event()
        self._grown = asyncio.Event()

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts following, once."""
        if not self._tasks and not self.closing:
            self.loop = asyncio.get_running_loop()
            self._tasks = [asyncio.create_task(work(), name=f"hub {work.__name__}")
                           for work in (self._follow, self._beat, self._watch)]

    async def close(self) -> None:
        """Tells every subscriber to resume elsewhere, then stops."""
        self.begin_closing()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def begin_closing(self) -> None:
        """Tells every subscriber to resume; may be called from a signal handler of the loop."""
        self.closing = True
        for lane in list(self._lanes.values()):
            for subscription in list(lane.subscriptions):
                subscription.close("closing")

    async def ready(self) -> None:
        """Waits until the hub knows where the log's end is; raises ``Unavailable``."""
        self.start()
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._following.wait()
        except TimeoutError as error:
            raise Unavailable(
                "The event stream does not reach the log.", error="log_unreachable",
                remediation=[Remedy("Try again in a moment; GET /health says what is wrong.", "retry")],
            ) from error

    def now(self) -> float:
        return self.loop.time()

    @property
    def head(self) -> int:
        """The newest position that has been followed."""
        return self.ring.head

    @property
    def floor(self) -> int:
        """What lies at or before this position must be read from the log."""
        return self.ring.floor

    @property
    def subscribers(self) -> int:
        """Open streams."""
        return self._count

    # --- subscribers ----------------------------------------------------------------------------------------------

    def subscribe(self, wanted: Wanted, after: int | None) -> Subscription:
        """A subscription from a position on (``None``: from now on). Raises ``Unavailable`` when there are too many."""
        if self._count >= self.limit or self.closing:
            raise Unavailable(
                "This server has no room for another event stream.", error="too_many_streams",
                remediation=[Remedy("Close streams that nobody reads, or ask another server.", "retry")],
                detail={"limit": self.limit},
            )
        self._count += 1
        return Subscription(self, wanted, self.head if after is None else after)

    def lane(self, wanted: Wanted) -> Lane:
        """The lane of those who want that."""
        lane = self._lanes.get(wanted)
        if lane is None:
            lane = self._lanes[wanted] = Lane(wanted, self.head)
        return lane

    def leave(self, lane: Lane, subscription: Subscription) -> None:
        """Takes a subscription out of its lane; the last one out closes it."""
        lane.subscriptions.discard(subscription)
        lane.waiting = [one for one in lane.waiting if one is not subscription]
        if not lane.subscriptions and self._lanes.get(lane.wanted) is lane:
            del self._lanes[lane.wanted]

    def left(self, subscription: Subscription) -> None:
        """A subscriber has gone for good."""
        subscription.leave()
        self._count -= 1

    def chunk(self, lane: Lane, cursor: int) -> Chunk:
        """What a lane's subscriber gets next; made once for all who stand at that cursor. Raises ``Behind``."""
        if cursor < self.floor:
            raise Behind(cursor, "too_slow")
        # With the lane's position: what is empty now need not be empty when the lane has moved on.
        key = (lane.wanted, cursor, lane.position)
        known = self._chunks.get(key)
        if known is None:
            known = self._chunks[key] = self.ring.chunk(lane.wanted, cursor, lane.position)
            if len(self._chunks) > CHUNKS:
                self._chunks.popitem(last=False)
        return known

    # --- following ------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            try:
                if not self._following.is_set():
                    self.ring.begin(await self.log.head())
                    self._following.set()
                async for batch in self.log.follow(after=self.head):
                    for start in range(0, len(batch), 200):
                        self.ring.take(batch[start : start + 200])
                        self._grown.set()
                        await asyncio.sleep(0)
            except Exception as error:  # the log is away: whoever listens goes on waiting
                log.warning("stream_interrupted", reason=str(error)[:200])
            await asyncio.sleep(0.5)

    async def _beat(self) -> None:
        while True:
            await self._grown.wait()
            self._grown.clear()
            began = self.now()
            for lane in list(self._lanes.values()):
                await self._advance(lane)
            # A beat that takes long is followed by a longer pause, so that commands get their share of the loop.
            took = self.now() - began
            await asyncio.sleep(min(max(self.beat_seconds, 2 * took), 0.1))

    async def _advance(self, lane: Lane) -> None:
        """Lets a lane see everything that has arrived, and wakes its subscribers when there is something for them."""
        before, lane.position = lane.position, self.head
        waiting = lane.waiting
        lane.waiting = []
        nothing = before >= self.floor and not self.chunk(lane, before).entries
        for number, subscription in enumerate(waiting, start=1):
            if subscription.waiting is None or subscription.lane is not lane:
                continue
            # Who waited has everything up to where the lane stood, whatever its own cursor last said.
            subscription.cursor = max(subscription.cursor, lane.position if nothing else before)
            if nothing:
                lane.waiting.append(subscription)
                continue
            subscription.wake()
            if number % 32 == 0:
                await asyncio.sleep(0)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self.heartbeat_seconds / 4))
            due = self.now() - self.heartbeat_seconds
            for lane in list(self._lanes.values()):
                quiet = [one for one in lane.waiting if one.quiet_since <= due]
                if quiet:
                    lane.waiting = [one for one in lane.waiting if one.quiet_since > due]
                for number, subscription in enumerate(quiet, start=1):
                    subscription.cursor = max(subscription.cursor, lane.position)
                    subscription.wake()
                    if number % 32 == 0:
                        await asyncio.sleep(0)


