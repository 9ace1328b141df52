"""Subscriptions of the ``eventsourcing`` library: a blocking iterator over what the log's followers get."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import CancelledError, Future
from threading import Lock
from typing import Any

from eventsourcing.persistence import ApplicationRecorder, Notification, OperationalError, Subscription

from adapters.nats.background import LoopThread
from adapters.nats.recorder_store import as_notification
from domain.errors import ComfyVNError
from domain.ports import Recorded


class JetStreamSubscription(Subscription[ApplicationRecorder]):
    """Blocks for what is recorded next. Nothing is fetched before it is asked for, so memory stays bounded."""

    def __init__(self, recorder: Any, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder, gt, topics)
        self._background: LoopThread = recorder.background()
        self._batches: AsyncIterator[list[Notification]] = recorder.follow(gt or 0, topics)
        self._batch: list[Notification] = []
        self._asked: Future[list[Notification]] | None = None
        self._lock = Lock()

    def __next__(self) -> Notification:
        while True:
            if self._has_been_stopped:
                raise StopIteration
            if self._batch:
                return self._batch.pop()
            with self._lock:
                if self._has_been_stopped:
                    continue
                self._asked = self._background.start(self._next_batch())
            try:
                self._batch = self._asked.result()
            except CancelledError:
                continue
            except ComfyVNError as error:
                raise OperationalError(error.message) from error
            self._batch.reverse()

    def stop(self) -> None:
        """Ends the iteration, from any thread."""
        with self._lock:
            super().stop()
            if self._asked is not None:
                self._asked.cancel()

    async def _next_batch(self) -> list[Notification]:
        return await anext(self._batches)


async def followed(batches: AsyncIterator[list[Recorded]], topics: Sequence[str]) -> AsyncIterator[list[Notification]]:
    """Notifications of the wanted topics (none given: all) in batches of events."""
    wanted = frozenset(topics)
    async for batch in batches:
        found = [as_notification(one) for one in batch if not wanted or one.type in wanted]
        if found:
            yield found
