"""Transactions: one consistent state for a reader, one writer at a time, turns for those who make and swap tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from adapters.sql.catalogue import Shapes, Standing, standings_live
from adapters.sql.connecting import connected, sqlite_file
from adapters.sql.damage import damaged, moved_aside
from adapters.sql.failures import DAMAGED, MISSING, explained, told
from adapters.sql.postgres import share_lock, turn
from adapters.sql.schema import CHECKPOINTS, Stored
from domain.errors import Remedy, Unavailable

TRIES: Final = 50
"""How often a reader starts over when tables come and go; each time needs another swap in the same instant."""


class Snapshot(NamedTuple):
    """One state of the database: what stands, and the live tables by their declared name."""

    connection: sa.Connection
    standings: list[Standing]
    tables: Mapping[str, Stored]


class Sessions:
    """The engine of one database and the ways in which it is used."""

    def __init__(self, url: str) -> None:
        self.engine = connected(url)
        self.postgres = self.engine.dialect.name == "postgresql"
        self.shapes = Shapes()
        # SQLite has one writer at a time; within a process a lock is fairer than its polling.
        self._writer = Lock()

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """A transaction that sees one state of all live tables."""
        with self._connection(readonly=True) as connection:
            with self._told():
                snapshot = self._locked(connection) if self.postgres else self._seen(connection)
            yield snapshot

    @contextmanager
    def glancing(self, *, consistent: bool = False) -> Iterator[sa.Connection]:
        """A transaction that looks at checkpoints, or, if ``consistent``, at one state of any tables."""
        with self._told(), self._connection(readonly=consistent) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that changes rows; nothing of it remains when it fails."""
        if self.postgres:
            with self._told(), self._connection() as connection, connection.begin():
                # What a crash of the server may take is whole transactions with their checkpoints: counted again.
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                yield connection
        else:
            with self._told(), self._writer, self._connection() as connection:
                connection.execution_options(writing=True)
                with connection.begin():
                    yield connection

    @contextmanager
    def making(self) -> Iterator[sa.Connection]:
        """A transaction that makes, swaps or drops tables; one at a time."""
        with self.writing() as connection:
            if self.postgres:
                turn(connection)
            CHECKPOINTS.create(connection, checkfirst=True)
            yield connection

    def mend(self) -> str | None:
        """See ``domain.ports.ReadModels.mend``."""
        file = sqlite_file(self.engine)
        if file is None:
            return None
        with self._told(), self._writer:
            self.engine.dispose()
            self.shapes.forget()
            return str(moved_aside(file)) if damaged(file) else None

    def _seen(self, connection: sa.Connection) -> Snapshot:
        connection.begin()
        found = _live(connection)
        return Snapshot(connection, found, self.shapes.live(connection, found))

    def _locked(self, connection: sa.Connection) -> Snapshot:
        """Locks first, then the snapshot: a table cannot be swapped between the two."""
        for _ in range(TRIES):
            known = self.shapes.names()
            connection.begin()
            try:
                share_lock(connection, known)
            except DBAPIError as error:
                if explained(error).code != MISSING:
                    raise
                # Tables have gone since: look again at what stands.
                connection.rollback()
                self.shapes.forget()
                continue
            found = _live(connection)
            tables = self.shapes.live(connection, found)
            if tables.keys() <= set(known):
                return Snapshot(connection, found, tables)
            connection.rollback()
        raise Unavailable(
            "The read models are being swapped.", error="read_side_busy",
            remediation=[Remedy("Try again in a moment.", "retry")],
        )

    @contextmanager
    def _connection(self, readonly: bool = False) -> Iterator[sa.Connection]:
        with self._told():
            connection = self.engine.connect()
        try:
            if readonly and self.postgres:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            with told():
                yield
        except Unavailable as error:
            if error.code == DAMAGED:
                # Connections to a damaged file must not outlive its being moved aside.
                self.engine.dispose()
            raise


def _live(connection: sa.Connection) -> list[Standing]:
    """What is live; nothing in a database in which nothing was made yet."""
    try:
        return standings_live(connection)
    except DBAPIError as error:
        if explained(error).code != MISSING:
            raise
        connection.rollback()
        connection.begin()
        return []
