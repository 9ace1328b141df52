"""Inboxes: one suite for every adapter. What is not answered comes again; what is answered does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fixtures_nats import Server

from adapters.memory.inbox import MemoryInboxes
from adapters.memory.log import MemoryLog
from adapters.nats import stream as streams
from adapters.nats.inbox import JetStreamInboxes
from domain.errors import Unavailable
from domain.ports import Commit, Delivery, Inbox, Inboxes, Log, Proposed, Stream

TIME = "2026-01-02T03:04:05Z"
Opened = Callable[[], Any]


def proposed(number: int, type_: str = "Happened") -> Proposed:
    id_ = f"c{number}"
    return Proposed(type_, 1, b'{"n":%d}' % number, f"e{number}", number, TIME, "mö", id_, "r", id_, "")


async def append(log: Log, *categories: str) -> list[int]:
    positions = []
    for category in categories:
        stream = Stream("demo", "-", category, "one")
        last = await log.last(stream)
        expected, version = (last.position, last.version) if last else (0, 0)
        positions += await log.append([Commit(stream, expected, (proposed(version + 1),))])
    return positions


@pytest.fixture(params=["memory", "jetstream"])
def opened(request: pytest.FixtureRequest) -> Opened:
    if request.param == "memory":
        @asynccontextmanager
        async def in_memory() -> AsyncIterator[tuple[Log, Inboxes]]:
            log = MemoryLog()
            yield log, MemoryInboxes(log)

        return in_memory
    server: Server = request.getfixturevalue("nats_server")

    @asynccontextmanager
    async def on_nats() -> AsyncIterator[tuple[Log, Inboxes]]:
        log = await server.connect()
        inboxes = await JetStreamInboxes.connect(server.urls, stream=server.stream)
        try:
            yield log, inboxes
        finally:
            await inboxes.close()
            await log.close()

    return on_nats


def run(opened: Opened, scenario: Callable[[Log, Inboxes], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with opened() as (log, inboxes):
            await scenario(log, inboxes)

    asyncio.run(whole())


async def inbox_of(inboxes: Inboxes, *, ack_wait_seconds: float = 30, in_flight: int = 8) -> Inbox:
    return await inboxes.open(
        "painter", ["vn.*.*.asset.*"], ack_wait_seconds=ack_wait_seconds, in_flight=in_flight
    )


async def take(inbox: Inbox, count: int, seconds: float = 20) -> list[Delivery]:
    """Exactly so many deliveries, in however many fetches."""
    found: list[Delivery] = []
    async with asyncio.timeout(seconds):
        while len(found) < count:
            found += await inbox.fetch(count - len(found), 1)
    return found


def test_what_happened_before_and_after_opening_is_delivered_in_order_and_whole(opened: Opened) -> None:
    async def scenario(log: Log, inboxes: Inboxes) -> None:
        before = await append(log, "asset", "scene", "asset")
        inbox = await inbox_of(inboxes)
        found = await take(inbox, 2)
        after = await append(log, "scene", "asset")
        found += await take(inbox, 1)
        assert [one.recorded.position for one in found] == [before[0], before[2], after[1]]
        (same,) = [one async for batch in log.read(after=before[0] - 1, upto=before[0]) for one in batch]
        assert found[0].recorded == same
        assert [one.attempt for one in found] == [1, 1, 1]

    run(opened, scenario)


def test_nothing_to_deliver_is_an_empty_fetch(opened: Opened) -> None:
    async def scenario(log: Log, inboxes: Inboxes) -> None:
        inbox = await inbox_of(inboxes)
        assert await inbox.fetch(4, 0.05) == []

    run(opened, scenario)


def test_what_is_acknowledged_comes_no_more_also_to_the_next_worker(opened: Opened) -> None:
    async def scenario(log: Log, inboxes: Inboxes) -> None:
        await append(log, "asset", "asset")
        first, second = await take(await inbox_of(inboxes, ack_wait_seconds=1.0), 2)
        await first.ack()
        again = await take(await inbox_of(inboxes, ack_wait_seconds=1.0), 1)
        assert again[0].recorded == second.recorded
        assert again[0].attempt == 2
        await again[0].ack()
        assert await (await inbox_of(inboxes, ack_wait_seconds=1.0)).fetch(2, 1.3) == []

    run(opened, scenario)


def test_a_worker_that_says_it_is_working_keeps_its_delivery(opened: Opened) -> None:
    async def scenario(log: Log, inboxes: Inboxes) -> None:
        await append(log, "asset")
        inbox = await inbox_of(inboxes, ack_wait_seconds=1.5)
        (delivery,) = await take(inbox, 1)
        for _ in range(10):
            await delivery.working()
            assert await inbox.fetch(1, 0.2) == []
        await delivery.ack()

    run(opened, scenario)


def test_what_is_put_off_comes_again_later(opened: Opened) -> None:
    async def scenario(log: Log, inboxes: Inboxes) -> None:
        await append(log, "asset")
        inbox = await inbox_of(inboxes)
        (delivery,) = await take(inbox, 1)
        await delivery.later(0.2)
        (again,) = await take(inbox, 1)
        assert (again.recorded, again.attempt) == (delivery.recorded, 2)

    run(opened, scenario)


def test_only_so_many_are_unanswered_at_a_time(opened: Opened) -> None:
    async def scenario(log: Log, inboxes: Inboxes) -> None:
        await append(log, *["asset"] * 5)
        inbox = await inbox_of(inboxes, in_flight=2)
        first = await take(inbox, 2)
        assert await inbox.fetch(5, 0.3) == []
        assert await inbox.status() == (3, 2, 0)
        await first[0].ack()
        assert len(await take(inbox, 1)) == 1

    run(opened, scenario)


def test_what_is_given_up_is_parked_until_it_is_forgotten(opened: Opened) -> None:
    async def scenario(log: Log, inboxes: Inboxes) -> None:
        (position,) = await append(log, "asset")
        inbox = await inbox_of(inboxes, ack_wait_seconds=1.0)
        (delivery,) = await take(inbox, 1)
        await delivery.give_up("the paint is “dry”", TIME)
        assert await (await inbox_of(inboxes, ack_wait_seconds=1.0)).fetch(1, 1.3) == []
        assert await inbox.parked() == [(position, 1, "the paint is “dry”", TIME)]
        assert (await inbox.status()).parked == 1
        await inbox.forget(position)
        await inbox.forget(position)
        assert await inbox.parked() == []

    run(opened, scenario)


def test_two_workers_share_the_work(opened: Opened) -> None:
    async def scenario(log: Log, inboxes: Inboxes) -> None:
        positions = await append(log, *["asset"] * 20)
        seen: list[int] = []

        async def work() -> None:
            inbox = await inbox_of(inboxes)
            while len(seen) < 20:
                for delivery in await inbox.fetch(2, 0.1):
                    seen.append(delivery.recorded.position)
                    await delivery.ack()

        async with asyncio.timeout(20):
            await asyncio.gather(work(), work())
        assert sorted(seen) == positions

    run(opened, scenario)


# --- what JetStream promises beyond the port ---------------------------------------------------------------------


def test_a_server_that_is_killed_and_comes_back_delivers_what_was_not_acknowledged(nats_server: Server) -> None:
    async def scenario() -> None:
        log = await nats_server.connect()
        inboxes = await JetStreamInboxes.connect(nats_server.urls, stream=nats_server.stream)
        await append(log, "asset", "asset")
        inbox = await inbox_of(inboxes, ack_wait_seconds=0.5)
        first, _ = await take(inbox, 2)
        await first.ack()
        await inbox.status()  # a round trip: the acknowledgement has arrived
        nats_server.kill()
        found: list[Delivery] = []
        async with asyncio.timeout(40):
            while not found:
                try:
                    found = await inbox.fetch(2, 0.5)
                except Unavailable:
                    await asyncio.sleep(0.05)
        assert found[-1].recorded.version == 2
        await inboxes.close()
        await log.close()

    asyncio.run(scenario())


def test_a_consumer_that_somebody_deleted_is_made_again(nats_server: Server) -> None:
    async def scenario() -> None:
        log = await nats_server.connect()
        inboxes = await JetStreamInboxes.connect(nats_server.urls, stream=nats_server.stream)
        await append(log, "asset")
        inbox = await inbox_of(inboxes)
        (first,) = await take(inbox, 1)
        await first.ack()
        await streams.api(log.connection, f"CONSUMER.DELETE.{nats_server.stream}.painter")
        (again,) = await take(inbox, 1)
        assert again.recorded == first.recorded, "a new consumer begins at the beginning; commands make that harmless"
        await inboxes.close()
        await log.close()

    asyncio.run(scenario())
