"""A small HTTP/1.1 and WebSocket server on a real socket, for fakes that must also misbehave below HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import h11
import orjson
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.server import ServerProtocol


@dataclass
class Asked:
    """One request, read to its end."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Answer:
    """One answer. ``endless`` follows ``body`` with these bytes for ever; ``length`` claims another length."""

    status: int = 200
    body: bytes = b""
    media_type: str = "application/json; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    endless: bytes = b""
    length: int | None = None


class Dropped(Exception):
    """Break the connection without an answer."""


def as_json(value: Any, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(value))


class Socket:
    """One open WebSocket; ``send`` never blocks a caller for long and is silent on a closed one."""

    def __init__(self, protocol: ServerProtocol, writer: asyncio.StreamWriter, asked: Asked) -> None:
        self._protocol, self._writer, self.asked = protocol, writer, asked
        self.heard: asyncio.Queue[str] = asyncio.Queue()

    def send(self, message: Any) -> None:
        if self._writer.is_closing():
            return
        if isinstance(message, bytes):
            self._protocol.send_binary(message)
        else:
            self._protocol.send_text(orjson.dumps(message))
        self.flush()

    def flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data and not self._writer.is_closing():
                self._writer.write(data)

    def abort(self) -> None:
        self._writer.transport.abort()


class Server:
    """Listens on loopback. ``answer`` answers requests; ``opened`` is told of WebSockets and when they end."""

    def __init__(self, answer: Callable[[Asked], Awaitable[Answer]],
                 opened: Callable[[Socket], Awaitable[None]] | None = None) -> None:
        self._answer, self._opened = answer, opened
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listens; again on the same port after ``kill``."""
        self._server = await asyncio.start_server(self._taken, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """As ``kill -9``: nothing listens, every connection is broken."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._conversation(reader, writer)
        except (ConnectionError, Dropped, h11.RemoteProtocolError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _conversation(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = h11.Connection(h11.SERVER)
        while True:
            asked = await _request(talk, reader, writer)
            if asked is None:
                return
            if asked.headers.get("upgrade", "").lower() == "websocket" and self._opened is not None:
                await self._websocket(asked, talk.trailing_data[0], reader, writer)
                return
            answer = await self._answer(asked)
            length = len(answer.body) if answer.length is None else answer.length
            headers = {"Content-Type": answer.media_type, **answer.headers}
            if answer.endless:
                headers["Transfer-Encoding"] = "chunked"
            else:
                headers["Content-Length"] = str(length)
            writer.write(talk.send(h11.Response(status_code=answer.status, headers=list(headers.items()))) or b"")
            writer.write(talk.send(h11.Data(data=answer.body)) or b"")
            while answer.endless:
                writer.write(talk.send(h11.Data(data=answer.endless)) or b"")
                await writer.drain()
            writer.write(talk.send(h11.EndOfMessage()) or b"")
            await writer.drain()
            if talk.our_state is not h11.DONE or talk.their_state is not h11.DONE:
                return
            talk.start_next_cycle()

    async def _websocket(self, asked: Asked, more: bytes, reader: asyncio.StreamReader,
                         writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol()
        raw = f"GET {asked.path} HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in asked.headers.items())
        protocol.receive_data((raw + "\r\n").encode() + more)
        for event in protocol.events_received():
            assert isinstance(event, Handshake)
            protocol.send_response(protocol.accept(event))
        socket = Socket(protocol, writer, asked)
        socket.flush()
        assert self._opened is not None
        serving = asyncio.create_task(self._opened(socket))  # type: ignore[arg-type]
        try:
            while data := await reader.read(65536):
                protocol.receive_data(data)
                for event in protocol.events_received():
                    if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                        socket.heard.put_nowait(bytes(event.data).decode())
                socket.flush()
                if protocol.close_expected():
                    return
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def _request(talk: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Asked | None:
    head: h11.Request | None = None
    body = bytearray()
    async for event in _events(talk, reader, writer):
        if isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            parts = urlsplit(head.target.decode())
            return Asked(
                head.method.decode(), unquote(parts.path), {k: v[-1] for k, v in parse_qs(parts.query, True).items()},
                {name.decode().lower(): value.decode() for name, value in head.headers}, bytes(body),
            )
    return None


async def _events(talk: h11.Connection, reader: asyncio.StreamReader,
                  writer: asyncio.StreamWriter) -> AsyncIterator[Any]:
    while True:
        event = talk.next_event()
        if event is h11.NEED_DATA:
            if talk.they_are_waiting_for_100_continue:
                writer.write(talk.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            talk.receive_data(await reader.read(65536))
        elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
            return
        else:
            yield event
