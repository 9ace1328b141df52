"""A small disk of one's own, for tests of what happens when it is full: a tmpfs, where one may be mounted."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A file system of ``size`` bytes at ``place``."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._filler = place / ".filler"

    @property
    def free(self) -> int:
        return shutil.disk_usage(self.place).free

    def fill(self, leave: int = 0) -> None:
        """Somebody else takes what is free, but for so many bytes."""
        with self._filler.open("ab") as file:
            while (left := self.free - leave) > 0:
                try:
                    os.write(file.fileno(), b"\0" * min(left, 2**20))
                except OSError:  # a page that is not whole any more
                    return

    def make_room(self) -> None:
        self._filler.unlink(missing_ok=True)

    def files(self) -> list[str]:
        """What lies there, besides what fills it."""
        return sorted(str(one.relative_to(self.place)) for one in self.place.rglob("*")
                      if one.is_file() and one != self._filler)


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[SmallDisk]:
    """Mounts it; skips the test, and says why, where that is not possible."""
    place.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("there is no `mount` on this machine: a full disk cannot be made")
    told = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)],
                          capture_output=True, text=True, check=False)
    if told.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {told.stderr.strip() or told.returncode}")
    try:
        yield SmallDisk(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)
