"""Sync passes the suite of all engines; its own traps are known: keys of submissions, REJECTED, two kinds of 429."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from engines.fake_service import CLIP, ServiceRig
from engines.fake_sync import FakeSync, parts_of
from engines.wire import Answer, as_json
from ports.engine_suite import NOTHING, EngineSuite, Rig, Stored, refused, until

from adapters.engines.synclabs import SyncLabs
from domain.ports.engines import Cancelling, Done, Engine, Failed, Material, Reading, Submission, Task

VOICE = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(32)
VIDEO_FILE, VOICE_FILE = Stored(CLIP, media_type="video/mp4"), Stored(VOICE, media_type="audio/wav")
VIDEO, AUDIO = VIDEO_FILE.materials[0], VOICE_FILE.materials[0]


def files(others: Reading) -> Reading:
    """The video and the voice of every task, besides what others give."""
    def read(material: Material) -> Any:
        return {VIDEO: VIDEO_FILE, AUDIO: VOICE_FILE}.get(material, others)(material)

    return read


class WithFiles(SyncLabs):
    """Sync, whose tasks always need files: those of the suite's small task are at hand."""

    async def submit(self, task: Task, reading: Reading) -> Any:
        return await super().submit(task, files(reading))


class SyncRig(ServiceRig):
    service: FakeSync
    failure = {"error": f"the runner said {FakeSync.key} in /home/someone/x", "error_code": "generation_failed"}

    def made(self) -> Engine:
        return WithFiles(self.known(), url=self.service.url, patience_seconds=self.patience_seconds,
                         upload_seconds=self.patience_seconds)

    def task(self, attempt: str) -> Task:
        return Task(attempt, "lip_sync", "lipsync-2", {"seed": 7}, {"video": [VIDEO], "audio": [AUDIO]})

    def working_on(self, attempt: str, material: Material) -> Task:
        shown = dataclasses.replace(material, media_type="video/mp4")
        return Task(attempt, "lip_sync", "lipsync-2", {}, {"video": [shown], "audio": [AUDIO]})

    async def received(self, material: Material) -> bytes | None:
        (work,) = self.service.works.values()
        return bytes(work.body["video"])

    def unsuitable(self, attempt: str) -> Sequence[Task]:
        task = self.task(attempt)
        return [
            dataclasses.replace(task, model="no-such-model"), dataclasses.replace(task, operation="text_to_image"),
            dataclasses.replace(task, parameters={"frobnicate": 1}), dataclasses.replace(task, inputs={}),
            dataclasses.replace(task, parameters={"temperature": 2}),
            dataclasses.replace(task, parameters={"sync_mode": "never"}),
            dataclasses.replace(task, inputs={"video": [VIDEO]}),
            dataclasses.replace(task, inputs={"video": [VIDEO, VIDEO], "audio": [AUDIO]}),
            dataclasses.replace(task, inputs={"video": [AUDIO], "audio": [AUDIO]}),
        ]


class TestSyncLabs(EngineSuite):
    @asynccontextmanager
    async def open(self, tmp_path: Path) -> AsyncIterator[Rig]:
        async with FakeSync() as server:
            yield SyncRig(server)


Story = Callable[[SyncRig, FakeSync], Awaitable[None]]


def told(story: Story) -> None:
    async def whole() -> None:
        async with FakeSync() as server, asyncio.timeout(20):
            rig = SyncRig(server)
            try:
                await story(rig, server)
            finally:
                await rig.engine.close()

    asyncio.run(whole())


def test_a_submission_is_a_form_under_our_key() -> None:
    async def story(rig: SyncRig, sync: FakeSync) -> None:
        accepted = await rig.engine.submit(
            dataclasses.replace(rig.task("one"), callback_url="https://studio.example/hook"), NOTHING)
        (asked,) = sync.submits()
        assert asked.headers["idempotency-key"] == "one"
        assert parts_of(asked) == {
            "model": b"lipsync-2", "options": b'{"sync_mode":"cut_off","temperature":0.5}', "video": CLIP,
            "audio": VOICE, "webhookUrl": b"https://studio.example/hook",
        }
        done: Done = await until(rig, accepted, Done)
        assert done.facts == {"model": "lipsync-2", "seconds": 4.2}
        assert done.cost is None

    told(story)


def test_a_lost_answer_is_asked_for_by_sending_the_same_again() -> None:
    async def story(rig: SyncRig, sync: FakeSync) -> None:
        sync.drop_next = True
        assert (await refused(rig.engine.submit(rig.task("one"), NOTHING))).submission is Submission.UNKNOWN
        assert rig.engine.traits.repeats_safely
        accepted = await rig.engine.submit(rig.task("one"), NOTHING)
        assert sync.taken == 1
        await until(rig, accepted, Done)
        assert (await rig.engine.submit(rig.task("one"), NOTHING)).external_id == accepted.external_id
        assert sync.taken == 1

    told(story)


def test_another_task_under_a_known_key_leaves_it_open() -> None:
    async def story(rig: SyncRig, sync: FakeSync) -> None:
        await rig.engine.submit(rig.task("one"), NOTHING)
        other = dataclasses.replace(rig.task("one"), parameters={"temperature": 0.9})
        error = await refused(rig.engine.submit(other, NOTHING))
        assert (error.submission, error.fault.detail["reason"]) == (Submission.UNKNOWN, "IDEMPOTENCY_KEY_REUSED")
        assert sync.taken == 1

    told(story)


def test_an_unknown_outcome_with_a_name_is_that_task() -> None:
    async def story(rig: SyncRig, sync: FakeSync) -> None:
        first = await rig.engine.submit(rig.task("one"), NOTHING)
        unknown = {"errorCode": "IDEMPOTENCY_OUTCOME_UNKNOWN", "message": "poll it", "generationId": first.external_id}
        sync.answers = [as_json(unknown, 409)]
        assert (await rig.engine.submit(rig.task("one"), NOTHING)).external_id == first.external_id
        sync.answers = [as_json({"errorCode": "IDEMPOTENCY_OUTCOME_UNKNOWN", "message": "who knows"}, 409)]
        assert (await refused(rig.engine.submit(rig.task("one"), NOTHING))).submission is Submission.UNKNOWN

    told(story)


REFUSALS = [
    (400, "INVALID_IDEMPOTENCY_KEY", "VALIDATION_ERROR", Submission.REFUSED, None),
    (401, "unauthorized", "AUTH_INVALID", Submission.REFUSED, None),
    (402, "payment_required", "INSUFFICIENT_FUNDS", Submission.REFUSED, None),
    (403, "", "AUTH_INSUFFICIENT_PERMISSIONS", Submission.REFUSED, None),
    (422, "validation", "VALIDATION_ERROR", Submission.REFUSED, None),
    (429, "rate_limit_exceeded", "RATE_LIMIT_EXCEEDED", Submission.REFUSED, 10),
    (429, "concurrency_limit_reached", "RATE_LIMIT_EXCEEDED", Submission.REFUSED, 30),
    (500, "", "ENGINE_ERROR", Submission.UNKNOWN, None), (503, "", "SERVICE_UNAVAILABLE", Submission.UNKNOWN, None),
    (409, "IDEMPOTENCY_REQUEST_IN_PROGRESS", "SERVICE_UNAVAILABLE", Submission.UNKNOWN, None),
]


@pytest.mark.parametrize(("status", "reason", "code", "submission", "wait"), REFUSALS)
def test_a_refusal_is_decoded(status: int, reason: str, code: str, submission: Submission, wait: Any) -> None:
    async def story(rig: SyncRig, sync: FakeSync) -> None:
        sync.answers = [as_json({"statusCode": status, "errorCode": reason, "message": "no"}, status)]
        error = await refused(rig.engine.submit(rig.task("one"), NOTHING))
        assert (error.fault.code, error.submission, error.fault.retry_after_seconds) == (code, submission, wait)

    told(story)


ENDS = [
    ({"status": "REJECTED", "error": "The input is not suitable"}, "VALIDATION_ERROR"),
    ({"status": "REJECTED", "error": "flagged by content moderation"}, "SAFETY_FILTER"),
    ({"status": "FAILED", "error": "No face", "error_code": "generation_input_video_inaccessible"}, "VALIDATION_ERROR"),
    ({"status": "FAILED", "error": "Something broke", "error_code": "generation_pipeline_failed"}, "ENGINE_ERROR"),
    ({"status": "FAILED", "error": None}, "ENGINE_ERROR"), ({"status": "TIMED_OUT"}, "ENGINE_TIMEOUT"),
    ({"status": "FAILED", "errorCode": "generation_timeout", "error": "too slow"}, "ENGINE_TIMEOUT"),
]


@pytest.mark.parametrize(("how", "code"), ENDS)
def test_every_bad_end_is_an_end(how: dict[str, Any], code: str) -> None:
    async def story(rig: SyncRig, sync: FakeSync) -> None:
        sync.fail_next = how
        failed: Failed = await until(rig, await rig.engine.submit(rig.task("one"), NOTHING), Failed)
        assert failed.fault.code == code

    told(story)


def test_the_plans_concurrency_is_waited_for() -> None:
    async def story(rig: SyncRig, sync: FakeSync) -> None:
        sync.concurrency, sync.held = 1, "working"
        first = await rig.engine.submit(rig.task("one"), NOTHING)
        error = await refused(rig.engine.submit(rig.task("two"), NOTHING))
        assert error.fault.retryable
        assert await rig.engine.cancel(first) is Cancelling.UNSUPPORTED
        sync.held = None
        await until(rig, first, Done)
        await rig.engine.submit(rig.task("two"), NOTHING)

    told(story)


def test_there_is_no_balance_and_that_is_said() -> None:
    async def story(rig: SyncRig, sync: FakeSync) -> None:
        assert await rig.engine.balance() is None
        assert await rig.engine.estimate(rig.task("one")) is None
        assert "balance" in (await rig.engine.health()).facts
        sync.answers = [Answer(200, b'{"not": "a list"}')]
        await refused(rig.engine.verify())

    told(story)
