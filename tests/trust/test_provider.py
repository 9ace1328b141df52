"""Connections of providers: tried, sealed, recorded, rotated, forgotten; and the key is nowhere else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from behaviour import ASKED, given
from door import Door, door, run
from engines.keyed import Keyed
from hypothesis import given as drawn
from hypothesis import strategies as st

from commands.trust.provider import RecordConnection, RecordDisconnection
from domain.errors import ComfyVNError, Invalid, NotFound, Unavailable
from domain.studio.fault import CODES, fault
from domain.trust.provider import (
    CONTEXT,
    Connected,
    ProviderConnected,
    ProviderDisconnected,
    ProviderKeyRotated,
    ProviderVerified,
    Unconnected,
)
from services.access import TokenBook
from services.provider_remedies import Doing, remedies, unanswered
from services.providers import PROVIDERS, Providers, checked_key
from services.redaction import SECRETS
from services.registry import REGISTRY
from services.studio import Asker

KEY = "good-key-0123456789-abcdefghijkl"
NEXT = "next-key-9876543210-zyxwvutsrqpo"
BAD = "evil-key-5555555555-mmmmmmmmmmmm"

CONNECTED = ProviderConnected(
    provider_id="provider_fal", fields=("api_key",), fingerprint="0123456789ab", verified=True,
    connected_by=ASKED.actor, connected_at=ASKED.time,
)
CONNECT = RecordConnection(
    provider_id="provider_fal", fields=("api_key",), fingerprint="0123456789ab", verified=True
)


# --- what is recorded ---------------------------------------------------------------------------------------------


def test_a_connection_is_recorded_once() -> None:
    given().when(CONNECT).then(CONNECTED).and_again_nothing()


def test_another_key_is_a_rotation() -> None:
    other = CONNECT.model_copy(update={"fingerprint": "ba9876543210"})
    rotated = ProviderKeyRotated(**CONNECTED.model_dump() | {"fingerprint": "ba9876543210", "previous": "0123456789ab"})
    given(CONNECTED).when(other).then(rotated).and_again_nothing()


def test_a_key_that_was_stored_unasked_is_verified_later() -> None:
    unverified = CONNECTED.model_copy(update={"verified": False})
    verified = ProviderVerified(provider_id="provider_fal", fingerprint="0123456789ab")
    given(unverified).when(CONNECT).then(verified).and_again_nothing()
    given(CONNECTED).when(CONNECT.model_copy(update={"verified": False})).then_nothing()


def test_a_disconnection_is_recorded_once() -> None:
    gone = ProviderDisconnected(provider_id="provider_fal", fingerprint="0123456789ab", reason="leaked")
    given(CONNECTED).when(RecordDisconnection(provider_id="provider_fal", reason="leaked")).then(gone)
    given(CONNECTED, gone).when(RecordDisconnection(provider_id="provider_fal")).then_nothing()
    given().when(RecordDisconnection(provider_id="provider_fal")).then_nothing()
    given(CONNECTED, gone).when(CONNECT).then(CONNECTED)


@drawn(st.lists(st.sampled_from([
    CONNECTED, CONNECTED.model_copy(update={"verified": False}),
    ProviderVerified(provider_id="provider_fal", fingerprint="0123456789ab"),
    ProviderDisconnected(provider_id="provider_fal", fingerprint="0123456789ab", reason=""),
]), max_size=8))
def test_every_history_folds_and_crosses_a_snapshot(history: list[Any]) -> None:
    state: Unconnected | Connected = Unconnected()
    for event in history:
        state = CONTEXT.evolve(state, event)
    adapter = REGISTRY.states["provider"]
    assert adapter.validate_json(adapter.dump_json(state)) == state


def test_nobody_can_claim_a_connection_by_hand() -> None:
    async def scenario() -> None:
        async with door() as at:
            for name in ("RecordConnection", "RecordDisconnection"):
                assert (await at.ask(name, CONNECT.model_dump(mode="json"))).json()["error"] == "unknown_command"

    run(scenario)


# --- the parts of a key -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [
    {}, {"api_key": ""}, {"api_key": None}, {"api_key": "short"}, {"api_key": "with a blank in it"},
    {"api_key": "line\nbreak-0123456789"}, {"api_key": "schlüssel-0123456789"}, {"api_key": "x" * 4097},
    {"api_key": 1234567890}, {"api_key": ["a" * 20]}, {"api_key": KEY, "secret": NEXT}, {"access_key": KEY},
])
def test_a_key_that_does_not_fit_is_refused_without_repeating_it(values: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        checked_key(PROVIDERS["provider_fal"], values)
    said = f"{caught.value.message} {caught.value.detail}"
    assert not any(str(value) in said for value in values.values() if value and len(str(value)) > 5)
    assert caught.value.remediation


def test_every_provider_is_an_engine_that_this_release_knows() -> None:
    from services.generation.engines import KNOWN

    engines = {id_ for id_, provider in PROVIDERS.items() if not provider.hub}
    assert engines == {id_ for id_, known in KNOWN.items() if known.kind == "remote"}


# --- through the door ---------------------------------------------------------------------------------------------


def engine_of(at: Door, **given: Any) -> Keyed:
    made = Keyed(at.studio.vault, good={KEY, NEXT}, **given)
    at.studio.engines.add(made)
    return made


def written(place: Path) -> bytes:
    return b"".join(one.read_bytes() for one in place.rglob("*") if one.is_file())


async def everything(at: Door) -> str:
    """Every event that was recorded, as text."""
    return "".join([one.data.decode() async for batch in at.log.read(after=0, upto=await at.log.head())
                    for one in batch])


def test_connecting_answers_with_the_balance_and_stores_nothing_in_plain_sight() -> None:
    async def scenario() -> None:
        async with door() as at:
            engine_of(at)
            before = (await at.client.get("/api/providers/provider_fal")).json()
            assert (before["connected"], before["status"], before["remedy"]["action"]) == (
                False, "not_connected", "add_key")
            answer = await at.client.post("/api/providers/provider_fal/connect", json={"api_key": KEY},
                                          headers={"X-Comfyvn-Actor": "ada"})
            assert answer.status_code == 200, answer.text
            told = answer.json()
            assert (told["ok"], told["balance"], told["balance_unit"]) == (True, 12.5, "usd")
            assert told["message"] == "Connected."
            assert answer.headers["cache-control"] == "no-store"
            shown = (await at.client.get("/api/providers/provider_fal")).json()
            assert shown["connected"]
            assert shown["key"]["connected_by"] == "ada"
            assert shown["key"]["verified"] is True
            assert shown["key"]["fingerprint"] == told["key"]["fingerprint"]
            tested = (await at.client.post("/api/providers/provider_fal/test")).json()
            assert (tested["ok"], tested["balance"]) == (True, 12.5)
            listed = (await at.client.get("/api/providers")).json()
            assert [one["id"] for one in listed["items"]] == list(PROVIDERS)
            assert listed["vault"]["keys"] == 1
            for text in (answer.text, json.dumps(shown), json.dumps(tested), json.dumps(listed), await everything(at)):
                assert KEY not in text
            assert KEY.encode() not in written(at.studio.settings.data)
            assert (await at.client.get("/api/setup/diagnostics")).text.count(KEY) == 0

    run(scenario)


def test_connecting_again_rotates_and_the_next_call_uses_the_new_key() -> None:
    async def scenario() -> None:
        async with door() as at:
            engine = engine_of(at)
            url = "/api/providers/provider_fal"
            first = (await at.client.post(f"{url}/connect", json={"api_key": KEY})).json()
            again = (await at.client.post(f"{url}/connect", json={"api_key": KEY})).json()
            assert again["message"] == "Connected as before."
            second = (await at.client.post(f"{url}/connect", json={"api_key": NEXT})).json()
            assert second["message"] == "Connected with the new key."
            assert second["key"]["fingerprint"] != first["key"]["fingerprint"]
            await engine.verify()
            assert engine.asked[-1] == NEXT
            types = [one.type async for batch in at.log.read(after=0, upto=await at.log.head()) for one in batch]
            assert types == ["ProviderConnected", "ProviderKeyRotated"]

    run(scenario)


def test_a_bad_key_changes_nothing_and_is_not_repeated() -> None:
    async def scenario() -> None:
        async with door() as at:
            engine = engine_of(at)
            url = "/api/providers/provider_fal"
            refused = await at.client.post(f"{url}/connect", json={"api_key": BAD})
            assert refused.status_code == 409
            assert refused.json()["error"] == "AUTH_INVALID"
            assert refused.json()["remediation"][0]["action"]
            assert BAD not in refused.text
            assert await at.log.head() == 0
            assert await at.studio.vault("provider_fal") is None
            await at.client.post(f"{url}/connect", json={"api_key": KEY})
            refused = await at.client.post(f"{url}/connect", json={"api_key": BAD})
            assert refused.status_code == 409
            assert await at.studio.vault("provider_fal") == {"api_key": KEY}, "the good one stays"
            engine.good.clear()
            tested = await at.client.post(f"{url}/test")
            assert tested.status_code == 200, "a no is an answer"
            assert tested.json()["ok"] is False
            assert tested.json()["error"] == "AUTH_INVALID"
            assert KEY not in tested.text

    run(scenario)


@pytest.mark.parametrize("trouble", ["CONNECTION_REFUSED", "SERVICE_UNAVAILABLE", "RATE_LIMIT_EXCEEDED"])
def test_a_provider_that_is_away_is_told_apart_from_a_bad_key(trouble: str) -> None:
    async def scenario() -> None:
        async with door() as at:
            engine = engine_of(at, trouble=trouble)
            url = "/api/providers/provider_fal"
            answer = await at.client.post(f"{url}/connect", json={"api_key": KEY})
            assert answer.status_code == 503
            assert answer.json()["error"] == trouble
            assert KEY not in answer.text
            assert any(one["action"] == "connect_unverified" for one in answer.json()["remediation"])
            answer = await at.client.post(f"{url}/connect", json={"api_key": KEY, "verify": False})
            assert answer.json()["verified"] is False
            assert (await at.client.get(url)).json()["key"]["verified"] is False
            engine.trouble = ""
            assert (await at.client.post(f"{url}/test")).json()["ok"]
            assert (await at.client.get(url)).json()["key"]["verified"] is True

    run(scenario)


SENSELESS = ("start the engine", "another engine", "install", "choose another", "engine")
"""What cannot be done about somebody else's service."""


@pytest.mark.parametrize("id_", PROVIDERS)
@pytest.mark.parametrize("code", CODES)
def test_what_helps_is_something_that_one_can_do(id_: str, code: str) -> None:
    provider = PROVIDERS[id_]
    why = fault(code, "No.")
    for doing in get_args(Doing):
        told = remedies(id_, provider.name, provider.keys_at, why, doing)
        assert told
        said = " ".join(one.text for one in told)
        assert id_ in said or provider.name in said
        assert not [word for word in SENSELESS if word in said.lower()]
        unasked = [one.action for one in told if one.action == "connect_unverified" or "without asking" in one.text]
        assert bool(unasked) == (doing == "connect" and unanswered(why))
        assert len({one.text for one in told}) == len(told)


@pytest.mark.parametrize(("trouble", "action"), [
    ("CONNECTION_REFUSED", "retry"), ("SERVICE_UNAVAILABLE", "retry"), ("RATE_LIMIT_EXCEEDED", "wait"),
    ("AUTH_EXPIRED", "replace_key"), ("AUTH_INSUFFICIENT_PERMISSIONS", "replace_key"),
    ("INSUFFICIENT_FUNDS", "top_up"), ("ENGINE_ERROR", "retry"), ("UNKNOWN_ERROR", "retry"),
])
def test_a_stored_key_that_cannot_be_tested_stays_and_is_not_connected_unasked(trouble: str, action: str) -> None:
    async def scenario() -> None:
        async with door() as at:
            engine = engine_of(at)
            url = "/api/providers/provider_fal"
            missing = (await at.client.post(f"{url}/test")).json()
            assert (missing["error"], missing["remediation"][0]["action"]) == ("AUTH_MISSING", "add_key")
            await at.client.post(f"{url}/connect", json={"api_key": KEY})
            engine.trouble = trouble
            told = (await at.client.post(f"{url}/test")).json()
            assert (told["ok"], told["error"], told["remediation"][0]["action"]) == (False, trouble, action)
            assert "connect_unverified" not in [one["action"] for one in told["remediation"]]
            assert "Start the engine" not in str(told)
            assert KEY not in str(told)
            assert await at.studio.vault("provider_fal") == {"api_key": KEY}

    run(scenario)


def test_a_provider_that_hangs_is_not_waited_for_for_ever() -> None:
    async def scenario() -> None:
        async with door() as at:
            engine_of(at, hangs=True)
            registry = Providers(at.studio, patience_seconds=0.05)
            with pytest.raises(Unavailable) as caught:
                await registry.connect("provider_fal", {"api_key": KEY}, Asker("ada"))
            assert caught.value.code == "CONNECTION_TIMEOUT"

    run(scenario)


def test_a_key_that_is_being_tried_is_used_by_nobody_else() -> None:
    async def scenario() -> None:
        async with door() as at:
            engine = engine_of(at)
            await Providers(at.studio).connect("provider_fal", {"api_key": KEY}, Asker("ada"))
            inside, go_on = asyncio.Event(), asyncio.Event()

            async def trying() -> None:
                with at.studio.vault.trying("provider_fal", {"api_key": NEXT}):
                    inside.set()
                    await go_on.wait()
                    await engine.verify()

            task = asyncio.create_task(trying())
            await inside.wait()
            await engine.verify()
            assert engine.asked[-1] == KEY
            go_on.set()
            await task
            assert engine.asked[-1] == NEXT

    run(scenario)


def test_a_connection_that_cannot_be_recorded_is_undone() -> None:
    async def scenario() -> None:
        async with door() as at:
            engine_of(at)
            registry = Providers(at.studio)
            await registry.connect("provider_fal", {"api_key": KEY}, Asker("ada"))
            long = Asker("ada", key="same-key-for-another-request")
            await registry.connect("provider_fal", {"api_key": NEXT}, long)
            with pytest.raises(Invalid) as caught:
                await registry.connect("provider_fal", {"api_key": KEY}, long)
            assert KEY not in str(caught.value)
            assert await at.studio.vault("provider_fal") == {"api_key": NEXT}

    run(scenario)


def test_disconnecting_forgets_the_key_and_redaction_goes_on_knowing_it() -> None:
    async def scenario() -> None:
        async with door() as at:
            engine_of(at)
            url = "/api/providers/provider_fal"
            await at.client.post(f"{url}/connect", json={"api_key": KEY})
            gone = await at.client.request("DELETE", url, json={"reason": "it leaked"})
            assert gone.status_code == 200
            assert await at.studio.vault("provider_fal") is None
            assert (await at.client.get(url)).json()["connected"] is False
            assert (await at.client.delete(url)).json()["error"] == "not_connected"
            assert (await at.client.post(f"{url}/test")).json()["error"] == "AUTH_MISSING"
            assert SECRETS.knows(f"late: {KEY}")

    run(scenario)


def test_what_is_no_provider_and_what_needs_no_key_is_told() -> None:
    async def scenario() -> None:
        async with door() as at:
            for id_, status, error in (
                ("nobody", 404, "unknown_provider"), ("local_comfy", 409, "no_key_needed"),
                ("provider_runware", 409, "engine_not_there"),
            ):
                answer = await at.client.post(f"/api/providers/{id_}/connect", json={"api_key": KEY})
                assert (answer.status_code, answer.json()["error"]) == (status, error)
            for body in (b"", b"[]", b'{"api_key": "' + KEY.encode() + b'"', b'{"api_key": 1}',
                         json.dumps({"api_key": KEY, "verify": "no"}).encode(),
                         json.dumps({"api_key": KEY, "other_key": KEY}).encode()):
                answer = await at.client.post("/api/providers/provider_fal/connect", content=body,
                                              headers={"content-type": "application/json"})
                assert 400 <= answer.status_code < 500
                assert KEY not in answer.text

    run(scenario)


def test_a_token_needs_its_scope_in_every_project(tmp_path: Path) -> None:
    book = TokenBook(tmp_path / "tokens.json")
    reader, bound = book.create("reader", ["*:read"]), book.create("bound", ["*"], ["demo"])
    admin = book.create("admin", ["provider:*"])

    async def scenario() -> None:
        async with door(access=book) as at:
            engine_of(at)

            async def status(secret: str, method: str, url: str) -> int:
                return (await at.client.request(method, url, json={"api_key": KEY} if method == "POST" else None,
                                                headers={"authorization": f"Bearer {secret}"})).status_code

            url = "/api/providers/provider_fal"
            assert await status(bound, "GET", "/api/providers") == 403
            assert await status(bound, "POST", f"{url}/connect") == 403
            assert await status(reader, "GET", "/api/providers") == 200
            assert await status(reader, "POST", f"{url}/connect") == 403
            assert await status(reader, "DELETE", url) == 403
            assert await status(admin, "POST", f"{url}/connect") == 200
            assert await status(admin, "DELETE", url) == 200

    run(scenario)


def test_a_vault_that_cannot_be_opened_is_told_and_nothing_is_lost() -> None:
    async def scenario() -> None:
        async with door() as at:
            engine_of(at)
            url = "/api/providers/provider_fal"
            await at.client.post(f"{url}/connect", json={"api_key": KEY})
            place = at.studio.settings.data / "studio" / "vault.json"
            whole = place.read_bytes()
            place.write_bytes(whole[:-20])
            listed = await at.client.get("/api/providers")
            assert listed.status_code == 200
            assert {one["status"] for one in listed.json()["items"]} == {"vault_locked"}
            assert (await at.client.post(f"{url}/test")).status_code == 503
            answer = await at.client.post(f"{url}/connect", json={"api_key": NEXT})
            assert answer.json()["error"] == "vault_damaged"
            health = (await at.client.get("/api/setup/healthcheck")).json()
            assert (health["vault"]["ok"], health["ok"]) == (False, False)
            assert health["vault"]["action"]["action"] == "restore_vault_key"
            place.write_bytes(whole)
            assert (await at.client.post(f"{url}/test")).json()["ok"]

    run(scenario)


def test_a_key_that_was_pasted_into_a_text_is_not_recorded() -> None:
    async def scenario() -> None:
        async with door() as at:
            engine_of(at)
            await at.client.post("/api/providers/provider_fal/connect", json={"api_key": KEY})
            answer = await at.ask("CreateCharacter", {"character_id": "mara", "name": "Mara", "notes": f"use {KEY}"})
            if answer.json().get("error") == "invalid_fields":
                answer = await at.ask("AcknowledgePolicy", {"user": "ada", "notes": f"use {KEY}"})
            assert answer.status_code == 409
            assert answer.json()["error"] == "secret_in_text"
            assert KEY not in answer.text
            assert KEY not in await everything(at)

    run(scenario)


def test_a_dry_run_tries_a_key_and_keeps_nothing() -> None:
    async def scenario() -> None:
        async with door() as at:
            engine_of(at)
            registry = Providers(at.studio)
            told = await registry.connect("provider_fal", {"api_key": KEY}, Asker("mo"), dry_run=True)
            assert (told["ok"], told["dry_run"], told["verified"], told["key"]) == (True, True, True, None)
            with pytest.raises(ComfyVNError):
                await registry.connect("provider_fal", {"api_key": BAD}, Asker("mo"), dry_run=True)
            with pytest.raises(NotFound):
                await registry.remove("provider_fal", Asker("mo"), dry_run=True)
            assert await at.studio.vault("provider_fal") is None
            await registry.connect("provider_fal", {"api_key": KEY}, Asker("mo"))
            before = await at.log.head()
            await registry.connect("provider_fal", {"api_key": NEXT}, Asker("mo"), dry_run=True)
            await registry.remove("provider_fal", Asker("mo"), dry_run=True)
            assert await at.studio.vault("provider_fal") == {"api_key": KEY}
            assert await at.log.head() == before

    run(scenario)
