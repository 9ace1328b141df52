"""A whole project in one answer: every authored document of a worldline, as of a position."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import orjson
from pydantic import Field

from domain.context import Context
from domain.errors import NotFound, Remedy
from domain.ids import Token
from domain.tables import Reader
from projections.boards.documents import Reach, lineage
from projections.boards.story import SUMMARY, every, held
from projections.reading import BranchQuery, View, bad_cursor, decode_cursor, encode_cursor

DOCUMENTS_LIMIT: Final = 5000
"""Most documents of one page."""

PAGE_BYTES: Final = 32 * 2**20
"""A page ends with the document at which it has so many bytes."""

FIRST_PORTION: Final = 16
LARGEST_PORTION: Final = 1024
"""Documents read at once: few at first, since a single one may be large."""

Build = Callable[[str, Mapping[str, Any]], dict[str, Any]]


class ShowProjectDocument(BranchQuery):
    """Every authored document of a project, by category and id, as of a position on a worldline.

    A large project comes in pages; all pages of one walk show the same position.
    """

    category: tuple[Token, ...] = Field(default=(), max_length=50, description="Only these; may come several times.")
    limit: int = Field(default=DOCUMENTS_LIMIT, ge=1, le=DOCUMENTS_LIMIT)
    cursor: str = Field(default="", max_length=2000, description="`next` of the previous page.")


def whole(contexts: Mapping[str, Context]) -> tuple[View, ...]:
    """The view, given every context: those that branch are shown."""
    builds = {
        category: context.document or _as_fields for category, context in sorted(contexts.items()) if context.branches
    }
    return (View(
        "ShowProjectDocument", "/api/project/document", ShowProjectDocument, partial(show_project, builds),
        ("documents", "worldlines"), "project:read",
    ),)


def _as_fields(id_: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": id_, "fields": dict(fields)}


def show_project(builds: Mapping[str, Build], reader: Reader, query: ShowProjectDocument) -> dict[str, Any]:
    """``{"project", "worldline", "position", "counts", "documents": {category: {id: document}}, "next"}``.

    ``counts`` are those of the whole project, ``documents`` those of the page.
    """
    after, as_of = _after(query)
    chain = lineage(reader, query.project, query.worldline, as_of)
    position = as_of or reader.position("documents")
    ids = {category: _ids(reader, chain, query.project, category) for category in _wanted(builds, query.category)}
    things = [(category, id_) for category, names in ids.items() for id_ in names if (category, id_) > after]
    documents: dict[str, dict[str, Any]] = {category: {} for category in ids}
    taken, room = 0, PAGE_BYTES
    for category, names in _portions(things[: query.limit]):
        for id_, fields in every(reader, chain, query.project, category, names).items():
            documents[category][id_] = found = builds[category](id_, fields)
            room -= _size(found)
        taken += len(names)
        if room <= 0:
            break
    more = taken < len(things)
    return {
        "project": query.project, "worldline": query.worldline, "position": position,
        "counts": {category: len(names) for category, names in ids.items()}, "documents": documents,
        "next": encode_cursor([*things[taken - 1], position]) if more else None,
    }


def _after(query: ShowProjectDocument) -> tuple[tuple[str, str], int]:
    """The last document of the page before, and the position that all pages show (0: now)."""
    if not query.cursor:
        return ("", ""), query.as_of
    category, id_, position = decode_cursor(query.cursor, 3)
    if not isinstance(category, str) or not isinstance(id_, str) or not isinstance(position, int) or position < 1:
        raise bad_cursor()
    if query.as_of not in (0, position):
        raise bad_cursor()
    return (category, id_), position


def _wanted(builds: Mapping[str, Build], named: Sequence[str]) -> list[str]:
    unknown = sorted(set(named) - set(builds))
    if unknown:
        raise NotFound(
            f"There are no authored documents of the kind {unknown[0]}.", error="unknown_category",
            remediation=[Remedy(f"Name some of {', '.join(builds)}.", "choose_category")],
            detail={"unknown": unknown, "known": [*builds]},
        )
    return sorted(set(named)) or [*builds]


def _ids(reader: Reader, chain: Sequence[Reach], project: str, category: str) -> list[str]:
    alive = {id_: value is not None for id_, _, value in held(reader, chain, project, category, field=SUMMARY)}
    return sorted(id_ for id_, there in alive.items() if there)


def _portions(things: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Documents of one category to be read at once: few at first, since a single one may be large."""
    portion = FIRST_PORTION
    for category, group in groupby(things, key=itemgetter(0)):
        names = [id_ for _, id_ in group]
        while names:
            yield category, names[:portion]
            names = names[portion:]
            portion = min(portion * 2, LARGEST_PORTION)


def _size(document: Any) -> int:
    try:
        return len(orjson.dumps(document))
    except TypeError:  # integers that only the standard library can say
        return len(json.dumps(document))


PROJECTIONS = ()
VIEWS = ()
