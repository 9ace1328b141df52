"""Declared tables as tables of a database: plain names for the live ones, a suffix for those being rebuilt.

People open the database with other tools, so a live table bears the name it was declared with. Names of indexes and
primary keys are one namespace per database (SQLite) or schema (PostgreSQL) and survive the renaming of their table, so
they carry the generation.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from domain.errors import Invalid
from domain.tables import OPEN, Kind, Table

NAME_LIMIT: Final = 40
"""Longest name of a table; PostgreSQL cuts names at 63 and ours get suffixes."""

STRICT: Final = sqlite3.sqlite_version_info >= (3, 37)
"""Whether SQLite can be told to refuse values of the wrong type (a sum beyond 64 bit would turn into a float)."""

_TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
# SQLite compares text by its bytes anyway; PostgreSQL does with the collation "C". Cursors depend on the order.
_INTEGER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BOOLEAN: Final = sa.Boolean().with_variant(sa.Integer(), "sqlite")

_TYPES: Final[dict[Kind, TypeEngine[Any]]] = {"text": _TEXT, "int": _INTEGER, "bool": _BOOLEAN, "json": _TEXT}

CHECKPOINTS: Final = sa.Table(
    "projection_checkpoints",
    sa.MetaData(),
    sa.Column("name", _TEXT, primary_key=True),
    sa.Column("generation", _INTEGER, primary_key=True),
    sa.Column("live", _INTEGER, nullable=False),
    sa.Column("version", _INTEGER, nullable=False),
    sa.Column("position", _INTEGER, nullable=False),
    sa.Column("status", _TEXT, nullable=False),
    sa.Column("failed_position", _INTEGER, nullable=False),
    sa.Column("error", _TEXT, nullable=False),
    sa.Column("generations", _INTEGER, nullable=False),
    sa.Column("indexed", _INTEGER, nullable=False),
    sa.Column("shape_digest", _TEXT, nullable=False),
    sa.Column("shape", _TEXT, nullable=False),
)
"""One row for the live tables of each projection (``live`` 1), one more while it is rebuilt (``live`` 0).

``generations`` is the highest generation given out (on the live row); ``indexed`` says whether the secondary indexes
stand; ``shape`` holds the declared tables, so that a release that declares others can still read and drop these.
"""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Stored:
    """A declared table where it lies: ``at`` is it in the database."""

    table: Table
    at: sa.Table
    columns: tuple[str, ...]


def stored_columns(table: Table) -> tuple[str, ...]:
    """Every column, in the order in which rows are written."""
    return (*table.columns, "valid_from", "valid_to") if table.temporal else tuple(table.columns)


def stored_key(table: Table) -> tuple[str, ...]:
    """The columns of the primary key."""
    return (*table.key, "valid_from") if table.temporal else table.key


@lru_cache(maxsize=1024)
def stored(shape: str, name: str, generation: int, live: bool) -> Stored:
    """The table of that name in a shape; ``KeyError`` when the shape has none."""
    table = tables_of(shape)[name]
    columns = stored_columns(table)
    key = stored_key(table)
    at = sa.Table(
        name if live else rebuilt_name(name, generation),
        sa.MetaData(),
        *[
            sa.Column(column, _TYPES[_kind(table, column)], nullable=column in table.nullable, key=column)
            for column in columns
        ],
        sa.PrimaryKeyConstraint(*key, name=f"pk_{name}_g{generation}"),
        # Without rowids SQLite keeps whole rows inside the key's tree: good for narrow rows, ten times slower to read
        # by a secondary index when a JSON column makes them wide.
        sqlite_with_rowid="json" in table.columns.values(),
        sqlite_strict=STRICT,
    )
    return Stored(table, at, columns)


def rebuilt_name(name: str, generation: int) -> str:
    """What a table is called while it is rebuilt."""
    return f"{name}__g{generation}"


def indexes(place: Stored, generation: int) -> list[sa.Index]:
    """What readers need: the declared ones, and the open rows of a temporal table by key.

    Writing needs none of them, so that rebuilt tables are filled without and get them when they are full.
    """
    table, at = place.table, place.at
    made = [
        sa.Index(f"ix_{table.name}_{number}_g{generation}", *[at.c[column] for column in columns])
        for number, columns in enumerate(table.indexes)
    ]
    if table.temporal:
        only_open = sa.literal_column("valid_to") == sa.literal_column(str(OPEN))
        made.append(
            sa.Index(
                f"ux_{table.name}_open_g{generation}", *[at.c[column] for column in table.key],
                unique=True, sqlite_where=only_open, postgresql_where=only_open,
            )
        )
    return made


def shape_of(tables: Sequence[Table]) -> str:
    """Declared tables as canonical JSON; raises ``Invalid`` for a declaration that no database could hold."""
    for table in tables:
        _check(table)
    shape = {
        table.name: {
            "columns": list(map(list, table.columns.items())), "key": table.key, "indexes": table.indexes,
            "nullable": sorted(table.nullable), "temporal": table.temporal,
            # Left out where there are none: the shape of every other table is what it was.
            **({"searches": table.searches} if table.searches else {}),
        }
        for table in tables
    }
    return orjson.dumps(shape, option=orjson.OPT_SORT_KEYS).decode()


@lru_cache(maxsize=256)
def tables_of(shape: str) -> dict[str, Table]:
    """The declared tables that a shape describes."""
    return {
        name: Table(
            name=name, columns=dict(map(tuple, one["columns"])), key=tuple(one["key"]),
            indexes=tuple(map(tuple, one["indexes"])), nullable=frozenset(one["nullable"]), temporal=one["temporal"],
            searches=tuple(one.get("searches", ())),
        )
        for name, one in orjson.loads(shape).items()
    }


def _kind(table: Table, column: str) -> Kind:
    return table.columns.get(column, "int")


def _check(table: Table) -> None:
    known = set(stored_columns(table))
    named = {*table.key, *table.nullable, *(column for index in table.indexes for column in index)}
    wrong = ""
    if not table.name.isidentifier() or not table.name.isascii() or len(table.name) > NAME_LIMIT or "__" in table.name:
        wrong = f"its name must be an identifier of at most {NAME_LIMIT} characters without '__'"
    elif table.name == CHECKPOINTS.name:
        wrong = "that name is taken"
    elif not table.key or not named <= known:
        wrong = f"key, nullable and indexes name unknown columns {sorted(named - known)}, or there is no key"
    elif any(table.columns.get(column) == "json" for column in table.key):
        wrong = "a key cannot hold JSON"
    elif set(table.key) & table.nullable:
        wrong = "a key cannot be null"
    elif table.searches and (table.temporal or "json" not in table.columns.values()
                             or any(table.columns.get(column) != "text" for column in table.searches)):
        wrong = "only text columns are searched, of a table without time that has a JSON column"
    elif table.temporal and {"valid_from", "valid_to"} & {*table.columns}:
        wrong = "valid_from and valid_to are added to a temporal table, not declared"
    if wrong:
        raise Invalid(f"Table {table.name!r} cannot be made: {wrong}.", error="unfit_table")
