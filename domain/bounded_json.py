"""Free JSON inside documents, kept within bounds: finite numbers, 64-bit integers, limited depth and size."""

from __future__ import annotations

import json
from math import isfinite
from typing import Annotated, Any, Final

from pydantic import AfterValidator, JsonValue, PlainValidator, WithJsonSchema

JSON_DEPTH: Final = 32
"""Deepest nesting of lists and objects."""

JSON_KEY_LIMIT: Final = 500
"""Longest key of an object in characters."""

JSON_BYTES: Final = 256 * 1024
"""Largest free JSON value as compact UTF-8."""

_INT64: Final = 2**63


def json_size(value: Any) -> int:
    """Bytes of a JSON value as compact UTF-8. Raises ``ValueError`` for what UTF-8 cannot say (lone surrogates)."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values say the same. Python's ``==`` would call ``1``, ``1.0`` and ``true`` the same."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_json(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(same_json(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def check_json(value: Any, *, depth: int = JSON_DEPTH, size: int = JSON_BYTES) -> None:
    """Raises ``ValueError`` with the place inside the value, or does nothing when it is within bounds."""
    pending: list[tuple[Any, str, int]] = [(value, "", 0)]
    while pending:
        one, place, level = pending.pop()
        where = f" at {place}" if place else ""
        if level > depth:
            raise ValueError(f"is nested deeper than {depth} levels{where[:120]}")
        match one:
            case None | bool():
                pass
            case str():
                if any("\ud800" <= letter <= "\udfff" for letter in one):
                    raise ValueError(f"holds half of a surrogate pair{where}")
            case int():
                if not -_INT64 <= one < _INT64:
                    raise ValueError(f"holds an integer that does not fit into 64 bits{where}")
            case float():
                if not isfinite(one):
                    raise ValueError(f"holds a number that is not finite{where}")
            case list():
                pending += [(item, f"{place}[{index}]", level + 1) for index, item in enumerate(one)]
            case dict():
                for key, item in one.items():
                    if len(key) > JSON_KEY_LIMIT:
                        raise ValueError(f"has a key longer than {JSON_KEY_LIMIT} characters{where}")
                    pending.append((key, f"a key of {place or 'it'}", level))
                    pending.append((item, f"{place}.{key}" if place else key, level + 1))
            case _:
                raise ValueError(f"holds {type(one).__name__}, which JSON cannot say{where}")
    if json_size(value) > size:
        raise ValueError(f"is larger than {size} bytes")


def _bounded(value: Any) -> Any:
    check_json(value)
    return value


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    check_json(value)
    return value


BoundedJson = Annotated[JsonValue, AfterValidator(_bounded)]
"""Any JSON value within bounds."""

BoundedObject = Annotated[dict[str, JsonValue], AfterValidator(_bounded)]
"""A JSON object within bounds."""

Number = Annotated[int | float, PlainValidator(_number), WithJsonSchema({"type": "number"})]
"""A finite number, kept as it was written: an integer stays an integer. Booleans and texts are not numbers."""
