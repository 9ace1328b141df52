"""The report of a playtest: what was met and what never was, per point of view and for the story as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from json import dumps
from typing import Any, Final

from domain.errors import Invalid, Refused, Remedy
from domain.story.play import Story, content_digest
from domain.story.playtest.asking import POVS_LIMIT, Wanted
from domain.story.playtest.evidence import Everything, Evidence, Plays, Room, Tell
from domain.story.playtest.findings import story_findings, view_findings
from domain.story.playtest.rooms import shape
from domain.story.playtest.survey import Survey, node_of, povs_of, survey
from domain.story.playtest.variables_used import variables_used
from domain.story.program import Choice, Node

SCHEMA: Final = "comfyvn.playtest.v1"

ENDINGS_SHOWN: Final = 500
"""Most endings of one point of view whose way is told."""


def silent(stage: str, done: int, most: int) -> None:
    """For those whom progress does not interest."""


def playtested(story: Story, wanted: Wanted, tell: Tell = silent) -> dict[str, Any]:
    """Plays a story for its points of view and tells what was found; the shape is in docs/playtest.md.

    Raises ``Invalid`` for more points of view than one playtest plays.
    """
    told = survey(story)
    povs = list(dict.fromkeys(wanted.povs)) or povs_of(story)
    left_out = povs[POVS_LIMIT:]
    if left_out and wanted.povs:
        raise Invalid(
            f"{len(povs)} points of view are more than one playtest plays, which is {POVS_LIMIT}.",
            error="too_many_povs", remediation=[Remedy("Name fewer of them.", "name_fewer")],
        )
    views = [_viewed(story, told, pov, wanted, tell) for pov in povs[:POVS_LIMIT]]
    union = _union(told, views)
    used = variables_used(story, told)
    findings = [one for view in views for one in view.pop("findings")]
    findings += story_findings(story, told, union, used, all(view["complete"] for view in views), wanted)
    report = {
        "schema": SCHEMA, "mode": wanted.mode, "story": _about(story, told, wanted), "config": _config(wanted),
        "complete": all(view["complete"] for view in views), "povs": [view["pov"] for view in views],
        "povs_left_out": left_out, "coverage": _coverage(told, union), "variables": used,
        "findings": sorted(findings, key=lambda one: (ORDER.index(one["severity"]), one["kind"])),
        "views": [_shown(view, wanted) for view in views],
    }
    return {**report, "digest": digest_of(report)}


ORDER: Final = ("error", "warning", "note")


def digest_of(report: dict[str, Any]) -> str:
    """The same for the same story, question and findings, wherever and however fast it was played."""
    known = {name: value for name, value in report.items() if name not in ("digest", "timing")}
    return "sha256:" + sha256(dumps(known, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _about(story: Story, told: Survey, wanted: Wanted) -> dict[str, Any]:
    content = story.content
    words = sum(place.words for place in told.places)
    return {
        "id": story.id, "timeline": content.get("timeline"), "implicit": bool(content.get("implicit", False)),
        "worldline": content.get("worldline"), "position": content.get("position"),
        "content_digest": content_digest(story), "entries": len(story.entries),
        "scenes": len({place.scene for place in told.places}), "nodes": len(told.places), "choices": len(told.ways),
        "conditions": len(told.rules), "words": words,
        "minutes": round(words / wanted.words_per_minute, 2), "default_pov": story.default_pov,
    }


def _config(wanted: Wanted) -> dict[str, Any]:
    shared = {"seed": wanted.seed, "variables": dict(wanted.variables or {}),
              "words_per_minute": wanted.words_per_minute}
    if wanted.mode == "random":
        return {**shared, "plays": wanted.plays, "max_steps": wanted.steps}
    bounds = wanted.bounds
    return {**shared, "max_states": bounds.states, "max_transitions": bounds.transitions, "max_depth": bounds.depth,
            "max_memory": bounds.memory}


def _viewed(story: Story, told: Survey, pov: str, wanted: Wanted, tell: Tell) -> dict[str, Any]:
    room = Room()
    evidence: Evidence
    made = Everything if wanted.mode == "exhaustive" else Plays
    found = made(story, told, pov, wanted, room)
    playable = True
    try:
        found.run(tell)
        playable = not isinstance(found, Everything) or found.explored.started
    except Refused as error:
        if error.code != "nothing_to_play":
            raise
        playable = False
    evidence = found
    tell(f"writing the report of {pov}", 0, 0)
    view: dict[str, Any] = {
        "pov": pov, "playable": playable, **evidence.figures(), "nodes": _nodes(story, told, pov, evidence),
        "choices": _choices(story, told, pov, evidence), "conditions": _conditions(told, evidence),
        "endings": [], "lengths": {"shortest": None, "longest": None, "loops": False, "exact": False},
    }
    if playable:
        view["endings"] = _endings(story, told, pov, evidence)
        view["lengths"] = evidence.measured()
    view["findings"] = view_findings(story, told, pov, evidence, playable, wanted.mode)
    view["coverage"] = _coverage(told, view)
    return view


def _nodes(story: Story, told: Survey, pov: str, evidence: Evidence) -> list[dict[str, Any]]:
    led_to = {told.place_of[scene, node] for _, scene, node in shape(story, pov).spots}
    rows = []
    for number, place in enumerate(told.places):
        hits = evidence.counted.places.get(number, (0, 0))[0]
        status = "reached" if hits else "no_way" if number not in led_to else _unmet(evidence)
        rows.append({"scene": place.scene, "node": place.node, "hits": hits, "status": status, "words": place.words})
    return rows


def _unmet(evidence: Evidence) -> str:
    """What it means that something was not met: proved, or only not seen within the bounds."""
    return "never" if evidence.complete else "not_met"


def _choices(story: Story, told: Survey, pov: str, evidence: Evidence) -> list[dict[str, Any]]:
    rows = []
    for number, way in enumerate(told.ways):
        place = told.places[way.place]
        choice = node_of(story, place).choices[way.order]
        offered = evidence.counted.offered.get(number, (0, 0))[0]
        taken = evidence.counted.taken.get(number, (0, 0))[0]
        rows.append({
            "scene": place.scene, "node": place.node, "choice": choice.id, "index": way.order, "label": choice.label,
            "offered": offered, "taken": taken,
            "status": "taken" if taken else "offered" if offered else _why_not(choice, pov, way.place, evidence),
        })
    return rows


def _why_not(choice: Choice, pov: str, place: int, evidence: Evidence) -> str:
    if choice.weight <= 0:
        return "weight_zero"
    if choice.visible_to and pov not in choice.visible_to:
        return "for_others"
    if place not in evidence.counted.places:
        return "node_not_met"
    return _unmet(evidence)


def _conditions(told: Survey, evidence: Evidence) -> list[dict[str, Any]]:
    rows = []
    for number, rule in enumerate(told.rules):
        held = evidence.counted.held.get(number, (0, 0))[0]
        failed = evidence.counted.failed.get(number, (0, 0))[0]
        status = "both" if held and failed else "never_false" if held else "never_true" if failed else "never_asked"
        rows.append({
            "where": "/".join(rule.where), "key": rule.document["key"], "operator": rule.document["operator"],
            "value": rule.document.get("value"), "true": held, "false": failed, "status": status,
            "missing": evidence.counted.missing.get(number, (0, 0))[0],
        })
    return rows


def ending_kind(node: Node, pov: str) -> str:
    """``end`` where the author says so; ``open`` where nothing leads on and nobody says so; ``hidden`` where all that
    leads on is for others; ``stuck`` where no condition holds."""
    if node.document.get("end", False):
        return "end"
    if not any(choice.weight > 0 for choice in node.choices):
        return "open"
    return "stuck" if node.seen_by(pov) else "hidden"


def _endings(story: Story, told: Survey, pov: str, evidence: Evidence) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for place, (hits, first) in sorted(evidence.counted.over.items(), key=lambda one: one[1][1]):
        node = node_of(story, told.places[place])
        found.append({
            "scene": told.places[place].scene, "node": node.id, "kind": ending_kind(node, pov), "hits": hits,
            "text": str(node.document.get("text", ""))[:200],
            "path": evidence.proof(first) if len(found) < ENDINGS_SHOWN else None,
            "shortest": evidence.complete,
        })
    return found


def _union(told: Survey, views: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What any point of view met: the same rows with their counts added up."""
    joined: dict[str, list[dict[str, Any]]] = {}
    for kind, names in (("nodes", ("hits",)), ("choices", ("offered", "taken")),
                        ("conditions", ("true", "false", "missing"))):
        rows = [dict(row) for row in views[0][kind]] if views else []
        for view in views[1:]:
            for row, other in zip(rows, view[kind], strict=True):
                row["status"] = _better(row["status"], other["status"])
                for name in names:
                    row[name] += other[name]
        joined[kind] = rows
    return joined


_RANKS: Final = ("no_way", "weight_zero", "for_others", "node_not_met", "never", "not_met", "offered", "taken",
                 "reached")


def _better(one: str, other: str) -> str:
    if {one, other} <= {"both", "never_true", "never_false", "never_asked"}:
        if one == other or other == "never_asked":
            return one
        return other if one == "never_asked" else "both"
    return max(one, other, key=_RANKS.index)


def _coverage(told: Survey, rows: dict[str, Any]) -> dict[str, Any]:
    sides = sum((row["true"] > 0) + (row["false"] > 0) for row in rows["conditions"])
    return {
        "nodes": {"met": sum(row["hits"] > 0 for row in rows["nodes"]), "total": len(told.places)},
        "choices": {"met": sum(row["taken"] > 0 for row in rows["choices"]), "total": len(told.ways)},
        "sides": {"met": sides, "total": 2 * len(told.rules)},
    }


def _shown(view: dict[str, Any], wanted: Wanted) -> dict[str, Any]:
    if wanted.tables:
        return view
    return {name: value for name, value in view.items() if name not in ("nodes", "choices", "conditions")}
