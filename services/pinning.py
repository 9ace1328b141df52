"""Stories for commands that are decided with one: read by the stories service, with their digests at hand."""

from __future__ import annotations

import asyncio

from commands.declaration import Pinned
from domain.story.play import Story, content_digest
from services.stories import Stories


class PinnedStories:
    """``services.dispatcher.Materials`` on the stories of a studio."""

    def __init__(self, stories: Stories) -> None:
        self._stories = stories

    async def material(self, project: str, pinned: Pinned) -> Story:
        """The story as it stands there for ever; raises ``NotFound``, ``Invalid`` and ``Unavailable``."""
        story = await self._stories.pinned(project, *pinned)
        # Deciding compares it. The first time it takes as long as writing the whole story down, so not in the loop.
        await asyncio.to_thread(content_digest, story)
        return story
