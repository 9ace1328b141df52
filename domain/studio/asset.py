"""Assets: pictures, sounds and other files by the hash of their bytes, what is known of them, and who uses them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, assert_never

from pydantic import AfterValidator, Field, JsonValue

from domain.context import Context, Fields
from domain.studio.asset_values import (
    AssetType,
    Caution,
    Code,
    Digest,
    Kind,
    Licence,
    MediaType,
    Metadata,
    Name,
    Notes,
    Origin,
    Reference,
    Source,
    Tags,
    Uid,
    Variant,
    distinct,
)
from domain.values import Event, Value

CATEGORY = "asset"

PREVIEWED: Final = frozenset({"image", "audio", "video"})
"""Kinds of which a picture is tried; of the others there is none to make."""

REFERENCE_LIMIT: Final = 5_000
SOURCE_LIMIT: Final = 64


class AssetRegistered(Event):
    """Bytes became an asset of the project. ``uid`` is the first 16 hex digits of ``digest``.

    ``media_type``, ``kind`` and ``cautions`` were found in the bytes; everything after them was said by somebody.
    """

    uid: Uid
    digest: Digest
    size: int = Field(ge=1)
    media_type: MediaType
    kind: Kind
    cautions: tuple[Caution, ...]
    asset_type: AssetType
    name: Name
    tags: Tags
    licence: Licence
    origin: Origin
    notes: Notes
    nsfw: bool
    metadata: Metadata
    sources: tuple[Source, ...]
    references: tuple[Reference, ...]


class AssetDescribed(Event):
    """What is said about an asset changed; every field stands with its whole value after the change."""

    uid: Uid
    kind: Kind
    asset_type: AssetType
    name: Name
    tags: Tags
    licence: Licence
    origin: Origin
    notes: Notes
    nsfw: bool
    metadata: Metadata
    sources: tuple[Source, ...]


class AssetReferenced(Event):
    """Something uses the asset under a name; ``count`` is the number of names after it."""

    uid: Uid
    reference: Reference
    count: int = Field(ge=1)


class AssetReleased(Event):
    """A name no longer uses the asset; ``count`` is the number of names after it."""

    uid: Uid
    reference: Reference
    count: int = Field(ge=0)


class PreviewMade(Event):
    """Small pictures were made of the asset by a recipe; ``measures`` is what was learnt on the way (pixels, ms)."""

    uid: Uid
    recipe: Code
    variants: tuple[Variant, ...]
    measures: dict[str, JsonValue]


class PreviewFailed(Event):
    """No picture could be made: ``reason`` is a code, ``message`` a sentence."""

    uid: Uid
    recipe: Code
    reason: Code
    message: str = Field(max_length=500)


class AssetRemoved(Event):
    """The asset is no longer offered. Its bytes stay, so that the past can still be shown and this be undone."""

    uid: Uid
    reason: str = Field(max_length=500)


class AssetRestored(Event):
    """A removed asset is offered again, as it was."""

    uid: Uid
    name: Name
    kind: Kind


AssetEvent = (
    AssetRegistered | AssetDescribed | AssetReferenced | AssetReleased | PreviewMade | PreviewFailed
    | AssetRemoved | AssetRestored
)


class NoPreview(Value):
    """Nothing made yet, or nothing to make."""

    kind: Literal["none"] = "none"


class Preview(Value):
    """Pictures that were made."""

    kind: Literal["made"] = "made"
    recipe: str
    variants: tuple[Variant, ...]
    measures: dict[str, JsonValue]


class FailedPreview(Value):
    """Why there are no pictures."""

    kind: Literal["failed"] = "failed"
    recipe: str
    reason: str
    message: str


class Unregistered(Value):
    """No such asset yet."""

    kind: Literal["unregistered"] = "unregistered"


class Described(Value):
    """What people say about an asset."""

    asset_type: AssetType = ""
    name: Name = ""
    tags: Tags = ()
    licence: Licence = ""
    origin: Origin = ""
    notes: Notes = ""
    nsfw: bool = False
    metadata: Metadata = {}
    sources: Annotated[tuple[Source, ...], AfterValidator(distinct)] = ()


class Registered(Value):
    """An asset that is offered."""

    kind: Literal["registered"] = "registered"
    digest: Digest
    size: int
    media_type: MediaType
    content: Kind
    described: Described
    references: tuple[Reference, ...]
    preview: Annotated[NoPreview | Preview | FailedPreview, Field(discriminator="kind")] = NoPreview()


class Removed(Value):
    """An asset that is no longer offered; it comes back as it was."""

    kind: Literal["removed"] = "removed"
    was: Registered


State = Unregistered | Registered | Removed
AssetState = Annotated[State, Field(discriminator="kind")]

DESCRIPTION: Final = tuple(Described.model_fields)


def description(event: AssetRegistered | AssetDescribed | Described) -> dict[str, Any]:
    """What is said about an asset, by field name."""
    return {name: getattr(event, name) for name in DESCRIPTION}


def evolve(state: State, event: AssetEvent) -> State:
    """What an event makes of an asset. What is learnt of a removed asset is kept for its return."""
    if isinstance(event, AssetRegistered):
        return Registered(
            digest=event.digest, size=event.size, media_type=event.media_type, content=event.kind,
            described=Described.model_construct(**description(event)), references=event.references,
        )
    assert not isinstance(state, Unregistered), "an asset is registered before anything else happens to it"
    if isinstance(event, AssetRestored):
        return state.was if isinstance(state, Removed) else state
    if isinstance(state, Removed):
        return Removed(was=_changed(state.was, event))
    if isinstance(event, AssetRemoved):
        return Removed(was=state)
    return _changed(state, event)


def _changed(asset: Registered, event: AssetEvent) -> Registered:
    match event:
        case AssetDescribed():
            return asset.model_copy(update={"described": Described.model_construct(**description(event))})
        case AssetReferenced():
            return asset.model_copy(update={"references": (*asset.references, event.reference)})
        case AssetReleased():
            left = tuple(one for one in asset.references if one != event.reference)
            return asset.model_copy(update={"references": left})
        case PreviewMade():
            made = Preview(recipe=event.recipe, variants=event.variants, measures=event.measures)
            return asset.model_copy(update={"preview": made})
        case PreviewFailed():
            failed = FailedPreview(recipe=event.recipe, reason=event.reason, message=event.message)
            return asset.model_copy(update={"preview": failed})
        case AssetRegistered() | AssetRemoved() | AssetRestored():
            return asset
        case _:
            assert_never(event)


def fields(event: AssetEvent) -> Fields:
    """Every field with its whole value after the event; a reference is a field of its own (``references/<name>``)."""
    match event:
        case AssetRegistered():
            plain = event.model_dump(mode="json", exclude={"uid", "references"})
            return plain | {f"references/{one}": True for one in event.references} | {"summary": _summary(event)}
        case AssetDescribed():
            return event.model_dump(mode="json", exclude={"uid", "kind"}) | {"summary": _summary(event)}
        case AssetReferenced():
            return {f"references/{event.reference}": True}
        case AssetReleased():
            return {f"references/{event.reference}": None}
        case PreviewMade():
            return {"preview": event.model_dump(mode="json", exclude={"uid"})}
        case PreviewFailed():
            return {"preview": event.model_dump(mode="json", exclude={"uid"})}
        case AssetRemoved():
            return {"removed": {"reason": event.reason}, "summary": None}
        case AssetRestored():
            return {"removed": None, "summary": _summary(event)}
        case _:
            assert_never(event)


def _summary(event: AssetRegistered | AssetDescribed | AssetRestored) -> dict[str, str]:
    return {"title": event.name, "kind": event.kind}


CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(
        AssetRegistered, AssetDescribed, AssetReferenced, AssetReleased, PreviewMade, PreviewFailed,
        AssetRemoved, AssetRestored,
    ),
    state=AssetState,
    initial=Unregistered(),
    evolve=evolve,
    fields=fields,
)
