"""A whole studio behind its HTTP door: the log in memory, read models in SQLite, counted live."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvicorn

from adapters.c2pa.credentials import OwnCredentials
from adapters.c2pa.keys import KeyFolder
from adapters.downloads import WebSource
from adapters.files.models import ModelFolder
from adapters.files.vault import FileVault
from adapters.memory.blobs import MemoryBlobs
from adapters.memory.log import MemoryLog
from adapters.sql.read_models import SqlReadModels
from gateways.http.app import StudioApp, create_app
from gateways.http.connections import Bounds
from gateways.http.gate import Access, OpenAccess
from gateways.http.hub import Hub
from services.dispatcher import Dispatcher
from services.projector import Projector
from services.receipts import TimelineReceipts
from services.registry import REGISTRY
from services.settings import Settings
from services.studio import MOMENT_SECONDS, Studio
from services.vault import Vault

HOST = "http://localhost"

PATIENCE_SECONDS = 20.0
"""Longest wait for what is bound to happen."""


@dataclass
class Door:
    """A studio with its app and a client at the door."""

    studio: Studio
    log: Any
    app: StudioApp
    client: httpx.AsyncClient

    async def ask(self, name: str, body: Any = None, *, status: int | None = None, **given: Any) -> httpx.Response:
        """Asks a command in project ``demo``; checks the status when one is expected."""
        params = {"project": "demo", **given.pop("params", {})}
        answer = await self.client.post(f"/api/commands/{name}", json=body or {}, params=params, **given)
        if status is not None:
            assert answer.status_code == status, answer.text
        return answer

    async def fork(self, id_: str, **given: Any) -> httpx.Response:
        """The command that most tests ask: it needs nothing that was there before."""
        return await self.ask("ForkWorldline", {"worldline_id": id_}, **given)

    async def forks(self, count: int, start: int = 0, **given: Any) -> None:
        """That many of them."""
        for number in range(start, start + count):
            await self.fork(f"w{number:04}", status=201, **given)


@contextlib.asynccontextmanager
async def door(
    *, access: Access | None = None, log: Any = None, projecting: bool = True, hub: dict[str, Any] | None = None,
    worker_status: Any = None, headers: dict[str, str] | None = None, **settings: Any,
) -> AsyncIterator[Door]:
    """A door in this process; ``settings`` as in ``services.settings``, ``hub`` as in ``Hub``."""
    with tempfile.TemporaryDirectory() as folder:
        log = log or MemoryLog()
        models = SqlReadModels(f"sqlite:///{Path(folder) / 'read.db'}")
        dispatcher = Dispatcher(log, REGISTRY, TimelineReceipts(models))
        studio = Studio(
            Settings.load(data=Path(folder), **settings), REGISTRY, log, dispatcher, models, MemoryBlobs(),
            credentials=OwnCredentials(KeyFolder(Path(folder) / "signing"), version="0"),
            vault=Vault(FileVault(Path(folder) / "studio" / "vault.json", Path(folder) / "config" / "vault.keys")),
            model_files=ModelFolder(Path(folder) / "models"), source=WebSource(),
            moment_seconds=PATIENCE_SECONDS if projecting else MOMENT_SECONDS,
        )
        app = create_app(studio, access=access or OpenAccess(), worker_status=worker_status, hub=Hub(log, **hub or {}))
        counting = asyncio.create_task(Projector(log, models, REGISTRY).run()) if projecting else None
        try:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(
                transport=transport, base_url=HOST, headers=headers, timeout=PATIENCE_SECONDS
            ) as client:
                yield Door(studio, log, app, client)
        finally:
            await app.close()
            if counting is not None:
                counting.cancel()
                await asyncio.gather(counting, return_exceptions=True)
            await dispatcher.close()
            await asyncio.to_thread(models.close)


@contextlib.asynccontextmanager
async def on_socket(app: StudioApp, *, connections: int = 4096, **bounds: Any) -> AsyncIterator[str]:
    """The app behind a real server on a free port, bounded as ``comfyvn serve`` bounds it; its address."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    server = uvicorn.Server(Bounds(app, connections=connections, timeout_graceful_shutdown=2, lifespan="off", **bounds))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await until(lambda: server.started, "the server to listen")
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        app.begin_closing()
        server.should_exit = True
        await serving
        listening.close()


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs one scenario; it fails rather than hangs."""

    async def bounded() -> None:
        async with asyncio.timeout(120):
            await scenario()

    asyncio.run(bounded())


async def until(true: Callable[[], Any], what: str) -> None:
    """Waits for what is bound to happen."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"waited for {what}") from None


class Listener:
    """A reader of server-sent events on a socket of its own, so that it may also be slow."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.status = 0
        self.headers = ""
        self.comments = 0
        self.last_id: int | None = None

    @classmethod
    async def at(cls, url: str, path: str, *, headers: str = "", limit: int = 2**20) -> Listener:
        """Connects and reads the head of the answer."""
        place = urlsplit(url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=limit)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\n{headers}\r\n".encode())
        self = cls(reader, writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.status, self.headers = int(head[9:12]), head.lower()
        return self

    async def _lines(self) -> AsyncIterator[str]:
        kept = b""
        while True:
            size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
            if size == 0:
                return
            kept += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
            *lines, kept = kept.split(b"\n")
            for line in lines:
                yield line.decode()

    async def messages(self) -> AsyncIterator[tuple[str, int | None, Any]]:
        """(event, id, data) of every message until the stream ends."""
        event, data = "message", []
        async for line in self._lines():
            if line.startswith(":"):
                self.comments += 1
            elif line.startswith("id: "):
                self.last_id = int(line[4:])
            elif line.startswith("event: "):
                event = line[7:]
            elif line.startswith("data: "):
                data.append(line[6:])
            elif line == "" and data:
                yield event, self.last_id, json.loads("\n".join(data))
                event, data = "message", []

    async def take(self, count: int) -> list[Any]:
        """The data of the next messages."""
        found: list[Any] = []
        if count == 0:
            return found
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for _, _, data in self.messages():
                found.append(data)
                if len(found) == count:
                    return found
        raise AssertionError(f"the stream ended after {len(found)} of {count} messages")

    def close(self) -> None:
        self.writer.close()
