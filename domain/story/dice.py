"""The story's only generator: a 32-bit linear congruential one, the same in Python, in a Ren'Py game and in a browser.

A seed takes the same path everywhere, so whoever plays elsewhere must use exactly this arithmetic:
``value = (1664525 * value + 1013904223) mod 2**32``, beginning with the seed itself, and ``value / 2**32`` as the draw.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

MULTIPLIER: Final = 1664525
INCREMENT: Final = 1013904223
MODULUS: Final = 2**32


class Dice(NamedTuple):
    """The generator between two draws: the seed it began with, its value now, and how often it was used."""

    seed: int
    value: int
    uses: int

    def state(self) -> dict[str, int]:
        """As JSON: ``{"seed", "value", "uses"}``."""
        return {"seed": self.seed, "value": self.value, "uses": self.uses}


def thrown(seed: int) -> Dice:
    """A generator that has not been used; any integer is a seed."""
    return Dice(seed % MODULUS, seed % MODULUS, 0)


def drawn(dice: Dice) -> tuple[float, Dice]:
    """A number from 0 up to but not including 1, and the generator after it."""
    value = (MULTIPLIER * dice.value + INCREMENT) % MODULUS
    return value / MODULUS, Dice(dice.seed, value, dice.uses + 1)


def picked(dice: Dice, weights: Iterable[float]) -> tuple[int, Dice]:
    """The index of one weight (all above 0, at least one), by one draw: the first whose running sum exceeds it."""
    return fallen(dice, tuple(accumulate(weights)))


def fallen(dice: Dice, sums: Sequence[float]) -> tuple[int, Dice]:
    """``picked`` for weights whose running sums are known already.

    The total is the last running sum, never ``sum(weights)``: newer Pythons add floats up more exactly than a loop
    does, and the same seed would take another path there.
    """
    draw, after = drawn(dice)
    return min(bisect_right(sums, draw * sums[-1]), len(sums) - 1), after
