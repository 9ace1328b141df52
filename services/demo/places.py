"""The places of the sample story, painted: harbour, lamp room, tide hall, open water, morning."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from services.demo.painting import (
    Colour,
    beam,
    glow,
    gradient,
    mist,
    mixed,
    noise,
    ridge,
    stars,
    vignette,
    water,
)

SIZE = (1920, 1080)
"""Painted at twice the size of the file, so that edges come out smooth."""

WARM: Colour = (255, 208, 132)


def harbour_dusk() -> Image.Image:
    """The harbour in the last light, windows lit, the lamp still dark."""
    picture = _sky([(0.0, (38, 46, 92)), (0.32, (112, 82, 132)), (0.5, (226, 128, 112)), (0.6, (252, 190, 128))], 3)
    picture = glow(picture, (620, 610), 300, (255, 176, 96), 0.9)
    picture = ridge(picture, 5, base=0.62, height=0.20, colour=(104, 78, 124), foot=(206, 128, 122))
    picture = _headland(picture, lit=False, colour=(52, 44, 84))
    picture = _town(picture, 11, colour=(44, 38, 74), lights=0.62)
    picture = water(picture, 0.62, 21, tint=(196, 118, 120), depth=(36, 38, 80), calm=0.8)
    picture = _reflections(picture, 11, strength=0.5)
    picture = _pier(picture, (26, 24, 48))
    return vignette(picture, 0.35)


def harbour_fog() -> Image.Image:
    """The same harbour in fog: shapes, and lights with haloes."""
    picture = _sky([(0.0, (86, 100, 122)), (0.6, (164, 172, 182))], 4)
    picture = ridge(picture, 5, base=0.62, height=0.20, colour=(132, 142, 158), foot=(160, 168, 178))
    picture = _headland(picture, lit=True, colour=(104, 114, 134))
    picture = _town(picture, 11, colour=(92, 102, 122), lights=0.5)
    picture = water(picture, 0.62, 22, tint=(150, 160, 172), depth=(72, 86, 108), calm=0.5)
    picture = mist(picture, 31, (188, 194, 202), top=0.25, bottom=1.0, strength=0.95)
    picture = glow(picture, (1490, 318), 260, (255, 232, 190), 0.55)
    picture = _pier(picture, (58, 66, 86))
    picture = mist(picture, 32, (196, 202, 208), top=0.6, bottom=1.2, strength=0.7)
    return vignette(picture, 0.25)


def lamp_room() -> Image.Image:
    """Behind the panes of the lamp room: brass, glass, and the night outside."""
    picture = _sky([(0.0, (14, 20, 46)), (0.62, (48, 62, 104)), (0.75, (28, 36, 70))], 6)
    picture = stars(picture, 41, count=420, upto=0.66)
    picture = ridge(picture, 8, base=0.82, height=0.10, colour=(20, 26, 52))
    draw = ImageDraw.Draw(picture)
    for x in range(-60, SIZE[0] + 200, 300):
        draw.rectangle((x, 0, x + 22, 900), fill=(30, 26, 34))
        draw.rectangle((x + 16, 0, x + 22, 900), fill=(92, 66, 44))
    for y in (250, 560):
        draw.rectangle((0, y, SIZE[0], y + 16), fill=(30, 26, 34))
        draw.rectangle((0, y, SIZE[0], y + 4), fill=(96, 70, 46))
    floor = gradient((SIZE[0], 230), [(0.0, (62, 42, 34)), (1.0, (22, 16, 20))])
    picture.paste(floor, (0, 850))
    picture = _lens(picture)
    picture = beam(picture, [(960, 470), (2100, 250), (2100, 690)], (255, 220, 150), 0.34, 50)
    picture = beam(picture, [(960, 470), (-180, 290), (-180, 650)], (255, 220, 150), 0.28, 50)
    picture = glow(picture, (960, 470), 420, (255, 206, 120), 1.0)
    return vignette(picture, 0.5)


def tide_hall() -> Image.Image:
    """The hall of the tide clock: a great dial, high windows, dust in the light."""
    picture = gradient(SIZE, [(0.0, (36, 46, 54)), (0.7, (74, 78, 76)), (1.0, (28, 32, 38))])
    grain = noise(SIZE, 51, cells=(24, 5)).point(lambda value: round(96 + value * 0.55))
    picture = ImageChops.multiply(picture, Image.merge("RGB", (grain, grain, grain)))
    draw = ImageDraw.Draw(picture)
    for x in (150, 1560):
        draw.rounded_rectangle((x, 110, x + 210, 720), 105, fill=(214, 196, 150))
        draw.rounded_rectangle((x + 14, 124, x + 196, 706), 92, fill=(250, 226, 172))
        for bar in (x + 100, ):
            draw.rectangle((bar, 110, bar + 10, 720), fill=(58, 54, 52))
        for bar in range(230, 720, 120):
            draw.rectangle((x, bar, x + 210, bar + 9), fill=(58, 54, 52))
    _dial(draw, 960, 430, 330)
    floor = gradient((SIZE[0], 220), [(0.0, (72, 60, 48)), (1.0, (26, 24, 26))])
    picture.paste(floor, (0, 860))
    draw = ImageDraw.Draw(picture)
    for x in range(-800, 2800, 190):
        draw.line((960 + (x - 960) * 0.55, 860, x, 1080), fill=(40, 34, 32), width=4)
    for x in (255, 1665):
        toward = 1 if x < 960 else -1
        picture = beam(picture, [(x - 100, 130), (x + 100, 130), (x + 560 * toward + 190, 1080),
                                 (x + 560 * toward - 240, 1080)], (255, 224, 160), 0.30, 34)
    picture = _dust(picture, 52)
    picture = glow(picture, (960, 430), 360, (180, 150, 96), 0.3)
    return vignette(picture, 0.5)


def night_sea() -> Image.Image:
    """Open water at night: the ferry, and far away the beam of the lamp."""
    picture = _sky([(0.0, (8, 12, 34)), (0.45, (26, 38, 78)), (0.6, (66, 84, 124))], 7)
    picture = stars(picture, 61, count=700, upto=0.56)
    picture = glow(picture, (430, 190), 150, (226, 232, 248), 0.7)
    ImageDraw.Draw(picture).ellipse((388, 148, 472, 232), fill=(238, 240, 244))
    picture = _headland(picture, lit=True, colour=(18, 22, 46))
    picture = beam(picture, [(1490, 318), (-100, 120), (-100, 420)], (255, 226, 160), 0.30, 26)
    picture = water(picture, 0.62, 62, tint=(54, 72, 112), depth=(6, 10, 28), calm=1.2)
    picture = _ferry(picture, 700, 712)
    return vignette(picture, 0.45)


def morning() -> Image.Image:
    """The harbour after the night: pale gold, calm water, gulls."""
    picture = _sky(
        [(0.0, (120, 164, 204)), (0.36, (196, 214, 220)), (0.56, (255, 230, 192)), (0.62, (255, 212, 156))], 9
    )
    picture = glow(picture, (960, 640), 420, (255, 222, 150), 0.9)
    picture = ridge(picture, 5, base=0.62, height=0.20, colour=(150, 158, 184), foot=(226, 206, 190))
    picture = _headland(picture, lit=False, colour=(96, 104, 138))
    picture = _town(picture, 11, colour=(112, 108, 132), lights=0.06)
    picture = water(picture, 0.62, 23, tint=(232, 206, 176), depth=(86, 124, 156), calm=0.45)
    picture = _pier(picture, (66, 66, 88))
    dice = Random(71)
    draw = ImageDraw.Draw(picture)
    for _ in range(9):
        x, y, wing = dice.uniform(240, 1300), dice.uniform(110, 420), dice.uniform(12, 26)
        draw.line((x - wing, y - wing * 0.45, x, y, x + wing, y - wing * 0.45), fill=(92, 98, 118), width=4,
                  joint="curve")
    return vignette(picture, 0.2)


PLACES: dict[str, Callable[[], Image.Image]] = {
    place.__name__: place for place in (harbour_dusk, harbour_fog, lamp_room, tide_hall, night_sea, morning)
}


def _sky(stops: list[tuple[float, Colour]], seed: int) -> Image.Image:
    picture = gradient(SIZE, [*stops, (1.0, stops[-1][1])])
    clouds = noise(SIZE, seed, cells=(3, 9), octaves=5)
    clouds = clouds.point(lambda value: max(0, min(120, round((value - 112) * 2.2))))
    light = Image.new("RGB", SIZE, mixed(stops[-1][1], (255, 244, 232), 0.35))
    return Image.composite(light, picture, clouds)


def _headland(picture: Image.Image, *, lit: bool, colour: Colour) -> Image.Image:
    mask = Image.new("L", SIZE)
    draw = ImageDraw.Draw(mask)
    land = [(1130, 672), (1210, 640), (1290, 620), (1370, 560), (1450, 540), (1560, 536), (1660, 580), (1790, 560),
            (1920, 520), (1920, 680), (1130, 680)]
    draw.polygon(land, fill=255)
    draw.polygon([(1462, 545), (1474, 350), (1506, 350), (1518, 545)], fill=255)
    draw.rectangle((1462, 338, 1518, 352), fill=255)
    draw.rectangle((1476, 300, 1504, 340), fill=255)
    draw.polygon([(1470, 302), (1490, 272), (1510, 302)], fill=255)
    draw.rectangle((1530, 500, 1600, 550), fill=255)
    draw.polygon([(1522, 502), (1565, 468), (1608, 502)], fill=255)
    picture = Image.composite(Image.new("RGB", SIZE, colour), picture, mask.filter(ImageFilter.GaussianBlur(1.2)))
    if lit:
        ImageDraw.Draw(picture).rectangle((1480, 306, 1500, 332), fill=(255, 240, 200))
        picture = glow(picture, (1490, 318), 120, WARM, 1.0)
    return picture


def _town(picture: Image.Image, seed: int, *, colour: Colour, lights: float) -> Image.Image:
    dice = Random(seed)
    x = -20.0
    windows: list[tuple[float, float]] = []
    draw = ImageDraw.Draw(picture)
    while x < 760:
        wide, tall = dice.uniform(58, 112), dice.uniform(70, 190) * (1.15 - x / 1400)
        top, roof = 674 - tall, dice.uniform(26, 52)
        shade = mixed(colour, (120, 96, 120), dice.uniform(0, 0.16))
        draw.rectangle((x, top, x + wide, 680), fill=shade)
        draw.polygon([(x - 5, top + 1), (x + wide / 2, top - roof), (x + wide + 5, top + 1)],
                     fill=mixed(shade, (20, 16, 36), 0.25))
        windows += [(x + 14 + column * 27, top + 16 + row * 36)
                    for column in range(int(wide // 29)) for row in range(int(tall // 40))]
        x += wide + dice.uniform(-8, 6)
    for left, top in windows:
        if dice.random() < lights:
            ImageDraw.Draw(picture).rectangle((left, top, left + 10, top + 15),
                                              fill=mixed(WARM, (255, 150, 80), dice.random() * 0.6))
            if dice.random() < 0.3:
                picture = glow(picture, (left + 5, top + 8), 34, (255, 180, 92), 0.5)
    return picture


def _reflections(picture: Image.Image, seed: int, *, strength: float) -> Image.Image:
    dice = Random(seed)
    light = Image.new("RGB", SIZE)
    draw = ImageDraw.Draw(light)
    for _ in range(26):
        x = dice.uniform(10, 740)
        for step in range(12):
            y = 690 + step * 17 + dice.uniform(-4, 4)
            wide = 5 + step * 1.6
            draw.line((x - wide, y, x + wide, y), fill=mixed((0, 0, 0), (255, 176, 96), strength * (1 - step / 12)),
                      width=4)
    return ImageChops.screen(picture, light.filter(ImageFilter.GaussianBlur(3)))


def _pier(picture: Image.Image, colour: Colour) -> Image.Image:
    mask = Image.new("L", SIZE)
    draw = ImageDraw.Draw(mask)
    draw.polygon([(0, 930), (1120, 900), (1150, 912), (1150, 930), (0, 985)], fill=255)
    for x in range(60, 1150, 150):
        draw.rectangle((x, 880, x + 24, 1080), fill=255)
        draw.ellipse((x, 868, x + 24, 894), fill=255)
    for x, y in ((1030, 905), (960, 906)):
        draw.rounded_rectangle((x, y - 62, x + 52, y), 10, fill=255)
    draw.line([(72, 890), (140, 930), (222, 888), (292, 926), (372, 886)], fill=255, width=5, joint="curve")
    return Image.composite(Image.new("RGB", SIZE, colour), picture, mask.filter(ImageFilter.GaussianBlur(1)))


def _lens(picture: Image.Image) -> Image.Image:
    draw = ImageDraw.Draw(picture)
    draw.polygon([(800, 900), (1120, 900), (1080, 690), (840, 690)], fill=(70, 48, 36))
    draw.rectangle((806, 672, 1114, 700), fill=(150, 106, 58))
    for step in range(14):
        reach = 178 * math.sin(math.pi * (step + 1.5) / 16)
        y = 262 + step * 30
        draw.ellipse((960 - reach, y - 12, 960 + reach, y + 26), outline=(236, 196, 118), width=5)
        draw.ellipse((960 - reach * 0.86, y - 7, 960 + reach * 0.86, y + 20), outline=(150, 118, 84), width=2)
    for x in (790, 1110):
        draw.rectangle((x, 230, x + 20, 690), fill=(122, 86, 50))
        draw.rectangle((x, 230, x + 6, 690), fill=(214, 164, 92))
    draw.rectangle((770, 206, 1150, 236), fill=(150, 106, 58))
    draw.polygon([(800, 208), (960, 120), (1120, 208)], fill=(96, 68, 44))
    return picture


def _dial(draw: ImageDraw.ImageDraw, x: int, y: int, radius: int) -> None:
    for size, colour in ((radius, (58, 46, 36)), (radius - 14, (176, 134, 76)), (radius - 28, (44, 40, 40)),
                         (radius - 40, (226, 214, 186))):
        draw.ellipse((x - size, y - size, x + size, y + size), fill=colour)
    for hour in range(24):
        turn = hour / 24 * math.tau
        near, far = (radius - 92, radius - 52) if hour % 6 == 0 else (radius - 72, radius - 54)
        draw.line((x + near * math.sin(turn), y - near * math.cos(turn), x + far * math.sin(turn),
                   y - far * math.cos(turn)), fill=(72, 56, 42), width=10 if hour % 6 == 0 else 5)
    draw.pieslice((x - 190, y - 190, x + 190, y + 190), 18, 162, fill=(96, 132, 148))
    draw.arc((x - 190, y - 190, x + 190, y + 190), 0, 360, fill=(72, 56, 42), width=5)
    for turn, reach, wide in ((-0.62, radius - 80, 12), (1.9, radius - 150, 18)):
        draw.line((x - 46 * math.sin(turn), y + 46 * math.cos(turn), x + reach * math.sin(turn),
                   y - reach * math.cos(turn)), fill=(38, 32, 34), width=wide)
    draw.ellipse((x - 26, y - 26, x + 26, y + 26), fill=(150, 108, 58))


def _dust(picture: Image.Image, seed: int) -> Image.Image:
    dice = Random(seed)
    light = Image.new("RGB", SIZE)
    draw = ImageDraw.Draw(light)
    for _ in range(190):
        x, y, size = dice.uniform(200, 1720), dice.uniform(240, 1040), dice.uniform(1, 3.4)
        bright = round(dice.uniform(40, 130))
        draw.ellipse((x - size, y - size, x + size, y + size), fill=(bright, round(bright * 0.92), round(bright * 0.7)))
    return ImageChops.screen(picture, light.filter(ImageFilter.GaussianBlur(1.4)))


def _ferry(picture: Image.Image, x: float, y: float) -> Image.Image:
    draw = ImageDraw.Draw(picture)
    dark = (14, 16, 32)
    draw.polygon([(x - 250, y - 40), (x + 300, y - 52), (x + 250, y + 34), (x - 210, y + 34)], fill=dark)
    draw.rectangle((x - 170, y - 104, x + 170, y - 40), fill=(22, 24, 44))
    draw.rectangle((x - 70, y - 156, x + 90, y - 100), fill=(26, 28, 50))
    draw.polygon([(x - 128, y - 100), (x - 90, y - 100), (x - 96, y - 190), (x - 122, y - 190)], fill=(62, 30, 40))
    draw.line((x + 120, y - 104, x + 120, y - 236), fill=dark, width=6)
    lights = [(x - 150 + step * 46, y - 84) for step in range(7)] + [(x - 50 + step * 46, y - 138) for step in range(3)]
    for left, top in lights:
        draw.rectangle((left, top, left + 24, top + 20), fill=(255, 214, 140))
    for left, _ in lights[:7]:
        for step in range(9):
            wide = 12 + step * 3
            draw.line((left + 12 - wide / 2, y + 46 + step * 15, left + 12 + wide / 2, y + 46 + step * 15),
                      fill=mixed((255, 204, 126), (14, 20, 44), 0.3 + step / 13), width=3)
    picture = glow(picture, (x, y - 84), 240, (255, 196, 110), 0.42)
    return glow(picture, (x + 120, y - 238), 40, (255, 120, 100), 0.9)
