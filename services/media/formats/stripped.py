"""What comes of stripping a file, whatever its kind."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

PARTS: Final = 100_000
"""Most parts of a file that are kept or taken out one by one. A part takes more memory than it takes bytes."""

T = TypeVar("T")


class Parts(list[T]):
    """What was found in a file, in its order. Raises ``ValueError`` for more than any file has."""

    def append(self, one: T) -> None:
        if len(self) >= PARTS:
            raise ValueError(f"more than {PARTS} parts")
        super().append(one)


class Stripped(NamedTuple):
    """The bytes without what leaks, and what was taken out, each by its name in the format."""

    data: bytes
    removed: tuple[str, ...]
