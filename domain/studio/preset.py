"""Presets of a project's own: written, replaced, put away and brought back. Those of the studio are always there."""

from __future__ import annotations

from typing import Annotated, Final, Literal, assert_never

from pydantic import Field, JsonValue

from domain.context import Context, Fields
from domain.errors import NotFound, Remedy
from domain.ids import Token
from domain.values import Event, Value

CATEGORY = "preset"

BUILT_IN: Final = frozenset({
    "photoreal_portrait_v1", "cinematic_portrait_v1", "identity_lock_portrait_v1", "image_to_video_v1",
    "talking_clip_v1", "video_identity_consistency_v1", "upscale_denoise_image_v1", "upscale_deflicker_video_v1",
    "color_grade_film_grain_v1", "storyboard_builder_v1", "ugc_clip_builder_v1", "repair_pipeline_v1",
})
"""Ids of the presets that every project has; nobody can take them for something else."""

RESERVED: Final = BUILT_IN | {"own"}
"""Ids that no preset of a project's own may have."""

JsonObject = dict[str, JsonValue]


class PresetCreated(Event):
    """A preset was written. ``document`` is all of it."""

    preset_id: Token
    document: JsonObject


class PresetReplaced(Event):
    """A preset became another one under the same id."""

    preset_id: Token
    document: JsonObject


class PresetDeleted(Event):
    """A preset is no longer offered; nothing of it is lost, and jobs that used it are as they were."""

    preset_id: Token


class PresetRestored(Event):
    """A deleted preset is offered again. ``document`` is all of it."""

    preset_id: Token
    document: JsonObject


PresetEvent = PresetCreated | PresetReplaced | PresetDeleted | PresetRestored


class Unwritten(Value):
    """No such preset yet."""

    kind: Literal["unwritten"] = "unwritten"


class Written(Value):
    """A preset that can be run."""

    kind: Literal["written"] = "written"
    document: JsonObject


class Deleted(Value):
    """A preset that was put away."""

    kind: Literal["deleted"] = "deleted"
    document: JsonObject


State = Unwritten | Written | Deleted
PresetState = Annotated[State, Field(discriminator="kind")]


def evolve(state: State, event: PresetEvent) -> State:
    """What an event makes of a preset."""
    match event:
        case PresetCreated() | PresetReplaced() | PresetRestored():
            return Written(document=event.document)
        case PresetDeleted():
            return state if isinstance(state, Unwritten) else Deleted(document=state.document)
        case _:
            assert_never(event)


def fields(event: PresetEvent) -> Fields:
    """The whole document, and what lists show of it."""
    match event:
        case PresetCreated() | PresetReplaced() | PresetRestored():
            return {"document": event.document, "summary": {
                "title": event.document.get("name"), "category": event.document.get("category"),
            }}
        case PresetDeleted():
            return {"summary": None}
        case _:
            assert_never(event)


def unknown_preset(preset_id: str) -> NotFound:
    """No preset has that id."""
    return NotFound(
        f"There is no preset {preset_id[:100]}.", error="unknown_preset",
        remediation=[Remedy("List the presets.", "list_presets")], detail={"preset": preset_id[:100]},
    )


def deleted_preset(preset_id: str) -> NotFound:
    """The preset was put away."""
    return NotFound(
        f"Preset {preset_id} was deleted.", error="preset_deleted",
        remediation=[Remedy("Restore it: nothing of it is lost.", "restore_preset")], detail={"preset": preset_id},
    )


CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(PresetCreated, PresetReplaced, PresetDeleted, PresetRestored),
    state=PresetState,
    initial=Unwritten(),
    evolve=evolve,
    fields=fields,
)
