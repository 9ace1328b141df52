"""The console: exit codes, what goes to which output, and commands with and without a server on the folder."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from consoles import console, told
from fixtures_studio import RunningServer, comfyvn, wait_until
from typer.main import get_command

from gateways import cli_commands, cli_console
from gateways.cli_console import MEANINGS, ExitCode

ROOT = Path(__file__).parents[2]


def refused(*arguments: str, data: Path | None = None, code: int) -> str:
    """What a command says when it does not do it: on standard error, without a traceback."""
    done = console(*arguments, data=data)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stdout == ""
    return done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a studio in which two things have happened; each test gets a copy."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "art").mkdir()
    (folder / "art" / "note.txt").write_text("a note")
    data = folder / "studio"
    assert console("import", "assets", str(folder / "art"), "--project", "demo", data=data).returncode == 0
    assert console("worldline", "fork", "what-if", "--project", "demo", data=data).returncode == 0
    return data


@pytest.fixture
def studio(made: Path, tmp_path: Path) -> Path:
    """A folder with that studio, of the test's own."""
    return shutil.copytree(made, tmp_path / "studio")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all who attach to it; each test has a project of its own."""
    server = RunningServer(tmp_path_factory.mktemp("shared") / "studio").start()
    yield server
    server.stop()


def commands(group: Any, before: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Every command with its words."""
    found = []
    for name, one in group.commands.items():
        found += commands(one, (*before, name)) if hasattr(one, "commands") else [((*before, name), one)]
    return found


EVERY = commands(get_command(cli_commands.app))


@pytest.mark.parametrize(("words", "command"), EVERY, ids=[" ".join(words) for words, _ in EVERY])
def test_every_command_explains_itself_with_an_example(words: tuple[str, ...], command: Any) -> None:
    assert f"comfyvn {' '.join(words)}" in command.help, "its help shows how it is used"
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--json" in options
    assert "--data" in options or words == ("version",)
    assert all(getattr(parameter, "help", None) for parameter in command.params
               if not getattr(parameter, "hidden", False))


def test_every_exit_code_has_a_meaning_and_stands_in_the_operations_page() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    assert set(MEANINGS) == set(ExitCode)
    for code, meaning in MEANINGS.items():
        assert f"| {int(code)} | {meaning} |" in page


def test_without_a_server_commands_run_the_log_for_their_own_duration(studio: Path) -> None:
    lines = console("log", "tail", "--json", data=studio).stdout.splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["AssetRegistered", "WorldlineForked"]
    assert told("worldline", "list", "--project", "demo", data=studio)["items"][1]["id"] == "what-if"
    assert told("projections", "verify", data=studio)["equal"]
    assert told("projections", "rebuild", "timeline", data=studio)["rebuilt"][0]["position"] == 2
    assert told("log", "verify", data=studio)["ok"]
    listed = told("projections", "list", data=studio)
    assert {one["status"] for one in listed["projections"]} == {"live"}
    assert not (studio / "nats" / "server.json").exists(), "nothing is left running"


def test_with_a_server_the_same_commands_attach_to_it(shared: RunningServer) -> None:
    server, pid = shared, shared.nats()["pid"]
    fork = told("worldline", "fork", "what-if", "--project", "demo", data=server.data)
    position = fork["position"]
    assert fork == {"ok": True, "id": "what-if", "version": 1, "position": position}
    with server.client() as client:
        query = {"project": "demo", "min_position": position}
        assert [one["id"] for one in client.get("/api/pov/worlds", params=query).json()["items"]] == ["main", "what-if"]
        answer = client.post("/api/commands/ForkWorldline", params={"project": "demo"}, json={"worldline_id": "w2"})
        assert answer.status_code == 201
    listed = told("worldline", "list", "--project", "demo", data=server.data)
    assert [one["id"] for one in listed["items"]] == ["main", "w2", "what-if"]
    assert told("projections", "verify", data=server.data)["equal"]
    assert told("projections", "rebuild", data=server.data)["ok"]
    assert server.nats()["pid"] == pid


def test_an_event_is_shown_whole(studio: Path) -> None:
    event = told("log", "show", "2", data=studio)
    assert (event["type"], event["project"], event["data"]["worldline_id"]) == ("WorldlineForked", "demo", "what-if")
    for_people = console("log", "show", "2", data=studio).stdout
    assert "what-if" in for_people
    assert event["id"] in for_people


def test_tail_narrows_by_everything_that_an_event_has(studio: Path) -> None:
    def types(*options: str) -> list[str]:
        done = console("log", "tail", "--json", *options, data=studio)
        assert done.returncode == 0, done.stderr
        return [json.loads(line)["type"] for line in done.stdout.splitlines()]

    assert types("-n", "1") == ["WorldlineForked"]
    assert types("-n", "0") == []
    assert types("--category", "asset") == ["AssetRegistered"]
    assert types("--type", "AssetRegistered") == ["AssetRegistered"]
    assert types("--id", "what-if") == ["WorldlineForked"]
    assert types("--worldline", "-") == ["AssetRegistered", "WorldlineForked"]
    assert types("--after", "1") == ["WorldlineForked"]
    assert types("--project", "other") == []


def test_tail_follows_what_happens_and_ends_quietly(shared: RunningServer) -> None:
    following = subprocess.Popen(
        [sys.executable, "-m", "gateways.cli", "log", "tail", "-f", "--json", "-p", "followed",
         "--data", str(shared.data)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    try:
        forked = [told("worldline", "fork", f"w{number}", "-p", "followed", data=shared.data) for number in range(3)]
        assert following.stdout is not None
        seen = [json.loads(following.stdout.readline())["position"] for _ in range(3)]
        assert seen == [one["position"] for one in forked]
        following.send_signal(signal.SIGINT)
        _, errors = following.communicate(timeout=60)
        assert following.returncode == ExitCode.INTERRUPTED
        assert errors == ""
    finally:
        following.kill()
        following.wait()


def test_a_reader_that_goes_away_is_no_error_message(shared: RunningServer) -> None:
    following = subprocess.Popen(
        [sys.executable, "-m", "gateways.cli", "log", "tail", "-f", "--json", "-p", "left", "--data", str(shared.data)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    assert following.stdout is not None
    assert following.stderr is not None
    told("worldline", "fork", "w0", "--project", "left", data=shared.data)
    assert following.stdout.readline()
    following.stdout.close()
    told("worldline", "fork", "w1", "--project", "left", data=shared.data)
    assert following.wait(60) == ExitCode.BROKEN_PIPE
    assert following.stderr.read() == ""
    following.stderr.close()


def test_an_exported_log_comes_back_the_same_in_a_new_folder(studio: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    exported = told("log", "export", str(first), data=studio)
    assert exported["events"] == 2
    assert told("log", "import", str(first), data=tmp_path / "restored")["head"] == 2
    assert told("log", "import", str(first), data=tmp_path / "restored")["resumed"] == 2
    assert told("log", "export", str(second), data=tmp_path / "restored")["digest"] == exported["digest"]
    assert first.read_bytes() == second.read_bytes()
    process = comfyvn("log", "export", data=studio)
    assert (process.returncode, process.stdout.encode()) == (0, first.read_bytes())
    assert told("log", "verify", data=tmp_path / "restored")["ok"]


def test_an_export_that_fails_leaves_no_half_a_file(studio: Path, tmp_path: Path) -> None:
    assert "cannot be written" in refused("log", "export", str(tmp_path / "no" / "where.jsonl"), data=studio, code=3)
    assert list(tmp_path.glob("*.partial")) == []


def test_a_changed_export_is_told_from_the_log(studio: Path, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    told("log", "export", str(file), data=studio)
    assert told("log", "verify", "--file", str(file), data=studio)["ok"]
    file.write_text(file.read_text().replace('"actor":"console"', '"actor":"mallory"', 1))
    found = told("log", "verify", "--file", str(file), data=studio, code=1)
    assert found["findings"][0]["position"] == 1


def test_importing_over_a_log_that_holds_something_else_is_refused(studio: Path, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    told("log", "export", str(file), data=studio)
    other = tmp_path / "other"
    told("import", "assets", str(ROOT / "docs" / "decisions"), data=other)
    assert "empty" in refused("log", "import", str(file), data=other, code=4)


def test_what_cannot_be_done_has_its_exit_code_and_says_what_to_do(studio: Path, tmp_path: Path) -> None:
    assert "--data" in refused("log", "tail", data=tmp_path / "nowhere", code=5)
    assert "comfyvn log tail" in refused("log", "show", "99", data=studio, code=5)
    assert "Choose another id" in refused("worldline", "fork", "what-if", "-p", "demo", data=studio, code=4)
    assert "not a usable name" in refused("worldline", "fork", "what if", data=studio, code=2)
    assert "official" in refused("worldline", "fork", "w9", "--lane", "sideways", data=studio, code=2)
    assert "no projection nope" in refused("projections", "rebuild", "nope", data=studio, code=5)
    assert "not a usable name" in refused("log", "tail", "--project", "a.b", data=studio, code=2)
    assert "no file" in refused("import", "card", str(tmp_path / "no.png"), data=studio, code=5)
    assert refused("import", "card", str(ROOT / "LICENSE"), data=studio, code=2)
    assert "No such option" in refused("log", "tail", "--nonsense", code=2)
    assert "--count" in refused("log", "tail", "-n", "-1", data=studio, code=2)


def test_a_process_ends_with_the_same_codes(studio: Path, tmp_path: Path) -> None:
    for arguments, data, code in (
        (["log", "tail"], tmp_path / "nowhere", 5), (["log", "nonsense"], studio, 2),
        (["worldline", "fork", "what-if", "-p", "demo"], studio, 4),
    ):
        done = comfyvn(*arguments, data=data)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


def test_a_setting_that_cannot_be_used_is_named(studio: Path) -> None:
    (studio / "comfyvn.toml").write_text("prot = 1")
    assert "Did you mean port?" in refused("log", "tail", data=studio, code=2)


def test_a_log_that_does_not_answer_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYVN_NATS_URL", "nats://s3cr3t@127.0.0.1:9")
    said = refused("log", "tail", data=tmp_path, code=3)
    assert "127.0.0.1:9" in said
    assert "s3cr3t" not in said


def test_errors_are_json_for_scripts(studio: Path) -> None:
    done = console("log", "show", "99", "--json", data=studio)
    problem = json.loads(done.stderr)
    assert done.returncode == 5
    assert problem["error"] == "unknown_position"
    assert problem["remediation"][0]["action"]


def test_a_defect_is_a_sentence_and_its_own_code(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        raise ZeroDivisionError("division by zero")

    with pytest.raises(typer.Exit) as ended:
        cli_console.run(work)
    assert ended.value.exit_code == ExitCode.DEFECT
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert "Traceback" not in said


def test_the_doctor_has_an_exit_code_for_each_verdict(studio: Path) -> None:
    assert told("doctor", data=studio)["verdict"] == "well"
    (studio / "read.db").write_bytes(b"no database at all" * 1000)
    found = told("doctor", data=studio, code=2)
    assert found["verdict"] == "broken"
    assert console("projections", "rebuild", data=studio).returncode == 0
    assert told("doctor", data=studio)["verdict"] == "well"
    studio.chmod(0o755)
    assert told("doctor", data=studio, code=1)["verdict"] == "warning"


def test_files_come_in_from_the_console(studio: Path, tmp_path: Path) -> None:
    folder = ROOT / "services" / "demo" / "cards"
    card = next(iter(sorted(folder.glob("*.json"))))
    taken = told("import", "card", str(card), "--project", "demo", "--greetings", data=studio)
    assert taken["changed"]
    assert not told("import", "card", str(card), "--project", "demo", "--greetings", data=studio)["changed"]
    chat = tmp_path / "talk.jsonl"
    chat.write_text("\n".join(json.dumps(line) for line in (
        {"user_name": "Ada", "character_name": "Mara", "create_date": "2024-05-01"},
        {"name": "Ada", "is_user": True, "mes": "Is the lamp out?"},
        {"name": "Mara", "is_user": False, "mes": "It is."},
    )))
    assert told("import", "chat", str(chat), "--project", "demo", "--dry-run", data=studio)["dry_run"]
    before = told("projections", "list", data=studio)["head"]
    assert told("import", "chat", str(chat), "--project", "demo", data=studio)["position"] == before + 1


def test_a_folder_with_a_bad_file_takes_the_others_in_and_says_no(tmp_path: Path) -> None:
    folder = tmp_path / "art"
    folder.mkdir()
    (folder / "good.txt").write_text("good")
    (folder / "bad.txt").write_text("bad")
    (folder / "bad.txt.asset.json").write_text("{")
    found = told("import", "assets", str(folder), data=tmp_path / "studio", code=1)
    assert {one["path"]: one["outcome"] for one in found["files"]} == {"good.txt": "registered", "bad.txt": "failed"}


def test_processes_are_surveyed_and_what_is_not_parked_cannot_be_run_again(studio: Path) -> None:
    listed = {one["name"]: one for one in told("processes", "list", data=studio)["processes"]}
    assert (listed["previews"]["waiting"], listed["previews"]["parked"]) == (1, [])
    assert listed["exports"]["waiting"] == 0
    assert "no position 1" in refused("processes", "rerun", "previews", "--position", "1", data=studio, code=5)
    assert "no process nope" in refused("processes", "rerun", "nope", data=studio, code=5)


def test_tokens_are_made_listed_and_revoked(tmp_path: Path) -> None:
    data = tmp_path / "studio"
    made = told("token", "create", "--name", "ada", "--scope", "scene:write", "--days", "3", data=data)
    assert made["secret"].startswith("cvn_")
    listing = console("token", "list", "--json", data=data).stdout
    assert json.loads(listing)["tokens"][0]["good"]
    assert made["secret"] not in listing
    assert "already" in refused("token", "create", "--name", "ada", "--scope", "*", data=data, code=4)
    assert "no scope" in refused("token", "create", "--name", "bob", "--scope", "everything", data=data, code=2)
    watcher = told("token", "create", "--name", "watcher", "--scope", "operations:read", data=data)
    assert watcher["scopes"] == ["operations:read"]
    assert told("token", "revoke", "ada", data=data)["revoked"]
    assert [one["good"] for one in told("token", "list", data=data)["tokens"]] == [False, True]
    assert "no token" in refused("token", "revoke", "nobody", data=data, code=5)


def test_a_token_opens_a_door_that_others_can_reach(server_factory: Any, tmp_path: Path) -> None:
    data = tmp_path / "studio"
    secret = told("token", "create", "--name", "ada", "--scope", "*", data=data)["secret"]
    server = server_factory("--host", "0.0.0.0", data=data)
    with server.client() as client:
        assert client.get("/health").status_code == 200
        assert client.get("/status").status_code == 401
        assert client.get("/status", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    assert secret not in server.said()


def test_the_data_folder_may_come_from_the_environment(studio: Path) -> None:
    done = console("log", "tail", env={**os.environ, "COMFYVN_DATA": str(studio)})
    assert "WorldlineForked" in done.stdout


def test_the_demo_takes_its_tour_and_leaves_nothing(tmp_path: Path) -> None:
    done = comfyvn("demo", "--once", "--json", env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    tour = json.loads(done.stdout)
    assert tour["equal"]
    assert len(tour["tables"]) > 20
    assert all(one["live"] == one["rebuilt"] != "" for one in tour["tables"])
    assert list(tmp_path.iterdir()) == []


def test_the_demo_shows_everything_and_goes_on_running(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("w") as file:
        running = subprocess.Popen(
            [sys.executable, "-m", "gateways.cli", "demo", "--data", str(tmp_path / "demo"), "--port", "0"],
            stdout=file, stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "goes on running" in output.read_text() or running.poll() is not None, "the tour's end")
        shown = output.read_text()
        for part in ("The Tide Clerk", "the-dry-can", "saltmere", "policy_blocked", "digests are equal", "curl "):
            assert part in shown, shown
        listed = told("projections", "list", data=tmp_path / "demo")
        assert listed["head"] > 40
    finally:
        running.terminate()
        assert running.wait(60) == 0
    again = console("demo", "--once", "--json", data=tmp_path / "demo")
    assert json.loads(again.stdout)["recorded"] == 0, "a second tour records nothing twice"


def test_a_command_ends_also_when_its_cancellation_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_console, "AGAIN_SECONDS", 0.05)
    lost = []

    async def work() -> None:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if len(lost) == 2:
                    raise
                lost.append("told, and forgotten")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(typer.Exit) as ended:
            cli_console.run(work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.exit_code == cli_console.ExitCode.INTERRUPTED
    assert len(lost) == 2
