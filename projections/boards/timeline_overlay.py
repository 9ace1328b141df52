"""The worldlines of a project laid over one another: lanes, what each changes, what was kept on it, and scrubbing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from domain.bounded_json import same_json
from domain.errors import NotFound, Remedy
from domain.ids import MAIN, Token
from domain.story import scene
from domain.story.pov import DEFAULT_VIEW
from domain.story.scene_events import NODE_FIELD
from domain.story.snapshot import SHOWN, snapshot_id
from domain.story.worldline import LANE_COLORS, LANE_LABELS, NamedLane
from domain.tables import OPEN, Reader, Row, Where
from projections.boards.documents import FIELDS, Reach, lineage
from projections.reading import PageQuery, Query, View, decode_cursor, encode_cursor
from projections.story.pov import VIEWS_TABLE
from projections.story.snapshot import SNAPSHOTS
from projections.story.snapshot import shape as snapshot_shape
from projections.story.worldline import WORLDLINES, main
from projections.story.worldline import shape as worldline_shape

Badge = Literal["added", "removed", "changed", "shared"]

BADGED: Final = 400
"""Most fields of a worldline that one answer compares with its parent."""

_NAMES: Final = 400


class ShowOverlay(PageQuery):
    """Lanes, and the worldlines in them: where each left its parent, what it changes, what was kept on it."""

    lane: NamedLane | None = Field(default=None, description="Only the worldlines of one lane.")
    worldline: Token | None = Field(default=None, description="Only this one.")
    archived: bool = Field(default=False, description="Those that were put away instead.")
    badges: bool = Field(default=True, description="Compare scenes and nodes with the parent as it was at the fork.")
    snapshots: int = Field(default=12, ge=0, le=SHOWN, description="Newest snapshots of each worldline.")
    view: Token = Field(default=DEFAULT_VIEW, description="Whose worldline counts as the active one.")


class ScrubOverlay(Query):
    """The snapshot before or after another in its lane."""

    lane: NamedLane | None = Field(default=None, description="Else the lane of the snapshot's worldline.")
    worldline: Token | None = Field(default=None, description="Only snapshots of this worldline.")
    cache_key: str = Field(default="", max_length=2000, description=(
        "Where it goes on from; blank is before the first, and for a step back after the last."
    ))
    step: Annotated[int, Field(ge=-100, le=100)] = 1


# --- the overlay --------------------------------------------------------------------------------------------------


def show_overlay(reader: Reader, query: ShowOverlay) -> dict[str, Any]:
    """``{"lanes", "items", "next", "active"}``; ``main`` comes first, then forks by id."""
    seen = reader.row(VIEWS_TABLE.name, project=query.project, view_id=query.view)
    active = seen["worldline"] if seen else MAIN
    rows, following = _page(reader, query)
    lines = [worldline_shape(row) for row in rows]
    wanted = query.lane in (None, "official") and query.worldline in (None, MAIN) and not query.archived
    if wanted and not query.cursor:
        lines = [main(), *lines]
    items = [_item(reader, query, line, active) for line in lines]
    return {
        "project": query.project, "enabled": True, "active": active, "lanes": _lanes(reader, query.project),
        "items": items, "next": following,
    }


def _page(reader: Reader, query: ShowOverlay) -> tuple[list[Row], str | None]:
    after = decode_cursor(query.cursor, 1)
    if query.worldline is not None:
        if query.worldline == MAIN:
            return [], None
        row = reader.row(WORLDLINES.name, project=query.project, worldline_id=query.worldline)
        if row is None:
            raise _no_worldline(query.project, query.worldline)
        return [row], None
    where = [Where("project", "=", query.project), Where("archived", "=", query.archived)]
    where += [Where("lane", "=", query.lane)] if query.lane else []
    where += [Where("worldline_id", ">", str(after[0]))] if after else []
    rows = reader.rows(WORLDLINES.name, *where, order=("worldline_id",), limit=query.limit + 1)
    more = len(rows) > query.limit
    rows = rows[:query.limit]
    return rows, encode_cursor([rows[-1]["worldline_id"]]) if more else None


def _lanes(reader: Reader, project: str) -> list[dict[str, Any]]:
    found = []
    for lane, label in LANE_LABELS.items():
        counted = reader.count(
            WORLDLINES.name, Where("project", "=", project), Where("archived", "=", False), Where("lane", "=", lane),
        )
        found.append({"lane": lane, "label": label, "color": LANE_COLORS[lane],
                      "worldlines": counted + (lane == "official")})
    return found


def _item(reader: Reader, query: ShowOverlay, line: Mapping[str, Any], active: str) -> dict[str, Any]:
    project, name = query.project, line["id"]
    scenes, more = badges(reader, project, name) if query.badges and name != MAIN else ({}, False)
    counts = dict.fromkeys(("added", "removed", "changed", "shared"), 0)
    for one in scenes.values():
        for badge in one["nodes"].values():
            counts[badge] += 1
    kept = [
        {**_small(row), "badge": badge_of(scenes, row["scene"], row["node"])}
        for row in (_newest(reader, project, name, query.snapshots) if query.snapshots else ())
    ]
    return {
        **line, "active": name == active,
        "events": reader.count("timeline", Where("project", "=", project), Where("worldline", "=", name)),
        "changes": {
            "scenes": {badge: sum(one["badge"] == badge for one in scenes.values()) for badge in counts},
            "nodes": counts, "more": more,
        },
        "badges": [
            {"scene": id_, "badge": one["badge"],
             "nodes": [{"id": node, "badge": badge} for node, badge in sorted(one["nodes"].items())]}
            for id_, one in sorted(scenes.items())
        ],
        "snapshots": {
            "count": reader.count(SNAPSHOTS.name, Where("project", "=", project), Where("worldline", "=", name)),
            "items": kept,
        },
    }


def _newest(reader: Reader, project: str, worldline: str, limit: int) -> list[Row]:
    return reader.rows(
        SNAPSHOTS.name, Where("project", "=", project), Where("worldline", "=", worldline), order=("-position",),
        limit=limit,
    )


def _small(row: Row) -> dict[str, Any]:
    names = ("cache_key", "scene", "node", "pov", "thumbnail", "captured_at", "position")
    return {"id": row["snapshot_id"], **{name: row[name] for name in names}}


# --- badges -------------------------------------------------------------------------------------------------------


def badges(reader: Reader, project: str, worldline: str) -> tuple[dict[str, dict[str, Any]], bool]:
    """Scene -> ``{"badge", "nodes": {id: badge}}`` for what was written on a worldline, against its parent as it was
    at the fork; and whether there is more than one answer compares. Only what was written there is read."""
    rows = reader.rows(
        FIELDS.name, Where("project", "=", project), Where("worldline", "=", worldline),
        Where("category", "=", scene.CATEGORY), Where("valid_to", "=", OPEN), order=("id", "field"), limit=BADGED + 1,
    )
    more = len(rows) > BADGED
    own: dict[str, dict[str, Any]] = {}
    for row in rows[:BADGED]:
        own.setdefault(row["id"], {})[row["field"]] = row["value"]
    parents = lineage(reader, project, worldline, 0)[1:]
    before = _before(reader, project, parents, own)
    return {id_: _compared(fields, before.get(id_, {})) for id_, fields in own.items()}, more


def _before(
    reader: Reader, project: str, parents: Sequence[Reach], own: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What the parents said of the same fields."""
    found: dict[str, dict[str, Any]] = {}
    fields = sorted({field for one in own.values() for field in one} | {"summary"})
    for reach in reversed(parents):
        for ids in _chunks(sorted(own)):
            for paths in _chunks(fields):
                rows = reader.rows(
                    FIELDS.name, Where("project", "=", project), Where("worldline", "=", reach.worldline),
                    Where("category", "=", scene.CATEGORY), Where("id", "in", ids), Where("field", "in", paths),
                    Where("valid_from", "<=", reach.upto), Where("valid_to", ">", reach.upto),
                    limit=len(ids) * len(paths),
                )
                for row in rows:
                    found.setdefault(row["id"], {})[row["field"]] = row["value"]
    return found


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _NAMES):
        yield names[start : start + _NAMES]


def _compared(own: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    each = {path: badge(before.get(path), value) for path, value in own.items() if path != "summary"}
    alive, was = own.get("summary", before.get("summary")), before.get("summary")
    whole: Badge
    if alive is None:
        whole = "shared" if was is None else "removed"
    elif was is None:
        whole = "added"
    else:
        whole = "changed" if any(one != "shared" for one in each.values()) else "shared"
    start = NODE_FIELD
    nodes = {path.removeprefix(start): one for path, one in each.items() if path.startswith(start)}
    return {"badge": whole, "nodes": nodes}


def badge(before: Any, after: Any) -> Badge:
    """How something stands to what it was: nothing is ``None``."""
    if before is None:
        return "shared" if after is None else "added"
    if after is None:
        return "removed"
    return "shared" if same_json(before, after) else "changed"


def badge_of(scenes: Mapping[str, Mapping[str, Any]], name: str, node: str) -> Badge:
    """The badge of a node; what was not written on the worldline is shared with its parent."""
    found = scenes.get(name)
    if found is None:
        return "shared"
    whole: Badge = found["badge"]
    one: Badge = found["nodes"].get(node, "shared")
    return whole if whole in ("added", "removed") else one


# --- scrubbing ----------------------------------------------------------------------------------------------------


def scrub_overlay(reader: Reader, query: ScrubOverlay) -> dict[str, Any]:
    """``{"snapshot", "lane", "moved"}``: as far as there are snapshots, in the order in which they were kept."""
    start = reader.row(SNAPSHOTS.name, project=query.project, snapshot_id=snapshot_id(query.cache_key))
    if query.cache_key and start is None:
        raise NotFound(
            "No snapshot of that key is kept.", error="unknown_snapshot",
            remediation=[Remedy("List the snapshots of the worldline.", "list_snapshots")],
            detail={"cache_key": query.cache_key[:500]},
        )
    lane = query.lane or (_lane(reader, query.project, start["worldline"]) if start else "official")
    lines = [query.worldline] if query.worldline else _of_lane(reader, query.project, lane)
    at = start["position"] if start else (0 if query.step >= 0 else OPEN)
    found = _beyond(reader, query.project, lines, at, query.step)
    moved = len(found)
    row = found[-1] if found else start
    return {
        "lane": lane, "lane_color": LANE_COLORS[lane], "lane_label": LANE_LABELS[lane],
        "from": query.cache_key or None, "moved": moved if query.step >= 0 else -moved,
        "snapshot": snapshot_shape(row) if row else None,
    }


def _beyond(reader: Reader, project: str, lines: Sequence[str], at: int, step: int) -> list[Row]:
    """Up to ``step`` snapshots after a position, or before it where ``step`` is negative, nearest first."""
    count = abs(step)
    if count == 0:
        return []
    beyond = Where("position", ">", at) if step > 0 else Where("position", "<", at)
    order = ("position",) if step > 0 else ("-position",)
    found = [
        row for names in _chunks(lines) for row in reader.rows(
            SNAPSHOTS.name, Where("project", "=", project), Where("worldline", "in", names), beyond, order=order,
            limit=count,
        )
    ]
    return sorted(found, key=lambda row: int(row["position"]), reverse=step < 0)[:count]


def _lane(reader: Reader, project: str, worldline: str) -> str:
    row = reader.row(WORLDLINES.name, project=project, worldline_id=worldline)
    return str(row["lane"]) if row else "official"


def _of_lane(reader: Reader, project: str, lane: str) -> list[str]:
    rows = reader.rows(
        WORLDLINES.name, Where("project", "=", project), Where("archived", "=", False), Where("lane", "=", lane),
        order=("worldline_id",), limit=100_000,
    )
    return ([MAIN] if lane == "official" else []) + [row["worldline_id"] for row in rows]


def _no_worldline(project: str, worldline: str) -> NotFound:
    return NotFound(
        f"Project {project} has no worldline {worldline}.", error="unknown_worldline",
        remediation=[Remedy("List the worldlines of the project.", "list_worldlines")],
    )


PROJECTIONS = ()

VIEWS = (
    View("ShowOverlay", "/api/timeline/overlay", ShowOverlay, show_overlay,
         ("worldlines", "documents", "snapshots", "pov", "timeline"), "timeline:read"),
    View("ScrubOverlay", "/api/timeline/overlay/scrub", ScrubOverlay, scrub_overlay, ("worldlines", "snapshots"),
         "timeline:read"),
)
