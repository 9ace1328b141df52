"""``script.rpy`` and the story's order: where a game begins, its points of view and worldlines, scene after scene."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.exchange.renpy.material import Tale
from domain.exchange.renpy.naming import named
from domain.exchange.renpy.scenes import offered
from domain.exchange.renpy.spelling import comment, literal, said


@dataclass(frozen=True, slots=True)
class Route:
    """A point of view of a tale: where it begins, and the scenes that it may meet."""

    id: str
    name: str
    slug: str
    entry_label: str
    scenes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """A tale with the labels that were given out for it."""

    tale: Tale
    routes: tuple[Route, ...]
    scene_labels: Mapping[str, str]
    entry_labels: tuple[str, ...]
    end_label: str

    @property
    def folder(self) -> str:
        """Where the tale's scripts stand."""
        return f"game/worlds/{self.tale.prefix.rstrip('_')}" if self.tale.prefix else "game"


def written(tale: Tale, povs: Sequence[str]) -> Written:
    """Labels for a tale: its routes, its entries and its scenes."""
    story = tale.story
    scenes = {id_: f"{tale.prefix}scene_{name}" for id_, name in named(story.scenes, else_="scene").items()}
    slugs = named(povs, lower=True, else_="pov")
    routes = tuple(
        Route(pov, pov_name(pov, tale.characters), slugs[pov], f"{tale.prefix}route_{slugs[pov]}", _met(tale, pov))
        for pov in povs
    )
    labels = tuple(f"{tale.prefix}story_{number}" for number in range(1, len(story.entries) + 1))
    return Written(tale, routes, scenes, labels, f"{tale.prefix}story_end")


def pov_name(pov: str, characters: Mapping[str, Mapping[str, Any]]) -> str:
    """What a point of view is called: as its character is."""
    fields = characters.get(pov)
    name = fields.get("name") if fields else None
    return name if isinstance(name, str) and name else pov


def _met(tale: Tale, pov: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(
        one.scene for entry in tale.story.entries for one in entry.alternatives
        if not one.visible_to or pov in one.visible_to
    ))


def script_lines(tales: Sequence[Written], menu: bool) -> Iterator[str]:
    """``script.rpy``: where the game begins."""
    yield "# Where the game begins."
    yield ""
    yield "label start:"
    if len(tales) == 1:
        yield from _routes_menu(tales[0], menu, 1)
    else:
        yield "    menu:"
        for one in tales:
            yield f"        {said(one.tale.label or one.tale.world)} (world={literal(one.tale.world)}):"
            yield f"            jump {one.tale.prefix}start"
    for one in tales:
        if len(tales) > 1:
            yield ""
            yield f"label {one.tale.prefix}start:"
            yield from _routes_menu(one, menu, 1)
        for route in one.routes:
            yield ""
            yield f"# Point of view: {comment(route.name)}"
            yield f"label {route.entry_label}:"
            story = one.tale.story
            yield (f"    $ vn_begin({literal(one.tale.world)}, {literal(route.id)}, "
                   f"{literal(dict(story.variables))}, {literal(story.seed)})")
            yield f"    jump {one.entry_labels[0]}"


def _routes_menu(one: Written, menu: bool, deep: int) -> Iterator[str]:
    space = "    " * deep
    if not menu or len(one.routes) < 2:
        yield f"{space}jump {one.routes[0].entry_label}"
        return
    yield f"{space}menu:"
    for route in one.routes:
        yield f"{space}    {said(route.name if route.name.strip() else route.id)} (pov={literal(route.id)}):"
        yield f"{space}        jump {route.entry_label}"


def story_lines(one: Written) -> Iterator[str]:
    """The order of a tale: each entry plays the first of its scenes that may be played, and goes on to the next."""
    yield "# The order of the story: of each entry the first scene is played that may be."
    entries: Sequence[Mapping[str, Any]] = one.tale.story.content["entries"]
    for index, (entry, told) in enumerate(zip(one.tale.story.entries, entries, strict=True)):
        label = one.entry_labels[index]
        after = one.entry_labels[index + 1] if index + 1 < len(entries) else one.end_label
        yield ""
        yield f"# {comment(told.get('label') or entry.group or entry.id)}"
        yield f"label {label}:"
        final = {alternative.scene for alternative in entry.alternatives if alternative.final}
        group = told if "alternatives" in told else {}
        documents = told.get("alternatives", (told,))
        for place, (alternative, document) in enumerate(zip(entry.alternatives, documents, strict=True)):
            conditions = [*group.get("conditions", ()), *document.get("conditions", ())]
            holds = offered(conditions, alternative.visible_to)
            space = "    " if holds == "True" else "        "
            if holds != "True":
                yield f"    if {holds}:"
            yield f"{space}call {one.scene_labels[alternative.scene]} from {label}_back_{place + 1}"
            yield f"{space}$ vn_leave_scene()"
            yield f"{space}jump {one.end_label if alternative.scene in final else after}"
            if holds == "True":
                break
        else:
            yield f"    jump {after}"
    yield ""
    yield f"label {one.end_label}:"
    yield "    return"
