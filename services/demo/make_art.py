"""Paints and sounds out the files of ``services/demo/art`` anew: ``python -m services.demo.make_art [FOLDER]``."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from services.demo.people import FACES, PEOPLE, portrait
from services.demo.places import PLACES
from services.demo.sounds import SOUNDS, write_wave

ART = Path(__file__).with_name("art")
"""Where the files are kept."""


def make(folder: Path) -> list[Path]:
    """Writes every file; the same files every time."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, paint in PLACES.items():
        place = folder / f"{name}.jpg"
        picture = paint()
        picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS).save(
            place, quality=84, optimize=True
        )
        made.append(place)
    for name, person in PEOPLE.items():
        for face in FACES:
            place = folder / f"{name}_{face}.png"
            portrait(person, face).save(place, optimize=True)
            made.append(place)
    for name, sound in SOUNDS.items():
        place = folder / f"{name}.wav"
        write_wave(place, sound())
        made.append(place)
    return made


if __name__ == "__main__":
    for file in make(Path(sys.argv[1]) if len(sys.argv) > 1 else ART):
        sys.stdout.write(f"{file.name} {file.stat().st_size}\n")
