"""What a player meets in a story, from the studio's own trace and from the engine's, and where the two part first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Step = dict[str, Any]
"""``{"scene", "node", "speaker", "text", "next", "offered": [{"id", "label"}], "chosen", "variables", "dice"}``: the
shape of ``play.recorded``, with the name that is shown as the speaker and with the generator (seed, value, uses)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two traces part: the moment (from 0), the field, and both values as JSON."""

    moment: int
    field: str
    studio: str
    engine: str

    def __str__(self) -> str:
        return f"moment {self.moment}, {self.field}:\n      studio {self.studio}\n      engine {self.engine}"


def spelt(value: Any) -> str:
    """JSON in one spelling that keeps apart what Python keeps apart: ``1`` and ``1.0`` are not the same text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def difference(studio: list[Step], engine: list[Step]) -> Difference | None:
    """The first difference of two traces, or nothing where they are the same bytes."""
    for number, (one, other) in enumerate(zip(studio, engine, strict=False)):
        if spelt(one) == spelt(other):
            continue
        for field in {**one, **other}:
            if spelt(one.get(field)) != spelt(other.get(field)) or (field in one) != (field in other):
                return Difference(number, field, _short(one, field), _short(other, field))
    if len(studio) != len(engine):
        number = min(len(studio), len(engine))
        longer = studio if len(studio) > len(engine) else engine
        where = spelt({name: longer[number][name] for name in ("scene", "node")})
        told = ("another moment " + where, "nothing more")
        return Difference(number, "length", *(told if longer is studio else reversed(told)))
    return None


def _short(step: Step, field: str) -> str:
    if field not in step:
        return "(not there)"
    text = spelt(step[field])
    return text if len(text) <= 600 else text[:600] + "…"


def met_in_studio(step: Mapping[str, Any], dice: Sequence[int], content: Mapping[str, Any]) -> Step:
    """A step of ``play.recorded`` as it is met in a game: the speaker by name, choices without a label by their id.

    Without a text nothing is said, and by nobody.
    """
    offered = [
        {"id": one["id"], "label": one["label"] if one["label"].strip() else one["id"]} for one in step["offered"]
    ]
    speaker = name_of(step["speaker"], content) if step["text"] else ""
    return {**step, "speaker": speaker, "offered": offered, "dice": list(dice)}


def name_of(speaker: str, content: Mapping[str, Any]) -> str:
    """The name over a line: the character's where the speaker is one, else what stands there."""
    character = content.get("characters", {}).get(speaker) or {}
    return str(character.get("name") or speaker)


def met_in_engine(step: Mapping[str, Any], end: str, content: Mapping[str, Any]) -> Step:
    """A step that the overlay wrote down, in the same shape."""
    said = step["said"]
    speaker, text = said[0] if said else ("", "")
    if len(said) > 1 or step.get("captions"):
        text = spelt([*said, *step.get("captions", ())])  # more than the studio ever says
    next_ = step.get("next") or ("finished" if end == "ended" else end)
    return {
        "scene": step["scene"], "node": step["node"], "speaker": speaker, "text": text, "next": next_,
        "offered": step.get("offered", []), "chosen": _chosen(step, next_, content), "variables": step["variables"],
        "dice": step["dice"],
    }


def _chosen(step: Mapping[str, Any], next_: str, content: Mapping[str, Any]) -> str | None:
    """The choice by which a moment was left: a menu names it, the dice name its number, and one alone is itself."""
    if next_ == "ask":
        picked = step.get("picked")
        return None if picked is None else step["offered"][picked]["id"]
    if next_ not in ("chance", "continue"):
        return None
    nodes = content["scenes"][step["scene"]]["nodes"]
    node = next(one for one in nodes if one["id"] == step["node"])
    ways = [one for one in node.get("choices", ()) if one.get("weight", 1) > 0]
    number = step["way"] if next_ == "chance" else 0
    if not isinstance(number, int) or number >= len(ways):
        return f"the way {number} of {len(ways)}"
    return str(ways[number].get("id") or ways[number]["target"])
