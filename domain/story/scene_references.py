"""What a scene refers to outside of itself: characters with their looks, variables, and what its metadata names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from domain.references import Reference, called, of_conditions, of_metadata

NODES: Final = "nodes/"

NAMING: Final = {
    "portrait": "character", "expression": "character", "pose": "character", "camera": "focus", "tween": "target",
}
"""Kinds of directives that name somebody, and by which field."""

LOOKS: Final = (("expression", "expressions"), ("pose", "poses"))
"""Fields of directives that name a look, and the character's collection in which it stands."""


def references(fields: Mapping[str, Any]) -> Iterator[Reference]:
    """Every reference of a scene's fields. Choices and the start lead to nodes of the scene itself: they are none."""
    variables = fields.get("variables")
    own = [*variables] if isinstance(variables, Mapping) else []
    for field, value in fields.items():
        node = value.get("node") if field.startswith(NODES) and isinstance(value, Mapping) else None
        if not isinstance(node, Mapping):
            continue
        speaker = node.get("speaker")
        if isinstance(speaker, str) and called(speaker):
            yield Reference((("character", called(speaker)),), field)
        yield from of_conditions(field, (node, *(node.get("choices") or ())), own)
        for index, directive in enumerate(node.get("directives") or ()):
            yield from _of_directive(field, ("node", "directives", index), directive)
    yield from of_metadata(fields)


def _of_directive(field: str, path: tuple[str | int, ...], directive: Mapping[str, Any]) -> Iterator[Reference]:
    kind = directive.get("kind")
    if kind == "custom":
        name = (directive.get("parameters") or {}).get("character")
    else:
        name = directive.get(NAMING[kind]) if kind in NAMING else None
    if not isinstance(name, str) or not called(name):
        return
    who = ("character", called(name))
    yield Reference((who,), field, path)
    for look, collection in LOOKS if kind in ("portrait", "expression", "pose") else ():
        shown = directive.get(look)
        if isinstance(shown, str):
            yield Reference(((*who, collection, shown),), field, (*path, look) if kind == "portrait" else path)
