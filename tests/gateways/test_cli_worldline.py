"""The console draws worldlines, switches between them, and puts them away."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateways import cli_commands
from gateways.cli_console import ExitCode


def worldline(*arguments: str, data: Path) -> Result:
    """A command in this process, which saves its start."""
    return CliRunner().invoke(cli_commands.app, ["worldline", *arguments, "--data", str(data)], prog_name="comfyvn")


def told(*arguments: str, data: Path) -> Any:
    done = worldline(*arguments, "--json", data=data)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def demo(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(sample, tmp_path_factory.mktemp("demo") / "studio")


def test_worldlines_are_drawn_as_a_tree(demo: Path) -> None:
    items = {one["id"]: one for one in told("tree", "--project", "demo", data=demo)["items"]}
    fork = next(id_ for id_, one in items.items() if one["parent_id"] == "main")
    drawn = worldline("tree", "--project", "demo", data=demo)
    assert drawn.exit_code == 0, drawn.output
    first, *rest = drawn.stdout.splitlines()
    assert "main" in first
    assert "active" in first
    line = next(line for line in rest if fork in line)
    assert f"left at {items[fork]['forked_at']}" in line
    assert "scenes ~" in line or "scenes +" in line


def test_a_worldline_is_forked_looked_at_put_away_and_restored(demo: Path) -> None:
    project = ("--project", "cli")
    told("fork", "calm", *project, "--lane", "sandbox", data=demo)
    told("fork", "calmer", *project, "--parent", "calm", data=demo)
    told("switch", "calmer", *project, data=demo)
    items = {one["id"]: one for one in told("tree", *project, data=demo)["items"]}
    assert (items["calm"]["lane"], items["calmer"]["active"], items["main"]["active"]) == ("scratch", True, False)
    dry = told("archive", "calm", *project, "--dry-run", data=demo)
    assert (dry["changed"], dry["dry_run"]) == (True, True)
    assert told("archive", "calm", *project, "--reason", "enough", data=demo)["changed"]
    assert not told("archive", "calm", *project, data=demo)["changed"]
    assert [one["id"] for one in told("list", *project, data=demo)["items"]] == ["main", "calmer"]
    assert [one["reason"] for one in told("list", *project, "--archived", data=demo)["items"]] == ["enough"]
    drawn = worldline("tree", *project, data=demo).stdout
    assert "put away" in drawn, "what others stand on is drawn"
    assert told("restore", "calm", *project, data=demo)["changed"]
    gone = worldline("switch", "nowhere", *project, data=demo)
    assert gone.exit_code == ExitCode.NOT_FOUND
    assert worldline("archive", "main", *project, data=demo).exit_code == ExitCode.REFUSED
    assert worldline("switch", "../x", *project, data=demo).exit_code == ExitCode.USAGE
    assert worldline("fork", "x", *project, "--lane", "purple", data=demo).exit_code == ExitCode.USAGE
