"""Names for what a script must name: labels, variables, images, files. Stable, unique and harmless for any id."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

LENGTH: Final = 48
"""Longest readable part of a name."""

RESERVED: Final = frozenset(keyword.kwlist) | frozenset({
    "as", "at", "behind", "call", "expression", "hide", "if", "image", "in", "init", "jump", "menu", "onlayer",
    "python", "return", "scene", "show", "transform", "while", "with", "zorder", "label", "play", "queue", "stop",
    "pause", "camera", "define", "default", "screen", "style", "translate", "testcase", "nvl", "voice", "window",
    # Names that no file may have on Windows.
    "con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10)),
})
"""Words that mean something to Ren'Py, to Python or to a file system."""


def named(ids: Iterable[str], *, lower: bool = False, else_: str = "x", taken: Iterable[str] = ()) -> dict[str, str]:
    """A name of letters, digits and underscores for every id.

    An id that is such a name keeps it. Any other is spelt as far as it can be; where two would be spelt alike, or as
    something that means something else, they get six digits of their hash, and only then are they numbered. So a name
    hardly ever depends on what stands beside it, and saved games go on when a story grows.
    """
    plain = {id_: _plain(id_, lower) for id_ in dict.fromkeys(ids)}
    used = set(taken)
    crowd = Counter(plain.values())
    found: dict[str, str] = {}
    rough: list[str] = []
    for id_, name in plain.items():
        usable = bool(name) and name[0].isalpha() and name.lower() not in RESERVED and name not in used
        # An id that is its own name goes before those that are only spelt like it.
        if usable and (crowd[name] == 1 or name == id_):
            found[id_] = name
        else:
            found[id_] = ""
            rough.append(id_)
    used.update(name for name in found.values() if name)
    for id_ in rough:
        found[id_] = _free(_rough(id_, lower, else_), used)
        used.add(found[id_])
    return found


def _plain(id_: str, lower: bool) -> str:
    text = id_.lower() if lower else id_
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:LENGTH].rstrip("_")


def _rough(id_: str, lower: bool, else_: str) -> str:
    plain = _plain(id_, lower)
    if not plain or not plain[0].isalpha():
        plain = f"{else_}_{plain}" if plain else else_
    return f"{plain}_{sha256(id_.encode(errors='replace')).hexdigest()[:6]}"


def _free(name: str, used: set[str]) -> str:
    number, free = 1, name
    while free in used:
        number += 1
        free = f"{name}_{number}"
    return free
