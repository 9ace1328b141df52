"""Model files in memory: the whole port without a disk, for tests. ``room`` is how many bytes the disk has."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

from domain.ports.model_files import FilesError, Present
from domain.studio.fault import fault
from domain.studio.model_values import FOLDERS, FORMATS, extension
from domain.values import Json

Place = tuple[str, str]


class MemoryPart:
    """A part that is still coming."""

    def __init__(self, files: MemoryModelFiles, place: Place) -> None:
        self._files = files
        self._place = place

    def size(self) -> int:
        return len(self._files.parts.get(self._place, b""))

    def memo(self) -> Mapping[str, Json]:
        return dict(self._files.memos.get(self._place, {}))

    def remember(self, memo: Mapping[str, Json]) -> None:
        self._files.memos[self._place] = dict(memo)

    def write(self, piece: bytes) -> None:
        fits = piece[: self._files.left()]
        self._files.parts[self._place] += fits
        if len(fits) < len(piece):
            raise FilesError(fault("DISK_FULL", "The disk of the models folder is full."))

    def empty(self) -> None:
        self._files.parts[self._place] = bytearray()
        self._files.memos.pop(self._place, None)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        yield io.BytesIO(bytes(self._files.parts[self._place]))

    def free(self) -> int:
        return self._files.free()

    def place(self, *, remembered: bool = False) -> None:
        if self._place in self._files.kept:
            raise FileExistsError(self._place[1])
        self._files.kept[self._place] = bytes(self._files.parts.pop(self._place))
        if not remembered:
            self.discard()

    def discard(self) -> None:
        self._files.parts.pop(self._place, None)
        self._files.memos.pop(self._place, None)


class MemoryModelFiles:
    """Keeps files in dictionaries; ``reserve`` bytes of ``room`` stay free."""

    root = "memory"

    def __init__(self, room: int = 2**30, reserve: int = 0) -> None:
        self.room = room
        self._reserve = reserve
        self.kept: dict[Place, bytes] = {}
        self.parts: dict[Place, bytearray] = {}
        self.memos: dict[Place, dict[str, Any]] = {}
        self._held: set[Place] = set()

    def found(self, folder: str, filename: str) -> Present | None:
        content = self.kept.get((folder, filename))
        return None if content is None else Present(folder, filename, len(content))

    def coming(self, folder: str, filename: str) -> int | None:
        part = self.parts.get((folder, filename))
        return None if part is None else len(part)

    @contextmanager
    def part(self, folder: str, filename: str) -> Iterator[MemoryPart | None]:
        place = _place(folder, filename)
        if place in self._held:
            yield None
            return
        self._held.add(place)
        self.parts.setdefault(place, bytearray())
        try:
            yield MemoryPart(self, place)
        finally:
            self._held.discard(place)

    @contextmanager
    def read(self, folder: str, filename: str) -> Iterator[BinaryIO]:
        content = self.kept.get(_place(folder, filename))
        if content is None:
            raise FilesError(fault("DOWNLOAD_FAILED", "The models folder cannot be used: there is no such file."))
        yield io.BytesIO(content)

    def free(self, folder: str = "") -> int:
        return max(0, self.left() - self._reserve)

    def left(self) -> int:
        """Bytes that nobody has taken."""
        return max(0, self.room - sum(map(len, self.kept.values())) - sum(map(len, self.parts.values())))

    def listed(self, limit: int) -> Iterator[Present]:
        known = [one for one in sorted(self.kept) if extension(one[1]) in FORMATS and not one[1].startswith(".")]
        for folder, filename in known[:limit]:
            yield Present(folder, filename, len(self.kept[folder, filename]))


def _place(folder: str, filename: str) -> Place:
    if folder not in FOLDERS.values() or filename in ("", ".", "..") or {"/", "\\", "\0"} & set(filename):
        raise FilesError(fault("VALIDATION_ERROR", "That is no place in the models folder."))
    return folder, filename
