"""Which variables a story declares, sets and asks for, and which of these never meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from domain.story.play import Story
from domain.story.playtest.slots import Path, overlaps, path_of
from domain.story.playtest.survey import Survey, scenes_of

SHOWN: Final = 20
"""Most places that are named for one variable."""


@dataclass(slots=True)
class Used:
    """One path: where it is set and where it is asked for, as addresses, and whether it is there from the beginning."""

    path: Path
    reads: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    declared: bool = False


def variables_used(story: Story, told: Survey) -> list[dict[str, Any]]:
    """Every path, in order: ``{"key", "declared", "reads", "writes", "read_at", "set_at", "status"}``.

    ``status`` is ``used``, ``never_read`` (set and never asked for), ``never_set`` (asked for, and nothing ever sets
    it) or ``idle`` (declared, and nothing else).
    """
    used: dict[Path, Used] = {}

    def of(path: Path) -> Used:
        return used.setdefault(path, Used(path))

    for name in _declared(story):
        of((name,)).declared = True
    for rule in told.rules:
        of(path_of(rule.document)).reads.append("/".join(rule.where))
    for where, action in _actions(story):
        of(path_of(action)).writes.append(where)
    by_root: dict[str, list[Used]] = {}
    for one in used.values():
        by_root.setdefault(one.path[0], []).append(one)
    return [_told(one, by_root[one.path[0]]) for _, one in sorted(used.items())]


def _told(one: Used, near: list[Used]) -> dict[str, Any]:
    related = [other for other in near if overlaps(one.path, other.path)]
    read = any(other.reads for other in related)
    written = any(other.writes for other in related)
    declared = any(other.declared for other in related)
    status = "used"
    if one.writes and not read:
        status = "never_read"
    elif one.reads and not written and not declared:
        status = "never_set"
    elif one.declared and not read and not written:
        status = "idle"
    return {
        "key": ".".join(one.path), "declared": one.declared, "reads": len(one.reads), "writes": len(one.writes),
        "read_at": one.reads[:SHOWN], "set_at": one.writes[:SHOWN], "status": status,
    }


def _declared(story: Story) -> set[str]:
    names = {str(name) for name in story.variables}
    for name in story.content.get("declarations") or {}:
        names.add(str(name).split(".")[0])
    for scene in scenes_of(story):
        names.update(story.scenes[scene].variables)
    return names


def _actions(story: Story) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for scene in scenes_of(story):
        for node in story.scenes[scene].nodes.values():
            where = f"scenes/{scene}/nodes/{node.id}"
            for number, action in enumerate(node.document.get("actions", ())):
                yield f"{where}/actions/{number}", action
            for choice in node.choices:
                for number, action in enumerate(choice.document.get("actions", ())):
                    yield f"{where}/choices/{choice.id}/actions/{number}", action
