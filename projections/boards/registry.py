"""The registry: which projects there are, and which assets, scenes, characters, worldlines and accounts each holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from domain.context import Context
from domain.errors import NotFound, Remedy
from domain.ids import MAIN, UNBRANCHED, Token
from domain.tables import Add, Change, Reader, Row, Table, Where
from projections.boards.documents import FIELDS, Reach, lineage, listing
from projections.declaration import Happened, Projection
from projections.reading import AcrossQuery, BranchPageQuery, BranchQuery, View, page

PROJECTS = Table(
    name="projects",
    columns={
        "project": "text", "events": "int", "things": "int", "first_position": "int", "first_time": "text",
        "last_position": "int", "last_time": "text", "last_actor": "text",
    },
    key=("project",),
)

COUNTED: Final = 100_000
"""Most documents of one kind that are counted; beyond it the count says so by being this number."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing: the category of its events and the field by which its documents are listed.

    ``lasting`` things are never deleted, so that counting them needs no look at their values.
    """

    category: str
    field: str = "summary"
    branches: bool = True
    lasting: bool = False


PARTICULAR: Final[Mapping[str, tuple[str, Kind] | None]] = {
    "worldline": ("worldline", Kind("worldline", "label", branches=False, lasting=True)),
    "ledger": ("account", Kind("ledger", "balance", branches=False, lasting=True)),
    "policy": None,
}
"""Categories whose things are listed by another field than ``summary`` or under another name, or not at all."""


def kinds_of(contexts: Mapping[str, Context]) -> dict[str, Kind]:
    """The kinds of things that contexts make, by name."""
    found: dict[str, Kind] = {}
    for category, context in contexts.items():
        particular = PARTICULAR.get(category, (category, Kind(category, branches=context.branches)))
        if particular is not None:
            found[particular[0]] = particular[1]
    return dict(sorted(found.items()))


def apply(happened: Happened) -> Iterable[Change]:
    """A project comes into being with its first event. A thing's first event has version 1."""
    recorded = happened.recorded
    yield Add(
        PROJECTS.name, {"project": recorded.stream.project}, {"events": 1, "things": int(recorded.version == 1)},
        {"last_position": recorded.position, "last_time": recorded.time, "last_actor": recorded.actor},
        {"first_position": recorded.position, "first_time": recorded.time},
    )


class ListProjects(AcrossQuery):
    """Every project by its name: when it began, when it changed last, and how much has happened in it."""


class ShowRegistry(BranchQuery):
    """What a project holds: a count and the first things of every kind."""

    limit: int = Field(default=10, ge=1, le=100, description="Most things of each kind.")


class ListThings(BranchPageQuery):
    """The things of one kind by their ids."""

    kind: Token


def list_projects(reader: Reader, query: ListProjects) -> dict[str, Any]:
    """A page of projects."""
    among = (Where("project", "in", query.among),) if query.among else ()
    return page(reader, PROJECTS.name, *among, order=("project",), limit=query.limit, cursor=query.cursor)


def registry(contexts: Mapping[str, Context]) -> tuple[View, ...]:
    """The views, given the contexts of this release."""
    kinds = kinds_of(contexts)
    reads = ("documents", "registry", "worldlines")

    def show(reader: Reader, query: ShowRegistry) -> dict[str, Any]:
        chain = lineage(reader, query.project, query.worldline, query.as_of)
        counts = {name: _count(reader, chain, query, kind) for name, kind in kinds.items()}
        return {
            "project": query.project, "worldline": query.worldline, "as_of": query.as_of or None,
            "position": reader.position("documents"), "counts": counts,
            "kinds": {name: {"count": counts[name], **_things(reader, chain, query, name, kind, query.limit, "")}
                      for name, kind in kinds.items()},
        }

    def things(reader: Reader, query: ListThings) -> dict[str, Any]:
        kind = kinds.get(query.kind)
        if kind is None:
            raise NotFound(
                f"There is no kind of thing called {query.kind}.",
                error="unknown_kind",
                remediation=[Remedy(f"Ask for one of {', '.join(kinds)}.", "choose_kind")],
                detail={"kind": query.kind, "kinds": list(kinds)},
            )
        chain = lineage(reader, query.project, query.worldline, query.as_of)
        return _things(reader, chain, query, query.kind, kind, query.limit, query.cursor)

    return (
        View("ShowRegistry", "/api/registry", ShowRegistry, show, reads, "registry:read"),
        View("ListThings", "/api/registry/{kind}", ListThings, things, reads, "registry:read"),
    )


def _along(chain: list[Reach], kind: Kind) -> list[Reach]:
    return chain if kind.branches else [Reach(UNBRANCHED, chain[0].upto)]


def _things(
    reader: Reader, chain: list[Reach], query: ShowRegistry | ListThings, name: str, kind: Kind, limit: int,
    cursor: str,
) -> dict[str, Any]:
    def shape(row: Row) -> dict[str, Any]:
        return {
            "id": row["id"], "kind": name, kind.field: row["value"], "version": row["version"],
            "position": row["valid_from"], "worldline": row["worldline"],
        }

    found = listing(
        reader, _along(chain, kind), query.project, kind.category, field=kind.field, limit=limit, cursor=cursor,
        shape=shape,
    )
    if kind.category == "worldline" and not cursor:
        main = {"id": MAIN, "kind": name, kind.field: MAIN, "version": 0, "position": 0, "worldline": UNBRANCHED}
        found["items"] = [main, *found["items"]]
    return found


def _count(reader: Reader, chain: list[Reach], query: ShowRegistry, kind: Kind) -> int:
    standing: set[str] = set()
    for reach in reversed(_along(chain, kind)):
        where = (
            Where("project", "=", query.project), Where("worldline", "=", reach.worldline),
            Where("category", "=", kind.category), Where("field", "=", kind.field),
            Where("valid_to", ">", reach.upto), Where("valid_from", "<=", reach.upto),
        )
        if kind.lasting:  # these do not branch either
            return reader.count(FIELDS.name, *where) + (kind.category == "worldline")
        for row in reader.rows(FIELDS.name, *where, limit=COUNTED):
            if row["value"] is None:
                standing.discard(row["id"])
            else:
                standing.add(row["id"])
    return min(len(standing), COUNTED)


PROJECTIONS = (
    Projection(
        name="registry", version=1, tables=(PROJECTS,), apply=apply, decodes=False,
        about="Which projects there are.",
    ),
)

VIEWS = (
    View("ListProjects", "/api/projects", ListProjects, list_projects, ("registry",), "registry:read"),
)
"""What needs no contexts; ``registry`` gives the others."""
