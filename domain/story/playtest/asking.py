"""What is asked of a playtest, with every bound as a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from domain.story.playtest.exploring import Bounds

Mode = Literal["exhaustive", "random"]

STATES_LIMIT: Final = 5_000_000
PLAYS_LIMIT: Final = 100_000
STEPS_LIMIT: Final = 100_000
POVS_LIMIT: Final = 50
"""Most points of view that one playtest plays."""

WORDS_PER_MINUTE: Final = 200
"""How fast people read, where nobody says otherwise."""


class Wanted(NamedTuple):
    """``povs`` of none: all that the story knows of. ``seed``: in the exhaustive mode the dice fall as it says, in the
    random mode it is the first play's. ``steps`` bounds one random play. ``tables``: every node, choice and condition
    is listed, not only what is wrong."""

    mode: Mode = "exhaustive"
    povs: tuple[str, ...] = ()
    seed: int | None = None
    plays: int = 200
    variables: Mapping[str, Any] | None = None
    bounds: Bounds = Bounds()
    steps: int = 2_000
    words_per_minute: int = WORDS_PER_MINUTE
    tables: bool = True
