"""A log that kills somebody between two events: what stands before the real one in a process of the kill tests.

An order lies as a file in a folder, so that whichever process comes to that point carries it out, and once::

    {"type": "AttemptAccepted", "nth": 2, "when": "after", "victim": "log", "pids": [4711]}

``when`` is ``before`` or ``after`` the ``nth`` append that holds an event of that type. ``victim`` is ``self`` (the
process that appends) or says whose ``pids`` are killed. Counting begins when the order is laid down.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domain.ports import Commit

ORDER = "order.json"
DONE = "carried-out.json"
SEEN = "seen.jsonl"


def lay_down(folder: Path, **order: Any) -> None:
    """Makes an order; the one before it is forgotten."""
    (folder / DONE).unlink(missing_ok=True)
    place = folder / f"{ORDER}.new"
    place.write_text(json.dumps({"count": 0, **order}))
    place.replace(folder / ORDER)


def carried_out(folder: Path) -> bool:
    """Whether the last order was carried out."""
    return (folder / DONE).exists()


def seen(folder: Path) -> list[list[str]]:
    """Types of the events of every append to jobs that went by, in order."""
    place = folder / SEEN
    return [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []


class Deadly:
    """The log that it stands before, but for one append."""

    def __init__(self, log: Any, folder: Path) -> None:
        self._log = log
        self._folder = folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(self, commits: Sequence[Commit]) -> tuple[int, ...]:
        """As the log, but for the one append."""
        types = [event.type for commit in commits if commit.stream.category == "job" for event in commit.events]
        if not types:
            other: tuple[int, ...] = await self._log.append(commits)
            return other
        with (self._folder / SEEN).open("a") as file:
            file.write(json.dumps(types) + "\n")
        order = self._order(types)
        due = order is not None and order["count"] + 1 == order["nth"]
        if order is not None and due and order["when"] == "before":
            self._kill(order)
        found: tuple[int, ...] = await self._log.append(commits)
        if order is not None and due:
            self._kill(order)
        elif order is not None:  # what could not be recorded did not count, and is tried again
            (self._folder / ORDER).write_text(json.dumps(order | {"count": order["count"] + 1}))
        return found

    def _order(self, types: list[str]) -> dict[str, Any] | None:
        """The order, if it speaks of these events and was not carried out."""
        try:
            order: dict[str, Any] = json.loads((self._folder / ORDER).read_text())
        except FileNotFoundError:
            return None
        return None if order["type"] not in types or carried_out(self._folder) else order

    def _kill(self, order: dict[str, Any]) -> None:
        if carried_out(self._folder):
            return
        (self._folder / DONE).write_text(json.dumps(order))
        for pid in [os.getpid()] if order["victim"] == "self" else order["pids"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
