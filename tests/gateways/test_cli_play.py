"""`comfyvn play` and `comfyvn replay`: a story in the terminal, by people, scripts and dice."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from consoles import console
from fixtures_studio import StudioFactory, comfyvn
from playing_stories import HOME, PIER

from commands.story.scene import CreateScene, EditNode
from services.studio import Asker


@pytest.fixture
def data(studio_factory: StudioFactory, tmp_path: Path) -> Path:
    """A data folder with a story in project ``demo``."""

    async def write() -> None:
        async with studio_factory(tmp_path / "studio") as opened:
            for scene in (PIER, HOME):
                await opened.studio.ask(CreateScene.model_validate(scene), Asker("author"), project="demo")
            edit = EditNode(scene_id="pier", node_id="start", text="You came back.")
            await opened.studio.ask(edit, Asker("author"), project="demo")

    asyncio.run(write())
    return tmp_path / "studio"


def play(data: Path, *options: str, said: str = "") -> list[dict[str, Any]]:
    done = console("play", "--project", "demo", "--json", *options, data=data, input=said)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_story_is_played_by_lines_and_played_again(data: Path) -> None:
    lines = play(data, "--seed", "1000", said="s here\n1\nb\n")
    assert [one.get("node") for one in lines if "text" in one] == ["start", "ask", "toss", "gone", "dusk"]
    assert lines[0]["text"] == "You came back."
    assert {"saved": "here"} in lines
    last = lines[-1]
    assert (last["stopped"], last["finished"], last["step"]) == ("the end", True, 4)
    replayed = console("replay", last["playthrough"], "--project", "demo", "--json", data=data)
    assert replayed.returncode == 0, replayed.stderr
    verdict = json.loads(replayed.stdout.splitlines()[-1])
    assert (verdict["ok"], verdict["steps"]) == (True, 4)
    resumed = play(data, "--slot", "here", said="leave\n")
    assert [one["node"] for one in resumed if "text" in one] == ["ask", "gone", "dusk"]


def test_back_and_nonsense_are_answered(data: Path) -> None:
    lines = play(data, "--seed", "5", said="fly\nv\nb 1\nb 9\n1\n")
    assert {"unknown": "fly"} in lines
    assert {"variables": {"coins": 2}} in lines
    nodes = [one["node"] for one in lines if "text" in one]
    assert nodes[:4] == ["start", "ask", "start", "ask"]
    assert lines[-1]["stopped"] in ("stopped", "the end")


def test_dice_play_the_same_way_twice_and_the_past_is_played_as_it_was(data: Path) -> None:
    one, other = (play(data, "--auto", "--seed", "3") for _ in range(2))
    different = {"playthrough"}
    assert [{name: value for name, value in line.items() if name not in different} for line in one] == [
        {name: value for name, value in line.items() if name not in different} for line in other
    ]
    assert play(data, "--auto", "--as-of", "2")[0]["text"] == "You came."
    assert play(data, "--auto", "--scene", "shore")[-1]["step"] == 0
    assert play(data, "--auto", "--limit", "2")[-1]["stopped"] == "2 steps"


def test_what_is_not_there_is_said(data: Path) -> None:
    for arguments, code in (
        (("play", "--scene", "nowhere"), 5), (("play", "--resume", "nobody"), 5), (("play", "--worldline", "none"), 5),
        (("play", "--slot", "nothing"), 5), (("play", "--as-of", "999999"), 2), (("replay", "nobody"), 5),
    ):
        done = console(*arguments, "--project", "demo", "--json", data=data, input="")
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert json.loads(done.stderr.splitlines()[-1])["remediation"]


def test_people_read_names_and_numbers(data: Path) -> None:
    done = comfyvn("play", "--project", "demo", data=data, input="2\n")
    assert done.returncode == 0, done.stderr
    assert "Mara: You came back." in done.stdout
    assert "2 Leave" in done.stdout
    assert "The end after 3 steps" in done.stdout
