"""Read models in SQLite or PostgreSQL: tables, the checkpoint of each projection beside them, and rebuilding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from adapters.sql import rebuilding
from adapters.sql.catalogue import C, Standing, move, standings, standings_live, standings_named
from adapters.sql.connecting import sqlite_contains
from adapters.sql.dialects import Dialect, PostgresDialect, SqliteDialect
from adapters.sql.digests import digest
from adapters.sql.failures import MISSING, explained, missing
from adapters.sql.pending_lines import PendingLines
from adapters.sql.pending_rows import PendingRows
from adapters.sql.postgres import containing, patiently
from adapters.sql.reader import Containing, SqlReader
from adapters.sql.schema import CHECKPOINTS, Stored, shape_of, stored, tables_of
from adapters.sql.sessions import Sessions
from adapters.sql.values import escaped
from adapters.sql.writing import write
from domain.errors import Invalid, Remedy, Unavailable
from domain.ports import Checkpoint, Fingerprint, Overtaken, Progress
from domain.tables import Reader, Table

Gathered = dict[str, PendingRows | PendingLines]

ERROR_LIMIT = 4000
"""Characters of a reason for stopping that are kept."""


class SqlReadModels:
    """``domain.ports.ReadModels`` for ``sqlite:///file`` and ``postgresql://…``; opened when it is first used."""

    def __init__(self, url: str) -> None:
        self._sessions = Sessions(url)
        engine = self._sessions.engine
        self._dialect: Dialect = PostgresDialect(engine) if self._sessions.postgres else SqliteDialect(engine)
        self._contains: Containing | None = None if self._sessions.postgres else sqlite_contains

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        with self._sessions.reading() as (connection, found, tables):
            if self._contains is None:
                self._contains = containing(connection)

            def find(name: str) -> Stored:
                if name not in tables:
                    raise missing()
                return tables[name]

            yield SqlReader(connection, find, {one.name: one.position for one in found}, self._contains)

    def checkpoints(self) -> Mapping[str, Checkpoint]:
        return self._checkpoints(live=1)

    def rebuilds(self) -> Mapping[str, Checkpoint]:
        return self._checkpoints(live=0)

    def create(self, projection: str, version: int, tables: Sequence[Table]) -> Checkpoint:
        shape = shape_of(tables)
        with self._sessions.making() as connection:
            return rebuilding.create(connection, projection, version, shape)

    def advance(self, steps: Sequence[Progress]) -> None:
        seen = self._sessions.shapes.seen
        guesses = [seen.get((step.projection, step.generation)) for step in steps]
        # Gathered before the transaction begins, so that nobody waits for that.
        gathered = [_gathered(step, guess) if guess else {} for step, guess in zip(steps, guesses, strict=True)]
        with self._sessions.writing() as connection:
            found = self._standings_for(connection, steps)
            for step, guess, guessed in zip(steps, guesses, gathered, strict=True):
                standing = found[step.projection, step.generation]
                shape = self._sessions.shapes.of(connection, standing)
                for name, changes in (guessed if guess == shape else _gathered(step, shape)).items():
                    write(connection, self._dialect, stored(shape, name, standing.generation, standing.live), changes)
            move(connection, steps)

    def stop(self, projection: str, failed_position: int, error: str) -> None:
        self._mark(projection, "stopped", failed_position, error[:ERROR_LIMIT])

    def resume(self, projection: str) -> None:
        self._mark(projection, "live", 0, "")

    def begin_rebuild(self, projection: str, version: int, tables: Sequence[Table]) -> int:
        shape = shape_of(tables)
        with self._sessions.making() as connection:
            return rebuilding.begin(connection, self._sessions.shapes, projection, version, shape)

    def swap(self, projection: str, generation: int, *, beyond: bool = False) -> bool:
        with _known(projection), self._sessions.writing() as connection:
            rebuilding.finish_indexes(connection, self._sessions.shapes, projection, generation)
        return patiently(self._sessions.postgres, lambda: self._swap(projection, generation, beyond))

    def _swap(self, projection: str, generation: int, beyond: bool) -> bool:
        with self._sessions.making() as connection:
            if self._sessions.postgres:
                connection.exec_driver_sql("SET LOCAL lock_timeout = '250ms'")
            return rebuilding.swap(connection, self._sessions.shapes, projection, generation, beyond)

    def drop_rebuild(self, projection: str, generation: int) -> None:
        with self._sessions.making() as connection:
            mine = (C.name == projection, C.generation == generation, C.live == 0)
            for standing in standings(connection, *mine, lock=self._sessions.postgres):
                rebuilding.drop(connection, self._sessions.shapes, standing)

    def digests(self, projection: str, generation: int | None = None) -> Mapping[str, str]:
        return self.fingerprint(projection, generation).tables

    def fingerprint(self, projection: str, generation: int | None = None) -> Fingerprint:
        with _known(projection), self._sessions.glancing(consistent=True) as connection:
            which = C.live == 1 if generation is None else C.generation == generation
            found = standings(connection, C.name == projection, which)
            if not found:
                raise rebuilding.unknown(projection)
            (standing,) = found
            shape = self._sessions.shapes.of(connection, standing)
            tables = {
                name: digest(connection, stored(shape, name, standing.generation, standing.live))
                for name in sorted(tables_of(shape))
            }
            return Fingerprint(standing.version, standing.position, tables)

    def mend(self) -> str | None:
        return self._sessions.mend()

    def close(self) -> None:
        self._sessions.engine.dispose()

    def _checkpoints(self, *, live: int) -> dict[str, Checkpoint]:
        try:
            with self._sessions.glancing() as connection:
                found = standings_live(connection) if live else standings(connection, C.live == 0)
                return {one.name: one.checkpoint for one in found}
        except Unavailable as error:
            if error.code == MISSING:
                return {}
            raise

    def _standings_for(
        self, connection: sa.Connection, steps: Sequence[Progress]
    ) -> dict[tuple[str, int], Standing]:
        """The rows of the steps, held until the transaction ends; raises ``Overtaken``."""
        names = sorted({step.projection for step in steps})
        try:
            rows = standings_named(connection, names, lock=self._sessions.postgres)
        except DBAPIError as error:
            if explained(error).code == MISSING:
                raise Overtaken(names[0]) from None
            raise
        found = {(one.name, one.generation): one for one in rows}
        for step in steps:
            standing = found.get((step.projection, step.generation))
            if standing is None or standing.position != step.after or standing.status != "live":
                raise Overtaken(step.projection)
        return found

    def _mark(self, projection: str, status: str, failed_position: int, error: str) -> None:
        with _known(projection), self._sessions.writing() as connection:
            marked = connection.execute(
                sa.update(CHECKPOINTS).where(C.name == projection, C.live == 1)
                .values(status=status, failed_position=failed_position, error=escaped(error))
            )
            if not marked.rowcount:
                raise rebuilding.unknown(projection)


@contextmanager
def _known(projection: str) -> Iterator[None]:
    """In a database in which nothing was made yet, nothing is known."""
    try:
        yield
    except Unavailable as error:
        if error.code == MISSING:
            raise rebuilding.unknown(projection) from None
        raise


def _gathered(step: Progress, shape: str) -> Gathered:
    """A step's changes by table."""
    tables = tables_of(shape)
    gathered: Gathered = {}
    for position, change in step.changes:
        changes = gathered.get(change.table)
        if changes is None:
            table = tables.get(change.table)
            if table is None:
                raise Invalid(
                    f"Projection {step.projection} has no table {change.table}.", error="unfit_change",
                    remediation=[Remedy("Declare the table, or mend the change.", "resume_projection")],
                )
            changes = gathered[change.table] = PendingLines(table) if table.temporal else PendingRows(table)
        changes.add(position, change)
    return gathered
