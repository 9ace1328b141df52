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
    parts = [f'"id":{_said(id_)}']
    if layout is None:
        return f'{{{parts[0]},"fields":{_object({path: text for path, text in fields.items() if text != NULL})}}}'
    # One way through the fields, since a large scene has thousands.
    items: dict[str, list[tuple[str, str]]] = {name: [] for name in layout.collections}
    header: dict[str, str] = {}
    for path, text in fields.items():
        if text != NULL:
            name, slash, key = path.partition("/")
            if slash:
                if name in items:
                    items[name].append((key, text))
            else:
                header[path] = text
    parts += [f"{_said(name)}:{header[path]}" for name, path in layout.header.items() if path in header]
    for name, member in layout.collections.items():
        held = _object(dict(sorted(items[name]))) if member is None else _list(items[name], member)
        parts.append(f"{_said(name)}:{held}")
    return f"{{{','.join(parts)}}}"


def _said(text: str) -> str:
    return orjson.dumps(text).decode()


def _object(items: Mapping[str, str]) -> str:
    return f"{{{','.join(f'{_said(key)}:{text}' for key, text in items.items())}}}"


def _list(items: list[tuple[str, str]], member: str) -> str:
    start = f'{{"{member}":'
    skip, beyond = len(start), len(_PLACE)
    placed = []
    for key, text in items:
        if text[0] == " ":
            text = text[1:]
        # Keys are sorted, so the place comes last, and holds nothing but integers: no text in it can look like it.
        at = text.rindex(_PLACE)
        assert text.startswith(start), "an item of a list is stored beside its place"
        place = text[at + beyond : -2]
        placed.append(((int(place),) if "," not in place else tuple(map(int, place.split(","))), key, text[skip:at]))
    placed.sort()
    return f"[{','.join([text for _, _, text in placed])}]"
