"""The small language of presets: references like ``{{step.output}}`` and conditions like ``quality.scale > 1``.

A condition is made of names joined by dots (``inputs.audio``, ``quality.level``), texts in single quotes, numbers,
``true``, ``false`` and ``null``; compared by ``== != < <= > >= in``, joined by ``and``, ``or``, ``not``, parentheses.
``[a, b]`` is a list for ``in``. Nothing can be called, nothing is looked up but what is given. What is missing is
``null``; a name by itself holds when it is there and neither false, zero nor empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

EXPRESSION_LIMIT: Final = 500
"""Longest condition in characters."""

DEPTH_LIMIT: Final = 20
"""Deepest nesting of parentheses and ``not``."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d+)?)|'(?P<text>[^']*)'|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"
    r"|(?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,))"
)
_REFERENCE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*)\s*\}\}")
_WORDS: Final = {"true": True, "false": False, "null": None}

Given = Mapping[str, Any]
Value = Callable[[Given], Any]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that has been read: whether it holds, and the names that it asks for."""

    text: str
    names: frozenset[str]
    _value: Value

    def holds(self, given: Given) -> bool:
        """Whether it holds for these values: name -> value, objects reached by dots."""
        return bool(self._value(given))


def looked_up(given: Given, name: str) -> Any:
    """What a name stands for, or nothing."""
    current: Any = given
    for part in name.split("."):
        if isinstance(current, Mapping):
            current = current.get(part)
        elif isinstance(current, list | tuple) and part.isdigit() and len(part) < 6 and int(part) < len(current):
            current = current[int(part)]
        else:
            return None
    return current


def condition(text: str) -> Condition:
    """Reads a condition; raises ``ValueError`` with what is wrong and where."""
    if len(text) > EXPRESSION_LIMIT:
        raise ValueError(f"is longer than {EXPRESSION_LIMIT} characters")
    reader = _Reader(text)
    value = reader.either(0)
    reader.ended()
    return Condition(text, frozenset(reader.names), value)


def references(text: str) -> list[str]:
    """The names that a text refers to, in order."""
    return _REFERENCE.findall(text)


def whole_reference(text: str) -> str | None:
    """The name, when a text is nothing but one reference: its value then keeps its type."""
    found = _REFERENCE.fullmatch(text.strip())
    return found.group(1) if found else None


def filled(value: Any, given: Given) -> Any:
    """A value with every reference in its texts replaced. What is missing is empty inside a text and ``None`` alone."""
    match value:
        case str():
            alone = whole_reference(value)
            if alone is not None:
                return looked_up(given, alone)
            return _REFERENCE.sub(lambda one: _spelled(looked_up(given, one.group(1))), value)
        case Mapping():
            return {name: filled(one, given) for name, one in value.items()}
        case list() | tuple():
            return [filled(one, given) for one in value]
        case _:
            return value


def referred(value: Any) -> Iterator[str]:
    """Every name that the texts of a value refer to."""
    match value:
        case str():
            yield from references(value)
        case Mapping():
            for one in value.values():
                yield from referred(one)
        case list() | tuple():
            for one in value:
                yield from referred(one)
        case _:
            return


def _spelled(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class _Reader:
    """Reads one condition from the left."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.names: set[str] = set()

    def ended(self) -> None:
        if self.text[self.place:].strip():
            raise ValueError(f"cannot be read from {self.text[self.place:].strip()[:40]!r} on")

    def _peek(self) -> re.Match[str] | None:
        return _TOKEN.match(self.text, self.place)

    def _took(self, *wanted: str) -> str | None:
        found = self._peek()
        told = found and (found.group("sign") or found.group("name"))
        if found is None or told not in wanted:
            return None
        self.place = found.end()
        return told

    def either(self, depth: int) -> Value:
        if depth > DEPTH_LIMIT:
            raise ValueError(f"is nested deeper than {DEPTH_LIMIT} levels")
        parts = [self._both(depth)]
        while self._took("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else lambda given: any(part(given) for part in parts)

    def _both(self, depth: int) -> Value:
        parts = [self._not(depth)]
        while self._took("and"):
            parts.append(self._not(depth))
        return parts[0] if len(parts) == 1 else lambda given: all(part(given) for part in parts)

    def _not(self, depth: int) -> Value:
        if depth > DEPTH_LIMIT:
            raise ValueError(f"is nested deeper than {DEPTH_LIMIT} levels")
        if self._took("not"):
            inner = self._not(depth + 1)
            return lambda given: not inner(given)
        return self._compared(depth)

    def _compared(self, depth: int) -> Value:
        left = self._term(depth)
        sign = self._took("==", "!=", "<", "<=", ">", ">=", "in")
        if sign is None:
            return left
        right = self._term(depth)
        return lambda given: _compare(left(given), sign, right(given))

    def _term(self, depth: int) -> Value:
        if self._took("("):
            inner = self.either(depth + 1)
            if not self._took(")"):
                raise ValueError("has a parenthesis that is not closed")
            return inner
        if self._took("["):
            return self._list(depth)
        found = self._peek()
        if found is None or found.group("sign") or found.group("name") in ("and", "or", "not", "in"):
            raise ValueError(f"needs a value at {self.text[self.place:].strip()[:40]!r}")
        self.place = found.end()
        if (number := found.group("number")) is not None:
            known: Any = float(number) if "." in number else int(number)
            if isinstance(known, float) and not isfinite(known):
                raise ValueError("holds a number that is too large")
            return lambda given: known
        if (text := found.group("text")) is not None:
            return lambda given: text
        name = found.group("name")
        if name in _WORDS:
            word = _WORDS[name]
            return lambda given: word
        self.names.add(name)
        return lambda given: looked_up(given, name)

    def _list(self, depth: int) -> Value:
        if depth > DEPTH_LIMIT:
            raise ValueError(f"is nested deeper than {DEPTH_LIMIT} levels")
        items: list[Value] = []
        while not self._took("]"):
            if items and not self._took(","):
                raise ValueError("has a list that is not closed")
            items.append(self._term(depth + 1))
        return lambda given: [item(given) for item in items]


def _compare(left: Any, sign: str, right: Any) -> bool:
    if sign in ("==", "!="):
        return _same(left, right) == (sign == "==")
    if sign == "in":
        return isinstance(right, list | tuple | Mapping) and any(_same(left, one) for one in right)
    if not _numbers(left, right):
        return False
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign])


def _same(left: Any, right: Any) -> bool:
    # Python would say that 1 is true and that 1.0 is 1; the second is right here, the first is not.
    return (type(left) is type(right) or _numbers(left, right)) and bool(left == right)


def _numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
