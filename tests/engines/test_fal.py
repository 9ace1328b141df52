"""fal passes the suite of all engines, and its own traps are known: errors inside ``COMPLETED``, keys, storage."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from engines.fake_fal import FakeFal
from engines.fake_service import CLIP, ServiceRig
from engines.wire import Answer, as_json
from ports.engine_suite import NOTHING, EngineSuite, Rig, Stored, fetched, picture, refused, until

from adapters.engines.fal import Fal, products_in
from domain.ports.engines import (
    Accepted,
    Cancelled,
    Cancelling,
    Done,
    Engine,
    EngineError,
    Failed,
    Lost,
    Material,
    Submission,
    Task,
)


class FalRig(ServiceRig):
    service: FakeFal
    failure = {"error": f"the runner said: {FakeFal.key} at /home/someone/x.py", "error_type": "runner_disconnected"}

    def made(self) -> Engine:
        url = self.service.url
        return Fal(self.known(), queue=url, platform=url, storage=url, patience_seconds=self.patience_seconds)

    def task(self, attempt: str) -> Task:
        return Task(attempt, "text_to_image", "fal-ai/flux/dev", {"prompt": f"a harbour, {attempt}", "seed": 7})

    def working_on(self, attempt: str, material: Material) -> Task:
        return Task(attempt, "upscale_image", "fal-ai/clarity-upscaler", {"factor": 2}, {"image": [material]})

    async def received(self, material: Material) -> bytes | None:
        return self.service.given(material.digest)


class TestFal(EngineSuite):
    @asynccontextmanager
    async def open(self, tmp_path: Path) -> AsyncIterator[Rig]:
        async with FakeFal() as server:
            yield FalRig(server)


Story = Callable[[FalRig, FakeFal], Awaitable[None]]


def told(story: Story) -> None:
    async def whole() -> None:
        async with FakeFal() as server, asyncio.timeout(20):
            rig = FalRig(server)
            try:
                await story(rig, server)
            finally:
                await rig.engine.close()

    asyncio.run(whole())


def test_a_request_says_what_fal_wants_to_hear() -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        task = dataclasses.replace(rig.task("one"), callback_url="https://studio.example/api/webhooks/provider_fal/x")
        await rig.engine.submit(task, NOTHING)
        (asked,) = fal.submits()
        assert asked.path == "/fal-ai/flux/dev"
        assert asked.query["fal_webhook"] == task.callback_url
        assert asked.json == {
            "prompt": "a harbour, one", "image_size": {"width": 1024, "height": 1024}, "num_inference_steps": 28,
            "guidance_scale": 3.5, "num_images": 1, "seed": 7, "enable_safety_checker": True, "output_format": "png",
        }

    told(story)


def test_a_video_is_made_larger_at_the_size_that_is_paid_for() -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        clip = Stored(CLIP)
        video = dataclasses.replace(clip.materials[0], media_type="video/mp4")
        task = Task("one", "upscale_video", "fal-ai/bytedance-upscaler/upscale/video", {"variant": "2k", "seed": 7},
                    {"video": [video]})
        await rig.engine.submit(task, clip)
        (asked,) = fal.submits()
        assert asked.path == "/fal-ai/bytedance-upscaler/upscale/video"
        assert asked.json.keys() == {"video_url", "target_resolution", "target_fps"}
        assert (asked.json["target_resolution"], asked.json["target_fps"]) == ("2k", "30fps")
        error = await refused(rig.engine.submit(dataclasses.replace(task, parameters={"variant": "8k"}), clip))
        assert error.submission is Submission.REFUSED

    told(story)


def test_status_and_result_are_asked_of_owner_and_app_alone() -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        accepted = await rig.engine.submit(rig.task("one"), NOTHING)
        await until(rig, Accepted(accepted.external_id, {"model": accepted.memo["model"]}), Done)
        assert any(one.path == f"/fal-ai/flux/requests/{accepted.external_id}/status" for one in fal.seen)

    told(story)


def test_addresses_on_other_hosts_are_never_sent_the_key() -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        async with FakeFal() as thief:
            fal.answers = [as_json({"request_id": "abc", "status_url": f"{thief.url}/x", "response_url": "file:///x",
                                    "cancel_url": 5})]
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            assert accepted.memo == {"model": "fal-ai/flux/dev"}
            stolen = Accepted("abc", {**accepted.memo, "status_url": f"{thief.url}/x", "cancel_url": f"{thief.url}/x"})
            assert isinstance(await rig.engine.poll(stolen), Lost)
            assert await rig.engine.cancel(stolen) is Cancelling.UNKNOWN_TASK
            assert thief.seen == []

    told(story)


ENDINGS: list[tuple[str, Any, str]] = [
    ("a timeout", {"error": "Request timed out", "error_type": "request_timeout"}, "ENGINE_TIMEOUT"),
    ("no runner", {"error": "No runner", "error_type": "runner_scheduling_failure"}, "SERVICE_UNAVAILABLE"),
    ("an error without its kind", {"error": "CUDA out of memory"}, "ENGINE_ERROR"),
    ("a kind without words", {"error_type": "something_new"}, "ENGINE_ERROR"),
    ("a refused prompt", as_json({"detail": [{"loc": ["body", "prompt"], "msg": "flagged",
                                              "type": "content_policy_violation"}]}, 422), "SAFETY_FILTER"),
    ("a wrong field", as_json({"detail": [{"loc": ["body", "image_size"], "msg": "too large",
                                           "type": "image_too_large"}]}, 422), "VALIDATION_ERROR"),
    ("a broken model", as_json({"detail": [{"loc": ["body"], "msg": "Internal", "type": "internal_server_error"}]},
                               500), "SERVICE_UNAVAILABLE"),
    ("a late result", as_json({"detail": "Request timed out", "error_type": "request_timeout"}, 504),
     "ENGINE_TIMEOUT"),
]


@pytest.mark.parametrize(("how", "code"), [(how, code) for _, how, code in ENDINGS], ids=[one[0] for one in ENDINGS])
def test_completed_is_no_success_before_the_result_was_read(how: Any, code: str) -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        fal.fail_next = how
        outcome = await until(rig, await rig.engine.submit(rig.task("one"), NOTHING), Failed)
        assert outcome.fault.code == code
        assert not outcome.charged

    told(story)


def test_a_blackened_picture_is_no_result_and_was_paid() -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        fal.result = {"has_nsfw_concepts": [True]}
        outcome = await until(rig, await rig.engine.submit(rig.task("one"), NOTHING), Failed)
        assert (outcome.fault.code, outcome.charged) == ("SAFETY_FILTER", True)

    told(story)


def test_a_result_that_cannot_be_read_now_is_asked_for_again() -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        accepted = await rig.engine.submit(rig.task("one"), NOTHING)
        await until(rig, accepted, Done)
        for broken in (Answer(502, b"<html>bad gateway</html>"), as_json({"detail": "slow down"}, 429)):
            fal.answers = [as_json({"status": "COMPLETED"}), broken]
            error = await refused(rig.engine.poll(accepted))
            assert error.fault.retryable
        await until(rig, accepted, Done)

    told(story)


REFUSALS = [
    (401, {"detail": "Authentication is required"}, "AUTH_INVALID", Submission.REFUSED),
    (403, {"detail": "User is locked. Reason: Exhausted balance. Top up"}, "INSUFFICIENT_FUNDS", Submission.REFUSED),
    (403, {"detail": "Forbidden"}, "AUTH_INSUFFICIENT_PERMISSIONS", Submission.REFUSED),
    (402, {}, "INSUFFICIENT_FUNDS", Submission.REFUSED),
    (404, {"detail": "Application not found"}, "DEPENDENCY_MISSING", Submission.REFUSED),
    (422, {"detail": [{"loc": ["body", "prompt"], "msg": "field required", "type": "missing"}]}, "VALIDATION_ERROR",
     Submission.REFUSED),
    (429, {"detail": "Too many"}, "RATE_LIMIT_EXCEEDED", Submission.REFUSED),
    (500, {"detail": "oops"}, "ENGINE_ERROR", Submission.UNKNOWN),
    (503, {"detail": "busy", "error_type": "runner_scheduling_failure"}, "SERVICE_UNAVAILABLE", Submission.UNKNOWN),
    (504, {}, "ENGINE_TIMEOUT", Submission.UNKNOWN),
]


@pytest.mark.parametrize(("status", "body", "code", "submission"), REFUSALS)
def test_a_refused_submission_is_decoded(status: int, body: Any, code: str, submission: Submission) -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        fal.answers = [Answer(status, as_json(body).body, headers={"Retry-After": "17"})]
        error = await refused(rig.engine.submit(rig.task("one"), NOTHING))
        assert (error.fault.code, error.submission) == (code, submission)
        assert error.fault.retry_after_seconds == 17
        assert error.fault.detail["status"] == status
        assert fal.taken == 0

    told(story)


def test_cancelling_is_only_asked_for_and_then_seen() -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        fal.held = "waiting"
        accepted = await rig.engine.submit(rig.task("one"), NOTHING)
        assert await rig.engine.cancel(accepted) is Cancelling.REQUESTED
        fal.held = None
        await until(rig, accepted, Cancelled)

    told(story)


def test_large_files_are_put_into_the_storage_without_the_key() -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        large = b"\x89PNG\r\n\x1a\n" + bytes(4 * 2**20)
        stored = Stored(large, piece=100_000)
        await rig.engine.submit(rig.working_on("one", stored.materials[0]), stored)
        (asked,) = fal.submits()
        assert asked.json["image_url"].startswith("https://v3.fal.media/files/")
        assert fal.given(stored.materials[0].digest) == large

    told(story)


def test_files_that_do_not_fit_are_refused_unread() -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        for material in (Material("sha256:" + "1" * 64, 31_000_000, "image/png"),
                         Material("sha256:" + "1" * 64, 10, "video/mp4")):
            error = await refused(rig.engine.submit(rig.working_on("one", material), NOTHING))
            assert error.submission is Submission.REFUSED
        short = Stored(picture())
        shrunk = dataclasses.replace(short.materials[0], size=short.materials[0].size + 1)
        assert (await refused(rig.engine.submit(rig.working_on("two", shrunk), short))).fault.code == "FILE_NOT_FOUND"
        assert fal.seen == []

    told(story)


def test_the_balance_needs_an_admin_key() -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        assert await rig.engine.balance() is None
        assert (await rig.engine.health()).facts == {"balance": "needs an admin key"}

        async def both(_: str) -> dict[str, str]:
            return {"api_key": fal.key, "admin_key": fal.admin_key}

        engine = Fal(both, queue=fal.url, platform=fal.url, storage=fal.url)
        balance = await engine.balance()
        assert balance is not None
        assert (balance.amount, balance.unit) == (12.5, "usd")
        await engine.close()

    told(story)


def test_the_price_list_is_asked_where_it_can_be_reckoned_with() -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        assert await rig.engine.estimate(rig.task("one")) is None
        fal.prices["fal-ai/flux/dev"] = (0.025, "megapixels")
        size = {"prompt": "x", "width": 1536, "height": 1024, "count": 2}
        assert await rig.engine.estimate(Task("one", "text_to_image", "fal-ai/flux/dev", size)) == (0.1, "usd")
        fal.prices["fal-ai/flux/dev"] = (0.025, "compute seconds of some machine")
        assert await rig.engine.estimate(rig.task("one")) is None

    told(story)


def test_without_a_key_nothing_is_asked() -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        async def nothing(_: str) -> None:
            return None

        engine = Fal(nothing, queue=fal.url, platform=fal.url, storage=fal.url)
        for work in (engine.submit(rig.task("one"), NOTHING), engine.verify(), engine.poll(Accepted("x", {}))):
            assert (await refused(work)).fault.code == "AUTH_MISSING"
        health = await engine.health()
        assert (health.status, health.remedy is not None) == ("not_connected", True)
        assert fal.seen == []
        await engine.close()

    told(story)


def test_a_wrong_key_is_said_to_be_wrong_and_not_repeated() -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        async def wrong(_: str) -> dict[str, str]:
            return {"api_key": "sk-wrong"}

        engine = Fal(wrong, queue=fal.url, platform=fal.url, storage=fal.url)
        error = await refused(engine.verify())
        assert error.fault.code == "AUTH_INVALID"
        assert (await engine.health()).status == "not_connected"
        await engine.close()

    told(story)


def test_results_are_fetched_from_public_addresses_alone() -> None:
    async def story(rig: FalRig, fal: FakeFal) -> None:
        async with FakeFal() as inside:
            inside.files["x.png"] = picture()
            fal.result = {"images": [{"url": f"{inside.url}/files/x.png", "content_type": "image/png"}]}
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            done: Done = await until(rig, accepted, Done)
            with pytest.raises(EngineError) as caught:
                await fetched(rig.engine, accepted, done.products[0])
            assert caught.value.fault.code == "FILE_REFUSED"
            assert inside.seen == []

    told(story)


def test_files_are_found_wherever_a_result_names_them() -> None:
    a, b = {"url": "https://x/a.png"}, {"url": "https://x/b.mp4", "content_type": "video/mp4; codecs=avc1"}
    assert [(one.name, one.media_type) for one in products_in({"images": [a, a], "video": b, "timings": {"x": a}})] == [
        ("images-1", "image/png"), ("images-2", "image/png"), ("video", "video/mp4"),
    ]
    assert [one.name for one in products_in({"image": a})] == ["image"]
    unfit = {"image": {"url": "data:image/png;base64,x"}, "log": {"url": 5}, "deep": [[[[[[[[a]]]]]]]]}
    assert products_in(unfit) == []
    assert len(products_in({"images": [a] * 500})) == 64
