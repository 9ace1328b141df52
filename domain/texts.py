"""Lines of text that people type, judged or tidied before anything is made of them."""

from __future__ import annotations

from typing import Any


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


def sayable(value: Any) -> Any:
    """A JSON value without halves of surrogate pairs, which no event can hold: each becomes a question mark."""
    match value:
        case str():
            return value if value.isascii() else value.encode("utf-8", "replace").decode()
        case dict():
            return {sayable(key): sayable(one) for key, one in value.items()}
        case list() | tuple():
            return [sayable(one) for one in value]
        case _:
            return value


def _holds_control(text: str) -> bool:
    return any(ord(letter) < 32 or ord(letter) == 127 for letter in text)
