"""Parts of known secrets: what is left of one where a text was cut, in the middle of it or in two pieces.

Messages are shortened, lines come in chunks, and three quarters of a key open the rest to whoever can count. So every
piece of ``WINDOW`` letters of a secret is known, and what stands around one in a text is taken along as far as it goes
on like the secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

WINDOW: Final = 12
"""Letters of a secret that are recognised; fewer might stand in a text by chance."""

STEP: Final = 4
"""A text is looked at every so many letters: a part of ``WINDOW + STEP - 1`` is always found."""

INDEXED: Final = 240
"""Letters from either end of a long secret whose pieces are known."""


class Parts:
    """The pieces of some secrets. ``forms`` maps each way to write one to the letters that may stand around it in that
    way: none for the secret itself, those of base64 and hex for what was encoded. ``spelt`` makes the pattern of a
    letter that may be escaped."""

    def __init__(
        self, forms: Mapping[str, frozenset[str]], secrets: Iterable[str], spelt: Callable[[str], str]
    ) -> None:
        self._known: dict[str, list[tuple[str, int]]] = {}
        self._around = dict(forms)
        for form in forms:
            for at in _places(form):
                self._known.setdefault(form[at : at + WINDOW], []).append((form, at))
        self._heads = [
            (re.compile("".join(spelt(letter) for letter in secret[:WINDOW])), secret) for secret in secrets
            if len(secret) > WINDOW
        ]
        self._spelt = spelt

    def masked(self, text: str, mask: str) -> str:
        """The text without parts that stand in it as they are."""
        spans: list[tuple[int, int]] = []
        at, last = 0, len(text) - WINDOW
        while at <= last:
            found = self._known.get(text[at : at + WINDOW])
            if found is None:
                at += STEP
                continue
            left, right = self._whole(text, at, found)
            spans.append((left, right))
            at = max(right, at + STEP)
        return _without(text, spans, mask)

    def unescaped(self, text: str, mask: str) -> str:
        """The text without beginnings of secrets whose letters are escaped."""
        for head, secret in self._heads:
            spans = []
            for found in head.finditer(text):
                end = found.end()
                for letter in secret[WINDOW:]:
                    more = re.compile(self._spelt(letter)).match(text, end)
                    if more is None:
                        break
                    end = more.end()
                spans.append((found.start(), end))
            text = _without(text, spans, mask)
        return text

    def _whole(self, text: str, at: int, found: list[tuple[str, int]]) -> tuple[int, int]:
        """As far as the text goes on like one of the secrets that the piece is from."""
        left, right = at, at + WINDOW
        for form, offset in found:
            begin, end, place = at, at + WINDOW, offset
            while begin and place and text[begin - 1] == form[place - 1]:
                begin, place = begin - 1, place - 1
            place = offset + WINDOW
            while end < len(text) and place < len(form) and text[end] == form[place]:
                end, place = end + 1, place + 1
            around = self._around[form]
            while begin and text[begin - 1] in around:
                begin -= 1
            while end < len(text) and text[end] in around:
                end += 1
            left, right = min(left, begin), max(right, end)
        return left, right


def _places(form: str) -> Iterable[int]:
    last = len(form) - WINDOW
    if last < 0:
        return ()
    if last < 2 * INDEXED:
        return range(last + 1)
    return (*range(INDEXED), *range(last - INDEXED, last + 1))


def _without(text: str, spans: list[tuple[int, int]], mask: str) -> str:
    if not spans:
        return text
    pieces, end = [], 0
    for left, right in spans:
        if right > end:
            pieces += [text[end : max(left, end)], mask]
            end = right
    return "".join([*pieces, text[end:]])
