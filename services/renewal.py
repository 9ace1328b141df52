"""Rebuilding read models that an older release has made, while the projector goes on with the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

import structlog

from domain.errors import ComfyVNError
from domain.ports import Log, Overtaken, ReadModels
from services.reading_ahead import finished
from services.rebuild import rebuild
from services.registry import Registry

WATCH_SECONDS: Final = 1.0
"""How often somebody else's rebuild is looked at, and how long a failed one rests."""

ABANDONED_SECONDS: Final = 10.0
"""A rebuild by somebody else that has not moved for so long is taken over."""

log_ = structlog.get_logger("projector")


class Renewal:
    """At most one rebuild at a time in this process; ``ended`` is called after each."""

    def __init__(self, log: Log, models: ReadModels, registry: Registry, ended: Callable[[], None]) -> None:
        self._log, self._models, self._registry = log, models, registry
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self.names: frozenset[str] = frozenset()
        """What is being rebuilt now."""
        self.done = 0
        """Position reached."""

    def start(self, outdated: Sequence[str]) -> None:
        """Begins to rebuild, unless a rebuild is going on: what is left then comes after it."""
        if outdated and self._task is None:
            self._task = asyncio.create_task(self._renew(list(outdated)))

    async def close(self) -> None:
        """Gives up a rebuild that is going on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _renew(self, outdated: list[str]) -> None:
        try:
            mine = await self._not_in_work(outdated)
            self.names, self.done = frozenset(mine), 0
            if mine:
                log_.info("rebuilding outdated read models", projections=mine)
                for built in await rebuild(self._log, self._models, self._registry, mine, self._report):
                    if built.failure is not None:
                        # The old tables stay; what stopped the new ones is shown with them.
                        await finished(None, self._models.stop, built.projection, *built.failure)
        except (Overtaken, ComfyVNError) as error:
            log_.warning("rebuild given up for now", reason=str(error))
            await asyncio.sleep(WATCH_SECONDS)
        finally:
            self.names = frozenset()
            self._task = None
            self._ended()

    async def _not_in_work(self, names: list[str]) -> list[str]:
        """Those of the names that nobody else is rebuilding to the same version."""
        before = await self._in_work(names)
        deadline = monotonic() + ABANDONED_SECONDS
        while before and monotonic() < deadline:
            await asyncio.sleep(WATCH_SECONDS)
            now = await self._in_work(names)
            if any(now.get(name) != place for name, place in before.items()):
                return [name for name in names if name not in before]
        return names

    async def _in_work(self, names: list[str]) -> dict[str, tuple[int, int]]:
        """Name -> generation and position of a rebuild to the declared version."""
        found = await finished(None, self._models.rebuilds)
        return {
            name: (found[name].generation, found[name].position)
            for name in names if name in found and found[name].version == self._registry.projections[name].version
        }

    def _report(self, done: int, total: int, rate: float) -> None:
        self.done = done
