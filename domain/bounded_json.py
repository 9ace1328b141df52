"""Free JSON inside documents, kept within bounds: finite numbers, 64-bit integers, limited depth and size."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
    # One way into the value is held at a time, and its place is put into words only for an error: with a place beside
    # every item, a list below long keys would take a thousand times the memory of its text.
    _check(value, (), depth)
    ways: list[Iterator[tuple[str | int, Any]]] = [_inside(value)]
    place: list[str | int] = []
    while ways:
        for key, item in ways[-1]:
            at = (*place, key)
            if isinstance(key, str):
                _check_key(key, at)
            _check(item, at, depth)
            if item and isinstance(item, dict | list):
                ways.append(_inside(item))
                place.append(key)
                break
        else:
            ways.pop()
            if place:
                place.pop()
    if json_size(value) > size:
        raise ValueError(f"is larger than {size} bytes")


def _inside(value: Any) -> Iterator[tuple[str | int, Any]]:
    return iter(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())


def _check_key(key: str, at: tuple[str | int, ...]) -> None:
    if len(key) > JSON_KEY_LIMIT:
        raise ValueError(f"has a key longer than {JSON_KEY_LIMIT} characters{_where(at[:-1])}")
    if _halved(key):
        raise ValueError(f"holds half of a surrogate pair at a key of {_place(at[:-1]) or 'it'}")


def _check(one: Any, at: tuple[str | int, ...], depth: int) -> None:
    if len(at) > depth:
        raise ValueError(f"is nested deeper than {depth} levels{_where(at)[:120]}")
    match one:
        case None | bool() | list() | dict():
            pass
        case str():
            if _halved(one):
                raise ValueError(f"holds half of a surrogate pair{_where(at)}")
        case int():
            if not -_INT64 <= one < _INT64:
                raise ValueError(f"holds an integer that does not fit into 64 bits{_where(at)}")
        case float():
            if not isfinite(one):
                raise ValueError(f"holds a number that is not finite{_where(at)}")
        case _:
            raise ValueError(f"holds {type(one).__name__}, which JSON cannot say{_where(at)}")


def _halved(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)


def _place(at: tuple[str | int, ...]) -> str:
    return "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in at).removeprefix(".")


def _where(at: tuple[str | int, ...]) -> str:
    return f" at {_place(at)}" if at else ""


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
