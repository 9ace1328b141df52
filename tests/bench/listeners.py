"""Subscribers of the SSE door on raw sockets, and the commands whose events they wait for; prints how late they came.

    python -m tests.bench.listeners URL SUBSCRIBERS EVENTS_PER_SECOND SECONDS
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from tests.bench.figures import percentile
from tests.bench.load import exchange, request

MARK = b"mark-"


async def listener(host: str, port: int, ready: asyncio.Semaphore, sent: list[float], late: list[float]) -> None:
    """Reads one stream and notes the delay of every marked event."""
    reader, writer = await asyncio.open_connection(host, port, limit=2**22)
    writer.write(f"GET /events/sse?project=bench&category=scene HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    ready.release()
    rest = b""
    while chunk := await reader.read(2**18):
        now = time.perf_counter()
        rest += chunk
        at = 0
        while (found := rest.find(MARK, at)) >= 0:
            end = rest.find(b"-", found + len(MARK))
            if end < 0:
                break
            late.append(now - sent[int(rest[found + len(MARK) : end])])
            at = end
        rest = rest[max(at, len(rest) - 64) :]


async def main(url: str, subscribers: int, per_second: int, seconds: int) -> None:
    host, port = url.removeprefix("http://").split(":")
    events = per_second * seconds
    sent = [0.0] * events
    late: list[float] = []
    ready = asyncio.Semaphore(0)
    listeners = [asyncio.create_task(listener(host, int(port), ready, sent, late)) for _ in range(subscribers)]
    for _ in range(subscribers):
        await ready.acquire()
    await asyncio.sleep(1)
    clients = 8
    began = time.perf_counter()

    async def teller(first: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for number in range(first, events, clients):
            await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
            body = json.dumps({"scene_id": "s", "node_id": f"n{first}", "text": f"mark-{number}-"}).encode()
            sent[number] = time.perf_counter()
            path = "/api/commands/EditNode?project=bench"
            status, told = await exchange(reader, writer, request(f"{host}:{port}", "POST", path, body))
            assert status == 200, told
        writer.close()

    await asyncio.gather(*(teller(first) for first in range(clients)))
    took = time.perf_counter() - began
    expected = events * subscribers
    for _ in range(400):  # the last ones may still be on their way
        if len(late) >= expected:
            break
        await asyncio.sleep(0.05)
    for task in listeners:
        task.cancel()
    print(json.dumps({
        "expected": expected, "received": len(late), "p50_seconds": percentile(late, 0.5),
        "p99_seconds": percentile(late, 0.99), "events_per_second": events / took,
    }))


if __name__ == "__main__":
    try:
        import uvloop
        uvloop.install()
    except ImportError:
        pass
    asyncio.run(main(sys.argv[1], *(int(text) for text in sys.argv[2:])))
