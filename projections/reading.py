"""How views read: a small port over tables, and pages with cursors so that no list is unbounded."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from domain.errors import Invalid, Remedy
from domain.ids import MAIN, Token
from domain.tables import PAGE_LIMIT, Has, Reader, Row, Where
from domain.values import Json, Value


class Query(Value):
    """What every view takes. Path parameters of a view's path are fields of its query too."""

    project: Token = "default"
    min_position: int = Field(default=0, ge=0, le=2**62, description="Wait until the view has counted this position.")


class BranchQuery(Query):
    """A view of what branches: on a worldline, as of a position (0: now)."""

    worldline: Token = MAIN
    as_of: int = Field(default=0, ge=0, le=2**62, description="See everything as it was at this position; 0 is now.")


class PageQuery(Query):
    """A view that lists."""

    limit: int = Field(default=50, ge=1, le=PAGE_LIMIT)
    cursor: str = Field(default="", max_length=2000, description="`next` of the previous page.")


class BranchPageQuery(BranchQuery):
    """A view that lists what branches."""

    limit: int = Field(default=50, ge=1, le=PAGE_LIMIT)
    cursor: str = Field(default="", max_length=2000, description="`next` of the previous page.")


class AcrossQuery(PageQuery):
    """A view that lists things of several projects; ``project`` makes no difference to it."""

    among: tuple[Token, ...] = Field(
        default=(), max_length=200,
        description="Only these projects; may be given several times. Without it, every one that the token may see.",
    )


@dataclass(frozen=True, slots=True)
class View:
    """One question that can be asked: ``answer(reader, query)`` is pure given its reader.

    ``reads`` names the projections whose positions must have reached ``min_position``. ``answer`` raises ``NotFound``
    for a thing that is not there, and returns JSON-ready data: a mapping, or ``page(...)``.

    A view across projects takes an ``AcrossQuery``, which the doors narrow to the projects that the asker may see.
    """

    name: str
    path: str
    query: type[Query]
    answer: Callable[[Reader, Any], Any]
    reads: tuple[str, ...]
    scope: str
    about: str = ""


def encode_cursor(values: Sequence[Any]) -> str:
    """The values of the order columns of a page's last row as an opaque text."""
    return base64.urlsafe_b64encode(json.dumps(list(values), separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, length: int) -> list[Any]:
    """The values in a cursor; raises ``Invalid`` for anything that no page has given out."""
    if not cursor:
        return []
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise bad_cursor() from error
    scalar = (str, int)
    if not isinstance(values, list) or len(values) != length or not all(type(value) in scalar for value in values):
        raise bad_cursor()
    if any(type(value) is int and not -(2**63) <= value < 2**63 for value in values):
        raise bad_cursor()
    return values


def bad_cursor() -> Invalid:
    """The refusal of a cursor that no page has given out."""
    return Invalid(
        "The cursor is not one that a page has given out.",
        error="invalid_cursor",
        remediation=[Remedy("Leave the cursor away to start at the first page.", "restart_listing")],
    )


def page(
    reader: Reader, table: str, *where: Where | Has, order: Sequence[str], limit: int, cursor: str,
    shape: Callable[[Row], Json] = lambda row: row,
) -> dict[str, Json]:
    """One page of a table as ``{"items": […], "next": cursor or null}``; ``order`` must be a unique combination."""
    after = decode_cursor(cursor, len(order))
    try:
        found = reader.rows(table, *where, order=order, limit=limit + 1, after=after)
    except Invalid as error:
        if after:  # a forged cursor whose values do not fit the columns
            raise bad_cursor() from error
        raise
    more = len(found) > limit
    found = found[:limit]
    last = [found[-1][column.lstrip("-")] for column in order] if more else []
    return {"items": [shape(row) for row in found], "next": encode_cursor(last) if more else None}
