"""Changes of one stretch of the log to a table without time, gathered per key, so that each row is written once.

What is gathered is exact: writing it has the same effect as applying the changes one by one, in order. A key's changes
always add up to one of these operations:

    Whole     the row is this, whatever it was
    Gone      there is no such row
    Summed    additions of one form: by far the most of what counts and sums
    Changed   if there is a row: set these columns, add to those; if there is none: insert this row, or do nothing

A drop of several rows (leading key columns) is written before everything else. It is remembered with a number, and an
operation older than the newest drop that covers its key counts as ``Gone``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from adapters.sql.gathering import Dropped, Key, leading_key, tuple_of, unfit
from domain.tables import Add, Change, Drop, Patch, Put, Table


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


class Summed:
    """Additions that name the same columns: the sums, what they set last, and what the first of them sets at first."""

    __slots__ = ("age", "amounts", "first", "key", "values")

    def __init__(self, age: int, change: Add) -> None:
        self.age, self.key, self.first, self.values = age, change.key, change.first, change.values
        self.amounts: dict[str, int] = {**change.amounts}

    def row(self) -> dict[str, Any]:
        """The row when there was none."""
        return {**self.key, **self.first, **self.amounts, **self.values}


class Changed:
    """Set and add if there is a row; insert (or nothing) if there is none."""

    __slots__ = ("added", "age", "insert", "set")

    def __init__(self, age: int, summed: Summed | None = None) -> None:
        self.age = age
        self.set: dict[str, Any] = {**summed.values} if summed else {}
        self.added: dict[str, int] = {**summed.amounts} if summed else {}
        self.insert: dict[str, Any] | None = summed.row() if summed else None


Operation = Whole | Gone | Summed | Changed


class PendingRows:
    """Changes to a table without time."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.dropped = Dropped()
        self.operations: dict[Key, Operation] = {}
        self._width: Final = len(table.columns)
        self._key_width: Final = len(table.key)
        self._settable: Final = table.columns.keys() - set(table.key)
        self._integers: Final = {name for name in self._settable if table.columns[name] == "int"}
        self._key_of: Final = tuple_of(table.key)
        self._takes: Final[dict[type, Callable[[Any], None]]] = {
            Put: self._put, Patch: self._patch, Add: self._add, Drop: self._drop,
        }

    def add(self, position: int, change: Change) -> None:
        """Takes one more change; raises ``Invalid`` for one that does not fit the table."""
        take = self._takes.get(type(change))
        if take is None:
            raise unfit(self.table, "only a temporal table can be superseded")
        try:
            take(change)
        except (KeyError, TypeError) as error:
            raise unfit(self.table, f"{type(error).__name__} {error}") from None

    def live_operations(self) -> Iterator[tuple[Key, Operation]]:
        """What is to be written after the drops."""
        if not self.dropped.prefixes:
            yield from self.operations.items()
            return
        for key, operation in self.operations.items():
            if not self.dropped.covers(key, operation.age):
                yield key, operation

    def _named_key(self, key: Mapping[str, Any]) -> Key:
        if len(key) != self._key_width:
            raise unfit(self.table, f"its key is ({', '.join(self.table.key)})")
        return self._key_of(key)

    def _current(self, key: Key) -> Operation | None:
        operation = self.operations.get(key)
        if self.dropped.prefixes and self.dropped.covers(key, operation.age if operation else 0):
            return Gone(self.dropped.age)
        return operation

    def _put(self, change: Put) -> None:
        if len(change.row) != self._width:
            raise unfit(self.table, "a row must name every column and no other")
        self.operations[self._key_of(change.row)] = Whole(self.dropped.age, change.row)

    def _patch(self, change: Patch) -> None:
        key, values = self._named_key(change.key), change.values
        if not values.keys() <= self._settable:
            raise unfit(self.table, "a patch sets columns that are not part of the key")
        match self._current(key):
            case Whole(row=row):
                self.operations[key] = Whole(self.dropped.age, {**row, **values})
            case Gone() as gone:
                self.operations[key] = gone
            case operation:
                _set(self._changed(key, operation), values)

    def _add(self, change: Add) -> None:
        _, named, amounts, values, first = change
        key = self._named_key(named)
        current = self._current(key)
        if type(current) is Summed and (
            current.amounts.keys() == amounts.keys()
            and current.values.keys() == values.keys() and current.first.keys() == first.keys()
        ):
            sums = current.amounts
            for name, amount in amounts.items():
                sums[name] += amount
            current.values = values
            return
        self._check(change)
        match current:
            case Whole(row=row):
                summed = {name: (row[name] or 0) + amount for name, amount in amounts.items()}
                self.operations[key] = Whole(self.dropped.age, {**row, **summed, **values})
            case Gone():
                self.operations[key] = Whole(self.dropped.age, Summed(0, change).row())
            case None:
                self.operations[key] = Summed(self.dropped.age, change)
            case operation:
                _sum(self._changed(key, operation), change)

    def _check(self, change: Add) -> None:
        named = {*change.key, *change.first, *change.amounts, *change.values}
        if not (
            len(named) == self._width and change.amounts.keys() <= self._integers
            and change.values.keys() <= self._settable and change.first.keys() <= self._settable
        ):
            raise unfit(self.table, "an addition must name every column, amounts being integer columns")

    def _changed(self, key: Key, operation: Summed | Changed | None) -> Changed:
        """The operation of a key in its most general form."""
        if isinstance(operation, Changed):
            return operation
        changed = self.operations[key] = Changed(self.dropped.age, operation)
        return changed

    def _drop(self, change: Drop) -> None:
        prefix = leading_key(self.table, change.match)
        if len(prefix) == self._key_width:
            self.operations[prefix] = Gone(self.dropped.age)
        else:
            self.dropped.drop(prefix)


def _set(changed: Changed, values: Mapping[str, Any]) -> None:
    changed.set.update(values)
    for name in changed.added.keys() & values.keys():
        del changed.added[name]
    if changed.insert is not None:
        changed.insert.update(values)


def _sum(changed: Changed, change: Add) -> None:
    # A patch before the first addition changes only a row that is there, not the one that would be inserted.
    for name, amount in change.amounts.items():
        if name in changed.set:
            changed.set[name] = (changed.set[name] or 0) + amount
        else:
            changed.added[name] = changed.added.get(name, 0) + amount
        if changed.insert is not None:
            changed.insert[name] = (changed.insert[name] or 0) + amount
    if changed.insert is None:
        changed.insert = Summed(0, change).row()
    _set(changed, change.values)
