"""Workflows that were taken in belong to the log: every worker runs the graph that a job was planned with, for ever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from engines.comfy_documents import node, painted
from engines.comfy_play import adapter
from engines.fake_comfy import FakeComfy
from studios import look, studio_on
from working import ASKER, Works, a_step, working

from adapters.engines.local_comfy.workflows import WorkflowFolder
from commands.studio.preset import CreatePreset, DeletePreset, ReplacePreset, RestorePreset
from domain.errors import ComfyVNError, Invalid, Refused
from domain.ids import UNBRANCHED
from domain.ports import Stream
from domain.studio.job import Closed
from domain.studio.preset_model import Preset
from services.dispatcher import Dispatcher
from services.generation.accepting import accepted, again
from services.generation.library import built_in, digest_of, earlier_preset, find_preset
from services.generation.showing import preset_shown
from services.generation.taking import Taken, take_workflow
from services.generation.wishes import Wish
from services.orphans import survey
from services.registry import REGISTRY

LATER = datetime.now(UTC) + timedelta(days=3)
BROKEN = {"node_id": "3", "node_type": "KSampler", "exception_type": "RuntimeError",
          "exception_message": "it broke", "traceback": []}


def inverted() -> dict[str, Any]:
    """``painted`` with a node more, and the same to fill in."""
    return painted(**{"10": node("ImageInvert", image=["8", 0]),
                      "9": node("SaveImage", "Save Image", filename_prefix="ComfyUI", images=["10", 0])})


@dataclass
class Comfy:
    """A studio with workers to be, and a ComfyUI."""

    works: Works
    server: FakeComfy

    async def take(self, document: Any, **more: Any) -> Taken:
        return await take_workflow(self.works.studio, json.dumps(document).encode(), "bottle", ASKER,
                                   project="demo", **more)

    async def job(self, **inputs: Any) -> str:
        wish = Wish.model_validate({"preset_id": "bottle", "inputs": {"prompt": "at sea", "seed": 3, **inputs}})
        return (await accepted(self.works.studio, "demo", wish, ASKER)).job_id

    async def done(self, job_id: str) -> Closed:
        closed = await self.works.closed(job_id)
        assert closed.outcome == "completed", closed
        return closed

    def graphs(self) -> list[bool]:
        """Of everything that was sent, whether it was ``inverted``."""
        return ["10" in one["prompt"] for one in self.server.prompts]

    async def digest(self) -> str:
        """The digest of the workflow that the preset names now."""
        (found,) = (await find_preset(self.works.studio.dispatcher, "demo", "bottle")).preset.workflows
        return found


@asynccontextmanager
async def comfy(folder: Path) -> AsyncIterator[Comfy]:
    async with FakeComfy() as server, working(folder) as works, adapter(
            server, own=WorkflowFolder(folder / "flows")) as engine:
        works.studio.engines.add(engine)
        yield Comfy(works, server)


def test_another_machine_with_an_empty_folder_runs_the_same_graph(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with comfy(tmp_path) as at:
            await at.take(inverted())
            assert not (tmp_path / "flows").exists()
            at.works.start()
            first = await at.done(await at.job())
            async with adapter(at.server, own=WorkflowFolder(tmp_path / "elsewhere")) as other:
                at.works.studio.engines.add(other)
                second = await at.done(await at.job(seed=4))
            assert at.graphs() == [True, True]
            ours, theirs = (one["prompt"] for one in at.server.prompts)
            ours["3"]["inputs"]["seed"] = 4
            theirs["9"]["inputs"]["filename_prefix"] = ours["9"]["inputs"]["filename_prefix"]
            assert ours == theirs
            digest = await at.digest()
            for closed in (first, second):
                (step,) = closed.was.steps
                assert step.workflow is not None
                assert step.workflow.digest == digest
                assert closed.was.facts["made"]["workflow_digest"] == digest
            (uid,) = first.outputs["image"]
            asset = (await at.works.studio.dispatcher.aggregates.load(Stream("demo", UNBRANCHED, "asset", uid))).state
            assert asset.described.sources[0].workflow_digest == digest

    asyncio.run(scenario())


def test_what_was_asked_for_before_a_replacement_runs_what_was_planned(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with comfy(tmp_path) as at:
            await at.take(painted())
            waiting = await at.job()
            assert (await at.take(inverted(), replace=True)).changed
            at.works.start()
            await at.done(waiting)
            await at.done(await at.job(seed=4))
            assert at.graphs() == [False, True]

    asyncio.run(scenario())


def test_an_attempt_after_a_replacement_runs_what_was_planned(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with comfy(tmp_path) as at:
            await at.take(painted())
            at.server.gate.clear()
            at.server.error_next = BROKEN
            at.works.start()
            job_id = await at.job()
            async with asyncio.timeout(20):
                await at.server.at_gate.wait()
            await at.take(inverted(), replace=True)
            at.server.gate.set()
            closed = await at.done(job_id)
            assert closed.was.attempts == {"made": 2}
            assert at.graphs() == [False, False]
            started = [json.loads(one.data)["task"] for one in await at.works.studio.log.read_stream(
                Stream("demo", UNBRANCHED, "job", job_id)) if one.type == "AttemptStarted"]
            assert started[0] == started[1]
            (planned,) = closed.was.steps
            assert planned.workflow is not None
            assert started[0]["workflow"] == {"digest": f"sha256:{planned.workflow.digest}",
                                              "size": planned.workflow.size}

    asyncio.run(scenario())


def test_a_job_that_is_done_again_runs_what_the_first_was_planned_with(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with comfy(tmp_path) as at:
            await at.take(painted())
            at.works.start()
            first = await at.job()
            await at.done(first)
            same = await again(at.works.studio, "demo", first, ASKER)
            assert same.plan is not None
            assert not same.plan.notes
            await at.take(inverted(), replace=True)
            repeated = await again(at.works.studio, "demo", first, ASKER)
            assert repeated.plan is not None
            assert "planned with" in " ".join(repeated.plan.notes)
            await at.done(same.job_id)
            await at.done(repeated.job_id)
            third = await again(at.works.studio, "demo", repeated.job_id, ASKER)
            await at.done(third.job_id)
            assert at.graphs() == [False] * 4
            digests = {one.request.preset_digest for one in [
                (await at.works.closed(id_)).was for id_ in (first, repeated.job_id, third.job_id)]}
            assert len(digests) == 1
            await at.done(await at.job(seed=9))
            assert at.graphs()[-1]

    asyncio.run(scenario())


def test_a_failed_job_is_repaired_with_the_workflow_that_it_was_planned_with(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with comfy(tmp_path) as at:
            await at.take(painted())
            failed = await at.job()
            at.server.models["checkpoints"] = []
            at.works.start()
            assert (await at.works.closed(failed)).outcome == "failed"
            at.server.models["checkpoints"] = ["dreamy.safetensors"]
            at.works.studio.engines.forget("local_comfy")
            await at.take(inverted(), replace=True)
            mending = Wish.model_validate({"preset_id": "repair_pipeline_v1", "inputs": {"failed_job_id": failed}})
            repair = await accepted(at.works.studio, "demo", mending, ASKER)
            assert repair.plan is not None
            assert any("planned with" in one for one in repair.plan.notes)
            await at.done(repair.job_id)
            await at.done((await again(at.works.studio, "demo", repair.job_id, ASKER)).job_id)
            assert at.graphs() == [False, False]

    asyncio.run(scenario())


def test_a_studio_that_is_rebuilt_from_the_log_has_the_same_presets_and_plans(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with comfy(tmp_path) as at:
            await at.take(painted())
            await at.take(inverted(), replace=True)
            at.works.start()
            job_id = await at.job()
            await at.done(job_id)
            await at.works.studio.ask(DeletePreset(id="bottle"), ASKER, project="demo")
            await at.works.studio.ask(RestorePreset(id="bottle"), ASKER, project="demo")
            log = at.works.studio.log
            rebuilt = Dispatcher(log, REGISTRY)
            for category, subject in (("preset", "bottle"), ("job", job_id)):
                stream = Stream("demo", UNBRANCHED, category, subject)
                kept = (await at.works.studio.dispatcher.aggregates.load(stream)).state
                found = (await rebuilt.aggregates.load(stream)).state
                assert found == kept
                assert found.model_dump_json() == kept.model_dump_json()
            again_ = studio_on(tmp_path / "again", log=log)
            for view, query in (("ShowJob", {"job_id": job_id}), ("ShowOwnPreset", {"id": "bottle"})):
                declared = REGISTRY.views[view]
                asked = declared.query(project="demo", min_position=await log.head(), **query)
                shown = await look(again_, view, **query)
                assert shown == await at.works.studio.look(declared, asked)
                assert await at.digest() in json.dumps(shown["steps"] if view == "ShowJob" else shown["preset"])
            again_.models.close()

    asyncio.run(scenario())


def test_the_bytes_of_every_workflow_that_was_in_force_are_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with comfy(tmp_path) as at:
            await at.take(painted())
            first = await at.digest()
            await at.take(inverted(), replace=True)
            studio = at.works.studio
            stored = {one.digest async for batch in studio.blobs.everything() for one in batch}
            assert stored == {first, await at.digest()}
            assert not (await survey(studio.log, studio.blobs, LATER)).orphans
            with pytest.raises(Refused):
                await at.take(painted(**{"9": node("SaveImage", filename_prefix="other", images=["8", 0])}))
            assert {one.digest async for batch in studio.blobs.everything() for one in batch} == stored

    asyncio.run(scenario())


def test_bytes_that_are_gone_are_told_and_taking_the_same_in_again_mends_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with comfy(tmp_path) as at:
            await at.take(painted())
            waiting = await at.job()
            studio = at.works.studio
            await studio.blobs.delete(await at.digest())
            async with adapter(at.server) as other:  # the first has read it
                studio.engines.add(other)
                able = (await preset_shown(studio, "demo", "bottle"))["can_run"]
                assert not able["ok"]
                assert able["missing"][0]["error"] == "FILE_NOT_FOUND"
                with pytest.raises(ComfyVNError) as caught:
                    await at.job()
                assert caught.value.code == "FILE_NOT_FOUND"
                at.works.start()
                closed = await at.works.closed(waiting)
                assert closed.fault is not None
                assert (closed.outcome, closed.fault.code) == ("failed", "FILE_NOT_FOUND")
                assert not (await at.take(painted())).changed
                assert (await preset_shown(studio, "demo", "bottle"))["can_run"]["ok"]
                await at.done((await again(studio, "demo", waiting, ASKER)).job_id)

    asyncio.run(scenario())


def test_presets_written_by_hand_name_stored_workflows_and_no_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with comfy(tmp_path) as at:
            studio = at.works.studio
            document = dict((await at.take(inverted())).preset)
            at.works.start()
            copied = CreatePreset.model_validate({**document, "id": "copy"})
            await studio.ask(copied, ASKER, project="other")
            wish = Wish.model_validate({"preset_id": "copy", "inputs": {"prompt": "x", "seed": 1}})
            job = await accepted(studio, "other", wish, ASKER)
            at.works.project = "other"
            await at.done(job.job_id)
            at.works.project = "demo"
            assert at.graphs() == [True]

            def other(**changes: Any) -> dict[str, Any]:
                (step,) = document["steps"]
                (way,) = step["ways"]
                return {**document, "id": "by_hand", "steps": [{**step, "ways": [{**way, **changes}]}]}

            for kind in (CreatePreset, ReplacePreset):
                with pytest.raises(Refused) as caught:
                    await studio.ask(kind.model_validate(other(workflow={"digest": "0" * 64, "size": 9})), ASKER,
                                     project="demo")
                assert caught.value.code == "blob_missing"
            for wrong in ({"digest": "0" * 63, "size": 9}, {"digest": "0" * 64, "size": 0}, {"digest": "0" * 64},
                          {"digest": "0" * 64, "size": 2**20}, {"digest": "0" * 64, "size": 9, "id": "x"}):
                with pytest.raises(ValueError):
                    Preset.model_validate(other(workflow=wrong))
            picture = await studio.blobs.put(b"no workflow at all")
            none = {"digest": picture.digest, "size": picture.size}
            await studio.ask(CreatePreset.model_validate(other(workflow=none)), ASKER, project="demo")
            wish = Wish.model_validate({"preset_id": "by_hand", "inputs": {"prompt": "x"}})
            with pytest.raises(Invalid, match="no workflow"):
                await accepted(studio, "demo", wish, ASKER)
            at.works.engine(id_="painter")
            await studio.ask(ReplacePreset.model_validate(other(engine="painter")), ASKER, project="demo")
            with pytest.raises(Invalid, match="runs no workflows"):
                await accepted(studio, "demo", wish, ASKER)
            step = a_step(engine="painter", workflow=none)
            closed = await at.works.closed(await at.works.ask(step))
            assert closed.fault is not None
            assert closed.fault.code == "CONTRACT_MISMATCH"

    asyncio.run(scenario())


def test_a_preset_from_before_runs_what_lies_in_the_folder(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with comfy(tmp_path) as at:
            taken = await at.take(inverted(), dry_run=True)
            (tmp_path / "flows").mkdir()
            (tmp_path / "flows" / "bottle.json").write_bytes(taken.workflow.document)
            document = json.loads(json.dumps(taken.preset))
            del document["steps"][0]["ways"][0]["workflow"]
            await at.works.studio.ask(CreatePreset.model_validate(document), ASKER, project="demo")
            at.works.start()
            closed = await at.done(await at.job())
            assert closed.was.steps[0].workflow is None
            assert at.graphs() == [True]
            with pytest.raises(Refused):
                await at.take(inverted())
            assert (await at.take(inverted(), replace=True)).changed
            (tmp_path / "flows" / "bottle.json").unlink()
            await at.done(await at.job(seed=4))

    asyncio.run(scenario())


def test_digests_of_presets_without_workflows_are_what_they_were() -> None:
    assert built_in()["photoreal_portrait_v1"].digest == (
        "sha256:8f32332a1a10e7f55c216325075556ba975f1ec9cfe282f4ddd3a7dda379f70e")
    preset = built_in()["photoreal_portrait_v1"].preset
    document = preset.model_dump(mode="json")
    document["steps"][0]["ways"][0]["workflow"] = {"digest": "0" * 64, "size": 9}
    assert digest_of(Preset.model_validate(document)) != digest_of(preset)


def test_a_preset_is_found_as_it_stood_by_its_digest_and_else_by_its_workflows(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with comfy(tmp_path) as at:
            dispatcher = at.works.studio.dispatcher
            stood = []
            for document in (painted(), inverted(), painted()):
                await at.take(document, replace=True)
                stood.append(await find_preset(dispatcher, "demo", "bottle"))
            for one in stood:
                assert await earlier_preset(dispatcher, "demo", "bottle", one.digest, []) == one
                assert await earlier_preset(dispatcher, "demo", "bottle", "unknown", one.preset.workflows) == one
            assert await earlier_preset(dispatcher, "demo", "bottle", "unknown", ["0" * 64]) is None
            assert await earlier_preset(dispatcher, "demo", "nobody", stood[0].digest, []) is None

    asyncio.run(scenario())

