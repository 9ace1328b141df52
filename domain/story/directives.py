"""Presentation directives of a node: what is seen and heard while it plays, as a closed union of typed cues.

Names of assets, characters and anchors are references; who plays the scene resolves them. Coordinates are fractions
of the frame (0 to 1 from left and top, beyond it for what stands outside), gains are decibels, times are seconds from
the moment at which the node is entered.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from domain.bounded_json import BoundedObject, Number
from domain.values import Value

Reference = Annotated[str, Field(min_length=1, max_length=300)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Seconds = Annotated[Number, Field(ge=0, le=3600, json_schema_extra={"minimum": 0, "maximum": 3600})]
Fraction = Annotated[Number, Field(ge=0, le=1, json_schema_extra={"minimum": 0, "maximum": 1})]
Coordinate = Annotated[Number, Field(ge=-10, le=10, json_schema_extra={"minimum": -10, "maximum": 10})]
Gain = Annotated[Number, Field(ge=-120, le=24, json_schema_extra={"minimum": -120, "maximum": 24})]
Degrees = Annotated[Number, Field(ge=-3600, le=3600, json_schema_extra={"minimum": -3600, "maximum": 3600})]
Factor = Annotated[Number, Field(gt=0, le=100, json_schema_extra={"exclusiveMinimum": 0, "maximum": 100})]
TweenSeconds = Annotated[Number, Field(ge=0.05, le=60, json_schema_extra={"minimum": 0.05, "maximum": 60})]

Layer = Literal["under_background", "background", "under_portrait", "portrait", "over_portrait", "over_ui"]

Ease = Literal["linear", "ease_in", "ease_out", "ease_in_out", "ease_in_cubic", "ease_out_cubic", "ease_in_out_cubic"]


class Transition(Value):
    """How a change of picture happens: a cut when left away."""

    name: Name = "cut"
    seconds: Seconds = 0
    ease: Ease = "linear"


class Cue(Value):
    """What every directive may say: an id of its own and when it starts."""

    id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    at_seconds: Seconds = 0


class Background(Cue):
    """What stands behind everyone; no asset clears it."""

    kind: Literal["background"]
    asset: Reference | None = None
    transition: Transition = Transition()


class Portrait(Cue):
    """A character enters, changes place or leaves."""

    kind: Literal["portrait"]
    character: Reference
    action: Literal["show", "move", "hide"] = "show"
    asset: Reference | None = None
    expression: Name | None = None
    pose: Name | None = None
    position: Name | None = None
    x: Coordinate | None = None
    y: Coordinate | None = None
    scale: Factor = 1
    flip: StrictBool = False
    layer: Layer = "portrait"
    order: Annotated[int, Field(ge=-1000, le=1000, strict=True)] = 0
    transition: Transition = Transition()


class Expression(Cue):
    """A character on stage changes its face."""

    kind: Literal["expression"]
    character: Reference
    expression: Name
    transition: Transition = Transition()


class Pose(Cue):
    """A character on stage changes its posture."""

    kind: Literal["pose"]
    character: Reference
    pose: Name
    transition: Transition = Transition()


class Camera(Cue):
    """The frame moves; what is left away stays as it is."""

    kind: Literal["camera"]
    action: Literal["set", "move", "shake", "reset"] = "move"
    x: Coordinate | None = None
    y: Coordinate | None = None
    zoom: Factor | None = None
    rotation: Degrees | None = None
    focus: Reference | None = None
    strength: Fraction | None = None
    seconds: Seconds = 0
    ease: Ease = "ease_in_out"


class Tween(Cue):
    """Something on stage is animated: a character, a prop, a layer."""

    kind: Literal["tween"]
    target: Reference
    effect: Literal["fade", "drift", "pulse", "rotate", "scale"]
    start: Coordinate | None = None
    end: Coordinate | None = None
    x: Coordinate | None = None
    y: Coordinate | None = None
    degrees: Degrees | None = None
    seconds: TweenSeconds = 0.45
    hold_seconds: Seconds = 0
    ease: Ease = "ease_in_out_cubic"
    loop: StrictBool = False
    stop_at_end: StrictBool = True


class Timing(Cue):
    """The play waits, or goes on by itself."""

    kind: Literal["timing"]
    action: Literal["wait", "wait_for_input", "wait_for_sound", "advance"] = "wait"
    seconds: Seconds = 0
    skippable: StrictBool = True


class Sound(Cue):
    """Music, ambience, a sound or a voice starts, stops or changes its loudness."""

    kind: Literal["sound"]
    channel: Literal["music", "ambience", "effect", "voice"] = "effect"
    action: Literal["play", "queue", "stop", "gain"] = "play"
    asset: Reference | None = None
    gain_db: Gain = 0
    fade_in_seconds: Seconds = 0
    fade_out_seconds: Seconds = 0
    loop: StrictBool = False


class Prop(Cue):
    """A thing appears at an anchor, or goes."""

    kind: Literal["prop"]
    prop: Reference
    action: Literal["show", "hide"] = "show"
    asset: Reference | None = None
    anchor: Name = "center"
    x: Coordinate | None = None
    y: Coordinate | None = None
    layer: Layer = "over_portrait"
    transition: Transition = Transition()


class Overlay(Cue):
    """Weather, particles, a colour grade: something over the whole frame."""

    kind: Literal["overlay"]
    overlay: Name
    action: Literal["show", "hide"] = "show"
    asset: Reference | None = None
    strength: Fraction = 1
    transition: Transition = Transition()


class Custom(Cue):
    """A cue of an extension, with its parameters; players that do not know its name leave it out."""

    kind: Literal["custom"]
    name: Name
    parameters: BoundedObject = {}


Directive = Annotated[
    Background | Portrait | Expression | Pose | Camera | Tween | Timing | Sound | Prop | Overlay | Custom,
    Field(discriminator="kind"),
]
