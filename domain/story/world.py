"""Worlds: the lore that stories share. Rules, locations, factions, lore and prompt templates, each item by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from domain.bounded_json import BoundedJson, BoundedObject
from domain.references import of_metadata
from domain.story.authored import Authored, Collection, Created, Edited, Key, Removed, Restored
from domain.story.authored_writing import written_by
from domain.values import Event, Value

CATEGORY = "world"

Name = Annotated[str, Field(min_length=1, max_length=300)]
Words = Annotated[str, Field(max_length=64_000)]
Tag = Annotated[str, Field(min_length=1, max_length=200)]
Tags = Annotated[tuple[Tag, ...], Field(max_length=500)]
Items = dict[Key, BoundedJson]


class World(Value):
    """A world without its id. Items of its collections are texts or objects, as their author likes."""

    name: Name | None = None
    summary: Words | None = None
    tone: Words | None = None
    tags: Tags | None = None
    metadata: BoundedObject | None = None
    rules: Items = {}
    locations: Items = {}
    factions: Items = {}
    lore: Items = {}
    prompt_templates: dict[Key, Words] = {}


class AboutWorld(Event):
    """Which world an event is about."""

    world_id: str


class WorldCreated(Created, AboutWorld):
    """A world was written down."""


class WorldEdited(Edited, AboutWorld):
    """Fields or items of a world changed."""


class WorldDeleted(Removed, AboutWorld):
    """The world is out of sight; nothing of it is lost."""


class WorldRestored(Restored, AboutWorld):
    """A deleted world is back as it was."""


def summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """What lists show of a world."""
    return {"name": document.get("name"), "tags": list(document.get("tags") or ())} | {
        one.name: len(document.get(one.name) or ()) for one in COLLECTIONS
    }


COLLECTIONS: Final = (
    Collection("rules", "rule"), Collection("locations", "location"), Collection("factions", "faction"),
    Collection("lore", "lore"), Collection("prompt_templates", "prompt_template"),
)

WORLD: Final = Authored(
    category=CATEGORY, name="World", plural="Worlds", id_field="world_id", document=World, created=WorldCreated,
    edited=WorldEdited, removed=WorldDeleted, restored=WorldRestored, collections=COLLECTIONS, summary=summary,
    searched=("name",), references=of_metadata,
)

CONTEXT = WORLD.context(written_by(WORLD))
