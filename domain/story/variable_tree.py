"""What conditions ask of a play's variables, and what actions make of them: a tree of JSON reached by dot paths.

Both are compiled once into plain functions, since a play, and much more a playtest, asks them millions of times.
Variables are never changed in place: what an action returns shares everything that it did not touch.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Variables = dict[str, Any]
"""Name -> JSON value; objects are reached by dots (``party.gold``)."""

Test = Callable[[Mapping[str, Any]], bool]
Change = Callable[[Variables], None]
"""Changes a dictionary whose top level belongs to the caller; what lies below is copied before it is changed."""

MISSING: Final = object()
"""What a path leads to where nothing is."""

# Each digit can be read in one way only: else a long row of them that is no number takes its length squared.
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*\Z", re.ASCII)
_LARGEST = sys.float_info.max


def found(variables: Mapping[str, Any], path: Sequence[str]) -> Any:
    """What stands at a path, or ``MISSING``."""
    current: Any = variables
    for part in path:
        if not isinstance(current, Mapping) or part not in current:
            return MISSING
        current = current[part]
    return current


def number(value: Any) -> float | None:
    """A number, a boolean or the text of a number as a float; ``None`` for what is not one."""
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, str) and _NUMBER.match(value):
        return float(value)
    return None


def test(condition: Mapping[str, Any]) -> Test:
    """A condition of the scene schema as a function. A missing key fails everything but ``not_exists``."""
    path = tuple(condition["key"].split("."))
    operator, wanted = condition["operator"], condition.get("value")
    listed = wanted if isinstance(wanted, list) else []
    match operator:
        case "exists":
            return lambda variables: found(variables, path) is not MISSING
        case "not_exists":
            return lambda variables: found(variables, path) is MISSING
        case "eq":
            return lambda variables: bool(found(variables, path) == wanted)
        case "neq":
            return lambda variables: (value := found(variables, path)) is not MISSING and bool(value != wanted)
        case "in":
            return lambda variables: found(variables, path) in listed
        case "not_in":
            return lambda variables: (value := found(variables, path)) is not MISSING and value not in listed
    return _compared(path, operator, number(wanted))


def _compared(path: tuple[str, ...], operator: str, limit: float | None) -> Test:
    if limit is None:
        return lambda variables: False

    def holds(variables: Mapping[str, Any]) -> bool:
        value = number(found(variables, path))
        if value is None:
            return False
        match operator:
            case "gt":
                return value > limit
            case "gte":
                return value >= limit
            case "lt":
                return value < limit
        return value <= limit

    return holds


def change(action: Mapping[str, Any]) -> Change:
    """An action of the scene schema as a function. Counting always gives a float; a value that is no number counts
    as 0, and a sum too large for a float stays at the largest one. Clearing what is not there does nothing."""
    *parents, leaf = action["key"].split(".")
    match action["type"]:
        case "set":
            value = action.get("value")

            def set_(variables: Variables) -> None:
                _opened(variables, parents)[leaf] = value

            return set_
        case "clear":
            path = (*parents, leaf)

            def clear(variables: Variables) -> None:
                if found(variables, path) is not MISSING:
                    del _opened(variables, parents)[leaf]

            return clear
    amount = action.get("amount")
    if amount is None:
        amount = action.get("value", 1)
    step = float(amount) if isinstance(amount, int | float) else 1.0
    step = -step if action["type"] == "decrement" else step

    def count(variables: Variables) -> None:
        home = _opened(variables, parents)
        value = home.get(leaf, 0)
        total = (float(value) if isinstance(value, int | float) else 0.0) + step
        home[leaf] = max(-_LARGEST, min(_LARGEST, total))

    return count


def _opened(variables: Variables, parents: Sequence[str]) -> Variables:
    """The object in which a path ends, made where it is missing and copied where others may share it."""
    current = variables
    for part in parents:
        inner = current.get(part)
        current[part] = current = dict(inner) if isinstance(inner, dict) else {}
    return current


def changed(variables: Variables, changes: Sequence[Change]) -> Variables:
    """The variables after some changes; the same object when there are none."""
    if not changes:
        return variables
    after = dict(variables)
    for one in changes:
        one(after)
    return after
