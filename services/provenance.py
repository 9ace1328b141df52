"""Checks a provenance manifest against the log, and against the blobs: every line of it, one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from domain.canonical import digest
from domain.errors import ComfyVNError, Invalid, Remedy
from domain.ids import UNBRANCHED, token
from domain.ports import Blobs, Log, Recorded, Stream
from domain.studio.asset import CATEGORY, CONTEXT, Preview, Registered, Removed
from domain.studio.provenance import CATEGORY as SIGNING
from domain.studio.provenance import AssetSigned
from projections.studio.provenance import ASSET_MANIFEST, PROJECT_MANIFEST
from services.registry import REGISTRY, Registry, Undecodable

MOST: Final = 200
"""Most findings of one check; after that the manifest is wrong enough."""


class Finding(NamedTuple):
    """Something that is not as the manifest says. ``position`` is 0 where no single event is meant."""

    code: str
    message: str
    position: int = 0


async def verify_manifest(
    log: Log, manifest: Mapping[str, Any], *, blobs: Blobs | None = None, registry: Registry = REGISTRY
) -> list[Finding]:
    """What does not hold of a manifest as a view gave it out; an empty list means that all of it holds.

    Checked: its own digest; that every event stands at its position in the log with that id, type, version, actor,
    time, command and body hash; that none is left out between the first and the last one named; that the asset's facts
    are what its events add up to at ``position``; with ``blobs``, that bytes of that size are kept and have that hash.
    Raises ``Invalid`` for what is no manifest, ``Unavailable`` when the log cannot answer.
    """
    kind = manifest.get("manifest")
    if kind not in (ASSET_MANIFEST, PROJECT_MANIFEST):
        raise _no_manifest(f"it calls itself {str(kind)[:60]!r}")
    try:
        findings = _sealed(manifest)
        if kind == ASSET_MANIFEST:
            findings += await _asset(log, manifest, blobs, registry)
        else:
            for one in manifest["assets"]:
                findings += await verify_manifest(log, one, blobs=blobs, registry=registry)
                if one["project"] != manifest["project"]:
                    findings.append(Finding("foreign_asset", f"{one['asset']['uid']} is of another project."))
                if len(findings) >= MOST:
                    break
            findings += _totals(manifest)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _no_manifest(f"{type(error).__name__}: {error}") from error
    return findings[:MOST]


def _sealed(manifest: Mapping[str, Any]) -> list[Finding]:
    body = {name: value for name, value in manifest.items() if name not in ("digest", "next")}
    try:
        found = digest(body)
    except ComfyVNError as error:
        return [Finding("not_canonical", error.message)]
    if found == manifest.get("digest"):
        return []
    return [Finding("digest", f"The manifest's digest is {found}, not {str(manifest.get('digest'))[:80]}.")]


def _totals(manifest: Mapping[str, Any]) -> list[Finding]:
    assets = manifest["assets"]
    wanted = {
        "licences": sorted({one["asset"]["licence"] for one in assets if one["asset"]["licence"]}),
        "unlicensed": [one["asset"]["uid"] for one in assets if not one["asset"]["licence"]],
        "seeds": sorted({seed for one in assets for seed in one["seeds"]}),
        "position": max((one["position"] for one in assets), default=0),
    }
    return [Finding("totals", f"`{name}` is not what the assets add up to.")
            for name, value in wanted.items() if manifest[name] != value]


async def _asset(
    log: Log, manifest: Mapping[str, Any], blobs: Blobs | None, registry: Registry
) -> list[Finding]:
    asset, position = manifest["asset"], int(manifest["position"])
    stream = Stream(token(manifest["project"]), UNBRANCHED, CATEGORY, token(asset["uid"]))
    findings = []
    if manifest["stream"] != stream.subject:
        findings.append(Finding("stream", f"The asset's events stand at {stream.subject}."))
    recorded = await log.read_stream(stream, upto=position)
    if not recorded or recorded[-1].position != position or recorded[-1].version != manifest["version"]:
        findings.append(Finding("position", f"No event of this asset stands at position {position}.", position))
    findings += _events(recorded, manifest["events"])
    findings += _facts(recorded, manifest, registry)
    findings += await _credentials(log, manifest, registry)
    if blobs is not None:
        findings += await _bytes(blobs, asset)
    return findings


def _events(recorded: list[Recorded], told: list[Mapping[str, Any]]) -> list[Finding]:
    known = {one.position: one for one in recorded}
    findings = []
    for event in told:
        found = known.get(event["position"])
        if found is None:
            findings.append(Finding("unknown_event", f"No such event at position {event['position']}.",
                                    int(event["position"])))
            continue
        wanted = {
            "position": found.position, "version": found.version, "type": found.type, "schema": found.schema,
            "event_id": found.event_id, "command_id": found.command_id, "correlation_id": found.correlation_id,
            "causation_id": found.causation_id, "actor": found.actor, "time": found.time,
            "body_sha256": hashlib.sha256(found.data).hexdigest(),
        }
        findings += [
            Finding("event", f"The {name} of the event at position {found.position} is another one.", found.position)
            for name in sorted(wanted.keys() | event.keys()) if wanted.get(name) != event.get(name)
        ]
    positions = [event["position"] for event in told]
    if positions:
        between = [one.position for one in recorded if positions[0] <= one.position <= positions[-1]]
        findings += [Finding("left_out", f"The event at position {one} is left out.", one)
                     for one in between if one not in set(positions)]
        if positions != sorted(set(positions)):
            findings.append(Finding("order", "The events do not stand in their order."))
    return findings


def _facts(recorded: list[Recorded], manifest: Mapping[str, Any], registry: Registry) -> list[Finding]:
    state: Any = CONTEXT.initial
    try:
        for one in recorded:
            event = registry.decode(one)
            if event is not None:
                state = CONTEXT.evolve(state, event)
    except Undecodable as error:
        return [Finding("undecodable", str(error)[:300])]
    asset = state.was if isinstance(state, Removed) else state
    if not isinstance(asset, Registered):
        return [Finding("facts", "By its events there is no such asset.")]
    said = asset.described.model_dump(mode="json")
    made = asset.preview.variants if isinstance(asset.preview, Preview) else ()
    wanted = {
        "uid": manifest["asset"]["uid"], "sha256": asset.digest, "bytes": asset.size, "media_type": asset.media_type,
        "kind": asset.content, "removed": isinstance(state, Removed),
        "variants": [one.model_dump(mode="json") for one in made],
        **{name: said[name] for name in ("asset_type", "name", "tags", "licence", "origin", "nsfw")},
    }
    told = manifest["asset"]
    findings = [Finding("facts", f"The asset's {name} is not what its events add up to.")
                for name in sorted(wanted.keys() | told.keys()) if wanted.get(name) != told.get(name)]
    if not asset.digest.startswith(told["uid"]):
        findings.append(Finding("facts", "The asset's id is not that of its bytes."))
    if manifest["sources"] != said["sources"]:
        findings.append(Finding("facts", "The sources are not what the events add up to."))
    if manifest["seeds"] != sorted({one["seed"] for one in said["sources"] if one["seed"]}):
        findings.append(Finding("facts", "The seeds are not those of the sources."))
    return findings


async def _credentials(log: Log, manifest: Mapping[str, Any], registry: Registry) -> list[Finding]:
    """Whether what is told of the credentials is what the log says; manifests of older releases tell nothing."""
    told = manifest.get("credentials") or {}
    position = int(told.get("position") or 0)
    if not position:
        return [Finding("credentials", "Credentials without a position are none.")] if "signed_digest" in told else []
    stream = Stream(token(manifest["project"]), UNBRANCHED, SIGNING, token(manifest["asset"]["uid"]))
    recorded = await log.read_stream(stream, upto=position)
    if not recorded or recorded[-1].position != position or recorded[-1].version != told["version"]:
        return [Finding("credentials", f"Nothing about credentials of this asset stands at {position}.", position)]
    made: dict[str, Any] = {}
    for one in recorded:
        event = registry.decode(one)
        if isinstance(event, AssetSigned):
            made = {**event.model_dump(mode="json", exclude={"uid"}), "signed_at": one.time, "state": event.standing}
    names = {*AssetSigned.model_fields, "signed_at"} - {"uid"}
    if not made:
        return [Finding("credentials", f"No credentials were made; the manifest tells their {name}.", position)
                for name in sorted(names & told.keys())]
    return [Finding("credentials", f"The {name} of the credentials is not what was recorded.", position)
            for name in sorted(made) if told.get(name) != made[name]]


async def _bytes(blobs: Blobs, asset: Mapping[str, Any]) -> list[Finding]:
    findings = []
    for name, wanted, size in [("asset", asset["sha256"], asset["bytes"])] + [
        (f"variant {one['name']}", one["digest"], one["size"]) for one in asset["variants"]
    ]:
        info = await blobs.head(wanted)
        if info is None:
            findings.append(Finding("blob_missing", f"The bytes of the {name} are not kept here."))
            continue
        found = hashlib.sha256()
        async for piece in blobs.stream(wanted, 0, info.size):
            found.update(piece)
        if info.size != size or found.hexdigest() != wanted:
            findings.append(Finding("blob_damaged", f"The bytes of the {name} are not what was registered."))
    return findings


def _no_manifest(why: str) -> Invalid:
    return Invalid(
        f"That is no provenance manifest: {why[:200]}.", error="no_manifest",
        remediation=[Remedy("Get one from GET /api/assets/{uid}/provenance or GET /api/provenance.", "get_manifest")],
    )
