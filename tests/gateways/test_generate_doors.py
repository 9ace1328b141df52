"""Generation as a newcomer meets it: a default installation behind its doors, every preset asked, real files seen."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from engines.studio_work import colorful_frames, edge, film, heard, pixels, png, read_back, tone
from fixtures_studio import RunningServer

from services.generation.library import built_in

KEY = "fk-9f8e7d6c5b4a:S3cr3t/Value+With=Signs"


@dataclass
class House:
    """The server, what was uploaded, and where files are read."""

    client: httpx.Client
    folder: Path
    assets: dict[str, str]

    def run(self, preset: str, inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
        """The job of a preset when it is over."""
        asked = self.client.post(f"/api/presets/{preset}/run", json={"inputs": inputs, **more})
        assert asked.status_code == 202, asked.text
        assert asked.headers["location"] == f"/api/jobs/{asked.json()['job_id']}?project=default"
        return self.over(asked.json()["job_id"])

    def over(self, job_id: str) -> dict[str, Any]:
        with self.client.stream("GET", f"/api/jobs/{job_id}/events") as events:
            for line in events.iter_lines():
                if line == "event: end":
                    break
        job: dict[str, Any] = self.client.get(f"/api/jobs/{job_id}").json()
        assert job["status"] == "completed", job["error"]
        return job

    def content(self, job: dict[str, Any]) -> bytes:
        (file,) = next(iter(job["outputs"].values()))
        return self.client.get(file["url"]).content


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    given = {"image": ("room.png", png(edge(96, 64, 20))), "audio": ("voice.wav", tone(1)),
             "face": ("face.png", png(edge(64, 64, 5, seed=4))),
             "video": ("clip.mp4", film(folder, colorful_frames(8), 8))}
    # Nothing is connected and no ComfyUI runs: port 9 answers nobody.
    environment = {"COMFYVN_COMFY_URL": "http://127.0.0.1:9", "XDG_CONFIG_HOME": str(folder / "config")}
    server = RunningServer(folder / "studio", environment=environment).start()
    try:
        with server.client() as client:
            assets = {}
            for name, file in given.items():
                answer = client.post("/api/assets/upload", files={"file": file})
                assert answer.status_code in (200, 201), answer.text
                assets[name] = answer.json()["id"]
            yield House(client, folder, assets)
    finally:
        server.stop()


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    told: dict[str, Any] = answer.json()
    assert (answer.status_code, told["error"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert all(one["text"] and one["action"] for one in told["remediation"])
    assert told["remediation"]
    return told


def inputs_of(house: House, preset: str) -> dict[str, Any]:
    """What a preset needs, and no more."""
    one = built_in()[preset].preset
    samples = {**house.assets, "text": "a keeper on the pier", "integer": 2, "job": "nobody"}
    face = {name: [house.assets["face"]] if input_.many else house.assets["face"]
            for name, input_ in one.inputs.items() if input_.shows_person and input_.required}
    return {name: samples[input_.type] for name, input_ in one.inputs.items() if input_.required} | face


def test_every_preset_says_whether_it_runs_and_asking_for_it_says_the_same(house: House) -> None:
    items = house.client.get("/api/presets").json()["items"]
    assert [one["id"] for one in items] == list(built_in())
    for one in items:
        can = one["can_run"]
        assert can["summary"].endswith(".")
        assert {"ok", "engines", "paid", "left_out", "missing"} <= can["levels"][one["default_quality"]].keys()
        if one["id"] == "repair_pipeline_v1":
            continue
        usual = can["levels"][one["default_quality"]]["ok"]
        assert usual is (not can["press"])
        inputs, body = inputs_of(house, one["id"]), {"consent_given": True}
        answer = house.client.post(f"/api/presets/{one['id']}/run?dry_run=true", json=body | {"inputs": inputs})
        if usual:
            assert answer.status_code == 200, answer.text
            assert answer.json()["plan"]["engines"] == can["levels"][one["default_quality"]]["engines"]
            continue
        told = problem(answer, 409, can["missing"][0]["error"])
        assert told["message"] == can["missing"][0]["message"]
        assert {press["action"] for press in can["press"]} <= {one["action"] for one in told["remediation"]}
        if "draft" in one["inputs"]:
            assert can["with_inputs"]["draft"]["ok"]
            assert "It runs now with draft." in can["summary"]
            assert can["press"][-1]["action"] == "make_draft"


def test_drafts_and_what_needs_no_model_become_real_files(house: House) -> None:
    client = house.client
    portrait = client.post("/api/generate/image", json={
        "preset_id": "photoreal_portrait_v1", "prompt": "Mara", "quality_level": "low", "seed": 7,
        "inputs": {"draft": True, "width": 256, "height": 320},
    })
    assert portrait.status_code == 202, portrait.text
    assert portrait.json()["status"] in {"queued", "running"}, "a worker may have been quick"
    job = house.over(portrait.json()["job_id"])
    drawn = pixels(house.content(job))
    assert drawn.shape[:2] == (320, 256)
    assert drawn.std() > 5
    sheet = house.run("storyboard_builder_v1", {
        "prompt_template": "shot {shot_number}", "shot_count": 2, "draft": True, "width": 256, "height": 256,
    }, quality_level="low")
    assert pixels(house.content(sheet)).shape[1] == 1920
    large = house.run("upscale_denoise_image_v1", {"image": house.assets["image"]}, quality_level="low")
    assert pixels(house.content(large)).shape[:2] == (128, 192)
    moving = client.post("/api/generate/video", json={
        "preset_id": "image_to_video_v1", "quality_level": "low",
        "inputs": {"image": house.assets["image"], "duration": 1, "move": "zoom_in"},
    }).json()
    frames = read_back(house.folder, house.content(house.over(moving["job_id"])))
    assert np.abs(frames[0] - frames[-1]).mean() > 1
    talk = house.run("talking_clip_v1", {
        "video": house.assets["video"], "audio": house.assets["audio"], "draft": True,
    })
    assert np.abs(heard(house.folder, house.content(talk))).max() > 1000
    graded = house.run("color_grade_film_grain_v1", {"video": house.assets["video"], "style": "warm"},
                       quality_level="low")
    before = read_back(house.folder, client.get(f"/api/assets/{house.assets['video']}/download").content)[2]
    after = read_back(house.folder, house.content(graded))[2]
    assert (after[..., 0] - after[..., 2]).mean() > (before[..., 0] - before[..., 2]).mean()
    tree = client.get(f"/api/assets/{graded['outputs']['video'][0]['asset']}/lineage").json()
    assert house.assets["video"] in {one["uid"] for one in tree["nodes"]}
    told = client.get("/api/disclosure").json()
    assert told["itch"]["generative_ai"] is False  # placeholders and filters are no model's work
    assert told["counts"]["computed"] >= 6
    picture = client.get(tree["picture"])
    assert picture.headers["content-type"].startswith("image/svg+xml")


@pytest.mark.parametrize(("path", "body", "status", "code"), [
    ("image", {"prompt": "x"}, 422, "CONTRACT_MISMATCH"),
    ("image", [], 422, "CONTRACT_MISMATCH"),
    ("image", {"preset_id": "nope", "prompt": "x"}, 404, "unknown_preset"),
    ("image", {"preset_id": "../x", "prompt": "x"}, 404, "unknown_preset"),
    ("image", {"preset_id": "image_to_video_v1", "prompt": "x"}, 422, "CONTRACT_MISMATCH"),
    ("video", {"preset_id": "photoreal_portrait_v1", "prompt": "x"}, 422, "CONTRACT_MISMATCH"),
    ("image", {"preset_id": "photoreal_portrait_v1", "prompt": "x", "extra": 1}, 422, "CONTRACT_MISMATCH"),
    ("image", {"preset_id": "photoreal_portrait_v1", "prompt": "x" * 2001}, 422, "CONTRACT_MISMATCH"),
    ("image", {"preset_id": "photoreal_portrait_v1", "prompt": "x", "seed": 2**32}, 422, "CONTRACT_MISMATCH"),
    ("image", {"preset_id": "photoreal_portrait_v1", "prompt": "x", "quality_level": "ultra"}, 422,
     "CONTRACT_MISMATCH"),
    ("image", {"preset_id": "photoreal_portrait_v1", "inputs": {"draft": True}}, 422, "MISSING_REQUIRED_FIELD"),
    ("image", {"preset_id": "photoreal_portrait_v1", "prompt": "x", "inputs": {"width": "wide"}}, 422,
     "INVALID_FIELD_TYPE"),
    ("image", {"preset_id": "upscale_denoise_image_v1", "inputs": {"image": "0" * 16}}, 404, "FILE_NOT_FOUND"),
])
def test_what_does_not_fit_is_told_by_name(house: House, path: str, body: Any, status: int, code: str) -> None:
    told = problem(house.client.post(f"/api/generate/{path}", json=body), status, code)
    assert "Traceback" not in told["message"]


def test_a_face_is_used_with_consent_alone_and_the_consent_is_on_record(house: House) -> None:
    body = {"preset_id": "identity_lock_portrait_v1", "prompt": "Mara", "quality_level": "low",
            "identity_reference": [house.assets["face"]], "inputs": {"draft": True, "width": 256, "height": 256}}
    told = problem(house.client.post("/api/generate/image", json=body), 422, "CONSENT_MISSING")
    assert told["detail"]["fields"] == ["identity_reference"]
    assert told["remediation"][0]["action"] == "give_consent"
    acknowledged = house.client.post("/api/policy/ack", json={})
    assert acknowledged.status_code in (200, 201), acknowledged.text
    agreed = house.client.post("/api/generate/image", json=body | {"consent_given": True})
    assert agreed.status_code == 202, agreed.text
    job = house.over(agreed.json()["job_id"])
    assert job["consent"]["assets"] == [house.assets["face"]]
    # From then on the same face needs consent wherever it goes, also where no preset speaks of faces.
    upscale = {"preset_id": "upscale_denoise_image_v1", "inputs": {"image": house.assets["face"]}}
    told = problem(house.client.post("/api/generate/image", json=upscale), 422, "CONSENT_MISSING")
    assert told["detail"]["fields"] == ["image"]


def test_a_job_is_asked_for_once_cancelled_once_and_done_again_with_its_lineage(house: House) -> None:
    client, headers = house.client, {"Idempotency-Key": "only-one"}
    body = {"preset_id": "upscale_denoise_image_v1", "quality_level": "low",
            "inputs": {"image": house.assets["image"]}}
    first = client.post("/api/generate/image", json=body, headers=headers)
    again = client.post("/api/generate/image", json=body, headers=headers)
    assert first.json()["job_id"] == again.json()["job_id"]
    assert again.headers["idempotency-replayed"] == "true"
    job_id = first.json()["job_id"]
    house.over(job_id)
    finished = client.post("/api/generate/image", json=body, headers=headers).json()
    assert finished["status"] == "completed"
    assert client.get(finished["output_url"]).status_code == 200
    problem(client.post(f"/api/jobs/{job_id}/cancel", json={}), 409, "job_over")
    retried = client.post(f"/api/jobs/{job_id}/retry", json={})
    assert retried.status_code == 202, retried.text
    assert house.over(retried.json()["job_id"])["lineage"] == {"root": job_id, "retry_of": job_id, "retries": []}
    ahead = client.get(f"/api/jobs/{job_id}/events", headers={"Last-Event-ID": str(10**6)})
    assert (ahead.status_code, ahead.headers["content-type"]) == (400, "application/problem+json")
    problem(client.get("/api/jobs/nobody"), 404, "unknown_job")
    problem(client.post("/api/jobs/nobody/cancel", json={}), 404, "unknown_job")
    problem(client.post("/api/jobs/nobody/retry", json={}), 404, "unknown_job")


def test_figures_and_setup_answer_whatever_is_missing(house: House) -> None:
    for name, ok in (("", True), ("/jobs", True), ("/costs", True), ("/nobody", False), ("/a/b", False)):
        answer = house.client.get(f"/api/analytics{name}")
        assert (answer.status_code, answer.json()["ok"]) == (200, ok)
    health = house.client.get("/api/setup/healthcheck").json()
    assert {one["engine_id"] for one in health["engines"]} >= {"local_comfy", "studio_local", "provider_fal"}
    for one in health["engines"]:
        assert one["ready"] or one["action"]["text"]


def test_a_key_opens_no_answer_whatever_is_done_with_it(house: House) -> None:
    client, place = house.client, "/api/providers/provider_fal"
    connected = client.post(f"{place}/connect", json={"api_key": KEY, "verify": False})
    assert connected.status_code == 200, connected.text
    spellings = {KEY, quote(KEY, safe=""), quote(quote(KEY, safe=""), safe=""), base64.b64encode(KEY.encode()).decode(),
                 json.dumps(KEY)[1:-1], KEY.encode().hex(), base64.b64encode(f"user:{KEY}".encode()).decode()}
    answers = [connected, client.get(place), client.get("/api/providers"), client.post(f"{place}/test", json={})]
    for one in sorted(spellings):
        answers += [
            client.get("/api/jobs", params={"q": one}), client.get("/api/jobs", params={"status": one}),
            client.get(f"/api/jobs/{quote(one, safe='')}"), client.get(f"/api/presets/{quote(one, safe='')}"),
            client.get("/api/jobs", headers={"Authorization": f"Bearer {one}", "X-Request-ID": one[:64]}),
            client.post("/api/generate/image", json={"preset_id": one, "prompt": one, one: 1}),
            client.post("/api/generate/image", content=one, headers={"Content-Type": "application/json"}),
            client.post("/api/generate/image", json={"preset_id": "photoreal_portrait_v1", "prompt": f"use {one}",
                                                     "inputs": {"draft": True}}),
            client.post(f"{place}/connect", json={"api_key": one + "\n"}),
            client.get(f"/api/analytics/{quote(one, safe='')}"),
        ]
    answers += [client.get("/api/setup/diagnostics"), client.get("/api/setup/healthcheck?fresh=true"),
                client.get("/api/jobs?limit=100"), client.get("/api/log?limit=1000")]
    for answer in answers:
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        leaked = [one for one in spellings if one in answer.text]
        assert not leaked, f"{answer.request.method} {answer.request.url}: {leaked}"
    assert client.delete(place).status_code == 200
    problem(client.delete(place), 404, "not_connected")
