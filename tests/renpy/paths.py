"""Every path of a story for one point of view and seed, found by trying each menu's options in turn.

It shares nothing with the playtest: a path is the list of menu picks from the start, and it is played from the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from domain.story import play


@dataclass(frozen=True, slots=True)
class Path:
    """One play: which option was picked at each menu, every moment in the shape of ``play.recorded``, and the generator
    (seed, value, uses) at each.

    ``cut``: the play was stopped after as many moments as are played at most, so the last moment has been left too.
    """

    picks: tuple[int, ...]
    steps: list[dict[str, Any]]
    dice: list[tuple[int, int, int]]
    cut: bool


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths to compare. ``whole``: they are all that there are, up to the longest play."""

    paths: list[Path]
    whole: bool


def played(story: play.Story, pov: str, seed: int, picks: tuple[int, ...], moments: int) -> tuple[Path, int]:
    """A play by given picks, then by nobody: the path so far, and how many options wait at its end (0: it is over)."""
    at = play.begun(story, seed=seed, pov=pov)
    stations: list[play.Station] = []
    pending = list(picks)
    while len(stations) < moments:
        if at.finished:
            stations.append((at, None))
            return _path(story, picks, stations, cut=False), 0
        if play.coming(story, at) == "ask":
            ways = play.ways(story, at)
            if not pending:
                return _path(story, picks, [*stations, (at, None)], cut=False), len(ways)
            choice = ways[pending.pop(0)]
            stations.append((at, choice))
            at = play.follow(story, at, choice)
        else:
            after, taken = play.advanced(story, at)
            stations.append((at, taken))
            at = after
    return _path(story, picks, stations, cut=True), 0


def _path(story: play.Story, picks: tuple[int, ...], stations: list[play.Station], *, cut: bool) -> Path:
    return Path(picks, play.recorded(story, stations), [tuple(at.dice) for at, _ in stations], cut)


def every_path(story: play.Story, pov: str, seed: int, moments: int) -> Iterator[Path]:
    """All paths, in the order of their picks."""
    pending: list[tuple[int, ...]] = [()]
    while pending:
        picks = pending.pop()
        path, options = played(story, pov, seed, picks, moments)
        if options:
            pending += [(*picks, option) for option in reversed(range(options))]
        else:
            yield path


def random_path(story: play.Story, pov: str, seed: int, moments: int, random: Random) -> Path:
    """One path with a random pick at each menu."""
    picks: tuple[int, ...] = ()
    while True:
        path, options = played(story, pov, seed, picks, moments)
        if not options:
            return path
        picks = (*picks, random.randrange(options))


def paths_of(story: play.Story, pov: str, seed: int, *, moments: int, most: int) -> Paths:
    """All paths where there are at most ``most``, else as many random ones, without doubles."""
    found = []
    for path in every_path(story, pov, seed, moments):
        if len(found) == most:
            break
        found.append(path)
    else:
        return Paths(found, whole=True)
    random = Random(f"paths {seed} {pov}")
    sampled = [random_path(story, pov, seed, moments, random) for _ in range(most)]
    return Paths(list({path.picks: path for path in sampled}.values()), whole=False)
