"""Credentials over HTTP: asked for, made by the worker, read, downloaded, drawn; and files without what leaks."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from consoles import console
from fixtures_studio import RunningServer, wait_until
from PIL import Image, PngImagePlugin
from signed_files import picture

GRAPH = '{"3": {"class_type": "KSampler"}}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path_factory.mktemp("credentials") / "studio").start()
    yield running
    running.stop()


def uploaded(server: RunningServer, data: bytes, name: str = "room.png", **said: Any) -> str:
    with server.client() as client:
        answer = client.post("/api/assets/upload", files={"file": (name, data)},
                             data={key: json.dumps(value) for key, value in said.items()})
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])


def test_a_generated_upload_is_signed_verified_and_drawn(server: RunningServer, tmp_path: Path) -> None:
    first = uploaded(server, picture(1), source={"how": "generate", "engine": "local_comfy", "seed": "7"})
    child = uploaded(server, picture(2), "child.png",
                     source={"how": "generate", "engine": "studio_local", "made_from": [first]})
    plain = uploaded(server, picture(3), "plain.png")
    with server.client() as client:
        def state(uid: str) -> str:
            return str(client.get(f"/api/assets/{uid}/provenance").json().get("credentials", {}).get("state"))

        wait_until(lambda: state(child) == "valid", "the child to be signed")
        assert state(plain) == "unsigned"
        missing = client.get(f"/api/assets/{plain}/signed")
        assert (missing.status_code, missing.json()["error"]) == (404, "not_signed")
        assert client.post(f"/api/assets/{plain}/sign", json={}).status_code in (200, 201)
        wait_until(lambda: state(plain) == "valid", "the plain one to be signed")
        told = client.get(f"/api/assets/{child}/credentials").json()
        assert (told["state"], told["trusted"], told["ingredients"][0]["uid"]) == ("valid", True, first)
        assert "untrusted outside" in told["words"]
        got = client.get(f"/api/assets/{child}/signed")
        assert got.headers["content-type"] == "image/png"
        (tmp_path / "got.png").write_bytes(got.content)
        careful = {"what": "metadata", "actions": ["download"], "then": "strip"}
        assert client.put("/api/policy/handlings/careful", json=careful).status_code in (200, 201)
        refused = client.get(f"/api/assets/{child}/signed")
        assert (refused.status_code, refused.json()["error"]) == (423, "metadata_policy")
        assert client.get(f"/api/assets/{child}/download").headers["x-comfyvn-stripped"] == ""
        assert client.delete("/api/policy/handlings/careful").status_code == 200
        assert client.get(f"/api/assets/{child}/signed").status_code == 200
        svg = client.get(f"/api/assets/{child}/lineage.svg")
        assert svg.headers["content-type"].startswith("image/svg+xml")
        assert "room.png" in svg.text
        tree = client.get(f"/api/assets/{first}/lineage").json()
        assert [one["uid"] for one in tree["nodes"]] == [first, child]
        assert client.get("/api/provenance/certificate").text.startswith("-----BEGIN CERTIFICATE-----")
        for path in ("credentials", "signed", "lineage", "lineage.svg", "sign"):
            answer = client.request("POST" if path == "sign" else "GET", f"/api/assets/{'ab' * 8}/{path}",
                                    json={} if path == "sign" else None)
            assert (answer.status_code, answer.json()["error"]) == (404, "unknown_asset"), path
    verified = console("provenance", "verify", str(tmp_path / "got.png"), "--json", data=server.data)
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["state"] == "valid"
    data = bytearray((tmp_path / "got.png").read_bytes())
    data[-40] ^= 1
    (tmp_path / "bad.png").write_bytes(bytes(data))
    assert console("provenance", "verify", str(tmp_path / "bad.png"), data=server.data).returncode == 1
    (tmp_path / "plain.png").write_bytes(picture(9))
    assert console("provenance", "verify", str(tmp_path / "plain.png"), data=server.data).returncode == 5
    shown = console("provenance", "show", child, data=server.data)
    assert shown.returncode == 0, shown.stderr
    assert "room.png" in shown.stdout


def test_a_download_tells_no_prompts_when_that_is_asked(server: RunningServer) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("prompt", GRAPH)
    data = picture(11, pnginfo=text)
    uid = uploaded(server, data)
    with server.client() as client:
        assert client.get(f"/api/assets/{uid}/download").content == data
        told = client.get(f"/api/assets/{uid}/download", params={"metadata": "strip"})
        assert told.headers["x-comfyvn-stripped"] == "tEXt prompt"
        assert b"KSampler" not in told.content
        with Image.open(io.BytesIO(told.content)) as after, Image.open(io.BytesIO(data)) as before:
            assert after.tobytes() == before.tobytes()
        assert client.get(f"/api/assets/{uid}/download", params={"metadata": "x"}).status_code == 422
        note = uploaded(server, b"a lantern", "note.txt")
        refused = client.get(f"/api/assets/{note}/download", params={"metadata": "strip"})
        assert (refused.status_code, refused.json()["error"]) == (400, "cannot_strip")
