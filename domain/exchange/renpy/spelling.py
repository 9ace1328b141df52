"""How texts and values are spelt in a Ren'Py script, so that what stands in the story is what the player meets."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

COMMENT_LIMIT: Final = 160
"""Longest comment in characters: a comment is a hint, not a copy."""

_SAID: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "{": "{{", "[": "[[", "%": "%%"}
_LITERAL: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def said(text: str) -> str:
    """A text as the string of a ``say`` or ``menu`` line, quotes included.

    Ren'Py collapses white space, interpolates ``[…]``, reads tags in ``{…}`` and formats ``%``; and it renames words
    that begin with two underscores. Each of these is spelt so that it comes through.
    """
    parts = []
    before = " "
    for letter in text:
        if letter == " ":
            # Two spaces in a row would become one, and one at an end is easily lost by an editor.
            parts.append("\\ " if before == " " else " ")
        elif letter == "_" and before == "_":
            parts.append("\\u005f")
        else:
            parts.append(_SAID.get(letter) or (letter if letter.isprintable() else _escaped(letter)))
        before = letter
    if parts and parts[-1] == " ":
        parts[-1] = "\\ "
    return '"' + "".join(parts) + '"'


def _escaped(letter: str) -> str:
    code = ord(letter)
    if 0xD800 <= code <= 0xDFFF:
        return "\\ufffd"  # half of a surrogate pair cannot be written in UTF-8
    # Ren'Py's escape has four digits; what lies beyond them is no white space and stands for itself.
    return f"\\u{code:04x}" if code <= 0xFFFF else letter


def shown(text: str) -> str:
    """A text as a Python string that Ren'Py will substitute and show, a character's name say."""
    return literal(text.replace("[", "[[").replace("{", "{{"))


def literal(value: Any) -> str:
    """JSON data as a Python expression on one line."""
    match value:
        case None | bool() | int():
            return repr(value)
        case float():
            return repr(value)
        case str():
            return _quoted(value)
        case list() | tuple():
            return "[" + ", ".join(literal(one) for one in value) + "]"
        case dict():
            return "{" + ", ".join(f"{literal(str(name))}: {literal(one)}" for name, one in value.items()) + "}"
    raise TypeError(f"{type(value).__name__} is not JSON")


def _quoted(text: str) -> str:
    parts = []
    before = ""
    for letter in text:
        if letter == "_" and before == "_":
            parts.append("\\x5f")
        elif (spelt := _LITERAL.get(letter)) is not None:
            parts.append(spelt)
        elif letter.isprintable():
            parts.append(letter)
        else:
            code = ord(letter)
            half = 0xD800 <= code <= 0xDFFF
            parts.append("\\ufffd" if half else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")
        before = letter
    return '"' + "".join(parts) + '"'


def comment(text: str) -> str:
    """A text as one line of comment, without the ``#``: nothing in it can begin another line."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if len(plain) <= COMMENT_LIMIT else plain[:COMMENT_LIMIT] + "…"


def json_text(value: Any) -> str:
    """JSON for people and for comparing: sorted, indented, one spelling."""
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def lines(parts: Iterable[str]) -> str:
    """Lines as the text of a file."""
    return "\n".join(parts) + "\n"
