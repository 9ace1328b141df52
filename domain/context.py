"""What a context declares about itself so that one loop can run them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from domain.references import Reference, no_references, own_id
from domain.values import Event, Json

Fields = Mapping[str, Json]
"""Path of a field of the document -> its whole value after the event; ``None`` removes the field."""

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""The stored body of one schema version -> the body of the next."""


Write = Callable[[str, Any, Fields], Sequence[Event]]
"""``write(id, state, fields)``: the events that give a document's fields these values; none where they have them."""


def no_fields(event: Any) -> Fields:
    """For contexts whose aggregates are not documents."""
    return {}


class Layout(NamedTuple):
    """How fields lie in the document that they add up to.

    ``header`` maps fields of the document to where they are stored. ``collections`` maps those that hold items, stored
    as ``<collection>/<key>``: to the name that an item has beside its ``place`` (``{"node", "place"}``) where they are
    a list in the order of places, to nothing where they are a map by key.
    """

    header: Mapping[str, str]
    collections: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Context:
    """One kind of aggregate.

    ``state`` is the type of every situation an aggregate can be in (for snapshots); ``initial`` the situation
    before anything happened; ``evolve(state, event)`` what an event makes of it. ``fields(event)`` says which
    fields of the document an event sets, each with its whole value after the event: read models, time travel,
    before-and-after and merging all work on that. An authored document ``branches`` with its worldline.
    ``write`` is the other way round, for what sets fields without knowing the document (a merge): ``None`` as a value
    removes a field, ``summary`` of ``None`` deletes the document and any other brings it back. Raises ``Invalid`` where
    the document would not be valid.
    ``layout`` says which document the fields add up to, as people write it.
    ``references(fields)`` are the other documents that one names, by what the others are ``called(id, fields)``;
    ``needing`` are the categories without whose documents it is of no use. A merge asks before any leads nowhere.
    ``snapshot`` is the version of the state's shape: raise it when old snapshots must not be read.
    """

    category: str
    branches: bool
    events: tuple[type[Event], ...]
    state: Any
    initial: Any
    evolve: Callable[[Any, Any], Any]
    fields: Callable[[Any], Fields] = no_fields
    write: Write | None = None
    layout: Layout | None = None
    references: Callable[[Fields], Iterable[Reference]] = no_references
    called: Callable[[str, Fields], Iterable[str]] = own_id
    needing: frozenset[str] = frozenset()
    upcasters: Mapping[tuple[str, int], Upcaster] = field(default_factory=dict)
    snapshot: int = 1
