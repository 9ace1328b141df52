"""Engines for the two databases, tuned for a read side that can always be built again."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.sql.elements import ColumnElement

from domain.errors import Invalid, Remedy

BUSY_SECONDS: Final = 30.0
"""How long a writer of SQLite waits for another one."""


def connected(url: str) -> sa.Engine:
    """An engine for ``sqlite:///file`` or ``postgresql://…``; nothing is opened yet. Raises ``Invalid``."""
    place = _address(url)
    if place.get_backend_name() == "sqlite":
        return _sqlite(place)
    return sa.create_engine(
        place, pool_size=10, max_overflow=20, pool_timeout=10, pool_pre_ping=True, hide_parameters=True,
        isolation_level="READ COMMITTED",
    )


def sqlite_file(engine: sa.Engine) -> Path | None:
    """The file of a SQLite database; nothing for a server."""
    return Path(engine.url.database or "") if engine.dialect.name == "sqlite" else None


def _address(url: str) -> URL:
    try:
        place = make_url(url)
    except ArgumentError:
        raise _unusable("it is not a URL") from None
    match place.get_backend_name():
        case "sqlite":
            if not place.database or place.database == ":memory:":
                raise _unusable("SQLite needs a file, as in sqlite:////path/to/read.db")
            return place.set(drivername="sqlite+pysqlite")
        case "postgresql" | "postgres":
            return place.set(drivername="postgresql+psycopg")
        case other:
            raise _unusable(f"{other} is neither sqlite nor postgresql")


def _sqlite(place: URL) -> sa.Engine:
    file = Path(place.database or "")
    engine = sa.create_engine(
        place, pool_size=10, max_overflow=20, pool_timeout=10, hide_parameters=True, poolclass=sa.pool.QueuePool,
        pool_use_lifo=True,  # the warmest connection first: each has a page cache of its own
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False, "cached_statements": 512},
    )

    @sa.event.listens_for(engine, "do_connect")
    def _folder(dialect: Any, record: Any, arguments: Any, options: Any) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)

    @sa.event.listens_for(engine, "connect")
    def _tune(connection: sqlite3.Connection, record: Any) -> None:
        # The driver would begin transactions by itself, late and never for DDL; "begin" below does it instead.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        # A power failure may take the newest transactions, each whole and with its checkpoint: they are counted again
        # from the log. So no transaction waits for the disk.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA cache_size=-32768")
        connection.execute("PRAGMA journal_size_limit=67108864")
        connection.create_function("unicode_lower", 1, _lower, deterministic=True)
        record.info["file"] = _identity(file)

    @sa.event.listens_for(engine, "checkout")
    def _same_file(connection: Any, record: Any, proxy: Any) -> None:
        # After a damaged file was moved aside, connections to it must not be used any more.
        if record.info.get("file") != _identity(file):
            raise DisconnectionError

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def sqlite_contains(column: ColumnElement[str], value: str) -> ColumnElement[bool]:
    """Case-insensitive search by the lower-case forms of Unicode; SQLite's own function knows only A-Z."""
    return sa.func.instr(sa.func.unicode_lower(column), value.lower()) > 0


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _unusable(why: str) -> Invalid:
    return Invalid(
        f"The address of the read side cannot be used: {why}.", error="invalid_database_url",
        remediation=[Remedy("Give a postgresql:// URL, or none for SQLite in the data folder.", "set_database_url")],
    )
