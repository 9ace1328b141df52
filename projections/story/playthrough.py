"""Playthroughs as people see them: where each stands, what its point of view may know, and everything that happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from domain.errors import NotFound, Remedy
from domain.ids import Token
from domain.story import scene as scenes
from domain.story.knowledge import KNOWN_TO, known
from domain.story.playthrough import (
    CATEGORY,
    ChoiceMade,
    EndReached,
    PlayPovSwitched,
    PlayRolledBack,
    PlaythroughStarted,
    PlayVariablesChanged,
    SlotLoaded,
    StoryAdvanced,
)
from domain.story.playthrough_values import Standing, Step
from domain.story.retracing import moment_of
from domain.story.scene_events import NODE_FIELD
from domain.tables import Change, Drop, Patch, Put, Reader, Row, Table, Where
from projections.boards.documents import Reach, document, lineage
from projections.boards.story import DECLARED, VARIABLES, every, items
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, Query, View, page

PLAYTHROUGHS = Table(
    name="playthroughs",
    columns={
        "project": "text", "playthrough_id": "text", "title": "text", "worldline": "text", "pinned": "int",
        "timeline": "text", "scene_only": "text", "content": "text", "seed": "int", "slot": "text", "step": "int",
        "scene": "text", "node": "text", "pov": "text", "next": "text", "finished": "bool", "standing": "json",
        "version": "int", "position": "int", "started_at": "text", "updated_at": "text", "actor": "text",
    },
    key=("project", "playthrough_id"),
    indexes=(("project", "position"), ("project", "finished", "position")),
    nullable=frozenset({"timeline", "scene_only", "slot"}),
)

VARIABLES_NOW = Table(
    name="playthrough_variables",
    columns={"project": "text", "playthrough_id": "text", "name": "text", "value": "json"},
    key=("project", "playthrough_id", "name"),
)

HAPPENED = Table(
    name="playthrough_history",
    columns={
        "project": "text", "playthrough_id": "text", "position": "int", "place": "int", "what": "text", "step": "int",
        "scene": "text", "node": "text", "choice": "text", "detail": "json", "time": "text", "actor": "text",
    },
    key=("project", "playthrough_id", "position", "place"),
    nullable=frozenset({"choice"}),
)


def apply(happened: Happened) -> Iterable[Change]:
    """Where a play stands, its variables, and a line for everything that happened."""
    recorded, event = happened
    if event is None:
        return
    key = {"project": recorded.stream.project, "playthrough_id": recorded.stream.id}
    touched = {"version": recorded.version, "position": recorded.position, "updated_at": recorded.time}
    if isinstance(event, PlaythroughStarted):
        pin = event.pin
        yield Put(PLAYTHROUGHS.name, {
            **key, **touched, **_stands(event.standing), "title": event.title, "worldline": pin.worldline,
            "pinned": pin.position, "timeline": pin.timeline, "scene_only": pin.scene, "content": pin.content,
            "seed": event.seed, "slot": event.slot, "started_at": recorded.time, "actor": recorded.actor,
        })
    elif isinstance(event, EndReached):
        yield Patch(PLAYTHROUGHS.name, key, touched)
    else:
        stands: Standing = event.standing  # type: ignore[attr-defined]
        seed = {"seed": event.seed} if isinstance(event, SlotLoaded) else {}
        yield Patch(PLAYTHROUGHS.name, key, {**touched, **_stands(stands), **seed})
    yield from _variables(event, key)
    for place, line in enumerate(_lines(event)):
        yield Put(HAPPENED.name, {
            **key, "position": recorded.position, "place": place, "choice": None, "detail": {}, "time": recorded.time,
            "actor": recorded.actor, **line,
        })


def _stands(standing: Standing) -> dict[str, Any]:
    return {
        "step": standing.step, "scene": standing.scene, "node": standing.node, "pov": standing.pov,
        "next": standing.next, "finished": standing.next == "finished", "standing": standing.model_dump(mode="json"),
    }


def _variables(event: Any, key: Mapping[str, str]) -> Iterable[Change]:
    if isinstance(event, PlaythroughStarted | SlotLoaded):
        yield Drop(VARIABLES_NOW.name, key)
        yield from _set(event.variables, (), key)
    elif isinstance(event, ChoiceMade):
        yield from _set(event.step.changed, event.step.removed, key)
    elif isinstance(event, StoryAdvanced):
        changed: dict[str, Any] = {}
        removed: dict[str, None] = {}
        for step in event.steps:
            for name in step.removed:
                changed.pop(name, None)
                removed[name] = None
            for name, value in step.changed.items():
                changed[name] = value
                removed.pop(name, None)
        yield from _set(changed, removed, key)
    elif isinstance(event, PlayVariablesChanged | PlayRolledBack):
        yield from _set(event.changed, event.removed, key)


def _set(changed: Mapping[str, Any], removed: Iterable[str], key: Mapping[str, str]) -> Iterable[Change]:
    for name in removed:
        yield Drop(VARIABLES_NOW.name, {**key, "name": name})
    for name, value in changed.items():
        yield Put(VARIABLES_NOW.name, {**key, "name": name, "value": value})


def _lines(event: Any) -> Iterable[dict[str, Any]]:
    match event:
        case PlaythroughStarted():
            yield _line("began", event.standing, {"seed": event.seed, "pov": event.pov, "slot": event.slot})
        case ChoiceMade():
            yield _stepped(event.step, event.standing.step)
        case StoryAdvanced():
            first = event.standing.step - len(event.steps) + 1
            for index, step in enumerate(event.steps):
                yield _stepped(step, first + index)
        case EndReached():
            yield {"what": "end", "step": event.step, "scene": event.scene, "node": event.node}
        case PlayVariablesChanged():
            names = sorted({*event.changed, *event.removed})
            yield _line("variables", event.standing, {"scope": event.scope, "reset": event.reset, "names": names})
        case PlayPovSwitched():
            yield _line("pov", event.standing, {"pov": event.pov})
        case PlayRolledBack():
            yield _line("back", event.standing, {"steps": event.steps})
        case SlotLoaded():
            yield _line("loaded", event.standing, {"slot": event.slot})


def _line(what: str, standing: Standing, detail: dict[str, Any]) -> dict[str, Any]:
    return {"what": what, "step": standing.step, "scene": standing.scene, "node": standing.node, "detail": detail}


def _stepped(step: Step, number: int) -> dict[str, Any]:
    detail: dict[str, Any] = {"changed": sorted({*step.changed, *step.removed})}
    if step.dice is not None:
        detail["dice"] = step.dice.model_dump(mode="json")
    return {
        "what": step.how, "step": number, "scene": step.scene, "node": step.node, "choice": step.choice,
        "detail": detail,
    }


class ListPlaythroughs(PageQuery):
    """The playthroughs of a project, those that changed last first."""

    finished: bool | None = Field(default=None, description="Only those that have reached an end, or have not.")


class ShowPlaythrough(Query):
    """Where a playthrough stands: the moment, and the variables that its point of view may know."""

    playthrough_id: Token
    everything: bool = Field(default=False, description="Also the variables that its point of view cannot know.")


class ListPlaythroughHistory(PageQuery):
    """Everything that happened in a playthrough in its order, also what was undone later."""

    playthrough_id: Token


def list_playthroughs(reader: Reader, query: ListPlaythroughs) -> dict[str, Any]:
    """A page of where playthroughs stand."""
    where = [Where("project", "=", query.project)]
    if query.finished is not None:
        where.append(Where("finished", "=", query.finished))
    return page(
        reader, PLAYTHROUGHS.name, *where, order=("-position",), limit=query.limit, cursor=query.cursor, shape=_listed
    )


def show_playthrough(reader: Reader, query: ShowPlaythrough) -> dict[str, Any]:
    """``{…, "moment", "variables", "hidden"}``; raises ``NotFound``. ``hidden`` counts what the view may not know."""
    row = _playthrough(reader, query.project, query.playthrough_id)
    standing = Standing.model_validate(row["standing"])
    chain = lineage(reader, query.project, row["worldline"], row["pinned"])
    found = document(reader, chain, query.project, scenes.CATEGORY, standing.scene)
    stored = found.fields.get(NODE_FIELD + standing.node) if found else None
    variables = _stored_variables(reader, query)
    seen = variables if query.everything else known(variables, _declared(reader, chain, query.project), row["pov"])
    return {
        **_listed(row), "offered": list(standing.offered),
        "moment": moment_of(stored["node"] if stored else {}, standing),
        "variables": seen, "hidden": len(variables) - len(seen),
    }


def _declared(reader: Reader, chain: list[Reach], project: str) -> dict[str, Any]:
    told = [
        one for fields in every(reader, chain, project, VARIABLES).values() for one in items(fields, DECLARED).values()
    ]
    # Where scopes share a name, what keeps it a secret counts.
    return {one["name"]: one for one in sorted(told, key=lambda one: bool(one.get(KNOWN_TO)))}


def _stored_variables(reader: Reader, query: ShowPlaythrough) -> dict[str, Any]:
    where = [Where("project", "=", query.project), Where("playthrough_id", "=", query.playthrough_id)]
    found: dict[str, Any] = {}
    while True:
        rows = reader.rows(
            VARIABLES_NOW.name, *where, order=("name",), limit=5000, after=[list(found)[-1]] if found else ()
        )
        found |= {row["name"]: row["value"] for row in rows}
        if len(rows) < 5000:
            return found


def list_history(reader: Reader, query: ListPlaythroughHistory) -> dict[str, Any]:
    """A page of what happened; raises ``NotFound`` for a playthrough that never began."""
    _playthrough(reader, query.project, query.playthrough_id)
    return page(
        reader, HAPPENED.name, Where("project", "=", query.project),
        Where("playthrough_id", "=", query.playthrough_id), order=("position", "place"), limit=query.limit,
        cursor=query.cursor,
        shape=lambda row: {name: value for name, value in row.items() if name not in ("project", "playthrough_id")},
    )


def _playthrough(reader: Reader, project: str, id_: str) -> Row:
    row = reader.row(PLAYTHROUGHS.name, project=project, playthrough_id=id_)
    if row is None:
        raise NotFound(
            f"Project {project} has no playthrough {id_}.", error="unknown_playthrough",
            remediation=[
                Remedy("Start one: POST /api/playthroughs.", "start_playthrough"),
                Remedy("List those there are: GET /api/playthroughs.", "list_playthroughs"),
            ],
            detail={"playthrough": id_},
        )
    return row


def _listed(row: Row) -> dict[str, Any]:
    names = ("title", "seed", "slot", "step", "pov", "scene", "node", "next", "finished", "version", "position",
             "started_at", "updated_at")
    pin = {
        "worldline": row["worldline"], "position": row["pinned"], "timeline": row["timeline"],
        "scene": row["scene_only"], "content": row["content"],
    }
    return {
        "id": row["playthrough_id"], **{name: row[name] for name in names}, "pin": pin,
        "dice": row["standing"]["dice"], "started_by": row["actor"],
    }


PROJECTIONS = (
    Projection(
        name="playthroughs", version=1, tables=(PLAYTHROUGHS, VARIABLES_NOW, HAPPENED), apply=apply,
        categories=frozenset({CATEGORY}),
        about="Where playthroughs stand, their variables, and everything that happened in them.",
    ),
)

_ONE = "/api/playthroughs/{playthrough_id}"
_SCOPE = f"{CATEGORY}:read"

VIEWS = (
    View("ListPlaythroughs", "/api/playthroughs", ListPlaythroughs, list_playthroughs, ("playthroughs",), _SCOPE),
    View("ShowPlaythrough", _ONE, ShowPlaythrough, show_playthrough, ("playthroughs", "documents", "worldlines"),
         _SCOPE),
    View("ListPlaythroughHistory", f"{_ONE}/history", ListPlaythroughHistory, list_history, ("playthroughs",), _SCOPE),
)
