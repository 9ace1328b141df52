"""What one way of playing found for one point of view, and the way that shows any of it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from domain.story.play import Story
from domain.story.playtest.asking import Wanted
from domain.story.playtest.exploring import Counted, Explored
from domain.story.playtest.lengths import Lengths, lengths
from domain.story.playtest.machine import Machine
from domain.story.playtest.sampling import Play, Sampled, sample
from domain.story.playtest.survey import Survey
from domain.story.playtest.walks import Luck, along, minutes, seed_of, told, walked

Tell = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is at most."""

CHOICES_TOLD: Final = 60_000
"""Most decisions that the ways of one report list together; longer reports name only how long a way is."""


class Room:
    """How much a report may still tell."""

    def __init__(self) -> None:
        self.choices = CHOICES_TOLD
        self.luck = Luck()

    def fitting(self, way: dict[str, Any]) -> dict[str, Any]:
        """The way, without its decisions when there is no room for them."""
        if len(way["choices"]) > self.choices:
            return {**way, "choices": None, "picks": None}
        self.choices -= len(way["choices"])
        return way


class Evidence(Protocol):
    """Counts and proofs."""

    counted: Counted

    @property
    def complete(self) -> bool:
        """Whether what was not met can never be met."""
        ...

    def proof(self, first: int) -> dict[str, Any]:
        """The way to what was met first there."""
        ...

    def figures(self) -> dict[str, Any]:
        """How much was done, within which bounds."""
        ...

    def measured(self) -> dict[str, Any]:
        """The shortest and the longest play."""
        ...

    def trapped(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Where no end can be reached any more: scene, node and the way there."""
        ...


class Everything:
    """Evidence of an exploration."""

    def __init__(self, story: Story, survey: Survey, pov: str, wanted: Wanted, room: Room) -> None:
        self.story, self.pov, self.wanted, self.room = story, pov, wanted, room
        self.explored = Explored(Machine(story, survey, pov, wanted.variables, wanted.seed), wanted.bounds)
        self.counted = self.explored.counted
        self._lengths: Lengths | None = None

    def run(self, tell: Tell) -> None:
        for done in self.explored.run():
            tell(f"playing every path as {self.pov}", done, self.wanted.bounds.states)

    @property
    def complete(self) -> bool:
        return self.explored.complete

    def proof(self, first: int) -> dict[str, Any]:
        return self._told(self.explored.way_to(first))

    def _told(self, way: list[int]) -> dict[str, Any]:
        seed = self.wanted.seed
        walk = walked(self.story, self.pov, self.wanted.variables, way, seed or 0)
        if seed is None:
            seed = seed_of(walk.draws, self.room.luck)
        return self.room.fitting(told(self.story, walk, seed, self.wanted.words_per_minute))

    def figures(self) -> dict[str, Any]:
        found = self.explored
        return {
            "complete": found.complete, "bounds_reached": sorted(found.reached), "states": found.states,
            "transitions": found.transitions, "frontier": found.frontier, "depth": found.depth,
            "variables_in_state": len(found.machine.slots), "state_bits": found.machine.bits,
        }

    def _measures(self) -> Lengths:
        if self._lengths is None:
            self._lengths = lengths(self.explored)
        return self._lengths

    def measured(self) -> dict[str, Any]:
        measured = self._measures()
        ways = [self._told(along(self.explored, states)) if states else None
                for states in (measured.shortest, measured.longest)]
        return {"shortest": ways[0], "longest": ways[1], "loops": measured.loops,
                "exact": self.complete and not measured.loops}

    def trapped(self) -> list[tuple[str, str, dict[str, Any]]]:
        found: dict[int, int] = {}
        for state in self._measures().trapped:
            found.setdefault(self.explored.machine.stands[self.explored.spots[state]].place, state)
        places = self.explored.machine.survey.places
        return [
            (places[place].scene, places[place].node, self.proof(state)) for place, state in list(found.items())[:50]
        ]


class Plays:
    """Evidence of random plays."""

    def __init__(self, story: Story, survey: Survey, pov: str, wanted: Wanted, room: Room) -> None:
        self.story, self.survey, self.pov, self.wanted, self.room = story, survey, pov, wanted, room
        self.sampled = Sampled()
        self.counted = self.sampled.counted

    def run(self, tell: Tell) -> None:
        base = self.story.seed if self.wanted.seed is None else self.wanted.seed
        playing: Iterator[Sampled] = sample(
            self.story, self.survey, self.pov, self.wanted.variables, base, self.wanted.plays, self.wanted.steps
        )
        for done, sampled in enumerate(playing, 1):
            self.sampled, self.counted = sampled, sampled.counted
            if done % 16 == 0 or done == self.wanted.plays:
                tell(f"playing at random as {self.pov}", done, self.wanted.plays)

    @property
    def complete(self) -> bool:
        return False

    def proof(self, first: int) -> dict[str, Any]:
        number, step = divmod(first, self.wanted.steps + 1)
        play = self.sampled.kept[number]
        return self._told(play, play.way[:step])

    def _told(self, play: Play, way: list[int]) -> dict[str, Any]:
        walk = walked(self.story, self.pov, self.wanted.variables, way, play.seed)
        return self.room.fitting(told(self.story, walk, play.seed, self.wanted.words_per_minute))

    def figures(self) -> dict[str, Any]:
        plays = self.sampled.plays
        return {
            "complete": False, "bounds_reached": ["steps"] if self.sampled.endless else [], "plays": len(plays),
            "steps": self.sampled.steps, "finished": sum(play.finished for play in plays),
        }

    def measured(self) -> dict[str, Any]:
        ended = sorted((play for play in self.sampled.plays if play.finished), key=lambda play: play.words)
        if not ended:
            return {"shortest": None, "longest": None, "loops": bool(self.sampled.endless), "exact": False}
        rate = self.wanted.words_per_minute
        shown = [
            {"words": play.words, "minutes": minutes(play.words, rate), "seed": play.seed, "choices": None,
             "picks": None, "steps": None, "draws": None} for play in (ended[0], ended[-1], ended[len(ended) // 2])
        ]
        return {"shortest": shown[0], "longest": shown[1], "median": shown[2], "loops": bool(self.sampled.endless),
                "exact": False}

    def trapped(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [(play.scene, play.node, self._told(play, play.way)) for play in self.sampled.endless[:10]]
