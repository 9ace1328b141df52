"""Asking for authored documents, whatever they are about: made, replaced, edited, deleted, restored, item by item.

A context declares its documents once (``domain/story/authored.py``); ``asked_of`` makes its commands, which have names
of their own (``CreateWorld``) and the closed schema of its document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from pydantic import create_model

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.story import authored_items
from commands.story.authored_refusals import already_there, is_deleted, opened, other_document
from domain.bounded_json import same_json
from domain.ids import Token
from domain.story.authored import Authored, Deleted, State, Unwritten, Written, held
from domain.story.authored_writing import changed, renewed, replaced
from domain.values import Event, Value


@dataclass(frozen=True)
class Asks:
    """The commands of one kind of documents, by what they do, and how they are declared to the doors."""

    commands: tuple[Asking, ...]

    def __getitem__(self, name: str) -> type[Any]:
        """The class of a command, by its name."""
        return next(one.command for one in self.commands if one.name == name)


def asked_of(declared: Authored, route: str) -> Asks:
    """Every command of a kind of documents, with doors below ``route`` (``/api/worlds``)."""
    one = f"{route}/{{{declared.id_field}}}"
    scope = f"{declared.category}:write"
    id_field, name = declared.id_field, declared.name
    create_ = _whole(declared, f"Create{name}", f"Write down a {_noun(declared)}.", {"id": (Token | None, None)})
    replace_ = _whole(
        declared, f"Replace{name}", f"Make a {_noun(declared)} say what this document says; only what differs is "
        "recorded.", {id_field: (Token, ...), "id": (Token | None, None)},
    )
    delete_ = _about(declared, f"Delete{name}", f"Put a {_noun(declared)} out of sight on this worldline; nothing of "
                     "it is lost.")
    restore_ = _about(declared, f"Restore{name}", f"Bring a deleted {_noun(declared)} back as it was.")
    asking = partial(Asking, id_field=id_field, scope=scope)
    return Asks((
        Asking(create_, partial(create, declared), "id", scope, f"POST {route}", creates=True),
        asking(replace_, partial(replace, declared), route=f"PUT {one}"),
        asking(_edit(declared), partial(edit, declared), route=f"PATCH {one}"),
        asking(delete_, partial(delete, declared), route=f"DELETE {one}"),
        asking(restore_, partial(restore, declared), route=f"POST {one}/restore"),
        *authored_items.asked_of(declared, one, scope),
    ))


# --- the classes --------------------------------------------------------------------------------------------------


def _noun(declared: Authored) -> str:
    return declared.category


def _whole(declared: Authored, name: str, about: str, more: Mapping[str, Any]) -> type[Any]:
    return made(name, about, (declared.document, Command), more)


def _about(declared: Authored, name: str, about: str) -> type[Any]:
    return made(name, about, (Command,), {declared.id_field: (Token, ...)})


def made(name: str, about: str, bases: tuple[type[Value], ...], fields: Mapping[str, Any]) -> type[Any]:
    """The class of a command."""
    return create_model(name, __base__=bases, __doc__=about, __module__=__name__, **fields)


def _edit(declared: Authored) -> type[Any]:
    """Every field of the document, none needed. A map names single items, of which ``null`` takes one away."""
    fields: dict[str, Any] = {declared.id_field: (Token, ...)}
    for name, field in declared.document.model_fields.items():
        whole: Any = field.annotation
        collection = declared.by_name.get(name)
        if collection is not None and not collection.ordered:
            key, item = authored_items.parts_of(declared, collection)
            whole = dict[key, item | None]  # type: ignore[valid-type]
        elif field.metadata:
            whole = Annotated[(whole, *field.metadata)]
        fields[name] = (whole | None, None)
    return made(
        f"Edit{declared.name}", f"Change a {_noun(declared)}: only what is named changes, `null` takes it away.",
        (Command,), fields,
    )


# --- deciding -----------------------------------------------------------------------------------------------------


def given(declared: Authored, command: Command) -> dict[str, Any]:
    """The fields of the document that a command names, as JSON."""
    told = command.model_dump(mode="json", exclude_unset=True)
    return {name: value for name, value in told.items() if name in declared.document.model_fields}


def create(declared: Authored, command: Any, state: State, asked: Asked) -> list[Event]:
    """Nothing when the same document stands there already."""
    assert command.id is not None, "the door gives every document an id"
    if isinstance(state, Deleted):
        raise is_deleted(declared, command.id)
    wanted = replaced(declared, state, given(declared, command))
    if isinstance(state, Written):
        if all(same_json(held(state).get(path), value) for path, value in wanted.items()):
            return []
        raise already_there(declared, command.id)
    return changed(declared, command.id, state, wanted)


def replace(declared: Authored, command: Any, state: State, asked: Asked) -> list[Event]:
    """What differs."""
    id_ = getattr(command, declared.id_field)
    opened(declared, id_, state)
    if command.id not in (None, id_):
        raise other_document(declared, id_, command.id)
    return changed(declared, id_, state, replaced(declared, state, given(declared, command)))


def edit(declared: Authored, command: Any, state: State, asked: Asked) -> list[Event]:
    """Nothing when everything named is so already."""
    id_ = getattr(command, declared.id_field)
    opened(declared, id_, state)
    named = given(declared, command)
    wanted: dict[str, Any] = {}
    for collection in declared.collections:
        if not collection.ordered and named.get(collection.name) is not None:
            items = named.pop(collection.name)
            wanted |= {f"{collection.name}/{key}": value for key, value in items.items()}
    return changed(declared, id_, state, renewed(declared, state, named) | wanted)


def delete(declared: Authored, command: Any, state: State, asked: Asked) -> list[Event]:
    """A deleted document stays so."""
    id_ = getattr(command, declared.id_field)
    if isinstance(state, Unwritten):
        opened(declared, id_, state)
    return changed(declared, id_, state, {}, alive=False)


def restore(declared: Authored, command: Any, state: State, asked: Asked) -> list[Event]:
    """A document that is there stays so."""
    id_ = getattr(command, declared.id_field)
    if isinstance(state, Unwritten):
        opened(declared, id_, state)
    return changed(declared, id_, state, {})
