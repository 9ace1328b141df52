"""A worker process with scripted engines on a real studio: the victim of the kill tests, and of the figures.

    python -m tests.engines.working_child DATA FOLDER LEASE_SECONDS

With ``-`` or ``=`` as ``FOLDER`` there is one engine, ``noop``, and the pace is the usual one; ``-`` counts read models
as the worker of a server does, ``=`` is as ``comfyvn worker``.

``FOLDER`` holds the engines: ``free`` (cannot find attempts), ``found`` (paid, finds them) and ``paid`` (cannot find
them); and orders to kill somebody between two events (``engines.deadly``). SIGTERM ends it as it ends `comfyvn worker`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvloop
from engines.deadly import Deadly
from engines.noop import NoopEngine
from engines.scripted import ScriptedEngine

from services import journal
from services.bootstrap import open_everything
from services.generation.pace import Pace
from services.settings import Settings
from services.supervisor import run_until_told

PACE = Pace(look=0.1, check=0.05, retry=0.1, cancel=1.0, steady=0.3, progress=0.0)


def engines_in(folder: Path) -> list[ScriptedEngine]:
    """The same engines, whoever makes these objects."""
    return [
        ScriptedEngine(folder / "free", "free", slots=4),
        ScriptedEngine(folder / "found", "found", paid=True, finds_attempts=True, slots=4),
        ScriptedEngine(folder / "paid", "paid", paid=True, slots=4),
    ]


async def main(data: str, folder: str, lease_seconds: str) -> None:
    """Works until it is killed."""
    settings = Settings.load(data=Path(data), lease_seconds=float(lease_seconds), log_level="warning")
    journal.configure("warning")  # to standard error: nobody reads more than one line of standard output
    async with open_everything(settings, role="worker", projecting=folder != "=", jobs=True) as opened:
        assert opened.worker is not None
        if folder in ("-", "="):
            opened.studio.engines.add(NoopEngine())
        else:
            opened.worker.pace = PACE
            for engine in engines_in(Path(folder)):
                opened.studio.engines.add(engine)
            opened.studio.dispatcher.log = Deadly(opened.studio.log, Path(folder))
        print("ready", flush=True)
        _, reason = await opened.background.failure()
        raise reason


if __name__ == "__main__":
    uvloop.run(run_until_told(main(*sys.argv[1:])))
