"""Templates as people read them: their own, and those that every project has."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from domain.errors import NotFound
from domain.ids import Token
from domain.story.template import TEMPLATE, summary
from domain.story.template_library import LIBRARY
from domain.tables import Reader
from projections.reading import BranchPageQuery, BranchQuery, View
from projections.story import authored

PROJECTIONS = ()


class ListTemplates(BranchPageQuery):
    """The templates of a worldline by id, as of a position; or those that every project has."""

    q: str = Field(default="", max_length=300, description="Only those whose id or title holds this text.")
    tag: str = Field(default="", max_length=300, description="Only those with this tag.")
    deleted: bool = Field(default=False, description="Only deleted ones, which can be restored.")
    built_in: bool = Field(default=False, description="Only those that every project has.")


class ShowTemplate(BranchQuery):
    """One template with its pattern and its parameters."""

    template_id: Token
    bare: bool = Field(default=False, description="Only the document, as `PUT` takes it.")


def list_templates(reader: Reader, query: ListTemplates) -> dict[str, Any]:
    """A page of ``{"id", "title", "tags", "parameters", "version", "position", "worldline"}``."""
    if not query.built_in:
        return authored.list_documents(TEMPLATE, reader, query)
    wanted = query.q.casefold()
    found = [
        {"id": id_, **summary(document), "version": 0, "position": 0, "worldline": query.worldline}
        for id_, document in LIBRARY.items()
        if wanted in f"{id_}\n{document['title']}".casefold() and (not query.tag or query.tag in document["tags"])
    ]
    return {"items": [] if query.cursor or query.deleted else found, "next": None}


def show_template(reader: Reader, query: ShowTemplate) -> dict[str, Any]:
    """The document and where it stands; ``built_in`` says whether every project has it. Raises ``NotFound``."""
    try:
        told = authored.show_document(TEMPLATE, reader, query)
    except NotFound as error:
        if error.code != "unknown_template" or query.template_id not in LIBRARY:
            raise
        told = {"id": query.template_id, **LIBRARY[query.template_id]}
        return told if query.bare else told | {
            "version": 0, "position": 0, "worldline": query.worldline, "inherited_from": None, "built_in": True,
        }
    return told if query.bare else told | {"built_in": False}


_SCOPE = "template:read"
_TEMPLATES = "/api/templates"

VIEWS = (
    View("ListTemplates", _TEMPLATES, ListTemplates, list_templates, authored.READS, _SCOPE),
    View("ShowTemplate", _TEMPLATES + "/{template_id}", ShowTemplate, show_template, authored.READS, _SCOPE),
    *(view for view in authored.seen_of(TEMPLATE, _TEMPLATES) if view.name == "ShowTemplateItem"),
)
