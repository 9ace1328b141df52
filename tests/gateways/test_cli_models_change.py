"""The console changes an entry of one's own in the model catalogue, and shows what differs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from consoles import held
from typer.testing import CliRunner, Result

from commands.studio.model import AddModel
from gateways import cli_commands, cli_models_change
from gateways.cli_console import ExitCode

ID = "custom-harbour"
SHA = "ab" * 32

app = typer.Typer()
app.command()(cli_models_change.change)


def console(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--project", "demo", "--data", str(data)])


def told(data: Path, *arguments: str, code: ExitCode = ExitCode.OK) -> Any:
    done = console(data, *arguments, "--json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout or done.stderr)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with held(
        tmp_path_factory.mktemp("models") / "studio",
        AddModel.model_validate({
            "name": "Harbour", "type": "lora", "url": "https://models.example/harbour.safetensors",
            "filename": "harbour.safetensors", "license": "MIT", "sha256": SHA, "tags": ("a",),
        }),
    ) as folder:
        yield folder


def test_only_what_is_named_changes(data: Path) -> None:
    asked = (ID, "--name", "Harbour light", "--tag", "b", "--tag", "c", "--size", "151000000", "--engine", "comfy_two",
             "--notes", "for evenings")
    foretold = told(data, *asked, "--dry-run")
    assert foretold["dry_run"]
    done = told(data, *asked)
    assert done["changed"]
    assert done["differing"] == foretold["differing"] == {
        "name": ["Harbour", "Harbour light"], "tags": [["a"], ["b", "c"]], "size_bytes": [None, 151000000],
        "engines": [["local_comfy"], ["comfy_two"]], "notes": [None, "for evenings"],
    }
    assert told(data, *asked) | {"version": 0, "warnings": []} == {
        "ok": True, "dry_run": False, "changed": False, "id": ID, "differing": {}, "warnings": [], "version": 0}
    words = console(data, ID, "--clear", "notes", "--dry-run").output
    assert "would be changed" in words
    assert "for evenings" in words
    assert told(data, ID, "--clear", "notes", "--clear", "tags")["differing"] == {
        "notes": ["for evenings", None], "tags": [["b", "c"], []]}


def test_what_becomes_risky_has_to_be_accepted(data: Path) -> None:
    refused = console(data, ID, "--clear", "sha256")
    assert refused.exit_code == ExitCode.REFUSED
    assert "checksum" in refused.output
    done = told(data, ID, "--clear", "sha256", "--accept", "checksum_missing")
    assert done["differing"] == {"sha256": [SHA, None]}
    assert any("checksum" in one for one in done["warnings"])
    assert SHA in "".join(console(data, ID, "--sha256", SHA).output.split())


@pytest.mark.parametrize(("arguments", "code"), [
    ((ID,), ExitCode.USAGE), ((ID, "--clear", "name"), ExitCode.USAGE),
    ((ID, "--clear", "notes", "--notes", "x"), ExitCode.USAGE), ((ID, "--type", "song"), ExitCode.USAGE),
    ((ID, "--filename", "../x.safetensors"), ExitCode.USAGE), ((ID, "--url", "ftp://x"), ExitCode.USAGE),
    ((ID, "--sha256", "ab"), ExitCode.USAGE), (("custom-nothing", "--notes", "x"), ExitCode.NOT_FOUND),
    (("flux-vae", "--notes", "x"), ExitCode.REFUSED), (("A B", "--notes", "x"), ExitCode.USAGE),
    ((ID, "--accept", "everything"), ExitCode.USAGE),
])
def test_what_does_not_fit_is_told(data: Path, arguments: tuple[str, ...], code: ExitCode) -> None:
    done = console(data, *arguments)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output


def test_it_is_one_of_the_commands() -> None:
    done = CliRunner().invoke(cli_commands.app, ["models", "change", "--help"], prog_name="comfyvn")
    assert done.exit_code == 0
    assert "custom-" in done.output
