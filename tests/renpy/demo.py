"""The sample project as games, written by the studio's own exporter: every point of view, each worldline, and both."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.exchange.export import Order
from domain.story import play
from services.bootstrap import open_everything
from services.demo import load_demo
from services.demo.contents import BRANCH, told
from services.demo.loading import PROJECT
from services.exports.exporting import export_folder
from services.exports.gathering import Gathered, gathered
from services.settings import Settings
from tests.renpy.engine import Engine
from tests.renpy.proof import Route, Verdict, plays_of, prove

LINE: str = told(BRANCH)["worldline_id"]
"""The sample project's worldline besides main."""

ORDERS: Mapping[str, Order] = {
    "demo": Order(pov_mode="both"),
    "demo, another worldline": Order(worldlines=(LINE,), pov_mode="master"),
    "demo, both worldlines": Order(worldlines=("main", LINE), world_mode="multi", pov_mode="master"),
}

SEEDS = (7, 2026)


@dataclass(frozen=True, slots=True)
class Exported:
    """A game in a folder, and its routes."""

    folder: Path
    routes: list[Route]


def export_demo(folder: Path) -> dict[str, Exported]:
    """Loads the sample project into a studio of its own and exports its games; by name."""
    return asyncio.run(_exported(folder))


async def _exported(folder: Path) -> dict[str, Exported]:
    found: dict[str, Exported] = {}
    async with open_everything(Settings.load(data=folder / "studio")) as opened:
        await load_demo(opened.studio)
        await opened.counted_everything()
        for name, order in ORDERS.items():
            what = await gathered(opened.studio, PROJECT, order)
            place = folder / "games" / name.replace(", ", "-").replace(" ", "-")
            await export_folder(opened.studio, what, place)
            found[name] = Exported(place, _routes(what))
            for route in json.loads((place / "export_manifest.json").read_text())["pov"]["forks"]:
                own = [one for one in found[name].routes if one.pov == route["id"]]
                found[f"{name}, only {route['id']}"] = Exported((place / route["game_dir"]).parent, own)
    shutil.rmtree(folder / "studio")
    return found


def _routes(what: Gathered) -> list[Route]:
    """Every worldline from every point of view of the story; the game asks for what it leaves open."""
    return [
        Route(tale.story.content, pov, ({"world": tale.world}, {"pov": pov}))
        for tale in what.tales for pov in _povs(tale.story.content)
    ]


def _povs(content: Mapping[str, Any]) -> list[str]:
    """The story's own point of view, and those that a choice is shown to."""
    found = {play.story(content).default_pov: None}
    for scene in content["scenes"].values():
        for node in scene["nodes"]:
            for choice in node.get("choices", ()):
                found.update(dict.fromkeys(choice.get("visible_to", ())))
    return list(found)


def prove_game(engine: Engine, name: str, exported: Exported, *, paths: int, keep: Path | None = None) -> Verdict:
    """One of the sample project's games: every path, or many of them."""
    plays = plays_of(exported.routes, SEEDS, most=paths, moments=200)
    return prove(engine, name, exported.folder, plays, moments=200, keep=keep, again="make test-renpy STORIES=0")
