"""`comfyvn play test` as a script and as a person meet it."""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from consoles import console
from fixtures_studio import StudioFactory

from commands.story.scene import CreateScene, EditNode
from services.studio import Asker

SCENE: dict[str, Any] = {
    "id": "pier", "title": "The pier", "start": "gate", "nodes": [
        {"id": "gate", "text": "Halt!", "choices": [
            {"id": "leave", "label": "Leave", "target": "road"}, {"id": "stay", "label": "Stay", "target": "night"}]},
        {"id": "road", "text": "The road.", "end": True},
        {"id": "night", "text": "The night.", "choices": [
            {"id": "sleep", "label": "Sleep", "target": "road",
             "conditions": [{"key": "tired", "operator": "eq", "value": True}]}]},
    ],
}


def told(data: Path, commands: list[Any], factory: StudioFactory, **given: Any) -> None:
    async def scenario() -> None:
        async with factory(data=data) as opened:
            for command in commands:
                await opened.studio.ask(command, Asker("author"), project="demo", **given)

    asyncio.run(scenario())


@pytest.fixture
def data(tmp_path: Path, studio_factory: StudioFactory) -> Path:
    told(tmp_path / "data", [CreateScene.model_validate(copy.deepcopy(SCENE))], studio_factory)
    return tmp_path / "data"


def test_a_report_on_the_terminal_as_json_and_as_a_page(data: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = console("play", "test", "--project", "demo", "--html", str(page), data=data)
    assert done.returncode == 0, done.stderr
    assert "every path played" in done.stdout
    assert "pier/night" in done.stdout
    assert page.read_text().startswith("<!doctype html>")
    as_json = console("play", "test", "-p", "demo", "--json", "--pov", "mara", "--strict", data=data)
    assert as_json.returncode == 1, "findings count where one is strict"
    report = json.loads(as_json.stdout)
    assert report["povs"] == ["mara"]
    bounded = console("play", "test", "-p", "demo", "--max-states", "2", data=data)
    assert "bounded: not every path was played" in bounded.stdout


def test_golden_plays_are_recorded_compared_and_recorded_anew(
    data: Path, tmp_path: Path, studio_factory: StudioFactory
) -> None:
    folder = tmp_path / "golden"

    def golden(*more: str) -> Any:
        return console("play", "test", "-p", "demo", "--golden", str(folder), "--plays", "2", *more, data=data)

    assert golden().returncode == 1, "nothing is recorded yet"
    assert golden("--update").returncode == 0
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 4
    same = golden()
    assert same.returncode == 0, same.stdout + same.stderr
    told(data, [EditNode(scene_id="pier", node_id="road", text="A long road.")], studio_factory)
    changed = golden()
    assert changed.returncode == 1
    assert '+ text: "A long road."' in changed.stdout
    assert golden("--update", "--json").returncode == 0
    assert golden().returncode == 0
    (folder / names[0]).write_text("{broken")
    broken = golden()
    assert broken.returncode == 2
    assert names[0] in broken.stderr


@pytest.mark.parametrize(("options", "code"), [
    (["--mode", "dance"], 2), (["--mode", "golden"], 2), (["--update"], 2), (["--worldline", "nowhere"], 5),
])
def test_what_makes_no_sense_is_said(data: Path, options: list[str], code: int) -> None:
    done = console("play", "test", "-p", "demo", *options, data=data)
    assert done.returncode == code, done.stderr
    assert "→" in done.stderr
