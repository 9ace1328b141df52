"""How long the plays of an explored story are, whether it can go round for ever, and where it cannot be ended."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from domain.story.playtest.exploring import Explored


class Lengths(NamedTuple):
    """The shortest and the longest play as states from the beginning to an end; empty where no end was reached.

    ``loops``: a play can come back to a state, so no play is the longest; ``longest`` never goes back then.
    ``trapped`` are the first states from which no end can be reached any more, as far as everything was explored.
    """

    shortest: list[int]
    longest: list[int]
    loops: bool
    trapped: list[int]


def lengths(explored: Explored) -> Lengths:
    """Measures in words: those of every moment that is met."""
    if not explored.states:
        return Lengths([], [], False, [])
    stands = explored.machine.stands
    weights = [explored.machine.survey.places[stand.place].words for stand in stands]
    words = [weights[spot] for spot in explored.spots]
    order, back = _order(explored)
    longest = _along(explored, words, order, back)
    loops = any(back)
    return Lengths(_nearest(explored, words), longest, loops, _trapped(explored))


def _order(explored: Explored) -> tuple[array[int], bytearray]:
    """States so that every step leads forward, and the steps (by number) that lead back all the same."""
    heads, tails, targets = explored.heads, explored.tails, explored.targets
    back = bytearray(len(targets))
    colors = bytearray(explored.states)
    after = array("I")
    path, steps = [0], [heads[0]]
    colors[0] = 1
    while path:
        state, step = path[-1], steps[-1]
        if step == tails[state]:
            colors[state] = 2
            after.append(state)
            path.pop()
            steps.pop()
            continue
        steps[-1] = step + 1
        target = targets[step]
        if colors[target] == 0:
            colors[target] = 1
            path.append(target)
            steps.append(heads[target])
        elif colors[target] == 1:
            back[step] = 1
    after.reverse()
    return after, back


def _along(explored: Explored, words: Sequence[int], order: array[int], back: bytearray) -> list[int]:
    heads, targets = explored.heads, explored.targets
    best = array("q", [-1]) * explored.states
    came = array("i", [-1]) * explored.states
    best[0] = words[0]
    for state in order:
        reached = best[state]
        for step in range(heads[state], explored.tails[state]):
            target = targets[step]
            if not back[step] and reached + words[target] > best[target]:
                best[target] = reached + words[target]
                came[target] = state
    ends = [state for state in range(explored.states) if explored.over[state]]
    return _back(max(ends, key=lambda state: (best[state], -state)), came) if ends else []


def _nearest(explored: Explored, words: Sequence[int]) -> list[int]:
    heads, targets = explored.heads, explored.targets
    came = array("i", [-1]) * explored.states
    best = array("q", [-1]) * explored.states
    best[0] = words[0]
    waiting = [(words[0], 0)]
    while waiting:
        reached, state = heapq.heappop(waiting)
        if reached > best[state]:
            continue
        if explored.over[state]:
            return _back(state, came)
        for step in range(heads[state], explored.tails[state]):
            target = targets[step]
            told = reached + words[target]
            if best[target] < 0 or told < best[target]:
                best[target] = told
                came[target] = state
                heapq.heappush(waiting, (told, target))
    return []


def _back(state: int, came: array[int]) -> list[int]:
    way = [state]
    while state:
        state = came[state]
        way.append(state)
    return way[::-1]


def _trapped(explored: Explored) -> list[int]:
    """States without a way to an end whose parent still has one."""
    states, heads, targets = explored.states, explored.heads, explored.targets
    starts = array("I", bytes(4 * (states + 1)))
    for target in targets:
        starts[target + 1] += 1
    for state in range(states):
        starts[state + 1] += starts[state]
    sources = array("I", bytes(4 * len(targets)))
    filled = array("I", starts)
    for state in range(states):
        for step in range(heads[state], explored.tails[state]):
            sources[filled[targets[step]]] = state
            filled[targets[step]] += 1
    can = bytearray(1 if over or cut else 0 for over, cut in zip(explored.over, explored.cut, strict=True))
    pending = [state for state in range(states) if can[state]]
    while pending:
        state = pending.pop()
        for step in range(starts[state], starts[state + 1]):
            if not can[sources[step]]:
                can[sources[step]] = 1
                pending.append(sources[step])
    return [state for state in range(states) if not can[state] and (state == 0 or can[explored.parents[state]])]
