"""Loops that run beside the doors, and how they are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import structlog

AGAIN_SECONDS: Final = 15.0
"""How long a loop may take to end in order, with jobs in its hands, before it is told once more."""

log = structlog.get_logger("bootstrap")


class Background:
    """Loops that run beside the doors. One that ends by itself has failed, and whoever waits hears of it."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        self._tasks[name] = asyncio.create_task(work, name=name)
        self._tasks[name].add_done_callback(_ended)

    async def failure(self) -> tuple[str, BaseException]:
        """Waits until a loop has ended by itself; its name and why."""
        if not self._tasks:
            await asyncio.Event().wait()
        done, _ = await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        task = next(iter(done))
        failed = None if task.cancelled() else task.exception()
        return task.get_name(), failed or RuntimeError(f"{task.get_name()} ended")

    async def close(self) -> None:
        """Ends the loops and waits. A cancellation can get lost in what a loop awaits: then it is repeated."""
        left = set(self._tasks.values())
        while left:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
            if left:
                log.warning("loops_not_ended", loops=sorted(task.get_name() for task in left))


def _ended(task: asyncio.Task[Any]) -> None:
    # Whoever started it hears a sentence; where it came from stands nowhere else.
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("loop_failed", loop=task.get_name(), exc_info=error)
