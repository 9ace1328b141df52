"""A log's read models, counted into a real database: what tests of views look at."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from adapters.sql.read_models import SqlReadModels
from domain.ports import Progress, Recorded
from projections.declaration import Happened
from projections.reading import Query
from services.registry import REGISTRY


class Projected:
    """Counts recorded events, in batches, into SQLite tables of the projections named (default: all)."""

    def __init__(self, folder: Path, names: Iterable[str] = ()) -> None:
        self.models = SqlReadModels(f"sqlite:///{folder / 'read.db'}")
        self.names = tuple(names) or tuple(REGISTRY.projections)
        for name in self.names:
            projection = REGISTRY.projections[name]
            self.models.create(name, projection.version, projection.tables)

    def count(self, events: Sequence[Recorded], *, batch: int = 1000) -> None:
        """Counts what was not counted yet."""
        reached = self.models.checkpoints()
        for start in range(0, len(events), batch):
            part = events[start : start + batch]
            steps = []
            for name in self.names:
                after = reached[name].position
                if part[-1].position > after:
                    fresh = [one for one in part if one.position > after]
                    changes = self._changes(name, fresh)
                    steps.append(Progress(name, reached[name].generation, after, part[-1].position, changes))
            if steps:
                self.models.advance(steps)
                reached = self.models.checkpoints()

    def _changes(self, name: str, events: Sequence[Recorded]) -> list[tuple[int, Any]]:
        projection = REGISTRY.projections[name]
        changes = []
        for recorded in events:
            if projection.categories is None or recorded.stream.category in projection.categories:
                happened = REGISTRY.happened(recorded) if projection.decodes else Happened(recorded, None)
                changes += [(recorded.position, change) for change in projection.apply(happened)]
        return changes

    def see(self, view: str, **asked: Any) -> Any:
        """The answer of a view to a query of these fields, in project ``demo`` unless said otherwise."""
        declared = REGISTRY.views[view]
        query: Query = declared.query.model_validate({"project": "demo", **asked})
        with self.models.reader() as reader:
            return declared.answer(reader, query)

    def pages(self, view: str, **asked: Any) -> list[Any]:
        """All items of a listing, page by page."""
        items: list[Any] = []
        cursor = ""
        while True:
            found = self.see(view, cursor=cursor, **asked)
            items += found["items"]
            if found["next"] is None:
                return items
            cursor = found["next"]


def ran(scenario: Any) -> Any:
    """The result of a coroutine."""
    return asyncio.run(scenario)
