"""Workers: what becomes of jobs, whatever engines say or do not say, and however often somebody dies over them."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from engines.scripted import picture
from working import ASKER, QUICK, a_request, a_step, working

from commands.studio.job import CancelJob, ReleaseJob, ResolveAttempt
from commands.studio.job_work import TakeJob
from domain.errors import Refused
from domain.ids import UNBRANCHED
from domain.ports import Stream
from domain.studio.job import Closed, Open
from services.generation.recording import stamp
from services.generation.requesting import requested
from services.studio import Asker

PLAIN = ["JobRequested", "JobPlanned", "JobTaken", "AttemptStarted", "AttemptAccepted", "ArtifactStored",
         "StepFinished", "JobCompleted"]


def test_a_job_becomes_an_asset(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine()
            works.start()
            job_id = await works.ask(a_step(parameters={"seed": 3, "prompt": "a monkey in a garden"}))
            job = await works.closed(job_id)
            assert (job.outcome, job.cost) == ("completed", 0)
            assert await works.events(job_id) == PLAIN
            assert len(engine.submissions()) == 1
            (uid,) = job.outputs["image"]
            asset = (await works.studio.dispatcher.aggregates.load(Stream("demo", UNBRANCHED, "asset", uid))).state
            assert await works.studio.blobs.get(asset.digest) == picture(3)
            (source,) = asset.described.sources
            assert (source.how, source.job_id, source.engine, source.seed) == ("generate", job_id, "scripted", "3")
            told = asset.described.metadata["generation"]
            assert (told["job_id"], told["model"], told["step"]) == (job_id, "scripted-1", "draw")
            assert len(told["prompt_sha256"]) == 64
            assert "monkey" not in str(asset.described)
            assert asset.described.metadata["width"] == 8

    asyncio.run(scenario())


def test_steps_hand_on_what_they_made(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine()
            second = works.engine(id_="other")
            works.start()
            job_id = await works.ask(
                a_step("draw"),
                a_step("more", "other", parameters={"seed": 9, "by": {"$step": "draw.model"}},
                       inputs={"source": ("step:draw.image",)}, output="larger"),
            )
            job = await works.closed(job_id)
            assert job.outcome == "completed"
            assert second.submissions()[0]["parameters"]["by"] == "scripted-1"
            (uid,) = job.outputs["larger"]
            asset = (await works.studio.dispatcher.aggregates.load(Stream("demo", UNBRANCHED, "asset", uid))).state
            (source,) = asset.described.sources
            assert source.made_from == job.was.finished["draw"]["image"]

    asyncio.run(scenario())


@pytest.mark.parametrize("wrong", ["step:nothing.image", "asset:0123456789abcdef"])
def test_a_plan_that_refers_to_nothing_fails_plainly(tmp_path: Path, wrong: str) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine()
            works.start()
            job = await works.closed(await works.ask(a_step(inputs={"source": (wrong,)})))
            assert job.outcome == "failed"
            assert job.fault is not None
            assert job.fault.code in ("CONTRACT_MISMATCH", "FILE_NOT_FOUND")

    asyncio.run(scenario())


# --- money --------------------------------------------------------------------------------------------------------


def paid(**changes: Any) -> Any:
    return a_step(paid=True, estimate=300, **changes)


def test_paid_work_is_settled_at_what_it_cost(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine(paid=True)
            works.start()
            await works.grant(1000)
            job_id = await works.ask(paid(parameters={"seed": 1, "cost": 0.000002}), account="purse")
            job = await works.closed(job_id)
            account = await works.account()
            assert (job.outcome, job.cost) == ("completed", 200)
            assert (account.balance, account.reserved, account.shortfall) == (800, 0, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize(("script", "cost", "tries"), [
    ({"fail": "SAFETY_FILTER"}, 0, 1),
    ({"fail": "SAFETY_FILTER", "charged": True}, 300, 1),
    ({"fail": "ENGINE_ERROR"}, 0, 3),
    ({"fail": "ENGINE_ERROR", "charged": True}, 300, 1),
    ({"lose": True}, 0, 1),
    ({"refuse": "INSUFFICIENT_FUNDS"}, 0, 0),
])
def test_what_was_not_delivered_is_given_back(tmp_path: Path, script: dict[str, Any], cost: int, tries: int) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine(paid=True)
            works.start()
            await works.grant(1000)
            job = await works.closed(await works.ask(paid(parameters={"seed": 1, **script}), account="purse"))
            account = await works.account()
            assert job.outcome == ("lost" if "lose" in script else "failed")
            assert job.fault is not None
            assert job.fault.code == (script.get("fail") or script.get("refuse") or "JOB_LOST")
            assert (job.cost, account.balance, account.reserved) == (cost, 1000 - cost, 0)
            assert len(engine.submissions()) == tries

    asyncio.run(scenario())


def test_fifty_at_once_on_a_balance_for_ten(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine(paid=True, slots=4)
            works.start()
            await works.grant(3000)

            async def one(number: int) -> str | None:
                try:
                    return await works.ask(paid(parameters={"seed": number, "cost": 0.000003}), account="purse")
                except Refused as error:
                    assert error.code == "insufficient_credits"  # noqa: PT017
                    return None

            asked = [id_ for id_ in await asyncio.gather(*(one(number) for number in range(50))) if id_]
            assert len(asked) == 10
            for job_id in asked:
                assert (await works.closed(job_id)).outcome == "completed"
            account = await works.account()
            assert (account.balance, account.reserved, account.shortfall) == (0, 0, 0)

    asyncio.run(scenario())


def test_paid_work_needs_somebody_who_pays(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            with pytest.raises(Refused) as caught:
                await works.ask(paid())
            assert caught.value.code == "account_missing"

    asyncio.run(scenario())


def test_the_same_key_asks_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            await works.grant(1000)
            asker = Asker("author", key="k1")
            first = await works.ask(paid(), asker=asker, account="purse")
            again = await requested(
                works.studio, asker, a_request(account="purse"), (paid(),), project="demo"
            )
            assert (again.id, again.repeated) == (first, True)
            assert (await works.account()).reserved == 300

    asyncio.run(scenario())


# --- doubt --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before", "after"])
def test_paid_work_of_unknown_outcome_is_never_repeated(tmp_path: Path, moment: str) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine(paid=True)
            works.start()
            await works.grant(1000)
            job_id = await works.ask(paid(parameters={"seed": 1, "vanish": moment}), account="purse")
            job = await works.until(job_id, lambda job: job.attempt is not None and job.attempt.situation == "doubted")
            await asyncio.sleep(0.3)  # several looks long: nobody takes it up
            assert len(engine.submissions()) == (moment == "after")
            assert (await works.account()).reserved == 300
            verdict: Any = {"verdict": "never_accepted"}
            if moment == "after":
                verdict = {"verdict": "accepted", "external_id": engine.submissions()[0]["id"]}
            await works.studio.ask(
                ResolveAttempt(job_id=job_id, attempt=job.attempt.id, **verdict), ASKER, project="demo"
            )
            assert (await works.closed(job_id)).outcome == "completed"
            assert len(engine.submissions()) == 1
            assert (await works.account()).reserved == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("is_paid", [False, True])
def test_an_engine_that_finds_attempts_is_asked(tmp_path: Path, moment: str, is_paid: bool) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine(paid=is_paid, finds_attempts=True)
            works.start()
            await works.grant(1000)
            job_id = await works.ask(
                a_step(paid=is_paid, estimate=300 * is_paid, parameters={"seed": 1, "vanish": moment}),
                account="purse",
            )
            assert (await works.closed(job_id)).outcome == "completed"
            assert len(engine.submissions()) == 1
            assert "AttemptDoubted" not in await works.events(job_id)

    asyncio.run(scenario())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_paid_work_is_sent_again_where_the_engine_answers_with_the_first(tmp_path: Path, moment: str) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine(paid=True, repeats_safely=True)
            works.start()
            await works.grant(1000)
            job_id = await works.ask(
                a_step(paid=True, estimate=300, parameters={"seed": 1, "vanish": moment}), account="purse",
            )
            assert (await works.closed(job_id)).outcome == "completed"
            assert len(engine.submissions()) == 1
            events = await works.events(job_id)
            assert (events.count("AttemptStarted"), "AttemptDoubted" in events) == (1, False)

    asyncio.run(scenario())


def test_free_work_of_unknown_outcome_is_tried_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine()
            works.start()
            job_id = await works.ask(a_step(parameters={"seed": 1, "vanish": "after"}))
            assert (await works.closed(job_id)).outcome == "completed"
            assert len(engine.submissions()) == 2
            assert (await works.events(job_id)).count("AttemptStarted") == 2

    asyncio.run(scenario())


# --- failing and trying again -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("script", "code", "attempts"), [
    ({"refuse": "ENGINE_OFFLINE", "times": 2}, None, 3),
    ({"refuse": "ENGINE_OFFLINE"}, "ENGINE_OFFLINE", 3),
    ({"refuse": "DEPENDENCY_MISSING"}, "DEPENDENCY_MISSING", 1),
    ({"fail": "SAFETY_FILTER"}, "SAFETY_FILTER", 1),
    ({"lose": True}, "JOB_LOST", 3),
    ({"products": 0}, "ENGINE_ERROR", 3),
])
def test_what_can_help_is_tried_again_and_no_more(
    tmp_path: Path, script: dict[str, Any], code: str | None, attempts: int
) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine()
            works.start()
            job_id = await works.ask(a_step(parameters={"seed": 1, **script}))
            job = await works.closed(job_id)
            assert (job.fault and job.fault.code) == code
            assert job.outcome == ("completed" if code is None else "failed")
            assert (await works.events(job_id)).count("AttemptStarted") == attempts

    asyncio.run(scenario())


BOMB = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x9c\x40\x00\x00\x9c\x40\x08\x02\x00\x00\x00" + b"\0" * 64


@pytest.mark.parametrize("data", [
    picture(1)[:40], b"", b"<html><body>hello</body></html>", b"MZ\x90\x00" + b"\0" * 200, BOMB,
    b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    b"\0\0\0\x18ftypisom\0\0\0\0isomiso2", b"PK\x03\x04" + b"\0" * 100,
], ids=["truncated", "empty", "html", "program", "bomb", "script", "video", "archive"])
def test_hostile_results_are_refused(tmp_path: Path, data: bytes) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine()
            works.start()
            job_id = await works.ask(a_step(parameters={"seed": 1, "bytes": data.decode("latin-1")}))
            job = await works.closed(job_id)
            assert job.outcome == "failed"
            assert job.fault is not None
            assert job.fault.code == "FILE_REFUSED"
            assert "AssetRegistered" not in [one.type for one in works.studio.log.events]  # type: ignore[attr-defined]
            assert not [one for one in (tmp_path / "studio" / "blobs").rglob("*") if one.is_file()]

    asyncio.run(scenario())


# --- stopping -----------------------------------------------------------------------------------------------------


def test_a_waiting_job_is_cancelled_without_its_engine(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine(paid=True)
            await works.grant(1000)
            job_id = await works.ask(paid(), account="purse")
            await works.studio.ask(CancelJob(job_id=job_id), ASKER, project="demo")
            works.start()
            assert (await works.closed(job_id)).outcome == "cancelled"
            assert engine.submissions() == []
            assert (await works.account()).reserved == 0

    asyncio.run(scenario())


def test_a_running_job_is_cancelled_at_its_engine(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine()
            works.start()
            job_id = await works.ask(a_step(parameters={"seed": 1, "seconds": 60}))
            job = await works.accepted(job_id)
            await works.studio.ask(CancelJob(job_id=job_id), ASKER, project="demo")
            assert (await works.closed(job_id)).outcome == "cancelled"
            assert engine.cancels() == [job.attempt and job.attempt.external_id]

    asyncio.run(scenario())


def test_paid_success_after_the_cancel_is_kept_and_paid(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine(paid=True)
            works.start()
            await works.grant(1000)
            script = {"seed": 1, "seconds": 1.0, "stubborn": True, "cost": 0.000001}
            job_id = await works.ask(paid(parameters=script), paid(id_="more"), account="purse")
            await works.accepted(job_id)
            await works.studio.ask(CancelJob(job_id=job_id), ASKER, project="demo")
            job = await works.closed(job_id)
            assert (job.outcome, job.cost) == ("cancelled", 100)
            assert job.was.finished.keys() == {"draw"}
            assert "ArtifactStored" in await works.events(job_id)
            account = await works.account()
            assert (account.balance, account.reserved) == (900, 0)

    asyncio.run(scenario())


def test_a_job_whose_time_is_over_is_closed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine(slots=1)
            soon = stamp(datetime.now(UTC) + timedelta(seconds=2.5))
            running = await works.ask(a_step(parameters={"seed": 1, "seconds": 60}), deadline=soon)
            queued = await works.ask(a_step(parameters={"seed": 2}), deadline=soon)
            works.start()
            for job_id in (running, queued):
                job = await works.closed(job_id)
                assert job.outcome == "failed"
                assert job.fault is not None
                assert job.fault.code == "DEADLINE_EXCEEDED"
            assert len(engine.submissions()) == 1

    asyncio.run(scenario())


def test_an_engine_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine()
            works.start()
            job_id = await works.ask(a_step(parameters={"seed": 1, "seconds": 60, "deadline_seconds": 0.2}))
            job = await works.closed(job_id)
            assert job.fault is not None
            assert job.fault.code == "ENGINE_TIMEOUT"
            assert len(engine.cancels()) == 3

    asyncio.run(scenario())


# --- workers ------------------------------------------------------------------------------------------------------


def test_slots_are_strict_over_all_workers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine(slots=2)
            for _ in range(3):
                works.start()
            ids = [await works.ask(a_step(parameters={"seed": n, "seconds": 0.15})) for n in range(9)]
            for job_id in ids:
                assert (await works.closed(job_id)).outcome == "completed"
            assert len(engine.submissions()) == 9
            assert engine.most_at_once() == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_slot_that_becomes_free_is_used_at_once(tmp_path: Path, workers: int) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine, _ = works.engine(slots=2), works.engine(id_="idle")
            ids = [await works.ask(a_step(parameters={"seed": n})) for n in range(7)]
            for _ in range(workers):
                works.start(pace=replace(QUICK, look=120.0))  # nobody looks but for a reason
            for job_id in ids:
                assert (await works.closed(job_id, 60)).outcome == "completed"
            assert [one["parameters"]["seed"] for one in engine.submissions()][:2] == [0, 1]
            assert engine.most_at_once() <= 2

    asyncio.run(scenario())


def test_priority_then_fair_share_then_age(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine(slots=1)

            async def ask(seed: int, owner: str, priority: int = 5) -> str:
                return await works.ask(a_step(parameters={"seed": seed}), owner=owner, priority=priority)

            ids = [await ask(n, "anna") for n in (1, 2, 3)]
            ids += [await ask(n, "ben") for n in (11, 12)]
            ids += [await ask(99, "carl", 9)]
            works.start()
            for job_id in ids:
                await works.closed(job_id)
            order = [one["parameters"]["seed"] for one in engine.submissions()]
            assert order == [99, 1, 11, 2, 12, 3]

    asyncio.run(scenario())


def test_a_worker_that_ends_in_order_gives_back_what_it_has(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path, lease_seconds=30) as works:
            engine = works.engine()
            first = works.start()
            job_id = await works.ask(a_step(parameters={"seed": 1, "seconds": 0.5}))
            await works.accepted(job_id)
            first.cancel()
            await asyncio.wait([first])
            assert works.leases.taken == {}
            works.start()
            assert (await works.closed(job_id)).outcome == "completed"
            assert len(engine.submissions()) == 1
            assert (await works.events(job_id)).count("JobTaken") == 2
            assert "JobLeft" in await works.events(job_id)

    asyncio.run(scenario())


def test_a_job_that_ends_its_workers_is_set_aside(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path, lease_seconds=1.0) as works:
            engine = works.engine()
            job_id = await works.ask()
            for taking in (1, 2, 3):  # as of workers that died right after
                await works.studio.ask(TakeJob(job_id=job_id, worker="w", taking=taking), ASKER, project="demo")
            works.start()
            job = await works.until(job_id, lambda job: isinstance(job, Open) and job.quarantined is not None)
            assert job.quarantined.code == "QUARANTINED"
            await asyncio.sleep(0.3)
            assert engine.submissions() == []
            await works.studio.ask(ReleaseJob(job_id=job_id), ASKER, project="demo")
            assert (await works.closed(job_id)).outcome == "completed"

    asyncio.run(scenario())


def test_a_job_in_quarantine_can_be_cancelled(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path, lease_seconds=1.0) as works:
            works.engine(paid=True)
            await works.grant(1000)
            job_id = await works.ask(paid(), account="purse")
            for taking in (1, 2, 3):
                await works.studio.ask(TakeJob(job_id=job_id, worker="w", taking=taking), ASKER, project="demo")
            works.start()
            await works.until(job_id, lambda job: isinstance(job, Open) and job.quarantined is not None)
            await works.studio.ask(CancelJob(job_id=job_id), ASKER, project="demo")
            assert (await works.closed(job_id)).outcome == "cancelled"
            assert (await works.account()).reserved == 0

    asyncio.run(scenario())


def test_a_job_waits_for_an_engine_that_is_not_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine()
            works.start()
            strange = await works.ask(a_step(engine="elsewhere"))
            known = await works.ask()
            assert (await works.closed(known)).outcome == "completed"
            assert await works.events(strange) == ["JobRequested", "JobPlanned"]
            works.engine(id_="elsewhere")
            assert (await works.closed(strange)).outcome == "completed"

    asyncio.run(scenario())


def test_progress_is_recorded_now_and_then(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine()
            works.start()
            job_id = await works.ask(a_step(parameters={"seed": 1, "seconds": 0.6}))
            assert isinstance(await works.closed(job_id), Closed)
            assert 1 <= (await works.events(job_id)).count("AttemptProgressed") <= 21

    asyncio.run(scenario())


def test_a_job_is_not_blamed_for_what_another_does(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path, lease_seconds=10) as works:
            engine = works.engine(slots=8)
            ids = [await works.ask(a_step(parameters={"seed": n, "seconds": 0.6})) for n in range(3)]
            for job_id in ids:
                for taking in (1, 2):  # as of two workers that died with all of these in hand
                    await works.studio.ask(TakeJob(job_id=job_id, worker="w", taking=taking), ASKER, project="demo")
            works.start()
            for job_id in ids:
                await works.closed(job_id)
                assert (await works.events(job_id)).count("JobTaken") == 3
            log: Any = works.studio.log
            taken = [one.stream.id for one in log.events if one.type == "JobTaken" and one.actor.startswith("worker:")]
            accepted = [one.stream.id for one in log.events if one.type == "AttemptAccepted"]
            assert taken == accepted, "the next suspect is taken when the last has shown that it does no harm"
            for one, two in itertools.pairwise(accepted):
                told = [(event.stream.id, event.type) for event in log.events]
                assert told.index((one, "AttemptStarted")) < told.index((two, "AttemptStarted"))
            assert len(engine.submissions()) == 3

    asyncio.run(scenario())
