"""Ways through a story: taken again by the runner itself, told to people, and the seed at which the dice agree."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple

from domain.story.dice import INCREMENT, MODULUS, MULTIPLIER
from domain.story.play import At, Station, Story, advanced, begun, coming, follow, ways
from domain.story.playtest.exploring import NOWHERE, Explored
from domain.story.playtest.survey import words
from domain.story.program import Choice

SMALL_SEEDS: Final = 512
"""Seeds that are tried first, since small numbers are easier to pass on."""

_INVERSE: Final = pow(MULTIPLIER, -1, MODULUS)

Draw = tuple[tuple[float, ...], int]
"""The running sums of the weights that were offered, and the index of the one that the dice must pick."""


class Walk(NamedTuple):
    """A way through a story: the moments with the choices by which they were left, and what the dice had to say."""

    stations: tuple[Station, ...]
    draws: tuple[Draw, ...]

    @property
    def last(self) -> At:
        """Where it ends."""
        return self.stations[-1][0]


class Luck:
    """How many seeds may still be tried, shared by everything that one report looks for."""

    def __init__(self, each: int = 20_000, all_: int = 2_000_000) -> None:
        self.each, self.left = each, all_


def walked(story: Story, pov: str, variables: Mapping[str, Any] | None, way: Iterable[int], seed: int = 0) -> Walk:
    """Takes a way (indices of choices, ``NOWHERE`` into the next scene) from the beginning.

    Raises ``LookupError`` when it cannot be taken: then it is not a way of this story.
    """
    at = begun(story, pov=pov, variables=variables, seed=seed)
    stations: list[Station] = []
    draws: list[Draw] = []
    for index in way:
        if index == NOWHERE:
            if coming(story, at) != "scene":
                raise LookupError(f"{at.scene}/{at.node} does not lead into the next scene")
            stations.append((at, None))
            at, _ = advanced(story, at)
            continue
        offered = ways(story, at)
        place = next((place for place, one in enumerate(offered) if one.index == index), None)
        if place is None:
            raise LookupError(f"choice {index} of {at.scene}/{at.node} is not offered")
        if coming(story, at) == "chance":
            draws.append((tuple(accumulate(one.weight for one in offered)), place))
        stations.append((at, offered[place]))
        at = follow(story, at, offered[place])
    return Walk((*stations, (at, None)), tuple(draws))


def along(explored: Explored, states: list[int]) -> list[int]:
    """The way through states that follow each other."""
    way = []
    for state, after in pairwise(states):
        steps = range(explored.heads[state], explored.tails[state])
        way.append(explored.vias[next(step for step in steps if explored.targets[step] == after)])
    return way


def seed_of(draws: tuple[Draw, ...], luck: Luck) -> int | None:
    """A seed at which the dice say all that, the smallest of the first few if one of them does; else nothing.

    A seed that makes the first draw fall right can be counted back to, so only the later draws are left to luck.
    """
    if not draws:
        return 0
    tries = min(luck.each, luck.left)
    small = min(SMALL_SEEDS, tries)
    for tried in range(small):
        if _says(tried, draws):
            luck.left -= tried + 1
            return tried
    (sums, index), *_ = draws
    low = sums[index - 1] / sums[-1] if index else 0.0
    first, last = int(low * MODULUS), min(MODULUS - 1, int(sums[index] / sums[-1] * MODULUS) + 1)
    span = max(1, last - first)
    stride = max(1, int(span * 0.618)) | 1
    for tried in range(tries - small):
        value = (first + tried * stride % span) % MODULUS
        seed = (value - INCREMENT) * _INVERSE % MODULUS
        if _says(seed, draws):
            luck.left -= small + tried + 1
            return seed
    luck.left -= tries
    return None


def _says(seed: int, draws: tuple[Draw, ...]) -> bool:
    value = seed
    for sums, index in draws:
        value = (MULTIPLIER * value + INCREMENT) % MODULUS
        if min(bisect_right(sums, value / MODULUS * sums[-1]), len(sums) - 1) != index:
            return False
    return True


def told(story: Story, walk: Walk, seed: int | None, words_per_minute: int) -> dict[str, Any]:
    """A way as JSON. ``choices`` are the decisions in order, of menus and of the dice; ``picks`` are those of menus
    alone: with ``seed`` they play the same again. ``seed`` is null where the dice decide and no seed was found."""
    choices = [
        {"scene": at.scene, "node": at.node, "choice": choice.id, "index": choice.index, "label": choice.label,
         "by": "dice" if manner_of(story, at) == "chance" else "menu"}
        for at, choice in walk.stations if choice is not None and manner_of(story, at) in ("ask", "chance")
    ]
    met = sum(words(_text(story, at)) for at, _ in walk.stations)
    return {
        "steps": len(walk.stations) - 1, "words": met, "minutes": minutes(met, words_per_minute), "choices": choices,
        "picks": [one["choice"] for one in choices if one["by"] == "menu"], "seed": seed, "draws": len(walk.draws),
    }


def manner_of(story: Story, at: At) -> str:
    """How the node is left at which a play stands."""
    return story.node(at).manner


def minutes(met: int, words_per_minute: int) -> float:
    """Minutes that reading takes."""
    return round(met / words_per_minute, 2)


def _text(story: Story, at: At) -> str:
    return str(story.node(at).document.get("text", ""))


def labels(choice: Choice) -> str:
    """What people call a choice."""
    return choice.label or choice.id
