"""Orders that workers carry out over a while, as lists show them: exports, downloads of models.

Their states and commands stay apart (they end in different ways); what people see of them is one thing: waiting,
running, over in one of three ways, how far, and the newest first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field

from domain.tables import Reader, Row, Where
from projections.declaration import Happened
from projections.reading import PageQuery, page


class OrdersQuery(PageQuery):
    """Orders, newest first."""

    status: str | None = Field(default=None, pattern="^(waiting|running|finished|failed|cancelled)$")


def requested(happened: Happened) -> dict[str, Any]:
    """What the row of an order begins with, besides what was ordered."""
    recorded = happened.recorded
    return {
        "status": "waiting", "attempt": 0, "phase": "waiting", "done": 0, "total": 0, "result": None, "reason": "",
        "actor": recorded.actor, "requested_position": recorded.position, "created_at": recorded.time,
    }


def advanced(event: Any) -> dict[str, Any]:
    """How far an order is, of an event that tells it."""
    return {"phase": event.phase, "done": event.done, "total": event.total}


def newest_first(
    reader: Reader, table: str, query: OrdersQuery, shape: Callable[[Row], dict[str, Any]]
) -> dict[str, Any]:
    """A page of orders."""
    where = [Where("project", "=", query.project)]
    if query.status is not None:
        where.append(Where("status", "=", query.status))
    return page(reader, table, *where, order=("-requested_position",), limit=query.limit, cursor=query.cursor,
                shape=shape)
