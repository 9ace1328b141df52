"""In which order scenes come in a story, read without reading the story."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from domain.ids import MAIN
from domain.story.merging.history import Version
from domain.tables import Reader, Where
from projections.boards.documents import FIELDS
from projections.boards.merging import documents_at, history_of, reaches

ENTRIES: Final = "entries/"
TIMELINE: Final = "timeline"

WHOLE: Final = 2_000
"""Most entries of a timeline that are read to find a few scenes; of a longer one those named after the scenes are."""


def scene_order(reader: Reader, project: str, version: Version, scenes: Iterable[str]) -> list[str]:
    """The scenes as the worldline's timeline orders them; those that it does not name come last, by id."""
    wanted = sorted(scenes)
    if len(wanted) < 2:
        return wanted
    place = {scene: number for number, scene in reversed([*enumerate(_named(reader, project, version, wanted))])}
    return sorted(wanted, key=lambda scene: (place.get(scene, len(place) + len(wanted)), scene))


def timeline_of(reader: Reader, project: str, version: Version) -> str | None:
    """The timeline that is meant where none is named: ``main``, else the only one."""
    history = history_of(reader, project)
    there: dict[str, bool] = {}
    for reach in reversed(reaches(history, version)):
        ids, values = reader.columns(
            FIELDS.name, ("id", "value"), Where("project", "=", project), Where("worldline", "=", reach.worldline),
            Where("category", "=", TIMELINE), Where("field", "=", "summary"), Where("valid_from", "<=", reach.upto),
            Where("valid_to", ">", reach.upto), order=("id",),
        )
        there |= {id_: value is not None for id_, value in zip(ids, values, strict=True)}
    alive = [id_ for id_, found in there.items() if found]
    return MAIN if MAIN in alive else alive[0] if len(alive) == 1 else None


def _named(reader: Reader, project: str, version: Version, wanted: list[str]) -> list[str]:
    """Scenes in the order of the timeline's entries."""
    name = timeline_of(reader, project, version)
    if name is None:
        return []
    history = history_of(reader, project)
    rows = reader.count(
        FIELDS.name, Where("project", "=", project), Where("category", "=", TIMELINE), Where("id", "=", name),
        Where("worldline", "in", [one.worldline for one in reaches(history, version)]),
    )
    fields = None if rows <= WHOLE else [ENTRIES + scene for scene in wanted]
    held = documents_at(reader, project, history, version, [(TIMELINE, name)], fields)
    return [scene for one in held.values() for scene in _scenes(one.fields)]


def _scenes(fields: Mapping[str, Any]) -> list[str]:
    entries = sorted(
        ((tuple(value["place"]), path, value["item"]) for path, value in fields.items() if path.startswith(ENTRIES)),
        key=lambda one: one[:2],
    )
    return [one["scene"] for _, _, item in entries for one in item.get("alternatives") or (item,)]
