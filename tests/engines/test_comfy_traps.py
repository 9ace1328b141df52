"""The fifteen traps of ComfyUI, each with its test; and what its refusals mean."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from engines.comfy_judging import judged
from engines.comfy_nodes import specs
from engines.comfy_play import STORED, adapter, card, done, ended, play, portrait, why
from engines.fake_comfy import FakeComfy
from PIL import Image
from ports.engine_suite import fetched, refused
from websockets.asyncio.client import connect

from adapters.engines.local_comfy.building import run_of
from adapters.engines.local_comfy.engine import LocalComfy
from adapters.engines.local_comfy.outcomes import outcome, refusal
from adapters.engines.local_comfy.workflows import Workflow, WorkflowFolder, built_in
from domain.ports.engines import (
    Accepted,
    Cancelled,
    Cancelling,
    Done,
    EngineError,
    Failed,
    Lost,
    Submission,
    Task,
    Waiting,
    Working,
)

REFUSALS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "comfy_refusals.json").read_text())


def flow(id_: str) -> dict[str, Any]:
    """A built-in workflow as a document, to be changed."""
    found = next(one for one in built_in() if one.id == id_)
    return json.loads(found.model_dump_json(by_alias=True))


async def heard(engine: LocalComfy, accepted: Accepted, fraction: float) -> Working:
    """Polls until the socket has told of so much progress."""
    for _ in range(500):
        working = await engine.poll(accepted)
        assert isinstance(working, Working)
        if working.fraction == pytest.approx(fraction):
            return working
        await asyncio.sleep(0.01)
    raise AssertionError(f"never heard of {fraction}")


def test_1_half_a_graph_is_a_refusal_although_the_answer_says_200(tmp_path: Path) -> None:
    document = flow("plain_card")
    document["id"] = "half"
    document["graph"]["other"] = {"class_type": "SaveImage", "inputs": {"images": ["bad", 0], "filename_prefix": "x"}}
    document["graph"]["bad"] = {"class_type": "ImageBlur", "inputs": {"image": ["empty", 0], "blur_radius": 5}}
    document["outputs"] = ["save", "other"]

    async def scenario(server: FakeComfy, _: LocalComfy) -> None:
        server.gate.clear()
        (tmp_path / "half.json").write_text(json.dumps(document))
        async with adapter(server, own=WorkflowFolder(tmp_path)) as engine:
            error = await refused(engine.submit(Task("half-a-graph", "compose_images", "half", {}), STORED))
        assert error.submission is Submission.REFUSED
        assert error.fault.code == "MISSING_REQUIRED_FIELD"
        assert len(server.prompts) == 1
        assert server.queue == []
        assert server.running is None or server.interrupted

    play(scenario)


def test_2_places_in_the_line_do_not_follow_from_numbers() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.occupy()
        await server.at_gate.wait()
        async with httpx.AsyncClient(base_url=server.url) as http:
            for _ in range(5):  # refused, yet each takes a number
                assert (await http.post("/prompt", json={"prompt": {}})).status_code == 400
        first, second = [await engine.submit(card(name), STORED) for name in ("first", "second")]
        assert await engine.poll(first) == Waiting(1)
        assert await engine.poll(second) == Waiting(2)
        async with httpx.AsyncClient(base_url=server.url) as http:  # somebody goes to the front
            await http.post("/prompt", json={"prompt": server.prompts[0]["prompt"], "front": True})
        assert await engine.poll(first) == Waiting(2)

    play(scenario)


def test_3_a_run_that_was_interrupted_is_cancelled_and_not_failed() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.gate.clear()
        accepted = await engine.submit(card("interrupted"), STORED)
        await server.at_gate.wait()
        async with httpx.AsyncClient(base_url=server.url) as http:  # by somebody at the server
            await http.post("/interrupt")
        server.gate.set()
        assert isinstance(await ended(engine, accepted), Cancelled)
        assert server.history[run_of("interrupted")]["status"]["status_str"] == "error"

    play(scenario)


def test_4_success_may_still_win_after_a_cancel() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.gate.clear()
        accepted = await engine.submit(card("winning"), STORED)
        await server.at_gate.wait()
        assert await engine.cancel(accepted) is Cancelling.REQUESTED
        assert isinstance(await engine.poll(accepted), Working)
        server.interrupted = False  # the last node was over before anybody looked
        server.gate.set()
        assert isinstance(await ended(engine, accepted), Done)
        assert await engine.cancel(accepted) is Cancelling.TOO_LATE

    play(scenario)


def test_5_cancelling_hits_nobody_else() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.occupy()
        await server.at_gate.wait()
        accepted = await engine.submit(card("mine"), STORED)
        assert await engine.cancel(accepted) is Cancelling.CANCELLED
        assert server.running is not None
        assert not server.interrupted
        assert ("POST", "/interrupt") not in server.asked  # it waited: there was nothing to interrupt
        assert await engine.cancel(Accepted("somebody-elses-id")) is Cancelling.UNKNOWN_TASK
        server.gate.set()

    play(scenario)


def test_5_what_begins_while_it_is_cancelled_is_interrupted() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.occupy()
        await server.at_gate.wait()
        accepted = await engine.submit(card("beginning"), STORED)
        deleting = server._post_queue

        def begins_first(body: Any) -> Any:
            """The run before ends just before the delete comes in."""
            server.running, server.queue = server.queue[0], []
            return deleting(body)

        server._post_queue = begins_first  # type: ignore[method-assign]
        assert await engine.cancel(accepted) is Cancelling.REQUESTED
        assert ("POST", "/interrupt") in server.asked

    play(scenario)


def test_6_a_deleted_run_is_remembered_as_cancelled_although_the_server_has_no_trace() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.occupy()
        await server.at_gate.wait()
        accepted = await engine.submit(card("deleted"), STORED)
        assert await engine.cancel(accepted) is Cancelling.CANCELLED
        assert await engine.cancel(accepted) is Cancelling.CANCELLED
        assert isinstance(await engine.poll(accepted), Cancelled)
        async with adapter(server) as other:  # one that did not cancel it can only say that it is not there
            assert isinstance(await other.poll(accepted), Lost)
        server.gate.set()

    play(scenario)


def test_7_an_attempt_runs_once_however_often_it_is_submitted() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.occupy()
        await server.at_gate.wait()
        waiting = await engine.submit(card("again"), STORED)
        assert await engine.submit(card("again"), STORED) == waiting
        server.gate.set()
        assert isinstance(await ended(engine, waiting), Done)
        async with adapter(server) as other:
            assert await other.submit(card("again"), STORED) == waiting
        assert [one["prompt_id"] for one in server.prompts] == [run_of("again")]

    play(scenario)


def test_7_servers_that_choose_their_own_ids_are_searched() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.own_ids = True
        accepted, outcome_ = await done(engine, card("older"))
        assert accepted.external_id != "older"
        assert isinstance(outcome_, Done)
        async with adapter(server) as other:
            found = await other.find("older")
            assert found == accepted
            assert await other.find("younger") is None

    play(scenario)


def test_8_every_run_has_our_client_id_and_others_progress_is_ignored() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.gate.clear()
        accepted = await engine.submit(portrait("ours"), STORED)
        await asyncio.wait_for(engine.listening.wait(), 5)
        await server.at_gate.wait()
        assert server.prompts[0]["client_id"] in server.sockets
        foreign = {"1": {"value": 9, "max": 10, "state": "running", "prompt_id": "theirs"}}
        server._send("progress_state", {"prompt_id": "theirs", "nodes": foreign})
        states = {"checkpoint": {"state": "finished"}, "latent": {"state": "running", "value": 1, "max": 2}}
        server._send("progress_state", {"prompt_id": run_of("ours"), "nodes": states})
        working = await heard(engine, accepted, 1.5 / 7)
        assert working.stage == "Empty Latent Image"
        server.gate.set()
        assert isinstance(await ended(engine, accepted), Done)

    play(scenario)


def test_9_after_a_broken_socket_the_history_is_asked() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.gate.clear()
        accepted = await engine.submit(portrait("reconnected"), STORED)
        first = await asyncio.wait_for(server.opened.get(), 30)
        await server.at_gate.wait()
        server.disconnect()
        assert await asyncio.wait_for(server.opened.get(), 30) == first  # the server begins by naming no run
        assert isinstance(await engine.poll(accepted), Working)
        server.disconnect()
        server.gate.set()
        assert isinstance(await ended(engine, accepted), Done)

    play(scenario)


def test_10_the_same_again_makes_a_file_of_its_own() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        _, first = await done(engine, card("first"))
        _, second = await done(engine, card("second"))
        assert first.products[0].name != second.products[0].name
        cached = dict(server.history[run_of("second")]["status"]["messages"])["execution_cached"]["nodes"]
        assert cached == ["empty"]  # the picture came from the cache, the file did not

    play(scenario)


def test_10_a_file_that_is_gone_empties_the_cache_and_is_made_again() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        accepted, outcome_ = await done(engine, card("gone"))
        server.files.clear()
        error = await refused(fetched(engine, accepted, outcome_.products[0]))
        assert error.fault.retryable
        assert ("POST", "/free") in server.asked
        assert not server.cache
        accepted, outcome_ = await done(engine, card("gone-2"))
        assert len(await fetched(engine, accepted, outcome_.products[0])) > 50

    play(scenario)


def test_11_a_server_that_was_killed_has_lost_everything() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.gate.clear()
        running = await engine.submit(card("running"), STORED)
        waiting = await engine.submit(card("waiting"), STORED)
        await server.restart()
        server.gate.set()
        assert isinstance(await engine.poll(running), Lost)
        assert isinstance(await engine.poll(waiting), Lost)
        assert await engine.find("running") is None
        assert isinstance((await done(engine, card("running")))[1], Done)  # free, so it may simply run again

    play(scenario)


def test_12_success_without_files_is_a_failure_and_such_workflows_are_refused() -> None:
    entry = {"outputs": {}, "status": {"status_str": "success", "completed": True,
                                       "messages": [["execution_success", {"prompt_id": "x"}]]}}
    assert isinstance(outcome(entry, {}), Failed)
    document = flow("plain_card")
    document["graph"]["save"]["class_type"] = "SaveImageWebsocket"
    with pytest.raises(ValueError, match="stores nothing that could be fetched"):
        Workflow.model_validate(document)


def test_13_errors_name_the_node_and_neither_paths_nor_prompts() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        server.error_next = {
            "exception_type": "RuntimeError", "exception_message": "bad header in /srv/comfy/models/vae/x.pt\n",
            "traceback": ['  File "/srv/comfy/execution.py", line 1\n'],
            "current_inputs": {"text": ["a private prompt"]},
        }
        _, failed = await done(engine, card("broken"))
        assert isinstance(failed, Failed)
        assert failed.fault.code == "ENGINE_ERROR"
        assert failed.fault.message == "EmptyImage failed: bad header in x.pt"
        assert failed.fault.detail["node"] == "empty"
        for word in ("/srv", "private", "Traceback"):
            assert word not in failed.fault.model_dump_json()

    play(scenario)


@pytest.mark.parametrize(("kind", "message", "code", "reason"), [
    ("torch.OutOfMemoryError", "Allocation on device", "ENGINE_ERROR", "out_of_memory"),
    ("RuntimeError", "CUDA error: out of memory", "ENGINE_ERROR", "out_of_memory"),
    ("OSError", "[Errno 28] No space left on device", "DISK_FULL", None),
])
def test_13_some_errors_say_what_would_help(kind: str, message: str, code: str, reason: str | None) -> None:
    said = {"node_id": "3", "node_type": "KSampler", "exception_type": kind, "exception_message": message}
    failed = outcome({"outputs": {}, "status": {"status_str": "error", "messages": [["execution_error", said]]}}, {})
    assert isinstance(failed, Failed)
    assert (failed.fault.code, failed.fault.detail.get("reason")) == (code, reason)


def test_14_that_the_file_holds_the_prompt_is_told() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        accepted, outcome_ = await done(engine, portrait("telling"))
        content = await fetched(engine, accepted, outcome_.products[0])
        assert "a harbour at dusk" in Image.open(BytesIO(content)).text["prompt"]  # type: ignore[attr-defined]
        assert outcome_.facts["embeds"] == "prompt_graph"
        assert "harbour" not in json.dumps([accepted.memo, outcome_.facts])

    play(scenario)


def test_15_nothing_is_ever_sent_as_null() -> None:
    async def scenario(server: FakeComfy, engine: LocalComfy) -> None:
        fault = await why(engine, portrait("seedless", seed=None))
        assert (fault.code, fault.detail["field"]) == ("MISSING_REQUIRED_FIELD", "seed")
        assert not server.prompts
        accepted, outcome_ = await done(engine, portrait("seeded", seed=0))
        assert outcome_.facts["seed"] == 0
        sent = json.dumps(server.prompts[0])
        assert "null" not in sent
        assert accepted.memo["facts"]["seed"] == 0  # type: ignore[index, call-overload]

    play(scenario)


# What a server refuses, as a real one was recorded


@pytest.mark.parametrize("recorded", REFUSALS, ids=[one["case"] for one in REFUSALS])
def test_the_fake_refuses_what_the_real_one_refused(recorded: dict[str, Any]) -> None:
    known = specs({})
    error, nodes, good = judged(recorded["graph"], known, lambda name: False)
    assert (error or {}).get("type") == recorded["error"]
    assert (error or {}).get("message") == recorded["message"]
    assert {id_: [one["type"] for one in said["errors"]] for id_, said in nodes.items()} == recorded["nodes"]
    assert {id_: said["dependent_outputs"] for id_, said in nodes.items()} == recorded["dependent_outputs"]
    assert bool(good) == (recorded["status"] == 200)


MEANINGS = {
    "unknown_class": "DEPENDENCY_MISSING", "missing_class_type": "CONTRACT_MISMATCH",
    "no_outputs": "CONTRACT_MISMATCH", "empty_graph": "CONTRACT_MISMATCH",
    "missing_input": "MISSING_REQUIRED_FIELD", "too_big": "INVALID_FIELD_VALUE", "too_small": "INVALID_FIELD_VALUE",
    "wrong_type": "INVALID_FIELD_TYPE", "none_value": "INVALID_FIELD_TYPE", "not_in_list": "INVALID_FIELD_VALUE",
    "bad_link_type": "CONTRACT_MISMATCH", "bad_link_shape": "CONTRACT_MISMATCH",
    "dangling_link": "CONTRACT_MISMATCH", "missing_model": "DEPENDENCY_MISSING",
    "missing_input_image": "FILE_NOT_FOUND", "cycle": "CONTRACT_MISMATCH", "partly_valid": "CONTRACT_MISMATCH",
}


@pytest.mark.parametrize("recorded", REFUSALS, ids=[one["case"] for one in REFUSALS])
def test_every_refusal_has_its_fault(recorded: dict[str, Any]) -> None:
    error, nodes, _ = judged(recorded["graph"], specs({}), lambda name: False)
    found = refusal({"error": error, "node_errors": nodes})
    assert found.code == MEANINGS[recorded["case"]]
    assert "/home/someone" not in found.model_dump_json()
    match recorded["case"]:
        case "unknown_class":
            assert found.detail["missing"] == [{"kind": "node", "name": "NoSuchNode", "folder": ""}]
        case "missing_model":
            wanted = {"kind": "model", "name": "sd_xl_base_1.0.safetensors", "folder": "checkpoints",
                      "model": "sdxl-base-1.0"}
            assert found.detail["missing"] == [wanted]
        case "cycle":
            assert "circle" in found.message


@pytest.mark.parametrize("answer", [
    {}, {"error": None}, {"error": 7, "node_errors": []}, {"error": "text", "node_errors": {"1": None}},
    {"node_errors": {"1": {"errors": [None, {"type": None, "extra_info": 7}]}}},
    {"error": {"type": ["x"], "message": {"a": 1}}},
])
def test_refusals_of_any_shape_are_faults(answer: dict[str, Any]) -> None:
    assert refusal(answer).code in ("CONTRACT_MISMATCH", "INVALID_FIELD_VALUE")


@pytest.mark.parametrize("entry", [
    None, [], {"status": 7}, {"status": {"messages": 7}}, {"status": {"messages": [7, ["x"]]}},
    {"outputs": {"9": {"images": [{"filename": "../../etc/passwd", "type": "output", "subfolder": ""}]}},
     "status": {"status_str": "success"}},
    {"outputs": {"9": {"images": [{"filename": "x.png", "type": "output", "subfolder": "../.."}]}},
     "status": {"status_str": "success"}},
    {"outputs": {"9": {"images": [{"filename": 7, "type": "output", "subfolder": None}]}},
     "status": {"status_str": "success"}},
])
def test_histories_of_any_shape_are_engine_errors(entry: Any) -> None:
    with pytest.raises(EngineError):
        outcome(entry, {})


# What it says on its socket, as a real one was recorded


FIRST_RUN = ["status", "status", "execution_start", "execution_cached",
             *["progress_state", "executing", "progress_state"] * 3,
             "progress_state", "executing", "executed", "progress_state", "execution_success", "status", "executing"]
CACHED_RUN = ["status", "status", "execution_start", "execution_cached", "executed", "progress_state",
              "execution_success", "status", "executing"]


MESSAGES = {
    "status": {"status": {"exec_info": {"queue_remaining": int}}},
    "execution_start": {"prompt_id": str, "timestamp": int},
    "execution_cached": {"nodes": list, "prompt_id": str, "timestamp": int},
    "executing": {"node": str, "display_node": str, "prompt_id": str},
    "executed": {"node": str, "display_node": str, "output": {"images": list}, "prompt_id": str},
    "execution_success": {"prompt_id": str, "timestamp": int},
}
"""What each message holds, as a real server was heard to say it. The last ``executing`` has neither node shown."""

NODE = {"value", "max", "state", "node_id", "prompt_id", "display_node_id", "parent_node_id", "real_node_id"}


def fits(told: Any, shape: Any) -> bool:
    if isinstance(shape, dict):
        return isinstance(told, dict) and told.keys() == shape.keys() and all(
            fits(told[name], one) for name, one in shape.items())
    return isinstance(told, shape)


def test_the_fake_says_in_each_message_what_the_real_one_says() -> None:
    async def scenario(server: FakeComfy, _: LocalComfy) -> None:
        url = server.url.replace("http", "ws") + "/ws?clientId=probe"
        async with httpx.AsyncClient(base_url=server.url) as http, connect(url, proxy=None) as socket:
            await socket.recv()
            empty = {"width": 8, "height": 8, "batch_size": 1, "color": 1}
            graph = {"1": {"class_type": "EmptyImage", "inputs": empty},
                     "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "probe"}}}
            run = (await http.post("/prompt", json={"prompt": graph, "client_id": "probe"})).json()["prompt_id"]
            heard_: set[str] = set()
            while True:
                message = json.loads(await asyncio.wait_for(socket.recv(), 30))
                kind, data = message["type"], message["data"]
                heard_.add(kind)
                if kind == "executing" and data["node"] is None:
                    assert data == {"node": None, "prompt_id": run}
                    break
                if kind == "progress_state":
                    assert data.keys() == {"prompt_id", "nodes"}
                    assert all(one.keys() == NODE for one in data["nodes"].values())
                else:
                    assert fits(data, MESSAGES[kind]), message
            assert heard_ == {*MESSAGES, "progress_state"}
            entry = (await http.get(f"/history/{run}")).json()[run]
            assert entry.keys() == {"prompt", "outputs", "status", "meta"}
            assert entry["meta"] == {"2": {"node_id": "2", "display_node": "2", "parent_node": None,
                                           "real_node_id": "2"}}
            assert entry["status"].keys() == {"status_str", "completed", "messages"}
            assert [kind for kind, _ in entry["status"]["messages"]] == [
                "execution_start", "execution_cached", "execution_success"]
            assert len(entry["prompt"]) == 5

    play(scenario)


def test_the_fake_tells_of_a_run_in_the_order_of_the_real_one() -> None:
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": 255}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "ImageScale", "inputs": {"image": ["2", 0], "upscale_method": "lanczos", "width": 128,
                                                     "height": 128, "crop": "disabled"}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "probe"}},
    }

    async def scenario(server: FakeComfy, _: LocalComfy) -> None:
        url = server.url.replace("http", "ws") + "/ws?clientId=probe"
        async with httpx.AsyncClient(base_url=server.url) as http, connect(url, proxy=None) as socket:
            assert json.loads(await socket.recv())["data"]["sid"] == "probe"
            await socket.send(json.dumps({"type": "feature_flags", "data": {}}))
            assert json.loads(await socket.recv())["type"] == "feature_flags"
            for expected in (FIRST_RUN, CACHED_RUN):
                await http.post("/prompt", json={"prompt": graph, "client_id": "probe"})
                told = [json.loads(await asyncio.wait_for(socket.recv(), 30)) for _ in expected]
                assert [one["type"] for one in told] == expected
                assert told[-1]["data"]["node"] is None
                (executed,) = (one["data"] for one in told if one["type"] == "executed")
                assert executed["output"]["images"] == [
                    {"filename": "probe_00001_.png", "subfolder": "", "type": "output"}]  # the cached run repeats it

    play(scenario)
