"""Storyboards: pictures in a grid, each in a panel of the same size, numbered and with its caption below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageOps

from adapters.engines.studio_local.lettering import font_for, lines, write


def drawn(pictures: Sequence[Image.Image], captions: Sequence[str], title: str, columns: int, width: int,
          panel_ratio: float, background: str, numbered: bool) -> tuple[Image.Image, list[list[int]]]:
    """The board, and the box (left, top, right, bottom) of every panel in reading order."""
    columns = min(len(pictures), columns or _columns(len(pictures), panel_ratio))
    rows = math.ceil(len(pictures) / columns)
    gap = max(8, width // 80)
    panel = (width - gap * (columns + 1)) // columns
    high = round(panel / panel_ratio)
    size = max(11, round(min(panel / 16, width / 64)))
    texts = [(captions[number] if number < len(captions) else "").strip() for number in range(len(pictures))]
    most = 4
    depth = max((len(lines(text, font_for(text, size), panel, most)) for text in texts if text), default=0)
    below = round(depth * size * 1.3) + (round(size * 0.6) if depth else 0)
    head = round(size * 2.6) + gap if title.strip() else 0
    board = Image.new("RGB", (width, head + gap + rows * (high + below + gap)), background)
    light = sum(board.getpixel((0, 0))) > 3 * 128  # type: ignore[arg-type]
    ink: Any = (28, 30, 36, 255) if light else (232, 234, 240, 255)
    if head:
        write(board, (gap, gap), title, round(size * 1.7), width - 2 * gap, 1, ink)
    boxes = []
    for number, picture in enumerate(pictures):
        left = gap + (number % columns) * (panel + gap)
        top = head + gap + (number // columns) * (high + below + gap)
        _panel(board, picture, (left, top, left + panel, top + high), light)
        if numbered:
            _number(board, number + 1, left, top, size)
        if texts[number]:
            write(board, (left, top + high + round(size * 0.4)), texts[number], size, panel, most, ink)
        boxes.append([left, top, left + panel, top + high])
    return board, boxes


def _columns(count: int, ratio: float) -> int:
    """As many columns as make the whole board nearest to a screen's shape."""
    return min(range(1, min(6, count) + 1),
               key=lambda one: (abs(math.log(one * ratio / (math.ceil(count / one) * 1.2) / (16 / 9))), one))


def _panel(board: Image.Image, picture: Image.Image, box: tuple[int, int, int, int], light: bool) -> None:
    size = (box[2] - box[0], box[3] - box[1])
    board.paste((210, 212, 218) if light else (34, 37, 45), box)
    fitted = ImageOps.contain(picture, size, Image.Resampling.LANCZOS)
    place = (box[0] + (size[0] - fitted.width) // 2, box[1] + (size[1] - fitted.height) // 2)
    board.paste(fitted, place, fitted if fitted.mode == "RGBA" else None)


def _number(board: Image.Image, number: int, left: int, top: int, size: int) -> None:
    text = str(number)
    font = font_for(text, size)
    pad = size // 2
    wide = round(font.getlength(text)) + 2 * pad
    draw = ImageDraw.Draw(board, "RGBA")
    draw.rounded_rectangle((left + pad, top + pad, left + pad + wide, top + pad + round(size * 1.7)), size // 3,
                           fill=(8, 10, 16, 190))
    draw.text((left + 2 * pad, top + pad + round(size * 0.85)), text, fill=(255, 255, 255, 255), font=font, anchor="lm")
