"""What is on stage at a moment: who and what is seen, from where, and what is heard. Plain values, easy to compare."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StrictBool

from domain.bounded_json import Number
from domain.story.directives import (
    Coordinate,
    Degrees,
    Factor,
    Fraction,
    Gain,
    Layer,
    Name,
    Reference,
)
from domain.values import Value

STANDING_LIMIT: Final = 500
"""Most characters, props or overlays on stage at once."""

PLACES: Final = ("position", "x", "y", "scale", "flip", "layer", "order")
"""What of somebody on stage says where and how large they stand."""


class Standing(Value):
    """A character on stage."""

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


class Thing(Value):
    """A prop on stage."""

    asset: Reference | None = None
    anchor: Name = "center"
    x: Coordinate | None = None
    y: Coordinate | None = None
    layer: Layer = "over_portrait"


class Veil(Value):
    """An overlay that is shown."""

    asset: Reference | None = None
    strength: Fraction = 1


class View(Value):
    """Where the camera is."""

    x: Coordinate = 0
    y: Coordinate = 0
    zoom: Factor = 1
    rotation: Degrees = 0
    focus: Reference | None = None


class Heard(Value):
    """What sounds on a channel."""

    asset: Reference | None = None
    gain_db: Gain = 0
    loop: StrictBool = False


class Motion(Value):
    """A tween that goes on until something ends it."""

    effect: Name
    seconds: Number = 0.45


class Stage(Value):
    """The stage between two moments. What is left away is not there, or as it is at first."""

    background: Reference | None = None
    characters: Annotated[dict[str, Standing], Field(max_length=STANDING_LIMIT)] = {}
    props: Annotated[dict[str, Thing], Field(max_length=STANDING_LIMIT)] = {}
    overlays: Annotated[dict[str, Veil], Field(max_length=STANDING_LIMIT)] = {}
    camera: View = View()
    sound: Annotated[dict[str, Heard], Field(max_length=STANDING_LIMIT)] = {}
    motions: Annotated[dict[str, Motion], Field(max_length=STANDING_LIMIT)] = {}

    def shown(self) -> dict[str, Any]:
        """The stage as JSON, in one order."""
        told = self.model_dump(mode="json")
        return {name: dict(sorted(one.items())) if isinstance(one, dict) and name != "camera" else one
                for name, one in told.items()}

    def holds(self, name: str) -> bool:
        """Whether something of that name can be animated: somebody, something, or a part of every stage."""
        return name in self.characters or name in self.props or name in self.overlays or name in PARTS


PARTS: Final = frozenset({
    "camera", "background", "under_background", "under_portrait", "portrait", "over_portrait", "over_ui", "screen",
})
"""What every stage has."""

EMPTY: Final = Stage()
"""Before anything was shown."""
