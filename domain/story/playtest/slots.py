"""Variables as numbers: of everything that a play may hold, only what some condition can still tell apart.

Every path that a condition reads is a slot. What an action makes of one slot depends on that slot alone, so each can
be numbered by itself: values that no condition can ever tell apart share a number. Tests and changes are those of the
runner itself, asked on a tree that holds nothing but the slot, and remembered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from domain.story.variable_tree import MISSING, Change, Test, Variables, change, changed, found, number

Path = tuple[str, ...]

DYNAMIC_BITS: Final = 32
"""Room for the numbers of a slot whose values cannot be listed beforehand."""

EXACT_NUMBERS: Final = 2.0**53
"""Beyond it whole numbers and floats compare differently, and nothing is simplified."""

PRESENCE: Final = frozenset({"exists", "not_exists"})


def overlaps(one: Path, other: Path) -> bool:
    """Whether a change of one path can change what stands at the other."""
    short = min(len(one), len(other))
    return one[:short] == other[:short]


def path_of(rule: Mapping[str, Any]) -> Path:
    """The path of a condition or an action."""
    return tuple(rule["key"].split("."))


def tree(path: Path, value: Any) -> Variables:
    """A tree that holds nothing but a value at a path."""
    if value is MISSING:
        return {}
    for part in reversed(path):
        value = {part: value}
    return value  # type: ignore[no-any-return]


class Slot:
    """One path that conditions read: its values by number, and where the number stands in a state."""

    __slots__ = ("_key", "_numbers", "dynamic", "mask", "path", "shift", "tests", "values")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tests: list[tuple[Test, Mapping[str, Any]]] = []
        self.dynamic: list[Mapping[str, Any]] = []
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}
        self._key: Any = None
        self.shift = self.mask = 0

    def settle(self) -> None:
        """Once all tests and changes are known: decides which values need not be told apart."""
        if not self.dynamic:
            self._key = self._signature
            return
        low, high = self._horizon()
        self._key = lambda value: _frozen(_capped(value, low, high))

    def number(self, value: Any) -> int:
        """The number of a value; those that cannot be told apart share one."""
        key = self._key(value)
        known = self._numbers.get(key)
        if known is None:
            known = self._numbers[key] = len(self.values)
            self.values.append(value)
        return known

    def place(self, shift: int) -> int:
        """Gives the slot its bits in a state; the first bit after them."""
        bits = DYNAMIC_BITS if self.dynamic else max(1, (len(self.values) - 1).bit_length())
        self.shift, self.mask = shift, (1 << bits) - 1
        return shift + bits

    def after(self, number: int, changes: Sequence[Change]) -> int:
        """The number of what changes make of a numbered value."""
        return self.number(found(changed(tree(self.path, self.values[number]), changes), self.path))

    def _signature(self, value: Any) -> Any:
        held = tree(self.path, value)
        told = any(rule["operator"] not in PRESENCE for _, rule in self.tests)
        return (told and value is MISSING, *(test(held) for test, _ in self.tests))

    def _horizon(self) -> tuple[float, float]:
        """Numbers below the first and above the second are all alike, where counting can only lead further away."""
        steps = []
        for action in self.dynamic:
            if action["type"] not in ("increment", "decrement") or path_of(action) != self.path:
                return -math.inf, math.inf
            steps.append(found(changed(tree(self.path, 0), [change(action)]), self.path))
        asked = [0.0]
        for _, rule in self.tests:
            value = rule.get("value")
            for one in value if isinstance(value, list) else [value]:
                asked += _numbers(one)
        if max(map(abs, asked)) >= EXACT_NUMBERS:
            return -math.inf, math.inf
        upward, downward = all(step >= 0 for step in steps), all(step <= 0 for step in steps)
        return (min(asked) if downward else -math.inf), (max(asked) if upward else math.inf)


def _numbers(value: Any) -> list[float]:
    if isinstance(value, bool | int) and abs(int(value)) >= EXACT_NUMBERS:
        return [EXACT_NUMBERS]
    told = number(value)
    return [] if told is None else [told]


def _capped(value: Any, low: float, high: float) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value > high:
            return math.nextafter(high, math.inf)
        if value < low:
            return math.nextafter(low, -math.inf)
    return value


def _frozen(value: Any) -> Any:
    """A key that is equal exactly where the values are."""
    if isinstance(value, dict):
        return ("object", frozenset((name, _frozen(one)) for name, one in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(_frozen(one) for one in value))
    return value


class Effect:
    """What a sequence of changes makes of the slots: those set to a fixed value, and those that depend on before."""

    __slots__ = ("moved", "set")

    def __init__(self) -> None:
        self.set: dict[int, Any] = {}
        self.moved: dict[int, list[Change]] = {}

    def fixed(self, slot: int, value: Any) -> None:
        """The slot holds that, whatever it held."""
        self.set[slot] = value
        self.moved.pop(slot, None)

    def changing(self, slots: Sequence[Slot], numbers: Iterable[int], action: Mapping[str, Any], act: Change) -> None:
        """One action more; ``numbers`` are the slots whose path overlaps that of the action."""
        path = path_of(action)
        for one in numbers:
            slot = slots[one]
            if is_fixed(action, slot.path):
                self.fixed(one, found(changed(tree(path, 0), [act]), slot.path))
            elif one in self.set:
                self.set[one] = found(changed(tree(slot.path, self.set[one]), [act]), slot.path)
            else:
                self.moved.setdefault(one, []).append(act)


def is_fixed(action: Mapping[str, Any], path: Path) -> bool:
    """Whether what an action leaves at an overlapping path does not depend on what was there."""
    own = path_of(action)
    if len(own) > len(path):
        return False
    return len(own) < len(path) or action["type"] in ("set", "clear")
