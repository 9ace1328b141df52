"""The slow, plain way to play every path: whole variables as they are, the runner's own steps, no number anywhere.

It is what the quick engine is held against.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from domain.story.play import At, Story, advanced, begun, coming, follow, ways
from domain.story.variable_tree import MISSING, found


@dataclass
class Plain:
    """What was met, by names: nodes with the fewest steps to them, choices, sides of conditions, ends."""

    complete: bool = True
    states: int = 0
    nodes: dict[tuple[str, str], int] = field(default_factory=dict)
    offered: set[tuple[str, str, int]] = field(default_factory=set)
    sides: set[tuple[tuple[str, ...], bool]] = field(default_factory=set)
    missing: set[tuple[str, ...]] = field(default_factory=set)
    ends: dict[tuple[str, str], int] = field(default_factory=dict)


def frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return ("object", frozenset((name, frozen(one)) for name, one in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(frozen(one) for one in value))
    return value


def key(at: At) -> Any:
    return (at.entry, at.scene, at.node, at.finished, frozen(at.variables))


def explored(story: Story, pov: str, limit: int = 2000) -> Plain:
    """Breadth first over every choice; stops at ``limit`` states."""
    plain = Plain()
    start = begun(story, pov=pov)
    opened = story.content["entries"]
    _doors(plain, story, pov, 0, dict(story.variables))
    assert opened
    seen = {key(start): 0}
    waiting = deque([(start, 0)])
    while waiting:
        at, steps = waiting.popleft()
        _meet(plain, story, at, steps)
        for after in _after(story, at):
            if key(after) not in seen:
                if len(seen) >= limit:
                    plain.complete = False
                    continue
                seen[key(after)] = steps + 1
                waiting.append((after, steps + 1))
    plain.states = len(seen)
    return plain


def _after(story: Story, at: At) -> list[At]:
    match coming(story, at):
        case "finished":
            return []
        case "scene":
            return [advanced(story, at)[0]]
    return [follow(story, at, choice) for choice in ways(story, at)]


def _meet(plain: Plain, story: Story, at: At, steps: int) -> None:
    plain.nodes.setdefault((at.scene, at.node), steps)
    node = story.node(at)
    for choice in node.seen_by(at.pov):
        where = ("scenes", at.scene, "nodes", at.node, "choices", choice.id, "conditions")
        _ask(plain, where, choice.document.get("conditions", ()), choice.tests, at.variables)
    for choice in ways(story, at):
        plain.offered.add((at.scene, at.node, choice.index))
    if at.finished:
        plain.ends.setdefault((at.scene, at.node), steps)
    final = any(one.scene == at.scene and one.final for one in story.entries[at.entry].alternatives)
    if not ways(story, at) and not final:
        own = story.scenes[at.scene].variables
        left = {name: value for name, value in at.variables.items() if name not in own}
        _doors(plain, story, at.pov, at.entry + 1, left)


def _doors(plain: Plain, story: Story, pov: str, first: int, variables: dict[str, Any]) -> None:
    for index in range(first, len(story.entries)):
        written, entry = story.content["entries"][index], story.entries[index]
        grouped = "alternatives" in written
        own = written.get("conditions", []) if grouped else []
        for number, one in enumerate(entry.alternatives):
            if one.visible_to and pov not in one.visible_to:
                continue
            told = written["alternatives"][number] if grouped else written
            where = ("entries", entry.id, *(("alternatives", str(number)) if grouped else ()), "conditions")
            if _ask(plain, where, [*own, *told.get("conditions", [])], one.tests, variables):
                return


def _ask(plain: Plain, where: tuple[str, ...], conditions: Any, tests: Any, variables: Any) -> bool:
    together = True
    for number, (condition, test) in enumerate(zip(conditions, tests, strict=True)):
        held = test(variables)
        together = together and held
        plain.sides.add(((*where, str(number)), held))
        absent = found(variables, condition["key"].split(".")) is MISSING
        if absent and condition["operator"] not in ("exists", "not_exists"):
            plain.missing.add((*where, str(number)))
    return together
