"""A persistence module of the ``eventsourcing`` library on JetStream: its applications run on the studio's server.

``PERSISTENCE_MODULE=adapters.nats.recorder`` and ``NATS_URL`` are all that an application needs. Each application
has a stream of its own for events (``ES-<application>-events``) and, when it takes snapshots, one for those; what is in
them looks like the studio's own events, so every NATS client can read it. A notification's id is its position in the
stream: ids grow, and a process recorder's tracking takes positions too, so that there ids have gaps.

The library is synchronous; the work is done on an event loop on a thread of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from secrets import token_hex
from typing import Any
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    IntegrityError,
    Notification,
    ProcessRecorder,
    ProgrammingError,
    StoredEvent,
    Subscription,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.utils import Environment, resolve_topic

from adapters.nats.background import LoopThread
from adapters.nats.recorder_store import EVENTS, TRACKING, Store, as_token, notifications, originator_token
from adapters.nats.recorder_subscription import JetStreamSubscription, followed
from domain.ports import Commit, Proposed, Recorded


class JetStreamRecorder:
    """What all recorders on a store share."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def _events_commits(self, stored_events: Sequence[StoredEvent]) -> list[Commit]:
        """One commit per originator; raises ``IntegrityError`` when a version is there already, or given twice."""
        grouped: dict[str, list[StoredEvent]] = {}
        for one in stored_events:
            grouped.setdefault(originator_token(one.originator_id), []).append(one)
        commits = []
        for token, events in grouped.items():
            sequence = self._store.sequence(EVENTS, token)
            versions = [one.originator_version for one in events]
            if len(set(versions)) < len(versions):
                raise IntegrityError(f"Versions {versions} of {events[0].originator_id} are not unique")
            last = await self._store.log.last(sequence)
            highest = _highest(last)
            if min(versions) <= highest:
                there = {one.version for one in await self._store.log.read_stream(sequence)}
                if there.intersection(versions):
                    raise IntegrityError(f"{events[0].originator_id} has version {min(versions)} already")
            proposed = []
            for one in events:
                highest = max(highest, one.originator_version)
                proposed.append(_proposed(one.topic, one.state, one.originator_version, highest))
            commits.append(Commit(sequence, last.position if last else 0, tuple(proposed)))
        return commits

    async def _tracking_commit(self, tracking: Tracking, state: bytes = b"{}") -> Commit:
        sequence = self._store.sequence(TRACKING, as_token(tracking.application_name))
        last = await self._store.log.last(sequence)
        if last is not None and last.version >= tracking.notification_id:
            raise IntegrityError(
                f"{tracking.application_name} is tracked up to {last.version}, not below {tracking.notification_id}"
            )
        proposed = _proposed("Tracking", state, tracking.notification_id)
        return Commit(sequence, last.position if last else 0, (proposed,))


class JetStreamAggregateRecorder(JetStreamRecorder, AggregateRecorder):
    """Events of aggregates. An insert is one append: all or nothing, up to 1,000 events."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        self._store.wait(self._insert(stored_events, kwargs.get("tracking")))
        return None

    def select_events(
        self, originator_id: UUID | str, *, gt: int | None = None, lte: int | None = None, desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        sequence = self._store.sequence(EVENTS, originator_token(originator_id))
        found: list[Recorded] = []
        if desc and limit == 1 and gt is None and lte is None:
            last = self._store.wait(self._store.log.last(sequence))
            found = [last] if last else []
        if not found or found[0].version != _highest(found[0]):
            found = self._store.wait(self._store.log.read_stream(sequence))
        wanted = [
            one for one in found
            if (gt is None or one.version > gt) and (lte is None or one.version <= lte)
        ]
        wanted.sort(key=lambda one: one.version, reverse=desc)
        return [StoredEvent(originator_id, one.version, one.type, one.data) for one in wanted[:limit]]

    async def _insert(self, stored_events: Sequence[StoredEvent], tracking: Tracking | None) -> list[int]:
        commits = await self._events_commits(stored_events)
        given = [one.event_id for commit in commits for one in commit.events]
        if tracking is not None:
            commits.append(await self._tracking_commit(tracking))
        positions = dict(zip(given, await self._store.log.append(commits), strict=False))
        # Events are appended originator by originator; their ids are wanted in the order in which they were given.
        queues: dict[str, list[int]] = {}
        for commit in commits:
            queues[commit.stream.id] = [positions[one.event_id] for one in commit.events if one.event_id in positions]
        return [queues[originator_token(one.originator_id)].pop(0) for one in stored_events]


class JetStreamApplicationRecorder(JetStreamAggregateRecorder, ApplicationRecorder):
    """Events of aggregates in the one order in which they were recorded."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        return self._store.wait(self._insert(stored_events, kwargs.get("tracking")))

    def select_notifications(
        self, start: int | None, limit: int, stop: int | None = None, topics: Sequence[str] = (), *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        after = 0 if start is None else max(0, start - inclusive_of_start)
        return self._store.wait(notifications(self._store, after, limit, stop, topics))

    def max_notification_id(self) -> int | None:
        return self._store.wait(self._store.log.last_position(self._store.pattern(EVENTS))) or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return JetStreamSubscription(self, gt, topics)

    def follow(self, after: int, topics: Sequence[str]) -> AsyncIterator[list[Notification]]:
        """Batches of notifications after a position, for ever; for use on the loop's thread."""
        return followed(self._store.log.follow(after=after, pattern=self._store.pattern(EVENTS)), topics)

    def background(self) -> LoopThread:
        """The thread that the recorder's loop runs on."""
        return self._store.background


class JetStreamTrackingRecorder(JetStreamRecorder, TrackingRecorder):
    """How far each upstream application has been processed; ids only grow.

    A view that derives from this can keep its state in the message that tracks: then both change together.
    """

    def insert_tracking(self, tracking: Tracking) -> None:
        self.insert_tracking_with(tracking, b"{}")

    def insert_tracking_with(self, tracking: Tracking, state: bytes) -> None:
        """Records a tracking object and, in the same message, a view's new state."""

        async def insert() -> None:
            await self._store.log.append([await self._tracking_commit(tracking, state)])

        self._store.wait(insert())

    def max_tracking_id(self, application_name: str) -> int | None:
        last = self._last(application_name)
        return last.version if last else None

    def tracked_state(self, application_name: str) -> bytes | None:
        """The state that came with the newest tracking object."""
        last = self._last(application_name)
        return last.data if last else None

    def _last(self, application_name: str) -> Recorded | None:
        return self._store.wait(self._store.log.last(self._store.sequence(TRACKING, as_token(application_name))))


class JetStreamProcessRecorder(JetStreamTrackingRecorder, JetStreamApplicationRecorder, ProcessRecorder):
    """Events and the tracking of what caused them, recorded together or not at all."""


def _proposed(topic: str, state: bytes, version: int, highest: int | None = None) -> Proposed:
    # An older version may be recorded after a newer one (a snapshot of the past): then the newest is noted beside it.
    beside = str(highest) if highest is not None and highest != version else ""
    return Proposed(topic, 1, state, token_hex(8), version, "", "", "", "", "", beside)


def _highest(last: Recorded | None) -> int:
    return -1 if last is None else int(last.causation_id or last.version)


class JetStreamFactory(InfrastructureFactory[TrackingRecorder]):
    """Makes recorders from ``NATS_URL``: one URL, or several with commas, with their credentials."""

    NATS_URL = "NATS_URL"

    def __init__(self, env: Environment | dict[str, str] | None) -> None:
        super().__init__(env)
        self._background: LoopThread | None = None
        self._stores: dict[str, Store] = {}

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        return JetStreamAggregateRecorder(self.store(purpose))

    def application_recorder(self) -> ApplicationRecorder:
        topic = self.env.get(self.APPLICATION_RECORDER_TOPIC)
        made: type[JetStreamApplicationRecorder] = resolve_topic(topic) if topic else JetStreamApplicationRecorder
        return made(self.store("events"))

    def tracking_recorder(self, tracking_recorder_class: type[TrackingRecorder] | None = None) -> TrackingRecorder:
        if tracking_recorder_class is None:
            topic = self.env.get(self.TRACKING_RECORDER_TOPIC)
            tracking_recorder_class = resolve_topic(topic) if topic else JetStreamTrackingRecorder
        if not issubclass(tracking_recorder_class, JetStreamTrackingRecorder):
            raise ProgrammingError(f"{tracking_recorder_class.__name__} is no JetStreamTrackingRecorder")
        made: Any = tracking_recorder_class
        recorder: TrackingRecorder = made(self.store("tracking"))
        return recorder

    def process_recorder(self) -> ProcessRecorder:
        topic = self.env.get(self.PROCESS_RECORDER_TOPIC)
        made: type[JetStreamProcessRecorder] = resolve_topic(topic) if topic else JetStreamProcessRecorder
        return made(self.store("events"))

    def store(self, purpose: str) -> Store:
        """The stream for a purpose, made on first use."""
        url = self.env.get(self.NATS_URL)
        if not url:
            raise ProgrammingError(f"{self.NATS_URL} does not say where the nats-server is")
        if self._background is None:
            self._background = LoopThread("eventsourcing recorders")
        if purpose not in self._stores:
            self._stores[purpose] = Store(self._background, url.split(","), self.env.name, purpose)
        return self._stores[purpose]

    def close(self) -> None:
        """Gives the connections back."""
        stores, self._stores = self._stores, {}
        for store in stores.values():
            store.close()
        if self._background is not None:
            self._background.close()
            self._background = None
