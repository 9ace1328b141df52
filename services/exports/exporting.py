"""An export from beginning to end: written, placed, packed; with its progress, and stopped at will."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from domain.errors import NotFound, Refused, Remedy, Unavailable
from domain.exchange.export import Order, Phase
from domain.exchange.renpy.material import Asset
from domain.exchange.renpy.package import Package
from domain.ids import MAIN
from services.exports import archive
from services.exports import folder as folders
from services.exports.folder import Fetch, Placing, Standing, standing
from services.exports.gathering import Gathered
from services.exports.previewing import preview
from services.media.stripping import stripped
from services.settings import Settings
from services.studio import Studio

Tell = Callable[[Phase, int, int], None]
"""Told (phase, files done, files in all), from whichever thread; may raise ``Stopped``."""

HOME: Final = "exports"
"""The folder of the data folder in which exports of the studio itself stand, by project."""


class Stopped(Exception):
    """Nobody wants the export any more."""


def silent(phase: Phase, done: int, total: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class Made:
    """What an export did. ``package`` is nothing where the folder was so already and nothing had to be written."""

    placing: Placing
    recipe: str
    position: int
    files: int
    missing: int
    unused: int
    package: Package | None = None

    def told(self) -> dict[str, Any]:
        """As JSON, without the files."""
        counted = {name: len(getattr(self.placing, name)) for name in ("new", "modified", "unchanged", "removed")}
        return {"position": self.position, "files": self.files, **counted, "missing": self.missing,
                "unused": self.unused, "recipe": self.recipe}


def home(settings: Settings, project: str, order: Order) -> Path:
    """Where the studio keeps an export of its own."""
    name = order.folder or order.timeline or (f"scene-{order.scene}" if order.scene else MAIN)
    if order.folder is None and order.worldlines != (MAIN,):
        name = "_".join((name, *order.worldlines))[:200]
    return settings.data.absolute() / HOME / project / name


async def export_folder(
    studio: Studio, gathered: Gathered, folder: Path, tell: Tell = silent, *, force: bool = False
) -> Made:
    """Places the game of what was gathered in a folder; the caller has asked the gate. Raises ``Refused``,
    ``Unavailable`` and ``Stopped``; whatever is raised, the folder is as it was."""
    tell("reading", 0, 0)
    position = _position(gathered)
    if not force:
        await asyncio.to_thread(folders.check_ours, folder)
    was = await asyncio.to_thread(_there, folder)
    if was is not None and was.whole and was.recipe == await asyncio.to_thread(lambda: gathered.recipe):
        # Everything that it would be written from is the same, and every file stands there as it was written.
        same = tuple(sorted(was.now))
        return Made(Placing(unchanged=same, kept=was.extra), was.recipe, position, len(same),
                    was.missing, len(gathered.unused))
    package = await asyncio.to_thread(gathered.packed)
    fetch = fetching(studio, asyncio.get_running_loop())
    placing = await asyncio.to_thread(
        folders.placed, folder, package, fetch, lambda done, total: tell("writing", done, total), force=force
    )
    return made(gathered, package, placing)


def _there(folder: Path) -> Standing | None:
    return standing(folder) if folder.is_dir() else None


def made(gathered: Gathered, package: Package, placing: Placing) -> Made:
    """What was made of a package."""
    return Made(placing, package.recipe, _position(gathered), len(package.digests), len(package.missing),
                len(package.unused), package)


def _position(gathered: Gathered) -> int:
    return max((tale.story.content.get("position") or 0 for tale in gathered.tales), default=0)


async def export_archive(
    studio: Studio, package: Package, place: Path, root: str, tell: Tell = silent
) -> None:
    """Packs a package into one zip; raises ``Unavailable`` and ``Stopped``."""
    fetch = fetching(studio, asyncio.get_running_loop())
    await asyncio.to_thread(
        archive.packed, place, root, package, fetch, lambda done, total: tell("packing", done, total)
    )


async def export_preview(gathered: Gathered, folder: Path) -> dict[str, Any]:
    """What placing it in a folder would do; nothing is touched."""
    package = await asyncio.to_thread(gathered.packed)
    return await asyncio.to_thread(preview, folder, package)


def fetching(studio: Studio, loop: asyncio.AbstractEventLoop) -> Fetch:
    """How a thread gets an asset's bytes: from the blobs, and only if they are what they should be."""

    async def fetched(asset: Asset, place: Path) -> None:
        digest, size = asset.stored or (asset.digest, asset.size)
        whole = sha256()
        with open(place, "wb") as file:  # noqa: ASYNC230 - opening is quick; the writing is done in a thread
            async for piece in studio.blobs.stream(digest, 0, size):
                whole.update(piece)
                await asyncio.to_thread(file.write, piece)
        if whole.hexdigest() != digest or (asset.stored and not await asyncio.to_thread(_cleared, asset, place)):
            raise Unavailable(
                f"The bytes of asset {asset.uid} are not what they were when it was registered.",
                error="blob_damaged", remediation=[Remedy("Restore the blobs from a backup.", "restore_blob")],
                detail={"uid": asset.uid, "digest": asset.digest},
            )

    def fetch(asset: Asset, place: Path) -> None:
        try:
            asyncio.run_coroutine_threadsafe(fetched(asset, place), loop).result()
        except NotFound as error:
            raise Refused(
                f"The bytes of asset {asset.uid} are gone since the export began.", error="blob_missing",
                remediation=[Remedy("Restore the blobs, or ask for the export again.", "restore_blob")],
                detail={"uid": asset.uid},
            ) from error

    return fetch


def _cleared(asset: Asset, place: Path) -> bool:
    """Strips a fetched file in its place; whether it is then what the game says that it is."""
    data = stripped(place.read_bytes(), asset.media_type).data
    place.write_bytes(data)
    return sha256(data).hexdigest() == asset.digest
