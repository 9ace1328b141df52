"""What the README shows is what happens: its requests, its Python and its console lines, on a real server."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from consoles import console
from fixtures_studio import RunningServer, comfyvn

README = (Path(__file__).parents[2] / "README.md").read_text()
BASE = "http://127.0.0.1:8001"


def block(language: str, holding: str) -> str:
    """The code block of a language that holds a text."""
    found = [one for one in re.findall(rf"```{language}\n(.*?)```", README, re.S) if holding in one]
    assert len(found) == 1, f"{len(found)} blocks hold {holding!r}"
    return str(found[0])


def answers(printed: str) -> list[dict[str, object]]:
    """The JSON objects that were printed one after the other."""
    decoder, at, found = json.JSONDecoder(), 0, []
    while at < len(printed.rstrip()):
        one, at = decoder.raw_decode(printed, at)
        found.append(one)
    return found


def test_the_first_five_minutes_of_the_readme(server: RunningServer) -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("curl and bash are not installed here; the same requests are made in test_first_five_minutes.py")
    script = block("bash", "BASE=").replace(BASE, server.url)
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=60, check=True)
    created, edited, forked, branched, now, storm, first, project, timeline = answers(done.stdout)
    for accepted in (created, edited, forked, branched):
        assert accepted["ok"] is True, accepted
    texts = [{node["id"]: node["text"] for node in scene["nodes"]} for scene in (now, storm, first)]  # type: ignore[attr-defined]
    assert texts[0]["pier"] == "You came back."
    assert (texts[1]["pier"], texts[1]["dusk"]) == ("You came back.", "The lamps go out, one by one.")
    assert (texts[2]["pier"], texts[2]["dusk"]) == ("You came.", "The lamps come on, one by one.")
    assert project["counts"] == {"scenes": 1, "characters": 0, "nodes": 3}
    assert [item["type"] for item in timeline["items"]] == ["NodeEdited", "NodeEdited", "SceneCreated"]  # type: ignore[attr-defined]

    program = block("python", "import httpx").replace(BASE, server.url)
    followed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "The Pier" in followed.stdout

    for line in block("bash", "log tail").splitlines():
        words = line.split("#")[0].split()
        arguments = [word for word in words[1:] if word not in ("--data", "data")]
        told = comfyvn(*arguments, data=server.data)
        assert told.returncode == 0, f"{line}\n{told.stdout}{told.stderr}"


def test_the_sample_project_of_the_readme_is_played_tested_merged_shipped_and_generated_for(
    a_sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, told = a_sample, {}
    monkeypatch.chdir(tmp_path)
    for line in block("bash", "play test").splitlines():
        words = line.split("#")[0].split()[1:]
        arguments = [word for word in words if word not in ("--data", "data/demo")]
        done = console(*arguments, data=data)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        told[" ".join(arguments[:2])] = done.stdout
    assert "The end after" in told["play -p"]
    assert "67 of 67 nodes" in told["play test"]
    assert "the-dry-can" in told["worldline tree"]
    assert "Would merge the-dry-can into main" in told["worldline merge"]
    assert (tmp_path / "coverage.html").read_text().startswith("<!doctype html>")
    assert "label start" in (tmp_path / "game/game/script.rpy").read_text()
    for line in block("bash", "comfyvn presets").splitlines():
        words = [word for word in shlex.split(line, comments=True)[1:] if word not in ("--data", "data/demo")]
        done = console(*words, data=data)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert "Nothing was asked for" in done.stdout
