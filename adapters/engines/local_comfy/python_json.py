"""JSON as Python writes it, which is how ComfyUI answers and what it puts into its pictures.

Bounds without end are ``Infinity`` there, and a node that is never the same twice is marked ``NaN``. Names of files
that are no UTF-8 are halves of characters. Nothing of that is JSON, and who keeps to it does not take the rest either.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def loads(content: bytes) -> Any:
    """What a document says: numbers that are none as ``None``, halves of characters as ``?``. Raises ``ValueError``."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        try:
            return _proper(json.loads(content, parse_constant=lambda _: None))
        except (ValueError, RecursionError):
            raise ValueError(str(error)) from None


def _proper(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case list():
            return [_proper(one) for one in value]
        case dict():
            return {_proper(key): _proper(one) for key, one in value.items()}
        case float() if value in (float("inf"), float("-inf")):  # 1e999
            return None
        case _:
            return value
