"""What comes of stripping a file, whatever its kind."""

from __future__ import annotations

from typing import NamedTuple


class Stripped(NamedTuple):
    """The bytes without what leaks, and what was taken out, each by its name in the format."""

    data: bytes
    removed: tuple[str, ...]
