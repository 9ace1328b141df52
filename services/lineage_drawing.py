"""The lineage of an asset as an SVG: what it was made from on the left, what was made from it on the right.

Coordinates and colours are attributes, never style attributes, and every name is escaped: a picture to look at, in
which nothing acts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

WIDTH: Final = 190
HEIGHT: Final = 52
GAP_X: Final = 70
GAP_Y: Final = 16
MARGIN: Final = 24
DRAWN: Final = 400
"""Most assets that are drawn; the nearest ones. The tree itself tells all."""

COLOURS: Final[Mapping[str, tuple[str, str]]] = {
    "valid": ("#e6f4ea", "#2e7d32"), "marked": ("#fff4e0", "#b26a00"), "unsigned": ("#f2f4f7", "#667085"),
}


def drawn(lineage: Mapping[str, Any]) -> str:
    """The picture of what ``ShowLineage`` answers."""
    nodes = sorted(lineage["nodes"], key=lambda one: (abs(one["generation"]), one["generation"], one["uid"]))
    left_out = len(nodes) - DRAWN
    nodes = nodes[:DRAWN]
    columns: dict[int, list[Mapping[str, Any]]] = {}
    for one in nodes:
        columns.setdefault(one["generation"], []).append(one)
    order = sorted(columns)
    tallest = max(len(column) for column in columns.values())
    height = MARGIN * 2 + tallest * (HEIGHT + GAP_Y) - GAP_Y + (24 if left_out > 0 or lineage["truncated"] else 0)
    width = MARGIN * 2 + len(order) * (WIDTH + GAP_X) - GAP_X
    corners: dict[str, tuple[float, float]] = {}
    for number, generation in enumerate(order):
        column = _ordered(columns[generation], lineage["edges"], corners)
        top = (height - len(column) * (HEIGHT + GAP_Y) + GAP_Y) / 2
        for place, one in enumerate(column):
            corners[one["uid"]] = (MARGIN + number * (WIDTH + GAP_X), top + place * (HEIGHT + GAP_Y))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="Lineage of {escape(lineage["uid"])}" font-family="system-ui, sans-serif">',
        f'<title>Lineage of {escape(lineage["uid"])}</title>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    parts += [_line(corners[one["from"]], corners[one["to"]]) for one in lineage["edges"]
              if one["from"] in corners and one["to"] in corners]
    parts += [_box(one, corners[one["uid"]], chosen=one["uid"] == lineage["uid"]) for one in nodes]
    if left_out > 0 or lineage["truncated"]:
        more = f"{left_out} more are not drawn" if left_out > 0 else "and more that were not followed"
        parts.append(f'<text x="{MARGIN}" y="{height - 12}" font-size="12" fill="#667085">… {more}</text>')
    return "".join(parts) + "</svg>\n"


def _ordered(
    column: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, str]], corners: Mapping[str, tuple[float, float]]
) -> list[Mapping[str, Any]]:
    """The boxes of a column at about the height of what they hang on to the left."""
    heights: dict[str, list[float]] = {}
    for one in edges:
        if one["from"] in corners:
            heights.setdefault(one["to"], []).append(corners[one["from"]][1])
    return sorted(column, key=lambda one: (
        sum(heights.get(one["uid"], [0.0])) / len(heights.get(one["uid"], [0.0])), one["uid"]
    ))


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    x, y = start[0] + WIDTH, start[1] + HEIGHT / 2
    to_x, to_y = end[0], end[1] + HEIGHT / 2
    bend = max((to_x - x) / 2, 30)
    return (f'<path d="M{x:.0f} {y:.0f}C{x + bend:.0f} {y:.0f} {to_x - bend:.0f} {to_y:.0f} {to_x:.0f} {to_y:.0f}" '
            'fill="none" stroke="#98a2b3" stroke-width="1.5"/>')


def _box(one: Mapping[str, Any], corner: tuple[float, float], *, chosen: bool) -> str:
    fill, ink = COLOURS.get(one["credentials"], COLOURS["unsigned"])
    if not one["known"]:
        fill, ink = "#ffffff", "#98a2b3"
    dashes = "" if one["known"] and not one["removed"] else ' stroke-dasharray="5 4"'
    made = " ".join(word for word in (one["engine"], one["model"]) if word) or one["how"] or one["kind"]
    x, y = corner
    return (
        f'<g><title>{escape(one["uid"])}: {escape(one["name"])}, credentials {escape(one["credentials"])}</title>'
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="9" fill="{fill}" stroke="{ink}" '
        f'stroke-width="{3 if chosen else 1.5}"{dashes}/>'
        f'<text x="{x + 12:.0f}" y="{y + 22:.0f}" font-size="13" fill="#101828">'
        f'{escape(_short(one["name"] or one["uid"], 24))}</text>'
        f'<text x="{x + 12:.0f}" y="{y + 40:.0f}" font-size="11" fill="{ink}">{escape(_short(made, 30))}</text></g>'
    )


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"
