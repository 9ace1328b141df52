"""`comfyvn providers` as people type it: no key on the command line, and none anywhere but in the vault."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from consoles import console
from fixtures_studio import comfyvn

KEY = "cli-key-0123456789-abcdefghijkl"

_numbers = count(1)


def new_key() -> str:
    """A key that this process has not met: one that it has met it would hide."""
    return f"{KEY}-{next(_numbers):03}"


@pytest.fixture(autouse=True)
def _configuration_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def asked_at(
    tmp_path: Path, *arguments: str, key: str, run: Callable[..., Any] = console, **given: Any
) -> tuple[int, str]:
    """Exit code and everything said."""
    done = run("providers", *arguments, data=tmp_path / "studio", **given)
    assert key not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_key_is_connected_listed_rotated_and_removed(tmp_path: Path) -> None:
    # Each time a process of its own, which knows no more of the key than it has read.
    asked = partial(asked_at, tmp_path, key=KEY, run=comfyvn)
    code, said = asked("connect", "provider_fal", "--unverified", "--stdin", "--json", input=KEY + "\n")
    assert code == 0, said
    first = json.loads(said)["key"]["fingerprint"]
    environment = {**os.environ, "FAL": KEY + "-2"}
    code, said = asked("connect", "provider_fal", "--unverified", "--env", "api_key=FAL", env=environment)
    assert (code, "with the new key" in said, first in said) == (0, True, False)
    code, said = asked("list", "--json")
    listed = {one["id"]: one for one in json.loads(said)["items"]}
    assert (listed["provider_fal"]["connected"], listed["provider_fal"]["key"]["verified"]) == (True, False)
    assert listed["provider_fal"]["key"]["connected_by"] == "console"
    assert asked("list")[0] == 0
    vault = {place: place.read_bytes() for place in tmp_path.rglob("vault*") if place.is_file()}
    assert vault
    foretold = console("providers", "rotate-key", "--dry-run", "--json", data=tmp_path / "studio")
    assert (json.loads(foretold.stdout)["keys"], json.loads(foretold.stdout)["dry_run"]) == (1, True)
    foretold = console("providers", "remove", "provider_fal", "--dry-run", data=tmp_path / "studio")
    assert (foretold.returncode, "would be forgotten" in " ".join(foretold.stdout.split())) == (0, True)
    assert {place: place.read_bytes() for place in vault} == vault
    code, said = asked("rotate-key", "--json")
    assert code == 0, said
    assert asked("remove", "provider_fal", "--reason", "done")[0] == 0
    assert asked("remove", "provider_fal")[0] == 5
    for place in tmp_path.rglob("*"):
        if place.is_file():
            assert KEY.encode() not in place.read_bytes(), place


def test_a_passphrase_takes_the_place_of_the_key_file(tmp_path: Path) -> None:
    key = new_key()
    asked = partial(asked_at, tmp_path, key=key)
    assert asked("connect", "provider_fal", "--unverified", "--stdin", input=key)[0] == 0
    words = "seven swans a-swimming"
    assert asked("rotate-key", "--passphrase", input="short\n")[0] == 4
    code, said = asked("rotate-key", "--passphrase", input=words + "\n")
    assert (code, words in said) == (0, False)
    code, said = asked("list", "--json")
    assert json.loads(said)["vault"]["trouble"].startswith("The vault cannot be opened.")
    assert console("doctor", "--json", data=tmp_path / "studio").returncode == 2
    environment = {**os.environ, "COMFYVN_VAULT_PASSPHRASE": words}
    code, said = asked("list", "--json", env=environment)
    assert json.loads(said)["vault"] == {
        "exists": True, "lock": "passphrase", "key_id": json.loads(said)["vault"]["key_id"], "keys": 1, "trouble": "",
    }
    done = comfyvn("doctor", "--bundle", "-", data=tmp_path / "studio", env=environment)
    assert json.loads(done.stdout)["format"] == "comfyvn.diagnostics.v1"
    assert words not in done.stdout + done.stderr
    assert key not in done.stdout + done.stderr


@pytest.mark.parametrize(("arguments", "given", "code"), [
    (["connect", "nobody", "--stdin"], KEY, 5),
    (["connect", "provider_fal"], KEY, 2),
    (["connect", "provider_fal", "--env", KEY], "", 2),
    (["connect", "provider_fal", "--env", "api_key=NOT_SET_ANYWHERE"], "", 2),
    (["connect", "provider_kling", "--stdin"], KEY, 2),
    (["connect", "provider_fal", "--stdin"], "", 2),
    (["connect", "provider_fal", "--stdin"], '{"api_key": "' + KEY, 2),
    (["connect", "provider_fal", "--stdin"], json.dumps({"api_key": KEY, "more": KEY}), 2),
    (["test", "provider_fal"], "", 1),
])
def test_what_cannot_be_used_is_told_without_the_key(
    tmp_path: Path, arguments: list[str], given: str, code: int
) -> None:
    key = new_key()
    words = [word.replace(KEY, key) for word in arguments]
    found, said = asked_at(tmp_path, *words, key=key, input=given.replace(KEY, key))
    assert found == code, said


def test_a_passphrase_in_the_settings_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "studio").mkdir(mode=0o700)
    (tmp_path / "studio" / "comfyvn.toml").write_text('vault_passphrase = "seven swans"\n')
    code, said = asked_at(tmp_path, "list", key=KEY)
    assert (code, "seven swans" in said) == (2, False)
