"""Characters as people read them: who there is, and the whole card of one."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from domain.errors import NotFound, Remedy
from domain.ids import Token
from domain.story.character import CATEGORY
from domain.tables import Reader, Row
from projections.boards.documents import document, lineage, listing
from projections.reading import BranchPageQuery, BranchQuery, View

PROJECTIONS = ()


class ListCharacters(BranchPageQuery):
    """The characters of a worldline by id, as of a position."""

    q: str = Field(default="", max_length=300, description="Only characters whose name or id holds this text.")
    tag: str = Field(default="", max_length=200, description="Only characters with this tag.")


class ShowCharacter(BranchQuery):
    """One character with its whole card."""

    character_id: Token


def list_characters(reader: Reader, query: ListCharacters) -> dict[str, Any]:
    """A page of ``{"id", "name", "tags", "portrait", "version", "position", "worldline"}``."""
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    wanted = query.q.casefold()

    def keep(row: Row) -> bool:
        summary = row["value"]
        if summary is None or (query.tag and query.tag not in summary["tags"]):
            return False
        return wanted in summary["name"].casefold() or wanted in row["id"].casefold()

    return listing(
        reader, chain, query.project, CATEGORY, field="summary", limit=query.limit, cursor=query.cursor,
        shape=_listed, keep=keep,
    )


def _listed(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"], **row["value"], "version": row["version"], "position": row["valid_from"],
        "worldline": row["worldline"],
    }


def show_character(reader: Reader, query: ShowCharacter) -> dict[str, Any]:
    """The character; raises ``NotFound``."""
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    found = document(reader, chain, query.project, CATEGORY, query.character_id)
    if found is None or "summary" not in found.fields:
        gone = found is not None
        raise NotFound(
            f"Character {query.character_id} was deleted." if gone
            else f"There is no character {query.character_id} on worldline {query.worldline}.",
            error="character_deleted" if gone else "unknown_character",
            remediation=[
                Remedy("Restore it: nothing of it is lost.", "restore_character") if gone
                else Remedy("List the characters of the worldline.", "list_characters")
            ],
            detail={"character": query.character_id, "worldline": query.worldline, "as_of": query.as_of},
        )
    shown = {name: value for name, value in found.fields.items() if name != "summary"}
    return {
        "id": query.character_id, "portrait": None, **shown, "version": found.version, "position": found.position,
        "worldline": query.worldline,
        "inherited_from": None if found.worldline == query.worldline else found.worldline,
    }


_READS = ("documents", "worldlines")

VIEWS = (
    View("ListCharacters", "/api/characters", ListCharacters, list_characters, _READS, "character:read"),
    View("ShowCharacter", "/api/characters/{character_id}", ShowCharacter, show_character, _READS, "character:read"),
)
