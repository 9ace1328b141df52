"""Workflows that users bring: what is found in them, what is refused and why, and that they run as they did before."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from engines.comfy_documents import edited, node, painted, plain
from engines.comfy_play import STORED, adapter, ended
from engines.fake_comfy import FakeComfy
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from ports.engine_suite import Stored, fetched, picture
from working import ASKER, working

from adapters.engines.local_comfy.editor import graph_of, saved_by_editor
from adapters.engines.local_comfy.engine import LocalComfy
from adapters.engines.local_comfy.importing import document_of, imported, plain_graph
from adapters.engines.local_comfy.workflows import NotAWorkflow, Workflow, WorkflowFolder
from commands.story.character import CreateCharacter
from domain.errors import Invalid, Refused
from domain.ports.engines import Done, EngineError, Material, Submission, Task
from domain.ports.workflows import TakenWorkflow, Taking
from domain.studio.preset_model import Preset
from services.generation.accepting import accepted
from services.generation.taking import Taken, preset_of, take_workflow
from services.generation.wishes import Wish


def taken(document: Any, *, without_server: bool = False, **taking: Any) -> TakenWorkflow:
    """What a fake server's adapter makes of a document."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()

    async def scenario() -> TakenWorkflow:
        if without_server:
            engine = LocalComfy("http://127.0.0.1:9", patience_seconds=1)
            try:
                return await engine.take_workflow(content, Taking(**{"id": "mine", **taking}))
            finally:
                await engine.close()
        async with FakeComfy() as server, adapter(server) as engine:
            return await engine.take_workflow(content, Taking(**{"id": "mine", **taking}))

    return asyncio.run(scenario())


def why(document: Any, **taking: Any) -> str:
    """The sentence that a document is refused with."""
    with pytest.raises(EngineError) as caught:
        taken(document, **taking)
    assert caught.value.fault.code == "CONTRACT_MISMATCH"
    return caught.value.fault.message


def flow_of(found: TakenWorkflow) -> Workflow:
    return Workflow.model_validate_json(found.document)


def named(found: TakenWorkflow) -> dict[str, Any]:
    return {one.name: one.default for one in found.parameters}


# What is found


def test_the_graph_that_everybody_begins_with() -> None:
    found = taken(painted())
    assert (found.operation, found.makes, found.main, found.loras) == ("text_to_image", "image", "checkpoint", True)
    assert named(found) == {
        "prompt": "a glass bottle", "negative_prompt": "text, watermark", "seed": None, "steps": 20, "cfg": 8,
        "sampler": "euler", "scheduler": "normal", "denoise": 1, "checkpoint": "dreamy.safetensors", "width": 64,
        "height": 48, "batch": 1,
    }
    assert [one.name for one in found.parameters][:2] == ["prompt", "negative_prompt"]
    flow = flow_of(found)
    assert flow.parameters["prompt"].at == (("6", "text"),)
    assert flow.parameters["cfg"].type == "number"  # although the file says 8
    assert (flow.parameters["steps"].minimum, flow.parameters["steps"].maximum) == (1, 10000)  # as the server declares
    assert flow.chain is not None
    assert (flow.chain.model, flow.chain.clip) == (("4", 0), ("4", 1))


def test_without_a_server_the_same_is_found_and_said() -> None:
    found = taken(painted(), without_server=True)
    assert named(found) == named(taken(painted()))
    assert "does not answer" in found.notes[-1]


def test_what_the_editor_saves_becomes_the_same_graph() -> None:
    one, other = flow_of(taken(painted())), flow_of(taken(edited()))
    assert one.graph == {id_: other.graph[id_].model_copy(update={"meta": one.graph[id_].meta}) for id_ in other.graph}
    assert one.parameters == other.parameters


def test_what_the_editor_saves_needs_a_running_server() -> None:
    with pytest.raises(EngineError) as caught:
        taken(edited(), without_server=True)
    assert caught.value.fault.code == "CONNECTION_REFUSED"
    assert "Export (API)" in caught.value.fault.message


def test_prompts_are_found_through_what_lies_between() -> None:
    graph = painted(**{
        "20": node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], strength=0.8),
        "21": node("FluxGuidance", conditioning=["20", 0], guidance=3.5),
    })
    graph["3"]["inputs"] |= {"positive": ["21", 0], "negative": ["20", 1]}
    found = taken(graph, without_server=True)
    assert named(found)["prompt"] == "a glass bottle"
    assert named(found)["negative_prompt"] == "text, watermark"
    assert named(found)["guidance"] == 3.5


def test_a_negative_made_of_the_positive_is_none() -> None:
    graph = painted(**{"7": node("ConditioningZeroOut", conditioning=["6", 0])})
    assert "negative_prompt" not in named(taken(graph, without_server=True))


def test_guided_sampling_of_parts_is_understood() -> None:
    graph = {
        "1": node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
        "2": node("DualCLIPLoader", clip_name1="t5.safetensors", clip_name2="clip_l.safetensors", type="flux"),
        "3": node("PrimitiveStringMultiline", value="a cat on the moon"),
        "4": node("CLIPTextEncode", text=["3", 0], clip=["2", 0]),
        "5": node("BasicGuider", model=["1", 0], conditioning=["4", 0]),
        "6": node("RandomNoise", noise_seed=2**64 - 1),
        "7": node("BasicScheduler", model=["1", 0], scheduler="simple", steps=20, denoise=1.0),
        "8": node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1),
        "9": node("SamplerCustomAdvanced", noise=["6", 0], guider=["5", 0], sigmas=["7", 0], latent_image=["8", 0]),
        "10": node("VAELoader", vae_name="ae.safetensors"),
        "11": node("VAEDecode", samples=["9", 0], vae=["10", 0]),
        "12": node("SaveImage", images=["11", 0], filename_prefix="x"),
    }
    found = taken(graph, without_server=True)
    assert named(found)["prompt"] == "a cat on the moon"
    assert found.main == "diffusion_model"
    flow = flow_of(found)
    assert flow.parameters["seed"].at == (("6", "noise_seed"),)
    assert flow.graph["6"].inputs["noise_seed"] == 0  # what the editor drew does not fit into 64 bits with a sign
    assert flow.chain is not None
    assert (flow.chain.model, flow.chain.clip) == (("1", 0), ("2", 0))
    assert named(found)["text_encoder"] == "t5.safetensors"


def test_two_samplers_share_a_seed_and_differ_in_steps() -> None:
    graph = painted()
    graph["30"] = node("KSampler", "Hires", **{**graph["3"]["inputs"], "seed": 9, "steps": 8, "denoise": 0.4,
                                               "latent_image": ["3", 0]})
    graph["8"]["inputs"]["samples"] = ["30", 0]
    flow = flow_of(taken(graph))
    assert flow.parameters["seed"].at == (("3", "seed"), ("30", "seed"))
    assert flow.parameters["hires_steps"].default == 8
    assert flow.parameters["cfg"].at == (("3", "cfg"), ("30", "cfg"))


def test_files_masks_and_likenesses_are_inputs() -> None:
    graph = painted(**{
        "20": node("LoadImage", image="me.png"), "21": node("LoadImageMask", image="m.png", channel="red"),
        "22": node("LoadImage", "Pose", image="pose.png"),
        "23": node("IPAdapterFaceID", model=["4", 0], image=["22", 0]),
        "5": node("VAEEncodeForInpaint", pixels=["20", 0], vae=["4", 2], mask=["21", 0], grow_mask_by=6),
    })
    graph["3"]["inputs"]["model"] = ["23", 0]
    found = taken(graph, without_server=True)
    assert found.operation == "image_to_image"
    assert [(one.name, one.media) for one in found.files] == [
        ("image", "image"), ("mask", "image"), ("pose_image", "image")]
    assert found.likeness
    preset = Preset.model_validate(preset_of(found))
    assert preset.requires_consent
    assert preset.inputs["pose_image"].shows_person


def test_of_a_graph_without_prompts_everything_can_be_set() -> None:
    found = taken(plain())
    assert (found.operation, found.main, found.loras) == ("compose_images", None, False)
    assert named(found) == {
        "width": 64, "height": 48, "batch": 1, "color": 255, "upscale_method": "lanczos", "image_scale_width": 128,
        "image_scale_height": 128, "crop": "disabled",
    }


def test_a_value_beyond_what_the_server_declares_is_left_to_the_server() -> None:
    graph = painted()
    graph["3"]["inputs"] |= {"cfg": 500, "steps": 1e300}
    found = taken(graph)
    told = {one.name: one for one in found.parameters}
    assert (told["cfg"].default, told["cfg"].minimum, told["cfg"].maximum) == (500, 0, None)
    assert Preset.model_validate(preset_of(found)).inputs["steps"].default == 1e300


def test_one_more_setting_is_exposed_by_name() -> None:
    graph = painted(**{"20": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["4", 1])})
    graph["6"]["inputs"]["clip"] = ["20", 0]
    found = taken(graph, without_server=True, expose={"clip_skip": "20.stop_at_clip_layer"})
    assert flow_of(found).parameters["clip_skip"].at == (("20", "stop_at_clip_layer"),)
    assert "no setting" in why(graph, without_server=True, expose={"x": "20.clip"})
    assert "no setting" in why(graph, without_server=True, expose={"x": "99.clip"})
    assert "cannot be called" in why(graph, without_server=True, expose={"character": "20.stop_at_clip_layer"})


def test_previews_store_and_what_makes_nothing_is_left_out() -> None:
    graph = painted(**{"9": node("PreviewImage", images=["8", 0]), "40": node("LoadImage", image="unused.png")})
    found = taken(graph)
    flow = flow_of(found)
    assert flow.graph["9"].class_type == "SaveImage"
    assert "40" not in flow.graph
    assert len(found.notes) == 2


def test_a_graph_in_a_picture_that_it_made() -> None:
    info, made = PngInfo(), BytesIO()
    info.add_text("prompt", json.dumps(painted()))
    Image.new("RGB", (4, 4)).save(made, "PNG", pnginfo=info)
    assert named(taken(made.getvalue()))["prompt"] == "a glass bottle"
    assert "holds no workflow" in why(picture())
    assert "damaged" in why(made.getvalue()[:60])


def test_files_of_other_systems_are_found_and_missing_ones_named() -> None:
    async def scenario() -> tuple[TakenWorkflow, TakenWorkflow]:
        async with FakeComfy() as server, adapter(server) as engine:
            server.models["checkpoints"] = ["SDXL/dreamy.safetensors"]
            graph = painted(**{"4": node("CheckpointLoaderSimple", ckpt_name="SDXL\\dreamy.safetensors")})
            there = await engine.take_workflow(json.dumps(graph).encode(), Taking("mine"))
            absent = painted(**{"4": node("CheckpointLoaderSimple", ckpt_name="other.safetensors")})
            return there, await engine.take_workflow(json.dumps(absent).encode(), Taking("mine"))

    there, absent = asyncio.run(scenario())
    assert (named(there)["checkpoint"], list(there.missing)) == ("SDXL/dreamy.safetensors", [])
    assert list(absent.missing) == ["checkpoints/other.safetensors"]


@pytest.mark.parametrize(("classes", "media", "operation", "makes"), [
    (["SaveVideo"], [], "text_to_video", "video"), (["VHS_VideoCombine"], ["LoadImage"], "image_to_video", "video"),
    (["SaveVideo"], ["VHS_LoadVideo"], "edit_video", "video"),
    (["SaveVideo"], ["VHS_LoadVideo", "LoadAudio"], "lip_sync", "video"),
    (["SaveAnimatedWEBP"], [], "text_to_image", "image"),
])
def test_what_it_does_follows_from_what_goes_in_and_out(
    classes: list[str], media: list[str], operation: str, makes: str
) -> None:
    graph = painted()
    graph["9"] = node(classes[0], filename_prefix="x", images=["8", 0], save_output=False)
    for number, class_ in enumerate(media):
        input_ = {"VHS_LoadVideo": "video", "LoadAudio": "audio"}.get(class_, "image")
        graph[f"m{number}"] = node(class_, **{input_: "x"})
        graph["8"]["inputs"][f"more{number}"] = [f"m{number}", 0]
    found = taken(graph, without_server=True)
    assert (found.operation, found.makes) == (operation, makes)
    assert flow_of(found).graph["9"].inputs["save_output"] is True
    assert taken(graph, without_server=True, operation="compose_video").operation == "compose_video"


# What is refused, and in which words


@pytest.mark.parametrize(("document", "sentence"), [
    (b"", "not JSON"), (b"<html>", "not JSON"), ([], "no workflow"), ({}, "no workflow"), (7, "no workflow"),
    ({"1": 7}, "no node with a class_type"), ({"1": {"class_type": 7}}, "no node with a class_type"),
    ({"1": node("SaveAudio", filename_prefix="x", audio=["2", 0]), "2": node("LoadAudio", audio="x")}, "sound alone"),
    ({"1": node("EmptyImage", width=1)}, "stores nothing"),
    ({"1": node("SaveImage", filename_prefix="x", images=["2", 0])}, "which is not there"),
    ({"1": node("SaveImage", filename_prefix="", images=["2", 0]), "2": node("ImageInvert", image=["2", 0])}, "circle"),
    ({**painted(), "5": node("EmptyLatentImage", width=2**63, height=8, batch_size=1)}, "64 bits"),
    ({str(number): node("SaveImage") for number in range(600)}, "500 is the most"),
])
def test_what_is_no_workflow_is_refused_in_a_sentence(document: Any, sentence: str) -> None:
    assert sentence in why(document)


def _subgraph(document: dict[str, Any]) -> None:
    document["nodes"][1]["type"] = "0ab1c2d3-0000-4000-8000-00000000abcd"


def _unknown(document: dict[str, Any]) -> None:
    document["nodes"][5]["type"] = "SomebodysNode"


def _shifted(document: dict[str, Any]) -> None:
    document["nodes"][0]["widgets_values"] = ["euler", "normal"]


def _longer(document: dict[str, Any]) -> None:
    document["nodes"][2]["widgets_values"] += ["what", "is", "this"]


def _round(document: dict[str, Any]) -> None:
    document["links"][8] = [9, 10, 0, 10, 0, "MODEL"]


@pytest.mark.parametrize(("change", "sentence"), [
    (_subgraph, "subgraph"), (_unknown, "no node SomebodysNode"), (_shifted, "other settings"),
    (_longer, "more settings"), (_round, "circle"),
])
def test_what_the_editor_alone_could_unfold_is_refused(change: Any, sentence: str) -> None:
    document = edited()
    change(document)
    message = why(document)
    assert sentence in message
    assert "Export (API)" in message


def test_the_studios_own_names_are_taken() -> None:
    assert "choose another id" in why(plain(), id="plain_card")


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["SaveImage", "KSampler", "1", "model", "PreviewImage"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([
        "1", "2", "class_type", "inputs", "nodes", "links", "type", "id", "_meta", "title", "text", "positive", "seed",
        "filename_prefix", "images", "prompt", "widgets_values", "mode", "outputs",
    ]) | st.text(max_size=4), inner, max_size=6), max_leaves=30)


@given(ANY, st.lists(st.tuples(st.sampled_from(sorted(painted())), st.text(max_size=8), ANY), max_size=4))
@hypothesis_settings(max_examples=80, deadline=None)
def test_documents_of_any_kind_are_workflows_or_none(document: Any, changes: list[tuple[str, str, Any]]) -> None:
    mixed = painted()
    for id_, name, value in changes:
        mixed[id_]["inputs"][name] = value
    known: Mapping[str, Any] = {}
    for one in (document, mixed):
        with suppress(NotAWorkflow):
            read = document_of(json.dumps(one).encode("utf-8", "replace"))
            graph = graph_of(read, known) if saved_by_editor(read) else plain_graph(read)
            found = imported(graph, Taking("mine"), known).workflow
            assert set(found.outputs) <= set(found.graph)


# That it runs


def handed(attempt: str, found: TakenWorkflow, model: str = "bottle", **parameters: Any) -> tuple[Task, Stored]:
    """A task that brings its workflow along, and where its bytes are."""
    stored = Stored(found.document, media_type="application/json")
    return Task(attempt, found.operation, model, parameters, workflow=stored.materials[0]), stored


def test_a_workflow_runs_as_it_did_with_what_is_changed_and_nothing_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeComfy() as server, adapter(server, own=WorkflowFolder(tmp_path)) as engine:
            found = await engine.take_workflow(json.dumps(painted()).encode(), Taking("bottle"))
            assert (await engine.take_workflow(json.dumps(painted()).encode(), Taking("bottle"))) == found
            done = await engine.submit(*handed("one", found, seed=5, prompt="a ship"))
            outcome = await ended(engine, done)
            assert isinstance(outcome, Done)
            assert outcome.facts["workflow_digest"] == hashlib.sha256(found.document).hexdigest()
            assert await fetched(engine, done, outcome.products[0])
            sent = server.prompts[0]["prompt"]
            expected = painted()
            expected["3"]["inputs"]["seed"] = 5
            expected["6"]["inputs"]["text"] = "a ship"
            expected["9"]["inputs"]["filename_prefix"] = "comfyvn/one"
            assert {id_: one["inputs"] for id_, one in sent.items()} == {
                id_: one["inputs"] for id_, one in expected.items()}

    asyncio.run(scenario())
    assert not list(tmp_path.iterdir()), "what is stored is not kept a second time"


def test_a_task_runs_the_document_that_it_brings_whatever_the_folder_has_of_that_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeComfy() as server, adapter(server, own=WorkflowFolder(tmp_path)) as engine:
            first = await engine.take_workflow(json.dumps(painted()).encode(), Taking("bottle"))
            changed = painted()
            changed["3"]["inputs"]["steps"] = 33
            second = await engine.take_workflow(json.dumps(changed).encode(), Taking("bottle"))
            (tmp_path / "bottle.json").write_bytes(second.document)
            assert "bottle" in {one.model for one in await engine.offers()}
            await engine.submit(*handed("one", first, seed=5))
            await engine.submit(Task("two", "text_to_image", "bottle", {"seed": 5}), STORED)
            await engine.submit(*handed("three", second, seed=5))
            assert [one["prompt"]["3"]["inputs"]["steps"] for one in server.prompts] == [20, 33, 33]
            task, stored = handed("four", first, seed=5)
            offers = await engine.workflow_offers(task.workflow, stored)  # type: ignore[arg-type]
            assert {one.model for one in offers} >= {"bottle", "dreamy.safetensors"}
            assert {one.operation for one in offers} == {"text_to_image"}

    asyncio.run(scenario())


def test_documents_that_are_gone_damaged_or_none_are_refused_before_anything_is_sent() -> None:
    async def scenario() -> None:
        async with FakeComfy() as server, adapter(server) as engine:
            found = await engine.take_workflow(json.dumps(painted()).encode(), Taking("bottle"))
            task, stored = handed("one", found, seed=1)
            assert task.workflow is not None
            no_flow = Stored(b"{}")
            cases = [
                (task.workflow, Stored(), "FILE_NOT_FOUND"),
                (replace(task.workflow, digest="sha256:" + "0" * 64), Lying(found.document), "CHECKSUM_MISMATCH"),
                (task.workflow, Lying(found.document + b" "), "CHECKSUM_MISMATCH"),
                (replace(task.workflow, size=2**20), stored, "CONTRACT_MISMATCH"),
                (no_flow.materials[0], no_flow, "CONTRACT_MISMATCH"),
            ]
            for workflow, reading, code in cases:
                with pytest.raises(EngineError) as caught:
                    await engine.submit(replace(task, workflow=workflow), reading)
                assert (caught.value.fault.code, caught.value.submission) == (code, Submission.REFUSED)
                with pytest.raises(EngineError) as caught:
                    await engine.workflow_offers(workflow, reading)
                assert caught.value.fault.code == code
            assert not server.prompts
            await engine.submit(task, stored)
            await engine.submit(replace(task, attempt="two"), Stored())  # it was read before
            assert len(server.prompts) == 2
            other = replace(task, attempt="three", operation="image_to_video")
            with pytest.raises(EngineError, match="No workflow"):
                await engine.submit(other, stored)

    asyncio.run(scenario())


class Lying(Stored):
    """Gives the same bytes for whatever is asked."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content

    async def _pieces(self, material: Material) -> AsyncIterator[bytes]:
        yield self.content


def test_the_model_of_a_workflow_is_not_exchanged_for_another() -> None:
    async def scenario() -> None:
        async with FakeComfy() as server, adapter(server) as engine:
            server.models["checkpoints"] = ["a_first.safetensors", "dreamy.safetensors"]
            found = await engine.take_workflow(json.dumps(painted()).encode(), Taking("bottle"))
            await engine.submit(*handed("one", found, seed=1))
            await engine.submit(*handed("two", found, "bottle:a_first.safetensors", seed=1))
            assert [one["prompt"]["4"]["inputs"]["ckpt_name"] for one in server.prompts] == [
                "dreamy.safetensors", "a_first.safetensors"]
        async with FakeComfy() as server, adapter(server) as engine:
            server.models["checkpoints"] = ["a_first.safetensors"]
            task, stored = handed("three", found, seed=1)
            assert task.workflow is not None
            offer = next(one for one in await engine.workflow_offers(task.workflow, stored) if one.model == "bottle")
            assert list(offer.missing) == ["checkpoints/dreamy.safetensors"]
            with pytest.raises(EngineError) as caught:
                await engine.submit(task, stored)
            assert caught.value.fault.code == "DEPENDENCY_MISSING"

    asyncio.run(scenario())


def test_from_the_file_to_the_picture_with_a_characters_words_and_lora(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeComfy() as server, working(tmp_path) as works, adapter(
                server, own=WorkflowFolder(tmp_path / "flows")) as engine:
            works.studio.engines.add(engine)

            async def take(document: Any, **more: Any) -> Taken:
                return await take_workflow(works.studio, json.dumps(document).encode(), "My Bottle (v2)", ASKER,
                                           project="demo", **more)

            assert (await take(painted(), dry_run=True)).changed
            assert not [one async for batch in works.studio.blobs.everything() for one in batch]
            first = await take(painted())
            assert first.workflow.id == "my_bottle_v2"
            assert first.changed
            assert not (await take(painted())).changed
            with pytest.raises((Refused, Invalid)):
                await take(plain())
            await works.studio.ask(CreateCharacter.model_validate({
                "id": "mira", "name": "Mira", "loras": {"own": {
                    "name": "mira.safetensors", "weight": 0.8, "trigger_words": ["mira woman"]}},
            }), ASKER, project="demo")
            works.start()
            job = await accepted(works.studio, "demo", Wish.model_validate({
                "preset_id": "my_bottle_v2", "inputs": {"prompt": "at sea", "character": "mira", "seed": 3}}), ASKER)
            closed = await works.closed(job.job_id)
            assert closed.outcome == "completed", closed
            sent = server.prompts[0]["prompt"]
            assert sent["lora-1"]["inputs"]["lora_name"] == "mira.safetensors"
            assert sent["lora-1"]["inputs"]["strength_model"] == 0.8
            assert sent["3"]["inputs"]["model"] == ["lora-1", 0]
            assert sent["6"]["inputs"]["text"] == "mira woman, Mira, at sea"
            assert sent["3"]["inputs"]["seed"] == 3
            replaced = await take(plain(), replace=True)
            assert replaced.changed
            job = await accepted(works.studio, "demo", Wish.model_validate({
                "preset_id": "my_bottle_v2", "inputs": {"image_scale_width": 32}}), ASKER)
            assert (await works.closed(job.job_id)).outcome == "completed"
            assert server.prompts[-1]["prompt"]["3"]["inputs"]["width"] == 32
        assert not (tmp_path / "flows").exists()

    asyncio.run(scenario())
