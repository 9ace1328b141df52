"""The graph of a story as SVG: a box for every scene, in the order of the story, and in it its nodes in layers.

Coordinates and colours are attributes and classes, never style attributes, so that a page without inline styles may
hold it. Everything from the story is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Final, NamedTuple

from domain.story.play import Story
from domain.story.playtest.survey import Survey, node_of, scenes_of
from services.playtest.layout import GAP, HEIGHT, WIDTH, Drawn, Point, layout

MARGIN: Final = 34.0
HEAD: Final = 40.0
"""Room for the name of a scene."""

LETTERS: Final = 20
"""Longest name on a node."""


class Picture(NamedTuple):
    """An SVG's content, its size, and for every choice whether it was drawn."""

    content: str
    width: float
    height: float


def picture(story: Story, told: Survey) -> Picture:
    """Draws a story; nodes are ``<g class="n" data-i>`` with the number of their place, choices ``<path data-w>``."""
    names = scenes_of(story)
    boxes = [_scene(story, told, name) for name in names]
    corners = _packed([(one.width + 2 * MARGIN, one.height + 2 * MARGIN + HEAD) for one in boxes])
    order = _order(story)
    parts: list[str] = []
    width = height = 0.0
    for name, box, corner in zip(names, boxes, corners, strict=True):
        wide, high = box.width + 2 * MARGIN, box.height + 2 * MARGIN + HEAD
        width, height = max(width, corner.x + wide), max(height, corner.y + high)
        title = str(story.scenes[name].document.get("title") or name)
        parts.append(
            f'<g class="scene" transform="translate({_n(corner.x)} {_n(corner.y)})">'
            f'<rect class="box" width="{_n(wide)}" height="{_n(high)}" rx="14"/>'
            f'<text class="order" x="{_n(MARGIN / 2)}" y="26">{escape(order.get(name, ""))}</text>'
            f'<text class="title" x="{_n(MARGIN / 2 + 9 * len(order.get(name, "")) + 12)}" y="26">'
            f"{escape(_short(title, 60))}</text>"
            f'<g transform="translate({_n(MARGIN)} {_n(MARGIN + HEAD)})">'
        )
        parts += _edges(story, told, name, box)
        parts += _nodes(story, told, name, box)
        parts.append("</g></g>")
    return Picture("".join(parts), width, height)


def _scene(story: Story, told: Survey, name: str) -> Drawn:
    program = story.scenes[name]
    numbers = {id_: number for number, id_ in enumerate(program.nodes)}
    edges = [(numbers[node.id], numbers[choice.target]) for node in program.nodes.values() for choice in node.choices]
    return layout(len(numbers), edges, numbers[program.start])


def _order(story: Story) -> dict[str, str]:
    """Where each scene stands in the story: ``1``, ``2a``, ``2b``, …"""
    found: dict[str, list[str]] = {}
    for number, entry in enumerate(story.entries, 1):
        for place, one in enumerate(entry.alternatives):
            letter = chr(97 + place) if 1 < len(entry.alternatives) <= 26 else f".{place + 1}" * (place > 25)
            found.setdefault(one.scene, []).append(f"{number}{letter}")
    return {scene: " ".join(places[:3]) + (" …" if len(places) > 3 else "") for scene, places in found.items()}


def _packed(sizes: Sequence[tuple[float, float]]) -> list[Point]:
    """Boxes from left to right in lines, like words of a text that is about as high as wide."""
    widest = max(max(wide for wide, _ in sizes), math.sqrt(sum(wide * high for wide, high in sizes) * 1.7))
    corners, x, y, line = [], 0.0, 0.0, 0.0
    for wide, high in sizes:
        if x and x + wide > widest:
            x, y, line = 0.0, y + line + MARGIN, 0.0
        corners.append(Point(x, y))
        x, line = x + wide + MARGIN, max(line, high)
    return corners


def _nodes(story: Story, told: Survey, name: str, box: Drawn) -> list[str]:
    parts = []
    start = story.scenes[name].start
    for corner, (id_, node) in zip(box.corners, story.scenes[name].nodes.items(), strict=True):
        place = told.place_of[name, id_]
        document = node_of(story, told.places[place]).document
        said = " ".join(str(document.get("text", "")).split())
        speaker = str(document.get("speaker", ""))
        line = f"{speaker}: {said}" if speaker else said
        mark = '<path class="begin" d="M-9 15l7 8-7 8z"/>' if id_ == start else ""
        parts.append(
            f'<g class="n m-{node.manner}" data-i="{place}" transform="translate({_n(corner.x)} {_n(corner.y)})">'
            f'{mark}<rect width="{_n(WIDTH)}" height="{_n(HEIGHT)}" rx="9"/>'
            f'<text class="id" x="12" y="19">{escape(_short(id_, LETTERS))}</text>'
            f'<text class="say" x="12" y="35">{escape(_short(line, 25))}</text></g>'
        )
    return parts


def _edges(story: Story, told: Survey, name: str, box: Drawn) -> list[str]:
    parts, number = [], 0
    numbers = {id_: one for one, id_ in enumerate(story.scenes[name].nodes)}
    for source, node in zip(box.corners, story.scenes[name].nodes.values(), strict=True):
        place = told.place_of[name, node.id]
        for order, choice in enumerate(node.choices):
            target = box.corners[numbers[choice.target]]
            port = source.x + WIDTH * (order + 1) / (len(node.choices) + 1)
            path = _back(source, target, order) if box.back[number] else _down(port, source, target, box.bends[number])
            parts.append(f'<path class="e" data-w="{told.first_way[place] + order}" d="{path}"/>')
            number += 1
    return parts


def _down(port: float, source: Point, target: Point, bends: Sequence[Point]) -> str:
    points = [Point(port, source.y + HEIGHT), *bends, Point(target.x + WIDTH / 2, target.y - 5)]
    path = [f"M{_n(points[0].x)} {_n(points[0].y)}"]
    for one, other in pairwise(points):
        middle = (one.y + other.y) / 2
        if other.y < one.y:  # into the next column
            path.append(f"C{_n(one.x)} {_n(one.y + 40)} {_n(other.x)} {_n(other.y - 40)} {_n(other.x)} {_n(other.y)}")
        else:
            path.append(f"C{_n(one.x)} {_n(middle)} {_n(other.x)} {_n(middle)} {_n(other.x)} {_n(other.y)}")
    return "".join(path)


def _back(source: Point, target: Point, order: int) -> str:
    """Around the right side, upwards."""
    right = max(source.x, target.x) + WIDTH
    away = right + GAP * 0.8 + 5 * (order % 4)
    begin, end = source.y + HEIGHT * 0.7, target.y + HEIGHT * 0.3
    return (f"M{_n(source.x + WIDTH)} {_n(begin)}C{_n(away)} {_n(begin)} {_n(away)} {_n(end)} "
            f"{_n(target.x + WIDTH + 5)} {_n(end)}")


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
