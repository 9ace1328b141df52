"""Every picture, sound and character of a game by its name in the script, given out once and remembered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from domain.exchange.renpy.naming import named
from domain.story.looks import look

Characters = Mapping[str, Mapping[str, Any]]
Image = tuple[str, str | None, str]
"""An image's name, what shows it (nothing: a stand-in), and what to call it where nothing shows it."""

CAMERA = frozenset({"camera", "screen"})
BACKDROP = frozenset({"background", "under_background"})


@dataclass(frozen=True, slots=True)
class Used:
    """What the scenes of a game speak of, each in the order in which it is met. ``framed``: the camera moves."""

    backgrounds: tuple[str, ...]
    faces: tuple[tuple[str, str | None, str | None, str | None], ...]
    props: tuple[tuple[str, str | None], ...]
    overlays: tuple[tuple[str, str | None], ...]
    sounds: tuple[str, ...]
    tuned: frozenset[str]
    framed: bool


def used(documents: Iterable[Mapping[str, Any]]) -> Used:
    """What scene documents speak of."""
    backgrounds: dict[str, None] = {}
    faces: dict[tuple[str, str | None, str | None, str | None], None] = {}
    props: dict[tuple[str, str | None], None] = {}
    overlays: dict[tuple[str, str | None], None] = {}
    sounds: dict[str, None] = {}
    tuned = set()
    framed = False
    for one in _directives(documents):
        match one["kind"]:
            case "background" if one.get("asset"):
                backgrounds[one["asset"]] = None
            case "portrait" | "expression" | "pose":
                faces[one["character"], one.get("asset"), one.get("expression"), one.get("pose")] = None
            case "prop":
                props[one["prop"], one.get("asset")] = None
            case "overlay":
                overlays[one["overlay"], one.get("asset")] = None
            case "camera":
                framed = True
            case "tween" if one["target"] in CAMERA:
                framed = True
            case "sound" if one.get("asset"):
                sounds[one["asset"]] = None
        if one["kind"] == "sound" and one.get("action") == "gain":
            tuned.add(one.get("channel", "effect"))
    return Used(
        tuple(backgrounds), tuple(faces), tuple(props), tuple(overlays), tuple(sounds), frozenset(tuned), framed,
    )


def _directives(documents: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for document in documents:
        for node in document["nodes"]:
            yield from node.get("directives", ())


class Names:
    """The names of one game. ``readable`` tells what an asset's reference is called by people (a file's stem)."""

    def __init__(self, told: Used, characters: Characters, readable: Mapping[str, str]) -> None:
        self.told, self.characters = told, characters
        self._worn: dict[str, list[tuple[str, str | None, str | None, str | None]]] = {}
        for one in told.faces:
            self._worn.setdefault(one[0], []).append(one)
        people = dict.fromkeys([*(one[0] for one in told.faces), *characters])
        self._people = {id_: f"c_{name}" for id_, name in named(people, else_="somebody").items()}
        self._props = {id_: f"p_{name}" for id_, name in named((one[0] for one in told.props), else_="prop").items()}
        self._overlays = {
            id_: f"o_{name}" for id_, name in named((one[0] for one in told.overlays), else_="overlay").items()
        }
        pictures = dict.fromkeys([
            *told.backgrounds, *(asset for group in (told.faces, told.props, told.overlays)
                                 for _, asset, *_ in group if asset),
        ])
        self._pictures = _readable(pictures, readable, "picture")
        self._sounds = _readable(dict.fromkeys(told.sounds), readable, "sound")
        self._looks = {
            kind: {id_: f"{start}{name}" for id_, name in
                   named((one[place] or "" for one in told.faces if one[place]), else_="look").items()}
            for kind, place, start in (("expression", 2, ""), ("pose", 3, "pose_"))
        }
        clash = set(self._looks["pose"].values()) | {f"as_{name}" for name in self._pictures.values()}
        for id_, name in self._looks["expression"].items():
            if name in clash:
                self._looks["expression"][id_] = f"look_{name}"

    def character(self, id_: str) -> str:
        """The tag under which a character is shown."""
        return self._people[id_]

    def background(self, asset: str | None) -> str | None:
        """The image of a background."""
        return f"bg {self._pictures[asset]}" if asset else None

    def face(
        self, character: str, asset: str | None = None, expression: str | None = None, pose: str | None = None
    ) -> str:
        """The image of a character: with an asset of its own, or with an expression and a pose."""
        tag = self.character(character)
        if asset:
            return f"{tag} as_{self._pictures[asset]}"
        worn = [self._looks["expression"][expression]] if expression else []
        worn += [self._looks["pose"][pose]] if pose else []
        return " ".join([tag, *worn])

    def prop(self, prop: str, asset: str | None = None) -> str:
        """The image of a prop; without an asset its tag."""
        return self._props[prop] + (f" as_{self._pictures[asset]}" if asset else "")

    def overlay(self, overlay: str, asset: str | None = None) -> str:
        """The image of an overlay; without an asset its tag."""
        return self._overlays[overlay] + (f" as_{self._pictures[asset]}" if asset else "")

    def sound(self, asset: str) -> str:
        """The name of a sound among those of the script."""
        return self._sounds[asset]

    def target(self, id_: str) -> str | None:
        """The tag of what a tween animates; empty for the camera, nothing where there is none."""
        if id_ in CAMERA:
            return ""
        if id_ in BACKDROP:
            return "bg" if self.told.backgrounds else None
        if id_ in self._people and id_ not in self._worn:
            return None  # somebody of the project whom no cue ever shows
        for known in (self._people, self._props, self._overlays):
            if id_ in known:
                return known[id_]
        return None

    def images(self) -> Iterator[Image]:
        """Every image that the script may show, each once."""
        seen: set[str] = set()
        for image in self._images():
            if image[0] not in seen:
                seen.add(image[0])
                yield image

    def _images(self) -> Iterator[Image]:
        for backdrop in self.told.backgrounds:
            yield f"bg {self._pictures[backdrop]}", backdrop, backdrop
        for character, asset, _, _ in self.told.faces:
            if asset:
                yield self.face(character, asset), asset, f"{character}: {asset}"
        for character, mine in self._worn.items():
            expressions = [None, *dict.fromkeys(one[2] for one in mine if one[2])]
            poses = [None, *dict.fromkeys(one[3] for one in mine if one[3])]
            for expression in expressions:
                for pose in poses:
                    yield self._face(character, expression, pose)
        first = _first(self.told.props)
        for prop, asset in self.told.props:
            if asset:
                yield self.prop(prop, asset), asset, f"{prop}: {asset}"
            yield self.prop(prop), first.get(prop) or prop, prop
        first = _first(self.told.overlays)
        for overlay, asset in self.told.overlays:
            if asset:
                yield self.overlay(overlay, asset), asset, f"{overlay}: {asset}"
            yield self.overlay(overlay), first.get(overlay), overlay

    def _face(self, character: str, expression: str | None, pose: str | None) -> Image:
        asset = look(self.characters.get(character) or {}, expression, pose).asset
        if asset is None:  # a card that only ever names assets in its cues still looks like itself
            mine = [one for one in self._worn[character] if one[1]]
            fitting = [one for one in mine if one[2] == expression and one[3] == pose]
            alike = [one for one in mine if expression and one[2] == expression]
            plain = mine if not expression and not pose else []
            asset = next((one[1] for one in (*fitting, *alike, *plain)), None)
        worn = ", ".join(one for one in (expression, pose) if one)
        return self.face(character, None, expression, pose), asset, f"{character}: {worn}" if worn else character


def _first(told: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """The first asset with which something is shown."""
    return {one: asset for one, asset in reversed(list(told)) if asset}


def _readable(references: Iterable[str], readable: Mapping[str, str], else_: str) -> dict[str, str]:
    """Names of assets after what people call them; two of one name stay apart by their ids."""
    references = list(references)
    called: dict[str, str] = {}
    taken: set[str] = set()
    for one in references:
        wish = readable.get(one) or one
        called[one] = wish if wish not in taken else f"{wish} {one}"
        taken.add(called[one])
    given = named((called[one] for one in references), lower=True, else_=else_)
    return {one: given[called[one]] for one in references}
