"""The people of the sample story, painted from the waist up, each with three faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from services.demo.painting import Colour, Point, gradient, mixed, rounded

SIZE = (1200, 1560)
"""Painted at three times the size of the file."""


@dataclass(frozen=True)
class Person:
    """What makes one person look unlike another. ``hair`` and ``back`` are outlines, ``collar`` a coat's shape."""

    skin: Colour
    hair_colour: Colour
    coat: Colour
    scarf: Colour
    eyes: Colour
    back: tuple[Point, ...]
    hair: tuple[Point, ...]
    jaw: float
    shoulders: float
    beard: bool = False


MARA = Person(
    skin=(236, 194, 168), hair_colour=(122, 52, 38), coat=(38, 62, 92), scarf=(226, 170, 78), eyes=(60, 96, 84),
    back=((420, 330), (600, 235), (790, 330), (850, 560), (880, 800), (800, 905), (700, 860), (520, 860), (400, 915),
          (330, 800), (360, 560)),
    hair=((395, 560), (400, 380), (490, 280), (610, 258), (730, 290), (806, 390), (812, 570), (770, 520), (735, 425),
          (650, 400), (560, 470), (470, 480), (430, 530)),
    jaw=0.86, shoulders=330,
)

IVO = Person(
    skin=(206, 158, 126), hair_colour=(46, 42, 48), coat=(72, 66, 62), scarf=(126, 46, 50), eyes=(74, 62, 48),
    back=((430, 380), (600, 270), (780, 380), (800, 560), (740, 600), (470, 600), (402, 560)),
    hair=((398, 540), (392, 390), (470, 290), (600, 246), (740, 282), (818, 400), (806, 545), (780, 450), (700, 390),
          (640, 410), (560, 376), (480, 420), (424, 450)),
    jaw=1.0, shoulders=400, beard=True,
)

PEOPLE = {"mara": MARA, "ivo": IVO}
FACES = ("calm", "glad", "worried")


def portrait(person: Person, face: str) -> Image.Image:
    """A picture with a transparent ground."""
    layers = Image.new("RGBA", SIZE)
    _shape(layers, rounded(person.back), person.hair_colour, mixed(person.hair_colour, (10, 8, 16), 0.45))
    _coat(layers, person)
    _head(layers, person)
    _features(layers, person, face)
    _shape(layers, rounded(person.hair), mixed(person.hair_colour, (255, 196, 140), 0.12),
           mixed(person.hair_colour, (10, 8, 16), 0.2))
    return _rim_light(layers)


def _shape(picture: Image.Image, outline: Sequence[Point], top: Colour, bottom: Colour) -> None:
    mask = Image.new("L", SIZE)
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    ys = [y for _, y in outline]
    low, high = min(ys) / SIZE[1], max(ys) / SIZE[1]
    paint = gradient(SIZE, [(0.0, top), (max(0.0, low), top), (min(1.0, high), bottom), (1.0, bottom)])
    picture.paste(paint, (0, 0), mask.filter(ImageFilter.GaussianBlur(1)))


def _coat(picture: Image.Image, person: Person) -> None:
    wide, dark = person.shoulders, mixed(person.coat, (8, 8, 18), 0.45)
    skin = mixed(person.skin, (90, 40, 40), 0.25)
    _shape(picture, [(520, 760), (680, 760), (700, 980), (500, 980)], skin, mixed(skin, (40, 20, 30), 0.3))
    body = rounded([(600, 930), (745, 950), (600 + wide, 1040), (600 + wide + 90, 1250), (600 + wide + 110, 1700),
                    (600 - wide - 110, 1700), (600 - wide - 90, 1250), (600 - wide, 1040), (455, 950)])
    _shape(picture, body, mixed(person.coat, (255, 226, 190), 0.10), dark)
    for side in (-1, 1):
        lapel = [(600 + side * 30, 1130), (600 + side * 210, 940), (600 + side * 270, 1040), (600 + side * 120, 1300)]
        _shape(picture, lapel, mixed(person.coat, (255, 230, 200), 0.2), mixed(person.coat, (0, 0, 0), 0.1))
    draw = ImageDraw.Draw(picture)
    draw.line((600, 1150, 600, 1560), fill=(*dark, 255), width=8)
    for y in (1300, 1420):
        for x in (560, 640):
            draw.ellipse((x - 15, y - 15, x + 15, y + 15), fill=(198, 156, 92, 255))
            draw.ellipse((x - 10, y - 13, x + 4, y), fill=(238, 206, 146, 255))
    scarf = rounded([(455, 900), (600, 985), (745, 900), (775, 985), (690, 1070), (600, 1092), (510, 1070), (425, 985)])
    _shape(picture, scarf, mixed(person.scarf, (255, 255, 255), 0.12), mixed(person.scarf, (30, 10, 20), 0.35))
    end = rounded([(640, 1040), (735, 1030), (760, 1200), (730, 1300), (655, 1290), (640, 1180)])
    _shape(picture, end, person.scarf, mixed(person.scarf, (30, 10, 20), 0.4))


def _head(picture: Image.Image, person: Person) -> None:
    wide = 185 * (0.94 + 0.06 * person.jaw)
    chin = 130 * person.jaw
    side_line = [(wide * 0.8, 390), (wide, 560), (wide * 0.9, 690), (chin * 0.75, 800)]
    face = rounded([(600, 320), *((600 + x, y) for x, y in side_line), (600, 842),
                    *((600 - x, y) for x, y in reversed(side_line))])
    for side in (-1, 1):
        x = 600 + side * (wide + 4)
        _shape(picture, rounded([(x - 22, 560), (x + 22, 560), (x + 20, 650), (x - 16, 660)]),
               mixed(person.skin, (150, 60, 60), 0.16), mixed(person.skin, (110, 50, 50), 0.3))
    _shape(picture, face, mixed(person.skin, (255, 240, 220), 0.18), mixed(person.skin, (150, 80, 70), 0.2))
    blush = Image.new("RGBA", SIZE, (224, 104, 92, 0))
    draw = ImageDraw.Draw(blush)
    for x in (488, 712):
        draw.ellipse((x - 58, 648, x + 58, 722), fill=(224, 104, 92, 92))
    picture.alpha_composite(blush.filter(ImageFilter.GaussianBlur(24)))
    if person.beard:
        beard = rounded([(425, 640), (470, 715), (545, 722), (600, 708), (655, 722), (730, 715), (775, 640), (748, 762),
                         (685, 836), (600, 872), (515, 836), (452, 762)])
        _shape(picture, beard, mixed(person.hair_colour, person.skin, 0.22), person.hair_colour)


def _features(picture: Image.Image, person: Person, face: str) -> None:
    draw = ImageDraw.Draw(picture)
    ink = (*mixed(person.hair_colour, (20, 10, 20), 0.55), 255)
    lift = {"calm": 0, "glad": -10, "worried": -4}[face]
    for side in (-1, 1):
        x = 600 + side * 86
        inner, outer = x - side * 42, x + side * 50
        tilt = {"calm": 0, "glad": 4, "worried": -24}[face]
        draw.line([(inner, 520 + lift + tilt), (x + side * 4, 502 + lift), (outer, 518 + lift - tilt * 0.4)], fill=ink,
                  width=15, joint="curve")
        if face == "glad":
            draw.arc((x - 42, 568, x + 42, 640), 200, 340, fill=ink, width=12)
            continue
        draw.ellipse((x - 40, 566, x + 40, 632), fill=(248, 244, 240, 255))
        draw.ellipse((x - 26, 564, x + 26, 630), fill=(*person.eyes, 255))
        draw.ellipse((x - 13, 578, x + 13, 616), fill=(18, 14, 20, 255))
        draw.ellipse((x - 16, 574, x - 2, 590), fill=(255, 255, 255, 255))
        draw.arc((x - 46, 556, x + 46, 646), 196, 344, fill=ink, width=11)
    shade = (*mixed(person.skin, (140, 60, 50), 0.42), 255)
    draw.line([(604, 600), (614, 668), (590, 676)], fill=shade, width=7, joint="curve")
    lips = (*mixed(person.skin, (170, 50, 56), 0.62), 255)
    match face:
        case "glad":
            draw.chord((540, 700, 660, 786), 8, 172, fill=(126, 40, 46, 255))
            draw.chord((552, 728, 648, 760), 0, 180, fill=(250, 240, 232, 255))
            draw.arc((536, 690, 664, 786), 10, 170, fill=lips, width=9)
        case "worried":
            draw.arc((556, 744, 644, 796), 200, 340, fill=lips, width=11)
        case _:
            draw.arc((550, 700, 650, 762), 25, 155, fill=lips, width=10)


def _rim_light(picture: Image.Image) -> Image.Image:
    """Warm light from the left, cool shade on the right, and half of the pixels."""
    alpha = picture.getchannel("A")
    shifted = ImageChops.offset(alpha, 16, 6)
    rim = ImageChops.subtract(alpha, shifted).filter(ImageFilter.GaussianBlur(5))
    warm = Image.new("RGBA", SIZE, (255, 214, 150, 0))
    warm.putalpha(ImageChops.multiply(rim, alpha).point(lambda value: round(value * 0.75)))
    cool = Image.new("RGBA", SIZE, (30, 34, 78, 0))
    across = Image.linear_gradient("L").rotate(90).resize(SIZE).point(lambda value: round(value * 0.34))
    cool.putalpha(ImageChops.multiply(across, alpha))
    picture.alpha_composite(cool)
    picture.alpha_composite(warm)
    return picture.resize((SIZE[0] // 3, SIZE[1] // 3), Image.Resampling.LANCZOS)
