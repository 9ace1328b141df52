"""What a worldline is about, said from its content alone: what it changes, who speaks there, how it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from domain.bounded_json import same_json
from domain.ids import Token
from domain.story import scene
from domain.story.knowledge import masked_scene
from domain.story.scene_model import NARRATOR
from domain.story.scene_states import document_from
from domain.tables import Reader, Where
from projections.boards.documents import Reach, lineage
from projections.boards.story import every
from projections.reading import Query, View
from projections.story.worldline import ShowWorldline, show_worldline

SCENES: Final = 500
"""Most scenes that are compared."""

TOLD: Final = 50
"""Most nodes of a kind that are listed."""

_READ: Final = 20_000


class SuggestBio(Query):
    """What could be said about a worldline: suggestions from what it changes, who speaks there and how it ends."""

    world: Token
    compare_to: Token | None = Field(default=None, description=(
        "Another worldline, as it is; else the parent, as it was at the fork."
    ))
    pov: Annotated[str, Field(max_length=200)] | None = None
    mask_pov: bool | Annotated[str, Field(max_length=200)] = Field(default=False, description=(
        "Leave out what a point of view cannot know: `true` for `pov`, else the worldline's own; or its name."
    ))


def suggest_bio(reader: Reader, query: SuggestBio) -> dict[str, Any]:
    """``{"world", "compared_to", "pov", "suggestions": [{title, summary, confidence, source}], "diff"}``."""
    world = show_worldline(reader, ShowWorldline(project=query.project, worldline_id=query.world))
    pov = (query.pov or "").strip() or world["pov"] or NARRATOR
    mask = query.mask_pov.strip() if isinstance(query.mask_pov, str) else (pov if query.mask_pov else "")
    other = query.compare_to or world["parent_id"]
    chain = lineage(reader, query.project, query.world, 0)
    # Unless somebody names another, the parent counts as it was at the fork: what it did since is not this one's doing.
    base = chain[1:] if query.compare_to is None else lineage(reader, query.project, query.compare_to, 0)
    told = difference(reader, query.project, chain, base, mask)
    return {
        "world": world, "compared_to": other, "pov": pov, "mask_pov": mask or None,
        "suggestions": list(_suggestions(world, other, pov, told)), "diff": told,
    }


# --- what differs -------------------------------------------------------------------------------------------------


def difference(
    reader: Reader, project: str, chain: list[Reach], base: list[Reach], mask: str = ""
) -> dict[str, Any]:
    """What one lineage has otherwise than another: scenes and nodes added, removed and changed, voices and endings.

    Only scenes on which anything happened on either side since they were one are read. ``mask`` is the point of view
    whose knowledge bounds what is compared; blank is everybody's.
    """
    ids, more = touched(reader, project, chain, base)
    here = _scenes(reader, chain, project, ids, mask)
    there = _scenes(reader, base, project, ids, mask) if base else {}
    nodes = _nodes(here, there)
    speaks = Counter(
        str(node["speaker"]) for id_, node_id in nodes["added"] + nodes["changed"]
        if (node := _node(here[id_], node_id)).get("speaker")
    )
    ends_here, ends_there = _endings(here), _endings(there)
    return {
        "scenes": {
            "added": sorted(here.keys() - there.keys()), "removed": sorted(there.keys() - here.keys()),
            "changed": sorted(id_ for id_ in here.keys() & there.keys() if not same_json(here[id_], there[id_])),
        },
        "nodes": {kind: [{"scene": id_, "node": node} for id_, node in found[:TOLD]] for kind, found in nodes.items()},
        "counts": {kind: len(found) for kind, found in nodes.items()},
        "speakers": [{"speaker": name, "nodes": count}
                     for name, count in sorted(speaks.items(), key=lambda one: (-one[1], one[0]))[:TOLD]],
        "endings": {
            "added": _ends(ends_here - ends_there), "removed": _ends(ends_there - ends_here),
            "shared": len(ends_here & ends_there),
        },
        "more": more,
    }


def touched(
    reader: Reader, project: str, chain: list[Reach], base: list[Reach]
) -> tuple[set[str], bool]:
    """The scenes on which anything happened on one of two lineages that the other has not seen."""
    others = {reach.worldline: reach.upto for reach in base}
    own = {reach.worldline: reach.upto for reach in chain}
    spans = [
        (line, min(own.get(line, 0), others.get(line, 0)), max(own.get(line, 0), others.get(line, 0)))
        for line in dict.fromkeys([*own, *others])
    ]
    found: set[str] = set()
    more = False
    for line, low, high in spans:
        if low == high:
            continue
        after: list[Any] = [low]
        while not more:
            rows = reader.rows(
                "timeline", Where("project", "=", project), Where("worldline", "=", line),
                Where("position", "<=", high), Where("position", ">", after[0]), order=("position",), limit=_READ,
            )
            found.update(row["id"] for row in rows if row["category"] == scene.CATEGORY)
            more = len(found) > SCENES
            if len(rows) < _READ:
                break
            after = [rows[-1]["position"]]
    return set(sorted(found)[:SCENES]), more


def _scenes(reader: Reader, chain: list[Reach], project: str, ids: set[str], mask: str) -> dict[str, dict[str, Any]]:
    if not ids:
        return {}
    found = {
        id_: document_from(id_, fields)
        for id_, fields in every(reader, chain, project, scene.CATEGORY, ids).items()
    }
    if not mask:
        return found
    declared = {
        str(value.get("name") or path.partition("/")[2]): value
        for fields in every(reader, chain, project, "variables").values() for path, value in fields.items()
        if path.startswith("declarations/") and isinstance(value, Mapping)
    }
    return {id_: masked_scene(document, mask, declared) for id_, document in found.items()}


Places = list[tuple[str, str]]


def _nodes(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Places]:
    told: dict[str, Places] = {"added": [], "removed": [], "changed": []}
    for id_ in sorted(here.keys() | there.keys()):
        own = {node["id"]: node for node in here.get(id_, {}).get("nodes", ())}
        was = {node["id"]: node for node in there.get(id_, {}).get("nodes", ())}
        told["added"] += [(id_, node) for node in own if node not in was]
        told["removed"] += [(id_, node) for node in was if node not in own]
        told["changed"] += [(id_, node) for node in own if node in was and not same_json(own[node], was[node])]
    return told


def _node(document: Mapping[str, Any], node_id: str) -> Mapping[str, Any]:
    return next((node for node in document["nodes"] if node["id"] == node_id), {})


def _endings(scenes: Mapping[str, Mapping[str, Any]]) -> set[tuple[str, str]]:
    return {(id_, node["id"]) for id_, one in scenes.items() for node in one["nodes"] if not node.get("choices")}


def _ends(found: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"scene": id_, "node": node} for id_, node in sorted(found)[:TOLD]]


# --- what could be said -------------------------------------------------------------------------------------------


def _suggestions(
    world: Mapping[str, Any], other: str | None, pov: str, told: Mapping[str, Any]
) -> Iterable[dict[str, Any]]:
    label, against = world["label"], other or "nothing"
    if world["notes"]:
        first = world["notes"].strip().partition("\n")[0][:300]
        yield {"title": label, "summary": first, "confidence": 1.0, "source": "notes"}
    scenes, counts = told["scenes"], told["counts"]
    changes = sum(len(found) for found in scenes.values()) + sum(counts.values())
    if not changes:
        yield {"title": label, "summary": f"Nothing differs from {against} yet.", "confidence": 1.0, "source": "diff"}
        return
    parts = [
        *(f"{_many(len(scenes[kind]), 'scene')} {kind}" for kind in ("added", "removed") if scenes[kind]),
        *(f"{_many(counts[kind], 'node')} {kind}" for kind in ("added", "removed", "changed") if counts[kind]),
    ]
    yield {
        "title": f"{label}, against {against}" if other else label,
        "summary": (", ".join(parts) or _many(len(scenes["changed"]), "scene") + " changed") + ".",
        "confidence": _sure(changes), "source": "diff",
    }
    if told["speakers"]:
        names = [one["speaker"] for one in told["speakers"][:3]]
        share = told["speakers"][0]["nodes"] / sum(one["nodes"] for one in told["speakers"])
        yield {"title": f"{names[0]}'s worldline", "summary": f"What is new here is told by {_listed(names)}.",
               "confidence": round(share, 2), "source": "speakers"}
    ends = told["endings"]
    if ends["added"] or ends["removed"]:
        said = [f"{word} at {_listed([one['node'] for one in ends[kind][:3]])}"
                for kind, word in (("added", "it may end"), ("removed", "it ends no more")) if ends[kind]]
        yield {"title": f"{label}: another ending", "summary": _sentence("; ".join(said)),
               "confidence": _sure(len(ends["added"]) + len(ends["removed"])), "source": "endings"}
    if pov != NARRATOR:
        yield {"title": f"{label}, as {pov} sees it", "summary": f"Told through the eyes of {pov}.",
               "confidence": 0.5, "source": "pov"}


def _sure(count: int) -> float:
    return round(min(0.95, 0.5 + 0.05 * count), 2)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


PROJECTIONS = ()

VIEWS = ()

POSED = (
    View("SuggestBio", "/api/pov/auto_bio_suggest", SuggestBio, suggest_bio,
         ("documents", "worldlines", "timeline"), "worldline:read"),
)
"""Questions that are asked with a JSON body."""
