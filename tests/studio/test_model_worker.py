"""Downloads of models from the door to the disk: asked for, worked on, cancelled, killed half-way and gone on with."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fixtures_studio import RunningServer, StudioFactory, comfyvn, wait_until
from model_server import FileServer, safetensors, serving, sha

from commands.studio.model import AddModel
from commands.studio.model_downloads import CancelModelDownload, RequestModelDownload
from domain.ids import UNBRANCHED
from domain.ports import Stream
from domain.studio.model import Cancelled, Failed, Finished, ModelDownloadRequested, Underway
from services.models.catalogue import model_now
from services.models.fetching import Patience
from services.processes.downloads import PROCESS, Job
from services.studio import Asker, Studio

WHO = Asker("mo")
BIG = safetensors(6_000_000)


@pytest.fixture
def web() -> Iterator[FileServer]:
    """A server of files in a thread of its own."""
    server = FileServer(BIG)
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        async with serving(server):
            ready.set()
            await asyncio.Event().wait()

    def run() -> None:
        asyncio.set_event_loop(loop)
        task = loop.create_task(serve())
        loop.call_later(300, task.cancel)
        server.stop = lambda: loop.call_soon_threadsafe(task.cancel)  # type: ignore[attr-defined]
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(30)
    yield server
    server.stop()  # type: ignore[attr-defined]
    thread.join(30)


def entry(server: FileServer, **more: Any) -> dict[str, Any]:
    return {"name": "Big", "type": "checkpoint", "url": server.url(), "filename": "big.safetensors", "license": "MIT",
            "sha256": sha(BIG), "size_bytes": len(BIG), **more}


async def asked(studio: Studio, server: FileServer, **more: Any) -> Job:
    """A download that was asked for, and the worker's hands for it."""
    told = {"acknowledge": ("checksum_missing",) if "sha256" in more and more["sha256"] is None else ()}
    await studio.ask(AddModel.model_validate(entry(server, **more) | told), WHO, project="demo")
    await studio.ask(RequestModelDownload(model_id="custom-big"), WHO, project="demo")
    return await job(studio)


async def job(studio: Studio) -> Job:
    state = await model_now(studio, "demo", "custom-big")
    assert isinstance(state.download, Underway)
    event = ModelDownloadRequested(model_id="custom-big", number=state.number, order=state.download.order)
    return Job(studio, "demo", event, "cause", Patience(failures=2, pause_seconds=0.01))


def test_a_worker_downloads_records_and_a_second_one_finds_it_done(
    studio_factory: StudioFactory, web: FileServer
) -> None:
    async def scenario() -> None:
        async with studio_factory(processes=False, model_origins=(web.origin,), disk_reserve=0) as opened:
            studio = opened.studio
            one = await asked(studio, web)
            await one.run()
            state = await model_now(studio, "demo", "custom-big")
            assert isinstance(state.download, Finished)
            assert state.download.result.sha256 == sha(BIG)
            await one.run()  # the same event, delivered again
            assert (await model_now(studio, "demo", "custom-big")).download == state.download

    asyncio.run(scenario())


def test_a_failed_download_says_why_and_can_be_asked_for_again(
    studio_factory: StudioFactory, web: FileServer
) -> None:
    async def scenario() -> None:
        async with studio_factory(processes=False, model_origins=(web.origin,), disk_reserve=0) as opened:
            studio = opened.studio
            web.statuses = [("500 Oh", {})] * 2
            await (await asked(studio, web)).run()
            state = await model_now(studio, "demo", "custom-big")
            assert isinstance(state.download, Failed)
            assert state.download.fault.code == "DOWNLOAD_FAILED"
            await studio.ask(RequestModelDownload(model_id="custom-big"), WHO, project="demo")
            await (await job(studio)).run()
            assert isinstance((await model_now(studio, "demo", "custom-big")).download, Finished)

    asyncio.run(scenario())


def test_a_download_that_is_cancelled_meanwhile_stops_and_leaves_nothing(
    studio_factory: StudioFactory, web: FileServer
) -> None:
    async def scenario() -> None:
        web.pause_seconds = 0.05
        async with studio_factory(processes=False, model_origins=(web.origin,), disk_reserve=0) as opened:
            studio = opened.studio
            working = asyncio.create_task((await asked(studio, web)).run())
            assert studio.model_files is not None
            while not studio.model_files.coming("checkpoints", "big.safetensors"):  # noqa: ASYNC110 - the disk
                await asyncio.sleep(0.01)
            await studio.ask(CancelModelDownload(model_id="custom-big"), WHO, project="demo")
            async with asyncio.timeout(30):
                await working
            assert isinstance((await model_now(studio, "demo", "custom-big")).download, Cancelled)
            folder = Path(studio.model_files.root) / "checkpoints"
            assert list(folder.iterdir()) == []

    asyncio.run(scenario())


def test_what_a_failed_download_has_left_goes_when_it_is_cancelled(
    studio_factory: StudioFactory, web: FileServer
) -> None:
    async def scenario() -> None:
        web.cuts = [1_000_000, 0, 0]
        async with studio_factory(processes=False, model_origins=(web.origin,), disk_reserve=0) as opened:
            studio = opened.studio
            await (await asked(studio, web)).run()
            assert isinstance((await model_now(studio, "demo", "custom-big")).download, Failed)
            assert studio.model_files is not None
            assert studio.model_files.coming("checkpoints", "big.safetensors")
            await studio.ask(CancelModelDownload(model_id="custom-big"), WHO, project="demo")
            recorded = (await studio.log.read_stream(Stream("demo", UNBRANCHED, "model", "custom-big")))[-1]
            async with PROCESS.opened(studio) as react:
                await react(studio.registry.happened(recorded))
            assert list((Path(studio.model_files.root) / "checkpoints").iterdir()) == []
            assert isinstance((await model_now(studio, "demo", "custom-big")).download, Cancelled)

    asyncio.run(scenario())


def over(client: httpx.Client, id_: str) -> Callable[[], dict[str, Any] | None]:
    def look() -> dict[str, Any] | None:
        shown: dict[str, Any] = client.get(f"/api/models/catalog/{id_}").json()
        return shown if shown["download"]["status"] not in ("waiting", "running") else None

    return look


def test_a_killed_worker_is_followed_by_one_that_goes_on_where_it_stopped(
    server_factory: Callable[..., RunningServer], web: FileServer, tmp_path: Path
) -> None:
    web.pause_seconds = 0.05
    environment = {"COMFYVN_MODEL_ORIGINS": web.origin, "COMFYVN_DISK_RESERVE": "0", "COMFYVN_WAIT_SECONDS": "60"}
    server = server_factory(environment=environment)
    with server.client() as client:
        assert client.post("/api/models/custom", json=entry(web)).status_code == 201
        plan = client.post("/api/models/custom-big/download", params={"dry_run": "true"}).json()
        assert (plan["ok"], plan["size_bytes"], plan["installed"]) == (True, len(BIG), False)
        assert Path(plan["target"]).parts[-3:] == ("models", "checkpoints", "big.safetensors")
        told = client.post("/api/models/custom-big/download")
        assert (told.status_code, told.json()["status"]) == (202, "underway")
        assert client.post("/api/models/custom-big/download").json()["number"] == 1

        def came() -> int:
            download = client.get("/api/models/catalog/custom-big").json().get("download")
            done = int(download["progress"]["done"]) if download else 0  # none before the worker counts
            return done if done > 2**20 else 0

        seen = wait_until(came, "some of it to come")
        assert seen < len(BIG)
        os.kill(server.worker(), signal.SIGKILL)
        web.pause_seconds = 0.0
        shown = wait_until(over(client, "custom-big"), "the download to be over", 120)
        assert (shown["download"]["status"], shown["installed"]) == ("finished", True)
        assert client.post("/api/models/custom-big/verify").json()["matches"] is True
        assert client.get("/api/models/installed").json()["items"][0]["model"] == "custom-big"
        listed = client.get("/api/models/catalog", params={"installed": "true"}).json()
        assert [one["id"] for one in listed["items"]] == ["custom-big"]
    assert any(one.get("range") for one in web.asked), "it began anew"
    assert (server.data / "models" / "checkpoints" / "big.safetensors").read_bytes() == BIG
    _doors(server, web)
    _console(server, environment)


def _doors(server: RunningServer, web: FileServer) -> None:
    with server.client() as client:
        refused = client.post("/api/models/custom", json=entry(web, name="Other", license="Unknown"))
        assert (refused.status_code, refused.json()["error"]) == (409, "LICENSE_UNKNOWN")
        assert refused.json()["detail"]["acknowledge"] == ["license_unknown"]
        bad = client.post("/api/models/custom", json=entry(web, filename="../../x.safetensors"))
        assert (bad.status_code, bad.json()["detail"]["fields"][0]["path"]) == (422, "filename")
        assert client.post("/api/models/realesrgan-x4plus/download").json()["error"] == "PICKLE_REFUSED"
        assert client.post("/api/models/nothing/download").status_code == 404
        assert client.post("/api/models/flux-vae/verify").status_code == 404
        inside = entry(web, name="Inside", url="https://127.0.0.1/x.safetensors", filename="inside.safetensors")
        assert client.post("/api/models/custom", json=inside).status_code == 201
        told = client.post("/api/models/custom-inside/download")
        assert (told.status_code, told.json()["error"]) == (409, "address_not_allowed")
        pages, cursor = [], ""
        while cursor is not None:
            page = client.get("/api/models/catalog", params={"limit": 4, "cursor": cursor}).json()
            pages += [one["id"] for one in page["items"]]
            cursor = page["next"]
        assert len(pages) == len(set(pages))
        assert pages[-2:] == ["custom-big", "custom-inside"]
        assert client.get("/api/models/catalog", params={"cursor": "e30"}).status_code == 400
        only = client.get("/api/models/catalog", params={"type": "vae", "license": "mit"}).json()["items"]
        assert {one["id"] for one in only} == {"sd-vae-ft-mse", "sdxl-vae-fp16-fix"}


def _console(server: RunningServer, environment: dict[str, str]) -> None:
    given = {**os.environ, **environment}
    again = comfyvn("models", "download", "custom-big", "--json", data=server.data, env=given)
    assert again.returncode == 0, again.stderr
    assert '"reused":true' in again.stdout
