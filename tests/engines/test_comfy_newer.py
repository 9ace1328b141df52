"""ComfyUI as newer servers are: they want UUIDs, refuse in other words, and have inputs that hang on others."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from io import BytesIO
from typing import Any
from uuid import UUID

import httpx
import pytest
from engines.comfy_documents import node, painted, plain
from engines.comfy_judging import judged
from engines.comfy_newer import newer_specs, refused_id
from engines.comfy_nodes import specs
from engines.comfy_play import STORED, Scenario, adapter, card, done, ended, portrait, why, working_on
from engines.fake_comfy import FakeComfy
from engines.wire import Answer, Asked
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from ports.engine_suite import Stored, fetched, picture
from working import ASKER, working

from adapters.engines.local_comfy.building import build, run_of
from adapters.engines.local_comfy.catalogue import lacking
from adapters.engines.local_comfy.client import Client
from adapters.engines.local_comfy.engine import LocalComfy
from adapters.engines.local_comfy.outcomes import refusal
from adapters.engines.local_comfy.workflows import Workflow, WorkflowFolder, built_in
from domain.ports.engines import Accepted, Cancelled, Cancelling, Done, EngineError, Failed, Material, Task, Working
from domain.ports.workflows import Taking
from services.generation.accepting import accepted
from services.generation.taking import take_workflow
from services.generation.wishes import Wish

CORE = ["checkpoint_text_to_image", "checkpoint_image_to_image", "checkpoint_inpaint", "model_upscale", "plain_upscale",
        "model_upscale_video", "plain_card", "blur", "negative"]
FILES = {"checkpoints": ["some.safetensors"], "loras": ["a.safetensors"], "upscale_models": ["some.safetensors"]}


def play(scenario: Scenario, *, newer: bool = True) -> None:
    """Runs one scenario with a fresh newer server and a fresh adapter."""

    async def whole() -> None:
        async with FakeComfy(newer=newer) as server, adapter(server) as engine:
            await asyncio.wait_for(scenario(server, engine), 30)

    asyncio.run(whole())


def known(graph: dict[str, Any]) -> dict[str, Any]:
    """What a newer server says of the classes of a graph."""
    every = newer_specs(FILES)
    return {one["class_type"]: json.loads(json.dumps({"input": {"required": every[one["class_type"]].required,
                                                                "optional": every[one["class_type"]].optional}}))
            for one in graph.values()}


def why_not(graph: dict[str, Any]) -> str | None:
    """What is said against a graph before it is sent."""
    fault = lacking(graph, known(graph), set(), {})
    return None if fault is None else f"{fault.code}: {fault.message}"


# What a run is called


@given(st.text(max_size=80), st.text(max_size=80))
def test_every_attempt_has_a_uuid_of_its_own(one: str, other: str) -> None:
    for attempt in (one, other):
        assert refused_id(run_of(attempt)) is None
        assert run_of(attempt) == run_of(attempt)
    assert (run_of(one) == run_of(other)) == (one == other)


@pytest.mark.parametrize("id_", [
    "4f1c0aa3be5d09c2714e88", "attempt-1", "", 7, "9F0E2C52-7B1D-4A66-8C0B-3B0A5D1F6E21",
    "9f0e2c527b1d4a668c0b3b0a5d1f6e21",
])
def test_the_newer_server_takes_no_other_id(id_: Any) -> None:
    async def scenario(server: FakeComfy, _: LocalComfy) -> None:
        async with httpx.AsyncClient(base_url=server.url) as http:
            answer = await http.post("/prompt", json={"prompt": painted(), "prompt_id": id_})
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_prompt_id"
        assert not server.prompts

    play(scenario)


@pytest.mark.parametrize("newer", [False, True])
def test_an_attempt_of_a_job_is_made_found_and_made_once(newer: bool) -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        accepted, outcome = await done(engine, card("4f1c0aa3be5d09c2714e88"))  # as workers call theirs
        assert isinstance(outcome, Done)
        assert str(UUID(accepted.external_id)) == accepted.external_id
        assert await fetched(engine, accepted, outcome.products[0])
        async with adapter(server) as other:
            assert await other.submit(card("4f1c0aa3be5d09c2714e88"), STORED) == accepted
            assert await other.find("4f1c0aa3be5d09c2714e88") == accepted
            assert await other.find("another") is None
        assert len(server.prompts) == 1

    play(scenario, newer=newer)


def test_waiting_and_running_are_cancelled_under_the_id_that_they_have_there() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.gate.clear()
        running = await engine.submit(card("running"), STORED)
        await server.at_gate.wait()
        waiting = await engine.submit(card("waiting"), STORED)
        assert await engine.cancel(waiting) is Cancelling.CANCELLED
        assert isinstance(await engine.poll(waiting), Cancelled)
        assert await engine.cancel(running) is Cancelling.REQUESTED
        server.gate.set()
        assert isinstance(await ended(engine, running), Cancelled)

    play(scenario)


def test_progress_is_heard_although_it_is_told_to_nobody_else() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.gate.clear()
        accepted = await engine.submit(portrait("heard"), STORED)
        await asyncio.wait_for(engine.listening.wait(), 5)
        await server.at_gate.wait()
        states = {"checkpoint": {"state": "finished"}, "latent": {"state": "running", "value": 1, "max": 2}}
        server._send("progress_state", {"prompt_id": run_of("heard"), "nodes": states}, server.prompts[0]["client_id"])
        for _ in range(500):
            working = await engine.poll(accepted)
            assert isinstance(working, Working)
            if working.fraction == pytest.approx(1.5 / 7):
                break
            await asyncio.sleep(0.01)
        assert working.stage == "Empty Latent Image"
        server.gate.set()
        assert isinstance(await ended(engine, accepted), Done)

    play(scenario)


def test_what_an_earlier_release_submitted_under_the_attempt_itself_is_found_and_followed() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.gate.clear()
        graph = {"1": node("EmptyImage", width=8, height=8, batch_size=1, color=1),
                 "2": node("SaveImage", images=["1", 0], filename_prefix="comfyvn/before")}
        async with httpx.AsyncClient(base_url=server.url) as http:
            noted = {"comfyvn": {"attempt": "before", "memo": {"workflow": "plain_card"}}}
            await http.post("/prompt", json={"prompt": graph, "prompt_id": "before", "extra_data": noted})
        waiting = await engine.find("before")
        assert waiting == Accepted("before", {"workflow": "plain_card"})
        server.gate.set()
        assert isinstance(await ended(engine, waiting), Done)
        assert await engine.find("before") == waiting

    play(scenario, newer=False)


# What it refuses


@pytest.mark.parametrize(("graph", "code", "said"), [
    ({"1": {"class_type": "My Own Node", "inputs": {}, "_meta": {"title": "Pretty"}}}, "DEPENDENCY_MISSING",
     "the node My Own Node"),
    ({"1": {"inputs": {}}}, "CONTRACT_MISMATCH", "has no class_type"),
    ({"1": node("ImageInvert", image=["2", 0]), "2": node("ImageInvert", image=["1", 0]),
      "3": node("SaveImage", images=["1", 0], filename_prefix="x")}, "CONTRACT_MISMATCH", "circle"),
    ({"1": node("LoadVideo", file="comfyvn/gone.mp4"), "2": node("SaveVideo", video=["1", 0], filename_prefix="x",
                                                                 format="auto")}, "FILE_NOT_FOUND", "gone.mp4"),
    ({"1": node("EmptyImage", width=8, height=8, batch_size=1, color=0),
      "2": node("ResizeImageMaskNode", input=["1", 0], resize_type="scale by multiplier", scale_method="area"),
      "3": node("SaveImage", images=["2", 0], filename_prefix="x")}, "MISSING_REQUIRED_FIELD", "multiplier"),
])
def test_every_newer_refusal_has_its_fault(graph: dict[str, Any], code: str, said: str) -> None:
    async def scenario(server: FakeComfy, _: LocalComfy) -> None:
        async with httpx.AsyncClient(base_url=server.url) as http:
            answer = await http.post("/prompt", json={"prompt": graph})
        assert answer.status_code == 400
        found = refusal(answer.json())
        assert (found.code, said in found.message) == (code, True), found.message

    play(scenario)


def test_an_older_server_is_understood_too_where_the_name_of_a_node_has_spaces() -> None:
    error, nodes, _ = judged({"1": {"class_type": "My Own Node", "inputs": {}}}, specs({}), lambda name: False)
    assert refusal({"error": error, "node_errors": nodes}).detail["missing"] == [
        {"kind": "node", "name": "My Own Node", "folder": ""}]


# Nodes


@pytest.mark.parametrize("id_", CORE)
def test_graphs_of_core_nodes_pass_the_newer_servers_validation(id_: str) -> None:
    flow = next(one for one in built_in() if one.id == id_)
    values = {name: one.default for name, one in flow.parameters.items()} | {"prompt": "a harbour", "seed": 1}
    values |= {name: "some.safetensors" for name, one in flow.parameters.items() if one.type == "model"}
    values |= {"loras": [{"name": "a.safetensors", "strength": 1, "clip_strength": 1, "words": "", "character": ""}]
               } if flow.chain else {}
    graph = build(flow, {name: values[name] for name in flow.parameters},
                  dict.fromkeys(flow.inputs, "comfyvn/x.png"), "comfyvn/attempt-1")
    assert judged(graph, newer_specs(FILES), lambda name: True, newer=True)[:2] == (None, {})
    assert why_not(graph) is None


def test_a_video_is_made_larger_and_what_is_only_shown_of_it_is_no_result() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.models["upscale_models"] = ["4x.pth"]
        stored = Stored(b"\0\0\0\x18ftypmp42" + bytes(40), media_type="video/mp4")
        task = working_on("larger", "upscale_video", "model_upscale_video", {"scale": 0.5}, video=[stored.materials[0]])
        accepted = await engine.submit(task, stored)
        outcome = await ended(engine, accepted)
        assert isinstance(outcome, Done)
        assert len(server.history[accepted.external_id]["outputs"]) == 2
        (product,) = outcome.products
        assert (product.name, product.media_type) == ("larger_00001_.mp4", "video/mp4")

    play(scenario)


def resized(**inputs: Any) -> dict[str, Any]:
    """A graph without any model, with a node whose inputs hang on one of its settings."""
    return {
        "1": node("LoadImage", image="example.png"),
        "2": node("ResizeImageMaskNode", "Resize", input=["1", 0], scale_method="area", **inputs),
        "3": node("SaveImage", images=["2", 0], filename_prefix="x"),
    }


BY = {"resize_type": "scale by multiplier", "resize_type.multiplier": 2}


def test_inputs_that_hang_on_others_are_found_typed_and_run() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        found = await engine.take_workflow(json.dumps(resized(**BY)).encode(), Taking("mine"))
        parameters = {one.name: one for one in found.parameters}
        by = parameters["resize_type_multiplier"]
        assert (by.kind, by.default, by.minimum, by.maximum) == ("number", 2, 0.01, 8.0)
        assert not found.missing
        stored = Stored(found.document, media_type="application/json")
        reading = Stored(found.document, picture())
        task = Task("twice", found.operation, "mine", {"resize_type_multiplier": 1.5},
                    {"image": [STORED.materials[0]]}, workflow=stored.materials[0])
        offers = await engine.workflow_offers(stored.materials[0], stored)
        assert offers[0].parameters["properties"]["resize_type"]["enum"] == ["scale dimensions", "scale by multiplier"]
        accepted = await engine.submit(task, reading)
        assert isinstance(await ended(engine, accepted), Done)
        assert server.prompts[0]["prompt"]["2"]["inputs"]["resize_type.multiplier"] == 1.5
        fault = (await caught(engine.submit(replace(task, attempt="never", parameters={
            "resize_type": "upside down"}), reading))).fault
        assert (fault.code, fault.detail["field"]) == ("INVALID_FIELD_VALUE", "resize_type")

    play(scenario)


async def caught(work: Any) -> EngineError:
    with pytest.raises(EngineError) as found:
        await work
    return found.value


@pytest.mark.parametrize(("inputs", "sentence"), [
    (BY, None),
    (BY | {"resize_type.multiplier": 9},
     "INVALID_FIELD_VALUE: resize_type.multiplier of ResizeImageMaskNode must be at most 8.0."),
    ({"resize_type": "scale dimensions", "resize_type.width": 8, "resize_type.height": 8, "resize_type.crop": "round"},
     "INVALID_FIELD_VALUE: ResizeImageMaskNode knows no resize_type.crop round."),
    (BY | {"resize_type.width": 99999}, None),  # left behind by another setting: it counts for nothing
])
def test_inputs_that_hang_on_others_are_compared_with_what_they_may_be(inputs: dict[str, Any],
                                                                       sentence: str | None) -> None:
    assert why_not(resized(**inputs)) == sentence


@pytest.mark.parametrize(("class_", "inputs", "refused"), [
    ("LoadImage", {"image": "deep/down/below.png"}, False),  # the list holds the topmost folder alone
    ("LoadImage", {"image": "made_00001_.png [output]"}, False),
    ("Choose", {"image": ["0", 0], "marks": {"__value__": ["a", "c"]}, "tint": "#000000"}, False),
    ("Choose", {"image": ["0", 0], "marks": {"__value__": ["a", "d"]}, "tint": "#000000"}, True),
    ("EmptyImage", {"width": "64", "height": 48.0, "batch_size": 1, "color": "0"}, False),  # read as numbers there
    ("EmptyImage", {"width": "wide", "height": 48, "batch_size": 1, "color": 0}, True),
    ("EmptyImage", {"width": "99999", "height": 48, "batch_size": 1, "color": 0}, True),
    ("CreateVideo", {"images": ["0", 0], "fps": 8, "bit_depth": 10}, False),
])
def test_nothing_is_refused_here_that_the_server_takes(class_: str, inputs: dict[str, Any], refused: bool) -> None:
    graph = {"0": node("EmptyImage", width=8, height=8, batch_size=1, color=0), "1": node(class_, **inputs),
             "2": node("SaveImage", images=["1", 0], filename_prefix="x")}
    if class_ == "CreateVideo":
        graph["2"] = node("SaveVideo", video=["1", 0], filename_prefix="x", format="mp4", codec="h264")
    assert (why_not(graph) is not None) == refused
    error, _, _ = judged(graph, newer_specs(FILES), lambda name: True, newer=True)
    assert (error is not None) == refused


def told() -> dict[str, Any]:
    """A graph that stores a picture, and a text beside it."""
    return {"1": node("EmptyImage", width=8, height=8, batch_size=1, color=0),
            "2": node("SaveImage", images=["1", 0], filename_prefix="x"),
            "3": node("PrimitiveString", value="what was made"),
            "4": node("SaveText", text=["3", 0], filename_prefix="x", format="txt")}


def test_what_is_neither_seen_nor_heard_is_left_out_of_a_workflow() -> None:
    async def scenario(_: FakeComfy, engine: LocalComfy) -> None:
        async with adapter(FakeComfy()) as away:  # nothing listens there
            for one in (engine, away):
                found = await one.take_workflow(json.dumps(told()).encode(), Taking("mine"))
                assert Workflow.model_validate_json(found.document).outputs == ("2",)
                assert any("SaveText" in note for note in found.notes)
        alone = {id_: one for id_, one in told().items() if id_ in ("3", "4")}
        error = await caught(engine.take_workflow(json.dumps(alone).encode(), Taking("mine")))
        assert "It stores nothing" in error.fault.message

    play(scenario)


def test_a_text_beside_a_picture_is_no_result_and_alone_it_is_what_was_made(tmp_path: Any) -> None:
    both = {"id": "both", "name": "Both", "operation": "compose_images", "outputs": ["2", "4"], "graph": told()}
    text = {"id": "text", "name": "Text", "operation": "compose_images", "outputs": ["4"],
            "graph": {id_: told()[id_] for id_ in ("3", "4")}}
    for one in (both, text):
        (tmp_path / f"{one['id']}.json").write_text(json.dumps(one))

    async def scenario(server: FakeComfy, _: LocalComfy) -> None:
        async with adapter(server, own=WorkflowFolder(tmp_path)) as engine:
            for id_, name in (("both", "one_00001_.png"), ("text", "two_00001_.txt")):
                _, outcome = await done(engine, Task(name[:3], "compose_images", id_, {}))
                assert [one.name for one in outcome.products] == [name]

    play(scenario)


def test_values_of_custom_nodes_are_left_to_them_but_for_files_of_models() -> None:
    description = {"python_module": "custom_nodes.some_pack", "input": {"required": {
        "mode": [["a", "b"], {}], "size": ["INT", {"max": 8}], "ckpt_name": [["here.safetensors"], {}]}}}

    def judged_(**inputs: Any) -> str | None:
        fault = lacking({"1": node("Own", **inputs)}, {"Own": description}, set(), {})
        return None if fault is None else fault.code

    assert judged_(mode="whatever", size=99, ckpt_name="here.safetensors") is None
    assert judged_(mode="a", size=1, ckpt_name="gone.safetensors") == "DEPENDENCY_MISSING"
    description["python_module"] = "comfy_extras.nodes_some"
    assert judged_(mode="whatever", size=1, ckpt_name="here.safetensors") == "INVALID_FIELD_VALUE"
    assert judged_(mode="a", size=99, ckpt_name="here.safetensors") == "INVALID_FIELD_VALUE"


# What its editor saves


def saved(class_: str, values: Any, *, kind: str = "IMAGE", to: str = "SaveImage") -> dict[str, Any]:
    """A node between a picture and what stores it, as the editor saves it."""
    def one(id_: int, name: str, values_: Any, *inputs: tuple[str, str, int]) -> dict[str, Any]:
        return {"id": id_, "type": name, "mode": 0, "widgets_values": values_,
                "inputs": [{"name": called, "type": type_, "link": link} for called, type_, link in inputs],
                "outputs": [{"name": "x", "type": kind}]}

    first = {"ResizeImageMaskNode": "input", "Choose": "image", "SaveVideo": "video", "Many": "image"}[class_]
    nodes = [one(1, "EmptyImage", [64, 48, 1, 0]), one(2, class_, values, (first, "IMAGE", 1))]
    if to:
        nodes.append(one(3, to, ["ComfyUI"], ("images", "IMAGE", 2)))
    return {"nodes": nodes, "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"]], "version": 0.4}


@pytest.mark.parametrize(("document", "inputs"), [
    (saved("ResizeImageMaskNode", ["scale dimensions", 32, 16, "center", "area"]),
     {"resize_type": "scale dimensions", "resize_type.width": 32, "resize_type.height": 16,
      "resize_type.crop": "center", "scale_method": "area", "input": ["1", 0]}),
    (saved("ResizeImageMaskNode", ["scale by multiplier", 2, "area"]),
     {"resize_type": "scale by multiplier", "resize_type.multiplier": 2, "scale_method": "area", "input": ["1", 0]}),
    (saved("ResizeImageMaskNode", {"resize_type": "scale by multiplier", "resize_type.multiplier": 2,
                                   "scale_method": "area", "resize_type.width": 7}),
     {"resize_type": "scale by multiplier", "resize_type.multiplier": 2, "scale_method": "area", "input": ["1", 0]}),
    (saved("Choose", [["a", "c"], "#ff0000"]),
     {"marks": {"__value__": ["a", "c"]}, "tint": "#ff0000", "image": ["1", 0]}),
])
def test_what_the_editor_saves_of_newer_nodes_is_read_in_its_order(document: Any, inputs: dict[str, Any]) -> None:
    async def scenario(_: FakeComfy, engine: LocalComfy) -> None:
        found = await engine.take_workflow(json.dumps(document).encode(), Taking("mine"))
        assert Workflow.model_validate_json(found.document).graph["2"].inputs == inputs
        assert not found.missing

    play(scenario)


def test_the_video_that_the_editor_stores_keeps_its_codec() -> None:
    values = ["video/ComfyUI", "mp4", "h264", "re-encode", 20.0, "auto"]
    document = saved("SaveVideo", values, to="")

    async def scenario(_: FakeComfy, engine: LocalComfy) -> None:
        found = await engine.take_workflow(json.dumps(document).encode(), Taking("mine"))
        inputs = dict(Workflow.model_validate_json(found.document).graph["2"].inputs)
        assert inputs.pop("video") == ["1", 0]
        assert inputs.pop("filename_prefix")
        assert inputs == {"format": "mp4", "format.codec": "h264", "format.codec.encoding": "re-encode",
                          "format.codec.encoding.crf": 20.0, "codec": "auto"}

    play(scenario)


@pytest.mark.parametrize("repeated", [
    ["COMFY_DYNAMICGROUP_V3", {"template": {"required": {"text": ["STRING", {}]}}, "min": 0, "max": 20}],
    ["COMFY_AUTOGROW_V3", {"template": {"input": {"required": {"text": ["STRING", {}]}}, "prefix": "text"}}],
])
def test_settings_that_repeat_are_left_to_the_editor(repeated: Any) -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        base = newer_specs({})["ImageInvert"]
        known_ = server._known
        server._known = lambda: known_() | {  # type: ignore[method-assign]
            "Many": base._replace(required={**base.required, "texts": repeated})}
        error = await caught(engine.take_workflow(json.dumps(saved("Many", ["a", "b"])).encode(), Taking("mine")))
        assert error.fault.code == "CONTRACT_MISMATCH"
        assert "Export (API)" in error.fault.message

    play(scenario)


# A server with nothing but itself


def test_without_any_model_it_says_which_files_are_missing_and_what_runs_without_them() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.models = {folder: [] for folder in server.models}
        offers = {one.model: list(one.missing) for one in await engine.offers()}
        for id_ in ("plain_card", "plain_upscale", "blur", "negative"):
            assert offers[id_] == []
        assert offers["checkpoint_text_to_image"] == ["checkpoints/any"]
        assert offers["model_upscale"] == ["upscale_models/any"]
        assert "vae/ae.safetensors" in offers["flux_text_to_image"]  # its list is not empty, yet holds no file
        fault = await why(engine, Task("nothing", "text_to_image", "", {"prompt": "a harbour", "seed": 1}))
        assert fault.code == "DEPENDENCY_MISSING"
        assert not server.prompts
        assert isinstance((await done(engine, card("plain")))[1], Done)

    play(scenario)


def test_a_node_that_cannot_describe_itself_is_missing_and_harms_no_other() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.refuse["/object_info/LoadImage"] = 500  # as when the folder whose files it lists is gone
        offers = {one.model: list(one.missing) for one in await engine.offers()}
        assert offers["plain_card"] == []
        assert offers["blur"] == ["node LoadImage"]
        assert isinstance((await done(engine, card("well")))[1], Done)

    play(scenario)


def test_from_a_file_to_an_asset_with_nothing_but_built_in_nodes(tmp_path: Any) -> None:
    async def scenario() -> None:
        async with FakeComfy(newer=True) as server, working(tmp_path) as works, adapter(server) as engine:
            server.models = {folder: [] for folder in server.models}
            works.studio.engines.add(engine)
            taken = await take_workflow(works.studio, json.dumps(plain()).encode(), "plain", ASKER, project="demo")
            assert taken.changed
            works.start()
            job = await accepted(works.studio, "demo", Wish.model_validate({
                "preset_id": "plain", "inputs": {"image_scale_width": 32}}), ASKER)
            closed = await works.closed(job.job_id)
            assert closed.outcome == "completed", closed
            (sent,) = server.prompts
            assert refused_id(sent["prompt_id"]) is None
            assert sent["prompt"]["3"]["inputs"]["width"] == 32

    asyncio.run(scenario())


# What it says


@pytest.mark.parametrize(("body", "meant"), [
    (b'{"max": Infinity, "min": -Infinity, "default": NaN, "far": 1e999}',
     {"max": None, "min": None, "default": None, "far": None}),
    (b'["caf\\udce9.safetensors", "plain.safetensors", "\\ud83d\\ude00"]',
     ["caf?.safetensors", "plain.safetensors", "\U0001f600"]),
    (b'{"max": 18446744073709551615, "min": -9223372036854775807}', {"max": 2**64 - 1, "min": -(2**63) + 1}),
])
def test_json_as_python_writes_it_is_read(body: bytes, meant: Any) -> None:
    async def scenario(server: FakeComfy, _: LocalComfy) -> None:
        server.babble = body
        client = Client(server.url, 5)
        try:
            assert await client.get("/object_info") == meant
        finally:
            await client.close()

    play(scenario)


def test_a_picture_whose_graph_marks_a_node_as_never_the_same_is_read() -> None:
    graph = painted()
    graph["3"]["is_changed"] = [float("nan")]
    chunks = PngInfo()
    chunks.add_text("prompt", json.dumps(graph))
    out = BytesIO()
    Image.new("RGB", (4, 4)).save(out, "PNG", pnginfo=chunks)
    assert b"NaN" in out.getvalue()

    async def scenario(_: FakeComfy, engine: LocalComfy) -> None:
        found = await engine.take_workflow(out.getvalue(), Taking("mine"))
        assert found == await engine.take_workflow(json.dumps(painted()).encode(), Taking("mine"))

    play(scenario)


@pytest.mark.parametrize("body", [b"[NaN", b"{1: 2}", b"\xff\xfe", b"[" * 200_000 + b"NaN", b'"\\udce9'],
                         ids=["open", "no JSON", "no text", "deep", "half a character"])
def test_what_is_no_json_at_all_is_an_engine_error(body: bytes) -> None:
    async def scenario(server: FakeComfy, _: LocalComfy) -> None:
        server.babble = body
        client = Client(server.url, 5)
        try:
            error = await caught(client.get("/object_info"))
            assert error.fault.code == "ENGINE_ERROR"
        finally:
            await client.close()

    play(scenario)


def test_a_node_whose_bounds_are_endless_runs() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        answering = server._answer

        async def endless(asked: Asked) -> Answer:
            answer = await answering(asked)
            if asked.path == "/object_info/EmptyImage":
                answer.body = answer.body.replace(b'"max":16384', b'"max":Infinity')
                assert b"Infinity" in answer.body
            return answer

        server.server._answer = endless
        assert isinstance((await done(engine, card("endless")))[1], Done)

    play(scenario)


@pytest.mark.parametrize(("limit", "fits"), [(100 * 2**20, False), (300.0 * 2**20, True), ("much", False), (-1, False)])
def test_a_server_that_takes_larger_files_is_asked_before_one_is_refused(limit: Any, fits: bool) -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.upload_bytes = limit
        huge = Material("sha256:" + "0" * 64, 200 * 2**20, "image/png")
        fault = await why(engine, working_on("huge", "edit_image", "negative", {}, image=[huge]))
        assert (fault.code == "FILE_REFUSED") == (not fits)  # what fits is asked for, and is not there
        assert not server.prompts

    play(scenario)


def test_a_workflow_that_runs_on_one_runs_on_the_other(tmp_path: Any) -> None:
    """An upgrade of the server between two runs changes nothing for whoever has taken a workflow in."""
    async def whole() -> None:
        async with FakeComfy() as older, adapter(older, own=WorkflowFolder(tmp_path)) as engine:
            found = await engine.take_workflow(json.dumps(painted()).encode(), Taking("bottle"))
            stored = Stored(found.document, media_type="application/json")
            task = Task("one", found.operation, "bottle", {"seed": 5}, workflow=stored.materials[0])
            assert isinstance(await ended(engine, await engine.submit(task, stored)), Done)
        async with FakeComfy(newer=True) as server, adapter(server, own=WorkflowFolder(tmp_path)) as engine:
            assert await engine.take_workflow(json.dumps(painted()).encode(), Taking("bottle")) == found
            assert isinstance(await ended(engine, await engine.submit(task, stored)), Done)
            server.error_next = {"exception_type": "RuntimeError", "exception_message": "no\n", "traceback": [],
                                 "current_inputs": {}, "current_outputs": []}
            failed = await ended(engine, await engine.submit(replace(task, attempt="two"), stored))
            assert isinstance(failed, Failed)
            assert failed.fault.message.endswith("failed: no")

    asyncio.run(whole())
