"""Asking for models: entries of one's own, and acknowledging what is risky. Downloads are in ``model_downloads.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, model_validator

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.studio import model_downloads
from commands.studio.model_refusals import another_entry, curated, underway, unfit_change
from commands.studio.model_risks import Risks, acknowledged, gate
from domain.ids import TOKEN_LIMIT, Token
from domain.studio.model import (
    Listed,
    Model,
    ModelAdded,
    ModelChanged,
    ModelEvent,
    ModelRemoved,
    Removed,
    Underway,
    entry_of,
    unknown_model,
)
from domain.studio.model_entry import Described, Entry
from domain.studio.model_library import LIBRARY
from domain.studio.model_values import (
    EngineIds,
    Filename,
    Licence,
    ModelType,
    Name,
    Risk,
    Sha256,
    Size,
    Tags,
    Url,
    WebPage,
    Words,
    slug,
)
from domain.values import Event, Json


class AddModel(Command, Described):
    """Add an entry of one's own. Without an id it gets ``custom-`` and its name; ids of entries begin so.

    An unknown licence and a missing checksum have to be acknowledged: name them in ``acknowledge``.
    """

    model_id: Token | None = Field(default=None, description="Begins with `custom-`; else that is put in front.")
    acknowledge: Risks = ()

    @model_validator(mode="after")
    def _named(self) -> AddModel:
        name = self.model_id or slug(self.name)
        name = name if name.startswith("custom-") else f"custom-{name}"
        if len(name) > TOKEN_LIMIT:
            raise ValueError(f"the id must have at most {TOKEN_LIMIT} characters with `custom-` in front")
        object.__setattr__(self, "model_id", name)  # frozen for everybody else; nobody has seen it yet
        return self


class ChangeModel(Command):
    """Change what an entry of one's own says; only what is named changes, and ``null`` takes it away.

    What was acknowledged about the licence or the file has to be acknowledged anew when that changes.
    """

    model_id: Token
    name: Name | None = None
    type: ModelType | None = None
    url: Url | None = None
    filename: Filename | None = None
    license: Licence | None = None
    license_url: WebPage | None = None
    sha256: Sha256 | None = None
    size_bytes: Size | None = None
    source: Words | None = None
    tags: Tags | None = None
    notes: Words | None = None
    recommended_use: Words | None = None
    hardware_notes: Words | None = None
    engines: EngineIds | None = None
    acknowledge: Risks = ()


class RemoveModel(Command):
    """Take an entry of one's own out of the catalogue. A file that was downloaded stays where it is."""

    model_id: Token


class AcknowledgeModel(Command):
    """Take responsibility for what is risky about a model: recorded with your name and what it was about."""

    model_id: Token
    acknowledge: Annotated[tuple[Risk, ...], Field(min_length=1, max_length=10)]


def add(command: AddModel, state: Model, asked: Asked) -> list[ModelEvent]:
    """Nothing when it is there, word for word. Raises ``Refused`` for another one of that id, and for risks that
    nobody has acknowledged."""
    model_id = str(command.model_id)
    _own(model_id)
    entry = Entry.model_validate({name: getattr(command, name) for name in Described.model_fields})
    if isinstance(state.listing, Listed):
        if state.listing.entry != entry:
            raise another_entry(model_id)
        return [*acknowledged(model_id, entry, state, command.acknowledge, asked)]
    gate(model_id, entry, Model(), command.acknowledge)
    return [
        ModelAdded(model_id=model_id, entry=entry),
        *acknowledged(model_id, entry, state, command.acknowledge, asked),
    ]


def change(command: ChangeModel, state: Model, asked: Asked) -> list[ModelEvent]:
    """Nothing when it is so already. Raises ``Refused`` while it is being downloaded, and as ``add`` does."""
    listed = _listed(command.model_id, state)
    given = {name: getattr(command, name) for name in command.model_fields_set & Described.model_fields.keys()}
    for name, value in given.items():
        if value is None:
            if (field := Described.model_fields[name]).is_required():
                raise unfit_change(name)
            given[name] = field.get_default()
    entry = Entry.model_validate(listed.entry.model_dump() | given)
    more = acknowledged(command.model_id, entry, state, command.acknowledge, asked)
    if entry == listed.entry:
        return [*more]
    _idle(command.model_id, state)
    gate(command.model_id, entry, state, command.acknowledge)
    return [ModelChanged(model_id=command.model_id, entry=entry), *more]


def remove(command: RemoveModel, state: Model, asked: Asked) -> list[ModelEvent]:
    """Nothing when it was removed already. Raises ``Refused`` while it is being downloaded."""
    if isinstance(state.listing, Removed):
        return []
    _listed(command.model_id, state)
    _idle(command.model_id, state)
    return [ModelRemoved(model_id=command.model_id)]


def acknowledge(command: AcknowledgeModel, state: Model, asked: Asked) -> list[ModelEvent]:
    """Nothing when all of it was acknowledged. Raises ``Invalid`` for what is no risk of this model."""
    entry = entry_of(command.model_id, state)
    return [*acknowledged(command.model_id, entry, state, command.acknowledge, asked)]


def _own(model_id: str) -> None:
    if model_id in LIBRARY:
        raise curated(model_id)


def _listed(model_id: str, state: Model) -> Listed:
    _own(model_id)
    if not isinstance(state.listing, Listed):
        raise unknown_model(model_id, removed=isinstance(state.listing, Removed))
    return state.listing


def _idle(model_id: str, state: Model) -> None:
    if isinstance(state.download, Underway):
        raise underway(model_id)


# --- what is told beside --------------------------------------------------------------------------------------------


def warned(events: Sequence[Event]) -> Mapping[str, Json]:
    """What people should know about the entry that they have just written."""
    for event in events:
        if isinstance(event, ModelAdded | ModelChanged):
            return {"warnings": list(event.entry.warnings())}
    return {}


COMMANDS = (
    Asking(AddModel, add, id_field="model_id", scope="model:write", route="POST /api/models/custom", creates=True,
           told=warned),
    Asking(ChangeModel, change, id_field="model_id", scope="model:write",
           route="PATCH /api/models/custom/{model_id}", told=warned),
    Asking(RemoveModel, remove, id_field="model_id", scope="model:write",
           route="DELETE /api/models/custom/{model_id}"),
    Asking(AcknowledgeModel, acknowledge, id_field="model_id", scope="model:write",
           route="POST /api/models/{model_id}/acknowledge"),
    *model_downloads.COMMANDS,
)

INNER = model_downloads.INNER
"""What a worker tells."""
