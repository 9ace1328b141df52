"""Whatever comes over a socket, there is an answer that says what to do, or an end; and nobody else waits for it."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import structlog
from door import PATIENCE_SECONDS, door, on_socket, run

from gateways.http.connections import HEAD_LIMIT, room_for_connections

HOST = b"Host: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
POST = b"POST /api/commands/ForkWorldline HTTP/1.1\r\n" + HOST + JSON
HELLO = (b"GET /events/ws HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n")


class Said(NamedTuple):
    """Everything that came back on a connection."""

    raw: bytes
    closed: bool

    @property
    def status(self) -> int:
        return int(self.raw[9:12] or b"0")

    def problem(self) -> dict[str, Any]:
        head, _, body = self.raw.partition(b"\r\n\r\n")
        assert b"application/problem+json" in head.lower(), self.raw
        told: dict[str, Any] = json.loads(body)
        assert told["remediation"], "it does not say what to do next"
        assert told["status"] == self.status
        return told


async def spoken(url: str, *pieces: bytes, seconds: float = PATIENCE_SECONDS) -> Said:
    """Says something, each piece once something has come back, and listens until the server closes, or for so long."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    raw, closed = b"", True
    try:
        async with asyncio.timeout(seconds):
            for number, piece in enumerate(pieces):
                raw += await reader.read(65536) if number else b""
                writer.write(piece)
                await writer.drain()
            while more := await reader.read(65536):
                raw += more
    except TimeoutError:
        closed = False
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    return Said(raw, closed)


async def cut(writer: asyncio.StreamWriter, said: bytes) -> None:
    """Says the same until the connection is cut."""
    try:
        while True:
            writer.write(said)
            await writer.drain()
            await asyncio.sleep(0.01)
    except ConnectionError:
        return


@asynccontextmanager
async def served(**bounds: Any) -> AsyncIterator[str]:
    async with door(projecting=False) as here, on_socket(here.app, **bounds) as url:
        yield url


async def well(url: str) -> bool:
    """Whether somebody else is still answered."""
    return (await spoken(url, b"GET /health HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")).status == 200


@pytest.mark.parametrize("request_", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /health HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", b"CONNECT evil:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
], ids=lambda one: repr(one[:40]))
def test_what_is_no_http_is_told_so_as_a_problem(request_: bytes) -> None:
    async def scenario() -> None:
        async with served() as url:
            said = await spoken(url, request_)
            assert (said.status, said.closed) == (400, True)
            assert said.problem()["error"] == "malformed_http"
            assert await well(url)

    run(scenario)


@pytest.mark.parametrize(("head", "piece"), [
    (b"GET /", b"a" * 2**16), (b"GET /health?", b"a=1&" * 2**14), (b"GET / HTTP/1.1\r\nX: ", b"a" * 2**16),
    (b"GET / HTTP/1.1\r\n", b"X: aaaaaaaaa\r\n" * 5000), (POST + b"X: ", b"a" * 2**16),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 2**16),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: ", b"a" * 2**16),
], ids=["address", "query", "header", "headers", "headers of a post", "chunk extension", "trailer"])
def test_a_head_without_an_end_is_ended(head: bytes, piece: bytes) -> None:
    async def scenario() -> None:
        async with served() as url:
            place = urlsplit(url)
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            writer.write(head)
            sent = 0
            async with asyncio.timeout(PATIENCE_SECONDS):
                try:
                    while not reader.at_eof() and sent < 64 * 2**20:
                        writer.write(piece)
                        await writer.drain()
                        sent += len(piece)
                        await asyncio.sleep(0)
                except ConnectionError:
                    pass
            writer.transport.abort()
            assert sent < 32 * 2**20, "it was all taken"
            assert await well(url)

    run(scenario)


@pytest.mark.parametrize("head", [
    b"GET /health?" + b"a" * HEAD_LIMIT + b" HTTP/1.1\r\n" + HOST, b"GET /health HTTP/1.1\r\nX: " + b"a" * HEAD_LIMIT
    + b"\r\n" + HOST, b"GET /health HTTP/1.1\r\n" + HOST + b"X: aaaa\r\n" * (HEAD_LIMIT // 8),
], ids=["address", "header", "headers"])
def test_a_head_that_is_too_large_is_told_so(head: bytes) -> None:
    async def scenario() -> None:
        async with served() as url:
            said = await spoken(url, head + b"\r\n")
            assert (said.status, said.problem()["error"]) == (431, "head_too_large")

    run(scenario)


@pytest.mark.parametrize(("begun", "status"), [(b"", 0), (b"GET /hea", 408), (b"GET / HTTP/1.1\r\nX: a", 408)])
def test_a_head_that_does_not_come_is_not_waited_for(begun: bytes, status: int) -> None:
    async def scenario() -> None:
        async with served(head_seconds=0.2) as url:
            said = await spoken(url, begun)
            assert (said.status, said.closed) == (status, True)
            if status:
                assert said.problem()["error"] == "head_late"

    run(scenario)


def test_a_body_that_stops_is_not_waited_for() -> None:
    form = b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n--x\r\n"

    async def scenario() -> None:
        async with door(projecting=False) as here, on_socket(here.app) as url:
            here.app.body_seconds = 0.2
            for stopped in (
                POST + b'Content-Length: 99\r\n\r\n{"', POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
                b"POST /api/assets/upload HTTP/1.1\r\n" + HOST + form,
            ):
                said = await spoken(url, stopped)
                assert (said.status, said.closed, said.problem()["error"]) == (408, True, "body_late")

    run(scenario)


def test_a_body_that_nobody_asked_for_is_not_waited_for() -> None:
    async def scenario() -> None:
        async with served(head_seconds=0.2) as url:
            said = await spoken(url, b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: 99\r\n\r\n{", b"more")
            assert (said.status, said.closed) == (404, True)

    run(scenario)


def test_an_answer_that_is_never_read_does_not_keep_its_place() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here, on_socket(here.app, unread_seconds=0.2) as url:
            place = urlsplit(url)
            reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1024)
            async with asyncio.timeout(PATIENCE_SECONDS):
                # No request after the first ones is read, until the connection is cut.
                await cut(writer, (b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 200)
            assert not reader.at_eof()
            writer.transport.abort()

    run(scenario)


def test_one_connection_too_many_is_told_so_and_a_place_that_is_free_again_is_given() -> None:
    async def scenario() -> None:
        async with served(connections=3) as url:
            place = urlsplit(url)
            kept = [await asyncio.open_connection(place.hostname, place.port) for _ in range(3)]
            for _, writer in kept:
                writer.write(b"GET /he")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (said := await spoken(url, b"")).status == 0:
                    pass
            assert (said.status, said.problem()["error"]) == (503, "too_many_connections")
            for _, writer in kept:
                writer.transport.abort()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await well(url):  # noqa: ASYNC110 (each look is a connection)
                    await asyncio.sleep(0.01)

    run(scenario)


def test_there_is_room_for_connections_and_for_everything_else() -> None:
    import resource

    room = room_for_connections()
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 0 < room < limit


# --- WebSockets -------------------------------------------------------------------------------------------------------


def frame(opcode: int, data: bytes = b"", *, last: bool = True) -> bytes:
    """A frame as a client sends it."""
    size = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0x80 | 126]) + struct.pack(">H", len(data))
    return bytes([opcode | (0x80 if last else 0)]) + size + b"\0\0\0\0" + data


@pytest.mark.parametrize(("head", "status"), [
    (HELLO.replace(b"Sec-WebSocket-Key", b"X"), 400), (HELLO.replace(b": 13", b": 8"), 400),
    (HELLO.replace(b"dGhl", b"zz"), 400), (HELLO.replace(b"GET", b"POST"), 0), (HELLO + b"Content-Length: 2\r\n", 0),
    (HELLO + b"X: " + b"a" * 9000 + b"\r\n", 0), (HELLO + b"X: a\r\n" * 200, 0),
    (HELLO.replace(b"/ws", b"/ws?" + b"a" * 9000), 0),
], ids=["no key", "version", "bad key", "post", "body", "long header", "headers", "address"])
def test_a_handshake_that_is_none_is_told_so_as_a_problem(head: bytes, status: int) -> None:
    async def scenario() -> None:
        async with served() as url:
            said = await spoken(url, head + b"\r\n")
            assert said.closed
            assert 400 <= said.status < 500
            assert said.status == status or not status
            assert said.problem()["error"] == "invalid_handshake"

    run(scenario)


@pytest.mark.parametrize(("said", "code"), [
    (frame(1, b"\xff\xfe"), 1007), (frame(1, b"", last=False) + frame(0, b"", last=False) * 5000, 1009),
    (frame(3), 1002), (frame(0, b"x"), 1002), (frame(9, b"x" * 126), 1002), (frame(8, b"x"), 1002),
], ids=["not UTF-8", "pieces", "opcode", "no first piece", "long ping", "short close"])
def test_talk_that_is_none_ends_with_its_code_and_without_a_trace(said: bytes, code: int, caplog: Any) -> None:
    async def scenario() -> None:
        async with served() as url:
            with structlog.testing.capture_logs() as logged:
                told = await spoken(url, HELLO + b"\r\n", said)
            assert told.status == 101
            assert told.closed
            assert struct.pack(">H", code) in told.raw.partition(b"\r\n\r\n")[2]
            assert logged == []
            assert not [one for one in caplog.records if one.exc_info]

    run(scenario)


def test_a_websocket_stays_as_long_as_it_wants() -> None:
    async def scenario() -> None:
        async with door(projecting=False, hub={"heartbeat_seconds": 0.2}) as here, \
                on_socket(here.app, head_seconds=0.1) as url:
            place = urlsplit(url)
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            writer.write(HELLO + b"\r\n")
            async with asyncio.timeout(PATIENCE_SECONDS):
                for _ in range(4):
                    await reader.readuntil(b"heartbeat")
            writer.transport.abort()

    run(scenario)


def test_pings_whose_answers_are_not_read_are_not_answered_for_ever() -> None:
    async def scenario() -> None:
        async with served(unread_seconds=0.3) as url:
            place = urlsplit(url)
            reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1024)
            writer.write(HELLO + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
            pings = frame(9, b"p" * 125) * 500
            async with asyncio.timeout(PATIENCE_SECONDS):
                await cut(writer, pings)
            writer.transport.abort()
            assert await well(url)

    run(scenario)
