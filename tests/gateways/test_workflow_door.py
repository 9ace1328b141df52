"""The door for workflows: taken in from JSON and from pictures, and refused in sentences that help."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from door import Door, door, run, until
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


async def taken(at: Door, document: Any, query: str = "id=bottle") -> str:
    """The digest of a workflow that was taken in."""
    made = await posted(at, document, query)
    assert made.status_code in (200, 201), made.text
    digest: str = made.json()["preset"]["steps"][0]["ways"][0]["workflow"]["digest"]
    return digest


def test_a_stored_workflow_is_given_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with door() as at, FakeComfy() as server, adapter(server, own=WorkflowFolder(tmp_path)) as engine:
            at.studio.engines.add(engine)
            digest = await taken(at, painted())
            url = f"/api/workflows/{digest}?project=demo"
            answer = await at.client.get(url)
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == "application/json"
            assert hashlib.sha256(answer.content).hexdigest() == digest
            graph = (await at.client.get(url + "&graph=true")).json()
            assert graph == answer.json()["graph"]
            assert {node["class_type"] for node in graph.values()} == {
                node["class_type"] for node in painted().values()}
            again = await at.client.get(url, headers={"If-None-Match": answer.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert (await at.client.get(url + "&graph=true", headers={"If-None-Match": answer.headers["etag"]})
                    ).status_code == 200
            assert (await at.client.get(f"/api/workflows/sha256:{digest}?project=demo")).content == answer.content
            # What came out goes in again.
            assert (await posted(at, graph, "id=again")).status_code == 201

    run(scenario)


def test_an_earlier_workflow_is_given_with_the_job_that_ran_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with door() as at, FakeComfy() as server, adapter(server, own=WorkflowFolder(tmp_path)) as engine:
            at.studio.engines.add(engine)
            first = await taken(at, painted())
            asked = await at.client.post("/api/presets/bottle/run?project=demo", json={"inputs": {"prompt": "x"}})
            job = asked.json()["job_id"]
            changed = painted()
            changed["3"]["inputs"]["steps"] = 33
            second = await taken(at, changed, "id=bottle&replace=true")
            assert first != second
            url = f"/api/workflows/{first}?project=demo"
            lost = await at.client.get(url)
            assert (lost.status_code, lost.json()["error"]) == (404, "unknown_workflow")
            assert lost.json()["remediation"][0]["action"] == "name_user"
            assert (await at.client.get(f"{url}&job={job}")).status_code == 200
            assert (await at.client.get(f"{url}&job=nobody")).json()["error"] == "unknown_job"
            assert (await at.client.get(f"{url}&asset=nobody")).json()["error"] == "unknown_asset"
            assert (await at.client.get(f"/api/workflows/{second}?project=demo&job={job}")).status_code == 200
            assert (await at.client.delete("/api/presets/bottle?project=demo")).is_success
            assert (await at.client.get(f"/api/workflows/{second}?project=demo")).status_code == 200

    run(scenario)


def test_nobody_reads_other_bytes_or_other_projects(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with door() as at, FakeComfy() as server, adapter(server, own=WorkflowFolder(tmp_path)) as engine:
            at.studio.engines.add(engine)
            digest = await taken(at, painted())
            assert (await at.client.get(f"/api/workflows/{digest}?project=demo")).status_code == 200
            assert (await at.client.get(f"/api/workflows/{digest}?project=other")).status_code == 404
            private = await at.studio.blobs.put(b'{"graph": "my diary"}')
            large = await at.studio.blobs.put(b'{"graph": {}}' + b" " * 600_000)
            for one in (private, large):
                unnamed = await at.client.get(f"/api/workflows/{one.digest}?project=demo")
                assert unnamed.status_code == 404
                document = {"id": f"peek{one.size}", "name": "Peek", "category": "image_generation", "inputs": {},
                            "quality_levels": {"standard": {}}, "steps": [{
                                "id": "a", "operation": "text_to_image", "ways": [{
                                    "engine": "local_comfy", "model": "x",
                                    "workflow": {"digest": one.digest, "size": min(one.size, 1000)}}]}]}
                made = await at.client.post("/api/presets?project=demo", json=document)
                assert made.status_code in (201, 404, 409, 422), made.text
                named = await at.client.get(f"/api/workflows/{one.digest}?project=demo")
                assert named.status_code in (404, 409), named.text
                assert "diary" not in named.text
            for wrong in ("x", "A" * 64, "../secrets", digest[:-1], digest + "0"):
                assert (await at.client.get(f"/api/workflows/{wrong}?project=demo")).status_code in (400, 404, 422)
            assert (await at.client.get(f"/api/workflows/{digest}?project=demo&graph=maybe")).status_code == 422
            assert (await at.client.get(f"/api/workflows/{digest}?project=demo&x=1")).status_code == 422

    run(scenario)


def test_bytes_that_are_gone_or_damaged_are_problems_that_help(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with door() as at, FakeComfy() as server, adapter(server, own=WorkflowFolder(tmp_path)) as engine:
            at.studio.engines.add(engine)
            digest = await taken(at, painted())
            stored = (await at.client.get(f"/api/workflows/{digest}?project=demo")).content
            at.studio.blobs.kept[digest] = stored[:-1] + b" "  # type: ignore[attr-defined]
            damaged = await at.client.get(f"/api/workflows/{digest}?project=demo")
            assert damaged.status_code in (409, 503)
            del at.studio.blobs.kept[digest]  # type: ignore[attr-defined]
            gone = await at.client.get(f"/api/workflows/{digest}?project=demo")
            assert (gone.status_code, gone.json()["error"]) == (404, "workflow_missing")
            assert gone.headers["content-type"].startswith("application/problem+json")
            assert {one["action"] for one in gone.json()["remediation"]} == {"restore_blob", "import_workflow"}

    run(scenario)


def test_a_workflow_needs_the_scope_to_read_presets(tmp_path: Path) -> None:
    async def scenario() -> None:
        for scope, status in (("preset:read", 404), ("job:read", 403)):
            async with door(access=Narrow(scope)) as at:
                await until(lambda: "presets" in at.studio.models.checkpoints(), "the read model")
                url = f"/api/workflows/{'0' * 64}?project=demo"
                answer = await at.client.get(url, headers={"Authorization": "Bearer let-me-in"})
                assert answer.status_code == status, answer.text
                assert (await at.client.get(url)).status_code == 401

    run(scenario)
