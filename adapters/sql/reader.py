"""Reading the read models: conditions, order and pages, with the same answers on both databases.

Text is ordered by its code points. ``contains`` ignores case by the lower-case forms of Unicode; on a PostgreSQL older
than 17 that was built without ICU only A-Z have one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from adapters.sql import searching
from adapters.sql.failures import told
from adapters.sql.schema import Stored, stored_key
from adapters.sql.values import kind_of, read_column, storable
from domain.errors import Invalid, Remedy, Unavailable
from domain.tables import OPEN, PAGE_LIMIT, Has, Row, Where

Containing = Callable[[ColumnElement[str], str], ColumnElement[bool]]
"""Whether a text column contains a text, whatever the case."""

_HIGHEST: Final = 0x10FFFF

_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}


class SqlReader:
    """``domain.tables.Reader`` on one transaction. ``find`` gives a table by its declared name."""

    def __init__(
        self, connection: sa.Connection, find: Callable[[str], Stored], positions: Mapping[str, int],
        containing: Containing,
    ) -> None:
        self._connection = connection
        self._find = find
        self._positions = positions
        self._contains = containing

    def row(self, table: str, /, **key: Any) -> Row | None:
        found = self.rows(table, *[Where(column, "=", value) for column, value in key.items()], limit=1)
        return found[0] if found else None

    def rows(
        self, table: str, /, *where: Where | Has, order: Sequence[str] = (), limit: int = PAGE_LIMIT,
        after: Sequence[Any] = (),
    ) -> list[Row]:
        names = self._find(table).columns
        found = self.columns(table, names, *where, order=order, limit=limit, after=after)
        return [dict(zip(names, one, strict=True)) for one in zip(*found, strict=True)]

    def columns(
        self, table: str, names: Sequence[str], /, *where: Where | Has, order: Sequence[str] = (),
        limit: int = PAGE_LIMIT, after: Sequence[Any] = (), raw: bool = False,
    ) -> list[Sequence[Any]]:
        place = self._find(table)
        asked = sa.select(*[_column(place, name) for name in names])
        asked = asked.where(*self._conditions(place, where))
        ordered = [_ordered(place, one) for one in order or stored_key(place.table)]
        if after:
            asked = asked.where(_beyond(place, ordered, after))
        for column, descending, nullable in ordered:
            # Null counts as the smallest; said only where it can occur, since it keeps PostgreSQL from its index.
            term = column.desc() if descending else column.asc()
            if nullable:
                term = term.nulls_last() if descending else term.nulls_first()
            asked = asked.order_by(term)
        with told():
            # The driver's own tuples: SQLAlchemy's rows take as long to make as the rest of a large answer to read.
            result = self._connection.execute(asked.limit(limit))
            found = result.cursor.fetchall()
            result.close()
        stored = zip(*found, strict=True) if found else [()] * len(names)
        kinds = [kind_of(place.table, name) for name in names]
        return [
            values if raw and kind == "json" else read_column(kind, values)
            for kind, values in zip(kinds, stored, strict=True)
        ]

    def walk(
        self, table: str, source: str, target: str, /, start: Sequence[Any], *where: Where, limit: int
    ) -> list[tuple[Any, Any]]:
        place = self._find(table)
        begins = sa.select(_column(place, source), _column(place, target)).where(
            *self._conditions(place, where), _column(place, source).in_(list(start)),
        )
        reached = begins.cte("reached", recursive=True)
        other = Stored(place.table, cast("sa.Table", place.at.alias("step")), place.columns)
        goes_on = sa.select(_column(other, source), _column(other, target)).where(
            *self._conditions(other, where), _column(other, source) == reached.c[1],
        )
        # UNION, not UNION ALL: a pair that was met is not followed again, so a circle comes to its end.
        everything = reached.union(goes_on)
        with told():
            found = self._connection.execute(sa.select(everything).limit(limit)).all()
        return [(one[0], one[1]) for one in found]

    def count(self, table: str, /, *where: Where | Has) -> int:
        place = self._find(table)
        asked = sa.select(sa.func.count()).select_from(place.at).where(*self._conditions(place, where))
        with told():
            return int(self._connection.execute(asked).scalar_one())

    def position(self, projection: str) -> int:
        return self._positions.get(projection, 0)

    def _conditions(self, place: Stored, where: Sequence[Where | Has]) -> list[ColumnElement[bool]]:
        return [
            self._has(place, one) if isinstance(one, Has) else self._where(place, one)
            for one in where
        ]

    def _has(self, place: Stored, has: Has) -> ColumnElement[bool]:
        other = self._find(has.table)
        if other is place:
            # The same table once more, under another name.
            other = Stored(other.table, cast("sa.Table", other.at.alias()), other.columns)
        joined = [_column(other, theirs) == _column(place, ours) for theirs, ours in has.on.items()]
        narrowed = [self._where(other, one) for one in has.where]
        return sa.exists().select_from(other.at).where(*joined, *narrowed).correlate(place.at)

    def _where(self, place: Stored, where: Where) -> ColumnElement[bool]:
        column: ColumnElement[Any] = _column(place, where.column)
        if where.op == "in":
            return column.in_([storable(place.table, where.column, value) for value in where.value])
        if where.op in ("prefix", "contains") and kind_of(place.table, where.column) != "text":
            raise _unanswerable(f"{where.column} is not a text column")
        if where.value is None:
            return _against_null(column, where)
        value = storable(place.table, where.column, where.value)
        match where.op:
            case "=" | ">" | ">=" if _means_open(place, where):
                # Written out rather than bound, so that the index on open rows can be used.
                return column.op("=", is_comparison=True)(sa.literal_column(str(OPEN)))
            case "!=" if where.column in place.table.nullable:
                return column.is_distinct_from(value)
            case "=" | "!=" | "<" | "<=" | ">" | ">=":
                compared: ColumnElement[bool] = _COMPARISONS[where.op](column, value)
                return compared
            case "prefix":
                return _starting(column, value)
            case "contains":
                found = self._contains(column, value)
                fewer = searching.narrowed(self._connection, place, where.column, value)
                return found if fewer is None else sa.and_(fewer, found)
        raise _unanswerable(f"{where.op!r} is not a comparison")


def _column(place: Stored, name: str) -> ColumnElement[Any]:
    found = place.at.c.get(name)
    if found is None:
        raise Unavailable(
            f"Table {place.table.name} has no column {name}; if it is new, the read model is still being rebuilt.",
            error="read_model_outdated",
            remediation=[
                Remedy("Try again when the rebuild is done.", "retry"), Remedy("See `comfyvn doctor`.", "doctor"),
            ],
            detail={"table": place.table.name, "column": name},
        )
    return found


def _ordered(place: Stored, name: str) -> tuple[ColumnElement[Any], bool, bool]:
    """Column, whether descending, whether it may be null."""
    bare = name.removeprefix("-")
    return _column(place, bare), bare != name, bare in place.table.nullable


def _beyond(
    place: Stored, ordered: Sequence[tuple[ColumnElement[Any], bool, bool]], after: Sequence[Any]
) -> ColumnElement[bool]:
    """Whether a row comes after the one with these values in its order columns."""
    if len(after) != len(ordered):
        raise _unanswerable("the cursor is not of this order")
    columns = [column for column, _, _ in ordered]
    values = [storable(place.table, str(column.key), value) for column, value in zip(columns, after, strict=True)]
    alike = all(one[1] == other[1] for one, other in pairwise(ordered))
    if alike and not any(nullable for _, _, nullable in ordered):
        row, seen = sa.tuple_(*columns), sa.tuple_(*[sa.literal(value, column.type) for column, value in
                                                     zip(columns, values, strict=True)])
        return row < seen if ordered[0][1] else row > seen
    steps: list[ColumnElement[bool]] = []
    same: list[ColumnElement[bool]] = []
    for (column, descending, _), value in zip(ordered, values, strict=True):
        steps.append(sa.and_(*same, _later(column, descending, value)))
        same.append(column.is_(None) if value is None else column == value)
    return sa.or_(*steps)


def _later(column: ColumnElement[Any], descending: bool, value: Any) -> ColumnElement[bool]:
    if value is None:
        return sa.false() if descending else column.is_not(None)
    return sa.or_(column < value, column.is_(None)) if descending else column > value


def _against_null(column: ColumnElement[Any], where: Where) -> ColumnElement[bool]:
    match where.op:
        case "=":
            return column.is_(None)
        case "!=":
            return column.is_not(None)
    raise _unanswerable("null has no order")


def _means_open(place: Stored, where: Where) -> bool:
    if not place.table.temporal or where.column != "valid_to":
        return False
    return bool((where.value == OPEN and where.op in ("=", ">=")) or (where.value == OPEN - 1 and where.op == ">"))


def _starting(column: ColumnElement[Any], prefix: str) -> ColumnElement[bool]:
    """A range instead of a pattern: no wildcards to escape, and any index on the column serves."""
    beyond = _successor(prefix)
    if beyond is None:
        return column >= prefix
    return sa.and_(column >= prefix, column < beyond)


def _successor(prefix: str) -> str | None:
    """The smallest text that is greater than every text with this prefix; nothing when there is none."""
    while prefix:
        code = ord(prefix[-1]) + 1
        if code <= _HIGHEST:
            return prefix[:-1] + chr(0xE000 if 0xD800 <= code < 0xE000 else code)
        prefix = prefix[:-1]
    return None


def _unanswerable(why: str) -> Invalid:
    return Invalid(
        f"The question cannot be answered: {why}.", error="invalid_condition",
        remediation=[Remedy("Change the condition.", "change_condition")],
    )
