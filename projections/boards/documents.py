"""Documents through time: every field of every document, valid from and to a position, on every worldline.

An event sets fields of its document, each with its whole value (``Context.fields``); this board keeps when each value
held. Any document, or a whole project, as of any position on any worldline is then an ordinary query, forking copies
nothing, and "before" and "after" of an event are two such queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from domain.context import Fields
from domain.errors import NotFound, Remedy
from domain.ids import MAIN
from domain.tables import OPEN, Change, Reader, Row, Supersede, Table, Where
from projections.declaration import Happened, Projection
from projections.reading import bad_cursor, decode_cursor, encode_cursor

FIELDS = Table(
    name="document_fields",
    columns={
        "project": "text", "worldline": "text", "category": "text", "id": "text", "field": "text",
        "value": "json", "version": "int",
    },
    key=("project", "worldline", "category", "id", "field"),
    indexes=(
        ("project", "worldline", "category", "field", "valid_to", "id"),
        # A document with a long past: what held at a position is found without visiting every row of that past.
        ("project", "worldline", "category", "id", "valid_to", "valid_from"),
    ),
    temporal=True,
)


def documents(fields: Mapping[str, Callable[[Any], Fields]]) -> Projection:
    """The projection, given each category's ``fields``."""

    def apply(happened: Happened) -> Iterable[Change]:
        recorded = happened.recorded
        if happened.event is None:
            return
        project, worldline, category, id_ = recorded.stream
        for path, value in fields[category](happened.event).items():
            key = {"project": project, "worldline": worldline, "category": category, "id": id_, "field": path}
            # A removed field is a row that says null, not the absence of a row: on a branch it must hide the parent's.
            yield Supersede(FIELDS.name, key, {"value": value, "version": recorded.version})

    return Projection(
        name="documents", version=2, tables=(FIELDS,), apply=apply, categories=frozenset(fields),
        about="Every field of every document, valid from and to a position.",
    )


class Reach(NamedTuple):
    """How far down a worldline counts: positions ``<= upto``."""

    worldline: str
    upto: int


def lineage(reader: Reader, project: str, worldline: str, as_of: int) -> list[Reach]:
    """The worldlines along which a document is read, nearest first, each with the position up to which it counts.

    ``as_of`` 0 means now. Raises ``NotFound`` for a worldline that did not exist by then.
    """
    upto = as_of or OPEN - 1
    chain: list[Reach] = []
    name = worldline
    while name != MAIN:
        row = reader.row("worldlines", project=project, worldline_id=name)
        if row is None or (name == worldline and row["forked_position"] > upto):
            raise NotFound(
                f"Project {project} has no worldline {name}" + (f" at position {as_of}." if as_of else "."),
                error="unknown_worldline",
                remediation=[Remedy("List the worldlines of the project.", "list_worldlines")],
                detail={"project": project, "worldline": name},
            )
        chain.append(Reach(name, upto))
        upto = min(upto, row["forked_at"])
        name = row["parent"]
    chain.append(Reach(MAIN, upto))
    return chain


class Document(NamedTuple):
    """A document at a position: its fields, its version, and where and when it changed last."""

    id: str
    fields: dict[str, Any]
    version: int
    position: int
    worldline: str


def standing(found: Document, worldline: str) -> dict[str, Any]:
    """Where a document stands that was asked for on a worldline."""
    return {
        "version": found.version, "position": found.position, "worldline": worldline,
        "inherited_from": None if found.worldline == worldline else found.worldline,
    }


def _held(reach: Reach) -> tuple[Where, Where]:
    return Where("valid_from", "<=", reach.upto), Where("valid_to", ">", reach.upto)


def document(reader: Reader, chain: list[Reach], project: str, category: str, id_: str) -> Document | None:
    """A document along a lineage, or nothing when it did not exist there. Later worldlines override field by field."""
    fields: dict[str, Any] = {}
    version = position = 0
    worldline = MAIN
    for reach in reversed(chain):
        found = reader.rows(
            FIELDS.name, Where("project", "=", project), Where("worldline", "=", reach.worldline),
            Where("category", "=", category), Where("id", "=", id_), *_held(reach), order=("valid_to",), limit=100_000,
        )
        for row in found:
            fields[row["field"]] = row["value"]
            version, position = max(version, row["version"]), max(position, row["valid_from"])
        if found:
            worldline = reach.worldline
    fields = {path: value for path, value in fields.items() if value is not None}
    return Document(id_, fields, version, position, worldline) if fields else None


def listing(
    reader: Reader, chain: list[Reach], project: str, category: str, *, field: str, limit: int, cursor: str,
    shape: Callable[[Row], Any] = lambda row: {"id": row["id"], "value": row["value"], "version": row["version"]},
    keep: Callable[[Row], bool] = lambda row: row["value"] is not None,
) -> dict[str, Any]:
    """A page of the documents of a category by id, from one field that all of them have (a ``summary``, say).

    Rows that ``keep`` turns down (a deleted document, a filter) are left out; the page goes on until it is full.
    """
    (after,) = decode_cursor(cursor, 1) or [""]
    if not isinstance(after, str):
        raise bad_cursor()
    items: list[Any] = []
    while True:
        merged: dict[str, Row] = {}
        full = False
        for reach in reversed(chain):
            found = reader.rows(
                FIELDS.name, Where("project", "=", project), Where("worldline", "=", reach.worldline),
                Where("category", "=", category), Where("field", "=", field), *_held(reach), Where("id", ">", after),
                order=("id",), limit=limit + 1,
            )
            full = full or len(found) > limit
            merged.update({row["id"]: row for row in found})
        # Every reach gave its own first rows, so only the first ``limit + 1`` of the union are sure to be complete.
        for id_ in sorted(merged)[: limit + 1]:
            if len(items) == limit:
                return {"items": items, "next": encode_cursor([after])}
            after = id_
            if keep(merged[id_]):
                items.append(shape(merged[id_]))
        if not full:
            rest = len(merged) > limit + 1
            if not rest:
                return {"items": items, "next": None}
