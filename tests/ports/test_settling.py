"""A refused append looks whose events stand there, while the log goes on growing under its eyes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fixtures_nats import Cluster, Server
from log_words import events, stream

from adapters.nats.log import JetStreamLog
from adapters.nats.reading import Reader
from adapters.nats.settling import Found, look
from domain.ports import Commit, Conflict, Recorded, Stream


class Slow(Reader):
    """A reader that is held up once, between its reading of a stream and whatever it asks next."""

    def __init__(self, log: JetStreamLog, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__(log.connection, log.name, log.subjects, replicated=log.replicas > 1, patience_seconds=10)
        self.meanwhile: Callable[[], Awaitable[object]] | None = meanwhile

    async def stream(self, stream: Stream, after: int, upto: int | None) -> list[Recorded]:
        found = await super().stream(stream, after, upto)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return found


@pytest.fixture(params=["server", "cluster"])
def nats(request: pytest.FixtureRequest) -> Server | Cluster:
    return request.getfixturevalue(f"nats_{request.param}")  # type: ignore[no-any-return]


def on(nats: Server | Cluster, body: Callable[[JetStreamLog], Awaitable[None]]) -> None:
    """Runs a test on a new log."""

    async def scenario() -> None:
        log = await nats.connect()
        try:
            await body(log)
        finally:
            await log.close()

    asyncio.run(scenario())


def test_ones_own_events_that_arrive_during_the_look_are_no_conflict(nats: Server | Cluster) -> None:
    async def body(log: JetStreamLog) -> None:
        commits = [Commit(stream("a"), 0, events(1)), Commit(stream("b"), 0, events(2))]
        reader = Slow(log, lambda: log.append(commits))
        assert await look(reader, commits) == Found(begun=(stream("b"),)), "part of it was seen: look again"
        assert (await look(reader, commits)).positions == (1, 2, 3)

    on(nats, body)


def test_anothers_events_that_arrive_during_the_look_are_one_at_the_next(nats: Server | Cluster) -> None:
    async def body(log: JetStreamLog) -> None:
        reader = Slow(log, lambda: log.append([Commit(stream("a"), 0, events(1))]))
        mine = [Commit(stream("a"), 0, events(1))]
        assert await look(reader, mine) == Found()
        with pytest.raises(Conflict):
            await look(reader, mine)

    on(nats, body)


def test_a_stream_that_is_shorter_than_expected_is_a_conflict(nats: Server | Cluster) -> None:
    async def body(log: JetStreamLog) -> None:
        await log.append([Commit(stream("a"), 0, events(1))])
        with pytest.raises(Conflict):
            await log.append([Commit(stream("a"), 7, events(1))])
        assert await log.head() == 1

    on(nats, body)
