"""What work at an engine costs: a price for a unit, how many units a task is, and what that is in credits.

A credit is one US cent. Amounts are rounded up to whole microcredits, so that an estimate is never too small by
rounding. A quantity that cannot be told from the task's parameters is ``None``: nobody guesses with other people's
money.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, isfinite
from typing import Annotated, Final

from pydantic import Field

from domain.values import Json, Value

MICROCREDITS_PER_DOLLAR: Final = 100_000_000
"""A credit is a cent, and a million microcredits are a credit."""

Parameters = Mapping[str, Json]


class Price(Value):
    """Dollars for one unit. ``first`` is the least that is charged for, in units: five seconds of video, an image."""

    unit: str
    dollars: Annotated[float, Field(ge=0, le=100_000)]
    first: Annotated[float, Field(ge=0)] = 0.0


def _number(parameters: Parameters, *names: str) -> float | None:
    for name in names:
        value = parameters.get(name)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                continue
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0:
            return float(value)
    return None


def _count(parameters: Parameters) -> float:
    return _number(parameters, "count", "batch", "number") or 1.0


def _megapixels(parameters: Parameters) -> float | None:
    width, height = _number(parameters, "width"), _number(parameters, "height")
    if width is None or height is None:
        return None
    # A megapixel that is begun is charged for.
    return max(ceil(width * height / 1_000_000), 1) * _count(parameters)


def _seconds(parameters: Parameters) -> float | None:
    found = _number(parameters, "duration", "duration_seconds", "seconds")
    return None if found is None else ceil(found) * 1.0


def _minutes(parameters: Parameters) -> float | None:
    found = _seconds(parameters)
    return None if found is None else found / 60


_UNITS: Final[dict[str, Callable[[Parameters], float | None]]] = {
    "image": _count, "request": lambda parameters: 1.0, "video": lambda parameters: 1.0,
    "megapixel": _megapixels, "second": _seconds, "minute": _minutes,
}
_ALSO: Final = {"images": "image", "requests": "request", "videos": "video", "megapixels": "megapixel",
                "seconds": "second", "minutes": "minute", "video_second": "second", "run": "request"}


def known_unit(unit: str) -> str | None:
    """The unit as it is reckoned with here, or ``None``."""
    plain = _ALSO.get(unit.strip().lower(), unit.strip().lower())
    return plain if plain in _UNITS else None


def quantity(unit: str, operation: str, parameters: Parameters) -> float | None:
    """How many units a task is; ``None`` when its parameters do not tell."""
    plain = known_unit(unit)
    if plain is None:
        return None
    if plain == "image" and "video" in operation:
        return None  # a price for pictures says nothing of videos
    try:
        found = _UNITS[plain](parameters)
    except OverflowError:  # no engine makes as much as that
        return None
    return found if found is not None and isfinite(found) and found > 0 else None


def cost_of(price: Price, operation: str, parameters: Parameters) -> float | None:
    """Dollars for a task, or ``None`` when nobody can tell beforehand."""
    units = quantity(price.unit, operation, parameters)
    return None if units is None else max(units, price.first) * price.dollars


def microcredits(dollars: float) -> int:
    """Dollars as whole microcredits, rounded up."""
    if not isfinite(dollars) or dollars < 0:
        raise ValueError("an amount of dollars is finite and not negative")
    return ceil(round(dollars * MICROCREDITS_PER_DOLLAR, 6))
