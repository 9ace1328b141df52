"""Nothing that was acknowledged is lost or doubled when a server or the leader of three is killed under load."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from fixtures_nats import Cluster, Server
from log_words import event, events, everything, stream

from adapters.nats.log import JetStreamLog
from domain.errors import Unavailable
from domain.ports import Commit, Recorded

WRITERS = 12


class Load:
    """Writers that each grow a stream of their own, one to three events at a time, and remember what was confirmed."""

    def __init__(self, log: JetStreamLog, seed: int) -> None:
        self.log = log
        self.random = random.Random(seed)
        self.confirmed: list[tuple[int, str]] = []
        self.unknown: set[str] = set()
        self.enough = asyncio.Event()
        self.followed: list[Recorded] = []
        self.grown = asyncio.Condition()

    async def follow(self) -> None:
        async for batch in self.log.follow():
            self.followed.extend(batch)
            await self.tell()

    async def tell(self) -> None:
        async with self.grown:
            self.grown.notify_all()

    async def until(self, wanted: Callable[[], bool]) -> None:
        async with asyncio.timeout(60), self.grown:
            await self.grown.wait_for(wanted)

    async def more(self, by: int) -> None:
        """Waits until so many more events are confirmed."""
        wanted = len(self.confirmed) + by
        await self.until(lambda: len(self.confirmed) >= wanted)

    async def write(self, writer: int) -> None:
        place, position, version = stream(f"writer-{writer}"), 0, 1
        while not self.enough.is_set():
            proposed = events(self.random.choice((1, 1, 1, 2, 3)), version)
            try:
                positions = await self.log.append([Commit(place, position, proposed)])
            except Unavailable as error:
                if error.code == "log_outcome_unknown":
                    self.unknown |= {one.event_id for one in proposed}
                last = await self.log.last(place)
                position, version = (last.position, last.version + 1) if last else (0, 1)
                continue
            self.confirmed += [(at, one.event_id) for at, one in zip(positions, proposed, strict=True)]
            position, version = positions[-1], version + len(proposed)
            await self.tell()

    async def check(self) -> None:
        story = await everything(self.log)
        assert [one.position for one in story] == list(range(1, len(story) + 1))
        there = Counter(one.event_id for one in story)
        assert not [one for one, times in there.items() if times > 1], "an event was recorded twice"
        by_position = {one.position: one.event_id for one in story}
        assert [one for one in self.confirmed if by_position.get(one[0]) != one[1]] == [], "a confirmed event is lost"
        assert set(there) - {one for _, one in self.confirmed} <= self.unknown, "something nobody confirmed is there"
        for writer in range(WRITERS):
            versions = [one.version for one in story if one.stream.id == f"writer-{writer}"]
            assert versions == list(range(1, len(versions) + 1))
        assert self.followed == story


async def _survives(log: JetStreamLog, disturb: Callable[[Load], Awaitable[None]]) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    load = Load(log, seed)
    follower = asyncio.create_task(load.follow())
    writers = [asyncio.create_task(load.write(writer)) for writer in range(WRITERS)]
    try:
        await disturb(load)
        load.enough.set()
        await asyncio.gather(*writers)
        head = await log.head()
        await load.until(lambda: len(load.followed) >= head)
        await load.check()
    finally:
        for task in (follower, *writers):
            task.cancel()


def test_a_killed_server_loses_nothing_that_was_acknowledged(nats_server: Server) -> None:
    async def body() -> None:
        log = await nats_server.connect()
        try:
            async def disturb(load: Load) -> None:
                for _ in range(4):
                    await load.more(load.random.randrange(50, 400))
                    nats_server.kill()
                    await load.more(50)

            await _survives(log, disturb)
            assert (await log.status()).reconnects >= 4
        finally:
            await log.close()

    asyncio.run(body())


def test_a_killed_leader_of_three_loses_nothing_that_was_acknowledged(nats_cluster: Cluster) -> None:
    async def body() -> None:
        log = await nats_cluster.connect()
        try:
            async def disturb(load: Load) -> None:
                await load.more(100)
                leader = await nats_cluster.leader(log.name)
                nats_cluster.kill(leader)
                await load.more(100)
                nats_cluster.start(leader)
                await load.more(100)

            await _survives(log, disturb)
        finally:
            await log.close()

    asyncio.run(body())


def test_without_a_majority_nothing_is_confirmed_and_the_same_events_succeed_once_later(nats_cluster: Cluster) -> None:
    async def body() -> None:
        log = await nats_cluster.connect(patience_seconds=2)
        try:
            await log.append([Commit(stream(), 0, events(1))])
            for index in (0, 1):
                nats_cluster.kill(index)
            one = [Commit(stream("one"), 0, events(1))]
            many = [Commit(stream("a"), 0, events(2)), Commit(stream("b"), 0, events(1))]
            for commits in (one, many):
                with pytest.raises(Unavailable) as caught:
                    await log.append(commits)
                assert caught.value.remediation
            for index in (0, 1):
                nats_cluster.start(index)
            patient = await nats_cluster.connect(patience_seconds=30)
            try:
                first, second = await patient.append(one), await patient.append(many)
                assert (len(first), len(second)) == (1, 3)
                assert sorted(one.position for one in await everything(patient)) == [1, 2, 3, 4, 5]
            finally:
                await patient.close()
        finally:
            await log.close()

    asyncio.run(body())


def test_a_server_that_hangs_leaves_an_unknown_outcome_and_a_repetition_settles_it(nats_server: Server) -> None:
    async def body() -> None:
        log = await nats_server.connect(patience_seconds=3)
        pid = nats_server.embedded.pid
        try:
            await log.append([Commit(stream(), 0, events(1))])
            os.kill(pid, signal.SIGSTOP)
            commits = [Commit(stream(f"s{index}"), 0, (event(),)) for index in range(3)]
            outcomes = await asyncio.gather(*(log.append([one]) for one in commits), return_exceptions=True)
            assert {type(one) for one in outcomes} == {Unavailable}
            assert "log_outcome_unknown" in {one.code for one in outcomes if isinstance(one, Unavailable)}
            os.kill(pid, signal.SIGCONT)
            positions = [await log.append([one]) for one in commits]
            assert positions == [await log.append([one]) for one in commits]
            assert await log.head() == 4
        finally:
            os.kill(pid, signal.SIGCONT)
            await log.close()

    asyncio.run(body())


def test_what_the_server_keeps_survives_its_restart(nats_server: Server) -> None:
    async def body() -> None:
        log = await nats_server.connect()
        positions = await log.append([Commit(stream(), 0, events(20))])
        story = await everything(log)
        await log.close()
        nats_server.kill()
        log = await nats_server.connect()
        try:
            assert await everything(log) == story
            assert await log.append([Commit(stream(), positions[-1], events(1, 21))]) == (21,)
        finally:
            await log.close()

    asyncio.run(body())
