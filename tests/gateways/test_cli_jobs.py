"""The console lists jobs, shows one, follows it to its end, stops it and settles a doubt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from job_stories import doubted, requested, started, taken, whole
from typer.testing import CliRunner, Result

from commands.declaration import Command
from gateways import cli
from gateways.cli_console import ExitCode
from services.bootstrap import open_everything
from services.settings import Settings
from services.studio import Asker


def console(*arguments: str, data: Path) -> Result:
    """A command in this process, which saves its start."""
    return CliRunner().invoke(cli.app, [*arguments, "--project", "demo", "--data", str(data)], prog_name="comfyvn")


def told(*arguments: str, data: Path) -> Any:
    done = console("jobs", *arguments, "--json", data=data)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


async def _said(data: Path, commands: Sequence[Command]) -> None:
    async with open_everything(Settings.load(data=data), projecting=False) as opened:
        for command in commands:
            await opened.studio.ask(command, Asker("mara"), project="demo")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs") / "studio"
    doubtful = [requested("doubtful"), taken("doubtful"), started("doubtful", "x1"), doubted("doubtful", "x1")]
    asyncio.run(_said(folder, [*whole("done"), *doubtful, requested("waits", owner="ivo"), requested("goes")]))
    return folder


def test_jobs_are_listed_and_narrowed(data: Path) -> None:
    assert [one["job_id"] for one in told("list", data=data)["items"]] == ["goes", "waits", "doubtful", "done"]
    assert [one["job_id"] for one in told("list", "--status", "completed", data=data)["items"]] == ["done"]
    assert [one["job_id"] for one in told("list", "--owner", "ivo", data=data)["items"]] == ["waits"]
    drawn = console("jobs", "list", data=data)
    assert "uncertain" in drawn.stdout
    assert console("jobs", "list", "--status", "odd", data=data).exit_code == ExitCode.USAGE


def test_one_job_is_shown_with_its_story(data: Path) -> None:
    drawn = console("jobs", "show", "done", data=data)
    assert drawn.exit_code == 0, drawn.output
    assert "completed" in drawn.stdout
    assert "Step make done" in drawn.stdout
    assert told("show", "done", data=data)["credit_cost"] == 1500
    assert console("jobs", "show", "nobody", data=data).exit_code == ExitCode.NOT_FOUND


def test_a_job_is_followed_to_its_end(data: Path) -> None:
    done = console("jobs", "follow", "done", data=data)
    assert (done.exit_code, "Done: 1 file" in done.stdout) == (0, True)


def test_a_job_is_stopped_once(data: Path) -> None:
    assert told("cancel", "goes", "--dry-run", data=data)["changed"]
    assert told("show", "goes", data=data)["status"] == "queued"
    assert told("cancel", "goes", "--reason", "enough", data=data)["changed"]
    assert not told("cancel", "goes", data=data)["changed"]
    assert told("show", "goes", data=data)["status"] == "cancelling"


def test_a_doubt_is_settled_by_whoever_has_looked(data: Path) -> None:
    assert console("jobs", "resolve", "doubtful", data=data).exit_code == ExitCode.USAGE
    assert console("jobs", "resolve", "done", "--never-accepted", data=data).exit_code == ExitCode.REFUSED
    assert told("resolve", "doubtful", "--never-accepted", "--notes", "not in their list", data=data)["changed"]
    assert told("show", "doubtful", data=data)["status"] == "queued"


def test_only_what_is_over_and_known_is_done_again(data: Path) -> None:
    refused = console("jobs", "retry", "waits", "--json", data=data)
    assert (refused.exit_code, json.loads(refused.stderr)["error"]) == (ExitCode.REFUSED, "job_not_over")
    assert console("jobs", "retry", "nobody", data=data).exit_code == ExitCode.NOT_FOUND


def test_what_was_generated_is_told_for_shops(data: Path) -> None:
    shown = console("disclosure", data=data)
    assert shown.exit_code == 0, shown.output
    assert "itch.io" in shown.stdout
    assert json.loads(console("disclosure", "--json", data=data).stdout)["itch"]["generative_ai"] is False
