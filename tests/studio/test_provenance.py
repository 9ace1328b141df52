"""Provenance manifests: they tell everything, anybody can check them, and a changed one does not hold."""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from studios import look, studio_on

from commands.studio.asset import DescribeAsset, ReferenceAsset, RegisterAsset, TagAsset
from domain.canonical import canonical, digest
from domain.errors import Invalid
from domain.studio.asset_values import Source
from services.provenance import verify_manifest
from services.studio import Asker, Studio

PERSON = Asker("mo")


async def register(studio: Studio, text: str, **said: Any) -> str:
    stored = await studio.blobs.put(text.encode())
    command = RegisterAsset(
        digest=stored.digest, size=stored.size, media_type="text/plain", kind="text", name=text, **said
    )
    return (await studio.ask(command, PERSON, project="demo")).id


async def ask(studio: Studio, command: Any) -> Any:
    return await studio.ask(command, PERSON, project="demo")


async def eventful(studio: Studio) -> str:
    made = Source(how="generate", job_id="job-1", seed="18446744073709551615", workflow_digest="ab" * 32)
    uid = await register(studio, "room", licence="CC0-1.0", source=made)
    await register(studio, "unlicensed")
    await ask(studio, DescribeAsset(uid=uid, origin="drawn"))
    await ask(studio, ReferenceAsset(uid=uid, reference="scene:intro"))
    return uid


def test_a_manifest_tells_everything_and_holds(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        uid = await eventful(studio)
        manifest = await look(studio, "ShowAssetProvenance", uid=uid)
        assert [one["type"] for one in manifest["events"]] == ["AssetRegistered", "AssetDescribed", "AssetReferenced"]
        assert manifest["seeds"] == ["18446744073709551615"]
        assert manifest["position"] == manifest["events"][-1]["position"] == 4
        body = {name: value for name, value in manifest.items() if name not in ("digest", "next")}
        assert manifest["digest"] == digest(body)
        assert canonical(json.loads(json.dumps(body))) == canonical(body)
        assert await verify_manifest(studio.log, manifest, blobs=studio.blobs) == []
        await ask(studio, TagAsset(uid=uid, add=("later",)))
        assert await verify_manifest(studio.log, manifest) == [], "a manifest holds for the position that it names"

    asyncio.run(scenario())


def test_a_projects_manifest_adds_up_page_by_page(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        uid = await eventful(studio)
        whole = await look(studio, "ShowProjectProvenance")
        assert (whole["licences"], len(whole["unlicensed"])) == (["CC0-1.0"], 1)
        assert await verify_manifest(studio.log, whole, blobs=studio.blobs) == []
        first = await look(studio, "ShowProjectProvenance", limit=1)
        second = await look(studio, "ShowProjectProvenance", limit=1, cursor=first["next"])
        assert first["assets"] + second["assets"] == whole["assets"]
        assert await verify_manifest(studio.log, second) == []
        assert next(one for one in whole["assets"] if one["asset"]["uid"] == uid) == {
            name: value for name, value in (await look(studio, "ShowAssetProvenance", uid=uid)).items()
            if name != "next"
        }

    asyncio.run(scenario())


def test_a_long_history_is_told_page_by_page(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        uid = await register(studio, "room")
        for number in range(30):
            await ask(studio, TagAsset(uid=uid, add=(f"t{number}",)))
        first = await look(studio, "ShowAssetProvenance", uid=uid, limit=20)
        second = await look(studio, "ShowAssetProvenance", uid=uid, limit=20, cursor=first["next"])
        assert (len(first["events"]), len(second["events"]), second["next"]) == (20, 11, None)
        for one in (first, second, await look(studio, "ShowProjectProvenance")):
            assert await verify_manifest(studio.log, one) == []

    asyncio.run(scenario())


def _resealed(manifest: dict[str, Any]) -> dict[str, Any]:
    body = {name: value for name, value in manifest.items() if name not in ("digest", "next")}
    return {**body, "digest": digest(body)}


def _set(path: str, value: Any) -> Any:
    def change(manifest: dict[str, Any]) -> None:
        *above, last = path.split(".")
        at: Any = manifest
        for part in above:
            at = at[int(part)] if part.isdigit() else at[part]
        at[last] = value

    return change


MANIPULATIONS = {
    "another licence": (_set("asset.licence", "MIT"), "facts"),
    "another hash": (_set("asset.sha256", "0" * 64), "facts"),
    "another size": (_set("asset.bytes", 1), "facts"),
    "another seed": (_set("seeds", ["1"]), "facts"),
    "another source": (_set("sources", []), "facts"),
    "something more": (_set("asset.blessed", True), "facts"),
    "another actor": (_set("events.1.actor", "nobody"), "event"),
    "another time": (_set("events.1.time", "2020-01-01T00:00:00Z"), "event"),
    "another body": (_set("events.0.body_sha256", "0" * 64), "event"),
    "another place": (_set("events.0.position", 77), "unknown_event"),
    "an event less": (lambda manifest: manifest["events"].pop(1), "left_out"),
    "another order": (lambda manifest: manifest["events"].reverse(), "order"),
    "an older position": (_set("position", 2), "position"),
    "credentials that nobody made": (_set("credentials", {"signed_digest": "0" * 64}), "credentials"),
    "credentials from nowhere": (_set("credentials", {"position": 3, "version": 1}), "credentials"),
    "another stream": (_set("stream", "vn.demo.-.asset.other"), "stream"),
}


@pytest.mark.parametrize("what", MANIPULATIONS)
def test_a_manipulated_manifest_does_not_hold_even_with_a_new_digest(tmp_path: Path, what: str) -> None:
    change, code = MANIPULATIONS[what]

    async def scenario() -> None:
        studio = studio_on(tmp_path)
        manifest = copy.deepcopy(await look(studio, "ShowAssetProvenance", uid=await eventful(studio)))
        change(manifest)
        assert "digest" in {one.code for one in await verify_manifest(studio.log, manifest)}
        assert code in {one.code for one in await verify_manifest(studio.log, _resealed(manifest))}

    asyncio.run(scenario())


def test_bytes_that_were_changed_or_lost_are_found(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        manifest = await look(studio, "ShowAssetProvenance", uid=await eventful(studio))
        sha = manifest["asset"]["sha256"]
        (tmp_path / "blobs" / "sha256" / sha[:2] / sha[2:]).write_bytes(b"moor")
        assert [one.code for one in await verify_manifest(studio.log, manifest, blobs=studio.blobs)] == ["blob_damaged"]
        await studio.blobs.delete(sha)
        assert [one.code for one in await verify_manifest(studio.log, manifest, blobs=studio.blobs)] == ["blob_missing"]

    asyncio.run(scenario())


@pytest.mark.parametrize("text", [{}, {"manifest": "x"}, {"manifest": "comfyvn.provenance.asset@1"},
                                  {"manifest": "comfyvn.provenance.project@1", "assets": 7}])
def test_what_is_no_manifest_is_said_so(tmp_path: Path, text: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        asyncio.run(verify_manifest(studio_on(tmp_path).log, text))
    assert caught.value.code == "no_manifest"
