"""The vault on the disk: sealed, elsewhere opened, rotated, raced, tampered with, and never in plain sight."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.files.vault import FileVault
from adapters.files.vault_keys import default_key_file
from domain.errors import Refused, Unavailable

KEY = {"api_key": "k-0123456789-abcdefghij"}
OTHER = {"access_key": "access-abcdefgh", "secret_key": "secret-ijklmnop"}


def vault(folder: Path, passphrase: str | None = None) -> FileVault:
    return FileVault(folder / "data" / "vault.json", folder / "config" / "vault.keys", lambda: passphrase)


def refused(opened: FileVault, code: str, ask: Callable[[FileVault], Any] = lambda one: one.get("fal")) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        ask(opened)
    assert caught.value.code == code
    assert caught.value.remediation
    told = f"{caught.value.message} {caught.value.detail} {caught.value.remediation} {caught.value.__cause__}"
    for secret in (*KEY.values(), *OTHER.values()):
        assert secret not in told
    return caught.value


@pytest.mark.parametrize("passphrase", [None, "seven swans a-swimming"])
def test_what_is_put_is_there_for_everybody_who_has_the_key(tmp_path: Path, passphrase: str | None) -> None:
    one = vault(tmp_path, passphrase)
    assert one.get("fal") is None
    assert dict(one.all()) == {}
    assert one.remove("fal") is None
    assert not one.place.exists(), "looking makes nothing"
    kept = one.put("fal", KEY, "2026-01-02T03:04:05Z")
    one.put("kling", OTHER, "2026-01-02T03:04:06Z")
    again = vault(tmp_path, passphrase)
    assert again.get("fal") == KEY
    assert again.get("kling") == OTHER
    assert again.all()["fal"] == kept
    assert again.all()["kling"].fields == ("access_key", "secret_key")
    assert one.put("fal", {"api_key": "another-key"}, "t").fingerprint != kept.fingerprint
    assert again.get("fal") == {"api_key": "another-key"}, "what another has stored is seen"
    assert again.remove("fal") is not None
    assert one.get("fal") is None
    assert one.remove("fal") is None
    assert one.state().entries == 1


def test_nothing_lies_in_plain_sight(tmp_path: Path) -> None:
    one = vault(tmp_path)
    one.put("provider_fal", KEY, "t")
    one.put("provider_kling", OTHER, "t")
    master = one.key_file.read_text().split()[-1]
    for place in tmp_path.rglob("*"):
        if place.is_file():
            raw = place.read_bytes()
            assert stat.S_IMODE(place.stat().st_mode) == 0o600, place
            for secret in (*KEY.values(), *OTHER.values(), "provider_fal", "api_key"):
                assert secret.encode() not in raw
                assert base64.b64encode(secret.encode())[:-4] not in raw
    for place in (tmp_path / "data").rglob("*"):
        assert master not in place.read_text(), "the key lies outside the folder"


def test_a_fingerprint_is_the_same_for_the_same_key_in_one_vault_alone(tmp_path: Path) -> None:
    one, other = vault(tmp_path / "a"), vault(tmp_path / "b")
    first = one.fingerprint("fal", KEY)
    assert first == one.put("fal", KEY, "t").fingerprint == one.fingerprint("fal", dict(reversed(KEY.items())))
    assert first != one.fingerprint("kling", KEY)
    assert first != other.fingerprint("fal", KEY)
    one.rotate()
    assert one.fingerprint("fal", KEY) == first, "rotating the master key is no new connection"
    assert len(first) == 12


def test_without_its_key_a_vault_says_what_is_missing(tmp_path: Path) -> None:
    one = vault(tmp_path)
    one.put("fal", KEY, "t")
    kept = one.key_file.read_bytes()
    one.key_file.unlink()
    error = refused(vault(tmp_path), "vault_locked")
    assert one.state().key_id in error.message
    assert str(one.key_file) in error.message
    refused(vault(tmp_path), "vault_locked", lambda opened: opened.put("fal", OTHER, "t"))
    assert vault(tmp_path).state().trouble
    one.key_file.write_bytes(kept)
    one.key_file.chmod(0o600)
    assert vault(tmp_path).get("fal") == KEY, "a refused write has changed nothing"


def test_a_wrong_passphrase_is_told_apart_from_damage(tmp_path: Path) -> None:
    vault(tmp_path, "seven swans a-swimming").put("fal", KEY, "t")
    error = refused(vault(tmp_path, "six geese a-laying"), "vault_locked")
    assert "passphrase" in error.message
    assert "geese" not in error.message
    assert "none was given" in refused(vault(tmp_path), "vault_locked").message


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_changed_byte_is_noticed(tmp_path: Path, data: Any) -> None:
    place = tmp_path / "data" / "vault.json"
    place.unlink(missing_ok=True)
    one = vault(tmp_path)
    one.put("fal", KEY, "t")
    raw = bytearray(place.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    place.write_bytes(raw)
    noticed = None
    try:
        found = vault(tmp_path).get("fal")
    except Unavailable as error:
        noticed = error.code
    if noticed is None:
        assert found == KEY
        assert chr(raw[at]).isspace(), "only white space of the JSON around it may change"
    else:
        assert noticed in ("vault_damaged", "vault_locked")


@pytest.mark.parametrize("content", [
    b"", b"{}", b"[]", b"null", b"\xff\xfe", b"x" * (2**20 + 1), b'{"format": "comfyvn-vault-1"}',
])
def test_a_file_that_is_no_vault_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "data" / "vault.json"
    place.parent.mkdir()
    place.write_bytes(content)
    refused(vault(tmp_path), "vault_damaged")
    refused(vault(tmp_path), "vault_damaged", lambda one: one.put("fal", KEY, "t"))
    assert place.read_bytes() == content


def test_a_header_cannot_ask_for_all_memory(tmp_path: Path) -> None:
    one = vault(tmp_path, "seven swans a-swimming")
    one.put("fal", KEY, "t")
    told = json.loads(one.place.read_text())
    for change in ({"n": 2**30}, {"r": 1024}, {"p": 99}, {"n": "x"}, {"salt": ""}, {"lock": "none"}, {"nonce": "AAAA"}):
        one.place.write_text(json.dumps(told | change))
        refused(vault(tmp_path, "seven swans a-swimming"), "vault_damaged")


def test_a_piece_of_another_vault_does_not_open(tmp_path: Path) -> None:
    """Two vaults under one shared key: neither the sealed part nor the header can be carried over."""
    keys = tmp_path / "config" / "vault.keys"
    keys.parent.mkdir()
    keys.write_text("# one key for every vault\n" + base64.b64encode(os.urandom(32)).decode() + "\n")
    keys.chmod(0o600)
    one, other = FileVault(tmp_path / "a" / "vault.json", keys), FileVault(tmp_path / "b" / "vault.json", keys)
    one.put("fal", KEY, "t")
    other.put("fal", OTHER, "t")
    mine, theirs = json.loads(one.place.read_text()), json.loads(other.place.read_text())
    assert mine["key"] == theirs["key"]
    one.place.write_text(json.dumps(mine | {"nonce": theirs["nonce"], "sealed": theirs["sealed"]}))
    refused(FileVault(one.place, keys), "vault_damaged")


@pytest.mark.parametrize("way", [("key", "key"), ("key", "pass"), ("pass", "key"), ("pass", "pass")])
def test_rotating_makes_older_copies_worthless(tmp_path: Path, way: tuple[str, str]) -> None:
    before = "seven swans a-swimming" if way[0] == "pass" else None
    after = "six geese a-laying" if way[1] == "pass" else None
    one = vault(tmp_path, before)
    one.put("fal", KEY, "t")
    copy, key_id = one.place.read_bytes(), one.state().key_id
    neighbour = FileVault(tmp_path / "neighbour" / "vault.json", one.key_file)
    neighbour.put("fal", OTHER, "t")
    assert one.rotate(after) != key_id
    assert vault(tmp_path, after).get("fal") == KEY
    assert neighbour.get("fal") == OTHER, "others in the same key file are left alone"
    one.place.write_bytes(copy)
    refused(vault(tmp_path, after), "vault_locked")


def test_a_weak_passphrase_is_refused(tmp_path: Path) -> None:
    one = vault(tmp_path)
    one.put("fal", KEY, "t")
    with pytest.raises(Refused):
        one.rotate("short")
    assert vault(tmp_path).get("fal") == KEY


def test_an_interrupted_rotation_leaves_a_vault_that_opens(tmp_path: Path) -> None:
    """The new master key is written before the vault and the old one dropped after it: both orders open."""
    one = vault(tmp_path)
    one.put("fal", KEY, "t")
    before = one.place.read_bytes(), one.key_file.read_text()
    one.rotate()
    after = one.key_file.read_text()
    one.key_file.write_text(before[1] + after)
    assert vault(tmp_path).get("fal") == KEY, "ended before the old key was dropped"
    one.place.write_bytes(before[0])
    assert vault(tmp_path).get("fal") == KEY, "ended before the vault was replaced"


def test_a_key_file_that_others_read_or_that_lies_inside_is_refused(tmp_path: Path) -> None:
    one = vault(tmp_path)
    one.put("fal", KEY, "t")
    one.key_file.chmod(0o644)
    assert "chmod 600" in refused(vault(tmp_path), "vault_locked").remediation[0].text
    inside = FileVault(tmp_path / "data" / "other.json", tmp_path / "data" / "keys" / "vault.keys")
    refused(inside, "vault_locked", lambda opened: opened.put("fal", KEY, "t"))
    link = tmp_path / "link.keys"
    link.symlink_to(tmp_path / "data" / "vault.keys")
    refused(FileVault(one.place, link), "vault_locked")


@pytest.mark.parametrize("line", ["nonsense", "a b", "a b AAAA", "a b c d", "=" * 44])
def test_a_key_file_with_a_line_that_is_no_key_is_refused_and_kept(tmp_path: Path, line: str) -> None:
    one = vault(tmp_path)
    one.put("fal", KEY, "t")
    text = one.key_file.read_text() + line + "\n"
    one.key_file.write_text(text)
    refused(vault(tmp_path), "vault_locked")
    refused(vault(tmp_path), "vault_locked", lambda opened: opened.rotate())
    assert one.key_file.read_text() == text


def _puts(folder: str, number: int) -> None:
    for turn in range(5):
        vault(Path(folder)).put(f"p{number}", {"api_key": f"key-{number}-{turn}-abcdef"}, "t")


def test_several_processes_lose_nothing_of_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_puts, args=(str(tmp_path), number)) for number in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    one = vault(tmp_path)
    assert {name: dict(one.get(name) or {}) for name in one.all()} == {
        f"p{number}": {"api_key": f"key-{number}-4-abcdef"} for number in range(4)
    }
    assert len(one.key_file.read_text().splitlines()) == 1


def test_the_default_key_file_lies_in_the_users_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_key_file() == tmp_path / "comfyvn" / "vault.keys"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert default_key_file() == Path.home() / ".config" / "comfyvn" / "vault.keys"
