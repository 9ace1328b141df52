"""Which asset shows a character with an expression and in a pose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Look(NamedTuple):
    """An asset, and by what it was found: ``expression``, ``pose``, ``portrait``, or nothing."""

    asset: str | None
    by: str | None


def look(character: Mapping[str, Any], expression: str | None, pose: str | None) -> Look:
    """What shows a character: its expression (that of the pose, where there is one), else its pose, else its portrait.

    ``character`` is a character's document, or its fields by path. Expressions and poses are maps by name, or lists of
    objects with a ``name`` or ``id``; each is an asset's id or an object with an ``asset`` (else a ``path``), and an
    expression may say which ``pose`` it belongs to, or hold ``poses`` of its own.
    """
    if expression is not None:
        found = [one for name, one in _named(character, "expressions") if name == expression]
        for one in found:
            inner = dict(_items(one.get("poses"))).get(pose) if isinstance(one, Mapping) and pose else None
            if asset := _asset(inner):
                return Look(asset, "expression")
        fitting = [one for one in found if isinstance(one, Mapping) and pose is not None and one.get("pose") == pose]
        for one in (*fitting, *found):
            if asset := _asset(one):
                return Look(asset, "expression")
    if pose is not None:
        for name, one in _named(character, "poses"):
            if name == pose and (asset := _asset(one)):
                return Look(asset, "pose")
    asset = _asset(character.get("portrait"))
    return Look(asset, "portrait" if asset else None)


def knows(character: Mapping[str, Any], kind: str, name: str) -> bool:
    """Whether a character has an expression or a pose (``kind``: ``expressions``, ``poses``) of that name, or none at
    all, so that nothing can be said."""
    names = [one for one, _ in _named(character, kind)]
    return not names or name in names


def _named(character: Mapping[str, Any], kind: str) -> Iterator[tuple[str, Any]]:
    yield from _items(character.get(kind))
    start = f"{kind}/"
    for path in sorted(character):
        if path.startswith(start):
            stored = character[path]
            item = stored["item"] if isinstance(stored, Mapping) and "item" in stored else stored
            yield path[len(start):], item
            if isinstance(item, Mapping) and isinstance(named := item.get("name"), str):
                yield named, item


def _items(told: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(told, Mapping):
        for name, one in told.items():
            yield str(name), one
            if isinstance(one, Mapping) and isinstance(named := one.get("name"), str):
                yield named, one
    elif isinstance(told, list | tuple):
        for one in told:
            if isinstance(one, Mapping):
                for key in ("name", "id", "expression", "pose"):
                    if isinstance(named := one.get(key), str):
                        yield named, one
                        break


def _asset(told: Any) -> str | None:
    if isinstance(told, Mapping):
        told = told.get("asset") or told.get("path")
    return told if isinstance(told, str) and told else None
