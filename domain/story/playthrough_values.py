"""What events of playthroughs are made of: pins, moments, steps, and the course of a play.

These shapes are stored: fields are never renamed, and an older release ignores those of a newer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import ConfigDict, JsonValue

from domain.bounded_json import same_json
from domain.story.dice import Dice
from domain.values import Value

How = Literal["chosen", "drawn", "continued", "entered"]
"""How a moment was left: somebody chose, the dice decided, it went on by itself, or into the next scene."""

Scope = Literal["session", "scene"]
"""Whose variables: those of the whole play, or those of the scene it is in."""

Move = tuple[str, JsonValue]
"""Something that led a play on: ``("auto", steps)``, ``("choice", id)``, ``("set", {"changed", "removed"})`` or
``("pov", name)``."""


LARGEST_COURSE: Final = 20_000
"""Most moves of a course; steps that need nobody count once."""


class _Part(Value):
    """A part of an event: fields of a newer release are ignored by an older one."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Rolled(_Part):
    """The dice between two draws."""

    seed: int
    value: int
    uses: int

    @classmethod
    def of(cls, dice: Dice) -> Rolled:
        return cls(seed=dice.seed, value=dice.value, uses=dice.uses)

    def dice(self) -> Dice:
        return Dice(self.seed, self.value, self.uses)


class Pin(_Part):
    """What is played: a worldline as of a position, one timeline or scene of it, and the digest of what stands there.

    Neither a ``timeline`` nor a ``scene``: whatever is played when nobody says.
    """

    worldline: str
    position: int
    timeline: str | None
    scene: str | None
    content: str


class Standing(_Part):
    """Where a play stands after ``step`` steps, seen by whom. ``next`` says what comes, ``offered`` which choices a
    menu offers."""

    step: int
    entry: int
    scene: str
    node: str
    pov: str
    dice: Rolled
    next: Literal["ask", "chance", "continue", "scene", "finished"]
    offered: tuple[str, ...]


class Step(_Part):
    """A moment that was left: how, by which choice (none into another scene), and where that led.

    ``dice`` are those after a draw. ``changed`` are the variables that are other than before, by their first names and
    whole.
    """

    how: How
    choice: str | None
    entry: int
    scene: str
    node: str
    dice: Rolled | None = None
    changed: dict[str, JsonValue] = {}
    removed: tuple[str, ...] = ()


class Origin(_Part):
    """A moment that a play was put at instead of the story's beginning."""

    standing: Standing
    variables: dict[str, JsonValue]


def applied(
    variables: Mapping[str, JsonValue], changed: Mapping[str, JsonValue], removed: Iterable[str]
) -> dict[str, JsonValue]:
    """Variables after some of them changed."""
    after = {**variables, **changed}
    for name in removed:
        after.pop(name, None)
    return after


def joined(course: tuple[Move, ...], move: Move) -> tuple[Move, ...]:
    """A course with a move at its end; steps that need nobody are counted together."""
    if move[0] == "auto" and course and course[-1][0] == "auto":
        return (*course[:-1], ("auto", _count(course[-1]) + _count(move)))
    return (*course, move)


def _count(move: Move) -> int:
    return int(move[1]) if move[0] == "auto" else int(move[0] == "choice")  # type: ignore[arg-type]


def cut(course: Sequence[Move], steps: int) -> tuple[Move, ...]:
    """The beginning of a course, up to just before the step after ``steps`` was taken."""
    kept: list[Move] = []
    for move in course:
        count = _count(move)
        if count > steps:
            if steps:
                kept.append(("auto", steps))
            break
        kept.append(move)
        steps -= count
    return tuple(kept)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """``(changed, removed)`` between two situations of the variables, by their first names."""
    if before is after:
        return {}, ()
    changed = {
        name: value for name, value in after.items()
        if name not in before or not (value is before[name] or same_json(value, before[name]))
    }
    return changed, tuple(name for name in before if name not in after)
