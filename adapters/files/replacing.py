"""Small private files in one step: a reader finds the old bytes or the new ones, and nobody else may read either."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=place.name + ".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        yield name
    finally:
        Path(name).unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Puts the entries of a folder on the disk, so that what was moved or linked there is found after a crash."""
    if os.name != "posix":  # elsewhere a folder cannot be opened, and its entries are journalled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
