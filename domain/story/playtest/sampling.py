"""Plays at random: seeded, so that each can be played again, and counted like an exploration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from domain.story.dice import MODULUS, Dice, drawn, thrown
from domain.story.play import At, Story, advanced, begun, coming, follow, ways
from domain.story.playtest.exploring import Counted, add
from domain.story.playtest.rooms import final
from domain.story.playtest.slots import PRESENCE, path_of
from domain.story.playtest.survey import Survey
from domain.story.program import Choice
from domain.story.variable_tree import MISSING, Variables, found

STRIDE: Final = 0x9E3779B1
"""From one play's seed to the next. Neighbouring seeds would make nearly the same first draw; these spread evenly."""

PICKING: Final = 0x5DEECE66
"""Makes the generator that picks at menus another one than the dice of the play."""


@dataclass(slots=True)
class Play:
    """One play: its seed, where it went (choices by index, as in a way), and whether it came to an end."""

    seed: int
    way: list[int]
    finished: bool
    words: int
    scene: str = ""
    node: str = ""


@dataclass(slots=True)
class Sampled:
    """Plays, and sums over all moments; what was met first is told as ``play * stride + step``."""

    counted: Counted = field(default_factory=Counted)
    plays: list[Play] = field(default_factory=list)
    kept: dict[int, Play] = field(default_factory=dict)
    endless: list[Play] = field(default_factory=list)
    steps: int = 0


def seeds(base: int, plays: int) -> Iterator[int]:
    """The seeds of so many plays, beginning with ``base`` itself."""
    return ((base + number * STRIDE) % MODULUS for number in range(plays))


def sample(story: Story, told: Survey, pov: str, variables: Mapping[str, Any] | None, base: int, plays: int,
           steps: int) -> Iterator[Sampled]:
    """Plays, each until its end or for so many steps; yields what was found so far after every play."""
    sampled = Sampled()
    player = _Player(story, told, sampled, steps, {**story.variables, **(variables or {})})
    for number, seed in enumerate(seeds(base, plays)):
        play = player.play(begun(story, seed=seed, pov=pov, variables=variables), number * (steps + 1))
        sampled.steps += len(play.way)
        sampled.plays.append(Play(play.seed, [], play.finished, play.words, play.scene, play.node))
        if not play.finished and len(sampled.endless) < 20:
            sampled.endless.append(play)
        yield sampled


class _Player:
    """Plays one play after another and counts what is met."""

    def __init__(self, story: Story, told: Survey, sampled: Sampled, steps: int, shared: Variables) -> None:
        self.story, self.told, self.sampled, self.steps, self.shared = story, told, sampled, steps, shared
        self.firsts = 0
        self.news = False

    def play(self, at: At, first: int) -> Play:
        menus = thrown(at.dice.seed ^ PICKING)
        play = Play(at.dice.seed, [], False, 0)
        self.firsts = first
        self.news = False
        self._doors(at, self.shared, 0)
        for _ in range(self.steps + 1):
            place = self.told.place_of[at.scene, at.node]
            play.words += self.told.places[place].words
            self._met(at, place)
            offered = ways(self.story, at)
            after, choice, menus = self._on(at, offered, menus)
            if after is None:
                play.finished = coming(self.story, at) == "finished"
                break
            if choice is not None:
                way = self.told.first_way[place] + choice.index
                self._add(self.sampled.counted.taken, way)
            play.way.append(choice.index if choice is not None else 0xFFFF)
            at = after
            self.firsts += 1
        play.scene, play.node = at.scene, at.node
        if self.news:
            self.sampled.kept[first // (self.steps + 1)] = play
        return play

    def _on(self, at: At, offered: tuple[Choice, ...], menus: Dice) -> tuple[At | None, Choice | None, Dice]:
        match coming(self.story, at):
            case "finished":
                return None, None, menus
            case "ask":
                draw, menus = drawn(menus)
                choice = offered[int(draw * len(offered))]
                return follow(self.story, at, choice), choice, menus
        after, taken = advanced(self.story, at)
        return after, taken, menus

    def _met(self, at: At, place: int) -> None:
        counted, story = self.sampled.counted, self.story
        self._add(counted.places, place)
        first_way = self.told.first_way[place]
        any_offered = False
        for choice in story.node(at).seen_by(at.pov):
            if self._ask(self.told.rules_of_way[first_way + choice.index], at.variables):
                any_offered = True
                self._add(counted.offered, first_way + choice.index)
        if not any_offered:
            self._add(counted.stuck, place)
            if not final(story, at.entry, at.scene):
                own = story.scenes[at.scene].variables
                left = {name: value for name, value in at.variables.items() if name not in own}
                self._doors(at, left, at.entry + 1)
        if at.finished:
            self._add(counted.over, place)

    def _doors(self, at: At, variables: Variables, gate: int) -> None:
        for entry in range(gate, len(self.story.entries)):
            for number, one in enumerate(self.story.entries[entry].alternatives):
                seen = not one.visible_to or at.pov in one.visible_to
                if seen and self._ask(self.told.rules_of_door[entry, number], variables):
                    return

    def _ask(self, rules: tuple[int, ...], variables: Variables) -> bool:
        together = True
        for one in rules:
            rule = self.told.rules[one]
            held = rule.test(variables)
            together = together and held
            self._add(self.sampled.counted.held if held else self.sampled.counted.failed, one)
            if rule.document["operator"] not in PRESENCE and found(variables, path_of(rule.document)) is MISSING:
                self._add(self.sampled.counted.missing, one)
        return together

    def _add(self, sums: dict[int, list[int]], key: int) -> None:
        self.news = self.news or key not in sums
        add(sums, key, 1, self.firsts)
