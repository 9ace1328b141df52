"""One holder of a data folder at a time: a lock of the operating system, with a note that says who holds it.

The lock is the kernel's (``flock``), so it ends with the process that holds it, however that process ends; the note in
the file is for people and for commands that want to attach, and is believed only while the lock is held.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, get_args

from domain.errors import Refused, Remedy, Unavailable

Role = Literal["server", "worker", "console"]
"""What the holder does: serve, work without a door, or one console command."""

ROLES: Final = get_args(Role)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a data folder. ``since`` is RFC 3339 in UTC; ``address`` the HTTP address, empty until it is known."""

    pid: int
    host: str
    role: Role
    since: str
    address: str = ""

    def __str__(self) -> str:
        what = {"server": "a running server", "worker": "a running worker", "console": "a console command"}[self.role]
        where = f" at {self.address}" if self.address else ""
        return f"{what}{where} (process {self.pid} on {self.host}, since {self.since[:19]}Z)"


class FolderLock:
    """The lock of one data folder. Not shared with child processes; freed by ``release`` or by the process's end."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._handle: int | None = None
        self._holder: Holder | None = None

    def try_acquire(self, role: Role) -> Holder | None:
        """Takes the lock and returns nothing, or returns who holds it; raises ``Unavailable`` for an unusable file."""
        handle = self._open()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                return _noted(handle)
            finally:
                os.close(handle)
        except OSError as error:
            os.close(handle)
            raise Unavailable(
                f"The file system of {self.place.parent} cannot lock files: {error.strerror}.",
                error="data_folder",
                remediation=[Remedy("Keep the data folder on a local disk.", "choose_data_folder")],
            ) from error
        self._handle = handle
        self._write(Holder(os.getpid(), socket.gethostname(), role, _now()))
        return None

    def acquire(self, role: Role, *, wait_seconds: float = 0.0) -> None:
        """Takes the lock, waiting for a short-lived holder; raises ``Refused`` and says who holds it."""
        # Somebody who merely asks holds a shared lock for an instant; that is no reason to refuse.
        deadline = time.monotonic() + max(wait_seconds, 0.3)
        while (holder := self.try_acquire(role)) is not None:
            if time.monotonic() >= deadline:
                raise in_use(self.place.parent, holder)
            time.sleep(0.05)

    def announce(self, address: str) -> None:
        """Adds the HTTP address to the note."""
        assert self._holder is not None, "only the holder announces"
        self._write(Holder(**(asdict(self._holder) | {"address": address})))

    def release(self) -> None:
        """Gives the lock back; the file stays, so that two later comers lock the same one."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None

    def _open(self) -> int:
        try:
            return os.open(self.place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(
                f"The lock {self.place} cannot be opened: {error.strerror}.",
                error="data_folder",
                remediation=[Remedy("Name a folder that you may write to with --data.", "choose_data_folder")],
            ) from error

    def _write(self, holder: Holder) -> None:
        assert self._handle is not None
        self._holder = holder
        text = json.dumps(asdict(holder)).encode()
        # Blanks overwrite a longer note: between two writes a reader must never see half of one.
        os.pwrite(self._handle, text.ljust(512) + b"\n", 0)


def holder_of(place: Path) -> Holder | None:
    """Who holds the lock of a data folder now; nothing when nobody does or there is no such folder."""
    try:
        handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # A shared lock is refused while somebody holds the exclusive one, and harms nobody else who only asks.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _noted(handle)
    finally:
        os.close(handle)
    return None


def in_use(folder: Path, holder: Holder) -> Refused:
    """The refusal for a second holder."""
    return Refused(
        f"The data folder {folder} is in use by {holder}.",
        error="data_folder_in_use",
        remediation=[
            Remedy("Stop that process, or wait until it is done.", "stop_holder"),
            Remedy("Or name another folder with --data.", "choose_data_folder"),
        ],
        detail={"folder": str(folder), "holder": asdict(holder)},
    )


def _noted(handle: int) -> Holder:
    # The note is written an instant after the lock is taken.
    for _ in range(20):
        try:
            holder = Holder(**json.loads(os.pread(handle, 4096, 0)))
        except (OSError, ValueError, TypeError, RecursionError):
            time.sleep(0.01)
            continue
        texts = (holder.host, holder.since, holder.address)
        if type(holder.pid) is int and holder.role in ROLES and all(isinstance(one, str) for one in texts):
            return holder
        break
    return Holder(0, "an unknown machine", "console", _now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
