"""The console gives credits, sets budgets and shows what is left of them; it says what is wrong in a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from consoles import held
from typer.testing import CliRunner, Result

from commands.operations.ledger import GrantCredits, ReserveCredits
from gateways import cli_commands
from gateways.cli_console import ExitCode


def console(data: Path, *arguments: str) -> Result:
    """A command in this process, which saves its start."""
    return CliRunner().invoke(
        cli_commands.app, ["ledger", *arguments, "--project", "demo", "--data", str(data)], prog_name="comfyvn")


def told(data: Path, *arguments: str, code: ExitCode = ExitCode.OK) -> Any:
    done = console(data, *arguments, "--json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with held(
        tmp_path_factory.mktemp("ledger") / "studio",
        GrantCredits(account="team", amount=9_000_000),
        ReserveCredits(account="team", attempt_id="a", amount=1_500_000, purpose="portrait"),
    ) as folder:
        yield folder


def test_budgets_are_set_shown_and_taken_away(data: Path) -> None:
    assert told(data, "budget", "set", "3", "--dry-run")["changed"] is True
    assert told(data, "budget", "list")["items"] == []
    assert told(data, "budget", "set", "3", "--warn", "60")["changed"] is True
    assert told(data, "budget", "set", "3", "--warn", "60")["changed"] is False
    assert told(data, "budget", "set", "2.5", "--account", "team", "--period", "total", "--warn", "50")["ok"] is True
    team, project = told(data, "budget", "list", code=ExitCode.NO)["items"]
    assert (team["scope"], team["amount"], team["left"], team["warns"]) == ("account:team", 2_500_000, 1_000_000, True)
    assert (project["held"], project["warns"]) == (1_500_000, False)
    shown = console(data, "budget", "list")
    assert shown.exit_code == ExitCode.NO
    for word in ("the project", "team", "in all", "60 %", "50 %", "1.5 held"):
        assert word in shown.output
    assert told(data, "budget", "remove", "--account", "team", "--period", "total")["changed"] is True
    assert console(data, "budget", "remove", "--account", "team", "--period", "total").exit_code == ExitCode.NOT_FOUND
    assert console(data, "budget", "remove").exit_code == ExitCode.OK


def test_accounts_and_their_entries_are_shown(data: Path) -> None:
    given = told(data, "grant", "guests", "0.25", "--reason", "a try")
    assert (given["balance"], given["changed"]) == (250_000, True)
    guests, team = told(data, "accounts")["items"]
    assert (guests["available"], team["reserved"]) == (250_000, 1_500_000)
    shown = console(data, "show", "team").output
    assert "reserved" in shown
    assert "portrait" in shown
    assert console(data, "show", "nobody").exit_code == ExitCode.NOT_FOUND


@pytest.mark.parametrize("arguments", [
    ("grant", "team", "lots"), ("grant", "team", "0"), ("grant", "team", "-1"), ("grant", "team", "0.0000001"),
    ("grant", "a b", "1"), ("budget", "set", "1e99"), ("budget", "set", "NaN"),
    ("budget", "set", "1", "--period", "week"),
    ("budget", "set", "1", "--account", "a b"), ("budget", "list", "--month", "May"),
])
def test_what_makes_no_sense_is_told_in_a_sentence(data: Path, arguments: tuple[str, ...]) -> None:
    done = console(data, *arguments)
    assert done.exit_code == ExitCode.USAGE, done.output
    assert "Traceback" not in done.output
