"""The models folder on a disk: parts that one process holds at a time, and files that get their names in one step."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from adapters.files.folder import write_private_json
from adapters.files.replacing import sync_folder
from domain.ports.model_files import FilesError, Present
from domain.studio.fault import Fault, fault
from domain.studio.model_values import FOLDERS, FORMATS, extension
from domain.values import Json

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SUFFIX: Final = ".part"


def _fault(error: OSError) -> Fault:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in _FULL:
        return fault("DISK_FULL", f"The disk of the models folder is full{where}.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return fault("PERMISSION_DENIED", f"The models folder may not be written: {error.strerror}{where}.")
    return fault("DOWNLOAD_FAILED", f"The models folder cannot be used: {error.strerror or error}{where}.")


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise FilesError(_fault(error)) from error


class FilePart:
    """A part beside the place of its file; the lock on it ends with the process, however that ends."""

    def __init__(self, handle: int, place: Path, target: Path, reserve: int) -> None:
        self._handle = handle
        self._place = place
        self._memo = place.with_name(place.name + ".json")
        self._target = target
        self._reserve = reserve

    def size(self) -> int:
        with _told():
            return os.fstat(self._handle).st_size

    def memo(self) -> Mapping[str, Json]:
        try:
            told = json.loads(self._memo.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return told if isinstance(told, dict) else {}

    def remember(self, memo: Mapping[str, Json]) -> None:
        with _told():
            write_private_json(self._memo, memo)

    def write(self, piece: bytes) -> None:
        with _told():
            os.lseek(self._handle, 0, os.SEEK_END)
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._handle, rest):]

    def empty(self) -> None:
        with _told():
            os.ftruncate(self._handle, 0)
            self._memo.unlink(missing_ok=True)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        with _told(), self._place.open("rb") as file:
            yield file

    def free(self) -> int:
        with _told():
            return max(0, shutil.disk_usage(self._place.parent).free - self._reserve)

    def place(self, *, remembered: bool = False) -> None:
        with _told():
            os.fsync(self._handle)
            os.fchmod(self._handle, 0o644)  # engines may run as somebody else
            try:
                os.link(self._place, self._target)  # unlike a rename, this never takes another file's place
            except FileExistsError:
                raise
            except OSError:  # a file system without links
                if self._target.exists():
                    raise FileExistsError(errno.EEXIST, "exists", str(self._target)) from None
                self._place.rename(self._target)
            else:
                self._place.unlink(missing_ok=True)
            if not remembered:
                self._memo.unlink(missing_ok=True)
            sync_folder(self._target.parent)

    def discard(self) -> None:
        with _told():
            self._memo.unlink(missing_ok=True)
            self._place.unlink(missing_ok=True)


class ModelFolder:
    """Model files below ``root``, a folder per kind; ``reserve`` bytes of the disk stay free."""

    def __init__(self, root: Path, reserve: int = 0) -> None:
        self._root = root
        self._reserve = reserve

    @property
    def root(self) -> str:
        return str(self._root)

    def found(self, folder: str, filename: str) -> Present | None:
        try:
            place = self._at(folder, filename)
            return Present(folder, filename, place.stat().st_size) if place.is_file() else None
        except OSError:
            return None

    def coming(self, folder: str, filename: str) -> int | None:
        try:
            return _part_of(self._at(folder, filename)).stat().st_size
        except OSError:
            return None

    @contextmanager
    def part(self, folder: str, filename: str) -> Iterator[FilePart | None]:
        target = self._at(folder, filename)
        place = _part_of(target)
        with _told():
            target.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with _told():
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    held = False
                else:
                    # Whoever held it until now may have given this very file its name: then it is no part any more.
                    held = _same(handle, place)
            yield FilePart(handle, place, target, self._reserve) if held else None
        finally:
            os.close(handle)

    @contextmanager
    def read(self, folder: str, filename: str) -> Iterator[BinaryIO]:
        with _told(), self._at(folder, filename).open("rb") as file:
            yield file

    def free(self, folder: str = "") -> int:
        here = self._root / folder
        while not here.exists() and here != here.parent:
            here = here.parent
        with _told():
            return max(0, shutil.disk_usage(here).free - self._reserve)

    def listed(self, limit: int) -> Iterator[Present]:
        count = 0
        for folder in sorted(set(FOLDERS.values())):
            with suppress(OSError):
                for one in sorted((self._root / folder).iterdir()):
                    if count == limit:
                        return
                    if not one.name.startswith(".") and extension(one.name) in FORMATS and one.is_file():
                        count += 1
                        yield Present(folder, one.name, one.stat().st_size)

    def _at(self, folder: str, filename: str) -> Path:
        # Names are judged where they come in; what is written to must be below the folder whoever has judged.
        if folder not in FOLDERS.values() or filename in ("", ".", "..") or {"/", "\\", "\0"} & set(filename):
            raise FilesError(fault("VALIDATION_ERROR", "That is no place in the models folder."))
        return self._root / folder / filename


def _part_of(target: Path) -> Path:
    return target.with_name(f".{target.name}{_SUFFIX}")


def _same(handle: int, place: Path) -> bool:
    try:
        there = place.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(handle)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
