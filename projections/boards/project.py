"""A whole project at a glance: what it holds on a worldline, as of a position."""

from __future__ import annotations

from typing import Any, Final

from domain.story import character, scene
from domain.tables import Reader, Where
from projections.boards.documents import FIELDS, Reach, lineage
from projections.reading import BranchQuery, View

COUNTED: Final = 100_000
"""Most documents of one kind that are counted; beyond it the count says so by being this number."""

KINDS: Final = {"scenes": scene.CATEGORY, "characters": character.CATEGORY}


class ShowProject(BranchQuery):
    """What a project holds on a worldline: how many scenes, nodes and characters, and since when unchanged."""


def show_project(reader: Reader, query: ShowProject) -> dict[str, Any]:
    """``{"project", "worldline", "as_of", "position", "lineage", "counts", "changed_at"}``.

    ``position`` is how far the view has counted; ``changed_at`` when anything counted here changed last (0: never).
    """
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    counts: dict[str, int] = {}
    changed = nodes = 0
    for name, category in KINDS.items():
        summaries, newest = _summaries(reader, chain, query.project, category)
        counts[name] = len(summaries)
        changed = max(changed, newest)
        nodes += sum(summary.get("nodes", 0) for summary in summaries.values())
    return {
        "project": query.project, "worldline": query.worldline, "as_of": query.as_of or None,
        "position": reader.position("documents"),
        "lineage": [
            {"worldline": reach.worldline, "upto": reach.upto if index or query.as_of else None}
            for index, reach in enumerate(chain)
        ],
        "counts": counts | {"nodes": nodes}, "changed_at": changed,
    }


def _summaries(reader: Reader, chain: list[Reach], project: str, category: str) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    newest = 0
    for reach in reversed(chain):
        for row in reader.rows(
            FIELDS.name, Where("project", "=", project), Where("worldline", "=", reach.worldline),
            Where("category", "=", category), Where("field", "=", "summary"),
            Where("valid_to", ">", reach.upto), Where("valid_from", "<=", reach.upto), limit=COUNTED,
        ):
            found[row["id"]] = row["value"]
            newest = max(newest, row["valid_from"])
    return {id_: summary for id_, summary in found.items() if summary is not None}, newest


PROJECTIONS = ()

VIEWS = (
    View("ShowProject", "/api/project", ShowProject, show_project, ("documents", "worldlines"), "project:read"),
)
