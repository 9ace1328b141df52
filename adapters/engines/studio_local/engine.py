"""The built-in engine behind the ``Engine`` protocol: judges a task, and lets a child process do it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from adapters.engines.attempts.attempts import Attempts
from adapters.engines.attempts.engine import AttemptsEngine
from adapters.engines.studio_local.recipes import judged, offers
from adapters.engines.studio_local.version import ffmpeg_program, versions
from domain.ports.engines import (
    Accepted,
    EngineError,
    Health,
    Offer,
    Reading,
    Task,
    Traits,
)
from domain.studio.fault import fault

PROGRAM: Final = (sys.executable, "-m", "adapters.engines.studio_local.child")


class StudioLocal(AttemptsEngine):
    """``studio_local``. ``folder`` keeps the attempts; ``slots`` tasks run side by side, each in its own process."""

    def __init__(self, folder: Path, *, slots: int | None = None) -> None:
        slots = slots or max(1, min(4, (os.cpu_count() or 2) // 2))
        super().__init__(
            Traits("studio_local", "Built-in tools", "local", False, True, slots, 0.5),
            Attempts(folder, PROGRAM, slots=slots, environment={
                "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0",
            }),
        )

    async def verify(self) -> None:
        await self._attempts.opened()

    async def health(self) -> Health:
        try:
            await self._attempts.opened()
        except EngineError as error:
            return Health("error", error.fault.message, tuple(error.fault.meaning[1:]))  # type: ignore[arg-type]
        facts = await asyncio.to_thread(_versions)
        if "ffmpeg" not in facts:
            return Health("running", "Pictures work; videos need the package imageio-ffmpeg.",
                          ("Install the package imageio-ffmpeg.", "install_model"), facts)
        return Health("running", "Ready; nothing has to be installed.", None, facts)

    async def offers(self) -> Sequence[Offer]:
        await self._attempts.opened()
        return offers(() if await asyncio.to_thread(ffmpeg_program) else ("imageio-ffmpeg",))

    async def submit(self, task: Task, reading: Reading) -> Accepted:
        await self._attempts.opened()
        recipe = judged(task)
        if "video" in recipe.operation and not await asyncio.to_thread(ffmpeg_program):
            raise EngineError(fault("DEPENDENCY_MISSING", "Videos need ffmpeg, from the package imageio-ffmpeg.",
                                    missing=["imageio-ffmpeg"]))
        return await self._attempts.take(task, reading)


@cache
def _versions() -> dict[str, str]:
    return versions()
