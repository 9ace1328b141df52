"""A studio without servers for story tests: commands on a log in memory, views on real SQLite tables."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path
from typing import Any

from adapters.memory.log import MemoryLog
from adapters.sql.read_models import SqlReadModels
from commands.declaration import Command
from commands.envelope import Asked
from domain.ports import Progress, Recorded, Stream
from projections.reading import Query
from services.dispatcher import Dispatcher, Receipt
from services.registry import REGISTRY

READ = ("documents", "worldlines", "timeline", "appearances", "pov", "snapshots", "playthroughs")


class Telling:
    """Asks commands of a project and looks at its views, which count every event before they answer."""

    def __init__(self, folder: Path, project: str = "demo") -> None:
        self.project = project
        self.log = MemoryLog()
        self.dispatcher = Dispatcher(self.log, REGISTRY)
        self.models = SqlReadModels(f"sqlite:///{folder / 'read.db'}")
        self._numbers = count(1)
        self._counted = 0
        self._generations = {
            name: self.models.create(name, REGISTRY.projections[name].version, REGISTRY.projections[name].tables)
            for name in READ
        }

    def asked(self, worldline: str = "main") -> Asked:
        number = next(self._numbers)
        return Asked(
            command_id=f"command-{number}", actor="author", time="2026-01-02T03:04:05Z", project=self.project,
            worldline=worldline, request=f"request-{number}",
        )

    def ask(self, *commands: Command, worldline: str = "main", expected_version: int | None = None) -> Receipt:
        """Asks commands as one; the receipt of the last."""
        return asyncio.run(self.ask_later(*commands, worldline=worldline, expected_version=expected_version))

    async def ask_later(
        self, *commands: Command, worldline: str = "main", expected_version: int | None = None
    ) -> Receipt:
        asked = self.asked(worldline)
        found = await self.dispatcher.ask_all(commands, asked, expected_version=expected_version)
        return found[-1]

    def state(self, category: str, id_: str, worldline: str = "main", at: int | None = None) -> Any:
        """The folded state of an aggregate, now or as it was at a position."""
        stream = Stream(self.project, worldline, category, id_)
        aggregates = Dispatcher(self.log, REGISTRY).aggregates
        return asyncio.run(aggregates.load(stream) if at is None else aggregates.load_at(stream, at)).state

    def look(self, view: str, /, **query: Any) -> Any:
        """A view's answer, after it has counted everything."""
        self.count()
        found = REGISTRY.views[view]
        asked: Query = found.query(project=self.project, **query)
        with self.models.reader() as reader:
            return found.answer(reader, asked)

    def count(self) -> None:
        """Lets the read models catch up with the log."""
        events = self.log.events[self._counted :]
        if not events:
            return
        end = events[-1].position
        self.models.advance([
            Progress(name, self._generations[name].generation, self._counted, end, _changes(name, events))
            for name in READ
        ])
        self._counted = end

    @property
    def head(self) -> int:
        return len(self.log.events)


def _changes(name: str, events: list[Recorded]) -> list[Any]:
    projection = REGISTRY.projections[name]
    return [
        (one.position, change) for one in events
        if projection.categories is None or one.stream.category in projection.categories
        for change in projection.apply(REGISTRY.happened(one))
    ]
