"""Tables of read models, the changes that projections make to them, and how views read them. No SQL dialect here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol

Kind = Literal["text", "int", "bool", "json"]
"""What a column holds. ``int`` is 64 bit; ``json`` is stored as canonical JSON text (sorted keys), so digests agree."""

OPEN: Final = 2**63 - 1
"""``valid_to`` of a row that still holds."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a projection.

    ``temporal`` tables get ``valid_from`` and ``valid_to`` (positions, from inclusive, to exclusive; part of every
    row); ``key`` then names what a row is about, and (key, valid_from) is unique. ``indexes`` are tuples of columns.
    Columns are not null unless named in ``nullable``. ``searches`` are text columns in which ``contains`` is
    answered by an index, where the database has one for that; what is found is the same without.
    """

    name: str
    columns: Mapping[str, Kind]
    key: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...] = ()
    nullable: frozenset[str] = frozenset()
    temporal: bool = False
    searches: tuple[str, ...] = ()


class Put(NamedTuple):
    """Writes a whole row, replacing the one with the same key."""

    table: str
    row: Mapping[str, Any]


class Patch(NamedTuple):
    """Sets some columns of the row with that key; nothing happens when there is none."""

    table: str
    key: Mapping[str, Any]
    values: Mapping[str, Any]


class Add(NamedTuple):
    """Adds to integer columns of the row with that key and sets others; a missing row counts from zero.

    ``first`` sets columns only when the row is made by it (when something was first seen, say).
    Every column of the table must be named by ``key``, ``amounts``, ``values`` or ``first``.
    """

    table: str
    key: Mapping[str, Any]
    amounts: Mapping[str, int]
    values: Mapping[str, Any] = {}
    first: Mapping[str, Any] = {}


class Drop(NamedTuple):
    """Deletes the rows that match; ``match`` may name any of the table's leading key columns."""

    table: str
    match: Mapping[str, Any]


class Supersede(NamedTuple):
    """In a temporal table: closes the open row of that key at the event's position and opens a new one.

    ``values`` of ``None`` only closes.
    """

    table: str
    key: Mapping[str, Any]
    values: Mapping[str, Any] | None


Change = Put | Patch | Add | Drop | Supersede

PAGE_LIMIT: Final = 500
"""Most rows of one page."""

Row = dict[str, Any]
"""A row: column -> value, JSON columns parsed, booleans as booleans."""


class Where(NamedTuple):
    """One condition. ``contains`` is case-insensitive text search in a text column; ``in`` takes a sequence."""

    column: str
    op: Literal["=", "!=", "<", "<=", ">", ">=", "in", "prefix", "contains"]
    value: Any


class Has(NamedTuple):
    """There is a row in another table: ``on`` maps its columns to the outer table's columns, ``where`` narrows it."""

    table: str
    on: Mapping[str, str]
    where: tuple[Where, ...]


class Reader(Protocol):
    """The reading side of the read models. All calls of one reader see one consistent state of the tables."""

    def row(self, table: str, /, **key: Any) -> Row | None:
        """The row with exactly these column values, or nothing."""
        ...

    def rows(
        self, table: str, /, *where: Where | Has, order: Sequence[str] = (), limit: int = PAGE_LIMIT,
        after: Sequence[Any] = (),
    ) -> list[Row]:
        """Rows in ``order`` (column names, ``-column`` for descending), at most ``limit``.

        ``after`` holds the values of the order columns of the last row already seen; ``order`` must then name a unique
        combination.
        """
        ...

    def columns(
        self, table: str, names: Sequence[str], /, *where: Where | Has, order: Sequence[str] = (),
        limit: int = PAGE_LIMIT, after: Sequence[Any] = (), raw: bool = False,
    ) -> list[Sequence[Any]]:
        """What ``rows`` finds, column by column: the quick way to read many rows of which few columns are needed.

        ``raw``: JSON as canonical text (sorted keys), for what is only handed on.
        """
        ...

    def walk(
        self, table: str, source: str, target: str, /, start: Sequence[Any], *where: Where, limit: int
    ) -> list[tuple[Any, Any]]:
        """The pairs ``(source, target)`` of rows that are reached from ``start`` step by step, each once, ``limit`` at
        most: a row leads from what is in its ``source`` column to what is in its ``target`` column. Circles end."""
        ...

    def count(self, table: str, /, *where: Where | Has) -> int:
        """How many rows match."""
        ...

    def position(self, projection: str) -> int:
        """Position up to which a projection has counted."""
        ...
