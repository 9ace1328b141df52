"""ComfyUI where people have it: behind a login, below a path, of old age, and among others who use it too."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from engines.comfy_play import STORED, adapter, card, done, ended, play, portrait, working_on
from engines.fake_comfy import FakeComfy
from ports.engine_suite import fetched, refused
from working import Works, a_step, working

from adapters.engines.local_comfy.building import run_of
from adapters.engines.local_comfy.client import login_of
from adapters.engines.local_comfy.engine import LocalComfy
from adapters.engines.local_comfy.outcomes import outcome
from domain.ports.engines import Done, Failed, Lost, Submission

BASIC = "Basic " + b64encode(b"ada:a secret of four words").decode()


@pytest.mark.parametrize(("key", "header"), [
    ("ada:a secret of four words", BASIC), ("a-token-of-hers", "Bearer a-token-of-hers"), (BASIC, BASIC),
    ("Bearer a-token-of-hers", "Bearer a-token-of-hers"),
])
def test_behind_a_login_the_key_opens_every_door(key: str, header: str) -> None:
    async def scenario(server: FakeComfy, without: LocalComfy) -> None:
        server.login = header
        assert login_of(key) == header
        async with adapter(server, key=key) as engine:
            assert (await engine.health()).status == "running"
            accepted, made = await done(engine, card("behind"))
            assert await fetched(engine, accepted, made.products[0])
            assert await asyncio.wait_for(server.opened.get(), 30)
        health = await without.health()
        assert (health.status, health.remedy and health.remedy[1]) == ("not_connected", "add_key")
        error = await refused(without.submit(card("without"), STORED))
        assert (error.fault.code, error.submission) == ("AUTH_MISSING", Submission.REFUSED)

    play(scenario)


def test_what_an_answer_quotes_of_the_key_goes_no_further() -> None:
    async def scenario(server: FakeComfy, _: LocalComfy) -> None:
        async with adapter(server, key="ada:a-very-secret-word") as engine:
            server.babble = b'{"system": {"comfyui_version": "ada:a-very-secret-word"}}'
            assert "a-very-secret-word" not in repr(await engine.health())

    play(scenario)


def test_below_a_path_everything_is_found() -> None:
    async def scenario(server: FakeComfy, at_the_root: LocalComfy) -> None:
        server.prefix = "/tools/comfy"
        engine = LocalComfy(f"{server.url}/tools/comfy/", patience_seconds=2.0)
        try:
            accepted, made = await done(engine, card("below"))
            assert await fetched(engine, accepted, made.products[0])
            assert await asyncio.wait_for(server.opened.get(), 30)
        finally:
            await engine.close()
        health = await at_the_root.health()
        assert health.status == "error"
        assert "COMFYVN_COMFY_URL" in health.message

    play(scenario)


def test_a_server_that_tells_of_all_nodes_at_once_is_asked_once() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.old = True
        _, made = await done(engine, portrait("old"))
        assert isinstance(made, Done)
        assert server.asked.count(("GET", "/object_info")) == 1

    play(scenario)


@pytest.mark.parametrize(("status", "code", "submission"), [
    (401, "AUTH_MISSING", Submission.REFUSED), (403, "AUTH_INVALID", Submission.REFUSED),
    (302, "ENGINE_ERROR", Submission.REFUSED), (404, "ENGINE_ERROR", Submission.REFUSED),
    (413, "FILE_REFUSED", Submission.REFUSED), (429, "RATE_LIMIT_EXCEEDED", Submission.REFUSED),
    (500, "ENGINE_ERROR", Submission.UNKNOWN), (502, "SERVICE_UNAVAILABLE", Submission.UNKNOWN),
    (504, "SERVICE_UNAVAILABLE", Submission.UNKNOWN),
])
def test_what_stands_before_it_says_no_in_its_own_way(status: int, code: str, submission: Submission) -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.refuse["/prompt"] = status
        error = await refused(engine.submit(card("one"), STORED))
        assert (error.fault.code, error.submission) == (code, submission)
        assert "html" not in error.fault.message
        server.refuse = {"/upload/image": status}
        error = await refused(engine.submit(working_on("two", "edit_image", "negative", {}, image=[
            STORED.materials[0]]), STORED))
        assert (error.fault.code, error.submission) == (code, Submission.REFUSED)  # nothing has been asked for yet

    play(scenario)


# Others use it too


def test_a_line_that_somebody_clears_is_lost_and_not_done() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.occupy()
        await server.at_gate.wait()
        accepted = await engine.submit(card("cleared"), STORED)
        async with httpx.AsyncClient(base_url=server.url) as http:
            await http.post("/queue", json={"clear": True})
        assert isinstance(await engine.poll(accepted), Lost)
        server.gate.set()

    play(scenario)


def test_a_run_whose_socket_breaks_at_its_end_is_found_in_the_history() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.gate.clear()
        accepted = await engine.submit(card("ending"), STORED)
        await asyncio.wait_for(server.opened.get(), 30)
        server.refuse["/ws"] = 502  # and it cannot be opened again
        server.disconnect()
        server.gate.set()
        assert isinstance(await ended(engine, accepted), Done)

    play(scenario)


def jobs(tmp_path: Path, scenario: Callable[[FakeComfy, Works], Awaitable[None]]) -> None:
    """A studio with a worker and this one engine."""
    async def whole() -> None:
        async with FakeComfy() as server, working(tmp_path) as works, adapter(server) as engine:
            works.studio.engines.add(engine)
            works.start()
            await asyncio.wait_for(scenario(server, works), 60)

    asyncio.run(whole())


CARD: dict[str, Any] = {"engine": "local_comfy", "operation": "compose_images", "model": "plain_card",
                        "parameters": {"width": 32, "height": 16, "color": 7}, "finds_attempts": True}


def test_a_job_outlives_a_server_that_is_killed_and_started_again(tmp_path: Path) -> None:
    async def scenario(server: FakeComfy, works: Works) -> None:
        server.gate.clear()
        job = await works.ask(a_step(**CARD))
        await asyncio.wait_for(server.at_gate.wait(), 20)
        server.at_gate.clear()
        await server.restart()
        server.gate.set()
        assert (await works.closed(job, 40)).outcome == "completed"
        assert len(server.prompts) == 2
        assert server.prompts[0]["prompt_id"] != server.prompts[1]["prompt_id"]

    jobs(tmp_path, scenario)


def test_a_job_that_somebody_interrupts_at_the_server_is_not_called_a_failure_of_it(tmp_path: Path) -> None:
    async def scenario(server: FakeComfy, works: Works) -> None:
        server.gate.clear()
        job = await works.ask(a_step(**CARD))
        await asyncio.wait_for(server.at_gate.wait(), 20)
        async with httpx.AsyncClient(base_url=server.url) as http:
            await http.post("/interrupt")
        server.gate.set()
        closed = await works.closed(job, 40)
        assert closed.outcome != "completed"
        assert len(server.prompts) == 1
        assert closed.fault is not None
        assert closed.fault.code == "CANCELLED"

    jobs(tmp_path, scenario)


# What a run tells of its files


def told(outputs: Any) -> Any:
    """The outcome of a run that succeeded with these outputs."""
    return outcome({"outputs": outputs, "status": {"status_str": "success", "completed": True, "messages": [
        ["execution_success", {"prompt_id": "x"}]]}}, {})


def test_files_of_several_nodes_kinds_and_folders_are_all_taken_once() -> None:
    def file(name: str, folder: str = "comfyvn", type_: str = "output", **more: Any) -> dict[str, Any]:
        return {"filename": name, "subfolder": folder, "type": type_, **more}

    found = told({
        "9": {"images": [file("a_00001_.png"), file("a_00002_.png")], "animated": [False]},
        "12": {"images": [file("a_00001_.png", "comfyvn/deeper"), file("a_00001_.png")]},
        "13": {"gifs": [file("a_00001.mp4", format="video/h264-mp4", frame_rate=8.0, fullpath="/srv/out/a_00001.mp4")]},
        "14": {"audio": [file("a_00001_.flac", "comfyvn\\windows")]}, "15": {"text": ["a caption"]},
        "16": {"images": [file("ComfyUI_temp_x.png", "", "temp")]}, "17": {"images": [file("a_00001_.webp")],
                                                                           "animated": [True]},
        "18": {"result": [None, 7, []]}, "19": [],
    })
    assert isinstance(found, Done)
    assert [(one.name, one.media_type) for one in found.products] == [
        ("a_00001_.png", "image/png"), ("a_00002_.png", "image/png"), ("2-a_00001_.png", "image/png"),
        ("a_00001.mp4", "video/mp4"), ("a_00001_.flac", "audio/flac"), ("a_00001_.webp", "image/webp")]
    assert "/srv" not in json.dumps([dict(one.memo) for one in found.products])


def test_a_run_that_was_cached_away_empties_the_cache() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        accepted, _ = await done(engine, card("cached"))
        server.history[run_of("cached")]["outputs"] = {}
        found = await engine.poll(accepted)
        assert isinstance(found, Failed)
        assert found.fault.retryable
        assert ("POST", "/free") in server.asked

    play(scenario)


def test_previews_alone_are_no_result() -> None:
    previews = {"9": {"images": [{"filename": "x.png", "subfolder": "", "type": "temp"}]}}
    assert isinstance(told(previews), Failed)
