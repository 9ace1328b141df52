"""Writing the files of a vault: one process at a time, whole, and on the disk before anybody goes on."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from adapters.files.replacing import replace, sync_folder
from domain.errors import Remedy, Unavailable


@contextlib.contextmanager
def alone(place: Path) -> Iterator[None]:
    """Holds a file's lock, which lies beside it; waits for whoever has it. Raises ``Unavailable``."""
    try:
        place.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        handle = os.open(place.with_name(place.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unusable(place, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write(place: Path, body: bytes) -> None:
    """Replaces a file. Raises ``Unavailable``, and the old one is as it was."""
    try:
        replace(place, body)
        sync_folder(place.parent)
    except OSError as error:
        raise unusable(place, error) from error


def unusable(place: Path, error: OSError) -> Unavailable:
    """The disk stands in the way, or whose file it is."""
    return Unavailable(
        f"{place} cannot be used: {error.strerror or error}.", error="vault_unusable",
        remediation=[Remedy("Look at its owner and mode, and at the disk's space.", "fix_permissions")],
    )
