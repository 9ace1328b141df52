"""A whole game: every file that is text, every file that is bytes, and the manifests that tell of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.exchange.renpy.cues import Cues
from domain.exchange.renpy.material import Asset, Tale, Wishes
from domain.exchange.renpy.media import Media, image_lines, sound_lines
from domain.exchange.renpy.names import Names, used
from domain.exchange.renpy.naming import named
from domain.exchange.renpy.routes import Written, pov_name, script_lines, story_lines, written
from domain.exchange.renpy.runtime import RUNTIME
from domain.exchange.renpy.scenes import scene_lines
from domain.exchange.renpy.screens import SCREENS
from domain.exchange.renpy.spelling import comment, lines, literal, shown
from domain.exchange.renpy.stagecraft import PRESENTATION


@dataclass(frozen=True, slots=True)
class Game:
    """A game as it will stand in its folder: ``texts`` by path, ``bytes_`` by path, and what was learnt on the way."""

    texts: Mapping[str, str]
    bytes_: Mapping[str, Asset]
    tales: tuple[Written, ...]
    speakers: Mapping[str, str]
    speaker_names: Mapping[str, str]
    media: Media
    wishes: Wishes
    active: str
    default: str


def references(tales: Sequence[Tale]) -> tuple[str, ...]:
    """Everything that may be the name of an asset in the tales, so that somebody can look for it."""
    told = used(_documents(tales))
    names = Names(told, _characters(tales), {})
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
    default = tales[0].story.default_pov
    povs = wishes.povs or (povs_of(tales[0]) if wishes.pov_mode in ("master", "forks", "both") else (default,))
    active = povs[0]
    told = [written(tale, povs) for tale in tales]
    characters = _characters(tales)
    documents = list(_documents(tales))
    readable = {one: _stem(asset.name) for one, asset in assets.items() if asset.name}
    names = Names(used(documents), characters, readable)
    speakers, called = _speakers(documents, characters, names)
    cues = Cues(names, wishes.width, wishes.height, names.told.tuned)
    media = Media()
    texts = {
        "game/script.rpy": lines(script_lines(told, wishes.pov_mode in ("master", "both"), active)),
        "game/characters.rpy": lines(_character_lines(speakers, called, characters)),
        "game/images.rpy": lines(image_lines(names, assets, media)),
        "game/audio.rpy": lines(sound_lines(names, assets, media)),
        "game/options.rpy": lines(_option_lines(wishes, documents)),
        "game/screens.rpy": SCREENS.replace("VN_WIDTH", str(wishes.width)).replace("VN_HEIGHT", str(wishes.height)),
        "game/comfyvn_runtime.rpy": RUNTIME,
        "game/comfyvn_presentation.rpy": PRESENTATION,
    }
    for one in told:
        texts[f"{one.folder}/story.rpy"] = lines(story_lines(one))
        files = named(one.tale.story.scenes, lower=True, else_="scene")
        for id_, program in one.tale.story.scenes.items():
            texts[f"{one.folder}/scenes/{files[id_]}.rpy"] = lines(
                scene_lines(program, one.scene_labels[id_], speakers, cues)
            )
    return Game(texts, media.files, tuple(told), speakers, called, media, wishes, active, default)


def _documents(tales: Sequence[Tale]) -> Iterator[Mapping[str, Any]]:
    for tale in tales:
        for program in tale.story.scenes.values():
            yield program.document


def _characters(tales: Sequence[Tale]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for tale in reversed(tales):
        found.update(tale.characters)
    return dict(sorted(found.items()))


def _speakers(
    documents: Sequence[Mapping[str, Any]], characters: Mapping[str, Mapping[str, Any]], names: Names
) -> tuple[dict[str, str], dict[str, str]]:
    """The variable of every speaker, and the name that the player reads."""
    by_name = {pov_name(id_, characters): id_ for id_ in reversed(list(characters))}
    said = dict.fromkeys(
        node["speaker"] for document in documents for node in document["nodes"] if node.get("speaker")
    )
    people = {one: one if one in characters else by_name.get(one) for one in said}
    others = named((one for one, id_ in people.items() if id_ is None), else_="voice")
    speakers = {
        one: f"v_{others[one]}" if id_ is None else names.character(id_) for one, id_ in people.items()
    }
    return speakers, {one: one if id_ is None else pov_name(id_, characters) for one, id_ in people.items()}


def _character_lines(
    speakers: Mapping[str, str], called: Mapping[str, str], characters: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    yield "# Who speaks."
    yield ""
    colours = {pov_name(id_, characters): fields.get("color") for id_, fields in characters.items()}
    written_: set[str] = set()
    for speaker, variable in speakers.items():
        if variable in written_:
            continue
        written_.add(variable)
        colour = colours.get(called[speaker])
        told = f", who_color={literal(colour)}" if isinstance(colour, str) else ""
        yield f"define {variable} = Character({shown(called[speaker])}{told})"


def _option_lines(wishes: Wishes, documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
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
    if any(_right_to_left(document) for document in documents):
        yield "define config.rtl = True"


def _right_to_left(document: Mapping[str, Any]) -> bool:
    return any(
        "\u0590" <= letter <= "\u08ff" or "\ufb1d" <= letter <= "\ufeff"
        for node in document["nodes"]
        for text in (node.get("text", ""), *(choice.get("label", "") for choice in node.get("choices", ())))
        if not text.isascii()
        for letter in text
    )


def _stem(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    return stem if stem and len(ending) <= 5 else name
