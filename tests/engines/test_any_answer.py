"""No answer of any engine, however odd, makes an adapter raise anything but ``EngineError``, or take it for a result.

Each adapter talks to its own fake over a real socket; what the fake answers is changed on the way: parts of its JSON
replaced by others, statuses exchanged, bodies cut short or made of something else.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from engines.comfy_play import adapter, portrait
from engines.fake_comfy import FakeComfy
from engines.fake_fal import FakeFal
from engines.fake_kling import FakeKling
from engines.fake_runware import FakeRunware
from engines.fake_sync import FakeSync
from engines.test_fal import FalRig
from engines.test_kling import KlingRig
from engines.test_runware import RunwareRig
from engines.test_synclabs import SyncRig
from engines.wire import Answer, Asked, Server
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from ports.engine_suite import NOTHING, check_fault, fetched

from domain.ports.engines import (
    Accepted,
    Cancelled,
    Cancelling,
    Done,
    Engine,
    EngineError,
    Failed,
    Health,
    Lost,
    Task,
    Waiting,
    Working,
)

EXAMPLES = int(os.environ.get("COMFYVN_TEST_ANSWERS", "8"))
"""Conversations with each engine; sixty have been held."""

WORDS = st.sampled_from([
    "succeed", "COMPLETED", "success", "error", "failed", "processing", "IN_QUEUE", "", "x" * 3000, "../../etc/passwd",
    "http://169.254.169.254/", "file:///etc/passwd", "data:image/png;base64,AAAA", "\x00", "\ud800", "0", "null",
    "execution_success", "execution_error", "output", "execution_interrupted",
])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2**80, 2**80) | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        WORDS | st.sampled_from(["url", "id", "status", "data", "code", "message", "type"]), inner, max_size=3),
    max_leaves=6)


class Change(NamedTuple):
    """What becomes of one answer: a part of its JSON, its status, its body, or its headers."""

    way: tuple[int, ...] = ()
    value: Any = None
    status: int | None = None
    body: bytes | None = None
    cut: int | None = None
    retry_after: str | None = None


WAYS = st.lists(st.integers(0, 5), max_size=6).map(tuple)
STATUSES = st.sampled_from([200, 201, 202, 204, 301, 400, 401, 402, 403, 404, 409, 413, 422, 429, 456, 500, 502, 503,
                            504, 529, 599])
WAITS = st.sampled_from([None, "3", "-1", "1e9", "Wed, 21 Oct 2099 07:28:00 GMT", "soon", "1.2.3"])
BODIES = st.sampled_from([b"", b"<html>", b"\xff\xfe\x00", b"[" * 5000, b"NaN", b"{}", b"[]", b"7", b'"x"',
                          b"\x89PNG\r\n\x1a\n", b'{"a":' * 200])
PARTS = st.tuples(WAYS, VALUES).map(lambda drawn: Change(*drawn))
CHANGES = st.one_of(
    st.none(), st.none(), PARTS, PARTS,
    st.tuples(STATUSES, WAITS).map(lambda drawn: Change(status=drawn[0], retry_after=drawn[1])),
    BODIES.map(lambda body: Change(body=body)), st.integers(0, 80).map(lambda cut: Change(cut=cut)),
)


def changed(answer: Answer, change: Change) -> Answer:
    """The answer as it arrives."""
    body = answer.body
    if change.body is not None:
        body = change.body
    elif change.cut is not None:
        body = body[: change.cut]
    elif change.status is None and answer.media_type.startswith("application/json") and body[:1] in b"{[":
        body = _put(json.loads(body), change.way, change.value)
    headers = {**answer.headers, **({"Retry-After": change.retry_after} if change.retry_after else {})}
    return Answer(change.status or answer.status, body, answer.media_type, headers)


def _put(whole: Any, way: Sequence[int], value: Any) -> bytes:
    holder: list[Any] = [copy.deepcopy(whole)]
    at: Any = holder
    key: Any = 0
    for step in way:
        inner = at[key]
        if not isinstance(inner, dict | list) or not inner:
            break
        at, key = inner, (sorted(inner)[step % len(inner)] if isinstance(inner, dict) else step % len(inner))
    at[key] = value
    return json.dumps(holder[0]).encode()


class Talk(NamedTuple):
    """One engine at its fake, whose answers are changed one after another."""

    engine: Engine
    task: Task
    changes: list[Change | None]


def through(fake: Any, changes: list[Change | None]) -> None:
    """Puts what changes answers between a fake and its socket."""
    within = fake._answer

    async def answered(asked: Asked) -> Answer:
        answer: Answer = await within(asked)
        change = changes.pop(0) if changes else None
        return answer if change is None else changed(answer, change)

    opened = getattr(fake, "_opened", None)
    fake.server = Server(answered, opened)


@asynccontextmanager
async def comfy() -> AsyncIterator[Talk]:
    fake, changes = FakeComfy(), []
    through(fake, changes)
    async with fake, adapter(fake, patience_seconds=0.4) as engine:
        yield Talk(engine, portrait("one", loras=["mira.safetensors"]), changes)


def remote(service: type[Any], rig: type[Any]) -> Callable[[], Any]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Talk]:
        fake, changes = service(), []
        through(fake, changes)
        async with fake:
            made = rig(fake)
            try:
                yield Talk(made.engine, made.task("one"), changes)
            finally:
                await made.engine.close()

    return opened


ENGINES = {"local_comfy": comfy, "kling": remote(FakeKling, KlingRig), "fal": remote(FakeFal, FalRig),
           "runware": remote(FakeRunware, RunwareRig), "synclabs": remote(FakeSync, SyncRig)}
OUTCOMES = (Waiting, Working, Done, Failed, Cancelled, Lost)


async def said(work: Awaitable[Any]) -> Any:
    """What came back; ``None`` for an ``EngineError`` that can be shown."""
    try:
        return await work
    except EngineError as error:
        check_fault(error.fault)
        error.fault.model_dump_json()
        return None


async def conversation(talk: Talk) -> None:
    """Everything that is ever asked of an engine, in turn."""
    engine = talk.engine
    health = await engine.health()
    assert isinstance(health, Health)
    json.dumps(dict(health.facts))
    for ask in (engine.verify, engine.balance, engine.offers):
        await said(ask())
    accepted = await said(engine.submit(talk.task, NOTHING))
    if engine.traits.finds_attempts:
        found = await said(engine.find(talk.task.attempt))
        assert found is None or isinstance(found, Accepted)
        accepted = accepted or found
    if accepted is None:
        return
    json.dumps(dict(accepted.memo))
    for _ in range(4):
        outcome = await said(engine.poll(accepted))
        assert outcome is None or isinstance(outcome, OUTCOMES)
        if isinstance(outcome, Failed):
            outcome.fault.model_dump_json()
        if isinstance(outcome, Done):
            assert outcome.products
            json.dumps(dict(outcome.facts))
            for product in outcome.products[:2]:
                await said(fetched(engine, accepted, product, 2**20))
            break
    cancelling = await said(engine.cancel(accepted))
    assert cancelling is None or isinstance(cancelling, Cancelling)


@pytest.mark.parametrize("name", ENGINES)
def test_no_answer_is_more_than_an_engine_error(name: str) -> None:
    @given(st.lists(CHANGES, max_size=14))
    @example([])
    @hypothesis_settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    def spoken(changes: list[Change | None]) -> None:
        async def whole() -> None:
            async with asyncio.timeout(30), ENGINES[name]() as talk:
                talk.changes.extend(changes)
                await conversation(talk)

        asyncio.run(whole())

    spoken()
