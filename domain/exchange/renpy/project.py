"""A whole game: every file that is text, every file that is bytes, and the manifests that tell of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.exchange.renpy.casting import Cast, cast, played_by
from domain.exchange.renpy.cues import Cues
from domain.exchange.renpy.material import Asset, Tale, Wishes
from domain.exchange.renpy.media import Media, image_lines, sound_lines
from domain.exchange.renpy.names import Names, used
from domain.exchange.renpy.naming import named
from domain.exchange.renpy.routes import Written, script_lines, story_lines, written
from domain.exchange.renpy.runtime import RUNTIME
from domain.exchange.renpy.scenes import scene_lines
from domain.exchange.renpy.screens import SCREENS
from domain.exchange.renpy.spelling import comment, lines, literal
from domain.exchange.renpy.stagecraft import PRESENTATION
from domain.exchange.renpy.voices import Voices, character_lines, voices


@dataclass(frozen=True, slots=True)
class Game:
    """A game as it will stand in its folder: ``texts`` by path, ``bytes_`` by path, and what was learnt on the way."""

    texts: Mapping[str, str]
    bytes_: Mapping[str, Asset]
    tales: tuple[Written, ...]
    voices: Voices
    media: Media
    wishes: Wishes
    active: str
    default: str


def references(tales: Sequence[Tale]) -> tuple[str, ...]:
    """Everything that may be the name of an asset in the tales, so that somebody can look for it."""
    shown = cast(tales)
    told = used(_documents(tales, shown))
    names = Names(told, shown.characters, {})
    found = [asset for _, asset, _ in names.images() if asset]
    return tuple(dict.fromkeys([*found, *told.sounds]))


def povs_of(tale: Tale) -> tuple[str, ...]:
    """The points of view that a story knows: its own first, then those that something is shown to."""
    found = {tale.story.default_pov: None}
    for program in tale.story.scenes.values():
        for node in program.nodes.values():
            for choice in node.choices:
                found.update(dict.fromkeys(sorted(choice.visible_to)))
    for entry in tale.story.entries:
        for one in entry.alternatives:
            found.update(dict.fromkeys(sorted(view for view in one.visible_to if "\x00" not in view)))
    return tuple(found)


def game(tales: Sequence[Tale], assets: Mapping[str, Asset], wishes: Wishes) -> Game:
    """Writes the game of some tales. ``assets`` are those that ``references`` found, by what they are called there."""
    several = wishes.pov_mode in ("master", "forks", "both")
    told = [
        written(tale, wishes.povs or (povs_of(tale) if several else (tale.story.default_pov,))) for tale in tales
    ]
    people = cast(tales)
    documents = list(_documents(tales, people))
    readable = {one: asset.stem for one, asset in assets.items() if asset.name}
    names = Names(used(documents), people.characters, readable)
    heard = voices(tales, names)
    media = Media()
    texts = {
        "game/script.rpy": lines(script_lines(told, wishes.pov_mode in ("master", "both"))),
        "game/characters.rpy": lines(character_lines(heard)),
        "game/images.rpy": lines(image_lines(names, assets, media)),
        "game/audio.rpy": lines(sound_lines(names, assets, media)),
        "game/options.rpy": lines(_option_lines(wishes, documents, heard)),
        "game/screens.rpy": SCREENS.replace("VN_WIDTH", str(wishes.width)).replace("VN_HEIGHT", str(wishes.height)),
        "game/comfyvn_runtime.rpy": RUNTIME,
        "game/comfyvn_presentation.rpy": PRESENTATION,
    }
    for one, speakers, roles in zip(told, heard.speakers, people.roles, strict=True):
        cues = Cues(names, wishes.width, wishes.height, names.told.tuned, roles)
        texts[f"{one.folder}/story.rpy"] = lines(story_lines(one))
        files = named(one.tale.story.scenes, lower=True, else_="scene")
        for id_, program in one.tale.story.scenes.items():
            texts[f"{one.folder}/scenes/{files[id_]}.rpy"] = lines(
                scene_lines(program, one.scene_labels[id_], speakers, cues)
            )
    return Game(
        texts, media.files, tuple(told), heard, media, wishes, told[0].routes[0].id, tales[0].story.default_pov
    )


def _documents(tales: Sequence[Tale], people: Cast) -> Iterator[Mapping[str, Any]]:
    """Every scene, with its characters as they are called among the pictures of the game."""
    for tale, roles in zip(tales, people.roles, strict=True):
        for program in tale.story.scenes.values():
            document = program.document
            yield document if not roles else {**document, "nodes": [
                {**node, "directives": played_by(node.get("directives", ()), roles)} for node in document["nodes"]
            ]}


def _option_lines(wishes: Wishes, documents: Sequence[Mapping[str, Any]], heard: Voices) -> Iterator[str]:
    title = wishes.title or wishes.project
    slug = named([wishes.project], lower=True, else_="game")[wishes.project]
    yield f"# {comment(title)}"
    yield ""
    yield f"define config.name = {literal(title)}"
    yield f"define config.version = {literal(wishes.version)}"
    yield f"define config.save_directory = {literal(f'comfyvn-{slug}')}"
    yield f"define build.name = {literal(slug)}"
    yield "define config.has_sound = True"
    yield "define config.has_music = True"
    yield "define config.has_voice = True"
    yield "define config.history_length = 250"
    yield "define config.window = \"auto\""
    names = (title, *(voice.name for voice in heard.defined.values()))
    if any(map(_right_to_left, names)) or any(_right_to_left(text) for one in documents for text in _read(one)):
        yield "define config.rtl = True"


def _read(document: Mapping[str, Any]) -> Iterator[str]:
    """Every text of a scene that a player reads."""
    for node in document["nodes"]:
        yield node.get("text", "")
        for choice in node.get("choices", ()):
            yield choice.get("label", "")
            yield choice.get("description", "")


def _right_to_left(text: str) -> bool:
    return not text.isascii() and any(
        "\u0590" <= letter <= "\u08ff" or "\ufb1d" <= letter <= "\ufeff" for letter in text
    )
