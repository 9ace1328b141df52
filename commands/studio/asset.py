"""Asking for an asset to be kept, described, used, removed or brought back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, ValidationError

from commands.declaration import Asking, Command
from commands.envelope import Asked
from domain.bounded_json import same_json
from domain.errors import Invalid, NotFound, Refused, Remedy
from domain.ports import BlobInfo
from domain.studio.asset import (
    DESCRIPTION,
    REFERENCE_LIMIT,
    SOURCE_LIMIT,
    AssetDescribed,
    AssetEvent,
    AssetReferenced,
    AssetRegistered,
    AssetReleased,
    AssetRemoved,
    AssetRestored,
    Described,
    FailedPreview,
    Preview,
    PreviewFailed,
    PreviewMade,
    Registered,
    Removed,
    State,
    Unregistered,
    description,
)
from domain.studio.asset_values import (
    UID_LENGTH,
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
from domain.values import Value

Reason = Annotated[str, Field(max_length=500)]


class Said(Value):
    """What people say about an asset; what is not named is not touched."""

    name: Name | None = None
    asset_type: AssetType | None = None
    tags: Tags | None = None
    licence: Licence | None = None
    origin: Origin | None = None
    notes: Notes | None = None
    nsfw: bool | None = None
    metadata: Metadata | None = None


class StoredBytes(Command):
    """Bytes that are stored, and what was found out by looking at them."""

    digest: Digest
    size: int = Field(ge=1, le=2**53)
    media_type: MediaType
    kind: Kind
    cautions: Annotated[tuple[Caution, ...], Field(max_length=16)] = ()


class RegisterAsset(Said, StoredBytes):
    """Keep stored bytes as an asset. Bytes that are one already: what is named here is merged into what is known.

    Tags are added, ``metadata`` keys set, other named fields replaced, a source that tells something added.
    """

    source: Source | None = None
    reference: Reference | None = None

    @property
    def uid(self) -> str:
        """The asset's id: the first 16 hex digits of the digest."""
        return self.digest[:UID_LENGTH]


class AboutAsset(Command):
    """Something asked of an asset that is there."""

    uid: Uid


class DescribeAsset(Said, AboutAsset):
    """Say something else about an asset: what is named is replaced, the rest stays."""


class TagAsset(AboutAsset):
    """Add and take away tags; the others stay, whoever set them meanwhile."""

    add: Tags = ()
    remove: Tags = ()


class ReferenceAsset(AboutAsset):
    """Say that something uses the asset, so that it is not removed under it."""

    reference: Reference


class ReleaseAsset(AboutAsset):
    """Say that something no longer uses the asset."""

    reference: Reference


class RemoveAsset(AboutAsset):
    """Stop offering an asset that nothing uses."""

    reason: Reason = ""


class RestoreAsset(AboutAsset):
    """Offer a removed asset again."""


class RecordPreview(AboutAsset):
    """Record small pictures that were made of an asset and stored as blobs."""

    recipe: Code
    variants: Annotated[tuple[Variant, ...], Field(min_length=1, max_length=16)]
    measures: Metadata = {}


class RecordPreviewFailure(AboutAsset):
    """Record why no picture can be made of an asset."""

    recipe: Code
    reason: Code
    message: Reason = ""


def register(command: RegisterAsset, state: State, asked: Asked) -> list[AssetEvent]:
    """One event for new bytes; for known bytes what is new about them, or nothing."""
    if isinstance(state, Unregistered):
        return [_first(command)]
    asset = state.was if isinstance(state, Removed) else state
    if asset.digest != command.digest:
        raise Refused(
            f"Asset {command.uid} holds other bytes whose hash begins with the same {UID_LENGTH} digits.",
            error="asset_id_collision",
            remediation=[Remedy("Change the file by a byte (its comment, say) and register it again.", "change_file")],
            detail={"uid": command.uid, "digest": command.digest, "registered": asset.digest},
        )
    events: list[AssetEvent] = []
    if isinstance(state, Removed):
        events.append(_restored(command.uid, asset))
    events += _redescribed(command.uid, asset, _merged(asset.described, command))
    if command.reference is not None:
        events += _referenced(command.uid, asset, command.reference)
    return events


def _first(command: RegisterAsset) -> AssetRegistered:
    said = {name: value for name in DESCRIPTION if (value := getattr(command, name, None)) is not None}
    described = Described(**said, sources=() if command.source is None else (command.source,))
    return AssetRegistered(
        uid=command.uid, digest=command.digest, size=command.size, media_type=command.media_type, kind=command.kind,
        cautions=command.cautions, **description(described),
        references=() if command.reference is None else (command.reference,),
    )


def _merged(before: Described, command: RegisterAsset) -> Described:
    named = {name: value for name in DESCRIPTION if (value := getattr(command, name, None)) is not None}
    if "name" in named and before.name:  # the same bytes under another file name are still that asset
        del named["name"]
    if "tags" in named:
        named["tags"] = (*before.tags, *named["tags"])
    if "metadata" in named:
        named["metadata"] = before.metadata | named["metadata"]
    if command.source is not None and (command.source.telling or not before.sources):
        named["sources"] = distinct((*before.sources, command.source))
        if len(named["sources"]) > SOURCE_LIMIT:
            raise _too_many(f"An asset has at most {SOURCE_LIMIT} sources.", "too_many_sources")
    return _described(before, named)


def _described(before: Described, named: dict[str, Any]) -> Described:
    try:
        return Described(**description(before) | named)
    except ValidationError as error:
        raise _too_many(
            "Together with what is known already that is too much: "
            + "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors()) + ".",
            "description_too_large",
        ) from error


def describe(command: DescribeAsset, state: State, asked: Asked) -> list[AssetEvent]:
    """Nothing when everything named is so already."""
    asset = _offered(command.uid, state)
    named = command.model_dump(exclude={"uid"}, exclude_none=True)
    return _redescribed(command.uid, asset, _described(asset.described, named))


def tag(command: TagAsset, state: State, asked: Asked) -> list[AssetEvent]:
    """What is both added and taken away is a contradiction."""
    asset = _offered(command.uid, state)
    if both := sorted(set(command.add) & set(command.remove)):
        raise Invalid(
            f"Tags both added and removed: {', '.join(both)}.",
            error="contradicting_tags",
            remediation=[Remedy("Name each tag once.", "edit_tags")],
        )
    tags = (set(asset.described.tags) | set(command.add)) - set(command.remove)
    return _redescribed(command.uid, asset, _described(asset.described, {"tags": tuple(tags)}))


def _redescribed(uid: str, asset: Registered, after: Described) -> list[AssetEvent]:
    if same_json(after.model_dump(mode="json"), asset.described.model_dump(mode="json")):
        return []
    return [AssetDescribed(uid=uid, kind=asset.content, **description(after))]


def reference(command: ReferenceAsset, state: State, asked: Asked) -> list[AssetEvent]:
    """A name counts once, however often it is said."""
    return _referenced(command.uid, _offered(command.uid, state), command.reference)


def _referenced(uid: str, asset: Registered, name: str) -> list[AssetEvent]:
    if name in asset.references:
        return []
    if len(asset.references) >= REFERENCE_LIMIT:
        raise _too_many(f"An asset has at most {REFERENCE_LIMIT} references.", "too_many_references")
    return [AssetReferenced(uid=uid, reference=name, count=len(asset.references) + 1)]


def release(command: ReleaseAsset, state: State, asked: Asked) -> list[AssetEvent]:
    """Releasing what does not use the asset is harmless."""
    asset = _known(command.uid, state)
    if command.reference not in asset.references:
        return []
    return [AssetReleased(uid=command.uid, reference=command.reference, count=len(asset.references) - 1)]


def remove(command: RemoveAsset, state: State, asked: Asked) -> list[AssetEvent]:
    """Refused while anything uses it."""
    asset = _known(command.uid, state)
    if isinstance(state, Removed):
        return []
    if asset.references:
        shown = ", ".join(asset.references[:5]) + (", …" if len(asset.references) > 5 else "")
        raise Refused(
            f"Asset {command.uid} is in use by {shown}.",
            error="asset_in_use",
            remediation=[Remedy("Release those references first.", "release_references")],
            detail={"uid": command.uid, "references": list(asset.references[:100]), "count": len(asset.references)},
        )
    return [AssetRemoved(uid=command.uid, reason=command.reason)]


def restore(command: RestoreAsset, state: State, asked: Asked) -> list[AssetEvent]:
    """An asset that is offered stays so."""
    asset = _known(command.uid, state)
    return [_restored(command.uid, asset)] if isinstance(state, Removed) else []


def _restored(uid: str, asset: Registered) -> AssetRestored:
    return AssetRestored(uid=uid, name=asset.described.name, kind=asset.content)


def record_preview(command: RecordPreview, state: State, asked: Asked) -> list[AssetEvent]:
    """The same pictures by the same recipe are not news; also a removed asset's are recorded, for its return."""
    asset = _known(command.uid, state)
    if len({variant.name for variant in command.variants}) < len(command.variants):
        raise Invalid(
            "Two variants of a preview have the same name.",
            error="contradicting_variants",
            remediation=[Remedy("Name each variant once.", "rename")],
        )
    made = Preview(recipe=command.recipe, variants=command.variants, measures=command.measures)
    if asset.preview == made:
        return []
    return [PreviewMade(
        uid=command.uid, recipe=command.recipe, variants=command.variants, measures=command.measures
    )]


def record_preview_failure(command: RecordPreviewFailure, state: State, asked: Asked) -> list[AssetEvent]:
    """A failure never takes away pictures that an earlier try has made."""
    asset = _known(command.uid, state)
    failed = FailedPreview(recipe=command.recipe, reason=command.reason, message=command.message)
    if asset.preview == failed or isinstance(asset.preview, Preview):
        return []
    return [PreviewFailed(
        uid=command.uid, recipe=command.recipe, reason=command.reason, message=command.message
    )]


def _known(uid: str, state: State) -> Registered:
    if isinstance(state, Unregistered):
        raise unknown_asset(uid)
    return state.was if isinstance(state, Removed) else state


def _offered(uid: str, state: State) -> Registered:
    asset = _known(uid, state)
    if isinstance(state, Removed):
        raise Refused(
            f"Asset {uid} has been removed.",
            error="asset_removed",
            remediation=[Remedy("Restore it first.", "restore_asset")],
            detail={"uid": uid},
        )
    return asset


def unknown_asset(uid: str) -> NotFound:
    """The error for an id that no asset of the project has."""
    return NotFound(
        f"There is no asset {uid}.",
        error="unknown_asset",
        remediation=[Remedy("List the assets of the project.", "list_assets")],
        detail={"uid": uid},
    )


def _too_many(rule: str, error: str) -> Refused:
    return Refused(rule, error=error, remediation=[Remedy("Take something away first.", "describe_asset")])


def stored(command: RegisterAsset | RecordPreview) -> Sequence[BlobInfo]:
    """The blobs that must be stored before the command is decided."""
    if isinstance(command, RegisterAsset):
        return [BlobInfo(command.digest, command.size)]
    return [BlobInfo(variant.digest, variant.size) for variant in command.variants]


COMMANDS = (
    Asking(RegisterAsset, register, id_field="uid", scope="asset:write", creates=True, blobs=stored),
    Asking(DescribeAsset, describe, id_field="uid", scope="asset:write", route="PATCH /api/assets/{uid}"),
    Asking(TagAsset, tag, id_field="uid", scope="asset:write", route="POST /api/assets/{uid}/tags"),
    Asking(ReferenceAsset, reference, id_field="uid", scope="asset:write", route="POST /api/assets/{uid}/references"),
    Asking(ReleaseAsset, release, id_field="uid", scope="asset:write", route="POST /api/assets/{uid}/release"),
    Asking(RemoveAsset, remove, id_field="uid", scope="asset:write", route="DELETE /api/assets/{uid}"),
    Asking(RestoreAsset, restore, id_field="uid", scope="asset:write", route="POST /api/assets/{uid}/restore"),
    Asking(RecordPreview, record_preview, id_field="uid", scope="asset:write", blobs=stored),
    Asking(RecordPreviewFailure, record_preview_failure, id_field="uid", scope="asset:write"),
)
