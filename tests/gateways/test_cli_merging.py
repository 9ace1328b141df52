"""The console compares worldlines and merges them: conflicts, a file of resolutions, previews that touch nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures_studio import RunningServer
from typer.testing import CliRunner, Result

from gateways import cli_commands
from gateways.cli_console import ExitCode

NODES = [{"id": "n1", "text": "One.", "choices": [{"target": "n2"}]}, {"id": "n2", "text": "Two.", "end": True}]


def _written(running: RunningServer) -> None:
    """Scenes with a timeline; ``calm`` changes nothing that main does, ``storm`` does, ``empty`` nothing at all."""
    told: list[tuple[str, str, dict[str, Any]]] = [
        *(("main", "CreateScene", {"id": name, "title": name.title(), "start": "n1", "nodes": NODES})
          for name in ("dawn", "noon", "dusk")),
        ("main", "CreateTimeline", {"id": "main", "title": "Day", "entries": [{"scene": "dawn"}]}),
        *(("main", "ForkWorldline", {"worldline_id": name}) for name in ("empty", "calm", "storm")),
        ("calm", "EditNode", {"scene_id": "noon", "node_id": "n2", "text": "Calm [sea]."}),
        ("storm", "EditNode", {"scene_id": "dawn", "node_id": "n1", "text": "Storm."}),
        ("storm", "DeleteScene", {"scene_id": "dusk"}),
        ("main", "EditNode", {"scene_id": "dawn", "node_id": "n1", "text": "Light."}),
        ("main", "AddTimelineEntry", {"timeline_id": "main", "entry": {"scene": "dusk"}}),
    ]
    with running.client() as client:
        for line, name, fields in told:
            where = {"project": "lines", "worldline": line}
            client.post(f"/api/commands/{name}", params=where, json=fields).raise_for_status()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that one server has open: a command joins it, instead of starting a log of its own."""
    running = RunningServer(tmp_path_factory.mktemp("lines") / "studio").start()
    try:
        _written(running)
        yield running.data
    finally:
        running.stop()


def worldline(*arguments: str, data: Path) -> Result:
    """A command in this process, which saves its start."""
    command = ["worldline", *arguments, "--project", "lines", "--data", str(data)]
    return CliRunner().invoke(cli_commands.app, command, prog_name="comfyvn")


def told(*arguments: str, data: Path, code: ExitCode = ExitCode.OK) -> Any:
    done = worldline(*arguments, "--json", data=data)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout or done.stderr)


def test_what_differs_is_told_as_a_table_and_as_data(data: Path) -> None:
    answer = told("diff", "main", "calm", data=data, code=ExitCode.NO)
    paths = {(one["id"], *change["path"]) for one in answer["documents"] for change in one["changes"]}
    assert ("noon", "nodes", "n2", "text") in paths
    shown = worldline("diff", "main", "calm", data=data)
    assert shown.exit_code == ExitCode.NO
    assert "scene noon" in shown.stdout
    assert "Calm [sea]." in shown.stdout, "brackets are text"
    one = told("diff", "main", "storm", "--scene", "dawn", data=data, code=ExitCode.NO)
    assert {each["id"] for each in one["documents"]} == {"dawn"}
    assert told("diff", "main", "main", data=data)["same"] is True
    assert "say the same" in worldline("diff", "calm", "calm", data=data).stdout
    assert worldline("diff", "main", "nowhere", data=data).exit_code == ExitCode.NOT_FOUND
    assert worldline("diff", "main", "../x", data=data).exit_code == ExitCode.USAGE
    assert worldline("diff", "main", "calm", "--source-at", "99999", data=data).exit_code == ExitCode.USAGE


def test_a_merge_is_foretold_then_made_once_and_then_nothing_is_left(data: Path) -> None:
    dry = told("merge", "calm", "--dry-run", data=data)
    assert (dry["applied"], dry["dry_run"], dry["counts"]["scene"]["changed"]) == (False, True, 1)
    shown = worldline("merge", "calm", "--dry-run", data=data)
    assert "Would merge calm into main" in shown.stdout
    made = told("merge", "calm", "--key", "once", data=data)
    assert (made["applied"], made["repeated"]) == (True, False)
    again = told("merge", "calm", "--key", "once", data=data)
    assert (again["applied"], again["repeated"], again["at"]) == (True, True, made["at"])
    assert told("merge", "calm", data=data)["nothing_to_merge"] is True
    assert "nothing to merge" in worldline("merge", "empty", data=data).stdout


def test_conflicts_are_listed_decided_in_a_file_and_applied(data: Path, tmp_path: Path) -> None:
    refused = told("merge", "storm", data=data, code=ExitCode.REFUSED)
    assert refused["error"] == "merge_conflicts"
    conflicts = {one["address"]: one for one in refused["detail"]["conflicts"]}
    assert {address: one["kind"] for address, one in conflicts.items()} == {
        "scene/dawn/nodes/n1/text": "both_changed", "scene/dusk": "target_gone",
    }
    shown = worldline("merge", "storm", data=data)
    assert shown.exit_code == ExitCode.REFUSED
    assert "Undecided" in shown.output
    assert "target_gone" in shown.output

    file = tmp_path / "decisions.json"
    wrong = (
        ("[not json", ExitCode.USAGE), ('{"c000": "ours"}', ExitCode.USAGE), ('{"scene/dusk": "mine"}', ExitCode.USAGE),
        ("3", ExitCode.USAGE),
    )
    for text, code in wrong:
        file.write_text(text)
        done = worldline("merge", "storm", "--resolve", str(file), data=data)
        assert done.exit_code == code, (text, done.output)
    assert worldline("merge", "storm", "--resolve", str(tmp_path / "none"), data=data).exit_code == ExitCode.USAGE
    assert worldline("merge", "storm", "--ours", "--theirs", data=data).exit_code == ExitCode.USAGE
    assert worldline("merge", "storm", "--into", "storm", data=data).exit_code != ExitCode.OK

    file.write_text(json.dumps({conflicts["scene/dusk"]["id"]: "ours"}))
    (left,) = told("merge", "storm", "--resolve", str(file), data=data, code=ExitCode.REFUSED)["detail"]["conflicts"]
    assert left["address"] == "scene/dawn/nodes/n1/text"
    file.write_text(json.dumps({conflicts["scene/dusk"]["id"]: "ours", left["address"]: {"value": "By hand."}}))
    dry = told("merge", "storm", "--resolve", str(file), "--dry-run", data=data)
    assert {one["take"] for one in dry["settled"]} == {"ours", "value"}
    made = told("merge", "storm", "--resolve", str(file), data=data)
    assert made["applied"]
    assert {one["address"] for one in made["resolutions"]} == set(conflicts)
    after = told("diff", "storm", "main", "--scene", "dawn", data=data, code=ExitCode.NO)
    (document,) = after["documents"]
    assert [one["after"] for one in document["changes"]] == ["By hand."]
    assert told("merge", "storm", data=data)["nothing_to_merge"] is True
