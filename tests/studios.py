"""A studio of real parts for tests of assets: a log in memory, SQLite, blobs in a folder, projected on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters.files.blobs import StoredBlobs
from adapters.memory.log import MemoryLog
from adapters.sql.read_models import SqlReadModels
from domain.ports import Progress
from projections.reading import Query
from services.dispatcher import Dispatcher
from services.receipts import TimelineReceipts
from services.registry import REGISTRY
from services.settings import Settings
from services.studio import Studio


def studio_on(folder: Path, log: Any = None, **settings: Any) -> Studio:
    """A studio whose data folder is ``folder``."""
    log = MemoryLog() if log is None else log
    folder.mkdir(parents=True, exist_ok=True)
    models = SqlReadModels(f"sqlite:///{folder / 'read.db'}")
    for projection in REGISTRY.projections.values():
        models.create(projection.name, projection.version, projection.tables)
    return Studio(
        Settings.load(data=folder, **settings), REGISTRY, log, Dispatcher(log, REGISTRY, TimelineReceipts(models)),
        models, StoredBlobs(str(folder / "blobs")),
    )


async def project(studio: Studio) -> int:
    """Brings every read model up to the head of the log."""
    head = await studio.log.head()
    for projection in REGISTRY.projections.values():
        checkpoint = studio.models.checkpoints()[projection.name]
        changes = []
        async for batch in studio.log.read(after=checkpoint.position, upto=head):
            for recorded in batch:
                if projection.categories is None or recorded.stream.category in projection.categories:
                    happened = REGISTRY.happened(recorded)
                    changes += [(recorded.position, change) for change in projection.apply(happened)]
        if head > checkpoint.position:
            studio.models.advance(
                [Progress(projection.name, checkpoint.generation, checkpoint.position, head, changes)]
            )
    return head


async def look(studio: Studio, view: str, **query: Any) -> Any:
    """A view's answer, after projecting."""
    await project(studio)
    found = REGISTRY.views[view]
    asked: Callable[..., Query] = found.query
    return await studio.look(found, asked(project="demo", **query))


async def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    """Waits until something is so."""
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)
