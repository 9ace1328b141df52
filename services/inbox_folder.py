"""The inbox folder: files that people lay into ``<data>/inbox`` and register by their path below it."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import IO, Final

from domain.errors import Invalid, NotFound, Remedy
from services.scratch import no_room
from services.settings import Settings

CHUNK: Final = 2**20


def fetched(settings: Settings, path: str, to: Path) -> None:
    """Copies a file of the inbox to a place of our own, since nobody keeps the one in the inbox from changing.

    Blocking. Every folder on the way is opened by itself and never through a link, so no path and no link leads out.
    Raises ``Invalid`` for a path that leads out, a link, a folder or a device and for a file over the upload limit,
    ``NotFound`` when there is none, ``Unavailable`` when the copy cannot be written.
    """
    parts = _parts(path)
    root = settings.data.absolute() / "inbox"
    try:
        root.mkdir(parents=True, mode=0o700, exist_ok=True)
    except OSError as error:
        raise no_room(error) from error
    handle = _opened(root, parts, path)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _not_plain(path)
    with os.fdopen(handle, "rb") as reading:
        try:
            _copy(reading, to, settings.upload_limit)
        except OSError as error:
            raise no_room(error, to.parent, os.fstat(handle).st_size) from error


def _parts(path: str) -> tuple[str, ...]:
    pure = PurePosixPath(path)
    parts = pure.parts
    if not parts or pure.is_absolute() or ".." in parts or "\0" in path or "\\" in path or ":" in parts[0]:
        raise Invalid(
            "The path does not lead to a file below the inbox folder.", error="path_outside",
            remediation=[Remedy("Lay the file into the folder `inbox` of the data folder; name its path below that.",
                                "use_inbox")],
            detail={"path": path[:300]},
        )
    return parts


def _opened(root: Path, parts: tuple[str, ...], path: str) -> int:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if os.open not in os.supports_dir_fd:
            place = root.joinpath(*parts)
            if place.is_symlink() or place.resolve() != root.resolve().joinpath(*parts):
                raise _not_plain(path)
            return os.open(place, flags)
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts[:-1]:
                inner = os.open(part, flags | os.O_DIRECTORY, dir_fd=folder)
                os.close(folder)
                folder = inner
            return os.open(parts[-1], flags, dir_fd=folder)
        finally:
            os.close(folder)
    except FileNotFoundError as error:
        raise NotFound(
            "There is no such file in the inbox folder.", error="unknown_file",
            remediation=[Remedy("Lay it there, or check the path.", "check_path")], detail={"path": path[:300]},
        ) from error
    except (OSError, ValueError) as error:  # a link, a socket, a folder that is none, a name too long
        raise _not_plain(path) from error


def _copy(reading: IO[bytes], to: Path, limit: int) -> None:
    size = 0
    with to.open("wb") as writing:
        while piece := reading.read(CHUNK):
            size += len(piece)
            if size > limit:
                raise Invalid(
                    f"The file is larger than {limit} bytes.", error="upload_too_large",
                    remediation=[Remedy("Raise `upload_limit`, or import the folder from the console.", "send_less")],
                    detail={"limit": limit},
                )
            writing.write(piece)


def _not_plain(path: str) -> Invalid:
    return Invalid(
        "That is no plain file that can be read: links, folders and devices are not registered.",
        error="not_a_plain_file",
        remediation=[Remedy("Lay the file itself into the inbox folder.", "use_inbox")], detail={"path": path[:300]},
    )
