"""Asking for presets of a project's own. Those of the studio can neither be changed nor put away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from commands.declaration import Asking, Command
from commands.envelope import Asked
from domain.errors import Refused, Remedy
from domain.ids import Token
from domain.ports import BlobInfo
from domain.studio.preset import (
    RESERVED,
    Deleted,
    JsonObject,
    PresetCreated,
    PresetDeleted,
    PresetEvent,
    PresetReplaced,
    PresetRestored,
    State,
    Unwritten,
    Written,
    deleted_preset,
    unknown_preset,
)
from domain.studio.preset_model import Preset


class CreatePreset(Command, Preset):
    """Write a preset of the project's own."""


class ReplacePreset(Command, Preset):
    """Make a preset another one under the same id."""


class DeletePreset(Command):
    """Put a preset away. It can be restored; jobs that used it are as they were."""

    id: Token


class RestorePreset(Command):
    """Offer a deleted preset again, as it was."""

    id: Token


def create(command: CreatePreset, state: State, asked: Asked) -> list[PresetEvent]:
    """Nothing when it is there, word for word."""
    _own(command.id)
    document = _document(command)
    if isinstance(state, Unwritten):
        return [PresetCreated(preset_id=command.id, document=document)]
    if isinstance(state, Written) and state.document == document:
        return []
    raise Refused(
        f"There is a preset {command.id} already" + (", which was deleted." if isinstance(state, Deleted) else "."),
        error="preset_exists",
        remediation=[
            Remedy("Restore it, then replace it.", "restore_preset") if isinstance(state, Deleted)
            else Remedy("Replace it, or choose another id.", "replace_preset"),
        ],
        detail={"preset": command.id},
    )


def replace(command: ReplacePreset, state: State, asked: Asked) -> list[PresetEvent]:
    """Nothing when it is so already."""
    _own(command.id)
    document = _document(command)
    written = _written(command.id, state)
    return [] if written.document == document else [PresetReplaced(preset_id=command.id, document=document)]


def delete(command: DeletePreset, state: State, asked: Asked) -> list[PresetEvent]:
    """A deleted preset stays so."""
    _own(command.id)
    if isinstance(state, Unwritten):
        raise unknown_preset(command.id)
    return [] if isinstance(state, Deleted) else [PresetDeleted(preset_id=command.id)]


def restore(command: RestorePreset, state: State, asked: Asked) -> list[PresetEvent]:
    """A preset that is there stays so."""
    _own(command.id)
    if isinstance(state, Unwritten):
        raise unknown_preset(command.id)
    return [PresetRestored(preset_id=command.id, document=state.document)] if isinstance(state, Deleted) else []


def _own(preset_id: str) -> None:
    if preset_id in RESERVED:
        raise Refused(
            f"{preset_id} belongs to the studio.", error="built_in_preset",
            remediation=[Remedy("Write a copy under another id.", "copy_preset")], detail={"preset": preset_id},
        )


def _written(preset_id: str, state: State) -> Written:
    match state:
        case Unwritten():
            raise unknown_preset(preset_id)
        case Deleted():
            raise deleted_preset(preset_id)
        case Written():
            return state


def _document(command: Any) -> JsonObject:
    told: JsonObject = Preset.model_construct(**{
        name: getattr(command, name) for name in Preset.model_fields
    }).model_dump(mode="json", exclude_defaults=True)
    return told


def workflows(command: CreatePreset | ReplacePreset) -> Sequence[BlobInfo]:
    """The stored workflows that a preset runs."""
    return [BlobInfo(one.digest, one.size) for one in command.workflows.values()]


COMMANDS = (
    Asking(CreatePreset, create, id_field="id", scope="preset:write", route="POST /api/presets", creates=True,
           blobs=workflows),
    Asking(ReplacePreset, replace, id_field="id", scope="preset:write", route="PUT /api/presets/{id}",
           blobs=workflows),
    Asking(DeletePreset, delete, id_field="id", scope="preset:write", route="DELETE /api/presets/{id}"),
    Asking(RestorePreset, restore, id_field="id", scope="preset:write", route="POST /api/presets/{id}/restore"),
)
