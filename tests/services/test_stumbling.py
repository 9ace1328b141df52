"""Loops beside the doors: what nobody foresaw is logged with its place, and the loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import structlog
from studios import studio_on, until
from working import Stumbling, working

from adapters.memory.log import MemoryLog
from commands.story.worldline import ForkWorldline
from domain.ports import Recorded
from services.bootstrap.background import Background
from services.projector import Projector
from services.studio import Asker


def test_a_worker_outlives_what_nobody_foresaw(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine()
            log: Any = works.studio.log
            works.inboxes = Stumbling(log)
            works.start()
            assert (await works.closed(await works.ask())).outcome == "completed"

    with structlog.testing.capture_logs() as logged:
        asyncio.run(scenario())
    assert any(one["event"] == "worker_defect" and isinstance(one["exc_info"], KeyError) for one in logged)


class Forgetful(MemoryLog):
    """A log that cannot be followed twice, for a reason that is nobody's."""

    left = 2

    async def follow(self, *arguments: Any, **given: Any) -> AsyncIterator[list[Recorded]]:
        if self.left:
            self.left -= 1
            raise KeyError("a word that no server has said before")
        async for batch in super().follow(*arguments, **given):
            yield batch


def test_a_projector_outlives_what_nobody_foresaw(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path, Forgetful())
        await studio.ask(ForkWorldline(worldline_id="w1"), Asker("mo"), project="demo")
        projector = Projector(studio.log, studio.models, studio.registry)
        counting = asyncio.create_task(projector.run())
        try:
            await until(lambda: projector.status().projections["worldlines"].position == 1)
        finally:
            counting.cancel()
            await asyncio.wait([counting])

    with structlog.testing.capture_logs() as logged:
        asyncio.run(scenario())
    assert [one["event"] for one in logged if "exc_info" in one] == ["projector_defect", "projector_defect"]


def test_a_loop_that_ends_by_itself_is_logged_and_told() -> None:
    async def failing() -> None:
        raise KeyError("lost")

    async def scenario() -> tuple[str, BaseException]:
        background = Background()
        background.start("audit", failing())
        try:
            return await background.failure()
        finally:
            await background.close()

    with structlog.testing.capture_logs() as logged:
        name, error = asyncio.run(scenario())
    assert (name, type(error)) == ("audit", KeyError)
    assert [(one["event"], one["loop"], one["exc_info"]) for one in logged] == [("loop_failed", "audit", error)]
