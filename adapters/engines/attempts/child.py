"""The child's side of an attempt: limits, an eye on whoever started it, progress, and one last word."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from adapters.engines.attempts.folder import AttemptFolder

OCCUPIED: Final = 75
"""Exit code when another process has this attempt."""

PAUSE_SECONDS: Final = 0.1
"""Between two words about how far it is."""


class Limits(NamedTuple):
    """What one attempt may use: address space, bytes of one file. 0: no limit."""

    memory: int = 4 * 2**30
    file_bytes: int = 4 * 2**30


class Made(NamedTuple):
    """Finished files in ``products/`` with their media types, and what provenance wants to know."""

    products: Sequence[tuple[str, str]]
    facts: dict[str, Any]


class Unfit(Exception):
    """It cannot be done with this: a fault code and a sentence for people."""

    def __init__(self, code: str, message: str, **detail: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.detail = code, message, detail


class Telling:
    """Says how far it is, no more often than anybody looks."""

    def __init__(self, folder: AttemptFolder) -> None:
        self._folder = folder
        self._last = 0.0

    def __call__(self, fraction: float, stage: str) -> None:
        now = time.monotonic()
        if now - self._last >= PAUSE_SECONDS:
            self._last = now
            with suppress(OSError):
                self._folder.tell(fraction, stage)


Work = Callable[[AttemptFolder, dict[str, Any], Telling], Made]


def run(work: Work, path: str, limits: Limits) -> NoReturn:
    """Does an attempt's work and settles it. Ends the process, and everything in its process group with it."""
    folder = AttemptFolder(Path(path))
    if not _acquired(folder):
        sys.exit(OCCUPIED)
    if folder.outcome() is None:
        folder.begin()
        _limit(limits, seconds := float(folder.order()["seconds"]))
        threading.Thread(target=_watch, args=(folder,), daemon=True).start()
        threading.Thread(target=_stdin, daemon=True).start()
        Telling(folder)(0.0, "starting")
        assert seconds > 0
        folder.settle(_outcome(work, folder))
    sys.stdout.flush()
    os._exit(0)


def _acquired(folder: AttemptFolder) -> bool:
    for _ in range(40):  # somebody may be looking whether it is taken, which takes it for a moment
        if folder.acquire():
            return True
        time.sleep(0.05)
    return False


def _outcome(work: Work, folder: AttemptFolder) -> dict[str, Any]:
    try:
        folder.products.mkdir(exist_ok=True)
        folder.work.mkdir(exist_ok=True)
        made = work(folder, folder.order(), Telling(folder))
        return {"done": {"products": [list(one) for one in made.products], "facts": made.facts}}
    except Unfit as error:
        return _failed(error.code, error.message, error.detail)
    except MemoryError:
        return _failed("FILE_REFUSED", "Working on this needs more memory than is allowed.")
    except OSError as error:
        traceback.print_exc()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _failed("DISK_FULL", "The disk of the engine's folder is full.")
        if error.errno == errno.EFBIG:
            return _failed("FILE_REFUSED", "The result would be larger than is allowed.")
        reason = error.strerror or ""
        return _failed("ENGINE_ERROR", "A file of this task cannot be read or written.", {"reason": reason})
    except Exception as error:
        traceback.print_exc()  # into the attempt's own file; the paths in it are nobody else's business
        return _failed("ENGINE_ERROR", f"The engine stumbled over this ({type(error).__name__}).")


def _failed(code: str, message: str, detail: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"failed": {"code": code, "message": message, "detail": detail or {}}}


def _limit(limits: Limits, seconds: float) -> None:
    try:
        import resource
    except ImportError:
        return
    wanted = ((resource.RLIMIT_AS, limits.memory), (resource.RLIMIT_FSIZE, limits.file_bytes),
              (resource.RLIMIT_CPU, int(seconds * (os.cpu_count() or 1)) + 10))
    for which, most in wanted:
        with suppress(ValueError, OSError):
            if most:
                resource.setrlimit(which, (most, most))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _watch(folder: AttemptFolder) -> None:
    """Stops when it is asked to by somebody who did not start it."""
    while True:
        time.sleep(0.25)
        if folder.asked_to_cancel():
            folder.settle({"cancelled": True})
            _stop()


def _stdin() -> None:
    """Stops when whoever started this is gone: their end of the pipe closes with them, however they end."""
    while sys.stdin.buffer.read(1):
        pass
    _stop()


def _stop() -> None:
    with suppress(OSError):
        if os.getpgrp() == os.getpid():  # only with a group of our own
            os.killpg(0, signal.SIGKILL)
    os._exit(1)
