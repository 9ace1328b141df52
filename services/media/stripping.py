"""Takes out of a file what it tells besides its content: prompt graphs, places, names, comments, edit histories.

Pixels and samples are not decoded, so not one of them changes. What is needed to show them right stays: colour
profiles, transparency, animation, and which way is up. Content credentials go too: they speak of the bytes as they
were, and would read as broken; sign again afterwards.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from services.media.formats.audio import flac, mp3
from services.media.formats.boxes import avif, mp4
from services.media.formats.jpeg import jpeg
from services.media.formats.png import png
from services.media.formats.riff import wav, webp
from services.media.formats.stripped import Stripped

SIZE_LIMIT: Final = 512 * 2**20
"""Largest file that is stripped; it is worked on in memory."""

FORMATS: Final[dict[str, Callable[[bytes], Stripped]]] = {
    "image/png": png, "image/jpeg": jpeg, "image/webp": webp, "image/avif": avif, "audio/wav": wav,
    "audio/flac": flac, "audio/mpeg": mp3, "video/mp4": mp4, "audio/mp4": mp4, "video/quicktime": mp4,
}
"""Media types of which it is known what leaks."""


class Unstrippable(Exception):
    """Nothing can be taken out safely: ``reason`` is a stable code, the message a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def stripped_file(source: Path, destination: Path, media_type: str) -> tuple[str, ...]:
    """Writes a file without what leaks; what was taken out. Blocking. Raises ``Unstrippable`` and ``OSError``."""
    if source.stat().st_size > SIZE_LIMIT:
        raise Unstrippable("too_large", f"Files over {SIZE_LIMIT:,} bytes are not stripped.")
    found = stripped(source.read_bytes(), media_type)
    destination.write_bytes(found.data)
    return found.removed


def stripped(data: bytes, media_type: str) -> Stripped:
    """The same content without what leaks. Raises ``Unstrippable`` for what cannot be read or is not known here."""
    work = FORMATS.get(media_type)
    if work is None:
        raise Unstrippable("unknown_format", f"What {media_type} tells besides its content is not known here.")
    try:
        return work(data)
    except (struct.error, LookupError, ValueError) as error:
        raise Unstrippable("damaged", f"The file cannot be read as {media_type}.") from error
