"""``characters.rpy``: who speaks on each worldline, by which name and in which colour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from domain.exchange.renpy.material import Tale
from domain.exchange.renpy.names import Names
from domain.exchange.renpy.naming import named
from domain.exchange.renpy.routes import pov_name
from domain.exchange.renpy.spelling import literal, shown

Characters = Mapping[str, Mapping[str, Any]]


class Voice(NamedTuple):
    """What the player reads over a line."""

    name: str
    colour: str | None


@dataclass(slots=True)
class Voices:
    """``speakers``: for each tale, speaker -> the variable of its Character; ``defined``: what each variable is."""

    speakers: list[dict[str, str]] = field(default_factory=list)
    defined: dict[str, Voice] = field(default_factory=dict)


def voices(tales: Sequence[Tale], names: Names) -> Voices:
    """The voices of a game. Who is called the same on every worldline is one; who is not has one for each."""
    people = [_people(tale) for tale in tales]
    others = named(dict.fromkeys(said for one in people for said, id_ in one.items() if id_ is None), else_="voice")
    found = Voices()
    for tale, those in zip(tales, people, strict=True):
        speakers: dict[str, str] = {}
        for said, id_ in those.items():
            variable = f"v_{others[said]}" if id_ is None else names.character(id_)
            voice = _voice(said, id_, tale.characters)
            if found.defined.setdefault(variable, voice) != voice:
                variable = f"{tale.prefix}{variable}"
                found.defined[variable] = voice
            speakers[said] = variable
        found.speakers.append(speakers)
    return found


def _people(tale: Tale) -> dict[str, str | None]:
    """Everybody who says something: by id where the speaker is a character, or is called like one."""
    by_name = {pov_name(id_, tale.characters): id_ for id_ in sorted(tale.characters, reverse=True)}
    said = dict.fromkeys(
        node["speaker"] for program in tale.story.scenes.values() for node in program.document["nodes"]
        if node.get("speaker")
    )
    return {one: one if one in tale.characters else by_name.get(one) for one in said}


def _voice(said: str, id_: str | None, characters: Characters) -> Voice:
    if id_ is None:
        return Voice(said, None)
    colour = characters[id_].get("color")
    return Voice(pov_name(id_, characters), colour if isinstance(colour, str) else None)


def character_lines(found: Voices) -> Iterator[str]:
    """``characters.rpy``."""
    yield "# Who speaks."
    yield ""
    for variable, voice in found.defined.items():
        told = f", who_color={literal(voice.colour)}" if voice.colour is not None else ""
        yield f"define {variable} = Character({shown(voice.name)}{told})"
