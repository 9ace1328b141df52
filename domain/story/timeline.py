"""Timelines: the order in which scenes are played, with branch groups, conditions and points of view.

An entry names a scene, or it is a branch group: alternatives of which the first is played that may be played then. The
scenes need not be there yet; a timeline is often planned before they are written.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, AliasChoices, Field, StrictBool, StrictInt, model_validator

from domain.bounded_json import BoundedObject
from domain.ids import Token
from domain.references import Reference, of_conditions, of_metadata
from domain.story.authored import ITEMS_LIMIT, Authored, Collection, Created, Edited, Key, Removed, Restored, Wrong
from domain.story.authored_writing import written_by
from domain.story.scene_model import Conditions, Pov, Title, Views
from domain.story.scene_rules import Problem
from domain.values import Event, Value

CATEGORY = "timeline"

ALTERNATIVES_LIMIT: Final = 200
"""Most alternatives of one branch group."""

ENTRIES: Final = "entries/"

SEED_LIMIT: Final = 2**63

KEY_ROOM: Final = 190
"""Characters of an id that is made from a name; a number may follow."""

_SCENE: Final = Field(validation_alias=AliasChoices("scene", "scene_id"))

Seed = Annotated[StrictInt, Field(ge=-SEED_LIMIT, lt=SEED_LIMIT)]
Notes = Annotated[str, Field(max_length=64_000)]
Label = Annotated[str, Field(max_length=300)]

class Alternative(Value):
    """A scene that a branch group may lead into. ``final``: the story is over when this scene is."""

    scene: Annotated[Token, _SCENE]
    label: Label | None = None
    conditions: Conditions = ()
    visible_to: Views = ()
    final: StrictBool = False


def _some(items: tuple[Alternative, ...] | None) -> tuple[Alternative, ...] | None:
    if items is not None and not items:
        raise ValueError("needs at least one alternative")
    return items


class Entry(Value):
    """A place in the order: a ``scene``, or a ``group`` of ``alternatives``: the first is played that may be.

    Without an ``id`` it is called after what it names.
    """

    id: Key | None = None
    scene: Annotated[Token | None, _SCENE] = None
    group: Annotated[Label, Field(min_length=1)] | None = None
    alternatives: Annotated[
        tuple[Alternative, ...] | None, Field(max_length=ALTERNATIVES_LIMIT), AfterValidator(_some)
    ] = None
    label: Label | None = None
    notes: Notes | None = None
    conditions: Conditions = ()
    visible_to: Views = ()
    final: StrictBool | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.scene is None) == (self.alternatives is None):
            raise ValueError("is either a `scene` or a `group` of `alternatives`")
        if (self.group is None) != (self.alternatives is None):
            raise ValueError("a branch group has both its name in `group` and its `alternatives`")
        if self.alternatives is not None and self.final is not None:
            raise ValueError("a branch group is not final: say `final` of its alternatives")
        return self


class Timeline(Value):
    """A timeline without its id. Former names of fields are understood, and stored under today's."""

    title: Title | None = Field(default=None, validation_alias=AliasChoices("title", "name"))
    notes: Notes | None = None
    seed: Seed | None = None
    default_pov: Pov | None = None
    metadata: BoundedObject | None = Field(default=None, validation_alias=AliasChoices("metadata", "meta"))
    entries: tuple[Entry, ...] = Field(
        default=(), max_length=ITEMS_LIMIT, validation_alias=AliasChoices("entries", "scene_order"),
    )


def identified(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Entries of which each has an id, and those that had none one that no other has: a scene may be played twice."""
    given = tuple(entries)
    used = {one.id for one in given if one.id is not None}
    found = []
    for one in given:
        if one.id is not None:
            found.append(one)
            continue
        name = _free(one.scene or one.group or "entry", used)
        used.add(name)
        found.append(one.model_copy(update={"id": name}))
    return tuple(found)


def _free(wanted: str, used: Container[str]) -> str:
    wanted = wanted.strip()[:KEY_ROOM].strip() or "entry"
    number = 1
    name = wanted
    while name in used:
        number += 1
        name = f"{wanted}-{number}"
    return name


def rules(document: Mapping[str, Any]) -> list[Wrong]:
    """What keeps stored entries from being read (former names are understood where they come in, and not kept), and
    groups that say two things of one scene."""
    message = "`scene_id` is called `scene`."
    wrong: list[Wrong] = [
        {"path": f"entries/{entry.get('id')}", "message": message, "code": "former_name"}
        for entry in document["entries"] if any("scene_id" in one for one in (entry, *alternatives_of(entry)))
    ]
    for entry in document["entries"]:
        wrong += [
            {"path": f"entries/{entry.get('id')}", "code": "final_and_not", "message": (
                f"Scene {scene} is final in one alternative and not in another: a play stands in a scene, not in an "
                "alternative. Make them two entries."
            )}
            for scene in final_and_not(entry)
        ]
    return wrong


def final_and_not(entry: Mapping[str, Any]) -> list[str]:
    """The scenes after which a branch group says both that the story is over, and that it goes on."""
    told: dict[Any, set[bool]] = {}
    for one in entry.get("alternatives") or ():
        told.setdefault(one.get("scene"), set()).add(bool(one.get("final", False)))
    return sorted(str(scene) for scene, both in told.items() if len(both) == 2)


class AboutTimeline(Event):
    """Which timeline an event is about."""

    timeline_id: str


class TimelineCreated(Created, AboutTimeline):
    """A timeline was written down."""


class TimelineEdited(Edited, AboutTimeline):
    """Fields or entries of a timeline changed."""


class TimelineDeleted(Removed, AboutTimeline):
    """The timeline is out of sight; nothing of it is lost."""


class TimelineRestored(Restored, AboutTimeline):
    """A deleted timeline is back as it was."""


def summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """What lists show of a timeline."""
    entries = document.get("entries") or ()
    return {
        "title": document.get("title"), "entries": len(entries), "scenes": len({*scenes_of(entries)}),
    }


def scenes_of(entries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The scenes that entries name, in their order; one that is named twice comes twice."""
    for entry in entries:
        for one in alternatives_of(entry):
            yield one["scene"]


def references(fields: Mapping[str, Any]) -> Iterator[Reference]:
    """The scenes that entries lead to, the variables that they test, and what the metadata names."""
    for field, value in fields.items():
        entry = value.get("item") if field.startswith(ENTRIES) and isinstance(value, Mapping) else None
        if not isinstance(entry, Mapping):
            continue
        for index, one in enumerate(alternatives_of(entry)):
            grouped = "alternatives" in entry
            goes = ("item", "alternatives", index) if grouped else ()
            yield Reference((("scene", str(one.get("scene"))),), field, goes, last=grouped, needed=True)
        yield from of_conditions(field, (entry, *(entry.get("alternatives") or ())))
    yield from of_metadata(fields)


def alternatives_of(entry: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """What may be played at an entry: the alternatives of a group, or the entry itself."""
    return entry.get("alternatives") or (entry,)


def warnings(document: Mapping[str, Any], there: Iterable[str]) -> list[Problem]:
    """What is odd about a timeline, given the ids of the scenes that are there."""
    known = frozenset(there)
    entries = document.get("entries") or ()
    found = [] if entries else [Problem("entries", "There is nothing to play yet.", "nothing_to_play")]
    over = ""
    for entry in entries:
        path = f"entries/{entry['id']}"
        if over:
            found.append(Problem(path, f"The story is always over after {over}.", "never_reached"))
            over = ""
        for index, one in enumerate(alternatives_of(entry)):
            if one["scene"] not in known:
                where = f"{path}/alternatives/{index}" if "alternatives" in entry else path
                found.append(Problem(where, f"There is no scene {one['scene']}.", "missing_scene"))
        found += _never_played(path, entry)
        if _always_final(entry):
            over = f"entry {entry['id']}"
    return found


def _always(one: Mapping[str, Any]) -> bool:
    return not one.get("conditions") and not one.get("visible_to")


def _never_played(path: str, entry: Mapping[str, Any]) -> Iterator[Problem]:
    sure = ""
    for index, one in enumerate(alternatives_of(entry)):
        if sure:
            yield Problem(f"{path}/alternatives/{index}", f"{sure} is always played instead.", "never_played")
        elif _always(one):
            sure = f"Alternative {index}"


def _always_final(entry: Mapping[str, Any]) -> bool:
    """Whether the story is over after an entry, whatever is played there."""
    alternatives = [*alternatives_of(entry)]
    return _always(entry) and any(map(_always, alternatives)) and all(one.get("final") for one in alternatives)


TIMELINE: Final = Authored(
    category=CATEGORY, name="Timeline", plural="Timelines", id_field="timeline_id", document=Timeline,
    created=TimelineCreated, edited=TimelineEdited, removed=TimelineDeleted, restored=TimelineRestored,
    collections=(Collection("entries", "entry", ordered=True),), summary=summary, searched=("title",),
    rules=rules, references=references, needing=frozenset({"scene"}),
)

CONTEXT = TIMELINE.context(written_by(TIMELINE))
