"""What somebody should look at: each finding with its place, a sentence, and a way that shows it where there is one.

``error``: a player is stuck. ``warning``: something was written that no player meets, or is asked for before it is
there. ``note``: odd, and perhaps meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from domain.story.play import Story
from domain.story.playtest.asking import Wanted
from domain.story.playtest.evidence import Evidence
from domain.story.playtest.survey import Survey, node_of
from domain.story.program import Node

SHOWN: Final = 200
"""Most findings of one kind that are listed; how many there are is told all the same."""


def view_findings(
    story: Story, told: Survey, pov: str, evidence: Evidence, playable: bool, mode: str
) -> list[dict[str, Any]]:
    """Findings that hold for one point of view."""
    if not playable:
        return [_finding("nothing_to_play", "error", f"No scene may begin for {pov}.", pov=pov)]
    found = [*_dead_ends(story, told, pov, evidence), *_missing(told, pov, evidence)]
    for scene, node, way in evidence.trapped():
        kind, text = ("no_way_out", "From {} on, no end can be reached any more.")
        if mode == "random":
            kind, text = ("endless", "A play did not come to an end; it stood at {} when the bound was reached.")
        found.append(_finding(kind, "error", text.format(f"{scene}/{node}"), pov=pov, scene=scene, node=node, path=way))
    if not evidence.counted.over and evidence.complete:
        found.append(_finding("no_end", "error", f"No play of {pov} ever ends.", pov=pov))
    return found


def _finding(kind: str, severity: str, message: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "severity": severity, "message": message, **more}


def _dead_ends(story: Story, told: Survey, pov: str, evidence: Evidence) -> Iterator[dict[str, Any]]:
    rows = sorted(evidence.counted.stuck.items(), key=lambda one: one[1][1])
    shown = 0
    for place, (hits, first) in rows:
        where = told.places[place]
        node = node_of(story, where)
        dead = _dead(node, pov)
        if dead is None or shown >= SHOWN:
            continue
        shown += 1
        kind, severity, text = dead
        if place not in evidence.counted.over and severity == "error":
            severity, text = "warning", text + " The story goes on with the next scene."
        yield _finding(kind, severity, text.format(f"{where.scene}/{where.node}"), pov=pov, scene=where.scene,
                       node=where.node, hits=hits, path=evidence.proof(first))


def _dead(node: Node, pov: str) -> tuple[str, str, str] | None:
    if node.document.get("end", False):
        return None
    if not any(choice.weight > 0 for choice in node.choices):
        return "unmarked_end", "note", "Nothing leads on from {}, and it is not marked as an end."
    if not node.seen_by(pov):
        return "dead_end", "error", "At {} every choice is for somebody else."
    return "dead_end", "error", "At {} it can be that no choice is offered."


def _missing(told: Survey, pov: str, evidence: Evidence) -> Iterator[dict[str, Any]]:
    for number, (hits, first) in sorted(evidence.counted.missing.items())[:SHOWN]:
        rule = told.rules[number]
        where = "/".join(rule.where)
        at_start = rule.where[0] == "entries" and first == 0
        yield _finding(
            "read_before_set", "warning", f"{rule.document['key']} is asked for at {where} before anything has set it.",
            pov=pov, key=rule.document["key"], where=where, hits=hits,
            path=None if at_start else evidence.proof(first),
        )


def story_findings(
    story: Story, told: Survey, union: Mapping[str, Sequence[Mapping[str, Any]]], used: Sequence[Mapping[str, Any]],
    complete: bool, wanted: Wanted,
) -> list[dict[str, Any]]:
    """Findings that hold for every point of view that was played."""
    sure = "" if complete else " within the bounds"
    found = [
        *_unreached(union["nodes"], sure), *_unoffered(union["choices"], sure), *_one_sided(union["conditions"], sure),
        *_variables(used),
    ]
    return list(_bounded(found))


def _bounded(found: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    counts: dict[str, int] = {}
    for one in found:
        counts[one["kind"]] = counts.get(one["kind"], 0) + 1
        if counts[one["kind"]] <= SHOWN:
            yield one
    for kind, count in counts.items():
        if count > SHOWN:
            yield _finding(kind, "note", f"{count - SHOWN} more of this kind are not listed.", more=count - SHOWN)


def _unreached(rows: Sequence[Mapping[str, Any]], sure: str) -> Iterator[dict[str, Any]]:
    for row in rows:
        here = {"scene": row["scene"], "node": row["node"]}
        name = f"{row['scene']}/{row['node']}"
        if row["status"] == "no_way":
            yield _finding("unreachable", "warning", f"No chain of choices leads to {name}.", **here)
        elif row["status"] in ("never", "not_met"):
            text = f"Choices lead to {name}, and it was never reached{sure}."
            yield _finding("never_reached", "warning" if not sure else "note", text, **here)


_WHY: Final = {
    "weight_zero": ("note", "has weight 0, so it is never offered"),
    "for_others": ("warning", "is only for points of view that were not played"),
    "never": ("warning", "is never offered: its conditions never hold together"),
    "not_met": ("note", "was never offered"),
    "offered": ("note", "was offered and never taken"),
}


def _unoffered(rows: Sequence[Mapping[str, Any]], sure: str) -> Iterator[dict[str, Any]]:
    for row in rows:
        why = _WHY.get(row["status"])
        if why is None:
            continue
        kind = "never_taken" if row["status"] == "offered" else "never_offered"
        told = why[1] + (sure if row["status"] == "not_met" else "")
        yield _finding(kind, why[0], f"Choice {row['choice']} of {row['scene']}/{row['node']} {told}.",
                       scene=row["scene"], node=row["node"], choice=row["choice"], index=row["index"])


def _one_sided(rows: Sequence[Mapping[str, Any]], sure: str) -> Iterator[dict[str, Any]]:
    for row in rows:
        if row["status"] in ("never_true", "never_false"):
            side = row["status"].removeprefix("never_")
            severity = "warning" if side == "true" and not sure else "note"
            told = f"The condition {row['key']} {row['operator']} at {row['where']} was never {side}{sure}."
            yield _finding(row["status"], severity, told, where=row["where"], key=row["key"])


def _variables(used: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in used:
        if row["status"] == "never_read":
            text = f"{row['key']} is set and no condition ever asks for it."
            yield _finding("set_never_read", "note", text, key=row["key"], where=row["set_at"][0])
        elif row["status"] == "never_set":
            text = f"{row['key']} is asked for and nothing ever sets it."
            yield _finding("read_never_set", "warning", text, key=row["key"], where=row["read_at"][0])
        elif row["status"] == "idle":
            yield _finding("never_used", "note", f"{row['key']} is declared and never used.", key=row["key"])
