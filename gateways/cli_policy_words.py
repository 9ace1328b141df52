"""How facts, things and conditions are written on the command line, and what `comfyvn policy` looks at."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any, Final

from gateways.cli_console import Data, settings_of, usage
from services.bootstrap import open_everything

FILE_BYTES: Final = 2**20

_WORDS: Final = {"yes": True, "no": False, "true": True, "false": False}


def value(told: str) -> Any:
    """A fact as somebody writes it: yes and no, a whole number, a list or a quoted text in JSON; else the text."""
    if told.lower() in _WORDS:
        return _WORDS[told.lower()]
    if told[:1] in ("[", '"') or (told.lstrip("-").isascii() and told.lstrip("-").isdigit() and len(told) < 19):
        try:
            return json.loads(told)
        except (ValueError, RecursionError):
            return told
    return told


def fact(told: str) -> tuple[str, Any]:
    """``name=value``; ends with a usage error for anything else."""
    name, sign, found = told.partition("=")
    if not sign or not name:
        usage(f"{told[:60]!r} is no fact.", "Write it like rating=T or commercial=yes.")
    return name, value(found)


def thing(told: str) -> dict[str, Any]:
    """``kind:id name=value name="two words"``; kind alone will do."""
    words = _split(told)
    if not words:
        usage("A thing has a kind.", "Write it like 'asset:a94a licence=MIT'.")
    kind, _, id_ = words[0].partition(":")
    return {"kind": kind, "id": id_, "facts": dict(fact(one) for one in words[1:])}


def condition(told: str) -> dict[str, Any]:
    """``fact op value value…``."""
    words = _split(told)
    if len(words) < 2:
        usage(f"{told[:60]!r} is no condition.", "Write it like 'licence is_not MIT CC0-1.0' or 'origin missing'.")
    return {"fact": words[0], "op": words[1], "values": tuple(value(one) for one in words[2:])}


def from_file(place: str) -> dict[str, Any]:
    """A JSON object from a file or, for ``-``, from standard input."""
    try:
        raw = sys.stdin.buffer.read(FILE_BYTES + 1) if place == "-" else _read(Path(place))
        found = json.loads(raw) if len(raw) <= FILE_BYTES else None
    except OSError as error:
        usage(f"{place} cannot be read: {error.strerror}.", "Name a file, or - for standard input.")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        usage(f"{place} holds no JSON object of at most {FILE_BYTES} bytes.", "Write it as the API takes it.")
    return found


def _read(place: Path) -> bytes:
    with place.open("rb") as file:
        return file.read(FILE_BYTES + 1)


def _split(told: str) -> list[str]:
    try:
        return shlex.split(told)
    except ValueError:
        usage(f"{told[:60]!r} has a quote that does not end.", "Close it, or put a backslash before it.")


async def looked(data: Data, *asked: tuple[str, Any]) -> list[Any]:
    """What views tell of the policy as it is now."""
    async with open_everything(settings_of(data), create=False) as opened:
        await opened.counted_everything(["policy"])
        return [await opened.studio.look(opened.studio.registry.views[name], query) for name, query in asked]
