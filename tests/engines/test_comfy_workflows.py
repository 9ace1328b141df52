"""Workflows of ComfyUI: what they ask for, how they become graphs, what is missing, and those that users bring."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from engines.comfy_judging import judged
from engines.comfy_nodes import specs
from engines.comfy_play import STORED, adapter, done, play, portrait, why, working_on
from engines.fake_comfy import FakeComfy
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from ports.engine_suite import Stored, fetched, picture, refused

from adapters.engines.local_comfy.building import build, filled
from adapters.engines.local_comfy.client import checked_address, without_paths
from adapters.engines.local_comfy.engine import LocalComfy
from adapters.engines.local_comfy.events import Listener
from adapters.engines.local_comfy.workflows import (
    NotAWorkflow,
    Workflow,
    WorkflowFolder,
    built_in,
    linked,
    read_workflow,
)
from domain.ports.engines import Done, Material, Submission, Task
from domain.studio.preset_model import PresetStep, Way
from services.generation.library import built_in as presets

FLOWS = {one.id: one for one in built_in()}


def sent(flow: Workflow, **given: Any) -> dict[str, Any]:
    """The graph of a workflow with every required value made up."""
    made = {"text": "a harbour", "integer": 7, "number": 1.0, "model": "some.safetensors"}
    needed = {name: made[one.type] for name, one in flow.parameters.items() if one.required}
    values = filled(flow, {**needed, **given}, "")
    return build(flow, values, {name: f"comfyvn/{name}.png" for name in flow.inputs}, "comfyvn/attempt-1")


# Ours


@pytest.mark.parametrize("flow", built_in(), ids=list(FLOWS))
def test_every_workflow_becomes_a_graph_without_gaps(flow: Workflow) -> None:
    graph = sent(flow)
    text = json.dumps(graph)
    assert "null" not in text
    for node in graph.values():
        for name, value in node["inputs"].items():
            assert (link := linked(value)) is None or link[0] in graph
            assert value != "" or name == "text", f"{name} was left empty"
    for output in flow.outputs:
        assert graph[output]["inputs"]["filename_prefix"] == "comfyvn/attempt-1"
    for name in flow.inputs:
        assert f"comfyvn/{name}.png" in text


@pytest.mark.parametrize("id_", [
    "checkpoint_text_to_image", "checkpoint_image_to_image", "checkpoint_inpaint", "model_upscale", "plain_upscale",
    "plain_card", "blur", "negative",
])
def test_graphs_of_core_nodes_pass_the_servers_own_validation(id_: str) -> None:
    flow = FLOWS[id_]
    files = {"checkpoints": ["some.safetensors"], "loras": ["a.safetensors"], "upscale_models": ["some.safetensors"]}
    loras = {"loras": ["a.safetensors"]} if flow.chain else {}
    error, nodes, _ = judged(sent(flow, **loras), specs(files), lambda name: True)
    assert (error, nodes) == (None, {})


def test_loras_are_chained_in_their_order_between_loader_and_takers() -> None:
    flow = FLOWS["checkpoint_text_to_image"]
    graph = sent(flow, loras=[
        {"name": "mira.safetensors", "strength": 0.8, "character": "mira", "words": "mira, red scarf"},
        {"name": "film.safetensors", "strength": 0.5, "clip_strength": 0},
    ])
    first, second = graph["lora-1"]["inputs"], graph["lora-2"]["inputs"]
    assert (first["model"], first["clip"]) == (["checkpoint", 0], ["checkpoint", 1])
    assert (second["model"], second["clip"]) == (["lora-1", 0], ["lora-1", 1])
    assert (first["strength_model"], first["strength_clip"]) == (0.8, 0.8)
    assert (second["strength_model"], second["strength_clip"]) == (0.5, 0)
    assert graph["sampler"]["inputs"]["model"] == ["lora-2", 0]
    assert graph["positive"]["inputs"]["clip"] == graph["negative"]["inputs"]["clip"] == ["lora-2", 1]
    assert graph["decode"]["inputs"]["vae"] == ["checkpoint", 2]
    assert graph["positive"]["inputs"]["text"] == "mira, red scarf, a harbour"
    again = sent(flow, prompt="Mira, Red Scarf at sea", loras=[{"name": "x", "words": "mira, red scarf"}])
    assert again["positive"]["inputs"]["text"] == "Mira, Red Scarf at sea"


@pytest.mark.parametrize("loras", [
    "mira.safetensors", [7], [{}], [{"name": ""}], [{"name": "a", "strength": "much"}], [{"name": "a", "strength": 11}],
    [{"name": "a", "strength": True}], [{"name": "a", "weight": 1}], [{"name": "a", "words": 7}], ["a"] * 17,
    [{"name": "a", "strength": float("nan")}],
])
def test_loras_that_say_something_else_are_refused(loras: Any) -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        assert (await why(engine, portrait("odd", loras=loras))).code in ("INVALID_FIELD_TYPE", "INVALID_FIELD_VALUE")
        assert not server.prompts

    play(scenario)


def test_a_portrait_with_a_characters_lora_is_made_and_told_of() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        loras = [{"name": "mira.safetensors", "strength": 0.8, "character": "mira"}]
        accepted, made = await done(engine, portrait("mira-1", loras=loras))
        assert isinstance(made, Done)
        assert made.facts["loras"] == [{"name": "mira.safetensors", "strength": 0.8, "character": "mira"}]
        assert made.facts["model"] == "dreamy.safetensors"
        assert made.facts["workflow"] == "checkpoint_text_to_image"
        assert await engine.find("mira-1") == accepted

    play(scenario)


def test_a_picture_and_its_mask_take_the_workflow_that_wants_both() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        image, mask = STORED.materials
        task = working_on("inpaint", "image_to_image", "dreamy.safetensors", {"prompt": "a hat", "seed": 3},
                          image=[image], mask=[mask])
        _, made = await done(engine, task)
        assert made.facts["workflow"] == "checkpoint_inpaint"
        used = {node["inputs"]["image"] for node in server.prompts[0]["prompt"].values()
                if node["class_type"].startswith("LoadImage")}
        assert len(used) == 2
        assert all(server.files["input", "comfyvn", name.removeprefix("comfyvn/")] for name in used)

    play(scenario)


def test_an_upload_beside_other_bytes_of_its_name_is_used_under_the_name_that_the_server_gives() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        task = working_on("first", "edit_image", "negative", {}, image=[STORED.materials[0]])
        await done(engine, task)
        (key,) = (key for key in server.files if key[0] == "input")
        server.files[key] = b"half a file of an upload that broke"
        await done(engine, working_on("second", "edit_image", "negative", {}, image=[STORED.materials[0]]))
        used = server.prompts[1]["prompt"]["load"]["inputs"]["image"]
        assert used.endswith(" (1).png")
        assert server.files["input", "comfyvn", used.removeprefix("comfyvn/")] == picture()

    play(scenario)


def test_a_file_that_is_too_large_is_refused_before_it_is_sent() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        huge = Material("sha256:" + "0" * 64, 200 * 2**20, "image/png")
        fault = await why(engine, working_on("huge", "edit_image", "negative", {}, image=[huge]))
        assert fault.code == "FILE_REFUSED"
        assert ("POST", "/upload/image") not in server.asked

    play(scenario)


def test_a_material_that_is_shorter_than_it_says_is_submitted_to_nobody() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        stored = Stored(picture())
        short = stored.materials[0]
        lying = Material(short.digest, short.size + 10, short.media_type)
        error = await refused(engine.submit(working_on("short", "edit_image", "negative", {}, image=[lying]), stored))
        assert error.submission is Submission.REFUSED
        assert not server.prompts
        assert not server.files

    play(scenario)


# What is missing


def test_a_checkpoint_that_is_not_there_is_named_with_its_folder() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        fault = await why(engine, portrait("absent", "sd_xl_base_1.0.safetensors"))
        assert fault.code == "DEPENDENCY_MISSING"
        assert fault.detail["missing"] == [
            {"kind": "model", "name": "sd_xl_base_1.0.safetensors", "folder": "checkpoints",
             "model": "sdxl-base-1.0"}]
        assert fault.remediation()[0]["action"] == "install_model"
        server.models["checkpoints"].append("sd_xl_base_1.0.safetensors")
        catalogue = engine._catalogue
        catalogue.forget()  # as after half a minute
        assert isinstance((await done(engine, portrait("absent-2", "sd_xl_base_1.0.safetensors")))[1], Done)

    play(scenario)


@pytest.mark.parametrize(("task", "missing"), [
    (portrait("a", loras=["nobody.safetensors"]),
     {"kind": "model", "name": "nobody.safetensors", "folder": "loras"}),
    (working_on("b", "restore_face", "", {}, image=[STORED.materials[0]]),
     {"kind": "node", "name": "FaceRestoreModelLoader", "folder": ""}),
    (portrait("c", "checkpoint_text_to_image:other.ckpt"),
     {"kind": "model", "name": "other.ckpt", "folder": "checkpoints"}),
])
def test_what_is_missing_is_named(task: Task, missing: dict[str, str]) -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        fault = await why(engine, task)
        assert fault.code == "DEPENDENCY_MISSING"
        assert missing in fault.detail["missing"]
        assert not server.prompts

    play(scenario)


def test_a_value_that_this_installation_does_not_know_is_no_missing_model() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        fault = await why(engine, portrait("sampler", sampler="made_up"))
        assert (fault.code, fault.detail["field"]) == ("INVALID_FIELD_VALUE", "sampler_name")
        assert "euler" in fault.detail["choices"]

    play(scenario)


def test_offers_say_what_can_be_done_and_what_is_missing() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        offers = {(one.operation, one.model): one for one in await engine.offers()}
        ready = offers["text_to_image", "dreamy.safetensors"]
        assert not ready.missing
        schema = ready.parameters
        assert schema["properties"]["checkpoint"]["enum"] == ["dreamy.safetensors"]
        assert schema["properties"]["loras"]["items"]["examples"] == ["mira.safetensors", "film.safetensors"]
        assert "seed" in schema["required"]
        assert offers["upscale_image", "4x-sharp.pth"].parameters["x-inputs"]["image"]["required"]
        assert "node FaceRestoreModelLoader" in offers["restore_face", "restore_face"].missing
        assert "node SaveVideo" in offers["image_to_video", "svd_image_to_video"].missing
        server.models["checkpoints"] = []
        engine._catalogue.forget()
        empty = {(one.operation, one.model): one for one in await engine.offers()}
        assert empty["text_to_image", "checkpoint_text_to_image"].missing == ["checkpoints/any"]
        assert (await why(engine, portrait("empty", ""))).code == "DEPENDENCY_MISSING"
        installed = await engine.installed()
        assert installed["checkpoints"] == ()
        assert installed["loras"] == ("mira.safetensors", "film.safetensors")

    play(scenario)


def test_health_tells_the_version_and_no_paths() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        health = await engine.health()
        assert health.facts["version"] == "0.3.64"
        assert "/home/" not in json.dumps(dict(health.facts))
        await server.server.kill()
        health = await engine.health()
        assert health.status == "offline"
        assert health.remedy is not None
        assert health.remedy[1] == "start_engine"

    play(scenario)


# Those that users bring


def document(**changes: Any) -> dict[str, Any]:
    """A workflow of somebody's own."""
    return {
        "id": "my_card", "name": "My card", "operation": "compose_images", "outputs": ["2"],
        "parameters": {"width": {"type": "integer", "default": 16, "maximum": 64, "at": [["1", "width"]]}},
        "graph": {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 255},
                  "_meta": {"title": "canvas"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        }, **changes,
    }


def test_a_workflow_in_the_folder_is_offered_and_runs(tmp_path: Path) -> None:
    async def scenario(server: FakeComfy, _: LocalComfy) -> None:
        async with adapter(server, own=WorkflowFolder(tmp_path / "workflows")) as engine:
            assert "my_card" not in {one.model for one in await engine.offers()}
            (tmp_path / "workflows").mkdir()
            (tmp_path / "workflows" / "card.json").write_text(json.dumps(document()))
            (tmp_path / "workflows" / "broken.json").write_text("{")
            assert "my_card" in {one.model for one in await engine.offers()}
            problems = (await engine.health()).facts["workflow_problems"]
            assert list(problems) == ["broken.json"]  # type: ignore[arg-type]
            accepted, made = await done(engine, Task("mine", "compose_images", "my_card", {"width": 20}))
            content = await fetched(engine, accepted, made.products[0])
            assert Image.open(BytesIO(content)).size == (20, 8)
            (tmp_path / "workflows" / "card.json").write_text(json.dumps(document(id="renamed_card")))
            assert "renamed_card" in {one.model for one in await engine.offers()}

    play(scenario)


GRAPH = document()["graph"]


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"operation": "fly"}, "is not an operation"),
    ({"outputs": ["9"]}, "output node 9 is not there"),
    ({"outputs": ["1"]}, "has no filename_prefix"),
    ({"outputs": []}, "outputs"),
    ({"surprise": 1}, "surprise"),
    ({"id": "../../etc"}, "id"),
    ({"main": "width"}, "no parameter of type model"),
    ({"parameters": {"x": {"type": "integer", "default": 1, "at": [["7", "width"]]}}}, "node 7, which is not there"),
    ({"parameters": {"x": {"type": "integer", "default": 1, "at": [["2", "images"]]}}}, "takes it from another node"),
    ({"parameters": {"l": {"type": "loras"}}}, "go together"),
    ({"inputs": {"width": {"at": [["1", "width"]]}}}, "is a parameter and an input"),
    ({"graph": {**GRAPH, "1": {"class_type": "ImageInvert", "inputs": {"width": 1, "image": ["9", 0]}}}},
     "node 9, which is not there"),
    ({"graph": {**GRAPH, "3": {"class_type": "ImageInvert", "inputs": {"image": ["4", 0]}},
                "4": {"class_type": "ImageInvert", "inputs": {"image": ["3", 0]}}}}, "in a circle at node 3"),
    ({"graph": {**GRAPH, "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}},
     "stores nothing that could be fetched"),
    ({"graph": {"nodes": [], "links": []}}, "export it with"),
    ({"graph": {str(n): {"class_type": "EmptyImage", "inputs": {}} for n in range(600)}}, "500"),
])
def test_workflows_that_could_not_run_say_why(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(NotAWorkflow) as caught:
        read_workflow(json.dumps(document(**changes)))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("content", [
    b"", b"null", b"[]", b"[" * 100_000, b'{"nodes": []}', b"\xff\xfe", b'{"id": "\\ud800"}', b"{" + b" " * 600_000,
    json.dumps(document(graph=7)).encode(), b'{"graph": null}',
])
def test_documents_of_any_kind_are_refused_in_a_sentence(content: bytes) -> None:
    with pytest.raises(NotAWorkflow):
        read_workflow(content)


# What people are shown, and what the socket says


@pytest.mark.parametrize(("said", "shown"), [
    ("No such file: /home/ada/ComfyUI/models/vae/x.pt", "No such file: x.pt"),
    ("cannot open 'C:\\Users\\Ada Lovelace\\ComfyUI\\x.safetensors'", "cannot open 'x.safetensors'"),
    ("see https://example.org/secret?token=abc for more", "see … for more"),
    ("a ratio of 1/2 and/or 3/4", "a ratio of 1/2 and/or 3/4"),
    ("two\nlines\x00\x1b[31m", "two lines [31m"),
    ("half \ud800 pair", "half ? pair"),
])
def test_paths_and_addresses_are_not_shown(said: str, shown: str) -> None:
    assert without_paths(said) == shown


@given(st.text(max_size=300), st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=2, max_size=6))
@settings(max_examples=200, deadline=None)
def test_no_folder_of_a_path_survives(text: str, parts: list[str]) -> None:
    shown = without_paths(f"{text} (/{'/'.join(f'zq{part}' for part in parts)}/file.pt)", 5000)
    assert len(shown) <= 5000
    if "/" not in text and "\\" not in text and ":" not in text:
        assert not any(f"zq{part}" in shown for part in parts)


@pytest.mark.parametrize("url", [
    "", "127.0.0.1:8188", "ftp://host/", "http://", "http://user:secret@host", "http://host?x=1", "http://host#x",
    "http://host:99999", "file:///etc/passwd",
])
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(ValueError):
        checked_address(url)


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
                           lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                               st.sampled_from(["nodes", "node", "prompt_id", "value", "max", "state", "x"]), inner,
                               max_size=4), max_leaves=12)


@given(st.sampled_from(["progress_state", "progress", "executing", "executed", "execution_cached", "status"]),
       st.dictionaries(st.sampled_from(["nodes", "node", "value", "max", "x"]), json_values, max_size=5))
@settings(max_examples=300, deadline=None)
def test_the_socket_may_say_anything(kind: str, data: dict[str, Any]) -> None:
    async def scenario() -> None:
        listener = Listener("http://127.0.0.1:1", "worker")
        listener.watch("ours", {"1": "Save Image"})
        listener.hear(json.dumps({"type": kind, "data": {**data, "prompt_id": "ours"}}))
        progress = listener.progress("ours")
        assert progress is not None
        assert progress.fraction is None or 0 <= progress.fraction <= 1
        await listener.close()

    asyncio.run(scenario())


# One folder, models of several kinds


def test_a_file_that_nobody_named_is_taken_only_if_its_name_suits() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.models["checkpoints"] = ["aaa_svd_xt.safetensors", "dreamy.safetensors", "zzz_refiner.safetensors"]
        _, made = await done(engine, portrait("unnamed", ""))
        assert made.facts["model"] == "dreamy.safetensors"
        _, made = await done(engine, portrait("workflow", "checkpoint_text_to_image"))
        assert made.facts["model"] == "dreamy.safetensors"
        _, made = await done(engine, portrait("named", "zzz_refiner.safetensors"))  # whoever names it gets it
        assert made.facts["model"] == "zzz_refiner.safetensors"
        offered = {(one.operation, one.model) for one in await engine.offers() if not one.missing}
        assert ("text_to_image", "dreamy.safetensors") in offered
        assert ("text_to_image", "aaa_svd_xt.safetensors") not in offered

    play(scenario)


def test_a_workflow_whose_kind_of_model_is_not_there_says_which_kind() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        offers = {one.model: one for one in await engine.offers() if one.operation == "image_to_video"}
        assert "checkpoints/any *svd*" in offers["svd_image_to_video"].missing

    play(scenario)


# The page


def test_the_workflow_on_the_page_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "engines" / "local_comfy.md").read_text()
    blocks = [json.loads(one.split("```")[0]) for one in page.split("```json\n")[1:]]
    (flow,) = [read_workflow(json.dumps(one)) for one in blocks if "graph" in one]
    assert flow.id == "my_card"
    (parameters,) = [one for one in blocks if "prompt" in one]
    assert filled(FLOWS["checkpoint_text_to_image"], parameters, "dreamy.safetensors")["seed"] == 7
    assert {id_ for id_ in FLOWS if f"`{id_}`" in page} == set(FLOWS)


@pytest.mark.parametrize(("preset", "step", "way"), [
    (id_, step, way) for id_, found in presets().items() for step in found.preset.steps for way in step.ways
    if way.engine == "local_comfy"
])
def test_every_preset_finds_a_workflow_that_takes_what_it_says(preset: str, step: PresetStep, way: Way) -> None:
    operation = way.operation or step.operation
    named = [one for one in built_in() if one.id == way.model.partition(":")[0]]
    (flow,) = named or [one for one in built_in() if one.operation == operation]
    assert flow.operation == operation
    assert {*step.parameters, *way.parameters} <= {*flow.parameters, "seed"}
    given = {**step.inputs, **way.inputs}
    assert {name for name, one in flow.inputs.items() if one.required} <= given.keys() <= flow.inputs.keys()
