"""Random stories by every way to ask for a game: points of view as none, one, a menu, games; one worldline or more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.exchange.renpy.material import POV_MODES, PovMode, Tale, Wishes
from domain.exchange.renpy.naming import named
from domain.exchange.renpy.package import Package, package
from domain.exchange.renpy.project import references
from domain.story import play
from tests.any_stories import any_story
from tests.renpy.engine import Engine
from tests.renpy.proof import Route, Verdict, plays_of, prove
from tests.renpy.stories import HEIGHT, WIDTH, art, write_files

Content = Mapping[str, Any]

WORLDS = ("main", "what if", "What-If", "if")
"""Ids of worldlines that would like to be the same label, or none."""


@dataclass(frozen=True, slots=True)
class Ask:
    """How a game is asked for: stories by worldline, the points of view (none: the story's own), and both modes."""

    contents: Mapping[str, Content]
    pov_mode: PovMode
    povs: tuple[str, ...] = ()

    @property
    def menu(self) -> bool:
        """Whether the player is asked for a point of view."""
        return self.pov_mode in ("master", "both")

    @property
    def tales(self) -> list[Tale]:
        """The stories as the exporter is given them."""
        prefixes = named(self.contents, lower=True, else_="world") if len(self.contents) > 1 else {}
        return [
            Tale(world, f"The line [{world}]", play.story(content), f"{prefixes[world]}__" if prefixes else "")
            for world, content in self.contents.items()
        ]

    def packed(self) -> Package:
        """The whole package, as the library writes it."""
        tales = self.tales
        known = {one: art()[one][0] for one in references(tales) if one in art()}
        wishes = Wishes(
            "proof", title="Proof [x] {b} 100%", povs=self.povs, pov_mode=self.pov_mode, width=WIDTH, height=HEIGHT,
            world_mode="multi" if len(tales) > 1 else "canonical",
        )
        return package(tales, known, (), wishes)

    def routes(self) -> list[Route]:
        """What the game must offer, told without asking the exporter: every worldline from its points of view."""
        return [
            Route(content, pov, ({"world": world}, {"pov": pov}))
            for world, content in self.contents.items() for pov in self._povs(content)
        ]

    def _povs(self, content: Content) -> Sequence[str]:
        if self.menu:
            return self.povs or views(content)
        return (self.povs[0] if self.povs else play.story(content).default_pov,)

    def forks(self) -> dict[str, list[Route]]:
        """The games beside the game, by point of view."""
        if self.pov_mode not in ("forks", "both"):
            return {}
        povs = self.povs or tuple(dict.fromkeys(pov for content in self.contents.values() for pov in views(content)))
        return {
            pov: [Route(content, pov, ({"world": world},)) for world, content in self.contents.items()] for pov in povs
        }


def views(content: Content) -> list[str]:
    """Every point of view to which something of a story is shown that is not shown to everybody, its own first."""
    found = dict.fromkeys([play.story(content).default_pov])
    for entry in content["entries"]:
        for one in entry.get("alternatives", (entry,)):
            found.update(dict.fromkeys(_both(entry.get("visible_to"), one.get("visible_to"))))
    for scene in content["scenes"].values():
        for node in scene["nodes"]:
            for choice in node.get("choices", ()):
                found.update(dict.fromkeys(choice.get("visible_to", ())))
    return list(found)


def _both(group: Sequence[str] | None, one: Sequence[str] | None) -> Sequence[str]:
    """Who sees an alternative of a group: who sees both, and nothing says that everybody does."""
    return [view for view in group if view in one] if group and one else group or one or ()


def ask_of(seed: int) -> Ask:
    """One way of asking by seed: fifteen in a row meet every mode with one, two and three lines."""
    mode = POV_MODES[seed % len(POV_MODES)]
    lines = 1 + seed // len(POV_MODES) % 3
    contents = {
        world: any_story(seed + 10_000 * number, assets=tuple(art()), scenes=3, nodes=5)
        for number, world in enumerate(WORLDS[:lines])
    }
    povs: tuple[str, ...] = ()
    if seed % 2:
        known = views(next(iter(contents.values())))
        povs = tuple(reversed(known[:3]))
    return Ask(contents, mode, povs)


def written(asked: Ask, folder: Path) -> dict[str, tuple[Path, list[Route]]]:
    """Writes the package into a folder; its games by name, each with its routes."""
    made = asked.packed()
    shutil.rmtree(folder, ignore_errors=True)
    write_files(made.texts, made.blobs, folder)
    games = {"": (folder, asked.routes())}
    told = {one["id"]: one for one in made.manifest["pov"]["forks"]}
    assert set(told) == set(asked.forks()), "the manifest names other games than were asked for"
    for pov, routes in asked.forks().items():
        games[f", only {told[pov]['slug']}"] = ((folder / told[pov]["game_dir"]).parent, routes)
    return games


def prove_modes(engine: Engine, seed: int, *, paths: int, keep: Path | None = None) -> Iterator[Verdict]:
    """Every game of one way of asking."""
    again = f"python -m tests.renpy --only modes --seed {seed} --stories 1"
    for name, (folder, routes) in written(ask_of(seed), engine.scratch / "asked").items():
        plays = plays_of(routes, (seed,), most=paths)
        yield prove(engine, f"asked {seed}{name}", folder, plays, keep=keep, again=again)


def prove_asked(engine: Engine, seed: int, *, paths: int, keep: Path | None = None) -> Verdict:
    """The same as one verdict."""
    return together(f"asked {seed}", prove_modes(engine, seed, paths=paths, keep=keep))


def together(name: str, verdicts: Iterator[Verdict]) -> Verdict:
    """Several verdicts as one."""
    found = list(verdicts)
    return Verdict(
        name, sum(one.paths for one in found), sum(one.moments for one in found), all(one.whole for one in found),
        sum(one.seconds for one in found),
        tuple(f"{one.name}: {trouble}" for one in found for trouble in one.troubles), found[0].again,
    )
