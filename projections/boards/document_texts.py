"""Documents put together from the JSON texts of their fields, for answers in which they are only handed on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from domain.context import Layout

NULL: Final = "null"
"""What a field that was removed holds."""

_PLACE: Final = ',"place":['


def document_text(layout: Layout | None, id_: str, fields: Mapping[str, str]) -> str:
    """The JSON text of a document, given those of its fields; without a layout, its fields as they are."""
    there = {path: text for path, text in fields.items() if text != NULL}
    parts = [f'"id":{_said(id_)}']
    if layout is None:
        return f'{{{parts[0]},"fields":{_object(there)}}}'
    parts += [f"{_said(name)}:{there[path]}" for name, path in layout.header.items() if path in there]
    for name, member in layout.collections.items():
        start = f"{name}/"
        items = [(path[len(start) :], text) for path, text in there.items() if path.startswith(start)]
        held = _object(dict(sorted(items))) if member is None else _list(items, member)
        parts.append(f"{_said(name)}:{held}")
    return f"{{{','.join(parts)}}}"


def _said(text: str) -> str:
    return orjson.dumps(text).decode()


def _object(items: Mapping[str, str]) -> str:
    return f"{{{','.join(f'{_said(key)}:{text}' for key, text in items.items())}}}"


def _list(items: list[tuple[str, str]], member: str) -> str:
    start = f'{{"{member}":'
    placed = []
    for key, text in items:
        # Keys are sorted, so the place comes last, and holds nothing but integers: no text in it can look like it.
        text = text.lstrip()
        at = text.rfind(_PLACE)
        assert text.startswith(start), "an item of a list is stored beside its place"
        place = tuple(map(int, text[at + len(_PLACE) : -2].split(",")))
        placed.append((place, key, text[len(start) : at]))
    placed.sort()
    return f"[{','.join(text for _, _, text in placed)}]"
