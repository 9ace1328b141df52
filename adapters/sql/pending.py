"""Changes of one stretch of the log, gathered per table and key, so that each row is written once.

What is gathered is exact: writing it has the same effect as applying the changes one by one, in order. A key's changes
always add up to one of four operations:

    Whole     the row is this, whatever it was
    Gone      there is no such row
    Change    if there is a row: set these columns, add to those; if there is none: insert this row, or do nothing

A drop of several rows (leading key columns) is written before everything else. It is remembered with a number, and an
operation older than the newest drop that covers its key counts as ``Gone``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any, Final

from domain.errors import Invalid, Remedy
from domain.tables import OPEN, Add, Change, Drop, Patch, Put, Supersede, Table

Key = tuple[Any, ...]


class Whole:
    """The row is this."""

    __slots__ = ("age", "row")

    def __init__(self, age: int, row: Mapping[str, Any]) -> None:
        self.age, self.row = age, row


class Gone:
    """There is no such row."""

    __slots__ = ("age",)

    def __init__(self, age: int) -> None:
        self.age = age


class Changed:
    """Set and add if there is a row; insert (or nothing) if there is none.

    ``plain``: the row to insert consists of just what is set and added, so that one upsert says both.
    """

    __slots__ = ("added", "age", "insert", "plain", "set")

    def __init__(self, age: int) -> None:
        self.age = age
        self.set: dict[str, Any] = {}
        self.added: dict[str, int] = {}
        self.insert: dict[str, Any] | None = None
        self.plain = False


class Dropped:
    """Drops of several rows, with their age."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.age = 0
        self.prefixes: dict[Key, int] = {}
        self._lengths: set[int] = set()

    def drop(self, prefix: Key) -> None:
        self.age += 1
        self.prefixes[prefix] = self.age
        self._lengths.add(len(prefix))

    def covers(self, key: Key, age: int) -> bool:
        """Whether a drop newer than ``age`` covers the key."""
        return any(self.prefixes.get(key[:length], 0) > age for length in self._lengths)

    def __bool__(self) -> bool:
        return bool(self.prefixes)


class PendingRows:
    """Changes to a table without time."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.dropped = Dropped(table)
        self.operations: dict[Key, Whole | Gone | Changed] = {}
        self._key_columns: Final = table.key
        self._width: Final = len(table.columns)
        self._settable: Final = table.columns.keys() - set(table.key)
        self._integers: Final = {name for name in self._settable if table.columns[name] == "int"}
        self._key_of: Final = _key_getter(table.key)

    def add(self, position: int, change: Change) -> None:
        """Takes one more change; raises ``Invalid`` for one that does not fit the table."""
        try:
            match change:
                case Put(_, row):
                    if len(row) != self._width:
                        raise _unfit(self.table, "a row must name every column and no other")
                    self.operations[self._key_of(row)] = Whole(self.dropped.age, row)
                case Patch():
                    self._patch(change)
                case Add():
                    self._add(change)
                case Drop():
                    self._drop(change)
                case Supersede():
                    raise _unfit(self.table, "only a temporal table can be superseded")
        except (KeyError, TypeError) as error:
            raise _unfit(self.table, f"{type(error).__name__} {error}") from None

    def live_operations(self) -> Iterator[tuple[Key, Whole | Gone | Changed]]:
        """What is to be written after the drops."""
        if not self.dropped:
            yield from self.operations.items()
            return
        for key, operation in self.operations.items():
            if not self.dropped.covers(key, operation.age):
                yield key, operation

    def _current(self, key: Key) -> Whole | Gone | Changed | None:
        operation = self.operations.get(key)
        if self.dropped and self.dropped.covers(key, operation.age if operation else 0):
            return Gone(self.dropped.age)
        return operation

    def _patch(self, change: Patch) -> None:
        key = _named_key(self.table, change.key)
        values = change.values
        if not values.keys() <= self._settable:
            raise _unfit(self.table, "a patch sets columns that are not part of the key")
        match self._current(key):
            case Whole(row=row):
                self.operations[key] = Whole(self.dropped.age, {**row, **values})
            case Gone() as gone:
                self.operations[key] = gone
            case Changed() as changed:
                self._set(changed, values)
                changed.plain = False
            case None:
                changed = self.operations[key] = Changed(self.dropped.age)
                changed.set.update(values)

    def _add(self, change: Add) -> None:
        key = _named_key(self.table, change.key)
        amounts, values = change.amounts, change.values
        fresh = {**change.key, **change.first, **amounts, **values}
        if len(fresh) != self._width or not (amounts.keys() <= self._integers and values.keys() <= self._settable):
            raise _unfit(self.table, "an addition must name every column, amounts being integer columns")
        match self._current(key):
            case Whole(row=row):
                summed = {name: (row[name] or 0) + amount for name, amount in amounts.items()}
                self.operations[key] = Whole(self.dropped.age, {**row, **summed, **values})
            case Gone():
                self.operations[key] = Whole(self.dropped.age, fresh)
            case Changed() as changed:
                self._sum(changed, amounts, values, fresh)
            case None:
                changed = self.operations[key] = Changed(self.dropped.age)
                changed.added, changed.set = dict(amounts), dict(values)
                changed.insert, changed.plain = fresh, not change.first

    def _sum(
        self, changed: Changed, amounts: Mapping[str, int], values: Mapping[str, Any], fresh: dict[str, Any]
    ) -> None:
        # A patch before the first addition changes only a row that is there, not the one that would be inserted.
        changed.plain = changed.plain and changed.added.keys() == amounts.keys()
        for name, amount in amounts.items():
            if name in changed.set:
                changed.set[name] = (changed.set[name] or 0) + amount
            else:
                changed.added[name] = changed.added.get(name, 0) + amount
            if changed.insert is not None:
                changed.insert[name] = (changed.insert[name] or 0) + amount
        if changed.insert is None:
            changed.insert = fresh
        self._set(changed, values)

    @staticmethod
    def _set(changed: Changed, values: Mapping[str, Any]) -> None:
        changed.set.update(values)
        for name in changed.added.keys() & values.keys():
            del changed.added[name]
        if changed.insert is not None:
            changed.insert.update(values)

    def _drop(self, change: Drop) -> None:
        prefix = _leading_key(self.table, change.match)
        if len(prefix) == len(self._key_columns):
            self.operations[prefix] = Gone(self.dropped.age)
        else:
            self.dropped.drop(prefix)


Line = list[Any]
"""What happens to one key of a temporal table, flat because there are very many of them:

    [age, position at which the row that is open in the database ends (``None``: it was dropped),
     from, to, values, from, to, values, …]
"""


class PendingLines:
    """Changes to a temporal table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.dropped = Dropped(table)
        self.lines: dict[Key, Line] = {}
        self._settable: Final = table.columns.keys() - set(table.key)

    def add(self, position: int, change: Change) -> None:
        """Takes one more change; raises ``Invalid`` for one that does not fit the table."""
        try:
            if type(change) is Supersede:
                self._supersede(position, change)
            elif type(change) is Drop:
                self.dropped.drop(_leading_key(self.table, change.match))
            else:
                raise _unfit(self.table, "a temporal table is only superseded and dropped from")
        except (KeyError, TypeError) as error:
            raise _unfit(self.table, f"{type(error).__name__} {error}") from None

    def live_lines(self) -> Iterator[tuple[Key, Line]]:
        """What is to be written after the drops, in order of the keys: neighbours lie on the same page."""
        lines = sorted(self.lines.items(), key=itemgetter(0)) if self._sortable() else list(self.lines.items())
        if not self.dropped:
            return iter(lines)
        return ((key, line) for key, line in lines if not self.dropped.covers(key, line[0]))

    def _sortable(self) -> bool:
        return all(self.table.columns[column] != "json" for column in self.table.key)

    def _supersede(self, position: int, change: Supersede) -> None:
        key = _named_key(self.table, change.key)
        values = change.values
        if values is not None and values.keys() != self._settable:
            raise _unfit(self.table, "a superseding row must name every column that is not part of the key")
        line = self.lines.get(key)
        if self.dropped and self.dropped.covers(key, line[0] if line else 0):
            line = self.lines[key] = [self.dropped.age, None]
        elif line is None:
            line = self.lines[key] = [self.dropped.age, position]
        elif len(line) > 2:
            if line[-3] == position:
                del line[-3:]
            elif line[-2] == OPEN:
                line[-2] = position
        if values is not None:
            line += (position, OPEN, values)


def pending(table: Table) -> PendingRows | PendingLines:
    """An empty gathering for a table."""
    return PendingLines(table) if table.temporal else PendingRows(table)


def _key_getter(columns: tuple[str, ...]) -> Any:
    if len(columns) == 1:
        (column,) = columns
        return lambda row: (row[column],)
    return itemgetter(*columns)


def _named_key(table: Table, key: Mapping[str, Any]) -> Key:
    if len(key) != len(table.key):
        raise _unfit(table, f"its key is ({', '.join(table.key)})")
    return tuple([key[column] for column in table.key])


def _leading_key(table: Table, match: Mapping[str, Any]) -> Key:
    leading = table.key[: len(match)]
    if match.keys() != set(leading):
        raise _unfit(table, f"a drop names leading columns of ({', '.join(table.key)})")
    return tuple([match[column] for column in leading])


def _unfit(table: Table, why: str) -> Invalid:
    return Invalid(
        f"A change does not fit table {table.name}: {why}.",
        error="unfit_change",
        remediation=[Remedy("Mend the projection that makes this change, then resume it.", "resume_projection")],
        detail={"table": table.name},
    )
