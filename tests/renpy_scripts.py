"""Reads scripts as Ren'Py 8.0 does, as far as exported games use it: strings, logical lines, blocks, labels, jumps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_STRING = re.compile(r'"(?:[^\\"]|\\.)*"', re.DOTALL)


def heard(spelt: str) -> str:
    """What a player meets of a ``say`` string: collapsed, unescaped, formatted, interpolated, its tags read."""
    assert _STRING.fullmatch(spelt), spelt
    inner = re.sub(r"\s+", " ", spelt[1:-1])

    def dequoted(match: re.Match[str]) -> str:
        told = match[1]
        if told in "{[%":
            return told * 2
        if told == "n":
            return "\n"
        return chr(int(match[2], 16)) if match[2] else told

    text = re.sub(r"\\(u([0-9a-fA-F]{1,4})|.)", dequoted, inner)
    assert not re.search(r"(\.|\[+)__\w", text) or "[__" not in inner, "the parser would rename this"
    text = text % {}
    for opening in "[{":
        assert not re.search(rf"(?<!\{opening})(?:\{opening}\{opening})*\{opening}(?!\{opening})", text), text
        text = text.replace(opening * 2, opening)
    return text


@dataclass
class Script:
    """The statements of one file: (line, depth, text), with strings taken out, and what they name."""

    labels: list[str] = field(default_factory=list)
    jumps: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)


def read(text: str) -> Script:
    """Reads a script; fails where Ren'Py would not go on."""
    assert "\t" not in text
    assert "\r" not in text
    script = Script()
    opened = 0
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("#"):
            continue
        bare = _STRING.sub('""', line).partition("#")[0].rstrip()
        assert bare.count('"') % 2 == 0, f"line {number}: {line}"
        if not bare:
            continue
        depth = len(bare) - len(bare.lstrip())
        assert depth % 4 == 0, f"line {number}: {line}"
        assert depth // 4 <= opened, f"line {number} is deeper than what stands before it: {line}"
        opened = depth // 4 + (1 if bare.endswith(":") else 0)
        _statement(script, bare.strip(), line)
    return script


def _statement(script: Script, bare: str, line: str) -> None:
    word, _, rest = bare.partition(" ")
    if word == "label":
        name = rest.rstrip(":")
        assert re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)?", name, re.ASCII), name
        script.labels.append(name)
    elif word == "jump":
        script.jumps.append(rest)
    elif word == "call":
        script.jumps.append(rest.split(" ")[0])
        script.labels.append(rest.split(" ")[2])
    elif word == "image":
        script.images.append(rest.partition(" =")[0])
    elif word == "show" and not rest.startswith("screen"):
        script.shown.append(re.split(r" at | zorder |:$", rest)[0])
    elif bare == '""' or re.fullmatch(r'\w+ ""', bare):
        found = _STRING.search(line)
        assert found is not None
        script.said.append(heard(found[0]))


def whole(files: Mapping[str, str]) -> Script:
    """All stories' scripts of a game together; fails where a label is doubled or missing, or an image is none."""
    game = Script()
    for path, text in files.items():
        if not path.endswith(".rpy") or path.rpartition("/")[2].startswith(("comfyvn_", "screens", "options")):
            continue
        one = read(text)
        game.labels += one.labels
        game.jumps += one.jumps
        game.said += one.said
        game.images += one.images
        game.shown += one.shown
    assert len(game.labels) == len(set(game.labels)), "a label stands twice"
    assert set(game.jumps) <= set(game.labels), "a jump leads nowhere"
    assert len(game.images) == len(set(game.images)), "an image is defined twice"
    tags = {one.split(" ")[0] for one in game.images}
    assert {one for one in game.shown if one not in game.images and one not in tags} == set()
    return game
