"""Texts on pictures: a typeface that comes with Pillow, another where it lacks letters, and lines that fit."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

Font = Any

_ELSEWHERE: Final = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf", "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/ghostscript/10.00.0/Resource/CIDFSubst/DroidSansFallback.ttf",
    "/System/Library/Fonts/Hiragino Sans GB.ttc", "/System/Library/Fonts/Supplemental/Arial Unicode.ttf",
)
"""Typefaces with more letters, where a system has them. Without one, letters that are not there are drawn as boxes."""


@lru_cache(maxsize=64)
def _font(place: str, size: int) -> Font:
    return ImageFont.truetype(place, size) if place else ImageFont.load_default(size)


@lru_cache(maxsize=4096)
def _has(place: str, letter: str) -> bool:
    """Whether a typeface draws this letter as anything but its box for what it lacks."""
    font = _font(place, 24)
    return bool(letter.isspace()) or (font.getmask(letter).getbbox() is not None and (
        bytes(font.getmask(letter)) != bytes(font.getmask("\U000f0000"))
    ))


def font_for(text: str, size: int) -> Font:
    """A typeface in so many pixels that has the letters of a text, or the most of them."""
    letters = {letter for letter in text if letter > "\x7f"}
    best, most = "", sum(_has("", letter) for letter in letters)
    if most < len(letters):
        for place in _ELSEWHERE:
            if Path(place).is_file() and (count := sum(_has(place, letter) for letter in letters)) > most:
                best, most = place, count
    return _font(best, size)


def lines(text: str, font: Font, width: int, most: int) -> list[str]:
    """A text in lines that fit; the last one ends in an ellipsis when there is more."""
    drawn: list[str] = []
    text = "".join(letter if letter.isprintable() else " " for letter in text)[:2000]
    line = ""
    for word in text.split():
        for part in _parts(word, font, width):
            longer = f"{line} {part}" if line else part
            if font.getlength(longer) <= width:
                line = longer
            else:
                drawn.append(line)
                line = part
            if len(drawn) > most:
                break
    drawn.append(line)
    drawn = [one for one in drawn if one]
    if len(drawn) > most:
        last = drawn[most - 1]
        while last and font.getlength(f"{last}…") > width:
            last = last[:-1]
        drawn = [*drawn[: most - 1], f"{last.rstrip()}…"]
    return drawn


def _parts(word: str, font: Font, width: int) -> list[str]:
    """A word, cut where it is wider than a line; writing without spaces is cut anywhere."""
    parts, part = [], ""
    for letter in word:
        if part and font.getlength(part + letter) > width:
            parts.append(part)
            part = ""
        part += letter
    return [*parts, part]


def write(image: Image.Image, place: tuple[int, int], text: str, size: int, width: int, most: int, fill: Any,
          *, centered: bool = False, shadow: Any = None) -> int:
    """Writes a text into a column; returns the height that it took."""
    font = font_for(text, size)
    draw = ImageDraw.Draw(image, "RGBA")
    step = round(size * 1.3)
    written = lines(text, font, width, most)
    for number, line in enumerate(written):
        left = place[0] + ((width - font.getlength(line)) / 2 if centered else 0)
        top = place[1] + number * step
        if shadow is not None:
            off = max(1, size // 18)
            draw.text((left + off, top + off), line, fill=shadow, font=font)
        draw.text((left, top), line, fill=fill, font=font)
    return step * len(written)
