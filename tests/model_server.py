"""A server of model files on this machine, which behaves as servers do: ranges, tags, cuts, changes, delays."""

from __future__ import annotations

import asyncio
import json
import re
import struct
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from typing import Any

PIECE = 64 * 1024


def safetensors(size: int = 200_000, seed: int = 1, **more: Any) -> bytes:
    """A sound file with one tensor of that many bytes."""
    data = bytes((place * (7 + seed) + seed) % 251 for place in range(1000)) * (size // 1000 + 1)
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}, **more}).encode()
    return struct.pack("<Q", len(header)) + header + data[:size]


def torch_archive(pickled: bytes) -> bytes:
    """A pickle in the archive that torch writes."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("model/data.pkl", pickled)
        archive.writestr("model/data/0", b"\0" * 1000)
    return made.getvalue()


def sha(content: bytes) -> str:
    return sha256(content).hexdigest()


@dataclass
class FileServer:
    """One file at every path. ``cuts`` are bytes after which an answer breaks off, one answer each; ``then`` takes the
    file's place after the first answer; ``statuses`` are answered first, one each."""

    content: bytes
    etag: str = '"one"'
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    if_range: bool = True
    tells_length: bool = True
    cuts: list[int] = field(default_factory=list)
    then: tuple[bytes, str] | None = None
    statuses: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    pause_seconds: float = 0.0
    holding: asyncio.Event | None = None
    origin: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)

    def url(self, path: str = "/model") -> str:
        return self.origin + path

    async def answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        path = head.split(" ", 2)[1]
        told = dict(re.findall(r"(?m)^([\w-]+): (.*?)\r?$", head))
        asked = {name.lower(): value for name, value in told.items()} | {"path": path}
        self.asked.append(asked)
        if path in self.redirects:
            return await self._say(writer, "302 Found", {"Location": self.redirects[path], "Content-Length": "0"})
        if self.statuses:
            status, headers = self.statuses.pop(0)
            return await self._say(writer, status, {"Content-Length": "0", **headers})
        content, tag = self.content, self.etag
        begin = self._begin(asked, tag)
        if begin is not None and begin >= len(content):
            return await self._say(writer, "416 Range Not Satisfiable", {
                "Content-Range": f"bytes */{len(content)}", "ETag": tag, "Content-Length": "0"})
        headers = {**({"ETag": tag} if tag else {}), **self.headers}
        body = content[begin or 0:]
        if self.tells_length:
            headers["Content-Length"] = str(len(body))
        if begin is not None:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        await self._say(writer, "200 OK" if begin is None else "206 Partial Content", headers)
        if self.then is not None:
            (self.content, self.etag), self.then = self.then, None
        await self._send(writer, body, self.cuts.pop(0) if self.cuts else None)
        return None

    def _begin(self, asked: dict[str, str], tag: str) -> int | None:
        if not self.ranges or "range" not in asked:
            return None
        if self.if_range and "if-range" in asked and asked["if-range"] not in (tag, self.headers.get("Last-Modified")):
            return None
        return int(asked["range"].removeprefix("bytes=").partition("-")[0])

    async def _say(self, writer: asyncio.StreamWriter, status: str, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status}", "Connection: close", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()

    async def _send(self, writer: asyncio.StreamWriter, body: bytes, cut: int | None) -> None:
        for at in range(0, len(body), PIECE):
            piece = body[at:at + PIECE]
            if cut is not None and at + len(piece) > cut:
                writer.write(piece[:cut - at])
                await writer.drain()
                return
            writer.write(piece)
            await writer.drain()
            if self.holding is not None:
                await self.holding.wait()
            await asyncio.sleep(self.pause_seconds)


@asynccontextmanager
async def serving(server: FileServer, port: int = 0) -> AsyncIterator[FileServer]:
    """The server, listening."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await server.answer((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", port)
    server.origin = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        if server.holding is not None:
            server.holding.set()
        listening.close()
