"""A few brushes over Pillow: gradients, glows, smooth noise, ridges and water, all from given seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """A colour between two others; ``share`` of the second, 0 to 1."""
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))  # type: ignore[return-value]


def gradient(size: tuple[int, int], stops: Sequence[tuple[float, Colour]]) -> Image.Image:
    """From top to bottom through colours at heights between 0 and 1."""
    width, height = size
    column = Image.new("RGB", (1, height))
    for y in range(height):
        at = y / max(1, height - 1)
        below = max((stop for stop in stops if stop[0] <= at), default=stops[0])
        above = min((stop for stop in stops if stop[0] >= at), default=stops[-1])
        span = above[0] - below[0]
        column.putpixel((0, y), mixed(below[1], above[1], (at - below[0]) / span if span else 0.0))
    return column.resize((width, height))


def noise(size: tuple[int, int], seed: int, *, cells: tuple[int, int] = (6, 4), octaves: int = 4) -> Image.Image:
    """Soft clouds in grey."""
    dice = Random(seed)
    found = Image.new("L", size, 0)
    for octave in range(octaves):
        across, down = cells[0] * 2**octave, cells[1] * 2**octave
        grid = Image.frombytes("L", (across, down), bytes(dice.randrange(256) for _ in range(across * down)))
        found = Image.blend(found, grid.resize(size, Image.Resampling.BICUBIC), 0.5 if octave == 0 else 0.5 / 2**octave)
    return found


def glow(picture: Image.Image, at: Point, radius: float, colour: Colour, strength: float = 1.0) -> Image.Image:
    """The picture with a soft light in it."""
    light = Image.new("RGB", picture.size)
    x, y = at
    for share in (1.0, 0.62, 0.34, 0.16):
        size = radius * share
        ring = Image.new("RGB", picture.size)
        ImageDraw.Draw(ring).ellipse((x - size, y - size, x + size, y + size),
                                     fill=mixed((0, 0, 0), colour, strength * (0.28 if share > 0.2 else 0.6)))
        light = ImageChops.add(light, ring.filter(ImageFilter.GaussianBlur(size * 0.45)))
    return ImageChops.screen(picture, light)


def beam(picture: Image.Image, corners: Sequence[Point], colour: Colour, strength: float, blur: float) -> Image.Image:
    """The picture with a shaft of light over the given corners."""
    light = Image.new("RGB", picture.size)
    ImageDraw.Draw(light).polygon(corners, fill=mixed((0, 0, 0), colour, strength))
    return ImageChops.screen(picture, light.filter(ImageFilter.GaussianBlur(blur)))


def ridge(
    picture: Image.Image, seed: int, *, base: float, height: float, colour: Colour, roughness: int = 5,
    foot: Colour | None = None,
) -> Image.Image:
    """A line of hills whose foot fades into another colour."""
    width, tall = picture.size
    dice = Random(seed)
    waves = [(dice.uniform(0.4, 1.0) / (n + 1), dice.uniform(0.6, 1.6) * (n + 1), dice.uniform(0, math.tau))
             for n in range(roughness)]
    line = []
    for x in range(0, width + 8, 8):
        swing = sum(size * math.sin(speed * x / width * math.tau + phase) for size, speed, phase in waves)
        line.append((x, base * tall - height * tall * (0.5 + swing / 4)))
    mask = Image.new("L", picture.size)
    ImageDraw.Draw(mask).polygon([*line, (width, tall), (0, tall)], fill=255)
    top = min(y for _, y in line) / tall
    paint = gradient(picture.size, [(0.0, colour), (max(0.0, top), colour), (min(1.0, base + 0.02), foot or colour),
                                    (1.0, foot or colour)])
    return Image.composite(paint, picture, mask.filter(ImageFilter.GaussianBlur(1.2)))


def water(picture: Image.Image, horizon: float, seed: int, *, tint: Colour, depth: Colour, calm: float) -> Image.Image:
    """Below the horizon, what is above it, mirrored, broken by waves and tinted."""
    width, tall = picture.size
    line = round(horizon * tall)
    below = tall - line
    sky = picture.crop((0, max(0, line - below), width, line)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    sky = sky.resize((width, below))
    mirrored = Image.new("RGB", (width, below))
    dice = Random(seed)
    phase = [dice.uniform(0, math.tau) for _ in range(3)]
    for y in range(below):
        far = y / below
        reach = (2 + 26 * far) * calm
        shift = reach * (math.sin(y * 0.9 / (0.25 + far) + phase[0]) + 0.5 * math.sin(y * 2.3 / (0.3 + far) + phase[1]))
        row = sky.crop((0, y, width, y + 1))
        mirrored.paste(row, (round(shift), y))
        mirrored.paste(row, (round(shift) - width, y)) if shift > 0 else mirrored.paste(row, (round(shift) + width, y))
    mirrored = mirrored.filter(ImageFilter.GaussianBlur(1.4))
    shade = gradient((width, below), [(0.0, tint), (1.0, depth)])
    mirrored = Image.blend(mirrored, shade, 0.52)
    lines = Image.new("L", (width, below))
    draw = ImageDraw.Draw(lines)
    for _ in range(420):
        far = dice.random() ** 1.8
        y, x, long = far * below, dice.uniform(-40, width), dice.uniform(8, 90) * (0.25 + far)
        draw.line((x, y, x + long, y), fill=round(26 + 40 * dice.random()), width=1 + round(far * 1.6))
    mirrored = Image.composite(Image.new("RGB", mirrored.size, mixed(tint, (255, 246, 228), 0.55)), mirrored,
                               lines.filter(ImageFilter.GaussianBlur(0.8)))
    result = picture.copy()
    result.paste(mirrored, (0, line))
    return result


def stars(picture: Image.Image, seed: int, *, count: int, upto: float) -> Image.Image:
    """The picture with stars down to a height."""
    width, tall = picture.size
    dice = Random(seed)
    sky = Image.new("RGB", picture.size)
    draw = ImageDraw.Draw(sky)
    for _ in range(count):
        x, y = dice.uniform(0, width), dice.random() ** 1.4 * upto * tall
        bright = round(70 + 170 * dice.random() ** 3)
        size = 0.5 + dice.random() ** 4 * 1.6
        draw.ellipse((x - size, y - size, x + size, y + size), fill=(bright, bright, min(255, bright + 14)))
    return ImageChops.screen(picture, sky.filter(ImageFilter.GaussianBlur(0.5)))


def mist(picture: Image.Image, seed: int, colour: Colour, *, top: float, bottom: float, strength: float) -> Image.Image:
    """The picture behind drifting mist between two heights."""
    width, tall = picture.size
    cloud = noise(picture.size, seed, cells=(4, 7))
    band = Image.new("L", (1, tall))
    for y in range(tall):
        at = y / tall
        inside = max(0.0, min(1.0, (at - top) / 0.18)) * max(0.0, min(1.0, (bottom - at) / 0.18))
        band.putpixel((0, y), round(255 * inside * strength))
    mask = ImageChops.multiply(cloud.point(lambda value: min(255, round(value * 1.5))), band.resize((width, tall)))
    return Image.composite(Image.new("RGB", picture.size, colour), picture, mask)


def vignette(picture: Image.Image, strength: float) -> Image.Image:
    """The picture with darker corners."""
    width, tall = picture.size
    light = Image.new("L", (width, tall), round(255 * (1 - strength)))
    ImageDraw.Draw(light).ellipse((-width * 0.12, -tall * 0.18, width * 1.12, tall * 1.18), fill=255)
    light = light.filter(ImageFilter.GaussianBlur(width * 0.12))
    return ImageChops.multiply(picture, Image.merge("RGB", (light, light, light)))


def rounded(points: Sequence[Point], steps: int = 12) -> list[Point]:
    """A closed smooth line through points (Catmull-Rom)."""
    found: list[Point] = []
    count = len(points)
    for index in range(count):
        a, b, c, d = (points[(index + n) % count] for n in (-1, 0, 1, 2))
        for step in range(steps):
            t = step / steps
            found.append(tuple(  # type: ignore[arg-type]
                0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t * t + (3 * q - p - 3 * r + s) * t**3)
                for p, q, r, s in zip(a, b, c, d, strict=True)
            ))
    return found
