"""Where model files lie: a folder with a subfolder per kind, and beside each file that is still coming its part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import BinaryIO, NamedTuple, Protocol

from domain.studio.fault import Fault
from domain.values import Json


class FilesError(Exception):
    """A file cannot be written or read; ``fault`` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Present(NamedTuple):
    """A file that is there: its folder and name, its size in bytes."""

    folder: str
    filename: str
    size: int


class Part(Protocol):
    """A file that is still coming, held by one process at a time. Everything blocks, and raises ``FilesError``."""

    def size(self) -> int:
        """Bytes that are there."""
        ...

    def memo(self) -> Mapping[str, Json]:
        """What was remembered about where they come from; empty when there is nothing, or nothing usable."""
        ...

    def remember(self, memo: Mapping[str, Json]) -> None:
        """Remembers that, in one step."""
        ...

    def write(self, piece: bytes) -> None:
        """Appends."""
        ...

    def empty(self) -> None:
        """Begins anew: no bytes, nothing remembered."""
        ...

    def opened(self) -> AbstractContextManager[BinaryIO]:
        """Reads from the beginning."""
        ...

    def free(self) -> int:
        """Bytes that the disk has for us."""
        ...

    def place(self, *, remembered: bool = False) -> None:
        """Gives the file its name, on the disk and in one step; raises ``FileExistsError`` when another has it.

        ``remembered``: the memo stays until it is discarded, so that whoever comes after a death knows whose file
        that is.
        """
        ...

    def discard(self) -> None:
        """Throws it away."""
        ...


class ModelFiles(Protocol):
    """The models folder. Everything blocks."""

    @property
    def root(self) -> str:
        """Its path."""
        ...

    def found(self, folder: str, filename: str) -> Present | None:
        """A whole file."""
        ...

    def coming(self, folder: str, filename: str) -> int | None:
        """Bytes of a part that are there; nothing without one."""
        ...

    def part(self, folder: str, filename: str) -> AbstractContextManager[Part | None]:
        """The part of a file, for this process alone; nothing while another has it. Raises ``FilesError``."""
        ...

    def read(self, folder: str, filename: str) -> AbstractContextManager[BinaryIO]:
        """A whole file's bytes; raises ``FilesError``."""
        ...

    def free(self, folder: str = "") -> int:
        """Bytes that the disk has for us, beyond what is kept free."""
        ...

    def listed(self, limit: int) -> Iterator[Present]:
        """Whole files, folder by folder, ``limit`` at most."""
        ...
