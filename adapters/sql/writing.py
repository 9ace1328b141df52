"""Gathered changes as statements: many rows per statement on both databases.

SQLite takes prepared statements with many rows; PostgreSQL takes all rows of a statement as one JSON parameter that it
unpacks itself. The texts are written here rather than composed row by row, and kept with their table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from adapters.sql.dialects import Dialect, Rows
from adapters.sql.gathering import tuple_of
from adapters.sql.pending_lines import PendingLines
from adapters.sql.pending_rows import Changed, Gone, PendingRows, Summed, Whole
from adapters.sql.schema import Stored
from adapters.sql.values import storable_rows, unstorable


def write(connection: sa.Connection, dialect: Dialect, place: Stored, changes: PendingRows | PendingLines) -> None:
    """Writes what was gathered for a table: drops of several rows first, then every key once."""
    writer = _Writer(connection, dialect, place)
    by_length: dict[int, Rows] = defaultdict(list)
    for prefix in changes.dropped.prefixes:
        by_length[len(prefix)].append(prefix)
    for length, prefixes in sorted(by_length.items()):
        writer.delete(place.table.key[:length], prefixes)
    if isinstance(changes, PendingLines):
        _write_lines(writer, changes)
    else:
        _write_rows(writer, changes)


def _write_rows(writer: _Writer, changes: PendingRows) -> None:
    whole: list[Any] = []
    gone: Rows = []
    missing: list[Any] = []
    sums: dict[tuple[frozenset[str], frozenset[str]], list[Any]] = defaultdict(list)
    updates: dict[tuple[tuple[str, ...], tuple[str, ...]], Rows] = defaultdict(list)
    for key, operation in changes.live_operations():
        match operation:
            case Whole(row=row):
                whole.append(row)
            case Gone():
                gone.append(key)
            case Summed():
                sums[frozenset(operation.amounts), frozenset(operation.first)].append(operation.row())
            case Changed():
                if operation.set or operation.added:
                    columns = tuple(operation.set), tuple(operation.added)
                    values = (*operation.set.values(), *operation.added.values(), *key)
                    updates[columns].append(values)
                if operation.insert is not None:
                    missing.append(operation.insert)
    writer.delete(changes.table.key, gone)
    for (set_, added), rows in updates.items():
        writer.update(set_, added, rows)
    writer.upsert(frozenset(), frozenset(), whole)
    for (added_, kept), given in sums.items():
        writer.upsert(added_, kept, given)
    writer.insert_missing(missing)


def _write_lines(writer: _Writer, changes: PendingLines) -> None:
    table = changes.table
    lines = list(changes.live_lines())
    # The keys are looked at once for both statements.
    keys = storable_rows(table, table.key, [key for key, _ in lines])
    others = [column for column in table.columns if column not in table.key]
    closes: Rows = []
    places: list[tuple[Any, int, int]] = []
    values: list[Any] = []
    for key, (_, line) in zip(keys, lines, strict=True):
        if line[1] is not None:
            closes.append((line[1], *key))
        for at in range(2, len(line), 3):
            places.append((key, line[at], line[at + 1]))
            values.append(line[at + 2])
    writer.close(closes)
    stored_values = storable_rows(table, others, list(map(tuple_of(others), values)))
    writer.insert_lines(
        (*table.key, *others, "valid_from", "valid_to"),
        [(*key, *value, begins, ends) for (key, begins, ends), value in zip(places, stored_values, strict=True)],
    )


class _Writer:
    """Statements for one table on one connection."""

    def __init__(self, connection: sa.Connection, dialect: Dialect, place: Stored) -> None:
        self._connection = connection
        self._dialect = dialect
        self._place = place
        self._row_of = tuple_of(place.columns)

    def upsert(self, added: frozenset[str], kept: frozenset[str], rows: list[Any]) -> None:
        """Columns of a row that is there are set, or ``added`` to, or ``kept`` as they are."""
        if rows:
            self._run(("upsert", added, kept), lambda: self._dialect.upsert(self._place, added, kept),
                      self._place.columns, self._tuples(rows))

    def insert_missing(self, rows: list[Any]) -> None:
        if rows:
            self._run(("missing",), lambda: self._dialect.insert_missing(self._place), self._place.columns,
                      self._tuples(rows))

    def update(self, set_: tuple[str, ...], added: tuple[str, ...], rows: Rows) -> None:
        columns = (*set_, *added, *self._place.table.key)
        self._run(("update", set_, added), lambda: self._dialect.update(self._place, set_, added), columns, rows)

    def close(self, rows: Rows) -> None:
        columns = ("valid_to", *self._place.table.key)
        self._run(("close",), lambda: self._dialect.close(self._place), columns, rows, ready=True)

    def insert_lines(self, columns: tuple[str, ...], rows: Rows) -> None:
        self._run(("lines",), lambda: self._dialect.insert(self._place, columns), columns, rows, ready=True)

    def delete(self, columns: tuple[str, ...], rows: Rows) -> None:
        if rows:
            self._run(("delete", columns), lambda: self._dialect.delete(self._place, columns), columns, rows)

    def _tuples(self, rows: list[Any]) -> Rows:
        try:
            return list(map(self._row_of, rows))
        except KeyError as error:
            raise unstorable(self._place.table, str(error.args[0]), "a row does not name it") from None

    def _run(
        self, name: tuple[Any, ...], text: Callable[[], str], columns: Sequence[str], rows: Rows, *, ready: bool = False
    ) -> None:
        if not rows:
            return
        statements = self._dialect.statements.setdefault(self._place, {})
        statement = statements.get(name)
        if statement is None:
            statement = statements[name] = text()
        given = rows if ready else storable_rows(self._place.table, columns, rows)
        self._dialect.run(self._connection, statement, columns, given)
