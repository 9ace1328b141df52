"""Kling passes the suite of all engines, and its own traps are known: tokens, the matrix of 429, attempts found."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from engines.fake_kling import FakeKling, said
from engines.fake_service import ServiceRig
from engines.wire import Answer
from ports.engine_suite import NOTHING, EngineSuite, Rig, Stored, picture, refused, until

from adapters.engines.kling import Kling
from domain.ports.engines import Accepted, Cancelling, Done, Engine, Failed, Material, Submission, Task, Working


class KlingRig(ServiceRig):
    service: FakeKling
    costs_seconds = 0.05
    failure = f"the task failed with {FakeKling.key} at /home/someone/x"

    def credentials(self) -> dict[str, str]:
        return {"access_key": self.service.access_key, "secret_key": self.service.key}

    def made(self) -> Engine:
        return Kling(self.known(), url=self.service.url, patience_seconds=self.patience_seconds,
                     costs_seconds=self.costs_seconds)

    def task(self, attempt: str) -> Task:
        return Task(attempt, "text_to_video", "kling-v2-6", {"prompt": f"a harbour, {attempt}", "seed": 7})

    def working_on(self, attempt: str, material: Material) -> Task:
        return Task(attempt, "image_to_video", "kling-v2-6", {"prompt": "waves", "duration": 10}, {"image": [material]})

    async def received(self, material: Material) -> bytes | None:
        return base64.b64decode(next(work.body["image"] for work in self.service.works.values()))


class TestKling(EngineSuite):
    @asynccontextmanager
    async def open(self, tmp_path: Path) -> AsyncIterator[Rig]:
        async with FakeKling() as server:
            yield KlingRig(server)


Story = Callable[[KlingRig, FakeKling], Awaitable[None]]


def told(story: Story) -> None:
    async def whole() -> None:
        async with FakeKling() as server, asyncio.timeout(20):
            rig = KlingRig(server)
            try:
                await story(rig, server)
            finally:
                await rig.engine.close()

    asyncio.run(whole())


def test_a_request_says_what_kling_wants_to_hear() -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        task = dataclasses.replace(rig.task("one"), callback_url="https://studio.example/hook")
        accepted = await rig.engine.submit(task, NOTHING)
        (asked,) = kling.submits()
        assert asked.path == "/v1/videos/text2video"
        assert asked.json == {
            "prompt": "a harbour, one", "duration": "5", "mode": "std", "aspect_ratio": "16:9", "sound": "off",
            "model_name": "kling-v2-6", "external_task_id": "one", "callback_url": "https://studio.example/hook",
        }
        done: Done = await until(rig, accepted, Done)
        assert done.facts == {"model": "kling-v2-6", "seconds": "5.1"}
        assert (done.cost, done.unit) == (None, "")

    told(story)


def test_tokens_are_short_lived_signed_and_used_again() -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        await until(rig, await rig.engine.submit(rig.task("one"), NOTHING), Done)
        claims = kling.tokens[0]
        assert claims["iss"] == kling.access_key
        assert claims["exp"] - time.time() <= 1800
        assert claims["nbf"] <= time.time() - 4
        assert all(one == claims for one in kling.tokens)
        assert len(kling.tokens) >= 3

    told(story)


@pytest.mark.parametrize("ahead", [7200.0, -7200.0])
def test_a_clock_that_differs_is_mended_once_by_the_services_own(ahead: float) -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        kling.ahead = ahead
        await until(rig, await rig.engine.submit(rig.task("one"), NOTHING), Done)
        assert kling.taken == 1
        assert len([one for one in kling.seen if one.method == "POST"]) == 1  # the first question mended it

    told(story)


@pytest.mark.parametrize("code", [1003, 1004])
def test_a_token_is_made_anew_once_and_not_again(code: int) -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        kling.answers = [said(code, "no", status=401)]
        assert await rig.engine.find("nobody") is None
        kling.answers = [said(code, "no", status=401)] * 2
        before = len(kling.seen)
        assert (await refused(rig.engine.find("nobody"))).fault.code == "AUTH_EXPIRED"
        assert len(kling.seen) == before + 2

    told(story)


NUMBERS = [
    (401, 1000, "AUTH_INVALID", False), (401, 1001, "AUTH_INVALID", False), (401, 1002, "AUTH_INVALID", False),
    (429, 1100, "INSUFFICIENT_FUNDS", False), (429, 1101, "INSUFFICIENT_FUNDS", False),
    (429, 1102, "INSUFFICIENT_FUNDS", False), (403, 1103, "AUTH_INSUFFICIENT_PERMISSIONS", False),
    (400, 1200, "VALIDATION_ERROR", False), (400, 1201, "VALIDATION_ERROR", False),
    (404, 1202, "CONTRACT_MISMATCH", False), (404, 1203, "DEPENDENCY_MISSING", False),
    (400, 1300, "SAFETY_FILTER", False), (400, 1301, "SAFETY_FILTER", False),
    (429, 1302, "RATE_LIMIT_EXCEEDED", True), (429, 1303, "RATE_LIMIT_EXCEEDED", True),
    (429, 1304, "AUTH_INSUFFICIENT_PERMISSIONS", False), (503, 5001, "SERVICE_UNAVAILABLE", True),
]


@pytest.mark.parametrize(("status", "number", "code", "again"), NUMBERS)
def test_the_number_counts_and_not_the_status(status: int, number: int, code: str, again: bool) -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        absent = said(1203, "does not exist", status=404)
        kling.answers = [absent, said(number, "no", status=status)]
        error = await refused(rig.engine.submit(rig.task("one"), NOTHING))
        assert (error.fault.code, error.fault.retryable, error.submission) == (code, again, Submission.REFUSED)
        assert error.fault.detail == {"number": number, "status": status}
        assert (error.fault.retry_after_seconds is not None) == (number in (1302, 1303))

    told(story)


@pytest.mark.parametrize("answer", [said(5000, "internal", status=500), said(5002, "late", status=504),
                                    Answer(502, b"<html>"), Answer(200, b"{}")])
def test_what_broke_on_their_side_may_have_been_taken(answer: Answer) -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        kling.answers = [said(1203, "does not exist", status=404), answer]
        error = await refused(rig.engine.submit(rig.task("one"), NOTHING))
        assert error.submission is Submission.UNKNOWN

    told(story)


def test_an_attempt_is_found_among_all_kinds_of_tasks() -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        stored = Stored(picture())
        first = await rig.engine.submit(rig.working_on("moving", stored.materials[0]), stored)
        other = Task("still", "text_to_image", "kling-v2-1", {"prompt": "a harbour", "count": 2})
        second = await rig.engine.submit(other, NOTHING)
        for attempt, accepted in (("moving", first), ("still", second)):
            found = await rig.engine.find(attempt)
            assert found is not None
            assert found.external_id == accepted.external_id
            await until(rig, found, Done)
        assert await rig.engine.find("never") is None

    told(story)


def test_nobody_says_that_an_attempt_is_absent_when_the_answer_is_odd() -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        for odd in (said(0, "SUCCEED", {}), said(0, "SUCCEED"), said(1201, "wrong parameter", status=400),
                    said(0, "SUCCEED", {"task_id": "5", "task_info": {"external_task_id": "another"}})):
            kling.answers = [odd]
            await refused(rig.engine.find("one"))

    told(story)


def test_nothing_can_be_cancelled_and_that_is_said() -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        kling.held = "working"
        accepted = await rig.engine.submit(rig.task("one"), NOTHING)
        await until(rig, accepted, Working)
        assert await rig.engine.cancel(accepted) is Cancelling.UNSUPPORTED
        kling.held = None
        await until(rig, accepted, Done)
        assert await rig.engine.cancel(accepted) is Cancelling.TOO_LATE

    told(story)


def test_packs_are_asked_for_at_most_once_a_while() -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        rig.costs_seconds = 1.0
        await rig.engine.close()
        rig.engine = rig.made()
        balances = await asyncio.gather(*(rig.engine.balance() for _ in range(5)), rig.engine.health())
        assert len(kling.asked_costs) == 1
        assert balances[0] is not None
        assert (balances[0].amount, balances[0].unit) == (41.5, "units")
        assert "12 hours" in balances[0].note
        await asyncio.sleep(rig.costs_seconds + 0.05)
        await rig.engine.verify()
        assert len(kling.asked_costs) == 2

    told(story)


def test_a_plain_key_is_sent_as_it_is() -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        async def plain(_: str) -> dict[str, str]:
            return {"api_key": "plain-key"}

        engine = Kling(plain, url=kling.url)
        assert (await refused(engine.find("one"))).fault.code == "AUTH_INVALID"
        assert kling.seen[0].headers["authorization"] == "Bearer plain-key"
        await engine.close()

    told(story)


def test_half_a_key_is_none() -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        async def half(_: str) -> dict[str, str]:
            return {"access_key": "only this"}

        engine = Kling(half, url=kling.url)
        assert (await refused(engine.verify())).fault.code == "AUTH_MISSING"
        assert (await engine.health()).status == "not_connected"
        assert kling.seen == []
        await engine.close()

    told(story)


def test_what_a_task_really_took_is_told_in_units() -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        kling.deduction = "2.5"
        done: Done = await until(rig, await rig.engine.submit(rig.task("one"), NOTHING), Done)
        assert (done.cost, done.unit) == (2.5, "units")

    told(story)


def test_a_refusal_by_the_safety_filter_is_known_by_its_words() -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        kling.fail_next = "Failure to pass the risk control system"
        failed: Failed = await until(rig, await rig.engine.submit(rig.task("one"), NOTHING), Failed)
        assert failed.fault.code == "SAFETY_FILTER"

    told(story)


def test_a_task_of_another_kind_is_not_asked_for() -> None:
    async def story(rig: KlingRig, kling: FakeKling) -> None:
        for path in ("/v1/elsewhere", "//evil.example/x", "", 5):
            error = await refused(rig.engine.poll(Accepted("1", {"path": path})))
            assert error.fault.code == "CONTRACT_MISMATCH"
        assert kling.seen == []

    told(story)
