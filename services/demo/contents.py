"""What the sample project is made of, read from the files beside this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

HERE: Final = Path(__file__).parent
ART: Final = HERE / "art"
CARDS: Final = HERE / "cards"

SCENES: Final = ("the-tide-clerk", "seven-years-before", "the-logbook")
BRANCH: Final = "the-dry-can"

KINDS: Final = {".jpg": "background", ".png": "portrait", ".wav": "sound"}
"""What the project uses its files as."""

UNLICENSED: Final = "harbour_fog.jpg"
"""The one file that nobody has stated a licence for yet: what the policy stumbles over."""


def told(name: str) -> dict[str, Any]:
    """One of the story's files."""
    found: dict[str, Any] = orjson.loads((HERE / "story" / f"{name}.json").read_bytes())
    return found


def lore(name: str) -> dict[str, Any]:
    """One of the files about the world, its people and the order of its scenes."""
    found: dict[str, Any] = orjson.loads((HERE / "lore" / f"{name}.json").read_bytes())
    return found


def art() -> list[Path]:
    """Every picture and sound, by name."""
    return sorted(path for path in ART.iterdir() if path.suffix in KINDS)


def named(part: Any) -> Iterator[str]:
    """The files that a part of the story speaks of (``art/morning.jpg``)."""
    if isinstance(part, dict):
        if isinstance(asset := part.get("asset"), str):
            yield asset
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from named(one)


def resolved(part: Any, uids: Mapping[str, str]) -> Any:
    """The same part with the assets' ids in place of the files' names."""
    if isinstance(part, dict):
        return {
            name: uids[value] if name == "asset" and isinstance(value, str) else resolved(value, uids)
            for name, value in part.items()
        }
    if isinstance(part, list):
        return [resolved(one, uids) for one in part]
    return part


def endings(scene: Mapping[str, Any]) -> list[str]:
    """The ids of the nodes at which a scene ends."""
    return [node["id"] for node in scene["nodes"] if node.get("end")]
