"""Small private files in one step: a reader finds the old bytes or the new ones, and nobody else may read either."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

COMING: Final = ".coming-"
"""In the name of a file beside the place that it is written for."""

LEFTOVER_SECONDS: Final = 3600
"""A file that nobody has put in its place for this long belongs to a process that died."""


def replace(place: Path, body: bytes) -> None:
    """Puts another file where one was or none. Its bytes are on the disk before the name points to them."""
    with _written(place, body) as name:
        os.replace(name, place)


def place_first(place: Path, body: bytes) -> None:
    """Puts a file where none is; of several processes the first one's stays."""
    with _written(place, body) as name, suppress(FileExistsError):
        os.link(name, place)


@contextmanager
def _written(place: Path, body: bytes) -> Iterator[str]:
    """The name of a file beside the place that holds the bytes; it is gone afterwards, unless it was moved away."""
    place.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    _tidy(place)
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}{COMING}")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        yield name
    finally:
        Path(name).unlink(missing_ok=True)


def _tidy(place: Path) -> None:
    """Removes what processes that died while they wrote this file have left of it."""
    beginning = f".{place.name}{COMING}"
    with suppress(OSError):
        for one in os.scandir(place.parent):
            if one.name.startswith(beginning) and one.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
                os.unlink(one.path)


def sync_folder(folder: Path) -> None:
    """Puts the entries of a folder on the disk, so that what was moved or linked there is found after a crash."""
    if os.name != "posix":  # elsewhere a folder cannot be opened, and its entries are journalled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
