"""Read models as they would be if some documents were otherwise: a reader that lays fields over those of another."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from domain.tables import OPEN, PAGE_LIMIT, Has, Reader, Row, Where
from projections.boards.documents import FIELDS

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "in": lambda one, many: one in many,
}


def _said(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


class Overlaid:
    """``domain.tables.Reader`` with documents of one worldline as they would be.

    ``fields`` is (category, id) -> {path: value}, ``None`` where a field would be gone. Whatever else is asked is
    answered by the reader below. Documents are laid over by (id, field), the order in which boards read them in bulk.
    """

    def __init__(
        self, below: Reader, project: str, worldline: str, fields: Mapping[tuple[str, str], Mapping[str, Any]]
    ) -> None:
        self._below = below
        self._own: list[Row] = [
            {
                "project": project, "worldline": worldline, "category": category, "id": id_, "field": path,
                "value": value, "version": 0, "valid_from": 0, "valid_to": OPEN,
            }
            for (category, id_), values in fields.items() for path, value in values.items()
        ]

    def row(self, table: str, /, **key: Any) -> Row | None:
        found = self.rows(table, *[Where(column, "=", value) for column, value in key.items()], limit=1)
        return found[0] if found else None

    def rows(
        self, table: str, /, *where: Where | Has, order: Sequence[str] = (), limit: int = PAGE_LIMIT,
        after: Sequence[Any] = (),
    ) -> list[Row]:
        found = self._below.rows(table, *where, order=order, limit=limit, after=after)
        if table != FIELDS.name:
            return found
        own = [
            row for row in self._own
            if all(isinstance(one, Where) and _COMPARE[one.op](row[one.column], one.value) for one in where)
        ]
        if not own:
            return found
        place = tuple(order) if order and set(order) <= {"id", "field"} else ("id", "field")
        mine = {(row["id"], row["field"]): row for row in own}
        laid = [row for row in found if (row["id"], row["field"]) not in mine]
        laid += [row for row in own if not after or tuple(row[name] for name in place) > tuple(after)]
        return sorted(laid, key=lambda row: tuple(row[name] for name in place))[:limit]

    def columns(
        self, table: str, names: Sequence[str], /, *where: Where | Has, order: Sequence[str] = (),
        limit: int = PAGE_LIMIT, after: Sequence[Any] = (), raw: bool = False,
    ) -> list[Sequence[Any]]:
        if table != FIELDS.name:
            return self._below.columns(table, names, *where, order=order, limit=limit, after=after, raw=raw)
        found = self.rows(table, *where, order=order, limit=limit, after=after)
        return [[_said(row[name]) if raw and name == "value" else row[name] for row in found] for name in names]

    def count(self, table: str, /, *where: Where | Has) -> int:
        return self._below.count(table, *where)

    def position(self, projection: str) -> int:
        return self._below.position(projection)
