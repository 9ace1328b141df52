"""Documents as one point of view may see them, so that two versions are compared by the same eyes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from domain.story.knowledge import Declarations, concerns, known, masked_node
from domain.story.merging.held import Held

DECLARED: Final = "declarations/"
VALUES: Final = "values/"
ENTRIES: Final = "entries/"


def seen_by(category: str, document: Held, pov: str, declarations: Declarations) -> Held:
    """A document without what a point of view cannot know."""
    match category:
        case "scene":
            fields = {path: _of_scene(path, value, pov, declarations) for path, value in document.fields.items()}
        case "variables":
            secret = {name for name, one in declarations.items() if not concerns(one.get("known_to"), pov)}
            fields = {path: value for path, value in document.fields.items() if not _secret(path, value, secret)}
        case "timeline":
            fields = {
                path: value for path, value in document.fields.items()
                if not path.startswith(ENTRIES) or concerns(value["item"].get("visible_to"), pov)
            }
        case _:
            return document
    return replace(document, fields=fields)


def declarations_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Declared variables by name, from the fields of the document that declares them."""
    return {
        value["name"]: value for path, value in fields.items()
        if path.startswith(DECLARED) and isinstance(value, Mapping) and "name" in value
    }


def _of_scene(path: str, value: Any, pov: str, declarations: Declarations) -> Any:
    if path.startswith("nodes/"):
        return {"node": masked_node(value["node"], pov, declarations), "place": value["place"]}
    if path == "variables" and isinstance(value, Mapping):
        return known(value, declarations, pov)
    return value


def _secret(path: str, value: Any, secret: set[str]) -> bool:
    if path.startswith(DECLARED):
        return isinstance(value, Mapping) and value.get("name") in secret
    return path.startswith(VALUES) and path.removeprefix(VALUES) in secret
