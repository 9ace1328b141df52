"""Indexes for finding a text anywhere inside another: three-letter pieces, as each database keeps them.

SQLite has FTS5 with its trigram tokenizer, PostgreSQL the extension pg_trgm; a build or a server without it answers the
same by looking at every row. What an index finds is looked at once more with the exact rule, so that both databases
give the same rows. SQLite's is a table of its own that triggers keep: it stays with its table when that is renamed.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ColumnElement

from adapters.sql.collating import best_collation
from adapters.sql.schema import Stored

PIECE: Final = 3
"""Characters of a piece: a shorter text is in no index."""

FEW: Final = 500
"""Up to so many rows are taken one by one and put in order. Of more, the first page is found sooner by walking in order
and passing over what the index does not name."""

MANY: Final = 20_000
"""With more than so many the first page is near, and the index is not asked for all of them."""

TRIGRAMS: Final = sqlite3.sqlite_version_info >= (3, 34)

log = structlog.get_logger("read models")


def make(connection: sa.Connection, place: Stored, generation: int) -> None:
    """Makes and fills the indexes of a table's searched columns, as far as the database can."""
    for number, column in enumerate(place.table.searches):
        name = _name(place, number, generation)
        if connection.dialect.name == "postgresql":
            _make_postgres(connection, place, column, name)
        elif TRIGRAMS and _fts5(connection):
            _make_sqlite(connection, place, column, name)


def drop(connection: sa.Connection, place: Stored, generation: int) -> None:
    """Drops what does not go with its table by itself."""
    if connection.dialect.name == "sqlite":
        for number in range(len(place.table.searches)):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {_name(place, number, generation)}")


def narrowed(
    connection: sa.Connection, place: Stored, column: str, value: str
) -> ColumnElement[bool] | None:
    """A condition that an index answers and that holds for every row whose column contains a text; nothing where there
    is no such index, or where it would not help."""
    if column not in place.table.searches or len(value) < PIECE:
        return None
    if connection.dialect.name == "postgresql":
        collation = best_collation(connection)
        pattern = value.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        lowered = sa.func.lower(sa.collate(place.at.c[column], collation))
        return lowered.like(sa.func.lower(sa.collate(sa.literal(f"%{pattern}%", sa.Text()), collation)))
    return _sqlite_rows(connection, place, place.table.searches.index(column), value.lower())


def _sqlite_rows(connection: sa.Connection, place: Stored, number: int, value: str) -> ColumnElement[bool] | None:
    if len(value) < PIECE:
        return None
    table = place.table.name
    made = connection.exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? AND name GLOB ?",
        (table, f"sx_{table}_{number}_g*_added"),
    ).scalar()
    if made is None:
        return None
    index = str(made).removesuffix("_added")
    phrase = '"' + value.replace('"', '""') + '"'
    count = connection.exec_driver_sql(
        f"SELECT count(*) FROM (SELECT rowid FROM {index} WHERE {index} MATCH ? LIMIT {MANY + 1})", (phrase,)
    ).scalar_one()
    if count > MANY:
        return None
    # A plus keeps SQLite from looking the rows up one by one.
    walked = "+" if count > FEW else ""
    at: ColumnElement[Any] = sa.literal_column(
        f"{walked}{connection.dialect.identifier_preparer.quote(place.at.name)}.rowid"
    )
    return at.in_(sa.text(f"SELECT rowid FROM {index} WHERE {index} MATCH :phrase").bindparams(phrase=phrase))


def _make_sqlite(connection: sa.Connection, place: Stored, column: str, name: str) -> None:
    quote = connection.dialect.identifier_preparer.quote
    table, text = quote(place.at.name), quote(column)
    gone = f"INSERT INTO {name} ({name}, rowid, text) VALUES ('delete', old.rowid, unicode_lower(old.{text}));"
    come = f"INSERT INTO {name} (rowid, text) VALUES (new.rowid, unicode_lower(new.{text}));"
    for statement in (
        f"CREATE VIRTUAL TABLE {name} USING fts5 "
        "(text, content = '', columnsize = 0, tokenize = 'trigram case_sensitive 1')",
        f"INSERT INTO {name} (rowid, text) SELECT rowid, unicode_lower({text}) FROM {table}",
        f"CREATE TRIGGER {name}_added AFTER INSERT ON {table} BEGIN {come} END",
        f"CREATE TRIGGER {name}_gone AFTER DELETE ON {table} BEGIN {gone} END",
        f"CREATE TRIGGER {name}_set AFTER UPDATE OF {text} ON {table} WHEN old.{text} IS NOT new.{text} "
        f"BEGIN {gone} {come} END",
    ):
        connection.exec_driver_sql(statement)


def _fts5(connection: sa.Connection) -> bool:
    asked = "SELECT 1 FROM pragma_compile_options WHERE compile_options = 'ENABLE_FTS5'"
    return connection.exec_driver_sql(asked).first() is not None


def _make_postgres(connection: sa.Connection, place: Stored, column: str, name: str) -> None:
    quote = connection.dialect.identifier_preparer.quote
    lowered = f"lower({quote(column)} COLLATE {quote(best_collation(connection))})"
    try:
        with connection.begin_nested():
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            connection.exec_driver_sql(
                f"CREATE INDEX {name} ON {quote(place.at.name)} USING gin (({lowered}) gin_trgm_ops)"
            )
    except DBAPIError as error:  # not installed, or not ours to install: searching looks at every row then
        log.info("no index for searching", table=place.table.name, column=column, reason=str(error.orig)[:200])


def _name(place: Stored, number: int, generation: int) -> str:
    return f"sx_{place.table.name}_{number}_g{generation}"
