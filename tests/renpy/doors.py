"""The doors by which a game leaves the studio: the console's folder and archive, and HTTP.

Each must give the same bytes as what the library writes; so whatever is proved of one of them is true of all.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from commands.story.character import CreateCharacter
from commands.story.scene_documents import CreateScene
from commands.story.timeline import CreateTimeline
from commands.trust.policy import AcknowledgePolicy
from domain.exchange.export import Order
from services.bootstrap import open_everything
from services.demo import load_demo
from services.exports.exporting import export_folder
from services.exports.gathering import gathered
from services.settings import Settings
from services.studio import Asker, Studio
from tests.consoles import console
from tests.fixtures_studio import RunningServer, wait_until
from tests.renpy.demo import LINE
from tests.renpy.engine import Engine
from tests.renpy.extremes import hostile, plays_from
from tests.renpy.modes import together, views
from tests.renpy.proof import Plays, Route, Verdict, plays_of, prove

WHO = Asker("proof")

FOLDER, ARCHIVE, HTTP = "console, folder", "console, archive", "http"

Tree = Mapping[str, str]
"""The digest of every file of a folder, by path."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One order, as it is told to the library, on the console and over HTTP; and what the console makes of it."""

    project: str
    order: Order
    arguments: tuple[str, ...]
    body: Mapping[str, Any]
    console: tuple[str, ...] = (ARCHIVE,)


WANTED: Mapping[str, Wanted] = {
    "points-of-view": Wanted(
        "demo", Order(pov_mode="both"), ("--pov-mode", "both"), {"pov_mode": "both"},
    ),
    "worldlines": Wanted(
        "demo", Order(worldlines=("main", LINE), world_mode="multi", pov_mode="master", title="Two [x] {b} 100%"),
        ("--world", "main", "--world", LINE, "--world-mode", "multi", "--pov-mode", "master", "--title",
         "Two [x] {b} 100%"),
        {"worlds": ["main", LINE], "world_mode": "multi", "pov_mode": "master", "title": "Two [x] {b} 100%"},
    ),
    "hostile": Wanted(
        "hostile", Order(pov_mode="forks", version="0.0-[x]"), ("--pov-mode", "forks", "--version", "0.0-[x]"),
        {"pov_mode": "forks", "version": "0.0-[x]"}, (FOLDER, ARCHIVE),
    ),
}


@dataclass(slots=True)
class Left:
    """What left the studio: folders by order, written by the library and given out by the doors; and its stories."""

    library: dict[str, Path] = field(default_factory=dict)
    contents: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    doors: dict[str, dict[str, Path]] = field(default_factory=dict)
    position: int = 0


def tree(folder: Path) -> Tree:
    """Every file of a folder."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }


def leave_by_every_door(folder: Path) -> Left:
    """Makes a studio with the sample project and a hostile one, and exports each order by every door."""
    left = asyncio.run(_library(folder))
    makes = {FOLDER: _console, ARCHIVE: _console_archive}
    for name, wanted in WANTED.items():
        left.doors[name] = {door: makes[door](folder, name, wanted, left.position) for door in wanted.console}
    server = RunningServer(folder / "studio").start()
    try:
        for name, wanted in WANTED.items():
            left.doors[name][HTTP] = _http(server, folder, name, wanted, left.position)
    finally:
        server.stop()
    return left


async def _library(folder: Path) -> Left:
    left = Left()
    async with open_everything(Settings.load(data=folder / "studio")) as opened:
        await load_demo(opened.studio)
        await _write_hostile(opened.studio)
        await opened.counted_everything()
        left.position = await opened.studio.log.head()
        for name, wanted in WANTED.items():
            order = wanted.order.model_copy(update={"position": left.position})
            what = await gathered(opened.studio, wanted.project, order)
            left.library[name] = folder / "library" / name
            left.contents[name] = [tale.story.content for tale in what.tales]
            await export_folder(opened.studio, what, left.library[name])
    return left


async def _write_hostile(studio: Studio) -> None:
    """The hostile story as far as it may be written down: ids of characters and entries are plain names there."""
    content = hostile()
    for scene in content["scenes"].values():
        await studio.ask(CreateScene.model_validate(scene), WHO, project="hostile")
    people = [(id_, told) for id_, told in content["characters"].items() if id_.startswith("who-")]
    for id_, told in people[:60]:
        await studio.ask(CreateCharacter.model_validate({"id": id_, "name": told["name"]}), WHO, project="hostile")
    entries = [{"id": f"entry-{number}", "scene": one["scene"], "label": one["label"][:300]}
               for number, one in enumerate(content["entries"])]
    order = {"id": "main", "entries": entries, "default_pov": content["default_pov"], "seed": content["seed"]}
    await studio.ask(CreateTimeline.model_validate(order), WHO, project="hostile")
    await studio.ask(AcknowledgePolicy(), WHO, project="hostile")


def _console(folder: Path, name: str, wanted: Wanted, position: int) -> Path:
    out = folder / "console" / name
    _export(folder, out, wanted, position)
    return out


def _console_archive(folder: Path, name: str, wanted: Wanted, position: int) -> Path:
    place = folder / "archives" / f"{name}.zip"
    _export(folder, place, wanted, position, "--zip")
    return _unpacked(place.read_bytes(), folder / "unzipped" / name)


def _export(folder: Path, out: Path, wanted: Wanted, position: int, *more: str) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    done = console(
        "export", "renpy", str(out), "--project", wanted.project, "--as-of", str(position), *wanted.arguments, *more,
        data=folder / "studio",
    )
    assert done.returncode == 0, done.stderr


def _http(server: RunningServer, folder: Path, name: str, wanted: Wanted, position: int) -> Path:
    at = {"project": wanted.project}
    with server.client() as door:
        asked = door.post("/api/export/renpy", params=at, json={**wanted.body, "as_of": position, "folder": name})
        assert asked.status_code == 202, asked.text

        def over() -> dict[str, Any] | None:
            shown = door.get(f"/api/exports/{asked.json()['id']}", params=at)
            told: dict[str, Any] = shown.json()
            return told if shown.status_code == 200 and told["status"] not in ("waiting", "running") else None

        shown = wait_until(over, "an export", seconds=180)
        assert shown["status"] == "finished", shown
        return _unpacked(door.get(shown["file"]).content, folder / "http" / name)


def _unpacked(data: bytes, folder: Path) -> Path:
    """What the one folder of an archive holds."""
    with ZipFile(io.BytesIO(data)) as archive:
        roots = {name.partition("/")[0] for name in archive.namelist()}
        assert len(roots) == 1, f"an archive holds one folder, this one {sorted(roots)}"
        archive.extractall(folder)
    return folder / roots.pop()


PLAYED: Mapping[str, str] = {
    "points-of-view": ARCHIVE, "worldlines": HTTP, "hostile": FOLDER,
}
"""The door of each order whose game is played: every order and every door once."""


def plays_by_door(left: Left, name: str) -> Plays:
    """What is played of an order: all its routes, or one long way through the hostile story."""
    contents = left.contents[name]
    if name == "hostile":
        return plays_from(contents[0], [contents[0]["default_pov"]], most=1, moments=260)
    worlds = zip(WANTED[name].order.worldlines, contents, strict=True)
    routes = [Route(content, pov, ({"world": world}, {"pov": pov})) for world, content in worlds
              for pov in views(content)]
    return plays_of(routes, (7,), most=2, moments=260)


def played_by_door(engine: Engine, left: Left, name: str, keep: Path | None = None) -> Verdict:
    """Lints and plays what left by one door."""
    return prove(engine, f"door {name}", left.doors[name][PLAYED[name]], plays_by_door(left, name), moments=260,
                 keep=keep, again="python -m tests.renpy --only doors")


def prove_doors(engine: Engine, folder: Path, *, keep: Path | None = None) -> Verdict:
    """Every door gives the library's bytes, and each plays."""
    left = leave_by_every_door(folder)
    differ = tuple(
        f"{name} by {door} is not what the library writes" for name in WANTED
        for door, place in left.doors[name].items() if tree(place) != tree(left.library[name])
    )
    found = together("door", (played_by_door(engine, left, name, keep) for name in WANTED))
    return replace(found, troubles=(*differ, *found.troubles))
