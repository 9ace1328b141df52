"""One attempt as a folder: what was ordered, how far it is, and how it ended, readable by whoever comes next.

``order.json`` and ``inputs/`` come with the folder, which appears whole or not at all. The worker that has it in its
queue holds ``keeper``, the process that works on it holds ``lock``, each until it ends, however that is; ``begun`` has
a byte for every time that a process started. ``outcome.json`` is written once, by whoever is first, and never changes;
``cancel`` asks the working process to stop.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
"""What an attempt may be called, and so its folder."""

JSON_LIMIT: Final = 4 * 2**20
"""Most bytes of a file of ours that are read back."""


class AttemptFolder:
    """The files of one attempt. Blocking; every method is quick."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inputs = path / "inputs"
        self.products = path / "products"
        self.work = path / "work"
        self._locks: dict[str, int] = {}

    def exists(self) -> bool:
        return (self.path / "order.json").is_file()

    def order(self) -> dict[str, Any]:
        """What was ordered. Raises ``ValueError`` or ``OSError`` when it cannot be read."""
        return self._read("order.json")

    def outcome(self) -> dict[str, Any] | None:
        """How it ended, or nothing yet. Raises ``ValueError`` when it cannot be read."""
        try:
            return self._read("outcome.json")
        except FileNotFoundError:
            return None

    def progress(self) -> tuple[float | None, str]:
        """How far it is (0 to 1) and in which stage."""
        try:
            told = self._read("progress.json")
            return min(1.0, max(0.0, float(told["fraction"]))), str(told["stage"])[:100]
        except (OSError, ValueError, KeyError, TypeError):
            return None, ""

    def tell(self, fraction: float, stage: str) -> None:
        """Says how far it is."""
        self._write("progress.json", {"fraction": round(fraction, 4), "stage": stage})

    def settle(self, outcome: Mapping[str, Any]) -> bool:
        """Says how it ended; false when that was said already."""
        draft = self.path / f"outcome.{os.getpid()}.{os.urandom(4).hex()}"
        draft.write_text(json.dumps(outcome), encoding="utf-8")
        try:
            os.link(draft, self.path / "outcome.json")  # fails when it is there: the first word stands
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        return True

    def ask_to_cancel(self) -> None:
        (self.path / "cancel").touch()

    def asked_to_cancel(self) -> bool:
        return (self.path / "cancel").exists()

    def begin(self) -> None:
        """Counts that a process starts on it."""
        with (self.path / "begun").open("ab") as file:
            file.write(b"+")

    def put_back(self) -> None:
        """A process that we ended ourselves does not count."""
        with suppress(OSError):
            os.truncate(self.path / "begun", max(0, self.begun() - 1))

    def begun(self) -> int:
        """How often a process has started on it."""
        try:
            return (self.path / "begun").stat().st_size
        except OSError:
            return 0

    def acquire(self, name: str = "lock") -> bool:
        """Takes a lock for this process until it ends; false when another one has it."""
        handle = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._locks[name] = handle
        return True

    def release(self, name: str = "lock") -> None:
        if name in self._locks:
            os.close(self._locks.pop(name))

    def taken(self) -> bool:
        """Whether anybody has it in a queue or works on it now."""
        for name in ("keeper", "lock"):
            if (self.path / name).exists():
                if not self.acquire(name):
                    return True
                self.release(name)
        return False

    def _read(self, name: str) -> dict[str, Any]:
        with (self.path / name).open("rb") as file:
            try:
                told = json.loads(file.read(JSON_LIMIT))
            except RecursionError:
                raise ValueError(f"{name} is nested too deeply") from None
        if not isinstance(told, dict):
            raise ValueError(f"{name} is no object")
        return told

    def _write(self, name: str, told: Mapping[str, Any]) -> None:
        draft = self.path / f"{name}.{os.getpid()}"
        draft.write_text(json.dumps(told), encoding="utf-8")
        draft.replace(self.path / name)
