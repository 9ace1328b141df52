"""The studio's own log as an application of the ``eventsourcing`` library, to read: for other people's projections.

``PERSISTENCE_MODULE=adapters.nats.studio``, ``NATS_URL`` and, where it is not the default, ``NATS_STREAM``. An ordinary
``Projection`` then gets ``StudioEvent`` objects. The mapping to the library's words:

====================  ==============================================================================
notification id       position in the log
originator id         the subject, ``vn.<project>.<worldline>.<category>.<id>``
originator version    the aggregate's version
topic                 the event's type, such as ``SceneOpened``; a projection's ``topics`` select by it
state                 the event as one JSON object: CloudEvents attributes, who asked, and ``data``
====================  ==============================================================================

Nothing can be recorded through this: commands go to the studio, which decides what follows from them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    Mapper,
    Notification,
    ProcessRecorder,
    ProgrammingError,
    StoredEvent,
    Subscription,
    TrackingRecorder,
)
from eventsourcing.utils import Environment

from adapters.nats.background import LoopThread
from adapters.nats.log import JetStreamLog
from adapters.nats.recorder_subscription import JetStreamSubscription
from domain.errors import Invalid
from domain.ports import Recorded, Stream


@dataclass(frozen=True)
class StudioEvent:
    """An event of the studio. ``data`` is its JSON body; ``originator_id`` the subject of its aggregate."""

    originator_id: str
    originator_version: int
    type: str
    schema: int
    id: str
    time: str
    actor: str
    command_id: str
    correlation_id: str
    causation_id: str
    data: dict[str, Any]

    @property
    def timestamp(self) -> datetime:
        """``time`` as the library's events have it."""
        return datetime.fromisoformat(self.time)

    @property
    def stream(self) -> Stream:
        """Project, worldline, category and id."""
        return Stream.of(self.originator_id)


def as_notification(one: Recorded) -> Notification:
    """A recorded event as the library knows it."""
    try:
        data = orjson.Fragment(one.data) if orjson.loads(one.data) is not None else {}
    except orjson.JSONDecodeError:
        data = {}  # not written by a studio; its type says so too
    state = orjson.dumps({
        "type": one.type, "schema": one.schema, "id": one.event_id, "time": one.time, "actor": one.actor,
        "command_id": one.command_id, "correlation_id": one.correlation_id, "causation_id": one.causation_id,
        "data": data,
    })
    return Notification(one.stream.subject, one.version, one.type, state, one.position)


class StudioMapper(Mapper[Any]):
    """Makes ``StudioEvent`` objects; there is nothing to map back."""

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        return StudioEvent(
            str(stored_event.originator_id), stored_event.originator_version, **orjson.loads(stored_event.state)
        )

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        raise _read_only()


class StudioRecorder(ApplicationRecorder):
    """The studio's log, to read."""

    def __init__(self, background: LoopThread, log: JetStreamLog) -> None:
        self._background = background
        self._log = log

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        raise _read_only()

    def select_events(
        self, originator_id: UUID | str, *, gt: int | None = None, lte: int | None = None, desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        try:
            stream = Stream.of(str(originator_id))
        except Invalid:
            return []
        found = [
            as_notification(one) for one in self._background.wait(self._log.read_stream(stream))
            if (gt is None or one.version > gt) and (lte is None or one.version <= lte)
        ]
        if desc:
            found.reverse()
        return [
            StoredEvent(one.originator_id, one.originator_version, one.topic, one.state) for one in found[:limit]
        ]

    def select_notifications(
        self, start: int | None, limit: int, stop: int | None = None, topics: Sequence[str] = (), *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        after = 0 if start is None else max(0, start - inclusive_of_start)
        return self._background.wait(self._select(after, limit, stop, frozenset(topics)))

    def max_notification_id(self) -> int | None:
        return self._background.wait(self._log.head()) or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return JetStreamSubscription(self, gt, topics)

    async def follow(self, after: int, topics: Sequence[str]) -> AsyncIterator[list[Notification]]:
        """Batches of notifications after a position, for ever; for use on the loop's thread."""
        wanted = frozenset(topics)
        async for batch in self._log.follow(after=after):
            found = [as_notification(one) for one in batch if not wanted or one.type in wanted]
            if found:
                yield found

    def background(self) -> LoopThread:
        """The thread that the recorder's loop runs on."""
        return self._background

    async def _select(self, after: int, limit: int, stop: int | None, wanted: frozenset[str]) -> list[Notification]:
        found: list[Notification] = []
        async for batch in self._log.read(after=after, upto=stop, batch=max(1, min(limit, 1000))):
            found += [as_notification(one) for one in batch if not wanted or one.type in wanted]
            if len(found) >= limit:
                break
        return found[:limit]


class StudioFactory(InfrastructureFactory[TrackingRecorder]):
    """Connects to the studio's log; views of projections need a persistence module of their own."""

    def __init__(self, env: Environment | dict[str, str] | None) -> None:
        super().__init__(env)
        self._background: LoopThread | None = None
        self._log: JetStreamLog | None = None

    def mapper(self, transcoder: Any = None, mapper_class: Any = None) -> Mapper[Any]:
        return StudioMapper(transcoder=transcoder or self.transcoder())

    def application_recorder(self) -> ApplicationRecorder:
        url = self.env.get("NATS_URL")
        if not url:
            raise ProgrammingError("NATS_URL does not say where the studio's nats-server is")
        if self._background is None:
            self._background = LoopThread("studio reader")
        if self._log is None:
            stream = self.env.get("NATS_STREAM") or "COMFYVN"
            self._log = self._background.wait(JetStreamLog.connect(url.split(","), stream=stream))
        return StudioRecorder(self._background, self._log)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        raise _read_only()

    def tracking_recorder(self, tracking_recorder_class: type[TrackingRecorder] | None = None) -> TrackingRecorder:
        raise _read_only()

    def process_recorder(self) -> ProcessRecorder:
        raise _read_only()

    def close(self) -> None:
        """Gives the connection back."""
        if self._background is not None:
            if self._log is not None:
                self._background.wait(self._log.close())
            self._background.close()
        self._background = self._log = None


def _read_only() -> ProgrammingError:
    return ProgrammingError("The studio's log is read here, not written: send commands to the studio instead")
