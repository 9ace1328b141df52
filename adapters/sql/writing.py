"""Gathered changes as statements: many rows per statement on both databases.

SQLite takes prepared statements with many rows; PostgreSQL takes all rows of a statement as one JSON parameter that it
unpacks itself. The texts are written here rather than composed row by row, and kept with their table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

import orjson
import sqlalchemy as sa

from adapters.sql.pending import Changed, Gone, PendingLines, PendingRows, Summed, Whole, tuple_of
from adapters.sql.schema import Stored, stored_key
from adapters.sql.values import kind_of, storable_rows, unstorable
from domain.tables import OPEN

Rows = list[tuple[Any, ...]]

CHUNK: Final = 5000
"""Rows of one statement on PostgreSQL."""


class Dialect(Protocol):
    """How one database takes many rows of one statement.

    ``source(columns)`` are the columns of the rows that are given; the other words say what to do with them.
    """

    statements: WeakKeyDictionary[Stored, dict[Any, str]]
    """Texts already made, kept as long as their table is."""

    def upsert(self, place: Stored, added: frozenset[str], kept: frozenset[str]) -> str: ...

    def insert(self, place: Stored, columns: Sequence[str]) -> str: ...

    def insert_missing(self, place: Stored) -> str: ...

    def update(self, place: Stored, set_: Sequence[str], added: Sequence[str]) -> str: ...

    def close(self, place: Stored) -> str: ...

    def delete(self, place: Stored, columns: Sequence[str]) -> str: ...

    def run(self, connection: sa.Connection, text: str, columns: Sequence[str], rows: Rows) -> None: ...


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


class _Quoting:
    """Names as a dialect quotes them."""

    def __init__(self, engine: sa.Engine) -> None:
        self._quote = engine.dialect.identifier_preparer.quote
        self.statements: WeakKeyDictionary[Stored, dict[Any, str]] = WeakKeyDictionary()

    def names(self, columns: Iterable[str]) -> list[str]:
        return [self._quote(column) for column in columns]

    def on_conflict(self, place: Stored, added: frozenset[str], kept: frozenset[str]) -> str:
        """What an upsert does with a row that is there."""
        key = stored_key(place.table)
        rest = [column for column in place.columns if column not in key and column not in kept]
        target = ", ".join(self.names(key))
        if not rest:
            return f"ON CONFLICT ({target}) DO NOTHING"
        sets = []
        for column in rest:
            name = self._quote(column)
            given = f"excluded.{name}"
            sets.append(f"{name} = {self._sum(place, column, given) if column in added else given}")
        return f"ON CONFLICT ({target}) DO UPDATE SET {', '.join(sets)}"

    def _sum(self, place: Stored, column: str, given: str) -> str:
        standing = f"{self._table(place)}.{self._quote(column)}"
        return f"coalesce({standing}, 0) + {given}" if column in place.table.nullable else f"{standing} + {given}"

    def _table(self, place: Stored) -> str:
        return self._quote(place.at.name)


class SqliteDialect(_Quoting):
    """Prepared statements, executed once per row without leaving the driver."""

    def upsert(self, place: Stored, added: frozenset[str], kept: frozenset[str]) -> str:
        return f"{self.insert(place, place.columns)} {self.on_conflict(place, added, kept)}"

    def insert_missing(self, place: Stored) -> str:
        return f"{self.insert(place, place.columns)} ON CONFLICT DO NOTHING"

    def update(self, place: Stored, set_: Sequence[str], added: Sequence[str]) -> str:
        sets = [f"{name} = ?" for name in self.names(set_)]
        sets += [f"{self._quote(column)} = {self._sum(place, column, '?')}" for column in added]
        return f"UPDATE {self._table(place)} SET {', '.join(sets)} WHERE {self._matching(place.table.key)}"

    def close(self, place: Stored) -> str:
        # The open row is the newest: found by the primary key, so that a rebuild needs no other index.
        table, numbers = self._table(place), range(2, len(place.table.key) + 2)
        matching = " AND ".join(
            f"{name} = ?{number}" for name, number in zip(self.names(place.table.key), numbers, strict=True)
        )
        return (
            f"UPDATE {table} SET valid_to = ?1 WHERE {matching} AND valid_to = {OPEN} "
            f"AND valid_from = (SELECT max(valid_from) FROM {table} WHERE {matching})"
        )

    def delete(self, place: Stored, columns: Sequence[str]) -> str:
        return f"DELETE FROM {self._table(place)} WHERE {self._matching(columns) or 'true'}"

    def run(self, connection: sa.Connection, text: str, columns: Sequence[str], rows: Rows) -> None:
        connection.exec_driver_sql(text, rows if columns else ())

    def insert(self, place: Stored, columns: Sequence[str]) -> str:
        marks = ", ".join("?" * len(columns))
        return f"INSERT INTO {self._table(place)} ({', '.join(self.names(columns))}) VALUES ({marks})"

    def _matching(self, columns: Sequence[str]) -> str:
        return " AND ".join(f"{name} = ?" for name in self.names(columns))


class PostgresDialect(_Quoting):
    """All rows of a statement as one JSON parameter: no temporary tables, one round trip, parsed by the server."""

    _TYPES: Final = {"text": "text", "json": "text", "int": "bigint", "bool": "boolean"}

    def upsert(self, place: Stored, added: frozenset[str], kept: frozenset[str]) -> str:
        return f"{self.insert(place, place.columns)} {self.on_conflict(place, added, kept)}"

    def insert_missing(self, place: Stored) -> str:
        return f"{self.insert(place, place.columns)} ON CONFLICT DO NOTHING"

    def update(self, place: Stored, set_: Sequence[str], added: Sequence[str]) -> str:
        columns = (*set_, *added, *place.table.key)
        sets = [f"{self._quote(column)} = s.c{number}" for number, column in enumerate(set_)]
        sets += [
            f"{self._quote(column)} = {self._sum(place, column, f's.c{number}')}"
            for number, column in enumerate(added, len(set_))
        ]
        matching = self._matching(place, place.table.key, len(set_) + len(added))
        return f"UPDATE {self._table(place)} SET {', '.join(sets)} FROM {self._source(place, columns)} WHERE {matching}"

    def close(self, place: Stored) -> str:
        columns = ("valid_to", *place.table.key)
        table = self._table(place)
        newest = " AND ".join(f"n.{name} = s.c{number}" for number, name in enumerate(self.names(place.table.key), 1))
        return (
            f"UPDATE {table} SET valid_to = s.c0 FROM {self._source(place, columns)} "
            f"WHERE {self._matching(place, place.table.key, 1)} AND {table}.valid_to = {OPEN} "
            f"AND {table}.valid_from = (SELECT max(n.valid_from) FROM {table} AS n WHERE {newest})"
        )

    def delete(self, place: Stored, columns: Sequence[str]) -> str:
        if not columns:
            return f"DELETE FROM {self._table(place)}"
        return (
            f"DELETE FROM {self._table(place)} USING {self._source(place, columns)} "
            f"WHERE {self._matching(place, columns, 0)}"
        )

    def run(self, connection: sa.Connection, text: str, columns: Sequence[str], rows: Rows) -> None:
        if not columns:
            connection.exec_driver_sql(text)
            return
        names = [f"c{number}" for number in range(len(columns))]
        remaining = iter(rows)
        while chunk := list(islice(remaining, CHUNK)):
            records = orjson.dumps([dict(zip(names, row, strict=True)) for row in chunk]).decode()
            connection.exec_driver_sql(text, (records,))

    def insert(self, place: Stored, columns: Sequence[str]) -> str:
        into = ", ".join(self.names(columns))
        given = ", ".join(f"s.c{number}" for number in range(len(columns)))
        return f"INSERT INTO {self._table(place)} ({into}) SELECT {given} FROM {self._source(place, columns)}"

    def _source(self, place: Stored, columns: Sequence[str]) -> str:
        described = ", ".join(
            f"c{number} {self._TYPES[kind_of(place.table, column)]}" for number, column in enumerate(columns)
        )
        return f"json_to_recordset(CAST(%s AS json)) AS s({described})"

    def _matching(self, place: Stored, columns: Sequence[str], first: int) -> str:
        table = self._table(place)
        return " AND ".join(f"{table}.{name} = s.c{number}" for number, name in enumerate(self.names(columns), first))
