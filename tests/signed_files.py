"""Small real files of every kind that is signed, made by real encoders, and ways to damage them."""

from __future__ import annotations

import hashlib
import io
import subprocess
from pathlib import Path

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

from adapters.c2pa.credentials import OwnCredentials
from domain.ports.credentials import Action, Claim, Ingredient
from domain.studio.source_types import address

GENERATION = "org.comfyvn.generation"
CREATED = (Action("c2pa.created", address("trainedAlgorithmicMedia")),)
EDITED = (Action("c2pa.opened", "", (0,)), Action("c2pa.edited", address("compositeWithTrainedAlgorithmicMedia")))

IMAGES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/avif": "AVIF"}
SOUNDS = {"audio/wav": "wav", "audio/mpeg": "mp3", "audio/flac": "flac", "audio/ogg": "ogg"}
FILMS = {"video/mp4": "mp4", "video/webm": "webm"}
EMBEDDED = (*IMAGES, "audio/wav", "audio/mpeg", "audio/flac", "video/mp4")
BESIDE = ("audio/ogg", "video/webm")


def picture(number: int = 1, kind: str = "PNG", size: int = 48, **more: object) -> bytes:
    """A noisy picture, another one for every number."""
    pixels = np.random.default_rng(number).integers(0, 255, (size, size, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **more)
    return out.getvalue()


def made(folder: Path, media_type: str) -> Path:
    """A file of a media type."""
    if media_type in IMAGES:
        place = folder / f"made.{IMAGES[media_type].lower()}"
        place.write_bytes(picture(kind=IMAGES[media_type]))
        return place
    ending = {**SOUNDS, **FILMS}[media_type]
    place = folder / f"made.{ending}"
    given = ["-f", "lavfi", "-i", "sine=frequency=440:duration=0.4"]
    if media_type in FILMS:
        given = ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=10:duration=0.4"]
    ffmpeg(*given, str(place))
    return place


def ffmpeg(*words: str) -> None:
    subprocess.run([get_ffmpeg_exe(), "-v", "error", "-y", *words], check=True, timeout=60)


def claim(path: Path, media_type: str, *ingredients: Ingredient, actions: tuple[Action, ...] = ()) -> Claim:
    """What is said of a file: generated, or an edit where there are ingredients."""
    data = path.read_bytes()
    return Claim(
        path.name, media_type, hashlib.sha256(data).hexdigest(), len(data),
        actions or (EDITED if ingredients else CREATED), ingredients,
        {GENERATION: {"asset": hashlib.sha256(data).hexdigest()[:16], "seed": "18446744073709551615"}},
    )


def parent(path: Path | None, number: int = 1, media_type: str = "image/png") -> Ingredient:
    return Ingredient(f"{number:016x}", f"parent {number}", "parentOf", media_type, "ab" * 32,
                      None if path is None else str(path))


def signed(credentials: OwnCredentials, path: Path, media_type: str, *ingredients: Ingredient, name: str = "") -> Path:
    """The signed file, or its sidecar."""
    place = path.with_name(name or f"signed-{path.name}")
    credentials.sign(str(path), str(place), claim(path, media_type, *ingredients))
    return place


def flipped(data: bytes, place: int) -> bytes:
    """The bytes with one bit changed; a negative place counts from the end."""
    place %= len(data)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
