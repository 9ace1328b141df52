"""The peers, measured in the same run: raw nats-py publishes and ``eventsourcing``'s own projection runner."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import nats
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.sqlite import SQLiteTrackingRecorder
from psycopg.sql import SQL

BODY = b"x" * 256


async def raw_publishes(url: str, count: int, *, writers: int = 1) -> list[float]:
    """Latencies in seconds of plain durable publishes with an expectation, each on a subject of its own."""
    connection = await nats.connect(url)
    api = "$JS.API.STREAM.CREATE.BENCH_RAW"
    config = {"name": "BENCH_RAW", "subjects": ["raw.>"], "storage": "file", "num_replicas": 1}
    await connection.request(api, json.dumps(config).encode(), timeout=10)
    latencies: list[float] = []
    run = uuid4().hex[:8]
    left = iter(range(count))

    async def writer() -> None:
        for number in left:
            began = time.perf_counter()
            answer = await connection.request(
                f"raw.{run}.{number}", BODY, headers={"Nats-Expected-Last-Subject-Sequence": "0"}, timeout=30
            )
            latencies.append(time.perf_counter() - began)
            assert b'"seq"' in answer.data, answer.data

    try:
        await asyncio.gather(*(writer() for _ in range(writers)))
    finally:
        await connection.request("$JS.API.STREAM.DELETE.BENCH_RAW", b"", timeout=10)
        await connection.close()
    return latencies


class Notebook(Aggregate):
    """The smallest aggregate of the library: opened, then written in."""

    @event("Opened")
    def __init__(self, text: str) -> None:
        self.text = text

    @event("Written")
    def write(self, text: str) -> None:
        self.text = text


class Notebooks(Application[UUID]):
    """The upstream application."""

    name = "notebooks"


class Tally(Projection[Any]):
    """One row per notebook with the number of its events: the plainest view there is."""

    name = "tally"
    topics = ()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.tally(domain_event.originator_id, tracking)


TALLY = "INSERT INTO tally {alias} VALUES ({mark}, 1) ON CONFLICT (notebook) DO UPDATE SET events = {old}.events + 1"


class SqliteTally(SQLiteTrackingRecorder):
    """The view in SQLite; row and tracking share a transaction, as the library's users are told to do."""

    def __init__(self, datastore: Any, **options: Any) -> None:
        super().__init__(datastore, **options)
        self.create_table_statements += ["CREATE TABLE IF NOT EXISTS tally (notebook TEXT PRIMARY KEY, events INTEGER)"]

    def tally(self, notebook: UUID, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(TALLY.format(alias="", mark="?", old="tally"), (notebook.hex,))


class PostgresTally(PostgresTrackingRecorder):
    """The view in PostgreSQL; row and tracking share a transaction."""

    def __init__(self, datastore: Any, **options: Any) -> None:
        super().__init__(datastore, **options)
        table = SQL("CREATE TABLE IF NOT EXISTS tally (notebook uuid PRIMARY KEY, events bigint)")
        self.sql_create_statements.append(table)

    def tally(self, notebook: UUID, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(SQL(TALLY.format(alias="AS old", mark="%s", old="old")), (notebook,))


def postgres_environment(uri: str) -> dict[str, str]:
    """What the library wants to know about a PostgreSQL server, from a URL."""
    from psycopg.conninfo import conninfo_to_dict

    told = conninfo_to_dict(uri)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres", "POSTGRES_DBNAME": str(told["dbname"]),
        "POSTGRES_HOST": str(told.get("host", "")), "POSTGRES_PORT": str(told.get("port", "5432")),
        "POSTGRES_USER": str(told["user"]), "POSTGRES_PASSWORD": str(told.get("password") or "none"),
        "POSTGRES_POOL_SIZE": "5", "POSTGRES_MAX_OVERFLOW": "10",
    }


def fill_upstream(uri: str, events: int, *, per_notebook: int = 100) -> dict[str, str]:
    """An upstream of the library in PostgreSQL (its SQLite recorder has no subscriptions) with that many events."""
    environment = postgres_environment(uri)
    application = Notebooks(environment)
    for _ in range(events // per_notebook):
        notebook = Notebook(text="x" * 200)
        for _ in range(per_notebook - 1):
            notebook.write(text="y" * 200)
        application.save(notebook)
    application.close()
    return environment


def projection_runner(upstream: dict[str, str], view: type[Any], environment: dict[str, str]) -> float:
    """Events per second of the library's runner, from its construction to the commit of the last event."""
    own = {f"TALLY_{name}": value for name, value in environment.items()}
    began = time.perf_counter()
    with ProjectionRunner(
        application_class=Notebooks, projection_class=Tally, view_class=view, env={**upstream, **own},
    ) as runner:
        newest = runner.app.recorder.max_notification_id()
        while (runner.projection.view.max_tracking_id(runner.app.name) or 0) < newest:
            time.sleep(0.01)
        return newest / (time.perf_counter() - began)


def sqlite_environment(folder: Path) -> dict[str, str]:
    """A view in a fresh SQLite file, with the library's own settings."""
    path = folder / f"view-{uuid4().hex[:6]}.db"
    sqlite3.connect(path).close()
    return {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)}


def fsync_probe(folder: Path, count: int = 200) -> float:
    """Median seconds of one write and fdatasync of 4 KiB on this disk."""
    path = folder / "probe"
    took = []
    with path.open("wb") as file:
        for _ in range(count):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    path.unlink()
    return sorted(took)[count // 2]
