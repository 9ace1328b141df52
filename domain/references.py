"""References between documents: where one names another, and what goes when the named one is gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Final, NamedTuple

Target = tuple[str, ...]
"""What is named: category and document, and collection and key where it is an item of that document."""

Step = str | int


class Reference(NamedTuple):
    """One reference. Any of ``to`` is enough.

    ``field`` is the field of the document that holds it; ``goes`` is what of it makes no sense without the target, as a
    path below the field (empty: all of the field; ``None``: it can stay as it is). ``last``: the field goes with the
    last item of the list. ``needed``: without its target the document itself is of no use.
    """

    to: tuple[Target, ...]
    field: str
    goes: tuple[Step, ...] | None = None
    last: bool = False
    needed: bool = False


def no_references(fields: Mapping[str, Any]) -> Iterable[Reference]:
    """For documents that name no others."""
    return ()


def own_id(id_: str, fields: Mapping[str, Any]) -> Iterable[str]:
    """For documents that are named by their id alone."""
    return (id_,)


# --- how documents are named --------------------------------------------------------------------------------------

VARIABLES: Final = ("variables", "project")
SCOPES: Final = ("global", "session", "scene")

NAMED_IN_METADATA: Final = {
    name: category
    for category in ("world", "character", "scene", "template", "timeline") for name in (category, f"{category}_id")
}
"""Entries of a document's ``metadata`` that name another document -> of which category."""


def called(name: str) -> str:
    """A character's name as references know it: capitals and small letters make no difference."""
    return name.strip().casefold()


def variable_targets(path: str) -> tuple[Target, ...]:
    """Where a variable may be declared, or have a value: under its own path, or as a part of a larger one."""
    parts = path.split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return tuple(
        (*VARIABLES, *where) for name in names
        for where in (*(("declarations", f"{scope}:{name}") for scope in SCOPES), ("values", name))
    )


def of_conditions(field: str, holders: Iterable[Mapping[str, Any]], own: Iterable[str] = ()) -> Iterator[Reference]:
    """What conditions and actions refer to; ``own`` are variables that are the document's. They can stay as they are:
    a test of what is not there fails, and whatever is changed comes to be."""
    known = frozenset(own)
    for holder in holders:
        for kind in ("conditions", "actions"):
            for one in holder.get(kind) or ():
                path = one.get("key") if isinstance(one, Mapping) else None
                if isinstance(path, str) and path.partition(".")[0] not in known:
                    yield Reference(variable_targets(path), field)


def of_metadata(fields: Mapping[str, Any]) -> Iterator[Reference]:
    """What a document's ``metadata`` names: ``{"world": "saltmere"}``."""
    metadata = fields.get("metadata")
    for name, value in metadata.items() if isinstance(metadata, Mapping) else ():
        category = NAMED_IN_METADATA.get(name)
        if category is not None and isinstance(value, str):
            to = called(value) if category == "character" else value
            yield Reference(((category, to),), "metadata", (name,))


# --- what is left without them ------------------------------------------------------------------------------------


def released(fields: Mapping[str, Any], references: Iterable[Reference]) -> dict[str, Any]:
    """The fields without what makes no sense once the targets of these references are gone."""
    found = dict(fields)
    ways: dict[str, set[tuple[Step, ...]]] = {}
    lasting: dict[str, set[tuple[Step, ...]]] = {}
    for one in references:
        if one.goes is not None:
            ways.setdefault(one.field, set()).add(one.goes)
            if one.last:
                lasting.setdefault(one.field, set()).add(one.goes[:-1])
    for field, paths in ways.items():
        if () in paths:
            found.pop(field, None)
            continue
        value = deepcopy(found[field])
        # The longest and last first, so that places in lists still mean what they meant.
        for path in sorted(paths, key=lambda path: [(isinstance(step, int), step) for step in path], reverse=True):
            _without(value, path)
        emptied = any(not _at(value, path) for path in lasting.get(field, ()))
        if emptied:
            del found[field]
        else:
            found[field] = value
    return found


def _at(value: Any, path: Iterable[Step]) -> Any:
    for step in path:
        value = value[step]
    return value


def _without(value: Any, path: tuple[Step, ...]) -> None:
    holder = _at(value, path[:-1])
    del holder[path[-1]]
