"""The connection to NATS goes on reading and goes away when told, whoever asked and has left meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures_nats import Server
from fixtures_studio import wait_until
from nats.aio.msg import Msg

from adapters.nats import connection as connections
from adapters.nats.connection import Connection
from adapters.nats.inbox import JetStreamInboxes
from adapters.nats.leases import JetStreamLeases

PROMPT_SECONDS = 15
"""Far below the half minute after which overdue pings would give a deaf connection up."""


@contextlib.contextmanager
def hung(server: Server) -> Iterator[None]:
    """The server stands still, as on a machine without memory or with a stuck disk."""
    os.kill(server.embedded.pid, signal.SIGSTOP)
    wait_until(lambda: _stands_still(server.embedded.pid), "the server to stand still")
    try:
        yield
    finally:
        os.kill(server.embedded.pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task")
    return all(one.read_text().rpartition(")")[2].split()[0] == "T" for one in threads.glob("*/stat"))


async def _answers(connection: Connection) -> None:
    async with asyncio.timeout(PROMPT_SECONDS):
        while True:
            with contextlib.suppress(connections.Lost, TimeoutError):
                await connection.ask("$JS.API.INFO", seconds=1)
                return
            await connection.ready(1)


def test_a_ping_whose_asker_has_left_ends_no_reading(nats_server: Server) -> None:
    async def scenario() -> None:
        connection = await connections.connect(nats_server.urls, name="tests")
        try:
            with hung(nats_server):
                for _ in range(3):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.1):
                            await connection.flush()
            await _answers(connection)
            assert connection.stats["reconnects"] == 0, "it was never deaf, and so never given up"
        finally:
            await connection.close()

    asyncio.run(scenario())


def test_a_server_that_hangs_is_doubted_and_found_again(nats_server: Server) -> None:
    async def scenario() -> None:
        connection = await connections.connect(nats_server.urls, name="tests")
        try:
            with hung(nats_server):
                with pytest.raises(TimeoutError):
                    await connection.ask("$JS.API.INFO", seconds=0.2)
                await connection.doubt(0.2)
                assert not connection.is_connected
            await _answers(connection)
        finally:
            await connection.close()

    asyncio.run(scenario())


def test_a_request_that_is_answered_twice_has_one_answer(nats_server: Server) -> None:
    async def told(message: Msg) -> None:
        await message.respond(b"one")

    async def scenario() -> None:
        connection = await connections.connect(nats_server.urls, name="tests")
        try:
            # Two who answer, as two servers of a cluster may: their answers can come in one reading of the network.
            for _ in range(2):
                await connection.subscribe("twice", cb=told)
            for number in range(50):
                assert await connection.ask("twice") == (b"", b"one"), number
                assert await connection.ask_batch([("twice", b"a", b""), ("twice", b"b", b"")]) == (b"", b"one")
        finally:
            await connection.close()

    asyncio.run(scenario())


def test_a_message_that_nobody_can_read_costs_the_connection_and_not_the_reader(nats_server: Server) -> None:
    def broken(subject: bytes, headers: bytes, body: bytes) -> None:
        raise RuntimeError("a taker of ours is broken")

    async def scenario() -> None:
        connection = await connections.connect(nats_server.urls, name="tests")
        try:
            await connection.raw_subscribe("broken.here", broken)
            await connection.publish("broken.here", b"x")
            async with asyncio.timeout(PROMPT_SECONDS):
                while connection.stats["reconnects"] == 0:  # noqa: ASYNC110 - nats-py tells nobody
                    await asyncio.sleep(0.02)
            await _answers(connection)
        finally:
            await connection.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("waiting", ["flush", "doubt", "fetch", "lease", "close"])
def test_whoever_waits_for_a_server_that_hangs_can_be_told_to_end(nats_server: Server, waiting: str) -> None:
    async def scenario() -> None:
        log = await nats_server.connect()
        inboxes = await JetStreamInboxes.connect(nats_server.urls, stream=nats_server.stream)
        leases = await JetStreamLeases.connect(nats_server.urls, stream=nats_server.stream, seconds=2)
        inbox = await inboxes.open("tests", ["vn.>"], ack_wait_seconds=30, in_flight=10)
        with hung(nats_server):
            work = {
                "flush": lambda: log.connection.flush(), "doubt": lambda: log.connection.doubt(60),
                "fetch": lambda: inbox.fetch(10, 60), "lease": lambda: leases.acquire("one"),
                "close": lambda: log.close(),
            }[waiting]
            task = asyncio.ensure_future(work())
            await asyncio.sleep(0.1)
            task.cancel()
            async with asyncio.timeout(PROMPT_SECONDS):
                await asyncio.wait([task])
            assert task.cancelled() or waiting == "close"
        async with asyncio.timeout(PROMPT_SECONDS):
            for one in (log, inboxes, leases):
                await one.close()

    asyncio.run(scenario())


def test_a_cancellation_that_meets_the_answer_is_not_forgotten(nats_server: Server) -> None:
    async def scenario() -> None:
        connection = await connections.connect(nats_server.urls, name="tests")
        try:
            flushing = asyncio.create_task(connection.flush())
            while not connection._pongs:  # noqa: ASYNC110 - nothing else tells of it
                await asyncio.sleep(0)
            # Whoever waits for the answer is told to end in the very moment in which it comes.
            connection._pongs[-1].add_done_callback(lambda _: flushing.cancel())
            await asyncio.wait([flushing])
            assert flushing.cancelled()
        finally:
            await connection.close()

    asyncio.run(scenario())
