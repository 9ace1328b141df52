"""Lines of text that people type, judged or tidied before anything is made of them."""

from __future__ import annotations

from typing import Any, Final

DEPTH: Final = 100
"""Deepest nesting of what is said; writers of JSON give up at about twice that."""


def exact_line(text: str) -> str:
    """The text if it can be told from another at sight, else ``ValueError`` with the rule as its sentence."""
    if text != text.strip() or _holds_control(text):
        raise ValueError("must not start or end with a space nor hold control characters")
    return text


def tidy_line(text: str) -> str:
    """The text without the spaces around it; ``ValueError`` for what no file could hold."""
    if _holds_control(text):
        raise ValueError("must not hold control characters")
    text.encode()
    return text.strip()


def sayable(value: Any, depth: int = DEPTH) -> Any:
    """A JSON value as every log and door can say it: halves of surrogate pairs become question marks, and an ellipsis
    stands for what is nested deeper than any of them goes."""
    match value:
        case str():
            return value if value.isascii() else value.encode("utf-8", "replace").decode()
        case dict() | list() | tuple() if depth == 0:
            return "…"
        case dict():
            return {sayable(key): sayable(one, depth - 1) for key, one in value.items()}
        case list() | tuple():
            return [sayable(one, depth - 1) for one in value]
        case _:
            return value


def _holds_control(text: str) -> bool:
    return any(ord(letter) < 32 or ord(letter) == 127 for letter in text)
