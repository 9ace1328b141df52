"""When an asset was generated, or somebody asks, its credentials are made: signed once, stored, and recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from commands.declaration import Command
from domain.studio.asset import AssetDescribed, AssetRegistered
from domain.studio.generated import generation_of
from domain.studio.provenance import SigningRequested
from projections.declaration import Happened
from services.processes.declaration import Process, React
from services.signing import signing, standing
from services.studio import Studio


@asynccontextmanager
async def opened(studio: Studio) -> AsyncIterator[React]:
    """The reaction; the keys are made when the first file is signed."""

    async def react(happened: Happened) -> Sequence[Command]:
        event, project = happened.event, happened.recorded.stream.project
        assert isinstance(event, AssetRegistered | AssetDescribed | SigningRequested)
        state = await standing(studio, project, event.uid)
        if isinstance(event, SigningRequested):
            # Asked for, and done since by whoever worked on this before.
            return await signing(studio, project, event.uid) if state.kind == "requested" else ()
        if state.kind != "unsigned" or generation_of(event.sources, event.metadata, uid=event.uid) is None:
            return ()
        return await signing(studio, project, event.uid)

    yield react


PROCESS = Process(
    name="signing", events=(AssetRegistered, AssetDescribed, SigningRequested), opened=opened, at_once=2,
    about="Content credentials of what was generated, and of what somebody asks for.",
)
"""Two at a time: signing is work for the processor, and an asset may wait for what it was made from."""
