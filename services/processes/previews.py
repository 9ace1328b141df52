"""When an asset is registered, small pictures are made of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from commands.declaration import Command
from commands.studio.asset import RecordPreview, RecordPreviewFailure
from domain.errors import NotFound
from domain.studio.asset import PREVIEWED, AssetRegistered
from domain.studio.asset_values import Variant
from projections.declaration import Happened
from services.media.rendering import RECIPES, Made, Renderer, Unrenderable
from services.processes.declaration import Process, React
from services.scratch import no_room, scratch
from services.studio import Studio

PASSING = frozenset({"too_slow", "renderer_died"})
"""Reasons that may lie in the machine and not in the file: tried once more before they are recorded."""


@asynccontextmanager
async def opened(studio: Studio) -> AsyncIterator[React]:
    """The reaction, with one rendering process behind it."""
    renderer = Renderer()

    async def react(happened: Happened) -> Sequence[Command]:
        event = happened.event
        assert isinstance(event, AssetRegistered)
        return await previewed(studio, renderer, event) if event.kind in PREVIEWED else ()

    try:
        yield react
    finally:
        await renderer.close()


async def previewed(studio: Studio, renderer: Renderer, asset: AssetRegistered) -> list[Command]:
    """What came of making pictures of an asset, as the command that records it; pictures are stored as blobs."""
    try:
        with scratch(studio.settings, "preview") as folder:
            path = folder / "asset"
            await _fetched(studio, asset, path)
            made = await _rendered(renderer, path, asset.media_type)
    except Unrenderable as error:
        return [_failure(asset, error.reason, error.message)]
    except NotFound:
        return [_failure(asset, "blob_missing", "The bytes of the asset are not kept here.")]
    variants = []
    for piece in made.pieces:
        stored = await studio.blobs.put(piece.data)
        variants.append(Variant(
            name=piece.name, digest=stored.digest, size=stored.size, media_type=piece.media_type,
            width=piece.width, height=piece.height,
        ))
    return [RecordPreview(uid=asset.uid, recipe=made.recipe, variants=tuple(variants), measures=made.measures)]


async def _fetched(studio: Studio, asset: AssetRegistered, path: Path) -> None:
    try:
        with open(path, "wb") as file:  # noqa: ASYNC230 - opening is quick; the writing is done in a thread
            async for piece in studio.blobs.stream(asset.digest, 0, asset.size):
                await asyncio.to_thread(file.write, piece)
    except OSError as error:
        raise no_room(error, path.parent, asset.size) from error


async def _rendered(renderer: Renderer, path: Path, media_type: str) -> Made:
    try:
        return await renderer.render(path, media_type)
    except Unrenderable as error:
        if error.reason not in PASSING:
            raise
        return await renderer.render(path, media_type)


def _failure(asset: AssetRegistered, reason: str, message: str) -> RecordPreviewFailure:
    return RecordPreviewFailure(
        uid=asset.uid, recipe=RECIPES.get(asset.kind, "none.1"), reason=reason, message=message[:500]
    )


PROCESS = Process(
    name="previews", events=(AssetRegistered,), opened=opened, at_once=2,
    about="Thumbnails of pictures and waveforms of sounds, after they are registered.",
)
