"""Inputs whose bytes are gone: the work ends with a sentence, nothing is submitted or paid, the credits come back."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engines.scripted import ScriptedEngine
from ports.engine_suite import picture
from working import ASKER, Works, a_step, working

from adapters.engines.studio_local.engine import StudioLocal
from commands.studio.job import CancelJob
from domain.errors import NotFound
from domain.ports.engines import Accepted, Done, EngineError, Outcome, Reading, Task, Working
from domain.studio.fault import fault
from domain.studio.job import Closed, Open
from services.generation.accepting import accepted, again, foreseen
from services.generation.wishes import Wish
from services.importing_assets import import_folder
from services.redaction import SECRETS

NAME = "face.png"

KINDS: dict[str, dict[str, Any]] = {
    "free": {}, "paid": {"paid": True}, "finds": {"paid": True, "finds_attempts": True},
    "repeats": {"paid": True, "repeats_safely": True},
}


async def asset(works: Works, content: bytes) -> str:
    """An asset with those bytes; its digest."""
    folder = works.folder / "import"
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_bytes(content)
    await import_folder(works.studio, folder, project=works.project)
    return hashlib.sha256(content).hexdigest()


def place(works: Works, digest: str) -> Path:
    (found,) = [one for one in (works.folder / "studio" / "blobs").rglob(digest[2:]) if one.is_file()]
    return found


def working_on(uid: str, kind: str = "free", **script: Any) -> Any:
    paid = KINDS[kind].get("paid", False)
    return a_step(operation="image_to_image", paid=paid, finds_attempts="finds_attempts" in KINDS[kind],
                  estimate=300 * paid, inputs={"image": (f"asset:{uid}",)}, parameters={"seed": 1, **script})


async def ended_for_want_of(works: Works, job_id: str, digest: str, code: str = "FILE_NOT_FOUND") -> Closed:
    job = await works.closed(job_id)
    assert job.outcome == "failed"
    assert job.fault is not None
    assert (job.fault.code, job.fault.detail["uid"]) == (code, digest[:16])
    assert digest[:16] in job.fault.message
    assert NAME in job.fault.message
    assert "backup" in job.fault.message
    assert job.fault.meaning.action == "choose_file"
    happened = await works.events(job_id)
    # A worker that the machine keeps waiting for longer than its lease is followed by another one.
    assert happened.count("AttemptStarted") <= happened.count("JobTaken")
    assert job.was.spent == 0
    return job


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_a_job_whose_input_is_gone_fails_and_says_which(tmp_path: Path, kind: str, damage: str) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine(**KINDS[kind])
            await works.grant(1000)
            content = picture(64, 64)
            digest = await asset(works, content)
            job_id = await works.ask(working_on(digest[:16], kind), account="purse")
            stored = place(works, digest)
            if damage == "gone":
                stored.unlink()
            else:
                stored.write_bytes(content[:50] if damage == "cut" else content[:-1] + b"\0")
            works.start()
            await ended_for_want_of(works, job_id, digest, "FILE_NOT_FOUND" if damage == "gone" else "FILE_REFUSED")
            assert engine.submissions() == []
            account = await works.account()
            assert (account.reserved, account.available) == (0, 1000)

    asyncio.run(scenario())


def test_the_built_in_engine_ends_it_as_well(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = StudioLocal(tmp_path / "local")
            works.studio.engines.add(engine)
            digest = await asset(works, picture(64, 64))
            place(works, digest).unlink()
            step = a_step(engine="studio_local", operation="upscale_image", model="lanczos",
                          inputs={"image": (f"asset:{digest[:16]}",)}, parameters={})
            job_id = await works.ask(step)
            works.start()
            await ended_for_want_of(works, job_id, digest)
            assert [one for one in (tmp_path / "local").rglob("*") if one.name.startswith(".coming")] == []

    asyncio.run(scenario())


def test_what_a_step_has_made_may_be_gone_before_the_next(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine()
            second = works.engine(id_="second", paid=True, slots=1)
            await works.grant(1000)
            hold = a_step("hold", "second", paid=True, estimate=10, parameters={"seconds": 60})
            busy = await works.ask(hold, account="purse")
            works.start()
            await works.accepted(busy)
            more = a_step("more", "second", paid=True, estimate=300, inputs={"image": ("step:draw.image",)})
            job_id = await works.ask(a_step(), more, account="purse")
            job = await works.until(job_id, lambda job: isinstance(job, Open) and "draw" in job.finished)
            (uid,) = job.finished["draw"]["image"]
            (stored,) = [one for one in (tmp_path / "studio" / "blobs").rglob(f"{uid[2:]}*") if one.is_file()]
            stored.unlink()
            await works.studio.ask(CancelJob(job_id=busy), ASKER, project=works.project)
            closed = await works.closed(job_id)
            assert closed.fault is not None
            assert (closed.outcome, closed.fault.code) == ("failed", "FILE_NOT_FOUND")
            assert uid in closed.fault.message
            await works.closed(busy)
            assert len(second.submissions()) == 1
            assert (await works.account()).reserved == 0

    asyncio.run(scenario())


class Wavering(ScriptedEngine):
    """Takes the first asking and loses the answer; refuses the second with what it is told to."""

    why: EngineError
    asked = 0

    async def submit(self, task: Task, reading: Reading) -> Accepted:
        self.asked += 1
        if self.asked == 2:
            raise self.why
        return await super().submit(task, reading)


@pytest.mark.parametrize(("code", "doubted"), [
    ("CONNECTION_REFUSED", False), ("FILE_NOT_FOUND", True), ("AUTH_INVALID", True),
])
def test_a_refusal_of_a_repetition_does_not_say_that_the_first_was_refused(
    tmp_path: Path, code: str, doubted: bool
) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = Wavering(tmp_path / "wavering", "wavering", paid=True, repeats_safely=True)
            engine.why = EngineError(fault(code, "Not now."))
            works.studio.engines.add(engine)
            await works.grant(1000)
            job_id = await works.ask(
                a_step(engine="wavering", paid=True, estimate=300, parameters={"seed": 1, "vanish": "after"}),
                account="purse",
            )
            works.start()
            if doubted:
                job = await works.until(
                    job_id, lambda job: isinstance(job, Open) and job.attempt is not None
                    and job.attempt.situation == "doubted",
                )
                assert job.held == 300
                assert (await works.account()).reserved == 300
            else:
                assert (await works.closed(job_id)).outcome == "completed"
            events = await works.events(job_id)
            assert events.count("AttemptStarted") == 1
            assert len(engine.submissions()) == 1

    asyncio.run(scenario())


def test_what_is_gone_is_told_at_the_door(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.studio.engines.add(StudioLocal(tmp_path / "local"))
            digest = await asset(works, picture(64, 64))
            wish = Wish(preset_id="upscale_denoise_image_v1", inputs={"image": digest[:16]})
            found = await accepted(works.studio, works.project, wish, ASKER)
            place(works, digest).unlink()
            for ask in (foreseen, accepted):
                with pytest.raises(NotFound) as caught:
                    await ask(works.studio, works.project, wish, ASKER)
                assert (caught.value.code, digest[:16] in caught.value.message) == ("FILE_NOT_FOUND", True)
                assert caught.value.remediation
            works.start()
            await ended_for_want_of(works, found.job_id, digest)
            with pytest.raises(NotFound):
                await again(works.studio, works.project, found.job_id, ASKER)
            await asset(works, picture(64, 64))
            mended = await again(works.studio, works.project, found.job_id, ASKER)
            assert (await works.closed(mended.job_id, 60)).outcome == "completed"

    asyncio.run(scenario())


class Telling(ScriptedEngine):
    """Says the key with which it was called wherever it can say anything."""

    key = "told-4f1f9c3e8d2b7a6f5e4d3c2b1a"

    async def poll(self, accepted: Accepted) -> Outcome:
        outcome = await super().poll(accepted)
        if isinstance(outcome, Working):
            return Working(outcome.fraction, "x" * 180 + self.key)
        if isinstance(outcome, Done):
            (product,) = outcome.products
            named = replace(product, name="y" * 185 + self.key)
            return replace(outcome, products=(named,), facts={"model": self.key, "seen": [f"at {self.key}"]})
        return outcome


def test_a_key_that_an_engine_repeats_gets_into_no_event(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.studio.engines.add(Telling(tmp_path / "telling", "telling"))
            SECRETS.keep_out([Telling.key])
            works.start()
            job_id = await works.ask(a_step(engine="telling", parameters={"seed": 1, "seconds": 0.3}))
            assert (await works.closed(job_id)).outcome == "completed"
            head = await works.studio.log.head()
            told = "".join([one.data.decode() async for batch in works.studio.log.read(after=0, upto=head)
                            for one in batch])
            assert "***" in told
            assert "ArtifactStored" in await works.events(job_id)
            assert "AttemptProgressed" in await works.events(job_id)
            assert not [at for at in range(len(Telling.key) - 9) if Telling.key[at : at + 10] in told]

    asyncio.run(scenario())
