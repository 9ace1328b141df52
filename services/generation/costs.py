"""The table of costs: what providers publish, with where and when it was read; and the most that a task costs by it.

A price that nobody could read in the provider's own words is not in the table, and what a task costs by units that its
parameters and files do not tell is not known: then whoever asks says the most that it may cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from math import ceil
from typing import Annotated, Any, Final, NamedTuple

import orjson
from pydantic import Field

from domain.studio.pricing import known_unit, quantity
from domain.values import Json, Value

FRAMES_PER_SECOND: Final = 60.0
"""How many pictures a second a video has at most, where nobody has told."""


class Entry(Value):
    """One price. ``model`` is ``*`` for every other of the engine; ``dollars`` of ``None``: it is not known."""

    engine: str
    model: str
    unit: str
    dollars: Annotated[float, Field(ge=0)] | None
    first: Annotated[float, Field(ge=0)] = 0.0
    variant: str = ""
    source: Annotated[str, Field(pattern=r"^https://")]
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    note: str = ""


class Given(NamedTuple):
    """What is known of a file that a task works on; 0 where it is not."""

    seconds: float = 0.0
    width: int = 0
    height: int = 0
    frames_per_second: float = 0.0


@cache
def table() -> tuple[Entry, ...]:
    """Every entry."""
    content = files("services.generation").joinpath("costs.json").read_bytes()
    return tuple(Entry.model_validate(one) for one in orjson.loads(content)["prices"])


def entry_of(engine: str, model: str, parameters: Mapping[str, Json]) -> Entry | None:
    """The entry that a task is reckoned by: of its model and variant, else of the engine as a whole."""
    variant = parameters.get("variant")
    found = [one for one in table() if one.engine == engine and one.model == model]
    exact = next((one for one in found if one.variant == variant), None)
    # Of several variants, and without one named, the dearest: an estimate is an upper one.
    return exact or max(found, key=lambda one: one.dollars or 0.0, default=None) or next(
        (one for one in table() if one.engine == engine and one.model == "*"), None)


def upper(
    engine: str, operation: str, model: str, parameters: Mapping[str, Json],
    given: Mapping[str, Sequence[Given]] | None = None,
) -> float | None:
    """The most dollars that a task costs by the table; ``None`` when it does not say. ``given`` are its files."""
    entry = entry_of(engine, model, parameters)
    if entry is None or entry.dollars is None:
        return None
    units = _units(entry, operation, parameters, given or {})
    return None if units is None else max(units, entry.first) * entry.dollars


def _units(
    entry: Entry, operation: str, parameters: Mapping[str, Json], given: Mapping[str, Sequence[Given]]
) -> float | None:
    every = [one for several in given.values() for one in several]
    if entry.unit == "frame":
        seconds = _longest(given)
        rates = [one.frames_per_second for one in every if one.frames_per_second > 0]
        return None if seconds is None else ceil(seconds) * max(rates, default=FRAMES_PER_SECOND)
    if known_unit(entry.unit) in ("second", "minute") and operation in ("lip_sync", "upscale_video", "edit_video"):
        seconds = _longest(given)
        return None if seconds is None else ceil(seconds) / (60 if known_unit(entry.unit) == "minute" else 1)
    if known_unit(entry.unit) == "megapixel" and operation == "upscale_image":
        return _enlarged(parameters, every)
    return quantity(entry.unit, operation, parameters)


def _longest(given: Mapping[str, Sequence[Given]]) -> float | None:
    """The longest that a result of these files can be; ``None`` when the length of one of them is not known."""
    timed = [one for name, several in given.items() if name in ("video", "audio") for one in several]
    if not timed or any(one.seconds <= 0 for one in timed):
        return None
    return max(one.seconds for one in timed)


def _enlarged(parameters: Mapping[str, Json], every: Sequence[Given]) -> float | None:
    factor = parameters.get("factor", 2)
    if not every or isinstance(factor, bool) or not isinstance(factor, int | float) or factor <= 0:
        return None
    if any(one.width <= 0 or one.height <= 0 for one in every):
        return None
    return float(sum(ceil(one.width * one.height * factor * factor / 1_000_000) for one in every))


def shown() -> list[dict[str, Any]]:
    """The table as people and programs read it."""
    return [one.model_dump(mode="json") for one in table()]
