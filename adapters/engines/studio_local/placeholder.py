"""Pictures that stand in for others: a composition by seed and prompt, with the word placeholder on it."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from adapters.engines.studio_local.detail import grained, vignetted
from adapters.engines.studio_local.lettering import write

Color = tuple[int, int, int]

PALETTES: Final[dict[str, tuple[Color, ...]]] = {
    "day": ((88, 160, 214), (190, 222, 236), (250, 240, 214), (120, 176, 140), (62, 118, 108)),
    "dusk": ((58, 44, 98), (178, 82, 118), (248, 178, 118), (112, 58, 98), (44, 30, 66)),
    "night": ((10, 16, 42), (30, 44, 92), (94, 104, 158), (22, 30, 62), (8, 12, 28)),
    "forest": ((38, 76, 70), (116, 158, 112), (230, 226, 168), (44, 92, 66), (18, 44, 38)),
    "sea": ((22, 78, 126), (72, 158, 186), (226, 240, 228), (30, 108, 142), (12, 52, 88)),
    "snow": ((150, 176, 206), (214, 226, 240), (252, 250, 250), (170, 190, 212), (104, 128, 160)),
    "room": ((112, 74, 60), (196, 148, 108), (250, 222, 170), (142, 94, 76), (70, 44, 42)),
    "city": ((38, 42, 70), (122, 92, 132), (250, 186, 140), (60, 60, 92), (24, 26, 44)),
    "rose": ((138, 66, 104), (226, 138, 158), (254, 222, 210), (170, 90, 124), (92, 42, 78)),
}
"""Mood -> upper sky, lower sky, light, middle, near."""

WORDS: Final = (
    ("rose", r"love|romance|rose|blossom|cherry|sakura|wedding"),
    ("night", r"night|midnight|moon|star|dark|cave"), ("dusk", r"dusk|sunset|dawn|sunrise|evening|twilight"),
    ("snow", r"snow|winter|ice|frozen"), ("sea", r"sea|ocean|beach|lake|river|rain|water|harbou?r"),
    ("forest", r"forest|wood|garden|jungle|tree|park|meadow"), ("city", r"city|street|town|roof|neon|station|alley"),
    ("room", r"room|kitchen|cafe|café|library|classroom|house|office|tavern|inside|interior|hall"),
    ("day", r"day|noon|sky|field|summer|morning"),
)
FIGURE: Final = r"portrait|girl|boy|woman|man|character|person|face|knight|wizard|witch|hero|heroine|detective|she|he"


def painted(prompt: str, width: int, height: int, seed: int, label: str, mood: str, motif: str) -> Image.Image:
    """The picture. The same arguments make the same pixels."""
    digest = hashlib.sha256(f"{seed}|{prompt}".encode("utf-8", "replace")).digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "big")))
    if mood == "auto":
        mood = next((name for name, words in WORDS if re.search(rf"\b(?:{words})s?\b", prompt.lower())), "") or str(
            random.choice(list(PALETTES)))
    if motif == "auto":
        figure = re.search(rf"\b(?:{FIGURE})s?\b", prompt.lower())
        motif = "figure" if figure else str(random.choice(["hills", "orbs", "waves"]))
    palette = PALETTES[mood]
    image = _sky(width, height, palette, random)
    {"hills": _hills, "orbs": _orbs, "waves": _waves, "figure": _figure}[motif](image, palette, random)
    image = grained(vignetted(image, 0.35), 0.12, 1.0, int(random.integers(2**32)), False)
    _labelled(image, prompt, f"PLACEHOLDER · {label}" if label.strip() else "PLACEHOLDER")
    return image


def _sky(width: int, height: int, palette: tuple[Color, ...], random: Any) -> Image.Image:
    top, low, light = (np.array(color, dtype=np.float32) for color in palette[:3])
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    across = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    x, y, reach = random.uniform(0.2, 0.8), random.uniform(0.25, 0.6), random.uniform(0.35, 0.6)
    ratio = width / height
    glow = np.exp(-(((across - x) * ratio) ** 2 + (down - y) ** 2) / (2 * (reach * 0.5) ** 2))
    sky = top + (low - top) * np.clip(down * 1.25 + 0.06 * np.sin(across * 5 + x * 9), 0, 1)
    sky = sky + (light - sky) * glow * 0.85
    image = Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8))
    size = round(min(width, height) * random.uniform(0.05, 0.1))
    sun = Image.new("L", image.size, 0)
    center = (round(x * width), round(y * height))
    ImageDraw.Draw(sun).ellipse((center[0] - size, center[1] - size, center[0] + size, center[1] + size), fill=235)
    image.paste(palette[2], mask=sun.filter(ImageFilter.GaussianBlur(max(1, size / 14))))
    return image


def _blend(one: Color, other: Color, part: float) -> Color:
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _ridge(width: int, random: Any, rough: float) -> Any:
    """A line of hills from 0 to 1: a few sines that share no period."""
    x = np.linspace(0, 1, width)
    line = sum(random.uniform(0.4, 1) / (k + 1) ** rough * np.sin(2 * np.pi * ((k + 1) * x * random.uniform(0.7, 1.3)
               + random.uniform())) for k in range(6))
    return (line - line.min()) / max(1e-6, float(line.max() - line.min()))


def _layers(image: Image.Image, palette: tuple[Color, ...], random: Any, count: int, rough: float, first: float,
            swing: float) -> None:
    width, height = image.size
    for layer in range(count):
        part = (layer + 1) / count
        line = _ridge(width, random, rough)
        level = height * (first + (0.98 - first) * part * 0.85)
        points = [(x, level - line[x] * height * swing * (1 - 0.4 * part)) for x in range(0, width, 2)]
        color = _blend(_blend(palette[1], palette[3], min(1, part * 1.4)), palette[4], max(0, part * 1.6 - 0.6))
        shape = Image.new("L", image.size, 0)
        ImageDraw.Draw(shape).polygon([*points, (width, points[-1][1]), (width, height), (0, height)], fill=255)
        image.paste(color, mask=shape.filter(ImageFilter.GaussianBlur(0.8)))


def _hills(image: Image.Image, palette: tuple[Color, ...], random: Any) -> None:
    _layers(image, palette, random, 5, 1.1, 0.5, 0.2)


def _waves(image: Image.Image, palette: tuple[Color, ...], random: Any) -> None:
    _layers(image, palette, random, 9, 1.9, 0.42, 0.07)


def _orbs(image: Image.Image, palette: tuple[Color, ...], random: Any) -> None:
    width, height = image.size
    for number in range(16):
        size = min(width, height) * random.uniform(0.03, 0.2)
        x, y = random.uniform(0, width), random.uniform(0, height)
        orb = Image.new("L", image.size, 0)
        ImageDraw.Draw(orb).ellipse((x - size, y - size, x + size, y + size), fill=int(random.integers(50, 120)))
        soft = orb.filter(ImageFilter.GaussianBlur(1 + number % 4 * size / 16))
        image.paste(palette[int(random.integers(1, 4))], mask=soft)
    _layers(image, palette, random, 2, 1.4, 0.72, 0.1)


def _figure(image: Image.Image, palette: tuple[Color, ...], random: Any) -> None:
    """A plain silhouette from the chest up: somebody, and nobody."""
    _layers(image, palette, random, 3, 1.3, 0.6, 0.12)
    width, height = image.size
    unit = min(width * 1.2, height) / 10
    x, head = width * random.uniform(0.44, 0.56), height * 0.36
    shape = Image.new("L", image.size, 0)
    draw = ImageDraw.Draw(shape)
    draw.ellipse((x - 1.25 * unit, head - 1.6 * unit, x + 1.25 * unit, head + 1.6 * unit), fill=255)
    draw.rectangle((x - 0.55 * unit, head + unit, x + 0.55 * unit, head + 2.6 * unit), fill=255)
    draw.ellipse((x - 3.2 * unit, head + 2.1 * unit, x + 3.2 * unit, head + 9 * unit), fill=255)
    draw.rectangle((x - 3.2 * unit, head + 5.5 * unit, x + 3.2 * unit, height), fill=255)
    soft = shape.filter(ImageFilter.GaussianBlur(unit / 18 + 0.5))
    rim = Image.composite(Image.new("L", image.size, 0), soft.filter(ImageFilter.GaussianBlur(unit / 3)), soft)
    image.paste(palette[2], mask=rim.point(lambda value: round(value * 0.6)))
    image.paste(_blend(palette[4], palette[3], 0.25), mask=soft)


def _labelled(image: Image.Image, prompt: str, label: str) -> None:
    width, height = image.size
    size = max(9, round(min(width, height) * 0.048))
    pad = round(size * 0.9)
    band = round(min(height * 0.36, pad * 1.4 + size * 1.15 * 1.35 + size * 1.3 * 3))
    top = height - band
    ImageDraw.Draw(image, "RGBA").rectangle((0, top, width, height), fill=(8, 10, 16, 168))
    used = write(image, (pad, top + pad // 2), label, round(size * 1.15), width - 2 * pad, 1, (255, 222, 150, 255),
                 centered=True)
    room = max(1, int((band - used - pad * 0.8) // (size * 1.3)))
    write(image, (pad, top + pad // 2 + used), prompt or "no prompt", size, width - 2 * pad, room, (240, 242, 248, 255),
          centered=True)  # in the middle it stays in view when a camera moves over it
