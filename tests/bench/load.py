"""A lean load: keep-alive HTTP/1.1 clients on raw sockets, so that the load is not what is measured.

Run as a process of its own (``python -m tests.bench.load``): one JSON object with latencies goes to stdout.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field


@dataclass
class Took:
    """Latencies in seconds, statuses, and the wall time of a load."""

    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0


def request(host: str, method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
    """The bytes of one request on a kept-alive connection."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
    if body:
        head += "Content-Type: application/json\r\n"
    return (head + headers + "\r\n").encode() + body


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, payload: bytes) -> tuple[int, bytes]:
    """Sends one request and reads its answer: (status, body)."""
    writer.write(payload)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    at = head.lower().find(b"content-length:")
    length = int(head[at + 15 : head.index(b"\r\n", at)]) if at >= 0 else 0
    return status, await reader.readexactly(length) if length else b""


async def load(host: str, port: int, payloads: list[list[bytes]]) -> Took:
    """One client per list of requests, each sending its own one after the other."""
    took = Took()

    async def client(mine: list[bytes]) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for payload in mine:
            began = time.perf_counter()
            status, _ = await exchange(reader, writer, payload)
            took.latencies.append(time.perf_counter() - began)
            took.statuses[status] = took.statuses.get(status, 0) + 1
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client(mine) for mine in payloads))
    took.seconds = time.perf_counter() - began
    return took


def main() -> None:
    """Reads ``{"host", "port", "requests": [[[method, path, body], …], …]}`` from stdin."""
    asked = json.load(sys.stdin)
    host, port = asked["host"], asked["port"]
    payloads = [
        [request(f"{host}:{port}", method, path, body.encode()) for method, path, body in mine]
        for mine in asked["requests"]
    ]
    took = asyncio.run(load(host, port, payloads))
    json.dump({"latencies": took.latencies, "statuses": took.statuses, "seconds": took.seconds}, sys.stdout)


if __name__ == "__main__":
    try:
        import uvloop
        uvloop.install()
    except ImportError:
        pass
    main()
