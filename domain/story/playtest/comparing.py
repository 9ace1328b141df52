"""Two versions of a story beside each other: which endings appeared, vanished or moved, and why where it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.errors import Refused
from domain.story.play import At, Story, advanced, begun, coming, follow, ways
from domain.story.program import Choice

Report = Mapping[str, Any]


def compared(before: Story, old: Report, after: Story, new: Report) -> dict[str, Any]:
    """``{"views": [{"pov", "endings": {appeared, vanished, moved, kept}, "coverage", …}], "nodes", "same"}``.

    Both reports must hold their tables. A way that was there before is walked on the story after it; where that fails
    is the reason.
    """
    old_views = {view["pov"]: view for view in old["views"]}
    new_views = {view["pov"]: view for view in new["views"]}
    views = [
        _viewed(before, old_views[pov], after, new_views[pov], _variables(new))
        for pov in new_views if pov in old_views
    ]
    nodes = _documents(before, after)
    gone, come = sorted(set(old_views) - set(new_views)), sorted(set(new_views) - set(old_views))
    same = not (gone or come or any(nodes.values())) and not any(
        view["endings"][kind] for view in views for kind in ("appeared", "vanished", "moved")
    )
    return {
        "schema": "comfyvn.playtest.comparison.v1", "before": dict(old["story"]), "after": dict(new["story"]),
        "complete": bool(old["complete"] and new["complete"]), "same": same, "povs_gone": gone, "povs_new": come,
        "nodes": nodes, "views": views,
    }


def _variables(report: Report) -> Mapping[str, Any]:
    found: Mapping[str, Any] = report["config"]["variables"]
    return found


def _viewed(before: Story, old: Report, after: Story, new: Report, variables: Mapping[str, Any]) -> dict[str, Any]:
    pov = new["pov"]
    olds = {(one["scene"], one["node"]): one for one in old["endings"]}
    news = {(one["scene"], one["node"]): one for one in new["endings"]}
    appeared = [
        {**_named(one), "path": one["path"], "why": _why(before, pov, one["path"], variables, "before", one)}
        for key, one in news.items() if key not in olds
    ]
    vanished = [
        {**_named(one), "path": one["path"], "why": _why(after, pov, one["path"], variables, "now", one)}
        for key, one in olds.items() if key not in news
    ]
    moved, kept = [], []
    for key, one in olds.items():
        other = news.get(key)
        if other is None:
            continue
        told = _moved(one, other)
        if told:
            moved.append({**_named(other), **told, "before": one["path"], "after": other["path"],
                          "why": _why(after, pov, one["path"], variables, "now", one)})
        else:
            kept.append(_named(other))
    return {
        "pov": pov, "endings": {"appeared": appeared, "vanished": vanished, "moved": moved, "kept": kept},
        "coverage": {"before": old["coverage"], "after": new["coverage"]},
        "states": {"before": old.get("states"), "after": new.get("states")},
        "nodes_no_longer_reached": _reached(old, new), "nodes_newly_reached": _reached(new, old),
        "choices_no_longer_offered": _offered(old, new), "choices_newly_offered": _offered(new, old),
    }


def _named(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"scene": one["scene"], "node": one["node"], "kind": one["kind"], "text": one["text"]}


def _moved(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if one["kind"] != other["kind"]:
        told["kind_before"] = one["kind"]
    old, new = one["path"], other["path"]
    if old and new:
        if _decided(old) != _decided(new):
            told["path_changed"] = True
        if (old["steps"], old["words"]) != (new["steps"], new["words"]):
            told["steps"] = {"before": old["steps"], "after": new["steps"]}
            told["words"] = {"before": old["words"], "after": new["words"]}
    return told


def _decided(path: Mapping[str, Any]) -> list[tuple[str, str, str]] | None:
    if path["choices"] is None:
        return None
    return [(one["scene"], one["node"], one["choice"]) for one in path["choices"]]


def _reached(one: Report, other: Report) -> list[dict[str, str]]:
    there = {(row["scene"], row["node"]) for row in other["nodes"] if row["hits"]}
    return [{"scene": row["scene"], "node": row["node"]} for row in one["nodes"]
            if row["hits"] and (row["scene"], row["node"]) not in there][:500]


def _offered(one: Report, other: Report) -> list[dict[str, str]]:
    there = {(row["scene"], row["node"], row["choice"]) for row in other["choices"] if row["offered"]}
    return [{"scene": row["scene"], "node": row["node"], "choice": row["choice"]} for row in one["choices"]
            if row["offered"] and (row["scene"], row["node"], row["choice"]) not in there][:500]


def _documents(before: Story, after: Story) -> dict[str, list[str]]:
    """Nodes that one story has and the other has not, and those whose document differs."""
    old, new = ({
        f"{scene}/{node.id}": node.document for scene, program in story.scenes.items()
        for node in program.nodes.values()
    } for story in (before, after))
    return {
        "added": sorted(set(new) - set(old))[:500], "removed": sorted(set(old) - set(new))[:500],
        "changed": sorted(name for name in set(old) & set(new) if old[name] != new[name])[:500],
    }


def _why(story: Story, pov: str, path: Mapping[str, Any] | None, variables: Mapping[str, Any], when: str,
         ending: Mapping[str, Any]) -> str:
    """Walks a way on the other version; the first step that differs is the reason."""
    if path is None or path["choices"] is None:
        return "The way is too long to be compared."
    try:
        at = begun(story, pov=pov, variables=variables)
    except Refused as error:
        return f"No play can begin {when}: {error.message}"
    decisions = list(path["choices"])
    for _ in range(path["steps"] * 2 + 1_000):
        next_ = coming(story, at)
        if next_ == "finished":
            return _ended(at, ending, len(decisions), when)
        here = bool(decisions) and (decisions[0]["scene"], decisions[0]["node"]) == (at.scene, at.node)
        if next_ == "scene" or (next_ == "continue" and not here):
            at, _ = advanced(story, at)
            continue
        if not decisions:
            return f"{_when(when)} the same choices lead to {at.scene}/{at.node}, where there is more to choose."
        wanted = decisions.pop(0)
        if (wanted["scene"], wanted["node"]) != (at.scene, at.node):
            return (f"{_when(when)} the same choices lead to {at.scene}/{at.node} instead of "
                    f"{wanted['scene']}/{wanted['node']}.{_missing(story, wanted)}")
        choice = next((one for one in ways(story, at) if one.id == wanted["choice"]), None)
        if choice is None:
            return _not_offered(story, at, wanted["choice"], when)
        at = follow(story, at, choice)
    return f"{_when(when)} the same choices do not lead to an end."


def _when(when: str) -> str:
    return "Before," if when == "before" else "Now"


def _ended(at: At, ending: Mapping[str, Any], left: int, when: str) -> str:
    if (at.scene, at.node) != (ending["scene"], ending["node"]):
        return f"{_when(when)} the same choices end at {at.scene}/{at.node}."
    return f"{_when(when)} the same choices lead there " + ("sooner." if left else "as well; another way is shorter.")


def _missing(story: Story, wanted: Mapping[str, Any]) -> str:
    scene = story.scenes.get(wanted["scene"])
    if scene is None:
        return f" The scene {wanted['scene']} is not in the story."
    return "" if wanted["node"] in scene.nodes else f" The node {wanted['node']} is not there."


def _not_offered(story: Story, at: At, wanted: str, when: str) -> str:
    choices: Sequence[Choice] = story.node(at).choices
    known = next((one for one in choices if one.id == wanted), None)
    place = f"{at.scene}/{at.node}"
    if known is None:
        return f"{_when(when)} {place} has no choice {wanted}."
    if known.weight <= 0:
        return f"{_when(when)} choice {wanted} of {place} has weight 0."
    if known.visible_to and at.pov not in known.visible_to:
        return f"{_when(when)} choice {wanted} of {place} is not for {at.pov}."
    failed = [
        f"{rule['key']} {rule['operator']}" + (f" {rule['value']!r}" if "value" in rule else "")
        for rule, test in zip(known.document.get("conditions", ()), known.tests, strict=True) if not test(at.variables)
    ]
    return f"{_when(when)} choice {wanted} of {place} is not offered: {' and '.join(failed)[:300]} does not hold."
