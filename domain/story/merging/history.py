"""Worldlines as a graph: what a version of one includes of the others, and the best version that two have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from domain.ids import MAIN


class Version(NamedTuple):
    """A worldline as it was at a position."""

    worldline: str
    position: int


class Line(NamedTuple):
    """Where a worldline left its parent."""

    parent: str
    forked_at: int


class Past(NamedTuple):
    """A merge that was recorded at a position: what was merged in, as of when. ``only`` names the documents
    (``scene/intro``) and categories (``scene``) that it was about; empty is all."""

    position: int
    source: Version
    only: frozenset[str] = frozenset()

    def about(self, category: str, id_: str) -> bool:
        return not self.only or category in self.only or f"{category}/{id_}" in self.only


@dataclass(slots=True)
class History:
    """``line(name)`` is where a worldline left its parent (nothing for ``main``); ``merges(name)`` what was merged
    into it, by position. Both are asked once for each worldline."""

    line: Callable[[str], Line]
    merges: Callable[[str], Sequence[Past]]
    _lines: dict[str, Line] = field(default_factory=dict)
    _merges: dict[str, Sequence[Past]] = field(default_factory=dict)

    def parent(self, worldline: str) -> Line | None:
        """Where a worldline left its parent."""
        if worldline == MAIN:
            return None
        if worldline not in self._lines:
            self._lines[worldline] = self.line(worldline)
        return self._lines[worldline]

    def merged_into(self, worldline: str) -> Sequence[Past]:
        """What was merged into a worldline, by position."""
        if worldline not in self._merges:
            self._merges[worldline] = self.merges(worldline)
        return self._merges[worldline]

    def chain(self, version: Version) -> list[Version]:
        """The versions along which a document is read, nearest first."""
        found = [version]
        while (line := self.parent(version.worldline)) is not None:
            version = Version(line.parent, min(version.position, line.forked_at))
            found.append(version)
        return found


Counts = Callable[[Past], bool]


def whole(past: Past) -> bool:
    """Only merges of everything count."""
    return not past.only


def known(history: History, version: Version, counts: Counts = whole) -> dict[str, int]:
    """How far a version includes each worldline: its own past, its parent's up to the fork, and what was merged in."""
    found: dict[str, int] = {}
    pending = [version]
    while pending:
        worldline, position = pending.pop()
        before = found.get(worldline, -1)
        if position <= before:
            continue
        found[worldline] = position
        if (line := history.parent(worldline)) is not None:
            pending.append(Version(line.parent, min(position, line.forked_at)))
        pending += [
            past.source for past in history.merged_into(worldline)
            if before < past.position <= position and counts(past)
        ]
    return found


def bases(history: History, one: Version, other: Version, counts: Counts = whole) -> list[Version]:
    """The newest versions that both include, of which none includes another; newest first.

    There is one unless worldlines were merged into each other crosswise, or one version where one includes the other.
    """
    mine, yours = known(history, one, counts), known(history, other, counts)
    common = [Version(name, min(mine[name], yours[name])) for name in mine if name in yours]
    include = {version: known(history, version, counts) for version in common}
    best = [
        version for version in common
        if not any(_beyond(include[another], include[version], version, another) for another in common)
    ]
    return sorted(best, key=lambda version: (-version.position, version.worldline))


def _beyond(wider: dict[str, int], narrower: dict[str, int], version: Version, another: Version) -> bool:
    """Whether another version includes this one; of two that include each other, the first by name stays."""
    if version == another or wider.get(version.worldline, -1) < version.position:
        return False
    mutual = narrower.get(another.worldline, -1) >= another.position
    return not mutual or another.worldline < version.worldline
