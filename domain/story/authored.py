"""Authored documents: what can have happened to one, whatever it is about, and the document that it adds up to.

A document is a header (named fields) and collections of items: plain maps, or lists in which every item has a place of
its own (``places.py``). Each field and each item is stored by itself, so that people who edit different ones never undo
each other. A context declares itself with ``Authored`` and subclasses of the four events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, JsonValue

from domain.context import Context, Fields, Layout, Write
from domain.references import Reference, no_references, own_id
from domain.story.places import Place
from domain.texts import exact_line
from domain.values import Event, Value

SUMMARY: Final = "summary"
"""The field that lists show; it has no value while the document is deleted."""

OWN_SUMMARY: Final = "own_summary"
"""Where a document's own field ``summary`` is stored, so that the two are not confused."""

ITEMS_LIMIT: Final = 10_000
"""Most items of one collection."""

FIELD_BYTES: Final = 640 * 1024
"""Largest field or item as compact JSON: one event must be able to carry it."""

DOCUMENT_BYTES: Final = 8 * 2**20
"""Largest document as compact JSON."""

JsonObject = dict[str, JsonValue]

Wrong = dict[str, str]
"""One thing that is wrong about a document: ``{"path", "message", "code"}``."""


Key = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(exact_line)]
"""What an item of a collection is called."""


# --- events -------------------------------------------------------------------------------------------------------


class Created(Event):
    """A document was written down: each field with its whole value. A large one goes on in ``Edited`` events."""

    fields: JsonObject
    summary: JsonObject


class Edited(Event):
    """Fields changed: each named one with its whole value after (``None``: removed)."""

    fields: JsonObject
    summary: JsonObject


class Removed(Event):
    """The document is out of sight; nothing of it is lost."""


class Restored(Event):
    """A deleted document is back as it was."""

    summary: JsonObject


def fields(event: Any) -> Fields:
    """What an event of an authored document sets: ``summary``, fields of the header, and ``<collection>/<key>``."""
    match event:
        case Created() | Edited():
            return {**event.fields, SUMMARY: event.summary}
        case Removed():
            return {SUMMARY: None}
        case Restored():
            return {SUMMARY: event.summary}
        case _:
            raise TypeError(f"{type(event).__name__} is not an event of an authored document")


# --- states -------------------------------------------------------------------------------------------------------


class Unwritten(Value):
    """No such document yet."""

    kind: Literal["unwritten"] = "unwritten"


class Written(Value):
    """A document that can be read and edited, as its fields."""

    kind: Literal["written"] = "written"
    fields: JsonObject


class Deleted(Value):
    """A document that was deleted; it can be restored."""

    kind: Literal["deleted"] = "deleted"
    fields: JsonObject


State = Unwritten | Written | Deleted
StoredState = Annotated[State, Field(discriminator="kind")]


def held(state: State) -> JsonObject:
    """The fields of a document, also of one that is deleted."""
    return {} if isinstance(state, Unwritten) else state.fields


def after(state: State, changes: Fields) -> State:
    """The document once these fields have these values: every history of any events adds up to something."""
    kept: dict[str, Any] = {**held(state)}
    for path, value in changes.items():
        if path == SUMMARY:
            continue
        if value is None:
            kept.pop(path, None)
        else:
            kept[path] = value
    gone = changes[SUMMARY] is None if SUMMARY in changes else isinstance(state, Deleted)
    return Deleted(fields=kept) if gone else Written(fields=kept)


# --- declarations -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Collection:
    """Items of a document that are stored one by one: a map by key, or (``ordered``) a list of objects with an ``id``.

    ``noun`` names one item in commands and messages. An item of a map is stored as it is, one of a list as
    ``{"item", "place"}``, under what its field ``identity`` says.
    """

    name: str
    noun: str
    ordered: bool = False
    limit: int = ITEMS_LIMIT
    identity: str = "id"


def always_empty(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """For documents of which lists show no more than their id."""
    return {}


def nothing_wrong(document: Mapping[str, Any]) -> Sequence[Wrong]:
    """For documents without rules beyond their model."""
    return ()


@dataclass(frozen=True)
class Authored:
    """One kind of authored document.

    ``document`` is the closed model of a document without its id; its fields that are not ``collections`` are the
    header. ``rules(document)`` says what else is wrong about one that fits the model. ``name`` and ``plural`` stand in
    the names of commands and views (``CreateWorld``, ``ListWorlds``); ``id_field`` is the field of events and commands
    that holds the document's id.
    ``summary(document)`` is what lists show, and ``searched`` names the texts in it that a search looks at.
    ``hidden`` are stored fields that the document does not show. A context with events of its own names them in
    ``more_events`` and says in ``fields`` what they set; ``restoring`` makes its event of coming back from a summary.
    ``references``, ``called`` and ``needing`` are those of ``Context``.
    """

    category: str
    name: str
    plural: str
    id_field: str
    document: type[Value]
    created: type[Created]
    edited: type[Edited]
    removed: type[Removed]
    restored: type[Event]
    collections: tuple[Collection, ...] = ()
    summary: Callable[[Mapping[str, Any]], Mapping[str, Any]] = always_empty
    searched: tuple[str, ...] = ()
    rules: Callable[[Mapping[str, Any]], Sequence[Wrong]] = nothing_wrong
    hidden: frozenset[str] = frozenset()
    more_events: tuple[type[Event], ...] = ()
    fields: Callable[[Any], Fields] = fields
    restoring: Callable[[str, JsonObject], Event] | None = None
    references: Callable[[Fields], Iterable[Reference]] = no_references
    called: Callable[[str, Fields], Iterable[str]] = own_id
    needing: frozenset[str] = frozenset()

    @cached_property
    def header(self) -> dict[str, str]:
        """Fields of the document that are stored whole -> where they are stored."""
        names = [name for name in self.document.model_fields if name not in self.by_name]
        return {name: OWN_SUMMARY if name == SUMMARY else name for name in names}

    @cached_property
    def header_paths(self) -> frozenset[str]:
        """Where the fields of the header are stored."""
        return frozenset(self.header.values())

    @cached_property
    def by_name(self) -> dict[str, Collection]:
        """Collections by their name."""
        return {one.name: one for one in self.collections}

    def brought_back(self, id_: str, summary: JsonObject) -> Event:
        """The event that brings a deleted document back."""
        if self.restoring is not None:
            return self.restoring(id_, summary)
        named: dict[str, Any] = {self.id_field: id_, "summary": summary}
        return self.restored(**named)

    def evolve(self, state: State, event: Any) -> State:
        """What an event makes of a document."""
        return after(state, self.fields(event))

    def context(self, write: Write, *, snapshot: int = 1) -> Context:
        """The context of these documents; ``write`` is how fields become events (``authored_writing.py``)."""
        return Context(
            category=self.category, branches=True,
            events=(self.created, self.edited, self.removed, self.restored, *self.more_events),
            state=StoredState, initial=Unwritten(), evolve=self.evolve, fields=self.fields, write=write,
            layout=Layout(self.header, {one.name: "item" if one.ordered else None for one in self.collections}),
            references=self.references, called=self.called, needing=self.needing, snapshot=snapshot,
        )


# --- documents and fields -----------------------------------------------------------------------------------------


def path_of(collection: Collection, key: str) -> str:
    """Where an item stands among the fields of its document."""
    return f"{collection.name}/{key}"


def keyed(stored: Mapping[str, Any], collection: Collection) -> dict[str, Any]:
    """The items of a collection as they are stored, by key; those of a list in their order."""
    start = collection.name + "/"
    found = {path[len(start):]: value for path, value in stored.items() if path.startswith(start) and value is not None}
    if not collection.ordered:
        return dict(sorted(found.items()))
    return dict(sorted(found.items(), key=lambda one: (place_of(one[1]), one[0])))


def place_of(stored: Any) -> Place:
    """Where a stored item of a list stands."""
    return tuple(stored["place"])


def document_from(declared: Authored, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The document without its id that fields add up to. Collections are always there, other fields when given."""
    told: dict[str, Any] = {
        name: stored[path] for name, path in declared.header.items() if stored.get(path) is not None
    }
    for collection in declared.collections:
        items = keyed(stored, collection)
        told[collection.name] = [one["item"] for one in items.values()] if collection.ordered else items
    return told


def summarised(declared: Authored, stored: Mapping[str, Any]) -> JsonObject:
    """What lists show of a document with these fields."""
    return dict(declared.summary(document_from(declared, stored)))


def names_of(paths: Sequence[str]) -> list[str]:
    """Fields and collections that paths belong to, each once."""
    return list(dict.fromkeys(path.partition("/")[0] for path in paths))
