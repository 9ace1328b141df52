"""Figures at the doors of a real `comfyvn serve`: commands, forks, time travel and streams."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.bench.figures import Figure, median, milliseconds, percentile, rate
from tests.bench.peers import raw_publishes
from tests.bench.rounds import load_process
from tests.bench.story import scene

COMMANDS = "/api/commands"


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[str, str]]:
    """A real server on a folder: (address, NATS address)."""
    command = [sys.executable, "-m", "gateways.cli", "serve", "--data", str(folder), "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        yield url, json.loads((folder / "nats" / "server.json").read_text())["url"]
    finally:
        process.terminate()
        process.wait(30)


def ask(url: str, path: str, **body: Any) -> dict[str, Any]:
    """One accepted command."""
    answer = httpx.post(url + path, json=body, timeout=60)
    answer.raise_for_status()
    told: dict[str, Any] = answer.json()
    return told


def command_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """Durable commands over HTTP from one client and from 64, beside raw publishes to the same server."""
    clients, few, many = 64, 100 if quick else 300, 20 if quick else 60
    raw_p50, raw_rate, one_p50, many_rate = [], [], [], []
    with served(folder) as (url, nats_url):
        for client in range(clients):
            ask(url, "/api/scenes?project=bench", **scene(f"c{client}"))
        for number in range(3 if quick else 5):
            began = time.perf_counter()
            latencies = asyncio.run(raw_publishes(nats_url, few))
            raw_rate.append(few / (time.perf_counter() - began))
            raw_p50.append(median(latencies))
            told = load_process(url, [[_edit(0, f"{number} {turn}") for turn in range(few)]])
            assert set(told["statuses"]) == {"200"}, told["statuses"]
            one_p50.append(median(told["latencies"]))
            told = load_process(url, [[_edit(client, f"{number} {turn}") for turn in range(many)]
                                      for client in range(clients)])
            assert set(told["statuses"]) == {"200"}, told["statuses"]
            many_rate.append(clients * many / told["seconds"])
    raw, one = median(raw_p50), median(one_p50)
    return [
        Figure("one durable HTTP command, 1 client", f"p50 {milliseconds(one)}", f"raw publish p50 {milliseconds(raw)}",
               "at most raw + 2.5 ms", one <= raw + 0.0025, "EditNode on a scene of 20 nodes; projector running"),
        Figure("durable HTTP commands, 64 clients", rate(median(many_rate), "commands"),
               f"raw one by one {rate(median(raw_rate))}", "at least raw one by one",
               median(many_rate) >= median(raw_rate), "one API process; load, log and projector share the machine"),
    ]


def _edit(client: int, text: str) -> tuple[str, str, str]:
    body = json.dumps({"scene_id": f"c{client}", "node_id": f"n{hash(text) % 19}", "text": f"Line {text}."})
    return "POST", f"{COMMANDS}/EditNode?project=bench", body


def fork_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """Forking a project of many scenes beside any other command of one event."""
    scenes = 1_000 if quick else 10_000
    with served(folder) as (url, _):
        made = "/api/scenes?project=bench"
        requests = [("POST", made, json.dumps(scene(f"s{number}", 3))) for number in range(scenes)]
        load_process(url, [requests[start::16] for start in range(16)])
        rounds = 20 if quick else 60
        forks, others = [], []
        for number in range(rounds):
            forks.append(_timed(url, "/api/pov/worlds?project=bench", {"worldline_id": f"w{number}"}))
            others.append(_timed(url, f"{COMMANDS}/GrantCredits?project=bench", {"account": f"a{number}", "amount": 1}))
        log = httpx.get(f"{url}/api/log?project=bench&category=worldline&limit=500", timeout=30).json()["items"]
    fork, other = median(forks), median(others)
    events = len(log) / rounds
    return [Figure(f"fork of a project with {scenes:,} scenes", f"p50 {milliseconds(fork)}, {events:g} event",
                   f"another one-event command p50 {milliseconds(other)}", "one event; the time of any other",
                   events == 1 and fork <= other * 1.5 + 0.001, "GrantCredits beside ForkWorldline, interleaved")]


_CLIENTS: dict[str, httpx.Client] = {}


def _timed(url: str, path: str, body: dict[str, Any]) -> float:
    client = _CLIENTS.setdefault(url, httpx.Client(base_url=url, timeout=60))
    began = time.perf_counter()
    client.post(path, json=body).raise_for_status()
    return time.perf_counter() - began


def travel_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """One scene as of random positions of a long log."""
    from tests.bench.story import NODES

    events, scenes = (10_000, 50) if quick else (100_000, 200)
    asyncio.run(_filled(folder, events))
    dice = random.Random(7)
    with served(folder) as (url, _):
        deadline = time.monotonic() + 600
        while httpx.get(f"{url}/api/scenes/s0?project=bench&min_position={events}", timeout=30).status_code != 200:
            assert time.monotonic() < deadline, "the read side did not catch up"
            time.sleep(0.5)
        paths = [f"/api/scenes/s{dice.randrange(scenes)}?project=bench&as_of={dice.randrange(scenes + 2, events)}"
                 for _ in range(100 if quick else 400)]
        told = load_process(url, [[("GET", path, "") for path in paths]])
        assert set(told["statuses"]) == {"200"}, told["statuses"]
    p50 = median(told["latencies"])
    return [Figure(f"time travel in a log of {events:,} events", f"p50 {milliseconds(p50)}",
                   f"p99 {milliseconds(percentile(told['latencies'], 0.99))}", "p50 at most 10 ms", p50 <= 0.010,
                   f"one scene of {NODES} nodes as of a random position, over HTTP")]


async def _filled(folder: Path, events: int) -> None:
    from adapters.nats.embedded import EmbeddedServer
    from adapters.nats.log import JetStreamLog
    from tests.bench.story import fill

    server = await EmbeddedServer.start(folder / "nats")
    log = await JetStreamLog.connect([server.url], replicas=None, event_limit=2**20)
    await fill(log, events)
    await log.close()
    await server.stop()


def stream_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """Many SSE subscribers while events are appended at a steady rate: every event to everyone, and how late."""
    subscribers, per_second, seconds = (100, 100, 3) if quick else (500, 200, 10)
    with served(folder) as (url, _):
        ask(url, "/api/scenes?project=bench", **scene("s"))
        program = [sys.executable, "-m", "tests.bench.listeners", url, str(subscribers), str(per_second), str(seconds)]
        done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=300,
                              cwd=Path(__file__).parents[2])
    told = json.loads(done.stdout)
    complete = told["received"] == told["expected"]
    p99 = told["p99_seconds"]
    return [Figure(
        f"{subscribers} SSE subscribers, {per_second} events/s",
        f"p99 {milliseconds(p99)}, {told['received']:,} of {told['expected']:,} deliveries",
        f"p50 {milliseconds(told['p50_seconds'])}; {told['events_per_second']:.0f} events/s reached",
        "every event to everyone, p99 at most 250 ms", complete and p99 <= 0.25,
        "from the moment the command was sent to the moment a subscriber had the event",
    )]
