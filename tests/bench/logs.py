"""Figures of the log: a durable append beside a raw publish, group commit, and opening long-lived aggregates."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from adapters.nats.embedded import EmbeddedServer
from adapters.nats.log import JetStreamLog
from domain.ports import Stream
from services.dispatcher import Dispatcher
from services.registry import REGISTRY
from tests.bench.figures import Figure, median, milliseconds, rate
from tests.bench.peers import raw_publishes
from tests.bench.rounds import appends
from tests.bench.story import PROJECT, Writer, scene


def append_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """One writer and 64 writers on the log, each beside raw publishes of nats-py to the same server."""
    return asyncio.run(_append(folder, quick))


async def _append(folder: Path, quick: bool) -> list[Figure]:
    server = await EmbeddedServer.start(folder)
    log = await JetStreamLog.connect([server.url], stream="BENCH", replicas=None, event_limit=2**20)
    raw_rates, raw_latencies, ones, one_latencies, manies = [], [], [], [], []
    few, many = (200, 2000) if quick else (600, 6000)
    try:
        for _ in range(3 if quick else 5):
            began = time.perf_counter()
            latencies = await raw_publishes(server.url, few)
            raw_rates.append(few / (time.perf_counter() - began))
            raw_latencies.append(median(latencies))
            one, latencies = await appends(log, few, 1)
            ones.append(one)
            one_latencies.append(median(latencies))
            manies.append((await appends(log, many, 64))[0])
    finally:
        await log.close()
        await server.stop()
    raw, many_rate = median(raw_rates), median(manies)
    return [
        Figure("log append, 1 writer, durable", f"p50 {milliseconds(median(one_latencies))}",
               f"raw publish p50 {milliseconds(median(raw_latencies))}", "at most 1.3 × raw",
               median(one_latencies) <= 1.3 * median(raw_latencies), "256-byte events, a stream each"),
        Figure("log append, 64 writers, durable", f"{rate(many_rate)} ({many_rate / raw:.1f} ×)",
               f"raw one by one {rate(raw)}", "at least 2 × raw one by one", many_rate >= 2 * raw, "group commit"),
    ]


def open_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """Opening a scene with 10,000 edits and one with 10, each time in a new process."""
    edits = 2_000 if quick else 10_000
    asyncio.run(_long_lived(folder, edits))
    url, server = _server_of_its_own(folder)
    try:
        long, short = [], []
        for _ in range(5 if quick else 9):
            short.append(_cold_open(url, "short"))
            long.append(_cold_open(url, "long"))
    finally:
        server.kill()
        server.wait()
    ratio = median(long) / median(short)
    return [Figure(f"opening an aggregate of {edits:,} events", f"{milliseconds(median(long))} ({ratio:.2f} ×)",
                   f"one of 10 events {milliseconds(median(short))}", "at most 2 ×", ratio <= 2,
                   "cold process, from connected to folded")]


async def _long_lived(folder: Path, edits: int) -> None:
    server = await EmbeddedServer.start(folder)
    log = await JetStreamLog.connect([server.url], stream="BENCH", replicas=None, event_limit=2**20)
    writer = Writer()
    batch = []
    for name, count in (("short", 10), ("long", edits)):
        batch += writer.ask("CreateScene", **scene(name))
        for number in range(count - 1):
            batch += writer.ask("EditNode", scene_id=name, node_id=f"n{number % 19}", text=f"Line {number}.")
            if len(batch) >= 900:
                await log.load(batch)
                batch = []
    await log.load(batch)
    for name in ("short", "long"):
        dispatcher = Dispatcher(log, REGISTRY)
        await dispatcher.aggregates.load(Stream(PROJECT, "main", "scene", name))
        await dispatcher.close()
    await log.close()
    await server.stop()


def _server_of_its_own(folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
    program = ("import asyncio, sys, pathlib\nfrom adapters.nats.embedded import EmbeddedServer\n"
               "async def main():\n server = await EmbeddedServer.start(pathlib.Path(sys.argv[1]))\n"
               " print(server.url, flush=True)\n await asyncio.Event().wait()\nasyncio.run(main())")
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process.stdout.readline().decode().strip(), process


def _cold_open(url: str, name: str) -> float:
    program = Path(__file__).with_name("cold_open.py")
    done = subprocess.run(
        [sys.executable, str(program), url, PROJECT, name], capture_output=True, text=True, check=True
    )
    told: float = json.loads(done.stdout)
    return told
