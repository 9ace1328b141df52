"""A studio in this process in which worldlines are edited and merged: the words that tests of merging use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from door import Door, door

from commands.declaration import Command
from commands.story.scene import CreateScene
from commands.story.worldline import ForkWorldline
from domain.story.merging.held import Held
from domain.story.merging.history import Version
from domain.story.scene_states import Written, document_from, document_of
from projections.boards.merging import READS, Compared, Plan, Wanted, compare, documents_at, history_of, plan
from services.merging.asking import Merge
from services.merging.working import Merging, categories_of
from services.studio import Asker

PROJECT = "demo"


class Lines:
    """Worldlines of one project."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.studio = door.studio
        self.merging = Merging(door.studio)
        self.categories = categories_of(door.studio)

    async def ask(self, command: Command, line: str = "main") -> None:
        await self.studio.ask(command, Asker("author"), project=PROJECT, worldline=line)

    async def fork(self, name: str, parent: str = "main") -> None:
        await self.ask(ForkWorldline(worldline_id=name, parent=parent))

    async def scene(self, name: str, *, line: str = "main", **more: Any) -> None:
        nodes = more.pop("nodes", None) or [
            {"id": "n1", "text": "One.", "choices": [{"target": "n2"}]}, {"id": "n2", "text": "Two.", "end": True},
        ]
        body = {"id": name, "title": name.title(), "start": nodes[0]["id"], "nodes": nodes, **more}
        await self.ask(CreateScene.model_validate(body), line)

    async def merge(
        self, source: str, target: str = "main", *, key: str | None = None, dry_run: bool = False, **wanted: Any
    ) -> dict[str, Any]:
        wanted.setdefault("only", frozenset())
        asked = Merge(PROJECT, source, target, Wanted(**{**wanted, "only": frozenset(wanted["only"])}))
        return await self.merging.merge(asked, Asker("author", key), dry_run=dry_run)

    async def head(self) -> int:
        head = await self.studio.log.head()
        await self.studio.counted(READS, head)
        return head

    async def plan(self, source: str, target: str, wanted: Wanted | None = None) -> Plan:
        head = await self.head()
        with self.studio.models.reader() as reader:
            return plan(reader, PROJECT, Version(source, head), Version(target, head), self.categories,
                        wanted or Wanted())

    async def compare(self, one: str, other: str) -> Compared:
        head = await self.head()
        with self.studio.models.reader() as reader:
            return compare(reader, PROJECT, Version(one, head), Version(other, head), self.categories)

    async def documents(self, line: str) -> dict[tuple[str, str], Held]:
        """Every document of a worldline, also those that were deleted, whatever touched it."""
        head = await self.head()
        with self.studio.models.reader() as reader:
            rows = reader.rows("timeline", limit=100_000)
            wanted = {(row["category"], row["id"]) for row in rows if row["category"] in self.categories}
            return documents_at(reader, PROJECT, history_of(reader, PROJECT), Version(line, head), wanted)

    async def read_and_folded(self, name: str, line: str) -> tuple[Any, Any]:
        """A scene as the read model shows it, and as its events add up to."""
        found = (await self.documents(line)).get(("scene", name))
        stream = _stream(line, name)
        self.studio.dispatcher.aggregates.forget(stream)
        state = (await self.studio.dispatcher.aggregates.load(stream)).state
        return (
            document_from(name, found.fields) if found is not None and found.alive else None,
            document_of(state) if isinstance(state, Written) else None,
        )


def _stream(line: str, name: str) -> Any:
    from domain.ports import Stream

    return Stream(PROJECT, line, "scene", name)


@asynccontextmanager
async def lines() -> AsyncIterator[Lines]:
    """Worldlines in a studio of their own."""
    async with door() as opened:
        yield Lines(opened)
