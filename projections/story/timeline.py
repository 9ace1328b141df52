"""Timelines as people read them: the documents, and what is odd about them beside the scenes that are there."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from domain.ids import Token
from domain.story.authored import document_from
from domain.story.timeline import TIMELINE, scenes_of, warnings
from domain.tables import Reader
from projections.boards.documents import lineage, standing
from projections.boards.story import present
from projections.reading import BranchQuery, View
from projections.story.authored import READS, found_document, seen_of

ROUTE: Final = "/api/timelines"

SHOWN: Final = 200
"""Most warnings that are told at once."""


class ShowTimelineDocument(BranchQuery):
    """One timeline: its entries in their order, its version, where it stands, and what is odd about it."""

    timeline_id: Token
    bare: bool = Field(default=False, description="Only the document, as `PUT` takes it.")


class CheckTimeline(BranchQuery):
    """What is odd about a timeline: scenes that are not there, and entries that are never reached."""

    timeline_id: Token


def show_timeline(reader: Reader, query: ShowTimelineDocument) -> dict[str, Any]:
    """The document, and besides it ``version``, ``position``, ``worldline``, ``inherited_from`` and ``warnings``."""
    found = found_document(TIMELINE, reader, query, query.timeline_id)
    told = {"id": query.timeline_id, **document_from(TIMELINE, found.fields)}
    if query.bare:
        return told
    return {**told, **standing(found, query.worldline), "warnings": _odd(reader, query, told)[:SHOWN]}


def check_timeline(reader: Reader, query: CheckTimeline) -> dict[str, Any]:
    """``{"id", "playable", "warnings", "missing_scenes", …}``: an absent scene keeps the timeline from being played."""
    found = found_document(TIMELINE, reader, query, query.timeline_id)
    odd = _odd(reader, query, document_from(TIMELINE, found.fields))
    keeping = [one for one in odd if one["code"] in ("missing_scene", "nothing_to_play")]
    return {
        "id": query.timeline_id, "playable": not keeping, "warnings": odd[:SHOWN], "count": len(odd),
        **standing(found, query.worldline),
    }


def _odd(reader: Reader, query: BranchQuery, document: dict[str, Any]) -> list[dict[str, str]]:
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    there = present(reader, chain, query.project, "scene", {*scenes_of(document["entries"])})
    return [one.shown() for one in warnings(document, there)]


PROJECTIONS = ()

VIEWS = (
    # `ShowTimeline` is what happened; a document of this context bears another name.
    *(view for view in seen_of(TIMELINE, ROUTE) if view.name != "ShowTimeline"),
    View("ShowTimelineDocument", f"{ROUTE}/{{timeline_id}}", ShowTimelineDocument, show_timeline, READS,
         "timeline:read"),
    View("CheckTimeline", f"{ROUTE}/{{timeline_id}}/check", CheckTimeline, check_timeline, READS, "timeline:read"),
)
