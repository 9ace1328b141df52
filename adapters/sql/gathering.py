"""What gathering changes needs for tables with and without time: keys, and drops of several rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from domain.errors import Invalid, Remedy
from domain.tables import Table

Key = tuple[Any, ...]


class Dropped:
    """Drops of several rows, with their age."""

    def __init__(self) -> None:
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


def tuple_of(columns: Sequence[str]) -> Callable[[Mapping[str, Any]], Key]:
    """Picks columns from a mapping as a tuple."""
    if not columns:
        return lambda row: ()
    if len(columns) == 1:
        (column,) = columns
        return lambda row: (row[column],)
    return itemgetter(*columns)


def leading_key(table: Table, match: Mapping[str, Any]) -> Key:
    """The values of the leading columns of a table's key."""
    leading = table.key[: len(match)]
    if match.keys() != set(leading):
        raise unfit(table, f"a drop names leading columns of ({', '.join(table.key)})")
    return tuple([match[column] for column in leading])


def unfit(table: Table, why: str) -> Invalid:
    """The refusal of a change."""
    return Invalid(
        f"A change does not fit table {table.name}: {why}.",
        error="unfit_change",
        remediation=[Remedy("Mend the projection that makes this change, then resume it.", "resume_projection")],
        detail={"table": table.name},
    )
