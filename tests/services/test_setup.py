"""Setup tells how everything stands, with the one action that would help; and its bundle holds no secret."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import structlog
from door import door, run
from engines.keyed import Keyed

from services import journal
from services.generation.engines import KNOWN, Engines
from services.settings import Settings
from services.setup import as_bundle, disk_space, gpu_found, healthcheck, writable
from services.vault import Vault

KEY = "setup-key-0123456789-abcdefghijkl"


def test_every_engine_is_told_with_the_action_that_would_help() -> None:
    async def scenario() -> None:
        async with door() as at:
            at.studio.engines.add(Keyed(at.studio.vault, good={KEY}))
            told = (await at.client.get("/api/setup/healthcheck")).json()
            engines = {one["engine_id"]: one for one in told["engines"]}
            assert set(engines) == set(KNOWN)
            for one in engines.values():
                assert one["ready"] or one["action"]["action"], one
            assert engines["provider_fal"]["status"] == "not_connected"
            assert engines["provider_fal"]["at_hand"]
            assert not engines["local_comfy"]["at_hand"]
            assert told["ok"] is False, "nothing can make anything"
            await at.client.post("/api/providers/provider_fal/connect", json={"api_key": KEY})
            told = (await at.client.get("/api/setup/healthcheck")).json()
            fal = next(one for one in told["engines"] if one["engine_id"] == "provider_fal")
            assert (fal["status"], fal["error"]) == ("connected", None)
            assert (fal["balance"], fal["balance_unit"]) == (12.5, "usd")
            assert fal["last_check"]
            assert told["ok"] is True
            for name in ("disk", "permissions", "ffmpeg", "vault"):
                assert told[name]["ok"] is True, told[name]
            assert told["ffmpeg"]["version"]

    run(scenario)


def test_a_failing_engine_tells_its_error_without_the_key() -> None:
    async def scenario() -> None:
        async with door() as at:
            engine = Keyed(at.studio.vault, good={KEY})
            at.studio.engines.add(engine)
            await at.client.post("/api/providers/provider_fal/connect", json={"api_key": KEY})
            engine.good.clear()
            at.studio.engines.forget("provider_fal")
            answer = await at.client.get("/api/setup/healthcheck")
            fal = next(one for one in answer.json()["engines"] if one["engine_id"] == "provider_fal")
            assert fal["status"] == "error"
            assert "no user for key ***" in fal["error"]
            assert fal["action"]["action"] == "replace_key"
            assert KEY not in answer.text

    run(scenario)


@pytest.mark.parametrize("question", ["fresh=yes", "fresh=", "other=1", "fresh=true&fresh=true"])
def test_a_strange_question_is_refused(question: str) -> None:
    async def scenario() -> None:
        async with door() as at:
            assert (await at.client.get(f"/api/setup/healthcheck?{question}")).status_code in (400, 422)

    run(scenario)


def test_the_bundle_is_a_download_without_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with door(database_url=f"postgresql://ada:{KEY}@db.example/x") as at:
            at.studio.engines.add(Keyed(at.studio.vault, good={KEY}))
            await at.client.post("/api/providers/provider_fal/connect", json={"api_key": KEY})
            structlog.get_logger("test").warning("kept_line", note=f"asked with {KEY}", author="Ada")
            logging.getLogger("lib").warning("GET https://u:%s@fal.example", KEY)
            answer = await at.client.get("/api/setup/diagnostics")
            assert answer.status_code == 200
            assert answer.headers["content-disposition"].startswith('attachment; filename="comfyvn-diagnostics-')
            told = answer.json()
            assert told["format"] == "comfyvn.diagnostics.v1"
            assert told["versions"]["comfyvn"]
            assert {one["name"] for one in told["settings"]} == set(Settings.model_fields)
            assert any("kept_line" in line and "Ada" in line for line in told["recent"])
            assert KEY not in answer.text
            assert told["log"]["position"] == 1

    handlers = logging.getLogger().handlers[:]
    try:
        journal.configure("info", "json")
        run(scenario)
    finally:
        logging.getLogger().handlers[:] = handlers
        structlog.reset_defaults()
    assert KEY not in capsys.readouterr().err


def test_paths_at_home_do_not_name_whose_home_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    told = as_bundle({"data": "/home/somebody/studio", "deep": [{"at": "in /home/somebody/x"}]})
    assert told["data"] == "~/studio"
    assert "somebody" not in json.dumps(told)


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    place = folder / name
    place.write_text("#!/bin/sh\n" + text)
    place.chmod(0o755)


@pytest.mark.parametrize(("text", "found", "devices"), [
    ("echo 'NVIDIA RTX 4090, 560.35, 24564, 23000, 3'\n", True, [
        {"name": "NVIDIA RTX 4090", "driver": "560.35", "memory_mib": 24564, "free_mib": 23000, "used_percent": 3}]),
    ("echo 'Card, 1, [N/A], [N/A], [N/A]'\n", True, [
        {"name": "Card", "driver": "1", "memory_mib": None, "free_mib": None, "used_percent": None}]),
    ("echo 'driver mismatch' >&2; exit 9\n", False, []),
    ("echo nonsense\n", False, []),
    ("yes 'a, b, 1, 2, 3' | head -n 100000\n", True, None),
])
def test_the_cards_are_what_nvidia_smi_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, found: bool, devices: list[dict[str, Any]] | None
) -> None:
    program(tmp_path / "bin", "nvidia-smi", text)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    async def scenario() -> None:
        told = await gpu_found()
        assert told["found"] is found
        assert len(told["devices"]) <= 16
        if devices is not None:
            assert told["devices"] == devices

    run(scenario)


def test_disk_and_permissions_are_told_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert disk_space(tmp_path / "not" / "yet")["free_bytes"] > 0
    assert writable(tmp_path / "not" / "yet")["ok"]


def test_an_installation_without_any_engine_answers_all_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        told = await healthcheck(Settings.load(data=tmp_path), Engines(), Vault())
        assert told["ok"] is False
        assert {one["engine_id"] for one in told["engines"]} == set(KNOWN)

    run(scenario)
