"""Where secrets are kept: one suite for every adapter. What the vault on the disk promises beyond it: test_vault.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.files.vault import FileVault
from adapters.memory.secrets import MemorySecrets
from domain.errors import Refused
from domain.ports.secrets import SecretStore

KEY = {"api_key": "k-0123456789-abcdefghij"}
OTHER = {"access_key": "access-abcdefgh", "secret_key": "secret-ijklmnop"}
SINCE = "2026-01-02T03:04:05Z"
KINDS = ("memory", "key file", "passphrase")


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], SecretStore]:
    """Each call makes another, empty store."""
    count = 0

    def made() -> SecretStore:
        nonlocal count
        count += 1
        if request.param == "memory":
            return MemorySecrets()
        folder = tmp_path / str(count)
        told = "seven swans a-swimming" if request.param == "passphrase" else None
        return FileVault(folder / "data" / "vault.json", folder / "config" / "vault.keys", lambda: told)

    return made


@pytest.fixture
def store(make: Callable[[], SecretStore]) -> SecretStore:
    return make()


def test_looking_makes_nothing(store: SecretStore) -> None:
    assert store.get("fal") is None
    assert dict(store.all()) == {}
    assert store.remove("fal") is None
    state = store.state()
    assert (state.exists, state.entries, state.trouble) == (False, 0, "")


def test_what_is_put_is_there_until_it_is_removed(store: SecretStore) -> None:
    kept = store.put("fal", KEY, SINCE)
    assert (kept.fields, kept.since) == (("api_key",), SINCE)
    store.put("kling", OTHER, SINCE)
    assert store.get("fal") == KEY
    assert store.get("kling") == OTHER
    assert store.all()["fal"] == kept
    assert list(store.all()) == ["fal", "kling"]
    assert store.all()["kling"].fields == ("access_key", "secret_key")
    state = store.state()
    assert (state.exists, state.entries, state.trouble) == (True, 2, "")
    assert state.key_id
    assert store.remove("fal") == kept
    assert store.get("fal") is None
    assert store.remove("fal") is None
    assert store.state().entries == 1


def test_putting_again_replaces_the_whole(store: SecretStore) -> None:
    first = store.put("kling", OTHER, SINCE)
    second = store.put("kling", KEY, "later")
    assert store.get("kling") == KEY
    assert (second.fields, second.since) == (("api_key",), "later")
    assert second.fingerprint != first.fingerprint
    assert store.put("kling", KEY, "later") == second


def test_what_is_handed_out_is_a_copy(store: SecretStore) -> None:
    given_ = dict(KEY)
    store.put("fal", given_, SINCE)
    given_["api_key"] = "changed"
    found = store.get("fal")
    assert isinstance(found, dict)
    found["api_key"] = "changed"
    assert store.get("fal") == KEY


def test_nothing_that_is_told_holds_a_secret(store: SecretStore) -> None:
    told = [store.put("fal", KEY, SINCE), store.put("kling", OTHER, SINCE)]
    said = f"{told} {store.all()} {store.state()} {store!r} {store} {store.remove('fal')}"
    for secret in (*KEY.values(), *OTHER.values()):
        assert secret not in said


def test_a_fingerprint_is_that_of_one_secret_in_one_store(make: Callable[[], SecretStore]) -> None:
    one, other = make(), make()
    first = one.fingerprint("kling", OTHER)
    assert first == one.put("kling", OTHER, SINCE).fingerprint
    assert first == one.fingerprint("kling", dict(reversed(OTHER.items())))
    assert first != one.fingerprint("fal", OTHER)
    assert first != one.fingerprint("kling", {**OTHER, "secret_key": "another-secret"})
    assert first != other.fingerprint("kling", OTHER)
    assert len(first) == 12


def test_rotating_keeps_the_secrets_under_another_key(store: SecretStore) -> None:
    kept = store.put("fal", KEY, SINCE)
    before = store.state()
    if before.lock == "passphrase":
        rotated = store.rotate()
        assert store.state().lock == "key_file"
    else:
        rotated = store.rotate()
    assert rotated == store.state().key_id != before.key_id
    assert store.get("fal") == KEY
    assert store.all()["fal"] == kept


def test_a_weak_passphrase_is_refused_and_changes_nothing(store: SecretStore) -> None:
    store.put("fal", KEY, SINCE)
    before = store.state()
    with pytest.raises(Refused) as caught:
        store.rotate("short")
    assert caught.value.remediation
    assert store.state() == before
    assert store.get("fal") == KEY


def test_there_are_only_so_many(store: SecretStore) -> None:
    if store.state().lock == "passphrase":
        pytest.skip("a passphrase is stretched at each writing: the file with a key shows the same")
    for number in range(200):
        store.put(f"p{number}", KEY, SINCE)
    with pytest.raises(Refused) as caught:
        store.put("one-more", KEY, SINCE)
    assert caught.value.code == "vault_full"
    store.put("p7", OTHER, SINCE)
    assert store.state().entries == 200


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=200), max_size=5),
       name=st.text(max_size=40))
def test_any_text_comes_back_as_it_was(store: SecretStore, values: dict[str, str], name: str) -> None:
    store.put(name, values, SINCE)
    assert store.get(name) == values
    store.remove(name)
