"""A name that both sides have given to different things."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from domain.story.merging.conflicts import MISSING, Court
from domain.story.merging.documents import Merged, newer_side
from domain.story.merging.held import Held

NAMED_BY: Final = ("title", "name")
"""Fields that hold what people call a thing."""


def names_apart(
    changed: Iterable[Merged], theirs: str, court: Court
) -> list[Merged]:
    """The merged documents, with a conflict for each name that both sides gave since they parted.

    Of two documents the one of the other side (``theirs``, a worldline) is called after it where ours keeps the name.
    Two items of one document: the other side's is left away where ours stays.
    """
    found = {one.address: one for one in changed}
    taken: dict[tuple[str, str], str] = {}
    for one in found.values():
        name = _given(one.base, one.ours)
        if name is not None and one.alive:
            taken.setdefault((one.category, name), one.id)
    for key, one in sorted(found.items()):
        name = _given(one.base, one.theirs)
        other = taken.get((one.category, name)) if name is not None and one.alive else None
        if name is not None and other is not None and other != one.id and _name_of(one.fields)[1] == name:
            field = _name_of(one.fields)[0]
            court.newer = newer_side(one.category, one.id, found[f"{one.category}/{other}"].ours, one.theirs)
            told = court.settle(
                "name_twice", (one.category, one.id, field), one.base.fields.get(field, MISSING),
                f"{name} ({theirs})", name, {"other": f"{one.category}/{other}"},
            )
            if told is not MISSING and told != name:
                found[key] = _with(one, {field: told})
        found[key] = _items_apart(found[key], court)
    return list(found.values())


def _given(base: Held, side: Held) -> str | None:
    """The name that a side gave a document since the base, if it did."""
    name = _name_of(side.fields)[1] if side.alive else None
    return name if name != _name_of(base.fields)[1] else None


def _name_of(fields: Mapping[str, Any]) -> tuple[str, str | None]:
    return next(((one, fields[one]) for one in NAMED_BY if isinstance(fields.get(one), str)), ("", None))


def _items_apart(one: Merged, court: Court) -> Merged:
    """Items of one collection that were added or renamed by either side to the same name under different keys."""
    taken = {(path.partition("/")[0], name): path for path, name in _named_items(one.base, one.ours)}
    changed: dict[str, Any] = {}
    for path, name in _named_items(one.base, one.theirs):
        collection, _, key = path.partition("/")
        other = taken.get((collection, name))
        if other is None or other == path or path not in one.fields or other not in one.fields:
            continue
        told = court.settle(
            "name_twice", (one.category, one.id, collection, key), one.base.fields.get(path, MISSING),
            one.ours.fields.get(path, MISSING), one.fields[path], {"other": other},
        )
        changed[path] = None if told is MISSING else told
    return _with(one, changed) if changed else one


def _named_items(base: Held, side: Held) -> Iterator[tuple[str, str]]:
    for path, value in side.fields.items():
        if "/" in path and isinstance(value, Mapping):
            name = _item_name(value)
            if name is not None and name != _item_name(base.fields.get(path)):
                yield path, name


def _item_name(value: Any) -> str | None:
    inner = value.get("item", value) if isinstance(value, Mapping) else None
    name = inner.get("name") if isinstance(inner, Mapping) else None
    return name if isinstance(name, str) else None


def _with(one: Merged, changes: Mapping[str, Any]) -> Merged:
    fields = {path: value for path, value in {**one.fields, **changes}.items() if value is not None}
    return replace(one, fields=fields, writes={**one.writes, **changes}, verbatim=False)
