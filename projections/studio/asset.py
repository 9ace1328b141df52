"""The assets of a project as people see them: what there is, what it is called, who uses it, and its sidecar."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, get_args

from pydantic import Field, field_validator

from domain.errors import NotFound, Remedy
from domain.ids import UNBRANCHED
from domain.studio.asset import (
    CATEGORY,
    PREVIEWED,
    AssetDescribed,
    AssetReferenced,
    AssetRegistered,
    AssetReleased,
    AssetRemoved,
    AssetRestored,
    PreviewFailed,
    PreviewMade,
)
from domain.studio.asset_values import Kind, Uid
from domain.tables import OPEN, Change, Drop, Has, Patch, Put, Reader, Row, Table, Where
from projections.boards.documents import Reach, document
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, Query, View, page

KINDS: Final = frozenset(get_args(Kind))

ASSETS = Table(
    name="assets",
    columns={
        "project": "text", "uid": "text", "digest": "text", "size": "int", "media_type": "text", "kind": "text",
        "cautions": "json", "asset_type": "text", "name": "text", "tags": "json", "licence": "text", "origin": "text",
        "notes": "text", "nsfw": "bool", "metadata": "json", "sources": "json", "reference_count": "int",
        "preview": "text", "preview_reason": "text", "preview_message": "text", "variants": "json",
        "measures": "json", "removed": "bool", "searched": "text", "version": "int", "position": "int",
        "registered_position": "int", "created_at": "text", "updated_at": "text",
    },
    key=("project", "uid"),
    indexes=(
        ("project", "removed", "registered_position"), ("project", "kind", "registered_position"),
        ("project", "digest"), ("project", "registered_position"),
    ),
)
ASSET_TAGS = Table(
    name="asset_tags",
    columns={"project": "text", "uid": "text", "tag": "text"},
    key=("project", "uid", "tag"),
    indexes=(("project", "tag", "uid"),),
)
ASSET_REFERENCES = Table(
    name="asset_references",
    columns={"project": "text", "uid": "text", "reference": "text"},
    key=("project", "uid", "reference"),
    indexes=(("project", "reference", "uid"),),
)


def apply(happened: Happened) -> Iterable[Change]:
    """A registration is a row with its tags and references; whatever follows sets what it changed."""
    recorded, event = happened
    project, _, _, uid = recorded.stream
    told = {"version": recorded.version, "position": recorded.position, "updated_at": recorded.time}
    key = {"project": project, "uid": uid}
    match event:
        case AssetRegistered():
            yield Put(ASSETS.name, {
                **key, **_found(event), **_said(event), "reference_count": len(event.references),
                "preview": "awaited" if event.kind in PREVIEWED else "none", "preview_reason": "",
                "preview_message": "", "variants": [], "measures": {}, "removed": False,
                "registered_position": recorded.position, "created_at": recorded.time, **told,
            })
            yield from _tagged(key, event.tags)
            for name in event.references:
                yield Put(ASSET_REFERENCES.name, {**key, "reference": name})
        case AssetDescribed():
            yield Patch(ASSETS.name, key, {**_said(event), **told})
            yield Drop(ASSET_TAGS.name, key)
            yield from _tagged(key, event.tags)
        case AssetReferenced():
            yield Patch(ASSETS.name, key, {"reference_count": event.count, **told})
            yield Put(ASSET_REFERENCES.name, {**key, "reference": event.reference})
        case AssetReleased():
            yield Patch(ASSETS.name, key, {"reference_count": event.count, **told})
            yield Drop(ASSET_REFERENCES.name, {**key, "reference": event.reference})
        case PreviewMade():
            variants = [variant.model_dump(mode="json") for variant in event.variants]
            yield Patch(ASSETS.name, key, {
                "preview": "made", "preview_reason": "", "preview_message": "", "variants": variants,
                "measures": event.measures, **told,
            })
        case PreviewFailed():
            yield Patch(ASSETS.name, key, {
                "preview": "failed", "preview_reason": event.reason, "preview_message": event.message, **told,
            })
        case AssetRemoved():
            yield Patch(ASSETS.name, key, {"removed": True, **told})
        case AssetRestored():
            yield Patch(ASSETS.name, key, {"removed": False, **told})


def _found(event: AssetRegistered) -> dict[str, Any]:
    return {
        "digest": event.digest, "size": event.size, "media_type": event.media_type, "kind": event.kind,
        "cautions": list(event.cautions),
    }


def _said(event: AssetRegistered | AssetDescribed) -> dict[str, Any]:
    words = (event.name, *event.tags, event.asset_type, event.origin, event.licence, event.notes)
    return {
        "asset_type": event.asset_type, "name": event.name, "tags": list(event.tags), "licence": event.licence,
        "origin": event.origin, "notes": event.notes, "nsfw": event.nsfw, "metadata": event.metadata,
        "sources": [source.model_dump(mode="json") for source in event.sources],
        "searched": "\n".join((event.uid, *words)),
    }


def _tagged(key: dict[str, str], tags: Iterable[str]) -> Iterable[Change]:
    for tag in tags:
        yield Put(ASSET_TAGS.name, {**key, "tag": tag})


class ListAssets(PageQuery):
    """Assets, newest first; every filter narrows."""

    type: str | None = Field(default=None, max_length=64, description=(
        "What the bytes are (image, audio, video, font, text, json, archive, other), or else what the project uses "
        "it as."
    ))
    tag: tuple[str, ...] = Field(default=(), max_length=20, description="All of these; repeat or separate by commas.")
    hash: str | None = Field(default=None, max_length=80, description="SHA-256 of the bytes in hex, or its beginning.")
    q: str | None = Field(default=None, max_length=200, description="Text in name, tags, origin, licence or notes.")
    licence: str | None = Field(default=None, max_length=200)
    media_type: str | None = Field(default=None, max_length=120)
    reference: str | None = Field(default=None, max_length=500, description="What this name uses.")
    nsfw: bool | None = None
    preview: str | None = Field(default=None, pattern="^(none|awaited|made|failed)$")
    removed: bool = Field(default=False, description="Removed ones instead of those that are offered.")

    @field_validator("tag", mode="before")
    @classmethod
    def _split(cls, given: Any) -> Any:
        if isinstance(given, str):
            given = [given]
        if isinstance(given, list | tuple) and all(isinstance(one, str) for one in given):
            return tuple(tag.strip() for one in given for tag in one.split(",") if tag.strip())
        return given


class ShowAsset(Query):
    """One asset, as it is or as it was."""

    uid: Uid
    as_of: int = Field(default=0, ge=0, le=2**62, description="As it was at this position; 0 is now.")


class ShowSidecar(Query):
    """The sidecar of an asset: what stands beside its file when it leaves the studio."""

    uid: Uid


class ListAssetReferences(PageQuery):
    """Who uses an asset."""

    uid: Uid


def list_assets(reader: Reader, query: ListAssets) -> dict[str, Any]:
    """A page of assets."""
    where: list[Where | Has] = [Where("project", "=", query.project), Where("removed", "=", query.removed)]
    if query.type is not None:
        where.append(Where("kind" if query.type in KINDS else "asset_type", "=", query.type))
    for column in ("licence", "media_type", "nsfw", "preview"):
        if (value := getattr(query, column)) is not None:
            where.append(Where(column, "=", value))
    if query.hash is not None:
        wanted = query.hash.lower().removeprefix("sha256:")
        where.append(Where("digest", "=" if len(wanted) == 64 else "prefix", wanted))
    if query.q:
        where.append(Where("searched", "contains", query.q))
    on = {"project": "project", "uid": "uid"}
    where += [Has(ASSET_TAGS.name, on, (Where("tag", "=", tag),)) for tag in query.tag]
    if query.reference is not None:
        where.append(Has(ASSET_REFERENCES.name, on, (Where("reference", "=", query.reference),)))
    return page(
        reader, ASSETS.name, *where, order=("-registered_position",), limit=query.limit, cursor=query.cursor,
        shape=shape,
    )


def asset_row(reader: Reader, project: str, uid: str) -> Row:
    """The row of an asset; raises ``NotFound``."""
    row = reader.row(ASSETS.name, project=project, uid=uid)
    if row is None:
        raise NotFound(
            f"Project {project} has no asset {uid}.",
            error="unknown_asset",
            remediation=[Remedy("List the assets of the project.", "list_assets")],
            detail={"project": project, "uid": uid},
        )
    return row


def show_asset(reader: Reader, query: ShowAsset) -> dict[str, Any]:
    """One asset; as of a position: the fields that it had then. Raises ``NotFound``."""
    row = asset_row(reader, query.project, query.uid)
    if not query.as_of:
        return shape(row)
    then = document(reader, [Reach(UNBRANCHED, min(query.as_of, OPEN - 1))], query.project, CATEGORY, query.uid)
    if then is None:
        raise NotFound(
            f"Asset {query.uid} was not registered at position {query.as_of} yet.",
            error="unknown_asset",
            remediation=[Remedy("Ask for a later position.", "show_now")],
            detail={"uid": query.uid, "registered_position": row["registered_position"]},
        )
    plain = {name: value for name, value in then.fields.items() if not name.startswith("references/")}
    used = sorted(name.removeprefix("references/") for name in then.fields if name.startswith("references/"))
    plain.pop("summary", None)
    return {"uid": query.uid, **plain, "removed": "removed" in then.fields, "references": used,
            "version": then.version, "position": then.position}


def show_sidecar(reader: Reader, query: ShowSidecar) -> dict[str, Any]:
    """The sidecar of an asset; raises ``NotFound``."""
    return sidecar(asset_row(reader, query.project, query.uid))


def list_references(reader: Reader, query: ListAssetReferences) -> dict[str, Any]:
    """A page of the names that use an asset; raises ``NotFound``."""
    asset_row(reader, query.project, query.uid)
    return page(
        reader, ASSET_REFERENCES.name, Where("project", "=", query.project), Where("uid", "=", query.uid),
        order=("reference",), limit=query.limit, cursor=query.cursor, shape=lambda row: row["reference"],
    )


def shape(row: Row) -> dict[str, Any]:
    """An asset as the list and the single view show it."""
    hidden = {"project", "searched", "registered_position", "preview_reason", "preview_message", "variants"}
    shown = {name: value for name, value in row.items() if name not in hidden}
    return {**shown, "hash": row["digest"], "preview": _preview(row)}


def _preview(row: Row) -> dict[str, Any]:
    told: dict[str, Any] = {"status": row["preview"]}
    if row["preview"] == "failed":
        told |= {"reason": row["preview_reason"], "message": row["preview_message"]}
    return {**told, "variants": row["variants"]}


def sidecar(row: Row) -> dict[str, Any]:
    """What travels beside a file as ``<file>.asset.json``; importing a folder reads it again."""
    return {
        "sidecar": "comfyvn.asset@1", "id": row["uid"], "hash": row["digest"], "bytes": row["size"],
        "type": row["kind"], "asset_type": row["asset_type"], "media_type": row["media_type"], "name": row["name"],
        "created_at": row["created_at"], "updated_at": row["updated_at"], "version": row["version"],
        "tags": row["tags"], "license": row["licence"], "origin": row["origin"], "nsfw": row["nsfw"],
        "notes": row["notes"], "metadata": row["metadata"], "sources": row["sources"], "measures": row["measures"],
        "preview": _preview(row),
    }


PROJECTIONS = (
    Projection(
        name="assets", version=1, tables=(ASSETS, ASSET_TAGS, ASSET_REFERENCES), apply=apply,
        categories=frozenset({CATEGORY}), about="What there is, what it is called and who uses it.",
    ),
)

VIEWS = (
    View("ListAssets", "/api/assets", ListAssets, list_assets, ("assets",), "asset:read"),
    View("ShowAsset", "/api/assets/{uid}", ShowAsset, show_asset, ("assets", "documents"), "asset:read"),
    View("ShowSidecar", "/api/assets/{uid}/sidecar", ShowSidecar, show_sidecar, ("assets",), "asset:read"),
    View("ListAssetReferences", "/api/assets/{uid}/references", ListAssetReferences, list_references, ("assets",),
         "asset:read"),
)
