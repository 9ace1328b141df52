"""Calls of engines: bad signature, stale, repeated, out of order, of a job that nobody knows, before our own answer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from door import door
from engines.wire import Answer, Asked, Server, as_json
from hypothesis import given
from hypothesis import strategies as st

from adapters.engines.fal_signatures import FalSignatures
from domain.errors import Denied, NotFound
from services.generation.webhooks import CALLERS, Webhooks

PUBLIC = "https://studio.example"
NOW = time.time()


class Woken(list[str]):
    async def __call__(self, key: str) -> None:
        self.append(key)


class FalKeys:
    """fal's published keys on a real socket, and the private one to sign with."""

    def __init__(self) -> None:
        self.signing = Ed25519PrivateKey.generate()
        self.asked = 0
        self.broken = False
        self.server = Server(self._answer)

    async def _answer(self, asked: Asked) -> Answer:
        self.asked += 1
        if self.broken:
            return Answer(500, b"oops")
        raw = self.signing.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        told = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        return as_json({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": told}]})

    def headers(self, body: bytes, *, request: str = "r-1", at: float = NOW, **changed: str) -> dict[str, str]:
        lines = [request, "someone", str(int(at)), hashlib.sha256(body).hexdigest()]
        signature = self.signing.sign("\n".join(lines).encode()).hex()
        return {"x-fal-webhook-request-id": request, "x-fal-webhook-user-id": "someone",
                "x-fal-webhook-timestamp": str(int(at)), "x-fal-webhook-signature": signature, **changed}


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Webhooks, Woken, FalKeys]]:
    keys, woken = FalKeys(), Woken()
    await keys.server.start()
    checking = FalSignatures(f"{keys.server.url}/jwks.json")
    try:
        yield Webhooks(PUBLIC, b"k" * 32, woken, {"provider_fal": checking}), woken, keys
    finally:
        await checking.close()
        await keys.server.kill()


def token(hooks: Webhooks, engine: str = "provider_fal", job: str = "job-1") -> str:
    address = hooks.address(engine, "demo", job, "attempt-1")
    assert address is not None
    assert address.startswith(f"{PUBLIC}/api/webhooks/{engine}/")
    return address.rpartition("/")[2]


def run(work: Any) -> None:
    async def whole() -> None:
        async with asyncio.timeout(20), listening() as (hooks, woken, keys):
            await work(hooks, woken, keys)

    asyncio.run(whole())


def test_a_signed_call_wakes_and_its_repetition_does_not() -> None:
    async def story(hooks: Webhooks, woken: Woken, keys: FalKeys) -> None:
        body = b'{"request_id": "r-1", "status": "OK"}'
        for expected in ("woken", "repeated", "repeated"):
            assert await hooks.heard("provider_fal", token(hooks), keys.headers(body), body, NOW) == expected
        assert woken == ["demo.job-1"]
        assert keys.asked == 1

    run(story)


@pytest.mark.parametrize("changed", [
    {"x-fal-webhook-signature": "00" * 64}, {"x-fal-webhook-signature": "nonsense"}, {"x-fal-webhook-signature": ""},
    {"x-fal-webhook-user-id": "another"}, {"x-fal-webhook-request-id": "r-2"}, {"x-fal-webhook-request-id": ""},
    {"x-fal-webhook-timestamp": str(int(NOW) + 1)}, {"x-fal-webhook-timestamp": "soon"},
    {"x-fal-webhook-timestamp": "9" * 40}, {"x-fal-webhook-timestamp": "²"},
])
def test_a_forged_call_wakes_nobody(changed: dict[str, str]) -> None:
    async def story(hooks: Webhooks, woken: Woken, keys: FalKeys) -> None:
        with pytest.raises(Denied):
            await hooks.heard("provider_fal", token(hooks), keys.headers(b"{}", **changed), b"{}", NOW)
        with pytest.raises(Denied):
            await hooks.heard("provider_fal", token(hooks), keys.headers(b"{}"), b'{"other": 1}', NOW)
        assert woken == []
        assert keys.asked <= 1  # forged calls do not make us ask for keys again and again

    run(story)


@pytest.mark.parametrize("late", [301, 4000, -301])
def test_a_stale_call_wakes_nobody(late: float) -> None:
    async def story(hooks: Webhooks, woken: Woken, keys: FalKeys) -> None:
        with pytest.raises(Denied):
            await hooks.heard("provider_fal", token(hooks), keys.headers(b"{}", at=NOW - late), b"{}", NOW)
        assert woken == []

    run(story)


def test_calls_may_come_in_any_order() -> None:
    async def story(hooks: Webhooks, woken: Woken, keys: FalKeys) -> None:
        for job, request, at in (("job-2", "r-2", NOW), ("job-1", "r-1", NOW - 200), ("job-3", "r-3", NOW - 100)):
            headers = keys.headers(b"{}", request=request, at=at)
            assert await hooks.heard("provider_fal", token(hooks, job=job), headers, b"{}", NOW) == "woken"
        assert woken == ["demo.job-2", "demo.job-1", "demo.job-3"]

    run(story)


def test_keys_that_were_changed_are_fetched_again_after_a_while() -> None:
    async def story(hooks: Webhooks, woken: Woken, keys: FalKeys) -> None:
        await hooks.heard("provider_fal", token(hooks), keys.headers(b"{}"), b"{}", NOW)
        keys.signing = Ed25519PrivateKey.generate()
        with pytest.raises(Denied):
            await hooks.heard("provider_fal", token(hooks), keys.headers(b"{}", request="r-2"), b"{}", NOW)
        later = NOW + 301
        headers = keys.headers(b"{}", request="r-2", at=later)
        assert await hooks.heard("provider_fal", token(hooks), headers, b"{}", later) == "woken"

    run(story)


def test_without_keys_nobody_is_believed() -> None:
    async def story(hooks: Webhooks, woken: Woken, keys: FalKeys) -> None:
        keys.broken = True
        with pytest.raises(Denied):
            await hooks.heard("provider_fal", token(hooks), keys.headers(b"{}"), b"{}", NOW)
        assert woken == []

    run(story)


def test_an_unsigned_call_only_wakes_whoever_follows_that_job() -> None:
    async def story(hooks: Webhooks, woken: Woken, keys: FalKeys) -> None:
        hint = token(hooks, "provider_kling")
        claim = b'{"task_status": "succeed", "task_result": {"videos": [{"url": "https://evil.example/x"}]}}'
        assert await hooks.heard("provider_kling", hint, {}, claim, NOW) == "woken"
        assert await hooks.heard("provider_kling", hint, {}, claim, NOW) == "repeated"
        assert await hooks.heard("provider_kling", hint, {}, b"not even JSON", NOW) == "woken"
        assert woken == ["demo.job-1"] * 2

    run(story)


@given(st.text(max_size=60), st.sampled_from([*sorted(CALLERS), "local_comfy", "", "../x"]))
def test_addresses_cannot_be_made_up(text: str, engine: str) -> None:
    woken = Woken()
    hooks = Webhooks(PUBLIC, b"k" * 32, woken)
    with pytest.raises(NotFound):
        asyncio.run(hooks.heard(engine, text, {}, b"", NOW))
    assert woken == []


def test_an_address_is_for_one_engine_and_one_studio() -> None:
    hooks, other = Webhooks(PUBLIC, b"k" * 32, Woken()), Webhooks(PUBLIC, b"l" * 32, Woken())
    hint = token(hooks, "provider_kling")
    for listener, engine in ((hooks, "provider_runware"), (other, "provider_kling")):
        with pytest.raises(NotFound):
            asyncio.run(listener.heard(engine, hint, {}, b"", NOW))
    assert hooks.address("local_comfy", "demo", "job", "a") is None
    assert token(hooks, "provider_kling") == hint


def test_the_door_is_off_until_there_is_a_public_address_and_then_only_wakes() -> None:
    async def story() -> None:
        async with door() as studio:
            answer = await studio.client.post("/api/webhooks/provider_kling/x.y", content=b"{}")
            assert (answer.status_code, answer.json()["error"]) == (404, "webhooks_off")
            woken = Woken()
            studio.studio.webhooks = hooks = Webhooks("http://localhost", b"k" * 32, woken)
            # Of a job that nobody knows, and so also before we have recorded the engine's own answer.
            before = await studio.log.head()
            path = f"/api/webhooks/provider_kling/{token_at(hooks)}"
            assert (await studio.client.post(path, content=b"{}")).json() == {"ok": True, "outcome": "woken"}
            assert (await studio.client.post(path, content=b"{}")).json() == {"ok": True, "outcome": "repeated"}
            assert (await studio.client.post(path + "x", content=b"{}")).status_code == 404
            assert (await studio.client.post(path, content=b"x" * (2**20 + 1))).status_code in (400, 413)
            assert await studio.log.head() == before
            assert woken == ["demo.job-1"]

    asyncio.run(story())


def token_at(hooks: Webhooks) -> str:
    address = hooks.address("provider_kling", "demo", "job-1", "a")
    assert address is not None
    return address.rpartition("/")[2]


