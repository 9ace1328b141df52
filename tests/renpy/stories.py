"""Random stories as games in a folder: exported by the real exporter, from every point of view and with some assets."""

from __future__ import annotations

import io
import shutil
import wave
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from domain.exchange.renpy.material import Asset, Tale, Wishes
from domain.exchange.renpy.project import game, povs_of, references
from domain.story import play
from tests.any_stories import any_story
from tests.renpy.engine import Engine
from tests.renpy.proof import Route, Verdict, plays_of, prove

WIDTH, HEIGHT = 1280, 720


@cache
def art() -> Mapping[str, tuple[Asset, bytes]]:
    """Assets that exist, by reference: pictures and a sound, small ones; and one whose bytes cannot be used."""
    found = {}
    for number, (media_type, kind) in enumerate((("image/png", "PNG"), ("image/jpeg", "JPEG"), ("image/webp", "WEBP"))):
        held = io.BytesIO()
        Image.new("RGB", (64, 36), (40 * number, 90, 120)).save(held, kind)
        found[f"picture-{number}"] = _asset(f"picture-{number}", f"Bild {number} [x].{kind.lower()}", media_type, held)
    held = io.BytesIO()
    with wave.open(held, "wb") as told:
        told.setnchannels(1)
        told.setsampwidth(2)
        told.setframerate(8000)
        told.writeframes(b"\0\0" * 800)
    found["sound-0"] = _asset("sound-0", "rain 100%.wav", "audio/wav", held)
    found["broken"] = _asset("broken", "broken.gif", "image/gif", io.BytesIO(b"GIF89a"), trouble="unsupported")
    return found


def _asset(uid: str, name: str, media_type: str, held: io.BytesIO, trouble: str = "") -> tuple[Asset, bytes]:
    data = held.getvalue()
    digest = "sha256:" + sha256(data).hexdigest()
    return Asset(uid, digest, len(data), media_type, name, trouble=trouble), data


def write_game(content: Mapping[str, Any], folder: Path, povs: Sequence[str] = ()) -> list[Route]:
    """Exports one story with a route for each point of view, and tells its routes."""
    tale = Tale("main", "Main", play.story(content))
    told = tuple(povs) or povs_of(tale)
    known = {one: art()[one][0] for one in references([tale]) if one in art()}
    wishes = Wishes("proof", title="Proof [x] {b} 100%", povs=told, pov_mode="master", width=WIDTH, height=HEIGHT)
    made = game([tale], known, wishes)
    write_files({path: text.encode() for path, text in made.texts.items()}, made.bytes_, folder)
    return [Route(content, route.id, ({"pov": route.id},)) for route in made.tales[0].routes]


Held = Mapping[str, tuple[Asset, bytes]]
"""Assets that exist with their bytes, by id."""


def write_files(texts: Mapping[str, bytes], blobs: Mapping[str, Asset], folder: Path, held: Held | None = None) -> None:
    """Writes the files of a game, or of a whole package, with the bytes of the assets that exist (none: ``art``)."""
    held = art() if held is None else held
    for path, data in {**texts, **{path: held[asset.uid][1] for path, asset in blobs.items()}}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def prove_story(engine: Engine, seed: int, *, paths: int, keep: Path | None = None) -> Verdict:
    """One random story, from every point of view, by its own seed and by another."""
    content = any_story(seed, assets=tuple(art()))
    folder = engine.scratch / "exported"
    shutil.rmtree(folder, ignore_errors=True)
    routes = write_game(content, folder)
    plays = plays_of(routes, (seed, 2**32 - 1 - seed), most=paths)
    return prove(engine, f"story {seed}", folder, plays, keep=keep, again=f"make test-renpy SEED={seed} STORIES=1")
