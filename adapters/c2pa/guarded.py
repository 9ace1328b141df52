"""Reading manifests in a process of its own, so that a file that hangs or crashes c2pa-rs takes nothing else along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from typing import Any, Final

SECONDS: Final = 60.0
"""Longest time for one file, and a second more for each ``PACE`` bytes of it: all of them are hashed."""

PACE: Final = 20 * 2**20

MEMORY: Final = 4 * 2**30
"""Most address space of the reading process in bytes, where the system can limit it."""

FILES_EACH: Final = 500
"""Files after which the process is replaced, so that nothing that leaks grows for ever."""

ANSWER: Final = 256 * 2**20
"""Most bytes of one answer."""


class Guarded:
    """One reading process, started when it is first needed; files are read one after the other, whoever asks."""

    def __init__(self, *, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._seconds, self._memory = seconds, memory
        self._turn = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._done = 0

    @property
    def pid(self) -> int | None:
        """The process that reads, if there is one."""
        return self._child.pid if self._child is not None else None

    def read(self, path: str, kind: str, roots: str) -> dict[str, Any]:
        """What ``child.read`` gives out; what ends the process is a file that is ``unreadable``. Blocking."""
        with self._turn:
            child = self._ready()
            late = threading.Event()
            seconds = self._seconds + _size(path) / PACE
            timer = threading.Timer(seconds, lambda: (late.set(), child.kill()))
            timer.daemon = True
            timer.start()
            try:
                told = self._asked(child, {"path": path, "kind": kind, "roots": roots, "seconds": int(seconds) + 1})
            finally:
                timer.cancel()
            if told is None:
                self._end()
                why = f"it takes longer than {seconds:.0f} seconds" if late.is_set() else "it ends its reader"
                return {"unreadable": f"Reading this file is given up: {why}"}
            self._done += 1
            if self._done >= FILES_EACH:
                self._end()
            return told

    @staticmethod
    def _asked(child: subprocess.Popen[bytes], request: dict[str, Any]) -> dict[str, Any] | None:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
            size = int.from_bytes(child.stdout.read(8), "big")
            raw = child.stdout.read(size) if 0 < size <= ANSWER else b""
        except OSError:
            return None
        found: dict[str, Any] | None = json.loads(raw) if raw and len(raw) == size else None
        return found

    def _ready(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            words = [sys.executable, "-P", "-m", "adapters.c2pa.child", str(self._memory)]
            self._child = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=-1,
            )
            self._done = 0
            weakref.finalize(self, _ended, self._child)
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            _ended(child)


def _size(path: str) -> int:
    with suppress(OSError):
        return os.stat(path).st_size
    return 0


def _ended(child: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


GUARDED: Final = Guarded()
"""The reading process of this one."""
