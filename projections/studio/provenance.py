"""Provenance manifests: where each asset comes from, by which events, in a form whose digest means the same everywhere.

A manifest names positions of the log and the hash of every event's body there, so that anybody who has the log (or an
export of it) can check every line; ``services.provenance`` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

from pydantic import Field

from domain.canonical import digest
from domain.ids import UNBRANCHED
from domain.studio.asset import CATEGORY
from domain.studio.asset_values import Uid
from domain.studio.provenance import CATEGORY as SIGNING
from domain.studio.provenance import AssetSigned, SigningFailed, SigningRequested, words
from domain.studio.source_types import address
from domain.tables import Add, Change, Put, Reader, Row, Table, Where
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, View, page
from projections.studio import lineage
from projections.studio.asset import ASSETS, asset_row

ASSET_MANIFEST: Final = "comfyvn.provenance.asset@1"
PROJECT_MANIFEST: Final = "comfyvn.provenance.project@1"

EVENTS_EACH: Final = 20
"""Events of one asset that stand in a project's manifest; the asset's own manifest has them all, page by page."""

PROVENANCE = Table(
    name="provenance_events",
    columns={
        "project": "text", "uid": "text", "position": "int", "version": "int", "type": "text", "schema": "int",
        "event_id": "text", "command_id": "text", "correlation_id": "text", "causation_id": "text", "actor": "text",
        "time": "text", "body_sha256": "text",
    },
    key=("project", "uid", "position"),
)

CREDENTIALS = Table(
    name="credentials",
    columns={
        "project": "text", "uid": "text", "state": "text", "requested": "bool", "reason": "text", "message": "text",
        "signing": "json", "position": "int", "version": "int", "event_id": "text", "signed_at": "text",
    },
    key=("project", "uid"),
    indexes=(("project", "state", "uid"),),
)


def apply_signing(happened: Happened) -> Iterable[Change]:
    """How each asset is signed; a request leaves standing what was signed before."""
    recorded, event = happened
    key = {"project": recorded.stream.project, "uid": recorded.stream.id}
    told = {"position": recorded.position, "version": recorded.version}
    match event:
        case SigningRequested():
            yield Add(CREDENTIALS.name, key, {}, {"requested": True, **told}, {
                "state": "unsigned", "reason": "", "message": "", "signing": {}, "event_id": "", "signed_at": "",
            })
        case AssetSigned():
            yield Put(CREDENTIALS.name, {
                **key, **told, "state": event.standing, "requested": False, "reason": "", "message": "",
                "signing": event.model_dump(mode="json", exclude={"uid"}), "event_id": recorded.event_id,
                "signed_at": recorded.time,
            })
        case SigningFailed():
            failed = {"requested": False, "reason": event.reason, "message": event.message}
            yield Add(CREDENTIALS.name, key, {}, {**failed, **told}, {
                "state": "unsigned", "signing": {}, "event_id": "", "signed_at": "",
            })


def apply(happened: Happened) -> Iterable[Change]:
    """One row per event of an asset, with the hash of its body as the log holds it."""
    recorded = happened.recorded
    yield Put(PROVENANCE.name, {
        "project": recorded.stream.project, "uid": recorded.stream.id, "position": recorded.position,
        "version": recorded.version, "type": recorded.type, "schema": recorded.schema, "event_id": recorded.event_id,
        "command_id": recorded.command_id, "correlation_id": recorded.correlation_id,
        "causation_id": recorded.causation_id, "actor": recorded.actor, "time": recorded.time,
        "body_sha256": hashlib.sha256(recorded.data).hexdigest(),
    })


class ShowAssetProvenance(PageQuery):
    """The manifest of one asset; its events oldest first, page by page."""

    uid: Uid
    limit: int = Field(default=500, ge=1, le=500)


class ShowProjectProvenance(PageQuery):
    """The manifest of a project: its assets by id, page by page, each with its newest events."""

    limit: int = Field(default=50, ge=1, le=200)


def show_asset_provenance(reader: Reader, query: ShowAssetProvenance) -> dict[str, Any]:
    """A page of an asset's manifest; raises ``NotFound``."""
    row = asset_row(reader, query.project, query.uid)
    found = page(
        reader, PROVENANCE.name, Where("project", "=", query.project), Where("uid", "=", query.uid),
        order=("position",), limit=query.limit, cursor=query.cursor, shape=_event,
    )
    events: Any = found["items"]
    return {**_sealed(asset_manifest(row, events, credentials_of(reader, query.project, query.uid))),
            "next": found["next"]}


def show_project_provenance(reader: Reader, query: ShowProjectProvenance) -> dict[str, Any]:
    """A page of a project's manifest; removed assets stay in it, since the past used them."""
    found = page(
        reader, ASSETS.name, Where("project", "=", query.project), order=("uid",), limit=query.limit,
        cursor=query.cursor,
    )
    rows: Any = found["items"]
    assets = [
        _sealed(asset_manifest(row, _newest(reader, row), credentials_of(reader, query.project, row["uid"])))
        for row in rows
    ]
    manifest: dict[str, Any] = {
        "manifest": PROJECT_MANIFEST, "project": query.project, "assets": assets,
        "licences": sorted({one["asset"]["licence"] for one in assets if one["asset"]["licence"]}),
        "unlicensed": [one["asset"]["uid"] for one in assets if not one["asset"]["licence"]],
        "seeds": sorted({seed for one in assets for seed in one["seeds"]}),
        "position": max((one["position"] for one in assets), default=0),
    }
    return {**_sealed(manifest), "next": found["next"]}


def credentials_of(reader: Reader, project: str, uid: str) -> dict[str, Any]:
    """How an asset is signed, with what the signed statement says and in plain words what that is worth."""
    row = reader.row(CREDENTIALS.name, project=project, uid=uid)
    if row is None:
        return {"state": "unsigned", "requested": False, "words": words("", "", [])}
    told = {"state": row["state"], "requested": row["requested"], "position": row["position"],
            "version": row["version"]}
    if row["reason"]:
        told["failure"] = {"reason": row["reason"], "message": row["message"]}
        told["state"] = row["state"] if row["signing"] else "failed"
    signing = row["signing"]
    if not signing:
        return {**told, "words": words("", "", [])}
    return {
        **told, "signed_at": row["signed_at"], **signing,
        "digital_source_type": address(signing["source_type"]) if signing["source_type"] else "",
        "trusted": "here", "words": words(row["state"], signing["form"], signing["ingredients"]),
    }


def asset_manifest(row: Row, events: list[dict[str, Any]], credentials: dict[str, Any]) -> dict[str, Any]:
    """The manifest of an asset without its digest: its facts as of ``position``, and the events given."""
    return {
        "manifest": ASSET_MANIFEST,
        "project": row["project"],
        "stream": f"vn.{row['project']}.{UNBRANCHED}.{CATEGORY}.{row['uid']}",
        "asset": {
            "uid": row["uid"], "sha256": row["digest"], "bytes": row["size"], "media_type": row["media_type"],
            "kind": row["kind"], "asset_type": row["asset_type"], "name": row["name"], "tags": row["tags"],
            "licence": row["licence"], "origin": row["origin"], "nsfw": row["nsfw"], "removed": row["removed"],
            "variants": row["variants"],
        },
        "sources": row["sources"],
        "seeds": sorted({source["seed"] for source in row["sources"] if source["seed"]}),
        "version": row["version"],
        "position": row["position"],
        "credentials": credentials,
        "events": events,
    }


def _newest(reader: Reader, row: Row) -> list[dict[str, Any]]:
    found = reader.rows(
        PROVENANCE.name, Where("project", "=", row["project"]), Where("uid", "=", row["uid"]),
        order=("-position",), limit=EVENTS_EACH,
    )
    return [_event(one) for one in reversed(found)]


def _event(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("project", "uid")}


def _sealed(manifest: dict[str, Any]) -> dict[str, Any]:
    return {**manifest, "digest": digest(manifest)}


PROJECTIONS = (
    Projection(
        name="provenance", version=1, tables=(PROVENANCE,), apply=apply, categories=frozenset({CATEGORY}),
        decodes=False, about="The events that made each asset, with the hashes of their bodies.",
    ),
    Projection(
        name="credentials", version=1, tables=(CREDENTIALS,), apply=apply_signing, categories=frozenset({SIGNING}),
        about="How each asset is signed, and what the signed statement says.",
    ),
    *lineage.PROJECTIONS,
)

VIEWS = (
    View("ShowAssetProvenance", "/api/assets/{uid}/provenance", ShowAssetProvenance, show_asset_provenance,
         ("assets", "provenance", "credentials"), "asset:read"),
    View("ShowProjectProvenance", "/api/provenance", ShowProjectProvenance, show_project_provenance,
         ("assets", "provenance", "credentials"), "asset:read"),
    *lineage.VIEWS,
)
