"""Authored documents as people read them: lists, whole documents and single items, at any position on any worldline."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from domain.errors import NotFound, Remedy
from domain.ids import Token
from domain.story.authored import SUMMARY, Authored, document_from, path_of
from domain.tables import Reader, Row
from projections.boards.documents import Document, document, lineage, listing, standing
from projections.reading import BranchPageQuery, BranchQuery, Query, View

READS = ("documents", "worldlines")


def seen_of(declared: Authored, route: str) -> tuple[View, ...]:
    """The views of a kind of documents, below ``route`` (``/api/worlds``)."""
    noun, id_field = declared.category, declared.id_field
    scope = f"{noun}:read"
    words = Annotated[str, Field(max_length=300)]
    list_ = _query(f"List{declared.plural}", BranchPageQuery, f"The {noun} documents of a worldline by id, as of a "
                   "position.", {
        "q": (words, Field(default="", description="Only those whose id or name holds this text.")),
        "deleted": (bool, Field(default=False, description="Only deleted ones, which can be restored.")),
        **({"tag": (words, Field(default="", description="Only those with this tag."))}
           if "tags" in declared.summary({}) else {}),
    })
    show = _query(f"Show{declared.name}", BranchQuery, f"One {noun}: its document, with its version and where it "
                  "stands.", {
        id_field: (Token, ...),
        "bare": (bool, Field(default=False, description="Only the document, as `PUT` takes it.")),
    })
    one = f"{route}/{{{id_field}}}"
    views = [
        View(list_.__name__, route, list_, partial(list_documents, declared), READS, scope),
        View(show.__name__, one, show, partial(show_document, declared), READS, scope),
    ]
    if declared.collections:
        names = tuple(each.name for each in declared.collections)
        item = _query(f"Show{declared.name}Item", BranchQuery, f"One item of a {noun}.", {
            id_field: (Token, ...), "collection": (Literal[names], ...),
            "key": (Annotated[str, Field(min_length=1, max_length=200)], ...),
        })
        views.append(View(item.__name__, f"{one}/{{collection}}/{{key}}", item, partial(show_item, declared), READS,
                          scope))
    return tuple(views)


def _query(name: str, base: type[Query], about: str, fields: Mapping[str, Any]) -> type[Query]:
    return create_model(name, __base__=(base,), __doc__=about, __module__=__name__, **fields)


def list_documents(declared: Authored, reader: Reader, query: Any) -> dict[str, Any]:
    """A page of ``{"id", …summary, "version", "position", "worldline"}``."""
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    wanted = query.q.casefold()
    blank = dict.fromkeys(declared.summary({}))
    tag = getattr(query, "tag", "")

    def keep(row: Row) -> bool:
        summary = row["value"]
        if query.deleted or summary is None:
            return query.deleted and summary is None and wanted in row["id"].casefold()
        if tag and tag not in (summary.get("tags") or ()):
            return False
        texts = [row["id"], *(str(summary.get(name) or "") for name in declared.searched)]
        return any(wanted in text.casefold() for text in texts)

    def shape(row: Row) -> dict[str, Any]:
        return {
            "id": row["id"], **(row["value"] or blank), "version": row["version"], "position": row["valid_from"],
            "worldline": row["worldline"],
        }

    return listing(
        reader, chain, query.project, declared.category, field=SUMMARY, limit=query.limit, cursor=query.cursor,
        shape=shape, keep=keep,
    )


def show_document(declared: Authored, reader: Reader, query: Any) -> dict[str, Any]:
    """The document, and besides it ``version``, ``position``, ``worldline`` and ``inherited_from``."""
    id_ = getattr(query, declared.id_field)
    found = found_document(declared, reader, query, id_)
    told = {"id": id_, **document_from(declared, found.fields)}
    return told if query.bare else {**told, **standing(found, query.worldline)}


def show_item(declared: Authored, reader: Reader, query: Any) -> dict[str, Any]:
    """``{"key", "item", "collection", "version", …}``; raises ``NotFound``."""
    id_ = getattr(query, declared.id_field)
    found = found_document(declared, reader, query, id_)
    collection = declared.by_name[query.collection]
    stored = found.fields.get(path_of(collection, query.key))
    if stored is None:
        noun = declared.category
        raise NotFound(
            f"{noun.capitalize()} {id_} has no {collection.noun} {query.key!r} there and then.",
            error=f"unknown_{collection.noun}",
            remediation=[Remedy(f"Look at the {noun} for what it holds.", f"show_{noun}")],
            detail={noun: id_, collection.noun: query.key},
        )
    item = stored["item"] if collection.ordered else stored
    return {declared.id_field: id_, "collection": collection.name, "key": query.key, "item": item,
            **standing(found, query.worldline)}


def found_document(declared: Authored, reader: Reader, query: Any, id_: str) -> Document:
    """A document there and then; raises ``NotFound`` for one that is not, or no longer, there."""
    noun = declared.category
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    found = document(reader, chain, query.project, noun, id_)
    detail = {noun: id_, "worldline": query.worldline, "as_of": query.as_of}
    if found is None:
        raise NotFound(
            f"There is no {noun} {id_} on worldline {query.worldline}"
            + (f" at position {query.as_of}." if query.as_of else "."),
            error=f"unknown_{noun}",
            remediation=[Remedy("List what there is on the worldline.", f"list_{noun}s")],
            detail=detail,
        )
    if SUMMARY not in found.fields:
        raise NotFound(
            f"{noun.capitalize()} {id_} was deleted.",
            error=f"{noun}_deleted",
            remediation=[
                Remedy("Restore it: nothing of it is lost.", f"restore_{noun}"),
                Remedy("Look at it `as_of` an earlier position.", "look_back"),
            ],
            detail=detail | {"deleted_at": found.position},
        )
    return found
