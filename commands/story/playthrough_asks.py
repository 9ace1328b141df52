"""What may be asked of a playthrough."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from commands.declaration import Command
from domain.bounded_json import BoundedJson, BoundedObject
from domain.ids import Token
from domain.story.playthrough_values import Scope
from domain.story.save import SlotName
from domain.story.scene_model import Path, Pov

STEPS_LIMIT: Final = 1000
"""Most steps that one command goes on by."""


class StartPlaythrough(Command):
    """Begin to play a story as it stands on a worldline now, or stood ``as_of`` a position, and keep to that.

    A timeline or a scene may be named; else it is what is played when nobody says. ``variables`` override the story's
    own. With ``slot`` the play begins where that save slot stands, with what that one is pinned to.
    """

    playthrough_id: Token | None = None
    title: str = Field(default="", max_length=300)
    worldline: Token | None = Field(default=None, description="Else that of the request, `main` where it names none.")
    as_of: int = Field(default=0, ge=0, le=2**62)
    timeline: Token | None = None
    scene: Token | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63, description="Else the timeline's, else 0.")
    pov: Pov | None = None
    variables: BoundedObject = {}
    slot: SlotName | None = None


class OfPlaythrough(Command):
    """What every command about a playthrough names, and where it must stand if the asker says so."""

    playthrough_id: Token
    at_step: int | None = Field(default=None, ge=0, le=2**53, description="Refused when the play stands elsewhere.")


class AdvancePlaythrough(OfPlaythrough):
    """Go on by so many steps that need nobody's choice, or ``to`` the next question or the end, at most 1,000 at once.

    It ends earlier where an event would get too large: ``moment.next`` says so, and asking again goes on."""

    steps: int | None = Field(default=None, ge=1, le=STEPS_LIMIT)
    to: Literal["step", "question"] = "step"


class MakeChoice(OfPlaythrough):
    """Choose what the menu offers, and with ``go_on`` go on to the next question."""

    choice: str = Field(min_length=1, max_length=128)
    go_on: bool = False


class GoBack(OfPlaythrough):
    """Go back by so many steps, or to a step. What is undone has happened all the same."""

    steps: int | None = Field(default=None, ge=1, le=2**53)
    to_step: int | None = Field(default=None, ge=0, le=2**53)


class SwitchPlaythroughPov(OfPlaythrough):
    """Play on through another point of view."""

    pov: Pov


class SetPlaythroughVariables(OfPlaythrough):
    """Change variables from outside the story, by their dot paths: those of the play, or the current scene's own."""

    scope: Scope = "session"
    set: dict[Path, BoundedJson] = Field(default={}, max_length=1000)
    clear: tuple[Path, ...] = Field(default=(), max_length=1000)


class ResetPlaythroughVariables(OfPlaythrough):
    """Put variables of one scope, all or those named, back to what they were at the beginning: of the play, or of the
    scene."""

    scope: Scope
    names: tuple[Path, ...] | None = Field(default=None, max_length=1000)


class LoadSlot(OfPlaythrough):
    """Put the play to where a save slot of the same story stands."""

    slot: SlotName
