"""The console asks a project's policy, sets its rules and handlings, and says what is wrong in a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from consoles import held
from typer.testing import CliRunner, Result

from gateways import cli_commands, cli_policy
from gateways.cli_console import ExitCode
from gateways.cli_policy_words import condition, thing, value


def console(data: Path, *arguments: str, project: str = "demo", stdin: str | None = None) -> Result:
    """A command in this process, which saves its start; without its neighbours, which take longer to name."""
    return CliRunner().invoke(
        cli_policy.app, [*arguments, "--project", project, "--data", str(data)], prog_name="comfyvn policy",
        input=stdin)


def told(data: Path, *arguments: str, code: ExitCode = ExitCode.OK, **more: Any) -> Any:
    done = console(data, *arguments, "--json", **more)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with held(tmp_path_factory.mktemp("policy") / "studio") as folder:
        yield folder


RULE = ("set", "only-ours", "--action", "export", "--about", "asset", "--when", 'origin is_not "drawn by us"',
        "--level", "block", "--message", "Only what we drew is shipped.")
FOUND = ("export.renpy", "--part", 'asset:a94a licence=CC-BY-4.0 origin="found it"')
DRAWN = ("export.renpy", "--part", 'asset:a94a licence=CC-BY-4.0 origin="Drawn by us"')


def test_a_rule_is_set_holds_and_is_taken_away(data: Path) -> None:
    assert told(data, *RULE, "--dry-run") | {"position": 0} == {
        "ok": True, "dry_run": True, "changed": True, "project": "demo", "position": 0}
    assert told(data, "rules", "--own")["items"] == []
    assert told(data, *RULE)["changed"] is True
    assert told(data, *RULE)["changed"] is False
    (rule,) = told(data, "rules", "--own", "--action", "export.renpy")["items"]
    assert (rule["rule_id"], rule["level"], rule["remedy"]["text"]) == (
        "only-ours", "block", "Only what we drew is shipped.")
    assert told(data, "rules", "--own", "--action", "import")["items"] == []
    assert len(told(data, "rules")["items"]) > 10
    assert "only-ours" in console(data, "rules").output

    refused = told(data, "check", *FOUND, code=ExitCode.NO)
    assert (refused["allow"], refused["dry_run"], refused["blocked"], refused["requires_ack"]) == (
        False, True, True, True)
    assert refused["findings"][0]["target"] == "asset a94a"
    shown = console(data, "check", *FOUND)
    assert shown.exit_code == ExitCode.NO
    for word in ("asset a94a", "Only what we drew is shipped.", "would not be allowed", "policy ack"):
        assert word in shown.output
    assert told(data, "audit")["items"] == [], "checking records nothing"

    assert told(data, "ack", "--user", "ada", "--dry-run")["changed"] is True
    assert told(data, "show")["requires_ack"] is True
    assert told(data, "ack", "--user", "ada", "--notes", "read")["acknowledgement"]["user"] == "ada"
    assert told(data, "check", *DRAWN)["allow"] is True
    assert told(data, "check", *FOUND, code=ExitCode.NO)["requires_ack"] is False
    status = told(data, "show")
    assert (status["acknowledged_by"], [one["rule_id"] for one in status["own_rules"]]) == (["ada"], ["only-ours"])
    words = console(data, "show").output
    for word in ("acknowledged by ada", "1 of its own", "You are responsible"):
        assert word in words

    assert told(data, "remove", "only-ours", "--dry-run")["changed"] is True
    assert told(data, "remove", "only-ours")["changed"] is True
    assert console(data, "remove", "only-ours").exit_code == ExitCode.NOT_FOUND
    assert told(data, "check", *FOUND)["allow"] is True
    assert told(data, "revoke", "--user", "ada")["changed"] is True
    assert console(data, "revoke", "--user", "ada").exit_code == ExitCode.NOT_FOUND


def test_a_decision_is_recorded_and_a_no_is_an_exit_code(data: Path) -> None:
    assert told(data, "decide", "publish.itch", "--dry-run", project="shop", code=ExitCode.NO)["allow"] is False
    assert told(data, "audit", project="shop")["items"] == []
    no = told(data, "decide", "publish.itch", "--fact", "commercial=yes", project="shop", code=ExitCode.NO)
    assert (no["enforced"], no["allow"], no["requires_ack"]) == (True, False, True)
    told(data, "ack", project="shop")
    yes = told(data, "decide", "publish.itch", "--fact", "commercial=no", project="shop")
    assert (yes["enforced"], yes["allow"]) == (True, True)
    items = told(data, "audit", project="shop")["items"]
    assert [one["decision_id"] for one in items] == [yes["decision_id"], no["decision_id"]]
    assert [one["decision_id"] for one in told(data, "audit", "--refused", project="shop")["items"]] == [
        no["decision_id"]]
    assert told(data, "audit", "--action", "export", project="shop")["items"] == []
    assert yes["decision_id"] in console(data, "audit", "--allowed", project="shop").output
    assert "is allowed" in console(data, "decide", "publish.itch", project="shop").output


def test_handlings_are_set_listed_and_taken_away(data: Path, tmp_path: Path) -> None:
    leaks = ("handlings", "set", "nothing-leaks", "--what", "metadata", "--then", "strip", "--action", "export",
             "--action", "download", "--when", "generated is yes", "--reason", "no prompts in what we ship")
    assert told(data, *leaks, "--dry-run")["changed"] is True
    assert told(data, *leaks)["changed"] is True
    assert told(data, *leaks)["changed"] is False
    document = tmp_path / "handling.json"
    document.write_text(json.dumps({"what": "prompt", "then": "keep", "actions": ["generate"]}))
    assert told(data, "handlings", "set", "prompts", "--file", str(document))["changed"] is True
    found = told(data, "handlings", "list")
    assert [(one["handling_id"], one["what"], one["then"]) for one in found["items"]] == [
        ("nothing-leaks", "metadata", "strip"), ("prompts", "prompt", "keep")]
    assert found["items"][0]["when"] == [{"fact": "generated", "op": "is", "values": [True]}]
    words = console(data, "handlings", "list").output
    for word in ("nothing-leaks", "metadata", "strip", "generated", "Otherwise"):
        assert word in words
    assert told(data, "handlings", "remove", "prompts", "--dry-run")["changed"] is True
    assert told(data, "handlings", "remove", "prompts")["changed"] is True
    assert console(data, "handlings", "remove", "prompts").exit_code == ExitCode.NOT_FOUND


def test_a_rule_comes_from_standard_input(data: Path) -> None:
    rule = {"actions": ["publish"], "when": [{"fact": "rating", "op": "missing"}], "level": "info",
            "message": "No rating.", "remedy": {"text": "Rate it.", "action": "rate"}}
    assert told(data, "set", "rated", "--file", "-", stdin=json.dumps(rule))["changed"] is True
    assert told(data, "remove", "rated")["changed"] is True


@pytest.mark.parametrize("arguments", [
    ("set", "x", "--action", "export", "--when", "origin", "--message", "m"),
    ("set", "x", "--action", "export", "--when", 'origin is "a', "--message", "m"),
    ("set", "x", "--action", "cook", "--when", "origin missing", "--message", "m"),
    ("set", "x", "--action", "export", "--when", "origin sings", "--message", "m"),
    ("set", "x", "--action", "export", "--when", "origin missing", "--message", "m", "--level", "loud"),
    ("set", "x", "--action", "export", "--when", "origin missing"),
    ("set", "x", "--file", "/nowhere/rule.json"),
    ("check", "cook"), ("check", "export", "--fact", "rating"), ("check", "export", "--fact", "ratnig=T"),
    ("check", "export", "--part", ""), ("check", "export", "--kind", "A b"),
    ("check", "export", "--fact", "rating=" + "x" * 600), ("check", "export", "--override", "x"),
    ("handlings", "set", "x", "--what", "dreams", "--then", "keep", "--action", "export"),
    ("handlings", "set", "x", "--what", "prompt", "--then", "keep", "--action", "export", "--when", "mood is good"),
    ("rules", "--action", "cook"), ("audit", "--action", "Ä"), ("ack", "--user", ""),
])
def test_what_does_not_fit_is_told_in_a_sentence(data: Path, arguments: tuple[str, ...]) -> None:
    done = console(data, *arguments)
    assert done.exit_code == ExitCode.USAGE, done.output
    assert "Traceback" not in done.output
    assert done.output.strip()


def test_it_is_one_of_the_commands() -> None:
    done = CliRunner().invoke(cli_commands.app, ["policy", "--help"], prog_name="comfyvn")
    assert done.exit_code == 0
    for name in ("show", "rules", "set", "remove", "ack", "revoke", "check", "decide", "audit", "handlings"):
        assert name in done.output


def test_a_built_in_rule_is_not_changed(data: Path) -> None:
    (first, *_) = told(data, "rules")["items"]
    assert console(data, "remove", first["rule_id"]).exit_code == ExitCode.REFUSED


@pytest.mark.parametrize(("written", "meant"), [
    ("yes", True), ("No", False), ("true", True), ("7", 7), ("-3", -3), ("7.5", "7.5"), ('"7"', "7"), ("T", "T"),
    ('["a", "b"]', ["a", "b"]), ("[broken", "[broken"), ("", ""), ("9" * 30, "9" * 30), ("-", "-"),
])
def test_facts_are_written_as_people_write_them(written: str, meant: Any) -> None:
    assert value(written) == meant


def test_things_and_conditions_are_words() -> None:
    assert thing('asset:a94a licence="All rights" nsfw=yes') == {
        "kind": "asset", "id": "a94a", "facts": {"licence": "All rights", "nsfw": True}}
    assert condition("licence is_not MIT 'All rights'") == {
        "fact": "licence", "op": "is_not", "values": ("MIT", "All rights")}
