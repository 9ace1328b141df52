"""Runware passes the suite of all engines, and its own traps are known: errors in good answers, ids of ours, costs."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from engines.fake_runware import FakeRunware
from engines.fake_service import ServiceRig
from engines.wire import Answer, as_json
from hypothesis import given
from hypothesis import strategies as st
from ports.engine_suite import NOTHING, EngineSuite, Rig, Stored, Unable, picture, refused, until

from adapters.engines.runware import Runware, task_uuid
from domain.ports.engines import Cancelling, Done, Engine, Failed, Material, Submission, Task, Working


class RunwareRig(ServiceRig):
    service: FakeRunware
    failure = {"code": "providerError", "message": f"the runner said {FakeRunware.key} in /home/someone/x"}

    def made(self) -> Engine:
        return Runware(self.known(), url=f"{self.service.url}/v1", patience_seconds=self.patience_seconds)

    def task(self, attempt: str) -> Task:
        return Task(attempt, "text_to_image", "runware:101@1", {"prompt": f"a harbour, {attempt}", "seed": 7})

    def working_on(self, attempt: str, material: Material) -> Task:
        return Task(attempt, "upscale_image", "runware-upscale", {"factor": 4}, {"image": [material]})

    async def received(self, material: Material) -> bytes | None:
        (work,) = self.service.works.values()
        return base64.b64decode(work.body["inputImage"].partition(",")[2])

    async def hold(self, stage: Literal["waiting", "working"]) -> None:
        if stage == "waiting":
            raise Unable("Runware does not tell tasks that wait from tasks that run")
        await super().hold(stage)


class TestRunware(EngineSuite):
    @asynccontextmanager
    async def open(self, tmp_path: Path) -> AsyncIterator[Rig]:
        async with FakeRunware() as server:
            yield RunwareRig(server)


Story = Callable[[RunwareRig, FakeRunware], Awaitable[None]]


def told(story: Story) -> None:
    async def whole() -> None:
        async with FakeRunware() as server, asyncio.timeout(20):
            rig = RunwareRig(server)
            try:
                await story(rig, server)
            finally:
                await rig.engine.close()

    asyncio.run(whole())


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=64))
def test_the_id_of_an_attempt_is_always_the_same_and_of_version_4(attempt: str) -> None:
    assert task_uuid(attempt) == task_uuid(attempt)
    assert UUID(task_uuid(attempt)).version == 4
    assert task_uuid(attempt) != task_uuid(attempt + "x")


def test_a_request_says_what_runware_wants_to_hear() -> None:
    async def story(rig: RunwareRig, runware: FakeRunware) -> None:
        accepted = await rig.engine.submit(
            dataclasses.replace(rig.task("one"), callback_url="https://studio.example/hook"), NOTHING)
        (work,) = runware.works.values()
        assert work.body == {
            "taskType": "imageInference", "taskUUID": task_uuid("one"), "positivePrompt": "a harbour, one",
            "model": "runware:101@1", "width": 1024, "height": 1024, "steps": 28, "CFGScale": 3.5, "numberResults": 1,
            "seed": 7, "outputFormat": "PNG", "outputType": "URL", "includeCost": True, "deliveryMethod": "async",
            "checkNSFW": True, "webhookURL": "https://studio.example/hook",
        }
        done: Done = await until(rig, accepted, Done)
        assert (done.cost, done.unit) == (0.0013, "usd")
        assert done.facts == {"model": "runware:101@1", "seed": 7}

    told(story)


def test_pictures_become_first_and_last_frames() -> None:
    async def story(rig: RunwareRig, runware: FakeRunware) -> None:
        stored = Stored(picture(), picture(color=(1, 2, 3)))
        await rig.engine.submit(Task("one", "image_to_video", "klingai:5@2", {"prompt": "waves", "duration": "10"},
                                     {"image": stored.materials}), stored)
        (work,) = runware.works.values()
        assert [one["frame"] for one in work.body["frameImages"]] == ["first", "last"]
        assert work.body["duration"] == 10

    told(story)


def test_a_finished_task_is_found_by_its_record_when_it_is_no_longer_among_the_active() -> None:
    async def story(rig: RunwareRig, runware: FakeRunware) -> None:
        accepted = await rig.engine.submit(rig.task("one"), NOTHING)
        await until(rig, accepted, Done)
        runware.forgets_results = True
        found = await rig.engine.find("one")
        assert found is not None
        await until(rig, found, Done)
        assert await rig.engine.cancel(found) is Cancelling.TOO_LATE

    told(story)


ERRORS = [
    (400, "insufficientCredits", "INSUFFICIENT_FUNDS"), (402, "", "INSUFFICIENT_FUNDS"),
    (401, "invalidApiKey", "AUTH_INVALID"), (403, "somethingElse", "AUTH_INSUFFICIENT_PERMISSIONS"),
    (400, "invalidProviderContent", "SAFETY_FILTER"), (400, "timeoutProvider", "ENGINE_TIMEOUT"),
    (429, "", "RATE_LIMIT_EXCEEDED"), (400, "concurrencyLimitExceeded", "RATE_LIMIT_EXCEEDED"),
    (400, "invalidModel", "DEPENDENCY_MISSING"), (400, "invalidInteger", "VALIDATION_ERROR"),
    (400, "missingPositivePrompt", "VALIDATION_ERROR"), (400, "somethingNew", "VALIDATION_ERROR"),
    (200, "somethingNew", "ENGINE_ERROR"), (200, "unsupportedDimensions", "VALIDATION_ERROR"),
]


@pytest.mark.parametrize(("status", "reason", "code"), ERRORS)
def test_an_error_for_our_task_is_decoded_whatever_the_status(status: int, reason: str, code: str) -> None:
    async def story(rig: RunwareRig, runware: FakeRunware) -> None:
        uuid = task_uuid("one")
        absent = as_json({"errors": [{"code": "taskNotFound", "message": "none", "taskUUID": uuid}]}, 400)
        runware.answers = [absent, absent, as_json({"data": [], "errors": [
            {"code": "other", "message": "not ours", "taskUUID": "f" * 36},
            {"code": reason, "message": "no", "parameter": "steps", "taskUUID": uuid}]}, status)]
        error = await refused(rig.engine.submit(rig.task("one"), NOTHING))
        assert (error.fault.code, error.submission) == (code, Submission.REFUSED)
        assert error.fault.detail["parameter"] == "steps"

    told(story)


def test_a_refused_task_in_an_answer_with_status_200_is_refused() -> None:
    async def story(rig: RunwareRig, runware: FakeRunware) -> None:
        runware.refusal = {"code": "invalidSteps", "message": "too many", "parameter": "steps"}
        error = await refused(rig.engine.submit(rig.task("one"), NOTHING))
        assert error.fault.code == "VALIDATION_ERROR"
        assert runware.taken == 0
        await until(rig, await rig.engine.submit(rig.task("one"), NOTHING), Done)

    told(story)


@pytest.mark.parametrize("answer", [
    Answer(500, b"oops"), Answer(502, b"<html>"), as_json({"data": []}), Answer(200, b"{}"),
    as_json({"data": [{"taskUUID": "another"}]}),
])
def test_answers_without_our_task_leave_it_open(answer: Answer) -> None:
    async def story(rig: RunwareRig, runware: FakeRunware) -> None:
        absent = as_json({"errors": [{"code": "taskNotFound", "message": "", "taskUUID": task_uuid("one")}]}, 400)
        runware.answers = [absent, absent, answer]
        error = await refused(rig.engine.submit(rig.task("one"), NOTHING))
        assert error.submission is Submission.UNKNOWN

    told(story)


@pytest.mark.parametrize("answer", [
    as_json({"data": []}), as_json({"errors": []}),
    as_json({"errors": [{"code": "invalidApiKey", "message": ""}]}, 401),
    as_json({"errors": [{"code": "internal", "message": "", "taskUUID": task_uuid("one")}]}, 500),
    as_json({"errors": [{"code": "rateLimit", "message": "", "taskUUID": task_uuid("one")}]}, 429),
])
def test_nobody_says_that_an_attempt_is_absent_when_the_answer_is_odd(answer: Answer) -> None:
    async def story(rig: RunwareRig, runware: FakeRunware) -> None:
        runware.answers = [answer]
        await refused(rig.engine.find("one"))

    told(story)


def test_flagged_results_are_no_results() -> None:
    async def story(rig: RunwareRig, runware: FakeRunware) -> None:
        runware.flagged = True
        failed: Failed = await until(rig, await rig.engine.submit(rig.task("one"), NOTHING), Failed)
        assert (failed.fault.code, failed.charged) == ("SAFETY_FILTER", True)

    told(story)


def test_results_without_a_cost_say_so() -> None:
    async def story(rig: RunwareRig, runware: FakeRunware) -> None:
        runware.cost = None
        done: Done = await until(rig, await rig.engine.submit(rig.task("one"), NOTHING), Done)
        assert (done.cost, done.unit) == (None, "")

    told(story)


def test_several_results_come_together_and_not_one_by_one() -> None:
    async def story(rig: RunwareRig, runware: FakeRunware) -> None:
        uuid, url = task_uuid("one"), "https://im.runware.ai/x.png"
        accepted = await rig.engine.submit(rig.task("one"), NOTHING)

        def some(*statuses: str) -> Any:
            return as_json({"data": [{"taskUUID": uuid, "status": one, **({"imageURL": url, "cost": 0.1}
                                     if one == "success" else {})} for one in statuses]})

        runware.answers = [some("success", "processing")]
        assert isinstance(await rig.engine.poll(accepted), Working)
        runware.answers = [some("success", "success", "error")]
        done = await rig.engine.poll(accepted)
        assert isinstance(done, Done)
        assert ([one.name for one in done.products], done.cost) == (["image-1", "image-2"], 0.2)

    told(story)


def test_the_balance_is_told_in_dollars() -> None:
    async def story(rig: RunwareRig, runware: FakeRunware) -> None:
        balance = await rig.engine.balance()
        assert balance is not None
        assert (balance.amount, balance.unit) == (21.75, "usd")

    told(story)
