"""Camera moves over a still picture: each frame cut out of it at fractions of a pixel, so that nothing trembles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from PIL import Image

LONGEST: Final = 1280
"""Longer side of the video when nobody says."""

Box = tuple[float, float, float, float]


def size_of(image: Image.Image, width: int, height: int) -> tuple[int, int]:
    """The size of the video: even, as asked, else following the picture."""
    ratio = image.width / image.height
    if not width and not height:
        scale = min(1.0, LONGEST / max(image.size))
        width, height = round(image.width * scale), round(image.height * scale)
    elif not height:
        height = round(width / ratio)
    elif not width:
        width = round(height * ratio)
    return max(64, min(1920, width) // 2 * 2), max(64, min(1920, height) // 2 * 2)


def eased(part: float, easing: str) -> float:
    """How far a move is at a part of its time, both from 0 to 1."""
    match easing:
        case "ease_in":
            return part * part
        case "ease_out":
            return 1 - (1 - part) ** 2
        case "ease_in_out":
            return 0.5 - 0.5 * math.cos(math.pi * part)
        case _:
            return part


def course(move: str, amount: float, seed: int) -> tuple[Box, Box]:
    """First and last view of a move, as boxes in parts of the picture (left, top, right, bottom)."""
    near = 1 - amount
    edge = amount / 2

    def view(scale: float, x: float = 0.5, y: float = 0.5) -> Box:
        left, top = (1 - scale) * x, (1 - scale) * y
        return left, top, left + scale, top + scale

    match move:
        case "zoom_in":
            return view(1.0), view(near, 0.5, 0.46)
        case "zoom_out":
            return view(near, 0.5, 0.46), view(1.0)
        case "pan_left":
            return view(near, 1.0), view(near, 0.0)
        case "pan_right":
            return view(near, 0.0), view(near, 1.0)
        case "pan_up":
            return view(near, 0.5, 1.0), view(near, 0.5, 0.0)
        case "pan_down":
            return view(near, 0.5, 0.0), view(near, 0.5, 1.0)
        case "ken_burns":  # closer and aside at once, the direction by the seed
            random = np.random.Generator(np.random.PCG64(seed))
            angle = float(random.uniform(0, 2 * math.pi))
            x, y = 0.5 + 0.5 * math.cos(angle), 0.5 + 0.5 * math.sin(angle)
            far, close = view(1 - edge * 0.6, 1 - x, 1 - y), view(near, x, y)
            return (far, close) if random.random() < 0.7 else (close, far)
        case _:
            return view(1.0), view(1.0)


def frames(image: Image.Image, size: tuple[int, int], count: int, move: str, amount: float, easing: str, seed: int,
           told: Callable[[float], None]) -> Iterator[bytes]:
    """Raw RGB frames of a move."""
    picture = _fitted(image, size, amount)
    first, last = course(move, amount, seed)
    still: bytes | None = None
    for number in range(count):
        told(number / count)
        if move == "still":
            still = still or picture.resize(size, Image.Resampling.LANCZOS).tobytes()
            yield still
            continue
        part = eased(number / max(1, count - 1), easing)
        left, top, right, bottom = (a + (b - a) * part for a, b in zip(first, last, strict=True))
        box = (max(0.0, left) * picture.width, max(0.0, top) * picture.height,
               min(1.0, right) * picture.width, min(1.0, bottom) * picture.height)
        yield picture.resize(size, Image.Resampling.BICUBIC, box=box).tobytes()


def _fitted(image: Image.Image, size: tuple[int, int], amount: float) -> Image.Image:
    """The picture cropped to the video's shape, and no larger than its closest view needs."""
    if image.mode == "RGBA":
        ground = Image.new("RGB", image.size, "black")
        ground.paste(image, mask=image.getchannel("A"))
        image = ground
    ratio = size[0] / size[1]
    width, height = float(image.width), float(image.height)
    if width / height > ratio:
        width = height * ratio
    else:
        height = width / ratio
    left, top = (image.width - width) / 2, (image.height - height) * 0.4
    wanted = (round(size[0] / (1 - amount)), round(size[1] / (1 - amount)))
    return image.resize(wanted, Image.Resampling.LANCZOS, box=(left, top, left + width, top + height))
