"""Which tools do the work, by version: part of what provenance keeps, since the same bytes need the same tools."""

from __future__ import annotations

import subprocess
from functools import cache
from typing import Final

RECIPE_VERSION: Final = "1"
"""Grows when the same task would make other bytes."""


@cache
def ffmpeg_program() -> str | None:
    """Where ffmpeg is, from its wheel; nothing where the wheel has none for this system."""
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return None


def versions() -> dict[str, str]:
    """Tool -> version."""
    import numpy
    import PIL

    found = {"studio_local": RECIPE_VERSION, "pillow": PIL.__version__, "numpy": numpy.__version__}
    program = ffmpeg_program()
    if program is not None:
        try:
            said = subprocess.run([program, "-version"], capture_output=True, timeout=20, check=True).stdout
            found["ffmpeg"] = said.decode(errors="replace").split()[2]
        except (OSError, subprocess.SubprocessError, IndexError):
            pass
    return found
