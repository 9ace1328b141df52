"""From fields to events: what an authored document must be like, and the events that make it so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from domain.bounded_json import json_size, same_json
from domain.context import Fields, Write
from domain.errors import Invalid, Remedy
from domain.story.authored import (
    DOCUMENT_BYTES,
    FIELD_BYTES,
    SUMMARY,
    Authored,
    Collection,
    Deleted,
    Key,
    State,
    Unwritten,
    Written,
    Wrong,
    after,
    document_from,
    held,
    keyed,
    path_of,
    place_of,
    summarised,
)
from domain.story.places import LONGEST, arranged
from domain.values import Event

BATCH_BYTES: Final = 400 * 1024
"""Bytes of fields that one event carries before the next begins."""

SHOWN: Final = 200
"""Most errors that one answer lists."""

PLACE_LIMIT: Final = 2**53
"""Integers of a place lie between this and its negative."""

_KEY: Final = TypeAdapter(Key)


def written_by(declared: Authored) -> Write:
    """``Context.write`` of a kind of documents: see there. Places of items are taken as they are given."""

    def write(id_: str, state: Any, fields: Fields) -> Sequence[Event]:
        wanted = {path: value for path, value in fields.items() if path != SUMMARY}
        alive = fields[SUMMARY] is not None if SUMMARY in fields else not isinstance(state, Deleted)
        if isinstance(state, Unwritten) and not any(value is not None for value in wanted.values()) and not (
            alive and SUMMARY in fields
        ):
            return []
        return changed(declared, id_, state, wanted, alive=alive)

    return write


def changed(declared: Authored, id_: str, state: State, wanted: Fields, *, alive: bool = True) -> list[Event]:
    """The events that give a document these fields, and that show it or put it out of sight; none when it is so.

    Raises ``Invalid`` with everything that is wrong about the document that would come about.
    """
    before = held(state)
    differing = {
        path: value for path, value in wanted.items() if not same_json(before.get(path), value)
    }
    stored = held(after(state, differing))
    if differing or (alive and isinstance(state, Unwritten)):
        must_fit(declared, stored, differing)
    summary = summarised(declared, stored)
    named: dict[str, Any] = {declared.id_field: id_}
    events: list[Event] = []
    if isinstance(state, Deleted) and (alive or differing):
        events.append(declared.brought_back(id_, summarised(declared, before)))
    portions = list(_portions(declared, differing))
    for number, portion in enumerate(portions or ([{}] if isinstance(state, Unwritten) else [])):
        first = isinstance(state, Unwritten) and number == 0
        type_ = declared.created if first else declared.edited
        events.append(type_(**named, fields=portion, summary=summary))
    if not alive and (events or isinstance(state, Written)):
        events.append(declared.removed(**named))
    return events


def _portions(declared: Authored, fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    # The header comes first, so that a document too large for one event has its name from the first on.
    ordered = sorted(fields, key=lambda path: (path not in declared.header_paths, path))
    portion: dict[str, Any] = {}
    size = 0
    for path in ordered:
        more = json_size(path) + json_size(fields[path])
        if portion and size + more > BATCH_BYTES:
            yield portion
            portion, size = {}, 0
        portion[path] = fields[path]
        size += more
    if portion:
        yield portion


# --- documents as fields ------------------------------------------------------------------------------------------


def replaced(declared: Authored, state: State, document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a whole document, with ``None`` for what it no longer has; items of lists that stay in order keep
    their places."""
    return renewed(declared, state, {name: document.get(name) for name in declared.document.model_fields})


def renewed(declared: Authored, state: State, named: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that whole values of named fields and collections amount to; ``None`` empties."""
    before = held(state)
    wanted: dict[str, Any] = {}
    for name, value in named.items():
        collection = declared.by_name.get(name)
        if collection is None:
            wanted[declared.header[name]] = value
        else:
            wanted |= listed(collection, before, value or []) if collection.ordered else mapped(
                collection, before, value or {})
    return wanted


def mapped(collection: Collection, before: Mapping[str, Any], items: Mapping[str, Any]) -> dict[str, Any]:
    """A map as a whole: its items, and ``None`` for those that are no longer in it."""
    gone = {path_of(collection, key): None for key in keyed(before, collection) if key not in items}
    return gone | {path_of(collection, key): value for key, value in items.items()}


def listed(collection: Collection, before: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A list as a whole, in which as few places change as possible. Raises ``Invalid`` for an id that comes twice."""
    first: dict[str, int] = {}
    wrong = []
    for index, item in enumerate(items):
        key = item[collection.identity]
        if first.setdefault(key, index) != index:
            message = f"{key!r} is used by {collection.name}/{first[key]} already."
            path = f"{collection.name}/{index}/{collection.identity}"
            wrong.append({"path": path, "message": message, "code": "duplicate_id"})
    if wrong:
        raise invalid(collection.noun, wrong)
    known = keyed(before, collection)
    keys = list(first)
    places = arranged([place_of(known[key]) if key in known else None for key in keys])
    gone = {path_of(collection, key): None for key in known if key not in first}
    return gone | {
        path_of(collection, key): {"item": dict(item), "place": list(place)}
        for key, item, place in zip(keys, items, places, strict=True)
    }


# --- what must hold -----------------------------------------------------------------------------------------------


def must_fit(declared: Authored, stored: Mapping[str, Any], named: Mapping[str, Any]) -> None:
    """Raises ``Invalid`` with everything that is wrong about the document that ``stored`` adds up to.

    ``named`` are the fields that were asked for: their paths and sizes are judged too.
    """
    wrong = _paths(declared, named)
    if not wrong:
        try:
            document = document_from(declared, stored)
            declared.document.model_validate_json(to_json(document), strict=True)
        except ValidationError as error:
            wrong = [_told(one) for one in error.errors(include_url=False, include_context=False, include_input=False)]
        else:
            wrong = [*declared.rules(document)]
    for collection in () if wrong else declared.collections:
        if sum(path.startswith(collection.name + "/") for path in stored) > collection.limit:
            message = f"There is room for {collection.limit} items."
            wrong.append({"path": collection.name, "message": message, "code": "too_many"})
    if not wrong and sum(json_size(value) for value in stored.values()) > DOCUMENT_BYTES:
        wrong.append({"path": "", "message": f"It is larger than {DOCUMENT_BYTES} bytes.", "code": "too_large"})
    if wrong:
        raise invalid(declared.category, wrong)


def _told(error: Any) -> Wrong:
    path = "/".join(str(part) for part in error["loc"] if part != "[key]")
    return {"path": path[:400], "message": error["msg"].removeprefix("Value error, "), "code": error["type"]}


def _paths(declared: Authored, named: Mapping[str, Any]) -> list[Wrong]:
    """What is wrong about the paths, the places and the sizes of single fields."""
    wrong = []
    for path, value in named.items():
        if path in declared.hidden:
            continue
        name, slash, key = path.partition("/")
        collection = declared.by_name.get(name)
        if (collection is None or not slash) if name not in declared.header_paths else bool(slash):
            wrong.append({"path": path[:400], "message": "There is no such field.", "code": "unknown_field"})
        elif value is None:
            continue
        elif collection is not None and (message := _item(collection, key, value)):
            wrong.append({"path": path[:400], "message": message, "code": "wrong_item"})
        elif json_size(value) > FIELD_BYTES:
            message = f"It is larger than {FIELD_BYTES} bytes."
            wrong.append({"path": path[:400], "message": message, "code": "too_large"})
    return wrong


def _item(collection: Collection, key: str, value: Any) -> str | None:
    try:
        _KEY.validate_python(key)
    except ValidationError as error:
        return str(error.errors(include_url=False)[0]["msg"]).removeprefix("Value error, ")
    if not collection.ordered:
        return None
    if not isinstance(value, Mapping) or set(value) != {"item", "place"} or not isinstance(value["item"], Mapping):
        return "It needs an `item` and its `place`."
    place = value["place"]
    if not isinstance(place, list | tuple) or not 1 <= len(place) <= 2 * LONGEST or not all(
        type(one) is int and abs(one) < PLACE_LIMIT for one in place
    ):
        return "Its place is a short list of integers."
    return None if value["item"].get(collection.identity) == key else "Its id and its key differ."


def invalid(kind: str, wrong: Sequence[Wrong]) -> Invalid:
    """The error for a document, or an item, about which something is wrong."""
    first, more = wrong[0], len(wrong) - 1
    sentence = f"{first['path']}: {first['message']}" if first["path"] else first["message"]
    return Invalid(
        sentence + (f" ({more} more)" if more else ""),
        error=f"invalid_{kind}",
        remediation=[Remedy("Mend what `detail.errors` names.", "fix_fields")],
        detail={"errors": list(wrong[:SHOWN]), "count": len(wrong)},
    )
