"""What a point of view may know: choices, moments and variables that are not for it are left out of what it is shown.

A view of things, never the thing: plays run on the whole document and all variables. Masking twice is masking once.
``visible_to`` of a choice names who is offered it; ``known_to`` of a declared variable, and ``data.known_to`` of a
node, name who may know of it. Nobody named is everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

KNOWN_TO: Final = "known_to"

HIDDEN: Final = {"hidden": True}
"""The ``data`` of a node that somebody else lives through."""

_KEPT: Final = ("id", "type", "end")

Declarations = Mapping[str, Mapping[str, Any]]
"""Dot path of a variable -> its declaration, of which only ``known_to`` counts here."""


def concerns(views: Any, pov: str) -> bool:
    """Whether a list of points of view means this one; none at all means everybody."""
    return pov in views if isinstance(views, list | tuple | set | frozenset) and views else True


def known(variables: Mapping[str, Any], declarations: Declarations, pov: str) -> dict[str, Any]:
    """The variables without what the point of view cannot know. A declared path hides everything below it."""
    shown = dict(variables)
    for path in _secret(declarations, pov):
        _without(shown, path)
    return shown


def _secret(declarations: Declarations, pov: str) -> list[tuple[str, ...]]:
    hidden = (path for path, one in sorted(declarations.items()) if not concerns(one.get(KNOWN_TO), pov))
    return [tuple(path.split(".")) for path in hidden]


def _without(variables: dict[str, Any], path: Sequence[str]) -> None:
    """Takes a path out, copying on the way what others may share."""
    *parents, leaf = path
    current = variables
    for part in parents:
        inner = current.get(part)
        if not isinstance(inner, Mapping):
            return
        current[part] = current = dict(inner)
    current.pop(leaf, None)


def masked_node(node: Mapping[str, Any], pov: str, declarations: Declarations | None = None) -> dict[str, Any]:
    """A node as a point of view may see it.

    Choices that are not visible to it are left out. Of a node that it may not know of, only the graph remains: id,
    type, end, and where its choices lead.
    """
    data = node.get("data")
    hidden = isinstance(data, Mapping) and not concerns(data.get(KNOWN_TO), pov)
    secret = _secret(declarations or {}, pov)
    shown = {name: node[name] for name in _KEPT if name in node} if hidden else dict(node)
    if hidden:
        shown["data"] = dict(HIDDEN)
    else:
        _ruled(shown, secret)
    if "choices" in node:
        seen = [one for one in node["choices"] if concerns(one.get("visible_to"), pov)]
        shown["choices"] = [_led(one) for one in seen] if hidden else [_ruled(dict(one), secret) for one in seen]
    return shown


def _led(choice: Mapping[str, Any]) -> dict[str, Any]:
    return {name: choice[name] for name in ("target", "id", "visible_to") if name in choice}


def _ruled(part: dict[str, Any], secret: Iterable[tuple[str, ...]]) -> dict[str, Any]:
    """A node or choice without the conditions and actions that would tell of what is secret."""
    hidden = list(secret)
    for name in ("conditions", "actions"):
        if hidden and (rules := part.get(name)):
            kept = [rule for rule in rules if not _tells(rule["key"].split("."), hidden)]
            if kept:
                part[name] = kept
            else:
                del part[name]
    return part


def _tells(path: Sequence[str], secret: Iterable[tuple[str, ...]]) -> bool:
    """Whether a path stands in, or holds, something secret."""
    return any(all(one == other for one, other in zip(path, hidden, strict=False)) for hidden in secret)


def masked_scene(document: Mapping[str, Any], pov: str, declarations: Declarations | None = None) -> dict[str, Any]:
    """A scene document as a point of view may see it: still a valid scene, with every node at its place."""
    shown = dict(document)
    if declarations and isinstance(document.get("variables"), Mapping):
        shown["variables"] = known(document["variables"], declarations, pov)
    shown["nodes"] = [masked_node(node, pov, declarations) for node in document.get("nodes", ())]
    return shown
