"""Playthroughs: what can have happened while somebody played a story, and where that leaves the play.

A playthrough pins what it plays (a worldline as of a position, and the digest of what is read there), so that nobody's
later edit changes it. Its events say what happened and only which variables changed. What it keeps to go back by is its
course: the choices and interventions of people. Dice and story lead from them to every moment again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, assert_never

from pydantic import Field, JsonValue

from domain.context import Context
from domain.story.playthrough_values import Move, Origin, Pin, Scope, Standing, Step, applied, cut, joined
from domain.values import Event, Value

CATEGORY = "playthrough"


class PlaythroughStarted(Event):
    """Somebody began to play. ``seed`` and ``pov`` are those of the beginning, ``given`` are variables that override
    the story's own, ``variables`` those of the play where it stands.

    A play that began from a save ``slot`` stands where that one does: ``course`` is what had led there from the story's
    beginning, or from ``origin`` where that is all that is known."""

    playthrough_id: str
    title: str
    pin: Pin
    seed: int
    pov: str
    given: dict[str, JsonValue]
    standing: Standing
    variables: dict[str, JsonValue]
    slot: str | None = None
    origin: Origin | None = None
    course: tuple[Move, ...] = ()


class ChoiceMade(Event):
    """Somebody chose what a menu offered. The dice were not touched."""

    playthrough_id: str
    step: Step
    standing: Standing


class StoryAdvanced(Event):
    """The story went on by itself, one step or several."""

    playthrough_id: str
    steps: tuple[Step, ...]
    standing: Standing


class EndReached(Event):
    """Nothing comes after the moment at which the play stands."""

    playthrough_id: str
    scene: str
    node: str
    step: int


class PlayVariablesChanged(Event):
    """Somebody changed variables from outside the story; ``reset``: back to what they were at the beginning."""

    playthrough_id: str
    scope: Scope
    reset: bool
    changed: dict[str, JsonValue]
    removed: tuple[str, ...]
    standing: Standing


class PlayPovSwitched(Event):
    """The play goes on through another point of view."""

    playthrough_id: str
    pov: str
    standing: Standing


class PlayRolledBack(Event):
    """The play went back by so many steps. What was undone has happened all the same, and stays in the log."""

    playthrough_id: str
    steps: int
    standing: Standing
    changed: dict[str, JsonValue]
    removed: tuple[str, ...]


class SlotLoaded(Event):
    """The play was put to where a save slot of the same story stands, with all that had led there if that is known."""

    playthrough_id: str
    slot: str
    saved_version: int
    standing: Standing
    variables: dict[str, JsonValue]
    seed: int
    pov: str
    given: dict[str, JsonValue]
    origin: Origin | None
    course: tuple[Move, ...]


PlaythroughEvent = (
    PlaythroughStarted | ChoiceMade | StoryAdvanced | EndReached | PlayVariablesChanged | PlayPovSwitched
    | PlayRolledBack | SlotLoaded
)


class Unstarted(Value):
    """No such playthrough yet."""

    kind: Literal["unstarted"] = "unstarted"


class Playing(Value):
    """A playthrough: what it plays, how it began (``seed``, ``pov``, ``given``, or ``origin``), its course since then,
    and where it stands."""

    kind: Literal["playing"] = "playing"
    pin: Pin
    seed: int
    pov: str
    given: dict[str, JsonValue]
    origin: Origin | None
    course: tuple[Move, ...]
    standing: Standing
    variables: dict[str, JsonValue]


PlaythroughState = Annotated[Unstarted | Playing, Field(discriminator="kind")]


def evolve(state: Unstarted | Playing, event: PlaythroughEvent) -> Unstarted | Playing:
    """What an event makes of a playthrough."""
    if isinstance(event, PlaythroughStarted):
        return Playing(
            pin=event.pin, seed=event.seed, pov=event.pov, given=event.given, origin=event.origin,
            course=event.course, standing=event.standing, variables=event.variables,
        )
    assert isinstance(state, Playing), "a play begins before it goes on"
    match event:
        case ChoiceMade():
            return _gone_on(state, (event.step,), event.standing, ("choice", event.step.choice))
        case StoryAdvanced():
            return _gone_on(state, event.steps, event.standing, ("auto", len(event.steps)))
        case EndReached():
            return state
        case PlayVariablesChanged():
            move = ("set", {"changed": event.changed, "removed": list(event.removed)})
            variables = applied(state.variables, event.changed, event.removed)
            return state.model_copy(update={
                "variables": variables, "standing": event.standing, "course": (*state.course, move),
            })
        case PlayPovSwitched():
            return state.model_copy(update={
                "standing": event.standing, "course": (*state.course, ("pov", event.pov)),
            })
        case PlayRolledBack():
            return state.model_copy(update={
                "variables": applied(state.variables, event.changed, event.removed), "standing": event.standing,
                "course": cut(state.course, event.standing.step - behind(state)),
            })
        case SlotLoaded():
            return state.model_copy(update={
                "seed": event.seed, "pov": event.pov, "given": event.given, "origin": event.origin,
                "course": event.course, "standing": event.standing, "variables": event.variables,
            })
        case _:
            assert_never(event)


def _gone_on(state: Playing, steps: Iterable[Step], standing: Standing, move: Move) -> Playing:
    variables = dict(state.variables)
    for step in steps:
        variables.update(step.changed)
        for name in step.removed:
            variables.pop(name, None)
    return state.model_copy(update={
        "variables": variables, "standing": standing, "course": joined(state.course, move),
    })


def behind(state: Playing) -> int:
    """The step that the course begins at: nothing before it can be gone back to."""
    return state.origin.standing.step if state.origin else 0


CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(
        PlaythroughStarted, ChoiceMade, StoryAdvanced, EndReached, PlayVariablesChanged, PlayPovSwitched,
        PlayRolledBack, SlotLoaded,
    ),
    state=PlaythroughState,
    initial=Unstarted(),
    evolve=evolve,
)
