"""Changes of one stretch of the log to a temporal table, gathered per key, so that each row is written once."""

from __future__ import annotations

from contextlib import suppress
from operator import itemgetter
from typing import Any, Final

from adapters.sql.gathering import Dropped, Key, leading_key, tuple_of, unfit
from domain.tables import OPEN, Change, Drop, Supersede, Table

Line = list[Any]
"""What happens to one key of a temporal table, flat because there are very many of them:

    [age, position at which the row that is open in the database ends (``None``: it was dropped),
     from, to, values, from, to, values, …]
"""


class PendingLines:
    """Changes to a temporal table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.dropped = Dropped()
        self.lines: dict[Key, Line] = {}
        self._key_width: Final = len(table.key)
        self._key_of: Final = tuple_of(table.key)
        self._settable: Final = table.columns.keys() - set(table.key)

    def add(self, position: int, change: Change) -> None:
        """Takes one more change; raises ``Invalid`` for one that does not fit the table."""
        try:
            if type(change) is Supersede:
                self._supersede(position, change)
            elif type(change) is Drop:
                self.dropped.drop(leading_key(self.table, change.match))
            else:
                raise unfit(self.table, "a temporal table is only superseded and dropped from")
        except (KeyError, TypeError) as error:
            raise unfit(self.table, f"{type(error).__name__} {error}") from None

    def live_lines(self) -> list[tuple[Key, Line]]:
        """What is to be written after the drops, in order of the keys: neighbours lie on the same page."""
        lines = list(self.lines.items())
        if self.dropped.prefixes:
            lines = [(key, line) for key, line in lines if not self.dropped.covers(key, line[0])]
        with suppress(TypeError):  # keys of mixed types are refused where they are written
            lines.sort(key=itemgetter(0))
        return lines

    def _supersede(self, position: int, change: Supersede) -> None:
        _, named, values = change
        if len(named) != self._key_width:
            raise unfit(self.table, f"its key is ({', '.join(self.table.key)})")
        key = self._key_of(named)
        if values is not None and values.keys() != self._settable:
            raise unfit(self.table, "a superseding row must name every column that is not part of the key")
        line = self.lines.get(key)
        if self.dropped.prefixes and self.dropped.covers(key, line[0] if line else 0):
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
