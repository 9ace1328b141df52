"""Stories ready to be played: read and compiled once, whoever asks, and kept for as long as there is room."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from domain.errors import Invalid, Remedy
from domain.ids import MAIN
from domain.ports import Log, ReadModels
from domain.story.play import Story, story
from projections.boards.story import READS, changed_at, story_content

KEPT: Final = 64
"""Most stories kept."""

KEPT_NODES: Final = 200_000
"""Most nodes of all stories kept; the newest stays even when it is larger."""


class ReadSide(Protocol):
    """What stories are read from: a studio has it. ``counted`` waits until projections have counted a position."""

    @property
    def log(self) -> Log: ...

    @property
    def models(self) -> ReadModels: ...

    async def counted(self, projections: Sequence[str], position: int) -> None: ...


class Named(NamedTuple):
    """Which story, as of where it changed last: the same for everybody who means the same story."""

    project: str
    worldline: str
    position: int
    timeline: str | None
    scene: str | None


class Stories:
    """The stories of a studio. Reading and compiling run beside the event loop."""

    def __init__(self, side: ReadSide, *, kept: int = KEPT, kept_nodes: int = KEPT_NODES) -> None:
        self._side = side
        self._kept: OrderedDict[Named, asyncio.Task[Story]] = OrderedDict()
        self._most, self._most_nodes = kept, kept_nodes

    async def pinned(
        self, project: str, worldline: str = MAIN, position: int = 0, timeline: str | None = None,
        scene: str | None = None,
    ) -> Story:
        """A story as of a position (0: now), ready to be played. ``content["position"]`` is a position that pins it.

        Waits until the read side has counted. Raises ``NotFound``, ``Invalid`` for a position that has not happened
        or a story that cannot be played, and ``Unavailable``.
        """
        named = Named(project, worldline, position, timeline, scene)
        if named not in self._kept:
            named = await self._named(*named)
        making = self._kept.get(named)
        if making is None:
            making = asyncio.create_task(asyncio.to_thread(self._made, named), name=f"story of {project}")
            making.add_done_callback(lambda done: self._settled(named, done))
            self._kept[named] = making
        self._kept.move_to_end(named)
        # Who stops waiting does not take it away from the others.
        return await asyncio.shield(making)

    def _settled(self, named: Named, making: asyncio.Task[Story]) -> None:
        """Keeps no failures: what is missing now may be there the next time."""
        if making.cancelled() or making.exception() is not None:
            self._kept.pop(named, None)
        while len(self._kept) > 1 and (len(self._kept) > self._most or self._nodes() > self._most_nodes):
            self._kept.popitem(last=False)

    async def _named(
        self, project: str, worldline: str, position: int, timeline: str | None, scene: str | None
    ) -> Named:
        head = await self._side.log.head()
        if position > head:
            raise Invalid(
                f"Position {position} has not happened yet; the newest is {head}.", error="position_in_future",
                remediation=[Remedy("Use a position that an answer has given out.", "use_known_position")],
                detail={"position": position, "head": head},
            )
        await self._side.counted(READS, position or head)
        return await asyncio.to_thread(self._resolved, project, worldline, position or head, timeline, scene)

    def _resolved(
        self, project: str, worldline: str, position: int, timeline: str | None, scene: str | None
    ) -> Named:
        with self._side.models.reader() as reader:
            # 0 would mean now; a project of which nothing has been told yet is empty at the first position too.
            return Named(project, worldline, changed_at(reader, project, position) or 1, timeline, scene)

    def _made(self, named: Named) -> Story:
        with self._side.models.reader() as reader:
            content = story_content(reader, *named)
        return story(content)

    def _nodes(self) -> int:
        ready = [making.result() for making in self._kept.values() if making.done()]
        return sum(len(scene.nodes) for made in ready for scene in made.scenes.values())
