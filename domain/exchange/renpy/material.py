"""What a game is made of: tales, their routes, the assets that they name, and how the author wants the game to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from domain.story.play import Story

PovMode = Literal["disabled", "single", "master", "forks", "both"]
"""How points of view become routes: none, one, a menu of them, a game for each, or the menu and the games."""

POV_MODES: Final[tuple[PovMode, ...]] = ("disabled", "single", "master", "forks", "both")

PICTURES: Final[Mapping[str, str]] = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
"""Media types of pictures that Ren'Py 8.0 shows, and the endings of their files."""

SOUNDS: Final[Mapping[str, str]] = {
    "audio/wav": "wav", "audio/x-wav": "wav", "audio/ogg": "ogg", "audio/opus": "opus", "audio/mpeg": "mp3",
    "audio/flac": "flac", "audio/x-flac": "flac", "application/ogg": "ogg",
}
"""Media types of sounds that Ren'Py 8.0 plays, and the endings of their files."""


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset that a story names. ``trouble`` says why its bytes cannot be used, and is empty where they can.

    ``digest`` and ``size`` are those of its file in the game; ``stored`` are those of what is kept, where the file is
    made of that by stripping what it tells besides its content.
    """

    uid: str
    digest: str
    size: int
    media_type: str
    name: str
    kind: str = ""
    asset_type: str = ""
    licence: str = ""
    origin: str = ""
    nsfw: bool = False
    sources: tuple[Mapping[str, Any], ...] = ()
    trouble: str = ""
    stored: tuple[str, int] | None = None

    @property
    def stem(self) -> str:
        """Its name without the ending of a file."""
        stem, _, ending = self.name.rpartition(".")
        return stem if stem and len(ending) <= 5 else self.name


@dataclass(frozen=True, slots=True)
class Tale:
    """A story on a worldline. ``prefix`` begins its labels, and is empty where a game has one tale only."""

    world: str
    label: str
    story: Story
    prefix: str = ""

    @property
    def characters(self) -> Mapping[str, Mapping[str, Any]]:
        """The characters of the story: their fields by id."""
        found: Mapping[str, Mapping[str, Any]] = self.story.content.get("characters") or {}
        return found


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a game is to be. ``povs`` are those asked for; none: those that the story names."""

    project: str
    title: str = ""
    version: str = "1.0"
    povs: tuple[str, ...] = ()
    pov_mode: PovMode = "single"
    world_mode: Literal["canonical", "multi"] = "canonical"
    width: int = 1920
    height: int = 1080
    generated_at: str = ""
    gate: Mapping[str, Any] = field(default_factory=dict)
    rating: str = ""
