"""The disk under the log: refusing before it is full, and noticing that the server has met its end.

A nats-server that could not write a message once never writes again into that stream, also when there is room: it has
to be started anew. So a little is left free, and where it was hurt all the same, its own log file says so.
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final

LEAST_BYTES: Final = 4 * 2**20
"""With less free than this nothing is recorded: what the server itself writes down needs some."""

MENDED_BYTES: Final = 8 * 2**20
"""A server that was hurt is started anew once so much is free."""

NOTHING_BYTES: Final = 64 * 2**10

KNOWN_SECONDS: Final = 0.2
"""How long the disk counts as it was."""

READ_BYTES: Final = 2**20

_HURT: Final = re.compile(rb"no space left on device|disk quota exceeded|[Cc]ritical write error")


class Room:
    """The disk of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._free = LEAST_BYTES
        self._looked = float("-inf")

    def free(self) -> int:
        """Bytes that are free, as of a moment ago; as before where the disk does not say."""
        if monotonic() - self._looked > KNOWN_SECONDS:
            self._looked = monotonic()
            with suppress(OSError):
                self._free = shutil.disk_usage(self._folder).free
        return self._free

    def lack(self) -> str:
        """Why nothing can be recorded; empty where there is room."""
        free = self.free()
        return f"its disk has {free:,} bytes free, and {LEAST_BYTES:,} are needed" if free < LEAST_BYTES else ""


class Wound:
    """Whether the server that runs now could not write, as its log file tells."""

    def __init__(self, folder: Path) -> None:
        self._place = folder / "nats-server.log"
        self._room = Room(folder)
        self._read = 0
        self._hurt = False

    def begun(self) -> None:
        """Another server runs: what the file says so far was about an earlier one."""
        self._hurt = False
        self._read = self._size()

    def heals(self) -> bool:
        """Whether it was hurt, and there is room by now: then it should be started anew. Blocks briefly."""
        # A disk without a byte takes no line of the log file either: who was seen there counts as hurt.
        self._hurt = self._hurt or self._told() or self._room.free() < NOTHING_BYTES
        return self._hurt and self._room.free() >= MENDED_BYTES

    def _told(self) -> bool:
        size = self._size()
        if size < self._read:  # the file was begun anew
            self._read = 0
        if size == self._read:
            return False
        try:
            with self._place.open("rb") as file:
                file.seek(max(self._read, size - READ_BYTES))
                said = file.read(READ_BYTES)
        except OSError:
            return False
        self._read = size
        return _HURT.search(said) is not None

    def _size(self) -> int:
        try:
            return self._place.stat().st_size
        except OSError:
            return 0
