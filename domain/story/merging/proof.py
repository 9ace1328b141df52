"""What playing a story before and after a merge shows: which endings there are, which appeared and which vanished."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from domain.canonical import digest
from domain.story.play import Story, content_digest
from domain.story.playtest.exploring import Bounds, Explored
from domain.story.playtest.machine import Machine
from domain.story.playtest.survey import povs_of, survey

STATES: Final = 4_000
"""Most states that are looked at for each point of view: a merge must not wait for a whole playtest."""

POVS: Final = 4
"""Most points of view that are played; the story's own is the first."""

SHOWN: Final = 50
"""Most endings that one list names."""


PATHS: Final = ("id", "type", "actions", "end")
WAYS: Final = ("id", "target", "weight", "conditions", "actions", "visible_to")


def skeleton(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Of a scene's fields what paths depend on: not texts, looks or notes. Labels only as far as there are any."""
    nodes = {}
    for path, value in fields.items():
        if path.startswith("nodes/"):
            node = value["node"]
            ways = [
                {**{name: one[name] for name in WAYS if name in one}, "label": bool(one.get("label"))}
                for one in node.get("choices", ())
            ]
            nodes[path] = {**{name: node[name] for name in PATHS if name in node}, "choices": ways}
    return {**{name: fields.get(name) for name in ("start", "variables", "default_pov")}, "nodes": nodes}


def played(story: Story, states: int = STATES) -> dict[str, Any]:
    """Every path of a story within bounds: for each point of view the nodes at which it ends (``scene/node``), how many
    states were looked at, and whether these are all."""
    told = survey(story)
    views = {}
    for pov in povs_of(story)[:POVS]:
        explored = Explored(Machine(story, told, pov, None, None), Bounds(states=states))
        for _ in explored.run():
            pass
        ends = (told.places[one] for one in explored.counted.over)
        views[pov] = {
            "endings": sorted(f"{one.scene}/{one.node}" for one in ends), "states": explored.states,
            "complete": explored.complete,
        }
    return views


def proof(before: Story | None, after: Story, states: int = STATES) -> dict[str, Any]:
    """What a merged story shows, and what is otherwise than before (nothing could be played before: ``None``)."""
    now = played(after, states)
    was = played(before, states) if before is not None else {}
    views = []
    for pov, view in now.items():
        ended = set(was.get(pov, {}).get("endings", ()))
        ends = set(view["endings"])
        views.append({
            "pov": pov, "endings": len(ends), "appeared": sorted(ends - ended)[:SHOWN],
            "vanished": sorted(ended - ends)[:SHOWN], "states": view["states"],
            "complete": view["complete"] and was.get(pov, {}).get("complete", True),
        })
    told = {"playable": True, "content": content_digest(after), "views": views}
    return {**told, "digest": digest({**told, "endings": {pov: view["endings"] for pov, view in now.items()}})}
