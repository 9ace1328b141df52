"""The console lists jobs, shows one, follows it to its end, stops it and settles a doubt."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from job_stories import doubted, requested, started, taken, whole
from typer.testing import CliRunner, Result

from commands.declaration import Command
from gateways import cli_commands
from gateways.cli_console import ExitCode
from services.bootstrap import open_everything
from services.settings import Settings
from services.studio import Asker


def console(*arguments: str, data: Path) -> Result:
    """A command in this process, which saves its start."""
    given = [*arguments, "--project", "demo", "--data", str(data)]
    return CliRunner().invoke(cli_commands.app, given, prog_name="comfyvn")


def told(*arguments: str, data: Path) -> Any:
    done = console("jobs", *arguments, "--json", data=data)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def _held(data: Path, commands: Sequence[Command], ready: threading.Event, over: threading.Event) -> None:
    """A studio that stays open: every command attaches to its log, and none has to start one of its own."""

    async def hold() -> None:
        async with open_everything(Settings.load(data=data), role="server") as opened:
            for command in commands:
                await opened.studio.ask(command, Asker("mara"), project="demo")
            await opened.counted_everything()
            ready.set()
            await asyncio.to_thread(over.wait)

    asyncio.run(hold())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("jobs") / "studio"
    doubtful = [requested("doubtful"), taken("doubtful"), started("doubtful", "x1"), doubted("doubtful", "x1")]
    commands = [*whole("done"), *doubtful, requested("waits", owner="ivo"), requested("goes")]
    ready, over = threading.Event(), threading.Event()
    holding = threading.Thread(target=_held, args=(folder, commands, ready, over), daemon=True)
    holding.start()
    assert ready.wait(60)
    yield folder
    over.set()
    holding.join(60)
    assert not holding.is_alive()


async def _asked(data: Path, *commands: Command) -> None:
    async with open_everything(Settings.load(data=data)) as opened:
        for command in commands:
            await opened.studio.ask(command, Asker("mara"), project="other")


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


def test_the_story_of_a_job_is_told_whole_or_in_part(data: Path) -> None:
    lines = told("log", "done", data=data)["lines"]
    assert [one["event"] for one in lines][:3] == ["JobRequested", "JobPlanned", "JobTaken"]
    assert "Done: 1 file" in console("jobs", "log", "done", data=data).stdout
    assert told("log", "done", "--level", "error", data=data)["lines"] == []
    assert "Done: 1 file" in console("jobs", "log", "done", "--follow", data=data).stdout
    assert console("jobs", "log", "done", "--level", "loud", data=data).exit_code == ExitCode.USAGE
    assert console("jobs", "log", "nobody", data=data).exit_code == ExitCode.NOT_FOUND


def test_jobs_are_watched_until_nothing_is_under_way(data: Path) -> None:
    one = console("jobs", "watch", "done", data=data)
    assert (one.exit_code, "Done: 1 file" in one.stdout) == (0, True)
    asyncio.run(_asked(data, requested("early")))
    going = threading.Thread(target=lambda: asyncio.run(_asked(data, *whole("early")[1:])))
    going.start()
    arguments = ["jobs", "watch", "--until-idle", "--json", "--project", "other", "--data", str(data)]
    seen = CliRunner().invoke(cli_commands.app, arguments)
    going.join(60)
    assert seen.exit_code == 0, seen.output
    first, *changes = map(json.loads, seen.stdout.splitlines())
    assert [job["job_id"] for job in first["jobs"]] in (["early"], [])  # it may have been over before anybody looked
    if first["jobs"]:
        assert (changes[-1]["event"], changes[-1]["status"]) == ("JobCompleted", "completed")


def test_a_job_is_moved_in_the_queue_and_looked_at_before(data: Path) -> None:
    assert told("prioritise", "waits", "9", "--dry-run", data=data) | {"position": 0} == {
        "ok": True, "id": "waits", "changed": True, "position": 0, "dry_run": True}
    assert told("prioritise", "waits", "9", data=data)["changed"]
    assert not told("prioritise", "waits", "9", "--dry-run", data=data)["changed"]
    assert console("jobs", "release", "waits", "--dry-run", data=data).exit_code == console(
        "jobs", "release", "waits", data=data).exit_code


def test_a_list_that_was_cut_goes_on(data: Path) -> None:
    first = told("list", "--limit", "3", data=data)
    rest = told("list", "--limit", "3", "--cursor", first["next"], data=data)
    assert [one["job_id"] for one in (*first["items"], *rest["items"])] == ["goes", "waits", "doubtful", "done"]
    assert rest["next"] is None


def test_a_job_is_stopped_once(data: Path) -> None:
    assert told("cancel", "goes", "--dry-run", data=data)["changed"]
    assert told("show", "goes", data=data)["status"] == "queued"
    assert told("cancel", "goes", "--reason", "enough", data=data)["changed"]
    assert not told("cancel", "goes", data=data)["changed"]
    assert told("show", "goes", data=data)["status"] == "cancelling"


def test_a_doubt_is_settled_by_whoever_has_looked(data: Path) -> None:
    assert console("jobs", "resolve", "doubtful", data=data).exit_code == ExitCode.USAGE
    assert console("jobs", "resolve", "done", "--never-accepted", data=data).exit_code == ExitCode.REFUSED
    assert told("resolve", "doubtful", "--never-accepted", "--dry-run", data=data)["dry_run"]
    assert told("show", "doubtful", data=data)["status"] == "uncertain"
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
