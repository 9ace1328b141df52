"""The console takes a workflow of ComfyUI in, shows what it found, and says no in a sentence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from engines.comfy_documents import edited, painted, plain
from typer.testing import CliRunner, Result

from gateways import cli_commands
from gateways.cli_console import ExitCode


def console(*arguments: str, data: Path) -> Result:
    """A command in this process, with nobody at ComfyUI's address."""
    return CliRunner(env={"COMFYVN_COMFY_URL": "http://127.0.0.1:9"}).invoke(
        cli_commands.app, [*arguments, "--data", str(data)], prog_name="comfyvn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("flows")
    (place / "bottle.json").write_text(json.dumps(painted()))
    (place / "plain.json").write_text(json.dumps(plain()))
    (place / "editor.json").write_text(json.dumps(edited()))
    (place / "odd.json").write_text("{}")
    return place


def test_a_workflow_is_taken_in_shown_and_asked_for_by_name(folder: Path) -> None:
    data = folder / "studio"
    file = str(folder / "bottle.json")
    foreseen = console("import", "workflow", file, "--dry-run", "--json", data=data)
    assert foreseen.exit_code == 0, foreseen.output
    assert json.loads(foreseen.stdout)["dry_run"]
    done = console("import", "workflow", file, "--expose", "vae_node=8.nothing", data=data)
    assert done.exit_code == ExitCode.USAGE, done.output
    done = console("import", "workflow", file, data=data)
    assert done.exit_code == 0, done.output
    assert "negative_prompt" in done.stdout
    assert "comfyvn generate bottle" in done.stdout
    told = json.loads(console("import", "workflow", file, "--json", data=data).stdout)
    assert (told["id"], told["changed"]) == ("bottle", False)
    again = console("import", "workflow", str(folder / "plain.json"), "--id", "bottle", data=data)
    assert again.exit_code == ExitCode.REFUSED, again.output
    assert console("import", "workflow", str(folder / "plain.json"), "--id", "bottle", "--replace",
                   data=data).exit_code == 0


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (["odd.json"], ExitCode.USAGE, "Export (API)"), (["absent.json"], ExitCode.NOT_FOUND, "absent.json"),
    (["editor.json"], ExitCode.REFUSED, "Export (API)"),
    (["plain.json", "--expose", "x"], ExitCode.USAGE, "NODE.INPUT"),
    (["plain.json", "--operation", "dance"], ExitCode.USAGE, "dance"),
    (["plain.json", "--id", "!!"], ExitCode.USAGE, "id"),
])
def test_what_cannot_be_taken_in_is_said(folder: Path, arguments: list[str], code: int, said: str) -> None:
    done = console("import", "workflow", str(folder / arguments[0]), *arguments[1:], data=folder / "studio")
    assert done.exit_code == code, done.output
    assert said in " ".join(done.output.split())


def test_what_was_taken_in_comes_out_again(folder: Path) -> None:
    data, file = folder / "other", folder / "out.json"
    assert console("import", "workflow", str(folder / "bottle.json"), data=data).exit_code == 0
    told = json.loads(console("export", "workflow", "bottle", str(file), "--graph", "--json", data=data).stdout)
    assert (told["ok"], told["path"], told["bytes"]) == (True, str(file), file.stat().st_size)
    graph = json.loads(file.read_text())
    assert {node["class_type"] for node in graph.values()} == {node["class_type"] for node in painted().values()}
    again = console("export", "workflow", told["digest"], str(file), data=data)
    assert again.exit_code == ExitCode.REFUSED, again.output
    assert "--force" in again.output
    assert console("export", "workflow", told["digest"], str(file), "--force", data=data).exit_code == 0
    assert hashlib.sha256(file.read_bytes()).hexdigest() == told["digest"]
    shown = console("export", "workflow", "bottle", "--json", data=data)
    assert json.loads(shown.stdout)["workflow"]["graph"] == graph
    for what, code in (("nobody", ExitCode.NOT_FOUND), ("0" * 64, ExitCode.NOT_FOUND), ("A" * 64, ExitCode.USAGE),
                       ("photoreal_portrait_v1", ExitCode.REFUSED)):
        done = console("export", "workflow", what, data=data)
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.output
