"""Golden plays: recorded once, played again later, and told apart in words.

A golden play is a file: what it needs to be played again (point of view, seed, decisions) and the trace that came of
it. Its digest is that of the trace alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from hashlib import sha256
from typing import Any, Final

from domain.errors import Invalid, Refused, Remedy
from domain.story.dice import drawn, thrown
from domain.story.play import (
    At,
    Station,
    Story,
    advanced,
    begun,
    chosen,
    coming,
    recorded,
    trace_digest,
    ways,
)
from domain.story.playtest.sampling import PICKING, seeds

SCHEMA: Final = "comfyvn.golden.v1"

STEPS_LIMIT: Final = 20_000
"""Most steps of one golden play."""

ALIGNED: Final = 4_000
"""Longest part between what is equal at both ends that is compared step by step."""

CONTEXT: Final = 2
"""Steps shown before the first difference."""


def replayed(story: Story, pov: str, seed: int, decisions: Sequence[Mapping[str, Any]], *, dice: bool,
             variables: Mapping[str, Any] | None = None, steps: int = STEPS_LIMIT) -> tuple[list[Station], str]:
    """Plays decisions again; with ``dice`` only those of menus are made and the dice do the rest.

    The stations, and in words why it went no further (empty where it did).
    """
    at = begun(story, pov=pov, seed=seed, variables=variables)
    stations: list[Station] = []
    waiting = [one for one in decisions if not dice or one["by"] == "menu"]
    while len(stations) < steps:
        next_ = coming(story, at)
        if next_ == "finished":
            return [*stations, (at, None)], ""
        here = at
        waits = bool(waiting) and (waiting[0]["scene"], waiting[0]["node"]) == (at.scene, at.node)
        if next_ == "ask" or (next_ == "chance" and not dice) or (next_ == "continue" and waits):
            if not waiting:
                return [*stations, (at, None)], ""
            wanted = waiting.pop(0)
            if (wanted["scene"], wanted["node"]) != (at.scene, at.node):
                return [*stations, (at, None)], (
                    f"it stands at {at.scene}/{at.node}, and the next decision was made at "
                    f"{wanted['scene']}/{wanted['node']}"
                )
            try:
                choice = next(one for one in ways(story, at) if one.id == wanted["choice"])
                at = chosen(story, at, wanted["choice"])
            except (StopIteration, Refused):
                offered = ", ".join(one.id for one in ways(story, at)[:10]) or "nothing"
                return [*stations, (here, None)], (
                    f"choice {wanted['choice']} is not offered at {here.scene}/{here.node}; offered: {offered}"
                )
            stations.append((here, choice))
        else:
            at, taken = advanced(story, at)
            stations.append((here, taken))
    return stations, f"it did not end within {steps} steps"


def at_random(story: Story, pov: str, base: int, plays: int, steps: int,
              variables: Mapping[str, Any] | None = None) -> Iterable[tuple[int, list[Mapping[str, Any]]]]:
    """Seeds and the decisions at menus of that many random plays."""
    for seed in seeds(base, plays):
        at: At = begun(story, pov=pov, seed=seed, variables=variables)
        menus, decisions = thrown(seed ^ PICKING), list[Mapping[str, Any]]()
        for _ in range(steps):
            next_ = coming(story, at)
            if next_ == "finished":
                break
            if next_ != "ask":
                at, _ = advanced(story, at)
                continue
            draw, menus = drawn(menus)
            offered = ways(story, at)
            choice = offered[int(draw * len(offered))]
            decisions.append({"scene": at.scene, "node": at.node, "choice": choice.id, "by": "menu"})
            at = chosen(story, at, choice.id)
        yield seed, decisions


def golden(story: Story, name: str, pov: str, seed: int, decisions: Sequence[Mapping[str, Any]], *, dice: bool,
           variables: Mapping[str, Any] | None = None, steps: int = STEPS_LIMIT) -> dict[str, Any]:
    """A golden play as it is written to a file."""
    stations, stopped = replayed(story, pov, seed, decisions, dice=dice, variables=variables, steps=steps)
    trace = recorded(story, stations)
    kept = [{key: one[key] for key in ("scene", "node", "choice", "by")} for one in decisions
            if not dice or one["by"] == "menu"]
    return {
        "schema": SCHEMA, "name": name, "story": story.id, "pov": pov, "seed": seed, "dice": dice,
        "variables": dict(variables or {}), "decisions": kept, "max_steps": steps, "stopped": stopped,
        "digest": trace_digest(trace), "steps": trace,
    }


def read(told: Any, source: str) -> dict[str, Any]:
    """A golden play from a file's JSON; raises ``Invalid`` that names the file."""
    wanted: dict[str, type | tuple[type, ...]] = {
        "name": str, "pov": str, "seed": int, "dice": bool, "decisions": list, "digest": str, "steps": list,
        "variables": dict, "max_steps": int,
    }
    if isinstance(told, Mapping) and told.get("schema") == SCHEMA:
        wrong = [name for name, type_ in wanted.items() if not isinstance(told.get(name), type_)]
        decisions = told.get("decisions")
        if isinstance(decisions, list) and not all(
            isinstance(one, Mapping) and {"scene", "node", "choice", "by"} <= set(one) for one in decisions
        ):
            wrong.append("decisions")
        if isinstance(told.get("steps"), list) and not all(isinstance(one, Mapping) for one in told["steps"]):
            wrong.append("steps")
    else:
        wrong = ["schema"]
    if wrong:
        raise Invalid(
            f"{source} is not a golden play: {', '.join(wrong)} does not fit.", error="not_golden",
            remediation=[Remedy("Take the file out of the folder, or record it anew with --update.", "update_golden")],
        )
    return dict(told)


def compared(story: Story, before: Mapping[str, Any]) -> dict[str, Any]:
    """Plays a golden play again: ``{"name", "status", "digest", "difference"?, "now"}``.

    ``status`` is ``same``, ``changed`` or ``broken`` (a decision cannot be made any more). ``now`` is the play as it
    would be written today.
    """
    try:
        now = golden(story, before["name"], before["pov"], before["seed"], before["decisions"], dice=before["dice"],
                     variables=before["variables"], steps=min(before["max_steps"], STEPS_LIMIT))
    except Refused as error:
        return {"name": before["name"], "status": "broken", "digest": None, "why": error.message, "now": None}
    if now["digest"] == before["digest"]:
        return {"name": before["name"], "status": "same", "digest": now["digest"], "now": now}
    stopped = now["stopped"]
    return {
        "name": before["name"], "status": "broken" if stopped and stopped != before.get("stopped") else "changed",
        "digest": now["digest"], **({"why": stopped} if stopped else {}),
        "difference": difference(before["steps"], now["steps"]), "now": now,
    }


def difference(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What differs between two traces: the first difference with the steps before it, and how much there is."""
    first = next((place for place, (one, other) in enumerate(zip(before, after, strict=False)) if one != other),
                 min(len(before), len(after)))
    old, new = (steps[first] if first < len(steps) else None for steps in (before, after))
    fields = [
        {"field": name, "before": (old or {}).get(name), "after": (new or {}).get(name)}
        for name in ("scene", "node", "speaker", "text", "next", "offered", "chosen", "variables")
        if (old or {}).get(name) != (new or {}).get(name)
    ]
    return {
        "step": first, "at": _where(old), "now_at": _where(new), "fields": fields,
        "context": [_where(one) for one in before[max(0, first - CONTEXT) : first]],
        **_counts(before[first:], after[first:]),
    }


def _counts(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many steps were added, removed and changed; steps at one node are the same step."""
    tail = 0
    while tail < min(len(before), len(after)) and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    old, new = before[: len(before) - tail], after[: len(after) - tail]
    if max(len(old), len(new)) > ALIGNED:
        return {"added": None, "removed": None, "changed": None}
    matcher = SequenceMatcher(None, [_where(one) for one in old], [_where(one) for one in new], autojunk=False)
    same = [block for block in matcher.get_matching_blocks() if block.size]
    met = sum(block.size for block in same)
    changed = sum(old[block.a + place] != new[block.b + place] for block in same for place in range(block.size))
    return {"added": len(new) - met, "removed": len(old) - met, "changed": changed}


def _where(step: Mapping[str, Any] | None) -> str | None:
    return None if step is None else f"{step.get('scene')}/{step.get('node')}"


def file_name(name: str) -> str:
    """A file name for a golden play: readable, safe everywhere, and different for different names."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "play"
    return f"{plain}-{sha256(name.encode()).hexdigest()[:8]}.json"
