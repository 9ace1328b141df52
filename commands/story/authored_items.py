"""Asking for single items of authored documents, so that people who edit different ones never undo each other.

Items of maps are set, edited field by field, and removed; items of lists are added, edited, moved, put in order, and
removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, create_model

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.story.authored_refusals import contradicting, item_exists, opened, unknown_item
from domain.bounded_json import BoundedObject, same_json
from domain.errors import Invalid, Remedy
from domain.ids import Token
from domain.story.authored import ITEMS_LIMIT, Authored, Collection, Key, State, Written, keyed, path_of, place_of
from domain.story.authored_writing import changed, invalid
from domain.story.places import Place, arranged
from domain.values import Event

Index = Annotated[int, Field(ge=0, le=ITEMS_LIMIT, strict=True)]


def parts_of(declared: Authored, collection: Collection) -> tuple[Any, Any]:
    """The types of the keys and the items of a collection, as its document declares them."""
    arguments = get_args(declared.document.model_fields[collection.name].annotation)
    return (Key, arguments[0]) if collection.ordered else (arguments[0], arguments[1])


def asked_of(declared: Authored, one: str, scope: str) -> list[Asking]:
    """The commands for items of a kind of documents, with doors below ``one`` (``/api/worlds/{world_id}``)."""
    asking = partial(Asking, id_field=declared.id_field, scope=scope)
    found = []
    if maps := tuple(each.name for each in declared.collections if not each.ordered):
        door = f"{one}/{{collection}}/{{key}}"
        for verb, about, fields, decide, method in (
            ("Set", "Put an item into a collection, in place of the one with that key.",
             {"value": (_item_of_any(declared), ...)}, set_item, "PUT"),
            ("Edit", "Change fields of an item: only what is named changes, `null` takes a field away.",
             {"fields": (BoundedObject, ...)}, edit_item, "PATCH"),
            ("Remove", "Take an item out of a collection.", {}, remove_item, "DELETE"),
        ):
            command = _class(declared, f"{verb}{declared.name}Item", about, {
                "collection": (Literal[maps], ...), "key": (Key, ...), **fields,
            })
            asking_ = asking(command, partial(decide, declared), route=f"{method} {door}")
            found.append(asking_)
    for collection in declared.collections:
        if collection.ordered:
            found += _asked_of_list(declared, collection, one, asking)
    return found


def _item_of_any(declared: Authored) -> Any:
    """The type of an item of any map of a document; its own collection's rules are judged with the document."""
    kinds: Any = None
    for collection in declared.collections:
        if not collection.ordered:
            item = parts_of(declared, collection)[1]
            kinds = item if kinds is None else kinds | item
    return kinds


def _asked_of_list(declared: Authored, collection: Collection, one: str, asking: Any) -> list[Asking]:
    key = f"{collection.noun}_id"
    where: dict[str, Any] = {"before": (Key | None, None), "after": (Key | None, None), "at": (Index | None, None)}
    noun = "".join(part.capitalize() for part in collection.noun.split("_"))
    rest = f"{declared.name}{noun}"
    plural = "".join(part.capitalize() for part in collection.name.split("_"))
    item = parts_of(declared, collection)[1]
    order = Annotated[tuple[Key, ...], Field(max_length=collection.limit)]
    named = collection.noun.replace("_", " ")
    door = f"{one}/{collection.name}"
    return [
        asking(_class(declared, f"Add{rest}", f"Add one {named}, at the end, `before` or `after` another, or `at` an "
                      "index.", {collection.noun: (item, ...), **where}),
               partial(add, declared, collection), route=f"POST {door}"),
        asking(_class(declared, f"Edit{rest}", f"Change fields of one {named}: only what is named changes, `null` "
                      "takes a field away.", {key: (Key, ...), "fields": (BoundedObject, ...)}),
               partial(edit_listed, declared, collection), route=f"PATCH {door}/{{{key}}}"),
        asking(_class(declared, f"Move{rest}", f"Put one {named} elsewhere among the others.",
                      {key: (Key, ...), **where}),
               partial(move, declared, collection), route=f"POST {door}/{{{key}}}/move"),
        asking(_class(declared, f"Remove{rest}", f"Take one {named} out.", {key: (Key, ...)}),
               partial(remove_listed, declared, collection), route=f"DELETE {door}/{{{key}}}"),
        asking(_class(declared, f"Reorder{declared.name}{plural}", "Put everything in this order; as little as "
                      "possible moves.", {"order": (order, ...)}),
               partial(reorder, declared, collection), route=f"PUT {one}/{collection.name}-order"),
    ]


def _class(declared: Authored, name: str, about: str, fields: Mapping[str, Any]) -> type[Any]:
    return create_model(
        name, __base__=(Command,), __doc__=about, __module__=__name__, **{declared.id_field: (Token, ...), **fields}
    )


# --- maps ---------------------------------------------------------------------------------------------------------


def set_item(declared: Authored, command: Any, state: State, asked: Asked) -> list[Event]:
    """Nothing when the item is so already."""
    id_, collection = _about(declared, command, state)
    value = command.model_dump(mode="json", exclude_unset=True)["value"]
    return changed(declared, id_, state, {path_of(collection, command.key): value})


def edit_item(declared: Authored, command: Any, state: State, asked: Asked) -> list[Event]:
    """Nothing when everything named is so already. An item that is no object has no fields."""
    id_, collection = _about(declared, command, state)
    path = path_of(collection, command.key)
    item = opened(declared, id_, state).fields.get(path)
    if item is None:
        raise unknown_item(declared, collection, id_, command.key)
    return changed(declared, id_, state, {path: _patched(collection, path, item, command.fields)})


def remove_item(declared: Authored, command: Any, state: State, asked: Asked) -> list[Event]:
    """An item that is gone stays so."""
    id_, collection = _about(declared, command, state)
    return changed(declared, id_, state, {path_of(collection, command.key): None})


def _about(declared: Authored, command: Any, state: State) -> tuple[str, Collection]:
    id_ = getattr(command, declared.id_field)
    opened(declared, id_, state)
    return id_, declared.by_name[command.collection]


def _patched(collection: Collection, path: str, item: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(item, dict):
        message = "It is no object, so it has no fields: set it as a whole."
        raise invalid(collection.noun, [{"path": path, "message": message, "code": "no_fields"}])
    return {name: value for name, value in {**item, **fields}.items() if value is not None}


# --- lists --------------------------------------------------------------------------------------------------------


def add(declared: Authored, collection: Collection, command: Any, state: State, asked: Asked) -> list[Event]:
    """Nothing when the same item is there already."""
    document, id_, known = _list(declared, collection, command, state)
    item = command.model_dump(mode="json", exclude_unset=True)[collection.noun]
    key = item[collection.identity]
    if key in known:
        if same_json(known[key]["item"], item):
            return []
        raise item_exists(declared, collection, id_, key)
    index = _index(declared, collection, id_, list(known), command)
    places: list[Place | None] = [place_of(one) for one in known.values()]
    return changed(declared, id_, document, _placed(collection, known, {key: item}, [
        *list(known)[:index], key, *list(known)[index:],
    ], [*places[:index], None, *places[index:]]))


def edit_listed(declared: Authored, collection: Collection, command: Any, state: State, asked: Asked) -> list[Event]:
    """Nothing when everything named is so already. The id of an item stays for ever."""
    document, id_, known = _list(declared, collection, command, state)
    key = _found(declared, collection, id_, known, command)
    path = path_of(collection, key)
    item = _patched(collection, path, known[key]["item"], command.fields)
    return changed(declared, id_, document, {path: {"item": item, "place": known[key]["place"]}})


def move(declared: Authored, collection: Collection, command: Any, state: State, asked: Asked) -> list[Event]:
    """Nothing when it stands there already; an index past the end is the end."""
    document, id_, known = _list(declared, collection, command, state)
    key = _found(declared, collection, id_, known, command)
    others = [name for name in known if name != key]
    index = _index(declared, collection, id_, others, command)
    return _in_order(declared, collection, document, id_, known, [*others[:index], key, *others[index:]])


def remove_listed(declared: Authored, collection: Collection, command: Any, state: State, asked: Asked) -> list[Event]:
    """An item that is gone stays so."""
    document, id_, _ = _list(declared, collection, command, state)
    return changed(declared, id_, document, {path_of(collection, getattr(command, f"{collection.noun}_id")): None})


def reorder(declared: Authored, collection: Collection, command: Any, state: State, asked: Asked) -> list[Event]:
    """Every item exactly once."""
    document, id_, known = _list(declared, collection, command, state)
    if sorted(command.order) != sorted(known):
        missing = sorted(set(known) - set(command.order))[:20]
        unknown = sorted(set(command.order) - set(known))[:20]
        raise Invalid(
            "The order needs every id exactly once.",
            error="incomplete_order",
            remediation=[Remedy("Name each of them once.", "complete_order")],
            detail={"missing": missing, "unknown": unknown},
        )
    return _in_order(declared, collection, document, id_, known, command.order)


def _list(
    declared: Authored, collection: Collection, command: Any, state: State
) -> tuple[Written, str, dict[str, Any]]:
    id_ = getattr(command, declared.id_field)
    document = opened(declared, id_, state)
    return document, id_, keyed(document.fields, collection)


def _found(declared: Authored, collection: Collection, id_: str, known: Mapping[str, Any], command: Any) -> str:
    key: str = getattr(command, f"{collection.noun}_id")
    if key not in known:
        raise unknown_item(declared, collection, id_, key)
    return key


def _in_order(
    declared: Authored, collection: Collection, document: Written, id_: str, known: Mapping[str, Any],
    order: Sequence[str],
) -> list[Event]:
    if list(order) == list(known):
        return []
    return changed(declared, id_, document, _placed(
        collection, known, {}, order, [place_of(known[key]) for key in order]))


def _placed(
    collection: Collection, known: Mapping[str, Any], new: Mapping[str, Any], order: Sequence[str],
    places: Sequence[Place | None],
) -> dict[str, Any]:
    """The items whose place or content this order changes."""
    found = {}
    for key, place in zip(order, arranged(places), strict=True):
        if key in new or place != place_of(known[key]):
            item = new[key] if key in new else known[key]["item"]
            found[path_of(collection, key)] = {"item": item, "place": list(place)}
    return found


def _index(declared: Authored, collection: Collection, id_: str, others: Sequence[str], command: Any) -> int:
    named = [name for name in ("before", "after", "at") if getattr(command, name) is not None]
    if len(named) > 1:
        raise contradicting(f"Give one of before, after and at, not {' and '.join(named)}.", "contradicting_places",
                            "Name one place.")
    if command.at is not None:
        return min(int(command.at), len(others))
    neighbour = command.before if command.before is not None else command.after
    if neighbour is None:
        return len(others)
    if neighbour == getattr(command, f"{collection.noun}_id", None):
        raise contradicting(f"{neighbour!r} cannot be its own neighbour.", "own_neighbour", "Name another one.")
    if neighbour not in others:
        raise unknown_item(declared, collection, id_, neighbour)
    return others.index(neighbour) + (command.before is None)
