"""A whole project in one answer: every authored document of a worldline, as of a position."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import orjson
from pydantic import Field

from domain.context import Context, Layout
from domain.errors import NotFound, Remedy
from domain.ids import Token
from domain.tables import Reader
from projections.boards.document_texts import document_text
from projections.boards.documents import Reach, lineage
from projections.boards.story import held, present
from projections.reading import BranchQuery, View, bad_cursor, decode_cursor, encode_cursor

DOCUMENTS_LIMIT: Final = 5000
"""Most documents of one page."""

PAGE_BYTES: Final = 32 * 2**20
"""A page ends with the document at which it has so many bytes."""

FIRST_PORTION: Final = 16
LARGEST_PORTION: Final = 1024
"""Documents read at once: few at first, since a single one may be large."""


class ShowProjectDocument(BranchQuery):
    """Every authored document of a project, by category and id, as of a position on a worldline.

    A large project comes in pages; all pages of one walk show the same position.
    """

    category: tuple[Token, ...] = Field(default=(), max_length=50, description="Only these; may come several times.")
    limit: int = Field(default=DOCUMENTS_LIMIT, ge=1, le=DOCUMENTS_LIMIT)
    cursor: str = Field(default="", max_length=2000, description="`next` of the previous page.")


def whole(contexts: Mapping[str, Context]) -> tuple[View, ...]:
    """The view, given every context: those that branch are shown."""
    layouts = {category: context.layout for category, context in sorted(contexts.items()) if context.branches}
    return (View(
        "ShowProjectDocument", "/api/project/document", ShowProjectDocument, partial(show_project, layouts),
        ("documents", "worldlines"), "project:read",
    ),)


def show_project(layouts: Mapping[str, Layout | None], reader: Reader, query: ShowProjectDocument) -> dict[str, Any]:
    """``{"project", "worldline", "position", "counts", "documents": {category: {id: document}}, "next"}``.

    ``counts`` are those of the whole project, ``documents`` those of the page. A document is JSON as it is stored, put
    together and never parsed: a whole project is large, and only handed on.
    """
    after, as_of = _after(query)
    chain = lineage(reader, query.project, query.worldline, as_of)
    position = as_of or reader.position("documents")
    ids = {category: sorted(present(reader, chain, query.project, category))
           for category in _wanted(layouts, query.category)}
    things = [(category, id_) for category, names in ids.items() for id_ in names if (category, id_) > after]
    documents: dict[str, dict[str, orjson.Fragment]] = {category: {} for category in ids}
    taken, room = 0, PAGE_BYTES
    for category, names in _portions(things[: query.limit]):
        for id_, text in _texts(reader, chain, query.project, category, layouts[category], names):
            documents[category][id_] = orjson.Fragment(text)
            room -= len(text)
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


def _wanted(layouts: Mapping[str, Layout | None], named: Sequence[str]) -> list[str]:
    unknown = sorted(set(named) - set(layouts))
    if unknown:
        raise NotFound(
            f"There are no authored documents of the kind {unknown[0]}.", error="unknown_category",
            remediation=[Remedy(f"Name some of {', '.join(layouts)}.", "choose_category")],
            detail={"unknown": unknown, "known": [*layouts]},
        )
    return sorted(set(named)) or [*layouts]


def _portions(things: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Documents of one category to be read at once: few at first, since a single one may be large."""
    portion = FIRST_PORTION
    for category, group in groupby(things, key=itemgetter(0)):
        names = [id_ for _, id_ in group]
        while names:
            yield category, names[:portion]
            names = names[portion:]
            portion = min(portion * 2, LARGEST_PORTION)


def _texts(
    reader: Reader, chain: Sequence[Reach], project: str, category: str, layout: Layout | None, ids: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Documents by id as JSON texts."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for id_, field, text in held(reader, chain, project, category, ids, raw=True):
        found[id_][field] = text
    for id_ in ids:
        yield id_, document_text(layout, id_, found[id_])


PROJECTIONS = ()
VIEWS = ()
