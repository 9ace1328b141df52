"""Presets from a wish to a file: plans that are accepted or refused, and files whose pixels are looked at."""

from __future__ import annotations

import asyncio
import hashlib
import io
import wave
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines.scripted import ScriptedEngine
from engines.studio_work import read_back
from PIL import Image
from working import ASKER, Works, working

from adapters.engines.studio_local.engine import StudioLocal
from commands.operations.budget import SetBudget
from commands.studio.job import CancelJob
from commands.studio.preset import CreatePreset
from commands.trust.policy import AcknowledgePolicy, SetPolicyRule
from domain.errors import ComfyVNError, Invalid
from domain.ids import UNBRANCHED
from domain.ports import Stream
from domain.ports.engines import Health, Offer, Task
from domain.studio.job import Closed, Open
from services.generation.accepting import accepted, again, foreseen
from services.generation.showing import engines_shown, preset_shown, presets_shown
from services.generation.wishes import Wish
from services.importing_assets import import_folder
from services.studio import Asker

PROJECT = "demo"


class Priced(ScriptedEngine):
    """A paid engine that says what it costs: five cents a picture."""

    price: tuple[float, str] | None = (0.05, "usd")
    status = "connected"

    async def estimate(self, task: Task) -> tuple[float, str] | None:
        return self.price

    async def health(self) -> Health:
        return Health(self.status)  # type: ignore[arg-type]

    async def offers(self) -> Sequence[Offer]:
        return (Offer("text_to_image", "scripted", {"parameters": {"prompt": {"required": True}, "fail": {}}}),)


PAINTED = {
    "id": "painted", "name": "Painted", "category": "image_generation",
    "inputs": {"prompt": {"type": "text", "required": True}, "face": {"type": "image", "shows_person": True},
               "fail": {"type": "text"}},
    "quality_levels": {"low": {}, "standard": {}},
    "steps": [{"id": "paint", "operation": "text_to_image", "ways": [
        {"engine": "painter", "parameters": {"prompt": "{{inputs.prompt}}", "fail": "{{inputs.fail}}"}},
        {"engine": "second", "parameters": {"prompt": "{{inputs.prompt}}"}},
    ]}],
}


def run(folder: Path, work: Callable[[Works], Awaitable[None]]) -> None:
    async def tell() -> None:
        async with working(folder) as works:
            works.studio.engines.add(Priced(folder / "painter", "painter", paid=True, finds_attempts=True))
            preset = CreatePreset.model_validate(PAINTED)
            await works.studio.ask(preset, ASKER, project=PROJECT)
            await work(works)

    asyncio.run(tell())


async def refused(work: Awaitable[Any], code: str) -> ComfyVNError:
    with pytest.raises(ComfyVNError) as caught:
        await work
    assert caught.value.code == code, caught.value.message
    assert caught.value.remediation
    return caught.value


async def asset(works: Works, name: str, content: bytes, **facts: Any) -> str:
    folder = works.folder / f"import-{name}"
    folder.mkdir()
    (folder / name).write_bytes(content)
    await import_folder(works.studio, folder, project=PROJECT, **facts)
    return hashlib.sha256(content).hexdigest()[:16]


def picture(width: int = 64, height: int = 48, noise: float = 40.0) -> bytes:
    pixels = np.random.default_rng(3).normal(128, noise, (height, width, 3)).clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def voice(seconds: float = 1.0) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\1" * int(8000 * seconds))
    return out.getvalue()


def wish(preset: str = "painted", **more: Any) -> Wish:
    inputs = more.pop("inputs", {"prompt": "a boat"})
    return Wish(preset_id=preset, inputs=inputs, **more)


async def allowed(works: Works, credits: int = 10) -> None:
    """The notice is acknowledged and the account filled."""
    await works.studio.ask(AcknowledgePolicy(), ASKER, project=PROJECT)
    await works.grant(credits * 1_000_000, "studio")


def test_paid_work_is_reserved_in_the_decision_that_accepts_it(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        await allowed(works)
        found = await accepted(works.studio, PROJECT, wish(), ASKER)
        assert isinstance(found.job, Open)
        assert found.job.held == 5_000_000
        assert found.job.request.account == "studio"
        assert found.job.request.root == found.job_id
        assert (await works.account("studio")).reserved == 5_000_000
        stream = Stream(PROJECT, UNBRANCHED, "job", found.job_id)
        reserved = await works.studio.log.read_stream(Stream(PROJECT, UNBRANCHED, "ledger", "studio"))
        (requested, *_) = await works.studio.log.read_stream(stream)
        assert requested.command_id == reserved[-1].command_id

    run(tmp_path, work)


def test_nothing_is_recorded_when_the_credits_do_not_suffice(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        await refused(accepted(works.studio, PROJECT, wish(), ASKER), "acknowledgement_missing")
        await works.studio.ask(AcknowledgePolicy(), ASKER, project=PROJECT)
        problem = await refused(accepted(works.studio, PROJECT, wish(), ASKER), "INSUFFICIENT_FUNDS")
        assert problem.remediation[0].action == "top_up"
        await works.grant(4_999_999, "studio")
        await refused(accepted(works.studio, PROJECT, wish(), Asker("author", "k1")), "INSUFFICIENT_FUNDS")
        assert (await works.account("studio")).reserved == 0
        await works.grant(1, "studio")
        found = await accepted(works.studio, PROJECT, wish(), Asker("author", "k1"))
        assert not found.receipt.repeated

    run(tmp_path, work)


def test_fifty_wishes_at_once_on_a_budget_for_ten_and_what_is_given_back_makes_room(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        await allowed(works, 1000)
        limit = SetBudget(scope="project", period="month", amount=50_000_000)
        await works.studio.ask(limit, ASKER, project=PROJECT)
        problems: list[ComfyVNError] = []

        async def one(number: int) -> str | None:
            try:
                return (await accepted(works.studio, PROJECT, wish(), Asker("author", f"k{number}"))).job_id
            except ComfyVNError as error:
                problems.append(error)
                return None

        jobs = [id_ for id_ in await asyncio.gather(*(one(number) for number in range(50))) if id_]
        assert len(jobs) == 10
        assert {error.code for error in problems} == {"BUDGET_EXCEEDED"}
        actions = {remedy.action for remedy in problems[0].remediation}
        assert {"raise_budget", "wait", "lower_quality", "use_local_engine"} <= actions
        assert (problems[0].detail["missing"], problems[0].detail["held"]) == (5_000_000, 50_000_000)
        assert (await works.account("studio")).reserved == 50_000_000
        forecast = await foreseen(works.studio, PROJECT, wish(), ASKER)
        assert forecast["funds"]["problem"]["error"] == "BUDGET_EXCEEDED"
        await works.studio.ask(CancelJob(job_id=jobs[0]), ASKER, project=PROJECT)
        works.start()
        outcomes = [(await works.closed(id_, 60)).outcome for id_ in jobs]
        assert sorted(outcomes) == ["cancelled"] + ["completed"] * 9
        assert (await works.account("studio")).reserved == 0
        found = await accepted(works.studio, PROJECT, wish(), ASKER)
        (stands,) = found.receipt.told["budgets"]
        assert (stands["held"], stands["spent"], stands["left"]) == (5_000_000, 45_000_000, 0)
        assert found.receipt.told["warnings"]
        assert (await works.closed(found.job_id, 60)).outcome == "completed"
        await refused(accepted(works.studio, PROJECT, wish(), ASKER), "BUDGET_EXCEEDED")

    run(tmp_path, work)


def test_how_long_it_takes_is_told_when_it_has_been_done_before(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        await allowed(works, 100)
        works.start()
        first = await accepted(works.studio, PROJECT, wish(), ASKER)
        assert first.seconds is None
        assert (await foreseen(works.studio, PROJECT, wish(), ASKER))["estimated_time_seconds"] is None
        await works.closed(first.job_id, 60)
        jobs = works.studio.registry.views["ListJobs"]
        await works.studio.counted(jobs.reads, await works.studio.log.head())
        told = (await foreseen(works.studio, PROJECT, wish(), ASKER))["estimated_time_seconds"]
        assert isinstance(told, int)
        assert told >= 1
        assert (await accepted(works.studio, PROJECT, wish(quality="low"), ASKER)).seconds is None

    run(tmp_path, work)


def test_the_same_key_leads_to_the_same_job_whatever_became_of_the_engine(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        await allowed(works)
        keyed = Asker("author", "k1")
        first = await accepted(works.studio, PROJECT, wish(), keyed)
        engine: Any = works.studio.engines["painter"]
        engine.status = "offline"
        works.studio.engines.forget("painter")
        second = await accepted(works.studio, PROJECT, wish(), keyed)
        assert second.job_id == first.job_id
        assert second.receipt.repeated
        assert (await works.account("studio")).reserved == 5_000_000
        with pytest.raises(Invalid) as caught:
            await accepted(works.studio, PROJECT, wish(inputs={"prompt": "a house"}), keyed)
        assert caught.value.code == "idempotency_key_reused"

    run(tmp_path, work)


def test_a_price_that_nobody_knows_needs_a_limit_and_a_limit_is_kept(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        await allowed(works, 100)
        await refused(accepted(works.studio, PROJECT, wish(spend_limit=4.9), ASKER), "INSUFFICIENT_FUNDS")
        engine: Any = works.studio.engines["painter"]
        for unknown in (None, (3.0, "tokens"), (-1.0, "usd"), (float("inf"), "usd")):
            engine.price = unknown
            problem = await refused(accepted(works.studio, PROJECT, wish(), ASKER), "VALIDATION_ERROR")
            assert problem.remediation[-1].action == "set_spend_limit"
        found = await accepted(works.studio, PROJECT, wish(spend_limit=7.5), ASKER)
        assert isinstance(found.job, Open)
        assert found.job.held == 7_500_000

    run(tmp_path, work)


def test_consent_is_asked_for_and_recorded(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        await allowed(works)
        face = await asset(works, "face.png", picture())
        inputs = {"prompt": "a boat", "face": face}
        problem = await refused(accepted(works.studio, PROJECT, wish(inputs=inputs), ASKER), "CONSENT_MISSING")
        assert problem.remediation[0].action == "give_consent"
        found = await accepted(works.studio, PROJECT, wish(inputs=inputs, consent_given=True), ASKER)
        assert isinstance(found.job, Open)
        consent = found.job.request.consent
        assert consent is not None
        assert (consent.by, bool(consent.given_at), bool(consent.statement)) == ("author", True, True)
        without = await accepted(works.studio, PROJECT, wish(consent_given=True), ASKER)
        assert isinstance(without.job, Open)
        assert without.job.request.consent is None

    run(tmp_path, work)


@pytest.mark.parametrize(("inputs", "code"), [
    ({}, "MISSING_REQUIRED_FIELD"), ({"prompt": 3}, "INVALID_FIELD_TYPE"),
    ({"prompt": "x", "size": 3}, "CONTRACT_MISMATCH"),
    ({"prompt": "x", "face": "0123456789abcdef"}, "CONSENT_MISSING"),
])
def test_inputs_that_do_not_fit_are_refused_by_name(tmp_path: Path, inputs: dict[str, Any], code: str) -> None:
    async def work(works: Works) -> None:
        problem = await refused(accepted(works.studio, PROJECT, wish(inputs=inputs), ASKER), code)
        assert problem.detail["fields"]

    run(tmp_path, work)


def test_files_must_be_there_and_of_the_right_kind(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        sound = await asset(works, "voice.wav", voice())
        missing = [("0123456789abcdef", "FILE_NOT_FOUND"), ("nobody", "FILE_NOT_FOUND")]
        for uid, code in [(sound, "FILE_REFUSED"), *missing]:
            asked = wish(inputs={"prompt": "x", "face": uid}, consent_given=True)
            await refused(accepted(works.studio, PROJECT, asked, ASKER), code)

    run(tmp_path, work)


def test_the_gate_is_asked_and_blocks(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        await allowed(works)
        await works.studio.ask(SetPolicyRule.model_validate({
            "rule_id": "no_remote", "actions": ["generate"], "about": ["engine"], "level": "block",
            "when": [{"fact": "remote", "op": "is", "values": [True]}], "message": "Nothing leaves this machine.",
            "remedy": {"text": "Use a local engine.", "action": "pick_other_engine"},
        }), ASKER, project=PROJECT)
        asked = accepted(works.studio, PROJECT, wish(), ASKER, action="generate.image")
        assert (await refused(asked, "policy_blocked")).message
        told = await foreseen(works.studio, PROJECT, wish(), ASKER)
        assert told["policy"]["allow"] is False
        assert told["funds"]["ok"] is True

    run(tmp_path, work)


def test_a_dry_run_records_nothing(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        head = await works.studio.log.head()
        told = await foreseen(works.studio, PROJECT, wish(), ASKER)
        assert told["plan"]["credits"] == 5
        assert told["funds"]["problem"]["error"] == "INSUFFICIENT_FUNDS"
        assert await works.studio.log.head() == head

    run(tmp_path, work)


def test_what_is_missing_is_shown_before_anybody_tries(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        shown = await preset_shown(works.studio, PROJECT, "painted")
        assert shown["can_run"]["ok"] is True
        engine: Any = works.studio.engines["painter"]
        engine.status = "not_connected"
        works.studio.engines.forget("painter")
        shown = await preset_shown(works.studio, PROJECT, "painted")
        (missing,) = shown["can_run"]["missing"]
        assert (missing["error"], missing["remediation"][0]["action"]) == ("AUTH_MISSING", "add_key")
        assert len(missing["detail"]["ways"]) == 2
        listed = await presets_shown(works.studio, PROJECT)
        assert len(listed["items"]) == 13
        assert {one["id"]: one["at_hand"] for one in (await engines_shown(works.studio))["items"]}["painter"] is True

    run(tmp_path, work)


def test_a_failed_job_is_repaired_on_another_engine_with_its_lineage(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        await allowed(works)
        works.studio.engines.add(Priced(tmp_path / "second", "second", finds_attempts=True))
        works.start()
        found = await accepted(works.studio, PROJECT, wish(inputs={"prompt": "x", "fail": "SAFETY_FILTER"}), ASKER)
        closed = await works.closed(found.job_id)
        assert closed.outcome == "failed"
        repair = wish("repair_pipeline_v1", inputs={"failed_job_id": found.job_id}, quality="low")
        mended = await accepted(works.studio, PROJECT, repair, ASKER)
        request = mended.job.request if isinstance(mended.job, Open) else mended.job.was.request
        assert (request.retry_of, request.root, request.quality) == (found.job_id, found.job_id, "low")
        assert request.preset == "repair_pipeline_v1"
        done = await works.closed(mended.job_id)
        assert done.outcome == "completed"
        assert done.was.steps[0].engine == "second"
        await refused(accepted(works.studio, PROJECT, wish(
            "repair_pipeline_v1", inputs={"failed_job_id": mended.job_id}), ASKER), "VALIDATION_ERROR")
        await refused(accepted(works.studio, PROJECT, wish(
            "repair_pipeline_v1", inputs={"failed_job_id": "nobody"}), ASKER), "FILE_NOT_FOUND")
        once_more = await again(works.studio, PROJECT, found.job_id, ASKER)
        request = once_more.job.request if isinstance(once_more.job, Open) else once_more.job.was.request
        assert (request.retry_of, request.seed, request.preset) == (
            found.job_id, closed.was.request.seed, "painted",
        )

    run(tmp_path, work)


# --- files -----------------------------------------------------------------------------------------------------------


async def made(works: Works, preset: str, inputs: dict[str, Any], quality: str = "low") -> tuple[Closed, bytes]:
    """A preset run to its end on the built-in engine; the job, and the bytes of the file it made."""
    found = await accepted(works.studio, PROJECT, wish(preset, inputs=inputs, quality=quality), ASKER)
    closed = await works.closed(found.job_id, 120)
    assert closed.outcome == "completed", closed.fault
    ((uid,),) = closed.outputs.values()
    state = (await works.studio.dispatcher.aggregates.load(Stream(PROJECT, UNBRANCHED, "asset", uid))).state
    return closed, await works.studio.blobs.get(state.digest)


def frames(works: Works, content: bytes) -> Any:
    """Every frame of a video as numbers."""
    return read_back(works.folder, content)


def built_in_studio(folder: Path, work: Callable[[Works], Awaitable[None]]) -> None:
    async def tell() -> None:
        async with working(folder) as works:
            engine = StudioLocal(folder / "attempts")
            works.studio.engines.add(engine)
            works.start()
            await work(works)
            await engine.close()

    asyncio.run(tell())


def test_a_noisy_picture_becomes_larger_and_quieter(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        uid = await asset(works, "noise.png", picture(noise=30))
        for quality, scale in (("low", 2), ("pro", 4)):
            _, content = await made(works, "upscale_denoise_image_v1", {"image": uid}, quality)
            image = Image.open(io.BytesIO(content)).convert("RGB")
            assert image.size == (64 * scale, 48 * scale)
            before = np.asarray(Image.open(io.BytesIO(picture(noise=30))), float).std()
            assert np.asarray(image, float).std() < before * 0.8

    built_in_studio(tmp_path, work)


def test_drafts_of_portraits_and_a_storyboard_are_pictures_of_their_size(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        job, content = await made(works, "cinematic_portrait_v1", {
            "prompt": "a keeper", "draft": True, "width": 512, "height": 256, "seed": 9}, "pro")
        assert Image.open(io.BytesIO(content)).size == (512, 256)
        assert [one.id for one in job.was.steps] == ["portrait", "tone", "grade", "grain"]
        _, again_ = await made(works, "cinematic_portrait_v1", {
            "prompt": "a keeper", "draft": True, "width": 512, "height": 256, "seed": 9}, "pro")
        assert again_ == content  # the same seed makes the same picture
        job, sheet = await made(works, "storyboard_builder_v1", {
            "prompt_template": "shot {shot_number} at the harbour", "shot_count": 3, "draft": True, "seed": 1})
        assert [one.parameters.get("prompt") for one in job.was.steps[:3]] == [
            f"shot {n} at the harbour" for n in (1, 2, 3)
        ]
        shown = np.asarray(Image.open(io.BytesIO(sheet)).convert("RGB"))
        assert shown.shape[1] == 1920
        assert shown.std() > 10

    built_in_studio(tmp_path, work)


def test_a_picture_moves_is_graded_and_grows(tmp_path: Path) -> None:
    async def work(works: Works) -> None:
        uid = await asset(works, "scene.png", picture(128, 96))
        job, film = await made(works, "image_to_video_v1", {"image": uid, "duration": 1, "move": "zoom_in"})
        shown = frames(works, film)
        assert len(shown) == 24
        assert np.abs(shown[0].astype(int) - shown[-1].astype(int)).mean() > 3
        clip = job.outputs["video"][0]
        _, warm = await made(works, "color_grade_film_grain_v1", {"video": clip, "style": "warm"})
        red = frames(works, warm)[5][..., 0].mean() - frames(works, warm)[5][..., 2].mean()
        assert red > shown[5][..., 0].mean() - shown[5][..., 2].mean()
        _, large = await made(works, "upscale_deflicker_video_v1", {"video": clip})
        assert frames(works, large)[0].shape[:2] == tuple(side * 2 for side in shown[0].shape[:2])
        sound = await asset(works, "voice.wav", voice(1.0))
        _, talk = await made(works, "talking_clip_v1", {"video": clip, "audio": sound, "draft": True})
        assert len(frames(works, talk)) >= 20
        _, product = await made(works, "ugc_clip_builder_v1", {
            "product_image": uid, "prompt": "on a table", "audio": sound, "duration": 1}, "standard")
        assert len(frames(works, product)) >= 20

    built_in_studio(tmp_path, work)
