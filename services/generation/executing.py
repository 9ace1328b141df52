"""Executing one job: whatever its log says decides what is done next, so a worker can go on wherever another stopped.

The rule of every line here: what an engine is about to be asked is recorded before, what it answered before anybody
acts on it, and a job is closed in one decision with its account.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Final

import structlog

from commands.studio.job_work import (
    AcceptAttempt,
    ClearJob,
    CompleteJob,
    DoubtAttempt,
    FailJob,
    LeaveJob,
    StartAttempt,
    StopJob,
    TakeJob,
)
from domain.errors import ComfyVNError
from domain.ports.engines import Accepted, Engine, EngineError, Submission, Task
from domain.ports.leases import Lease
from domain.studio.fault import Fault, fault
from domain.studio.job import Open
from domain.studio.job_values import Attempt, Step
from services.generation import tasks
from services.generation.engines import Engines, not_there
from services.generation.failing import failing
from services.generation.following import Followed, Following
from services.generation.handing import found, handed, told_to_stop
from services.generation.pace import Pace
from services.generation.recording import Gone, Hand, safe
from services.generation.settling import closing
from services.generation.slots import Slots
from services.media.rendering import Renderer

ENDING_SECONDS: Final = 3.0
"""How long a worker that is told to end lets an engine answer a task that is just being handed over."""

PATIENT: Final = frozenset({
    "ENGINE_OFFLINE", "CONNECTION_REFUSED", "CONNECTION_TIMEOUT", "SERVICE_UNAVAILABLE", "RATE_LIMIT_EXCEEDED",
})
"""Faults that say something about the engine and nothing about the job: no new work is taken to it for a while."""

REFUSALS: Final = 10
"""Records that are refused one after the other before a worker lets go of a job that it does not understand."""

log = structlog.get_logger("jobs")


@dataclass(slots=True)
class Tools:
    """What every job of a worker uses. ``rest(engine, seconds)`` is told when an engine needs a pause.

    ``suspicion`` is held by a job over which a worker has ended: only one of these is in hand at a time, so that the
    others are not blamed when it happens again.
    """

    engines: Engines
    slots: Slots
    renderer: Renderer
    pace: Pace
    rest: Callable[[str, float], None]
    hold: Callable[[Lease], None]
    drop: Callable[[Lease], None]
    suspicion: asyncio.Lock


@dataclass(slots=True)
class Execution:
    """One job, taken by this worker. ``slot`` is the engine's place that it holds, with the engine's id."""

    hand: Hand
    tools: Tools
    slot: tuple[str, Lease] | None = None
    taking: int = 0
    clearing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until the job is over, waits for somebody, or is somebody else's. Holds nothing afterwards."""
        try:
            if await self._taken():
                while await self._moved():
                    if self.hand.refusals > REFUSALS:
                        log.error("job_stuck", job=self.hand.job_id, why=self.hand.refused)
                        break
        except Gone:
            log.warning("job_gone", job=self.hand.job_id)
        except asyncio.CancelledError:
            with suppress(Gone, ComfyVNError, TimeoutError):
                async with asyncio.timeout(1):
                    await self._left()
            raise
        finally:
            if self.clearing is not None:
                self.clearing.cancel()
                with suppress(asyncio.CancelledError):
                    await self.clearing
            with suppress(ComfyVNError):
                await self._free()

    async def _taken(self) -> bool:
        job = await self.hand.load()
        if not isinstance(job, Open):
            return False
        if job.cancelling and _resting(job):
            return True  # it only has to be closed
        if job.quarantined is not None:
            return job.cancelling
        if job.attempt is not None and job.attempt.situation == "doubted":
            return False
        waits = job.attempt is not None and job.attempt.situation == "waiting"
        if job.taking > waits and self.clearing is None:  # who gave it back until a retry has not ended over it
            await self.tools.suspicion.acquire()
            self.clearing = asyncio.create_task(self._cleared())
            self.clearing.add_done_callback(lambda _: self.tools.suspicion.release())
            return await self._taken()
        self.taking = job.taking + 1
        take = TakeJob(job_id=self.hand.job_id, worker=self.hand.worker, taking=self.taking)
        step = job.step()
        if not job.taking and step is not None and self._at_once(job, step):
            # Nothing happens outside between taking it and its first attempt: both are one record.
            return await self._begun(job, step, take)
        taken = await self.hand.record(take)
        after = await self.hand.load()
        return taken and isinstance(after, Open) and after.quarantined is None

    def _at_once(self, job: Open, step: Step) -> bool:
        """Whether its first attempt can begin without anything being waited for."""
        return (
            job.attempt is None and not job.cancelling and not self._late(job)
            and self.slot is not None and self.slot[0] == step.engine and step.engine in self.tools.engines
        )

    async def _cleared(self) -> None:
        """Lifts the suspicion when this worker still lives after a while."""
        with suppress(Gone):
            await asyncio.sleep(self.tools.pace.steady)
            if self.taking:
                await self.hand.record(
                    ClearJob(job_id=self.hand.job_id, worker=self.hand.worker, taking=self.taking)
                )

    async def _left(self) -> None:
        if self.taking:
            await self.hand.record(
                LeaveJob(job_id=self.hand.job_id, worker=self.hand.worker, taking=self.taking)
            )

    async def _moved(self) -> bool:
        """One move; false when there is nothing more to do here now."""
        job = await self.hand.load()
        if not isinstance(job, Open):
            return False
        attempt = job.attempt
        if attempt is None or attempt.situation == "waiting":
            return await self._resting(job, attempt)
        if attempt.situation == "doubted":
            return False
        if job.quarantined is not None:
            return await self._abandoned(job, attempt)
        step = next(one for one in job.steps if one.id == attempt.step)
        engine = self.tools.engines.get(step.engine)
        if engine is None:  # another worker has it
            await self._left()
            return False
        await self._ready(step)
        if attempt.situation == "started":
            return await self._recovered(job, step, attempt, engine)
        return await self._followed(job, step, attempt, engine)

    # --- between attempts -------------------------------------------------------------------------------------

    async def _resting(self, job: Open, attempt: Attempt | None) -> bool:
        step = job.step()
        job_id = self.hand.job_id
        if step is None:
            await self.hand.record(CompleteJob(job_id=job_id), *closing(job, job_id))
        elif job.cancelling:
            await self.hand.record(StopJob(job_id=job_id), *closing(job, job_id, reason="The job was cancelled."))
        elif self._late(job):
            await self._closed(job, fault("DEADLINE_EXCEEDED", "The job's time was over before it was done."))
        elif attempt is not None and attempt.retry_at and (pause := self.hand.until(attempt.retry_at)) > 0:
            if pause > self.tools.pace.look:
                return False  # whoever looks when it is time takes it again
            await self._free_slot()
            await asyncio.sleep(pause)
        else:
            await self._begun(job, step)
        return True

    async def _closed(self, job: Open, why: Fault, *taking: TakeJob, lost: bool = False) -> None:
        await self.hand.record(
            *taking, FailJob(job_id=self.hand.job_id, fault=safe(why), lost=lost),
            *closing(job, self.hand.job_id, reason=why.message),
        )

    async def _begun(self, job: Open, step: Step, *taking: TakeJob) -> bool:
        """A new attempt: the engine's slot, the record, and only then the engine. ``taking`` is recorded with it; false
        when that was refused."""
        engine = self.tools.engines.get(step.engine)
        if engine is None:
            await self._closed(job, not_there(step.engine))
            return True
        await self._ready(step)
        if not taking:
            job_now = await self.hand.load()
            if not isinstance(job_now, Open) or job_now.cancelling:
                return True
        attempt = token_hex(11)
        try:
            task = await tasks.task_of(self.hand.studio, self.hand.project, job, step, attempt)
            command = StartAttempt(
                job_id=self.hand.job_id, attempt=attempt, step=step.id, engine=step.engine, task=tasks.told(task),
            )
        except EngineError as error:
            await self._closed(job, error.fault, *taking)
            return True
        except ValueError as error:  # what steps before it have told does not fit into an event
            await self._closed(job, fault("VALIDATION_ERROR", f"The step cannot be asked for: {error}"), *taking)
            return True
        if not await self.hand.record(*taking, command):
            return not taking
        started = await self.hand.load()
        if isinstance(started, Open) and started.attempt is not None and started.attempt.id == attempt:
            await self._submitted(started, step, started.attempt, engine, task)
        return True

    # --- an attempt -------------------------------------------------------------------------------------------

    async def _submitted(
        self, job: Open, step: Step, attempt: Attempt, engine: Engine, task: Task, *, repeats: bool = False
    ) -> bool:
        """Hands a task over. ``repeats``: it may have been handed over before, so a refusal now does not say that the
        engine has not got it."""
        self.hand.check()
        if (hooks := self.hand.studio.webhooks) is not None:
            # Always the same address for an attempt: some engines tell a repetition by the whole request.
            address = hooks.address(step.engine, self.hand.project, self.hand.job_id, attempt.id)
            task = replace(task, callback_url=address)
        handing = asyncio.create_task(handed(engine, task, self.hand.studio.blobs, self.hand.job_id))
        try:
            answer = await asyncio.shield(handing)
        except asyncio.CancelledError:
            # Told to end: an answer that comes soon saves the job from doubt.
            with suppress(TimeoutError, Gone):
                async with asyncio.timeout(ENDING_SECONDS):
                    await self._answered(job, step, attempt, await handing, repeats=repeats)
            raise
        return await self._answered(job, step, attempt, answer, repeats=repeats)

    async def _answered(
        self, job: Open, step: Step, attempt: Attempt, answer: Accepted | EngineError, *, repeats: bool
    ) -> bool:
        if isinstance(answer, Accepted):
            await self._accepted(attempt, answer)
            return True
        self._strained(step.engine, answer.fault, attempt.number)
        if answer.submission is Submission.REFUSED and not repeats:
            return await self._failed(job, step, attempt, answer.fault)
        return await self._unknown(job, step, attempt, answer.fault)

    async def _accepted(self, attempt: Attempt, accepted: Accepted) -> None:
        await self.hand.record(AcceptAttempt(
            job_id=self.hand.job_id, attempt=attempt.id, external_id=accepted.external_id, memo=dict(accepted.memo),
        ))

    async def _unknown(self, job: Open, step: Step, attempt: Attempt, why: Fault) -> bool:
        """Nobody knows whether the engine has it: ask the engine, try again where that is free, else leave it be."""
        engine = self.tools.engines[step.engine]
        if engine.traits.finds_attempts:
            await asyncio.sleep(self.tools.pace.check)
            return True  # the attempt is recorded as started: the next move looks for it
        if engine.traits.repeats_safely and why.retryable and not (job.cancelling or self._late(job)):
            # The same task under the same attempt is answered with the first one: the next move sends it again.
            await self.hand.rest(self.tools.pace.check, self.tools.pace.pause(1, why))
            return True
        if not (step.paid or engine.traits.paid):
            return await self._failed(job, step, attempt, why)
        await self.hand.record(DoubtAttempt(
            job_id=self.hand.job_id, attempt=attempt.id, fault=safe(fault(
                "OUTCOME_UNKNOWN", f"Nobody can say whether the engine has this paid work: {why.message}",
                engine=step.engine, attempt=attempt.id, cause=why.code,
            )),
        ))
        return False

    async def _recovered(self, job: Open, step: Step, attempt: Attempt, engine: Engine) -> bool:
        """An attempt that was recorded, and whose asking nobody has seen the end of."""
        ended = fault("SERVICE_UNAVAILABLE", "The worker ended while it handed the task over.")
        # To ask by repeating would begin what somebody wants stopped, if it had not begun.
        asks = engine.traits.finds_attempts or (engine.traits.repeats_safely and not job.cancelling)
        if not asks:
            return await self._unknown(job, step, attempt, ended)
        try:
            there = await found(engine, attempt.id, self.hand.job_id) if engine.traits.finds_attempts else None
        except EngineError as error:
            self._strained(step.engine, error.fault, attempt.number)
            if self._late(job):
                return await self._failed(job, step, attempt, error.fault)
            await self.hand.rest(self.tools.pace.check, self.tools.pace.pause(1, error.fault))
            return True
        if there is not None:
            await self._accepted(attempt, there)
            return True
        if job.cancelling:
            return await self._failed(job, step, attempt, fault("CANCELLED", "It was cancelled before it began."))
        repeats = not engine.traits.finds_attempts
        try:
            task = await tasks.task_of(self.hand.studio, self.hand.project, job, step, attempt.id)
        except EngineError as error:
            return await self._answered(job, step, attempt, error, repeats=repeats)
        return await self._submitted(job, step, attempt, engine, task, repeats=repeats)

    async def _followed(self, job: Open, step: Step, attempt: Attempt, engine: Engine) -> bool:
        following = Following(self.hand, self.tools.renderer, self.tools.pace, step, attempt, engine)
        followed = await following.run(self._late_in(job))
        if followed.fault is None:
            return True
        self._strained(step.engine, followed.fault, attempt.number)
        now = await self.hand.load()
        if not isinstance(now, Open) or now.attempt is None or now.attempt.id != attempt.id:
            return True
        return await self._failed(now, step, now.attempt, followed.fault, followed)

    # --- the end of an attempt --------------------------------------------------------------------------------

    async def _failed(
        self, job: Open, step: Step, attempt: Attempt, why: Fault, followed: Followed | None = None
    ) -> bool:
        """Records that an attempt failed, and in the same decision what becomes of the job."""
        await self.hand.record(*failing(job, self.hand.job_id, step, attempt, why, followed, self.tools.pace,
                                        self.hand.now()))
        return True

    async def _abandoned(self, job: Open, attempt: Attempt) -> bool:
        """A job in quarantine that nobody wants any more: its engine is told, its result is not looked at."""
        step = next(one for one in job.steps if one.id == attempt.step)
        engine = self.tools.engines.get(step.engine)
        if engine is not None and attempt.external_id is not None:
            await told_to_stop(engine, Accepted(attempt.external_id, attempt.memo), self.hand.job_id)
        return await self._failed(job, step, attempt, fault("CANCELLED", "It was cancelled in quarantine."))

    # --- slots, time ------------------------------------------------------------------------------------------

    async def _ready(self, step: Step) -> None:
        """Holds a slot of the step's engine; waits for one. Raises ``Gone``."""
        if self.slot is not None and self.slot[0] == step.engine:
            return
        await self._free_slot()
        while self.slot is None:
            self.hand.check()
            try:
                lease = await self.tools.slots.wait(step.engine)
            except ComfyVNError:
                await asyncio.sleep(self.tools.pace.check)
                continue
            self.slot = (step.engine, lease)
            self.tools.hold(lease)

    async def _free_slot(self) -> None:
        if self.slot is not None:
            slot, self.slot = self.slot[1], None
            self.tools.drop(slot)
            with suppress(ComfyVNError):  # it ends by itself then
                await self.tools.slots.release(slot)

    async def _free(self) -> None:
        await self._free_slot()
        self.tools.drop(self.hand.lease)
        await self.hand.lease.release()

    def _strained(self, engine: str, why: Fault, number: int) -> None:
        if why.code in PATIENT:
            self.tools.rest(engine, self.tools.pace.pause(number, why))

    def _late(self, job: Open) -> bool:
        return job.request.deadline is not None and self.hand.until(job.request.deadline) <= 0

    def _late_in(self, job: Open) -> float | None:
        return None if job.request.deadline is None else self.hand.until(job.request.deadline)


def _resting(job: Open) -> bool:
    return job.attempt is None or job.attempt.situation == "waiting"
