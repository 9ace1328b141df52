"""The door for workflows: taken in from JSON and from pictures, and refused in sentences that help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from door import Door, door, run
from engines.comfy_documents import edited, painted, plain
from engines.comfy_play import adapter
from engines.fake_comfy import FakeComfy
from ports.engine_suite import picture

from adapters.engines.local_comfy.workflows import WorkflowFolder
from commands.studio.job_work import StopJob
from services.access import Grant
from services.studio import Asker

JSON = {"Content-Type": "application/json"}


class Narrow:
    """Everybody may do one thing."""

    def __init__(self, *scopes: str) -> None:
        self.grant = Grant("viewer", scopes, ("demo",))

    def required(self, host: str) -> bool:
        return True

    def check(self, secret: str) -> Grant | None:
        return self.grant if secret == "let-me-in" else None


async def posted(at: Door, document: Any, query: str = "id=bottle", **headers: str) -> Any:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return await at.client.post(f"/api/workflows?project=demo&{query}", content=content, headers={**JSON, **headers})


def test_a_workflow_becomes_a_preset_that_can_run(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with door() as at, FakeComfy() as server, adapter(server, own=WorkflowFolder(tmp_path)) as engine:
            at.studio.engines.add(engine)
            foreseen = await posted(at, painted(), "id=bottle&dry_run=true")
            assert (foreseen.status_code, foreseen.json()["dry_run"]) == (200, True)
            made = await posted(at, painted(), "id=bottle&title=A+bottle&expose=sharpness=3.denoise")
            assert made.status_code == 201, made.text
            assert made.headers["location"] == "/api/presets/bottle?project=demo"
            told = made.json()
            assert (told["name"], told["missing"], told["makes"]) == ("A bottle", [], "image")
            assert "sharpness" in told["preset"]["inputs"]
            shown = (await at.client.get(made.headers["location"])).json()
            assert shown["can_run"]["levels"]["standard"]["ok"], shown["can_run"]
            again = await posted(at, painted(), "id=bottle&title=A+bottle&expose=sharpness=3.denoise")
            assert (again.status_code, again.json()["changed"]) == (200, False)
            other = await posted(at, plain())
            assert other.status_code == 409, other.text
            assert (await posted(at, plain(), "id=bottle&replace=true")).status_code == 201
            assert (await posted(at, edited(), "id=drawn")).status_code == 201

    run(scenario)


PROBLEMS: list[tuple[Any, str, int, str]] = [
    (b"", "id=x", 422, "empty"), (b"{", "id=x", 422, "JSON"), ({}, "id=x", 422, "Export (API)"),
    (plain(), "id=!!", 422, "no id"), (plain(), "operation=dance", 422, "operation"),
    (plain(), "replace=maybe", 422, "replace"), (plain(), "expose=x", 422, "NODE.INPUT"),
    (plain(), "id=plain_card", 422, "another id"), (plain(), "frobnicate=1", 422, "frobnicate"),
    (plain(), "id=photoreal_portrait_v1", 409, "belongs to the studio"), (plain(), "title=" + "x" * 201, 422, "title"),
]


def test_what_cannot_be_taken_in_is_a_problem_that_helps(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with door() as at, FakeComfy() as server, adapter(server, own=WorkflowFolder(tmp_path)) as engine:
            at.studio.engines.add(engine)
            for document, query, status, said in PROBLEMS:
                answer = await posted(at, document, query)
                assert answer.status_code == status, answer.text
                assert answer.headers["content-type"].startswith("application/problem+json")
                assert said in answer.text
                assert answer.json()["remediation"]

    run(scenario)
    assert not list(tmp_path.iterdir())


def test_pictures_need_their_media_type_and_a_graph() -> None:
    async def scenario() -> None:
        async with door() as at, FakeComfy() as server, adapter(server) as engine:
            at.studio.engines.add(engine)
            answer = await posted(at, picture(), **{"Content-Type": "image/png"})
            assert "holds no workflow" in answer.text
            assert (await posted(at, picture(), **{"Content-Type": "image/webp"})).status_code == 415

    run(scenario)


def test_without_comfyui_and_without_the_scope_nothing_is_taken() -> None:
    async def scenario() -> None:
        async with door() as at:
            assert "ENGINE_OFFLINE" in (await posted(at, plain())).text
        async with door(access=Narrow("preset:read")) as at:
            answer = await posted(at, plain(), Authorization="Bearer let-me-in")
            assert answer.status_code == 403, answer.text
            assert (await posted(at, plain())).status_code == 401

    run(scenario)


def test_a_retry_after_a_replacement_says_which_workflow_it_runs(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with door() as at, FakeComfy() as server, adapter(server, own=WorkflowFolder(tmp_path)) as engine:
            at.studio.engines.add(engine)
            assert (await posted(at, painted())).status_code == 201
            asked = await at.client.post("/api/presets/bottle/run?project=demo", json={"inputs": {"prompt": "x"}})
            assert asked.status_code == 202, asked.text
            job = asked.json()["job_id"]
            (step,) = asked.json()["plan"]["steps"]
            await at.ask("CancelJob", {"job_id": job}, status=200)
            await at.studio.ask(StopJob(job_id=job), Asker("worker"), project="demo")
            again = await at.client.post(f"/api/jobs/{job}/retry?project=demo")
            assert (again.status_code, again.json()["notes"]) == (202, []), again.text
            changed = painted()
            changed["3"]["inputs"]["steps"] = 33
            assert (await posted(at, changed, "id=bottle&replace=true")).status_code == 201
            foreseen = (await at.client.post(f"/api/jobs/{job}/retry?project=demo&dry_run=true")).json()["plan"]
            assert foreseen["steps"][0]["workflow"] == step["workflow"]
            assert "planned with" in foreseen["notes"][0]
            again = await at.client.post(f"/api/jobs/{job}/retry?project=demo")
            assert again.json()["notes"] == foreseen["notes"], again.text
            asked = await at.client.post("/api/presets/bottle/run?project=demo", json={"inputs": {"prompt": "x"}})
            assert asked.json()["plan"]["steps"][0]["workflow"] != step["workflow"]

    run(scenario)
