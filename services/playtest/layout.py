"""Where the nodes of a scene stand in a drawing: in layers from the start downwards, with few crossings.

Layers by the longest way, orders by the average place of neighbours (Sugiyama's method), and long scenes folded into
columns so that a drawing stays about as wide as it is high.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

WIDTH: Final = 168.0
HEIGHT: Final = 46.0
GAP: Final = 26.0
"""Between two nodes of a layer."""

STEP: Final = 88.0
"""From one layer to the next."""

BEND: Final = 18.0
"""Room for an edge that passes through a layer."""

SWEEPS: Final = 6
LONGEST_LAYER: Final = 400
"""Layers longer than this are left in the order in which they were found."""


class Point(NamedTuple):
    x: float
    y: float


class Drawn(NamedTuple):
    """Top left corners of the nodes, the bends of each edge from its source to its target, and the size of it all.

    ``back`` marks edges that lead to a layer above or to their own.
    """

    corners: list[Point]
    bends: list[list[Point]]
    back: list[bool]
    width: float
    height: float


def layout(count: int, edges: Sequence[tuple[int, int]], start: int) -> Drawn:
    """Places ``count`` nodes; ``edges`` are pairs of their numbers."""
    leads: list[list[int]] = [[] for _ in range(count)]
    for number, (source, _) in enumerate(edges):
        leads[source].append(number)
    order, back = _order(count, edges, leads, start)
    layer = _layers(count, edges, back, order)
    items, chains = _with_bends(count, edges, back, layer)
    rows = _rows(items, order, count)
    neighbours = _neighbours(len(items), edges, chains)
    _untangle(rows, neighbours)
    centres = _spread(rows, neighbours, count)
    return _folded(count, edges, back, items, chains, rows, centres)


def _order(count: int, edges: Sequence[tuple[int, int]], leads: list[list[int]], start: int
           ) -> tuple[list[int], list[bool]]:
    """Nodes so that every edge that is not marked leads forward."""
    colors, back, after = [0] * count, [False] * len(edges), list[int]()
    for root in (start, *range(count)):
        if colors[root]:
            continue
        colors[root] = 1
        path = [(root, iter(leads[root]))]
        while path:
            node, rest = path[-1]
            edge = next(rest, None)
            if edge is None:
                colors[node] = 2
                after.append(node)
                path.pop()
                continue
            target = edges[edge][1]
            if colors[target] == 1:
                back[edge] = True
            elif colors[target] == 0:
                colors[target] = 1
                path.append((target, iter(leads[target])))
    return after[::-1], back


def _layers(count: int, edges: Sequence[tuple[int, int]], back: list[bool], order: list[int]) -> list[int]:
    forward: list[list[int]] = [[] for _ in range(count)]
    for (source, target), away in zip(edges, back, strict=True):
        if not away:
            forward[source].append(target)
    layer = [0] * count
    for node in order:
        for target in forward[node]:
            layer[target] = max(layer[target], layer[node] + 1)
    return layer


def _with_bends(count: int, edges: Sequence[tuple[int, int]], back: list[bool], layer: list[int]
                ) -> tuple[list[int], list[list[int]]]:
    """The layer of every node and of every bend, and the items that each edge runs through."""
    items, chains = list(layer), []
    spans = sum(max(0, layer[target] - layer[source] - 1) for source, target in edges)
    roomy = spans <= 8 * count + 400
    for (source, target), away in zip(edges, back, strict=True):
        chain = [source]
        if roomy and not away:
            for between in range(layer[source] + 1, layer[target]):
                chain.append(len(items))
                items.append(between)
        chains.append([*chain, target])
    return items, chains


def _rows(items: list[int], order: list[int], count: int) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(max(items, default=0) + 1)]
    for item in (*order, *range(count, len(items))):
        rows[items[item]].append(item)
    return rows


def _neighbours(count: int, edges: Sequence[tuple[int, int]], chains: list[list[int]]
                ) -> tuple[list[list[int]], list[list[int]]]:
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for chain in chains:
        for one, other in pairwise(chain):
            below[one].append(other)
            above[other].append(one)
    return above, below


def _untangle(rows: list[list[int]], neighbours: tuple[list[list[int]], list[list[int]]]) -> None:
    place: dict[int, float] = {item: number for row in rows for number, item in enumerate(row)}
    for sweep in range(SWEEPS):
        near = neighbours[sweep % 2]
        for row in rows if sweep % 2 == 0 else reversed(rows):
            if not 1 < len(row) <= LONGEST_LAYER:
                continue
            wished = {item: _mean([place[one] for one in near[item]], place[item]) for item in row}
            row.sort(key=lambda item: (wished[item], place[item]))
            for number, item in enumerate(row):
                place[item] = number


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _spread(rows: list[list[int]], neighbours: tuple[list[list[int]], list[list[int]]], count: int) -> dict[int, float]:
    """The middle of every item from left to right: near its neighbours, and never too near its row."""
    def room(item: int) -> float:
        return WIDTH + GAP if item < count else BEND

    centre: dict[int, float] = {}
    for row in rows:
        x = -sum(room(item) for item in row) / 2
        for item in row:
            centre[item] = x + room(item) / 2
            x += room(item)
    above, below = neighbours
    for turn in range(8):
        for row in rows if turn % 2 == 0 else reversed(rows):
            near = above if turn % 2 == 0 else below
            wished = [_mean([centre[one] for one in near[item]], centre[item]) for item in row]
            for item, x in zip(row, _apart(wished, [room(item) for item in row]), strict=True):
                centre[item] = x
    return centre


def _apart(wished: list[float], rooms: list[float]) -> list[float]:
    """Places as near to the wished ones as the room of each allows, in the same order: pushed from both sides."""
    right, left = list(wished), list(wished)
    for number in range(1, len(wished)):
        right[number] = max(right[number], right[number - 1] + (rooms[number] + rooms[number - 1]) / 2)
    for number in range(len(wished) - 2, -1, -1):
        left[number] = min(left[number], left[number + 1] - (rooms[number] + rooms[number + 1]) / 2)
    return [(one + other) / 2 for one, other in zip(left, right, strict=True)]


def _folded(count: int, edges: Sequence[tuple[int, int]], back: list[bool], items: list[int], chains: list[list[int]],
            rows: list[list[int]], centres: dict[int, float]) -> Drawn:
    """Columns of layers from left to right, where one would be far higher than wide."""
    def half(item: int) -> float:
        return WIDTH / 2 if item < count else 2

    spans = [
        (min(centres[item] - half(item) for item in row), max(centres[item] + half(item) for item in row))
        for row in rows
    ]
    width = max(end for _, end in spans) - min(begin for begin, _ in spans)
    per = len(rows)
    if len(rows) > 24:
        per = max(16, math.ceil(math.sqrt(len(rows) * (width + 2 * GAP) / STEP / 1.4)))
    corners, middles = [Point(0, 0)] * count, dict[int, Point]()
    left = 0.0
    for first in range(0, len(rows), per):
        part = rows[first : first + per]
        begin = min(begin for begin, _ in spans[first : first + per])
        end = max(end for _, end in spans[first : first + per])
        for number, row in enumerate(part):
            for item in row:
                x, y = left + centres[item] - begin, number * STEP
                middles[item] = Point(x, y + HEIGHT / 2)
                if item < count:
                    corners[item] = Point(x - WIDTH / 2, y)
        left += end - begin + 3 * GAP
    bends = [[middles[item] for item in chain[1:-1]] for chain in chains]
    return Drawn(corners, bends, [
        away or (corners[target].y <= corners[source].y and corners[target].x <= corners[source].x + WIDTH)
        for (source, target), away in zip(edges, back, strict=True)
    ], left - 3 * GAP, min(len(rows), per) * STEP - STEP + HEIGHT)
