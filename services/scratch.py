"""Files that exist only while something is being worked on: in the data folder, on the disk that has the room."""

from __future__ import annotations

import errno
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from domain.errors import Remedy, Unavailable
from services.settings import Settings

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

LEFTOVER_SECONDS: Final = 24 * 3600
"""A folder that nobody has touched for this long belongs to a process that died."""


@contextmanager
def scratch(settings: Settings, kind: str) -> Iterator[Path]:
    """A folder of one's own that is gone afterwards; what dead processes left is removed on the way.

    Blocking, briefly. Raises ``Unavailable`` when there is no room or no right to make one.
    """
    root = settings.data.absolute() / "scratch"
    try:
        root.mkdir(parents=True, mode=0o700, exist_ok=True)
        _tidy(root)
        place = Path(tempfile.mkdtemp(dir=root, prefix=f"{kind}-"))
    except OSError as error:
        raise no_room(error) from error
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def no_room(error: OSError, folder: Path | None = None, needed: int | None = None) -> Unavailable:
    """The error for work that cannot be written down. ``folder`` is where, ``needed`` how many bytes it has."""
    why, detail = f"The data folder cannot be written: {error.strerror or error}.", {}
    if folder is not None and error.errno in FULL:
        with suppress(OSError):
            detail = {"free": shutil.disk_usage(folder).free}
            why += f" {detail['free']:,} bytes are free there."
    if needed is not None:
        detail["needed"] = needed
        why += f" {needed:,} are needed."
    return Unavailable(
        why, error="disk_full",
        remediation=[Remedy("Make room on the disk, or check its permissions.", "free_space"),
                     Remedy("Then try again: nothing was kept of this.", "retry")],
        detail=detail,
    )


def _tidy(root: Path) -> None:
    for one in root.iterdir():
        with suppress(FileNotFoundError):
            if one.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
                shutil.rmtree(one, ignore_errors=True)
