"""Exporting: a game of 200 scenes for the first time, and again when nothing has changed since."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter

from commands.story.scene_documents import CreateScene
from domain.exchange.export import Order
from services.bootstrap import open_everything
from services.exports.exporting import export_folder
from services.exports.gathering import gathered
from services.settings import Settings
from services.studio import Asker
from tests.bench.figures import Figure, median, milliseconds
from tests.bench.story import PROJECT, scene

SCENES = 200
ROUNDS = 5


def export_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """From asking for the story to the folder being there; the gate and the console's start are left out."""
    scenes = 40 if quick else SCENES
    first, again = asyncio.run(_measured(folder, scenes, 3 if quick else ROUNDS))
    share = median(again) / median(first)
    yield Figure(
        f"export of {scenes} scenes, unchanged since the last", milliseconds(median(again)),
        f"the first: {milliseconds(median(first))}", "under a tenth of the first", share < 0.1,
        f"{share:.3f} of the first; medians of {len(first)}; every file's SHA-256 is looked at",
    )


async def _measured(folder: Path, scenes: int, rounds: int) -> tuple[list[float], list[float]]:
    first, again = [], []
    async with open_everything(Settings.load(data=folder / "studio"), processes=False, auditing=False) as opened:
        studio = opened.studio
        commands = [CreateScene.model_validate(scene(f"scene-{number}")) for number in range(scenes)]
        for start in range(0, scenes, 50):
            await studio.ask_all(commands[start : start + 50], Asker("bench"), project=PROJECT)
        position = await studio.log.head()
        await studio.counted(["documents", "assets", "worldlines", "timeline"], position)
        out = folder / "game"
        for _ in range(rounds):
            shutil.rmtree(out, ignore_errors=True)
            for times in (first, again):
                began = perf_counter()
                # Both begin with the story as a studio that runs has it.
                await export_folder(studio, await gathered(studio, PROJECT, Order(position=position)), out)
                times.append(perf_counter() - began)
    return first, again
