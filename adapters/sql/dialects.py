"""The texts of statements that take many rows, for each database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

import orjson
import sqlalchemy as sa

from adapters.sql.schema import Stored, stored_key
from adapters.sql.values import kind_of
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
