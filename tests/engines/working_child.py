"""A worker process with scripted engines on a real studio: the victim of the kill tests, and of the figures.

    python -m tests.engines.working_child DATA FOLDER LEASE_SECONDS [KILL]

With ``-`` or ``=`` as ``FOLDER`` there is one engine, ``noop``, and the pace is the usual one; ``-`` counts read models
as the worker of a server does, ``=`` is as ``comfyvn worker``.

``FOLDER`` holds the engines: ``free`` (cannot find attempts), ``found`` (paid, finds them) and ``paid`` (cannot find
them). ``KILL`` is ``TYPE:before`` or ``TYPE:after``: the process ends itself with kill -9 right before or after it has
recorded the first event of that type; a file in ``FOLDER`` remembers that this has happened, so it happens once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop
from engines.noop import NoopEngine
from engines.scripted import ScriptedEngine

from domain.ports import Commit
from services.bootstrap import open_everything
from services.generation.pace import Pace
from services.settings import Settings

PACE = Pace(look=0.1, check=0.05, retry=0.1, cancel=1.0, steady=0.3, progress=0.0)


def engines_in(folder: Path) -> list[ScriptedEngine]:
    """The same engines, whoever makes these objects."""
    return [
        ScriptedEngine(folder / "free", "free", slots=4),
        ScriptedEngine(folder / "found", "found", paid=True, finds_attempts=True, slots=4),
        ScriptedEngine(folder / "paid", "paid", paid=True, slots=4),
    ]


class Deadly:
    """A log that ends this process at one event; otherwise the log that it stands before."""

    def __init__(self, log: Any, folder: Path, kill: str) -> None:
        self._log = log
        self._type, _, self._when = kill.partition(":")
        self._done = folder / f"killed-{kill}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(self, commits: Sequence[Commit]) -> tuple[int, ...]:
        """As the log, but for the one event."""
        mine = any(event.type == self._type and event.actor.startswith("worker:")
                   for commit in commits for event in commit.events)
        if mine and not self._done.exists():
            if self._when == "before":
                self._die()
            await self._log.append(commits)
            self._die()
        found: tuple[int, ...] = await self._log.append(commits)
        return found

    def _die(self) -> None:
        self._done.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)


async def main(data: str, folder: str, lease_seconds: str, kill: str = "") -> None:
    """Works until it is killed."""
    settings = Settings.load(data=Path(data), lease_seconds=float(lease_seconds), log_level="warning")
    async with open_everything(settings, role="worker", projecting=folder != "=", jobs=True) as opened:
        assert opened.worker is not None
        if folder in ("-", "="):
            opened.studio.engines.add(NoopEngine())
        else:
            opened.worker.pace = PACE
            for engine in engines_in(Path(folder)):
                opened.studio.engines.add(engine)
        if kill:
            opened.studio.dispatcher.log = Deadly(opened.studio.log, Path(folder), kill)
        print("ready", flush=True)
        _, reason = await opened.background.failure()
        raise reason


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
