"""Broken files at the doors: a problem that says what to do, never a defect, and nothing of them left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from broken.mutating import broken
from broken.readers import READERS
from consoles import console, held
from door import Door, door, run
from engines.comfy_play import adapter
from engines.fake_comfy import FakeComfy

UPLOADED = ("image_png", "image_jpeg", "c2pa_png", "c2pa_jpeg", "sound", "film", "detect", "strip_mp4_boxes")
IMPORTED = {"card": ("card_png", "card_json"), "chat": ("chat",), "workflow": ("workflow_json", "workflow_png")}
EACH = 4


def files(name: str, folder: Path, count: int = EACH) -> list[bytes]:
    """Broken files of one kind, the same ones every time."""
    valid = READERS[name].valid(folder)
    return [broken(Random(seed), valid, READERS[name].frame)[:200_000] for seed in range(count)]


def judged(answer: httpx.Response) -> dict[str, Any] | None:
    """The problem that an answer is, which says what to do; nothing for one that is none."""
    assert answer.status_code < 500, answer.text[:2000]
    if answer.status_code < 400:
        return None
    told = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert told["remediation"]
    assert "Traceback" not in answer.text
    assert "/tmp/" not in answer.text
    return dict(told)


def left(at: Door) -> list[Path]:
    return list((at.studio.settings.data / "scratch").glob("*/*"))


async def looked(at: Door, uid: str) -> None:
    """Everything that reads a file's bytes again."""
    for path in ("", "/content", "/thumbnail", "/credentials", "/provenance", "/content?strip=true"):
        judged(await at.client.get(f"/api/assets/{uid}{path}", params={"project": "demo"}))


@pytest.mark.parametrize("name", UPLOADED)
def test_a_broken_upload_is_an_asset_or_a_problem(name: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with door() as at:
            for data in files(name, tmp_path):
                answer = await at.client.post("/api/assets/upload?project=demo", files={"file": ("x.png", data)})
                if judged(answer) is None:
                    await looked(at, answer.json()["id"])
            assert left(at) == []

    run(scenario)


@pytest.mark.parametrize("name", ["workflow_json", "workflow_png", "form"])
def test_a_broken_body_records_nothing(name: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with door() as at, FakeComfy() as server, adapter(server) as engine:
            at.studio.engines.add(engine)
            path, kind = ("/api/assets/upload", "multipart/form-data; boundary=XX") if name == "form" else (
                "/api/workflows", "image/png" if name == "workflow_png" else "application/json")
            for number, data in enumerate(files(name, tmp_path)):
                before = await at.log.head()
                answer = await at.client.post(f"{path}?project=demo&id=w{number}" if name != "form" else
                                              f"{path}?project=demo", content=data, headers={"Content-Type": kind})
                if judged(answer) is not None:
                    assert await at.log.head() == before
            assert left(at) == []

    run(scenario)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with held(tmp_path_factory.mktemp("held")) as folder:
        yield folder


@pytest.mark.parametrize("kind", IMPORTED)
def test_the_console_says_what_is_wrong_with_a_file(kind: str, data: Path, tmp_path: Path) -> None:
    for name in IMPORTED[kind]:
        for number, content in enumerate(files(name, tmp_path, 2)):
            (place := tmp_path / f"{name}{number}.bin").write_bytes(content)
            done = console("import", kind, str(place), "--dry-run", "--json", data=data)
            assert done.returncode in (0, 2, 4), done.stderr
            told = json.loads(done.stdout if done.returncode == 0 else done.stderr)
            assert done.returncode == 0 or told["remediation"]
            assert "Traceback" not in done.stdout + done.stderr


