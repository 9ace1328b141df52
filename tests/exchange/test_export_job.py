"""Exports as jobs: through the door, past the gate, made by a worker, stopped, and fetched; on real studios."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx
import pytest
from consoles import console
from fixtures_studio import RunningServer, StudioFactory, wait_until

from commands.exchange.export import CancelExport, RequestExport
from commands.story.scene_documents import CreateScene
from commands.trust.policy import AcknowledgePolicy
from domain.exchange.export import Cancelled, ExportRequested, Failed, Finished, Order
from services.exports.asking import latest
from services.processes.exports import Job
from services.studio import Asker, Studio

WHO = Asker("mo")

PATIENT = {"COMFYVN_WAIT_SECONDS": "60"}
"""A machine that is busy counts late, and these tests are not about that."""


def scene(id_: str = "intro", rating: str | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {"id": id_, "title": "Intro", "start": "gate", "nodes": [
        {"id": "gate", "speaker": "Mira", "text": "Halt! [you] {b} 100%", "choices": [{"target": "road"}]},
        {"id": "road", "text": "Gone.", "end": True},
    ]}
    return told | ({"metadata": {"rating": rating}} if rating else {})


async def told(studio: Studio, *scenes: dict[str, Any], acknowledged: bool = True) -> None:
    for one in scenes or (scene(),):
        await studio.ask(CreateScene.model_validate(one), WHO, project="demo")
    if acknowledged:
        await studio.ask(AcknowledgePolicy(), WHO, project="demo")


async def job(studio: Studio, order: Order = Order(), id_: str = "one") -> Job:  # noqa: B008 - frozen
    """An export that was asked for without the door, and the worker's hands for it."""
    receipt = await studio.ask(RequestExport(export_id=id_, order=order), WHO, project="demo")
    asked = ExportRequested(export_id=id_, order=order.model_copy(update={"position": receipt.position}), decisions=())
    return Job(studio, "demo", asked, "cause")


def test_a_worker_makes_an_export_and_an_unchanged_one_is_the_same_blob(studio_factory: StudioFactory) -> None:
    async def scenario() -> None:
        async with studio_factory(processes=False) as opened:
            studio = opened.studio
            await told(studio)
            await (await job(studio)).run()
            first = await latest(studio, "demo", "one")
            assert isinstance(first, Finished)
            assert (first.result.new, first.result.unchanged) == (first.result.files, 0)
            await (await job(studio, id_="two")).run()
            second = await latest(studio, "demo", "two")
            assert isinstance(second, Finished)
            assert (second.result.digest, second.result.unchanged) == (first.result.digest, first.result.files)
            archive = ZipFile(io.BytesIO(await studio.blobs.get(first.result.digest)))
            assert "demo-main/game/script.rpy" in archive.namelist()
            folder = studio.settings.data.absolute() / "exports" / "demo" / "main"
            assert (folder / "game" / "scenes" / "intro.rpy").exists()

    asyncio.run(scenario())


def test_the_worker_asks_the_gate_when_nobody_has(studio_factory: StudioFactory) -> None:
    async def scenario() -> None:
        async with studio_factory(processes=False) as opened:
            studio = opened.studio
            await told(studio, acknowledged=False)
            await (await job(studio)).run()
            state = await latest(studio, "demo", "one")
            assert isinstance(state, Failed)
            assert state.failure.error == "acknowledgement_missing"
            assert state.failure.remediation
            assert not (studio.settings.data.absolute() / "exports").exists()

    asyncio.run(scenario())


def test_a_story_for_the_mature_needs_to_be_acknowledged(studio_factory: StudioFactory) -> None:
    async def scenario() -> None:
        async with studio_factory(processes=False) as opened:
            studio = opened.studio
            await told(studio, scene(), scene("cellar", "M"))
            await (await job(studio)).run()
            state = await latest(studio, "demo", "one")
            assert isinstance(state, Failed)
            assert state.failure.error == "policy_blocked"
            await (await job(studio, Order(mode="warn", nsfw_acknowledged=True), "two")).run()
            assert isinstance(await latest(studio, "demo", "two"), Finished)

    asyncio.run(scenario())


def test_what_cannot_be_played_fails_and_says_why(studio_factory: StudioFactory) -> None:
    async def scenario() -> None:
        async with studio_factory(processes=False) as opened:
            studio = opened.studio
            await told(studio)
            await (await job(studio, Order(scene="nowhere"))).run()
            state = await latest(studio, "demo", "one")
            assert isinstance(state, Failed)
            assert state.failure.error == "unknown_scene"

    asyncio.run(scenario())


def test_a_cancelled_export_is_not_begun_and_leaves_nothing(studio_factory: StudioFactory) -> None:
    async def scenario() -> None:
        async with studio_factory(processes=False) as opened:
            studio = opened.studio
            await told(studio)
            one = await job(studio)
            await studio.ask(CancelExport(export_id="one", reason="a typo"), WHO, project="demo")
            await one.run()
            assert isinstance(await latest(studio, "demo", "one"), Cancelled)
            assert not (studio.settings.data.absolute() / "exports").exists()

    asyncio.run(scenario())


def test_an_export_that_is_cancelled_meanwhile_stops(studio_factory: StudioFactory) -> None:
    async def scenario() -> None:
        async with studio_factory(processes=False) as opened:
            studio = opened.studio
            await told(studio)
            one = await job(studio)
            one.unwanted = True  # what a refused report sets
            await one.run()
            exports = studio.settings.data.absolute() / "exports"
            assert not [path for path in exports.rglob("*") if path.is_file()]

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all that does not hurt it; each test has a project of its own."""
    server = RunningServer(tmp_path_factory.mktemp("exports") / "studio", environment=PATIENT).start()
    yield server
    server.stop()


def finished(door: httpx.Client, id_: str, project: str) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        found = door.get(f"/api/exports/{id_}", params={"project": project})
        shown: dict[str, Any] = found.json()
        return shown if found.status_code == 200 and shown["status"] not in ("waiting", "running") else None

    shown: dict[str, Any] = wait_until(over, "an export")
    return shown


def test_through_the_door(shared: RunningServer) -> None:
    at = {"project": "tower"}
    with shared.client() as door:
        assert door.post("/api/scenes", params=at, json=scene()).status_code == 201
        refused = door.post("/api/export/renpy", params=at, json={})
        assert (refused.status_code, refused.json()["error"]) == (423, "acknowledgement_missing"), refused.text
        preview = door.get("/api/export/renpy/preview", params=at)
        assert preview.status_code == 200
        assert preview.json()["gate"]["allow"] is False
        door.post("/api/policy/ack", params=at, json={"user": "ada"})
        key = {"idempotency-key": "once"}
        asked = door.post("/api/export/renpy", params=at, json={"title": "Tower"}, headers=key)
        assert asked.status_code == 202
        again = door.post("/api/export/renpy", params=at, json={"title": "Tower"}, headers=key)
        assert (again.status_code, again.json()["id"]) == (202, asked.json()["id"])
        assert again.headers["idempotency-replayed"] == "true"
        other = door.post("/api/export/renpy", params=at, json={"title": "Other"}, headers=key)
        assert other.json()["error"] == "idempotency_key_reused"
        shown = finished(door, asked.json()["id"], "tower")
        assert shown["status"] == "finished", shown
        file = door.get(shown["file"])
        assert ZipFile(io.BytesIO(file.content)).testzip() is None
        part = door.get(shown["file"], headers={"range": "bytes=0-1"})
        assert (part.status_code, part.content) == (206, b"PK")
        dry = door.post("/api/export/renpy", params={**at, "dry_run": "true"}, json={"title": "Tower"})
        assert {one["status"] for one in dry.json()["files"]} == {"unchanged"}
        late = door.post(f"/api/exports/{shown['id']}/cancel", params=at)
        assert (late.status_code, late.json()["error"]) == (409, "export_finished")


def test_hostile_orders_get_a_clear_no(shared: RunningServer) -> None:
    at = {"project": "hostile"}
    with shared.client() as door:
        door.post("/api/scenes", params=at, json=scene())
        for body, status in (
            ({"timeline": "a", "scene": "b"}, 422), ({"worlds": ["../x"]}, 422), ({"as_of": 10**9}, 400),
            ({"pov": "nobody"}, 400), ({"pov_mode": "all"}, 422), ({"what": 1}, 422), ({"scene": "nowhere"}, 404),
            ({"worldline": "nowhere"}, 404), ({"folder": "../../x"}, 422), ({"title": "x" * 400}, 422),
        ):
            answer = door.post("/api/export/renpy", params=at, json=body)
            assert answer.status_code == status, (body, answer.text)
            assert answer.json()["remediation"], body
        for path in ("/api/exports/none/file", "/api/exports/..%2fx/file", "/api/exports/none"):
            assert door.get(path, params=at).status_code == 404
        assert door.get("/api/export/renpy/preview", params={**at, "as_of": "-1"}).status_code == 422


def test_a_killed_workers_export_is_made_by_the_next(shared: RunningServer) -> None:
    at = {"project": "killed"}
    with shared.client() as door:
        for number in range(60):
            door.post("/api/scenes", params=at, json=scene(f"scene-{number}"))
        door.post("/api/policy/ack", params=at, json={"user": "ada"})
        worker = shared.worker()
        id_ = door.post("/api/export/renpy", params=at, json={}).json()["id"]
        os.kill(worker, signal.SIGKILL)
        shown = finished(door, id_, "killed")
        assert shown["status"] == "finished", shown
        assert shown["result"]["files"] > 60
    left = [path.name for path in (shared.data / "exports" / "killed").iterdir()]
    assert left == ["main"]


def test_on_the_console(a_sample: Path, tmp_path: Path) -> None:
    data, out = a_sample, tmp_path / "game"
    looked = console("export", "renpy", str(out), "--project", "demo", "--dry-run", data=data)
    assert looked.returncode == 0, looked.stderr
    assert "game/script.rpy" in looked.stdout
    assert not out.exists()
    done = console("export", "renpy", str(out), "--project", "demo", "--pov", "mara", "--pov", "ivo", data=data)
    assert done.returncode == 0, done.stderr
    assert (out / "game" / "script.rpy").exists()
    assert console("export", "renpy", str(tmp_path), "--project", "demo", data=data).returncode == 4
    assert console("export", "renpy", str(out), "--project", "demo", "--world", "nowhere", data=data).returncode == 5
    assert console("export", "renpy", str(out), "--project", "demo", "--pov-mode", "all", data=data).returncode == 2
