"""How the console behaves, whatever it is asked: dry runs change nothing, long answers go on, plain output is plain."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
from consoles import console, held, told
from typer.main import get_command

from commands.operations.ledger import GrantCredits
from commands.story.worldline import ArchiveWorldline, ForkWorldline
from commands.studio.model import AddModel
from commands.studio.model_downloads import RequestModelDownload
from commands.trust.policy import EvaluatePolicy
from domain.trust.policy_rules import Thing
from gateways import cli_commands, cli_console
from gateways.cli_console import ExitCode

HARMLESS = {
    "they look": (
        "doctor", "replay", "presets", "engines", "disclosure", "version", "log tail", "log show", "log verify",
        "projections list", "projections verify", "processes list", "providers list", "models list", "models show",
        "models verify", "worldline list", "worldline tree", "worldline diff", "provenance verify", "provenance show",
        "provenance certificate", "token list", "jobs list", "jobs show", "jobs follow", "jobs log", "jobs watch",
        "ledger accounts", "ledger show", "ledger budget list", "policy show", "policy rules", "policy check",
        "policy audit", "policy handlings list",
    ),
    "they run until told": ("demo", "serve", "work", "worker"),
    "they make what can be made again": ("projections rebuild", "projections resume", "providers test"),
    "they write a file that is named, and without --update or --force nothing over one of ours": (
        "log export", "play test", "export workflow",
    ),
}


def commands(group: Any, before: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every command by its words."""
    found: dict[str, Any] = {}
    for name, one in group.commands.items():
        words = (*before, name)
        found |= commands(one, words) if hasattr(one, "commands") else {" ".join(words): one}
    return found


def test_whatever_changes_something_has_a_dry_run() -> None:
    every = commands(get_command(cli_commands.app))
    harmless = {words for one in HARMLESS.values() for words in one}
    assert harmless <= every.keys()
    for words, command in every.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert words in harmless or "--dry-run" in options, words


# --- on a studio ------------------------------------------------------------------------------------------------


def model(name: str) -> AddModel:
    return AddModel.model_validate({
        "name": name, "type": "lora", "url": f"https://models.example/{name}.safetensors",
        "filename": f"{name}.safetensors", "license": "MIT", "acknowledge": ("checksum_missing",),
    })


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with held(
        tmp_path_factory.mktemp("manners") / "studio", *map(model, ("harbour", "pier", "lamp")),
        RequestModelDownload(model_id="custom-pier"), ForkWorldline(worldline_id="night"),
        ForkWorldline(worldline_id="away"), ArchiveWorldline(worldline_id="away"),
        *(GrantCredits(account="studio", amount=amount) for amount in (1_000_000, 2_000_000, 3_000_000)),
        *(EvaluatePolicy(action=action, subject=Thing(kind="project", id="demo")) for action in ("import", "publish")),
    ) as folder:
        assert console("token", "create", "--name", "ada", "--scope", "*", data=folder).returncode == 0
        yield folder


def head(data: Path) -> Any:
    return told("projections", "list", data=data)["head"]


@pytest.mark.parametrize(("words", "said"), [
    (("models", "remove", "custom-harbour", "-p", "demo"), "would be removed"),
    (("models", "acknowledge", "realesrgan-x4plus", "--accept", "pickle", "-p", "demo"), "would be acknowledged"),
    (("models", "cancel", "custom-pier", "-p", "demo"), "would be cancelled"),
    (("worldline", "fork", "dawn", "-p", "demo"), "would leave main"),
    (("worldline", "switch", "night", "-p", "demo"), "would be looked at"),
    (("worldline", "restore", "away", "-p", "demo"), "would be in use"),
    (("token", "create", "--name", "ivo", "--scope", "scene:read", "--days", "3"), "Would be: a token ivo"),
    (("token", "revoke", "ada"), "would be useless"),
])
def test_a_dry_run_says_what_would_be_and_leaves_everything(studio: Path, words: tuple[str, ...], said: str) -> None:
    before, tokens = head(studio), (studio / "tokens.json").read_bytes()
    shown = console(*words, "--dry-run", data=studio)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert said in " ".join(shown.stdout.split())
    answer = told(*words, "--dry-run", data=studio)
    assert answer["dry_run"] is True
    assert "secret" not in answer
    assert head(studio) == before
    assert (studio / "tokens.json").read_bytes() == tokens


def test_what_was_foretold_then_comes_true(studio: Path) -> None:
    for word, id_, event in (("cancel", "custom-pier", "ModelDownloadCancelled"),
                             ("remove", "custom-lamp", "ModelRemoved")):
        foretold = told("models", word, id_, "--dry-run", "-p", "demo", data=studio)
        assert (foretold["changed"], foretold["events"]) == (True, [event])
        done = told("models", word, id_, "-p", "demo", data=studio)
        assert (done["dry_run"], done["changed"], done["events"]) == (False, True, [event])
    assert not told("models", "cancel", "custom-pier", "-p", "demo", "--dry-run", data=studio)["changed"]


@pytest.mark.parametrize(("words", "code"), [
    (("models", "remove", "custom-nothing", "-p", "demo"), ExitCode.NOT_FOUND),
    (("models", "remove", "flux-vae", "-p", "demo"), ExitCode.REFUSED),
    (("models", "cancel", "flux-vae", "-p", "demo"), ExitCode.REFUSED),
    (("models", "acknowledge", "custom-harbour", "-p", "demo"), ExitCode.USAGE),
    (("worldline", "fork", "night", "-p", "demo"), ExitCode.REFUSED),
    (("token", "create", "--name", "ada", "--scope", "*"), ExitCode.REFUSED),
    (("token", "revoke", "nobody"), ExitCode.NOT_FOUND),
    (("processes", "rerun", "nobody"), ExitCode.NOT_FOUND),
])
def test_a_dry_run_says_no_where_the_command_would(studio: Path, words: tuple[str, ...], code: ExitCode) -> None:
    for more in (("--dry-run",), ()):
        done = console(*words, *more, data=studio)
        assert done.returncode == code, done.stderr
        assert "→" in done.stderr, "and what to do"


PAGED = [("models", "list", "--own"), ("ledger", "show", "studio"), ("policy", "audit")]


@pytest.mark.parametrize("words", PAGED, ids=[" ".join(one) for one in PAGED])
def test_an_answer_that_was_cut_tells_how_it_goes_on(studio: Path, words: tuple[str, ...]) -> None:
    whole = told(*words, "-p", "demo", data=studio)
    assert whole["next"] is None
    seen: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        page = told(*words, "-p", "demo", "--limit", "1", "--cursor", cursor, data=studio)
        seen, cursor = [*seen, *page["items"]], page["next"]
    assert seen == whole["items"]
    assert len(seen) > 1
    assert "go on with --cursor" in " ".join(console(*words, "-p", "demo", "--limit", "1", data=studio).stderr.split())
    assert "--cursor" not in console(*words, "-p", "demo", data=studio).stderr
    assert console(*words, "-p", "demo", "--cursor", "nonsense", data=studio).returncode == ExitCode.USAGE


@pytest.mark.parametrize("words", ["rebuild", "verify", "resume"])
def test_a_projection_that_is_none_is_told_at_once(studio: Path, words: str) -> None:
    done = console("projections", words, "scenes", data=studio)
    assert (done.returncode, "There is no projection scenes" in done.stderr) == (ExitCode.NOT_FOUND, True)


def test_what_one_may_want_to_copy_is_shown_whole(studio: Path) -> None:
    shown = "".join(console("models", "show", "flux-vae", data=studio).stdout.split())
    whole = told("models", "show", "flux-vae", data=studio)
    assert whole["sha256"] in shown
    assert whole["url"] in shown


def test_a_job_that_is_none_is_not_called_a_file(studio: Path) -> None:
    done = console("jobs", "retry", "nope", "-p", "demo", "--dry-run", data=studio)
    assert (done.returncode, "List the jobs" in done.stderr) == (ExitCode.NOT_FOUND, True)


def test_accounts_are_all_shown(studio: Path) -> None:
    assert [one["account"] for one in told("ledger", "accounts", "-p", "demo", data=studio)["items"]] == ["studio"]


# --- alone on a folder ------------------------------------------------------------------------------------------


LOOKING = [
    ("policy", "check", "import"), ("policy", "ack", "--dry-run"), ("ledger", "grant", "studio", "5", "--dry-run"),
    ("providers", "remove", "provider_fal"), ("providers", "remove", "provider_fal", "--dry-run"),
]


@pytest.mark.parametrize("words", LOOKING, ids=[" ".join(one) for one in LOOKING])
def test_who_only_looks_makes_no_studio(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = console(*words, data=tmp_path / "mistyped")
    assert done.returncode == ExitCode.NOT_FOUND
    assert "--data" in done.stderr
    assert not (tmp_path / "mistyped").exists()


def test_what_a_console_records_alone_is_in_the_chain_at_once(tmp_path: Path) -> None:
    data = tmp_path / "studio"
    told("ledger", "grant", "studio", "5", data=data)
    told("policy", "ack", data=data)
    told("policy", "decide", "import", data=data)
    found = told("log", "verify", data=data)
    assert (found["checked"], found["ok"]) == (found["head"], True)
    assert found["head"] >= 3


# --- plain output -----------------------------------------------------------------------------------------------


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a command writes on a terminal, in a process of its own."""
    ours, theirs = pty.openpty()
    known = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    running = subprocess.Popen(
        [sys.executable, "-m", "gateways.cli", *arguments], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        env={**known, "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    written = everything(ours)
    assert running.wait(60) == 0, written
    return written


def everything(terminal: int) -> str:
    """What was written to a terminal, once nobody has it open any more."""
    written = b""
    while piece := _read(terminal):
        written += piece
    os.close(terminal)
    return written.decode()


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:  # the other side is closed
        return b""


def test_help_on_a_terminal_is_plain_where_that_is_wanted() -> None:
    assert "\x1b[" in on_a_terminal("models", "cancel", "--help")
    plain = on_a_terminal("models", "cancel", "--help", NO_COLOR="1")
    assert "\x1b" not in plain
    assert "--dry-run" in plain


@pytest.mark.parametrize("plain", [False, True])
def test_nothing_is_drawn_where_that_is_not_wanted(plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    if plain:
        monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(cli_console, "SAID_SECONDS", 0.0)
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal, redirect_stderr(terminal):
        cli_console.err().print("[bold red]No.[/]")
        with cli_console.progress("Counting") as report:
            report(3, 10)
    written = everything(ours)
    assert "No." in written
    assert ("\x1b" in written) is not plain
    assert ("Counting: 3 of 10" in written) is plain


def test_without_a_terminal_nothing_is_said_of_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with cli_console.progress("Counting") as report:
        report(3, 10)
    cli_console.out().print("[bold red]No.[/]")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("No.\n", "")


def test_whoever_stops_reading_hears_no_complaint(studio: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "gateways.cli", "policy", "rules", "--json", "--data", str(studio)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    assert running.wait(60) == ExitCode.BROKEN_PIPE
    assert running.stderr.read() == ""
    running.stderr.close()
