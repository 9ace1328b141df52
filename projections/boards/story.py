"""A whole story as of a position: a timeline's order, every scene that it names, and the variables it begins with.

This is where timelines, scenes, variables and characters meet. What it gives is plain content; `domain.story.play`
makes it ready to be played.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from domain.errors import Invalid, NotFound, Remedy
from domain.ids import MAIN
from domain.story import scene as scenes
from domain.story.scene_states import document_from
from domain.tables import OPEN, Reader, Where
from projections.boards.documents import FIELDS, Reach, document, lineage

READS: Final = ("documents", "worldlines", "timeline")
"""The projections that a story is read from."""

SUMMARY: Final = "summary"
"""The field that a document has for as long as it is not deleted."""

PAGE: Final = 20_000
"""Rows read at once: memory is bounded by what is found, not by how it is asked."""

NAMED: Final = 400
"""Documents asked for by name in one question; databases bound what one may hold."""

TIMELINE: Final = "timeline"
VARIABLES: Final = "variables"
CHARACTER: Final = "character"
WORLDLINE: Final = "worldline"

TOLD_BY: Final = (scenes.CATEGORY, TIMELINE, VARIABLES, CHARACTER, WORLDLINE)
"""What a story is made of; nothing else changes it."""

ENTRIES: Final = "entries/"
DECLARED: Final = "declarations/"
VALUES: Final = "values/"


# --- documents in bulk --------------------------------------------------------------------------------------------


def every(
    reader: Reader, chain: Sequence[Reach], project: str, category: str, ids: Collection[str] | None = None, *,
    page: int = PAGE,
) -> dict[str, dict[str, Any]]:
    """Every document of a category along a lineage, by id: its fields. Deleted ones are left out.

    ``ids`` narrows it to these. One question per worldline of the lineage, whatever the number of documents.
    """
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for id_, field, value in held(reader, chain, project, category, ids, page=page):
        found[id_][field] = value
    return {
        id_: {path: value for path, value in fields.items() if value is not None}
        for id_, fields in sorted(found.items()) if fields.get(SUMMARY) is not None
    }


def present(
    reader: Reader, chain: Sequence[Reach], project: str, category: str, ids: Collection[str] | None = None
) -> set[str]:
    """Those of the named documents (of all) that are there, and not deleted, along a lineage."""
    found: dict[str, bool] = {}
    for id_, _, value in held(reader, chain, project, category, ids, field=SUMMARY):
        found[id_] = value is not None
    return {id_ for id_, alive in found.items() if alive}


def held(
    reader: Reader, chain: Sequence[Reach], project: str, category: str, ids: Collection[str] | None = None, *,
    field: str | None = None, page: int = PAGE, raw: bool = False,
) -> Iterator[tuple[str, str, Any]]:
    """``(id, field, value)`` as they hold along a lineage, farthest worldline first, so that later ones override.

    ``field`` narrows it to one field of each document; ``raw`` values are JSON texts.
    """
    one_field = [Where("field", "=", field)] if field is not None else []
    for reach in reversed(chain):
        for names in _portions(ids):
            where = [
                Where("project", "=", project), Where("worldline", "=", reach.worldline),
                Where("category", "=", category), *names, *one_field,
                Where("valid_from", "<=", reach.upto), Where("valid_to", ">", reach.upto),
            ]
            after: list[Any] = []
            while True:
                # Of one field at one position there is one row, so id and field tell rows apart.
                found = reader.columns(
                    FIELDS.name, ("id", "field", "value"), *where, order=("id", "field"), limit=page, after=after,
                    raw=raw,
                )
                yield from zip(*found, strict=True)
                if len(found[0]) < page:
                    break
                after = [found[0][-1], found[1][-1]]


def _portions(ids: Collection[str] | None) -> list[list[Where]]:
    if ids is None:
        return [[]]
    names = sorted(ids)
    return [[Where("id", "in", names[start : start + NAMED])] for start in range(0, len(names), NAMED)]


# --- a story ------------------------------------------------------------------------------------------------------


def story_content(
    reader: Reader, project: str, worldline: str = MAIN, as_of: int = 0, timeline: str | None = None,
    scene: str | None = None,
) -> dict[str, Any]:
    """What `play.story` takes, and besides it ``timeline``, ``worldline``, ``position``, ``characters`` ({id: fields}),
    ``declarations`` ({name: declaration of a variable}) and ``implicit``.

    Without a name it is the timeline ``main``, else the only one, else every scene by id (``implicit``); ``scene``
    is a story of that scene alone. ``position`` is where the story changed last, up to ``as_of`` (0: now), so that two
    readings of the same story tell the same position. Raises ``NotFound``, and ``Invalid`` where two things are named.
    """
    if timeline is not None and scene is not None:
        raise Invalid(
            "Name a timeline or a scene, not both.", error="contradicting_story",
            remediation=[Remedy("Leave one of them away.", "name_one")],
        )
    chain = lineage(reader, project, worldline, as_of)
    content: dict[str, Any] = {
        "worldline": worldline, "position": changed_at(reader, project, as_of), "timeline": None, "implicit": False,
    }
    if scene is not None:
        content |= {"id": scene, "entries": [{"id": scene, "scene": scene}]}
        content["scenes"] = {scene: _one_scene(reader, chain, project, worldline, as_of, scene)}
    else:
        content |= _ordered(reader, chain, project, worldline, as_of, timeline)
    declared, variables = _variables(reader, chain, project)
    return content | {
        "variables": variables, "declarations": declared, "characters": every(reader, chain, project, CHARACTER),
    }


def changed_at(reader: Reader, project: str, as_of: int) -> int:
    """The position of the newest event up to ``as_of`` (0: now) that may have changed a story of the project."""
    upto = as_of or OPEN - 1
    newest = 0
    for category in TOLD_BY:
        rows = reader.rows(
            "timeline", Where("project", "=", project), Where("category", "=", category),
            Where("position", "<=", upto), order=("-position",), limit=1,
        )
        newest = max(newest, *(row["position"] for row in rows), 0)
    return newest


def _ordered(
    reader: Reader, chain: list[Reach], project: str, worldline: str, as_of: int, timeline: str | None
) -> dict[str, Any]:
    """The story of a timeline, or of every scene where there is no timeline."""
    name = _chosen(reader, chain, project) if timeline is None else timeline
    if name is None:
        found = every(reader, chain, project, scenes.CATEGORY)
        return {
            "id": MAIN, "implicit": True, "entries": [{"id": id_, "scene": id_} for id_ in found],
            "scenes": _documents(found),
        }
    fields = _there(document(reader, chain, project, TIMELINE, name), TIMELINE, name, worldline, as_of)
    entries = entries_of(fields)
    wanted = {one["scene"] for entry in entries for one in entry.get("alternatives", (entry,))}
    told = {
        "id": name, "timeline": name, "entries": entries, "title": fields.get("title"),
        "scenes": _documents(every(reader, chain, project, scenes.CATEGORY, wanted)),
    }
    return told | {key: fields[key] for key in ("default_pov", "seed") if key in fields}


def _chosen(reader: Reader, chain: Sequence[Reach], project: str) -> str | None:
    """The timeline that is meant where none is named, if there is one."""
    there = every(reader, chain, project, TIMELINE)
    if MAIN in there:
        return MAIN
    return next(iter(there)) if len(there) == 1 else None


def _one_scene(
    reader: Reader, chain: list[Reach], project: str, worldline: str, as_of: int, scene: str
) -> dict[str, Any]:
    found = document(reader, chain, project, scenes.CATEGORY, scene)
    return document_from(scene, _there(found, scenes.CATEGORY, scene, worldline, as_of))


def _documents(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {id_: document_from(id_, fields) for id_, fields in found.items()}


def _there(found: Any, noun: str, id_: str, worldline: str, as_of: int) -> dict[str, Any]:
    """The fields of a document; raises ``NotFound`` for one that is not, or no longer, there."""
    if found is not None and SUMMARY in found.fields:
        fields: dict[str, Any] = found.fields
        return fields
    when = f" at position {as_of}" if as_of else ""
    deleted = found is not None
    raise NotFound(
        f"{noun.capitalize()} {id_} was deleted on worldline {worldline}{when}." if deleted
        else f"There is no {noun} {id_} on worldline {worldline}{when}.",
        error=f"{noun}_deleted" if deleted else f"unknown_{noun}",
        remediation=[
            Remedy("Restore it: nothing of it is lost.", f"restore_{noun}") if deleted
            else Remedy(f"List the {noun}s of the worldline.", f"list_{noun}s"),
        ],
        detail={noun: id_, "worldline": worldline, "as_of": as_of},
    )


def entries_of(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of a timeline in their order, from its fields."""
    placed = [
        (tuple(value["place"]), path, value["item"]) for path, value in fields.items()
        if path.startswith(ENTRIES) and value is not None
    ]
    return [item for _, _, item in sorted(placed, key=lambda one: one[:2])]


# --- variables ----------------------------------------------------------------------------------------------------


def _variables(reader: Reader, chain: Sequence[Reach], project: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Declarations by name, and the variables that a play begins with: the project's values and the defaults."""
    declared: dict[str, Any] = {}
    begins: dict[str, Any] = {}
    for fields in every(reader, chain, project, VARIABLES).values():
        found = sorted(items(fields, DECLARED).values(), key=lambda one: (_nearness(one), one["name"]))
        declared |= {one["name"]: one for one in found}
        begins |= {one["name"]: one["default"] for one in found if one["scope"] != "scene" and "default" in one}
        # What a session declares is its own, whatever the project calls so.
        own = {one["name"] for one in found if one["scope"] == "session" and "default" in one}
        begins |= {name: one["value"] for name, one in items(fields, VALUES).items() if name not in own}
    return declared, tree(begins)


def _nearness(declaration: Mapping[str, Any]) -> int:
    return ("scene", "global", "session").index(declaration["scope"])


def items(fields: Mapping[str, Any], start: str) -> dict[str, Any]:
    """The items of a collection by key."""
    return {path[len(start):]: value for path, value in fields.items() if path.startswith(start) and value is not None}


def tree(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dot path as the tree that conditions and actions reach into; a longer path stands inside a shorter."""
    found: dict[str, Any] = {}
    for path in sorted(values):
        *parents, leaf = path.split(".")
        current = found
        for part in parents:
            inner = current.get(part)
            # Copied, since a default belongs to the read model's row.
            current[part] = current = dict(inner) if isinstance(inner, Mapping) else {}
        current[leaf] = values[path]
    return found


