"""Leases: one suite for every adapter. One has it, nobody else; who stops saying that he is alive loses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest
from fixtures_nats import Server

from adapters.memory.leases import MemoryLeases
from adapters.nats.leases import JetStreamLeases
from domain.errors import Unavailable
from domain.ports.leases import Leases

SECONDS = 1.0
Opened = Callable[[], Any]


@pytest.fixture(params=["memory", "jetstream"])
def opened(request: pytest.FixtureRequest) -> Opened:
    """Two workers' views of the same leases."""
    if request.param == "memory":
        @asynccontextmanager
        async def in_memory() -> AsyncIterator[tuple[Leases, Leases]]:
            leases = MemoryLeases(SECONDS)
            yield leases, leases

        return in_memory
    server: Server = request.getfixturevalue("nats_server")

    @asynccontextmanager
    async def on_nats() -> AsyncIterator[tuple[Leases, Leases]]:
        log = await server.connect()
        one = await JetStreamLeases.connect(server.urls, stream=server.stream, seconds=SECONDS)
        two = await JetStreamLeases.connect(server.urls, stream=server.stream, seconds=SECONDS)
        try:
            yield one, two
        finally:
            await one.close()
            await two.close()
            await log.close()

    return on_nats


def test_one_has_it_until_it_is_given_back(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as (one, two):
            lease = await one.acquire("job.demo.j1")
            assert lease is not None
            assert lease.held
            assert await two.acquire("job.demo.j1") is None
            assert await two.acquire("job.demo.j2") is not None
            await lease.release()
            assert not lease.held
            again = await two.acquire("job.demo.j1")
            assert again is not None
            await lease.release()  # late: it takes nothing from whoever has it now
            assert await one.acquire("job.demo.j1") is None
            assert not await lease.renew()

    asyncio.run(scenario())


def test_who_says_nothing_loses_it(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as (one, two):
            lease = await one.acquire("job.demo.j1")
            began = monotonic()
            async with asyncio.timeout(60 * SECONDS):
                while (other := await two.acquire("job.demo.j1")) is None:  # noqa: ASYNC110 - it ends by time alone
                    await asyncio.sleep(0.02)
            assert monotonic() - began > 0.8 * SECONDS
            assert not lease.held
            assert not await lease.renew()
            assert other.held

    asyncio.run(scenario())


def test_who_renews_keeps_it(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as (one, two):
            lease = await one.acquire("job.demo.j1")
            end = monotonic() + 2.5 * SECONDS
            while monotonic() < end:
                await asyncio.sleep(SECONDS / 10)
                assert await lease.renew()
                assert await two.acquire("job.demo.j1") is None
            assert lease.held

    asyncio.run(scenario())


def test_only_one_of_many_gets_it(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as (one, two):
            for number in range(10):
                found = await asyncio.gather(*(each.acquire(f"slot.e.{number}") for each in (one, two) * 10))
                assert sum(lease is not None for lease in found) == 1

    asyncio.run(scenario())


def test_what_is_held_can_be_seen(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as (one, two):
            assert await one.held("job") == frozenset()
            lease = await one.acquire("job.demo.j1")
            await one.acquire("slot.engine.0")
            assert await two.held("job") == frozenset({"job.demo.j1"})
            await lease.release()
            assert await two.held("job") == frozenset()

    asyncio.run(scenario())


def test_everybody_hears_a_wake(opened: Opened) -> None:
    async def scenario() -> None:
        async with opened() as (one, two):
            heard: asyncio.Queue[str] = asyncio.Queue()
            two.listen(heard.put_nowait)
            async with asyncio.timeout(60):
                while heard.empty():  # a subscription needs a moment to arrive at the server
                    await one.wake("demo.j1")
                    await asyncio.sleep(0.02)
            assert await heard.get() == "demo.j1"

    asyncio.run(scenario())


def test_a_lease_survives_the_servers_death(nats_server: Server) -> None:
    async def scenario() -> None:
        log = await nats_server.connect()
        one = await JetStreamLeases.connect(nats_server.urls, stream=nats_server.stream, seconds=30)
        two = await JetStreamLeases.connect(nats_server.urls, stream=nats_server.stream, seconds=30)
        lease = await one.acquire("job.demo.j1")
        assert lease is not None
        nats_server.kill()
        renewed = False
        async with asyncio.timeout(20):
            while not renewed:
                try:
                    renewed = await lease.renew()
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
        assert renewed
        async with asyncio.timeout(20):
            while True:
                try:
                    assert await two.acquire("job.demo.j1") is None
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
        for each in (one, two, log):
            await each.close()

    asyncio.run(scenario())
