"""Following an attempt that an engine has: asking how it stands, telling it to stop, fetching what it has made."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

import structlog

from commands.declaration import Command
from commands.studio.job_work import CompleteJob, FinishStep, ReportProgress, StoreArtifact
from domain.errors import ComfyVNError, Unavailable
from domain.ports.engines import (
    Accepted,
    Cancelled,
    Cancelling,
    Done,
    Engine,
    EngineError,
    Failed,
    Lost,
    Outcome,
    Product,
    Waiting,
    Working,
)
from domain.studio.fault import Fault, fault
from domain.studio.job import Open
from domain.studio.job_values import Attempt, Step
from domain.values import Json
from services.generation import artifacts, registering, tasks
from services.generation.artifacts import Making
from services.generation.pace import Pace
from services.generation.recording import Hand
from services.generation.settling import closing, cost_of
from services.media.rendering import Renderer
from services.redaction import redact
from services.scratch import scratch

POLL_SECONDS: Final = 60.0
"""Longest time that one question to an engine may take."""

log = structlog.get_logger("jobs")


@dataclass(frozen=True, slots=True)
class Followed:
    """How it ended: well (no fault; it is recorded), or how not. ``charged`` is what it cost all the same; ``unsaid``
    that we ended it, and the engine did not say that it failed."""

    fault: Fault | None = None
    charged: int = 0
    lost: bool = False
    unsaid: bool = False


@dataclass(slots=True)
class Following:
    """One accepted attempt."""

    hand: Hand
    renderer: Renderer
    pace: Pace
    step: Step
    attempt: Attempt
    engine: Engine
    told: tuple[float | None, str] = (None, "")
    told_at: float = float("-inf")
    stopping: Cancelling | None = None
    stopped_at: float = 0.0
    over_time: Fault | None = None
    troubles: int = 0
    accepted: Accepted = field(init=False)

    def __post_init__(self) -> None:
        assert self.attempt.external_id is not None, "an accepted attempt has an id at its engine"
        self.accepted = Accepted(self.attempt.external_id, self.attempt.memo)

    async def run(self, job_seconds: float | None) -> Followed:
        """Until the attempt is over; raises ``Gone``. ``job_seconds``: how long the whole job may go on."""
        began = monotonic()
        seconds = tasks.seconds_of(self.step)
        pause = min(self.pace.first_poll, self.engine.traits.poll_seconds)
        while True:
            job = await self.hand.load()
            if not isinstance(job, Open) or job.attempt is None or job.attempt.id != self.attempt.id:
                return Followed()
            await self._stop_when_told(job, monotonic() - began, seconds, job_seconds)
            outcome = await self._asked()
            ended = await self._ended(outcome)
            if ended is not None:
                return ended
            if self.troubles:
                pause = min(self.pace.pause(self.troubles, fault("SERVICE_UNAVAILABLE", "")), 30.0)
            if await self._quiet(pause):
                pause = min(max(pause, 0.01) * 1.6, self.engine.traits.poll_seconds)

    # --- asking -----------------------------------------------------------------------------------------------

    async def _asked(self) -> Outcome | Fault:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                outcome = await self.engine.poll(self.accepted)
            self.troubles = 0
            return outcome
        except EngineError as error:
            self.troubles += 1
            return error.fault
        except TimeoutError:
            self.troubles += 1
            return fault("CONNECTION_TIMEOUT", "The engine does not say how the task stands.")
        except Exception as error:
            log.exception("engine_defect", engine=self.step.engine, job=self.hand.job_id)
            self.troubles += 1
            return fault("UNKNOWN_ERROR", f"The engine's adapter failed ({type(error).__name__}).")

    async def _ended(self, outcome: Outcome | Fault) -> Followed | None:
        """How the attempt ended, or nothing while it goes on."""
        match outcome:
            case Done():
                return await self._done(outcome)
            case Failed():
                charged = self.step.estimate if outcome.charged and self.step.paid else 0
                return Followed(self._cause() or outcome.fault, charged, unsaid=self.stopping is not None)
            case Cancelled():
                return Followed(self._cause() or fault("CANCELLED", "It was cancelled at the engine."), unsaid=True)
            case Lost():
                if self._cause():
                    return Followed(self._cause(), unsaid=True)
                return Followed(fault("JOB_LOST", "The engine does not know this work any more."), lost=True)
            case Waiting():
                await self._report(None, f"{outcome.ahead} before it" if outcome.ahead else "waiting")
            case Working():
                await self._report(outcome.fraction, outcome.stage)
        return self._given_up(outcome)

    def _given_up(self, outcome: Outcome | Fault) -> Followed | None:
        """What the engine still has, or does not speak of, is not waited for any longer."""
        if self.stopping is None:
            return None
        waited = monotonic() - self.stopped_at
        if self.stopping in (Cancelling.CANCELLED, Cancelling.UNKNOWN_TASK) and waited > self.pace.cancel / 10:
            return Followed(self._cause(), unsaid=True)
        # Paid work that cannot be stopped is worth waiting for: it is charged for anyway.
        patience = self.pace.cancel * (10 if self.step.paid else 1)
        if waited > patience or (self.stopping is Cancelling.UNSUPPORTED and not self.step.paid):
            return Followed(self._cause(), lost=self.step.paid, unsaid=True)
        return None

    def _cause(self) -> Fault | None:
        """Why it was stopped, if it was."""
        if self.over_time is not None:
            return self.over_time
        return None if self.stopping is None else fault("CANCELLED", "It was cancelled.")

    async def _report(self, fraction: float | None, stage: str) -> None:
        fraction = None if fraction is None else round(min(max(fraction, 0.0), 1.0), 3)
        stage = str(redact(stage))[:200]  # redacted first: half a key would not be known any more
        known, said = self.told
        further = fraction is not None and (known is None or fraction - known >= 0.05)
        if (not further and stage == said) or monotonic() - self.told_at < self.pace.progress:
            return
        if self.told_at == float("-inf") and fraction is None and stage in ("", "waiting"):
            return  # that it waits is known
        self.told, self.told_at = (fraction, stage), monotonic()
        await self.hand.record(ReportProgress(
            job_id=self.hand.job_id, attempt=self.attempt.id, fraction=fraction, stage=stage,
        ))

    async def _quiet(self, seconds: float) -> bool:
        """Waits before asking again; at once when there is news of the job, and then false."""
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0:
            self.hand.check()
            try:
                async with asyncio.timeout(min(left, self.pace.check)):
                    await self.hand.touched.wait()
                self.hand.touched.clear()
                return False
            except TimeoutError:
                pass
            if seconds > self.pace.check and self.stopping is None:
                job = await self.hand.load()
                if isinstance(job, Open) and job.cancelling:
                    return False
        return True

    # --- stopping ---------------------------------------------------------------------------------------------

    async def _stop_when_told(self, job: Open, took: float, seconds: float, job_seconds: float | None) -> None:
        if self.stopping is not None:
            return
        if job.cancelling:
            pass
        elif job_seconds is not None and took > job_seconds:
            self.over_time = fault("DEADLINE_EXCEEDED", "The job's time was over before it was done.")
        elif took > seconds:
            self.over_time = fault("ENGINE_TIMEOUT", f"The engine took longer than {seconds:g} seconds.")
        else:
            return
        try:
            async with asyncio.timeout(POLL_SECONDS):
                self.stopping = await self.engine.cancel(self.accepted)
        except Exception as error:
            log.warning("not_cancelled", engine=self.step.engine, job=self.hand.job_id, reason=type(error).__name__)
            self.stopping = Cancelling.REQUESTED
        self.stopped_at = monotonic()

    # --- results ----------------------------------------------------------------------------------------------

    async def _done(self, done: Done) -> Followed:
        """Everything it has made becomes ours before the step counts as done."""
        cost = cost_of(self.step, done)
        if not done.products:
            return Followed(fault("ENGINE_ERROR", "The engine says that it is done, and has made nothing."), cost)
        uids: list[str] = []
        for number, product in enumerate(done.products):
            kept = await self._kept(product, number, done)
            if isinstance(kept, Fault):
                return Followed(kept, cost)
            uid, commands = kept
            uids.append(uid)
            if number + 1 == len(done.products):  # the last file is recorded together with the end of the step
                await self._finished(uids, cost, done, commands)
            elif commands:
                await self.hand.record(*commands)
        return Followed()

    async def _kept(self, product: Product, number: int, done: Done) -> tuple[str, list[Command]] | Fault:
        """The asset that a product becomes and what records it, or why it does not; tried again while that can help."""
        name = str(redact(product.name or f"{self.step.output}-{number}"))[:200]
        known = next((one for one in self.attempt.artifacts if one.name == name), None)
        if known is not None:
            return known.uid, []
        began = monotonic()
        tries = 0
        while True:
            tries += 1
            try:
                return await self._kept_once(product, name, done)
            except EngineError as error:
                why = error.fault
            except Unavailable as error:  # the disk, or where blobs are
                why = fault("DISK_FULL" if error.code == "disk_full" else "SERVICE_UNAVAILABLE", error.message)
            except ComfyVNError as error:
                return fault("UNKNOWN_ERROR", f"The file cannot be registered: {error.message}", error=error.code)
            self.hand.check()
            # What was paid for waits for room here as long as it takes, until somebody does not want it any more.
            no_room = why.code == "DISK_FULL"
            patient = self.step.paid and (no_room or monotonic() - began < tasks.seconds_of(self.step))
            if not why.retryable or (tries >= self.pace.fetches and not patient):
                return why
            if no_room and await self._unwanted():
                return why
            await asyncio.sleep(min(self.pace.pause(tries, why), 15.0))

    async def _unwanted(self) -> bool:
        """Whether nobody waits for the result any more; whoever does is told what it waits for."""
        await self._report(None, "made; there is no room on the disk to keep it")
        job = await self.hand.load()
        return not isinstance(job, Open) or job.cancelling

    async def _kept_once(self, product: Product, name: str, done: Done) -> tuple[str, list[Command]]:
        job = await self.hand.load()
        assert isinstance(job, Open), "only an open job has an attempt"
        studio = self.hand.studio
        with scratch(studio.settings, "product") as room:
            place = room / "product"
            try:
                digest, size = await artifacts.fetched(self.engine.fetch(self.accepted, product), place)
            except (EngineError, ComfyVNError):
                raise
            except Exception as error:
                log.exception("engine_defect", engine=self.step.engine, job=self.hand.job_id)
                raise EngineError(fault("DOWNLOAD_FAILED", f"The adapter failed ({type(error).__name__}).")) from error
            found = await artifacts.judged(place, digest, size, product.media_type, self.renderer)
            remote = self.engine.traits.kind == "remote"
            kept, found = await registering.cleared(self.hand, job, self.step, found, remote=remote)
            self.hand.check()
            await studio.blobs.put_file(str(place))
        task = await tasks.task_of(studio, self.hand.project, job, self.step, self.attempt.id)
        making = Making(
            self.hand.job_id, job, self.step, self.attempt.id, dict(task.parameters), redact(dict(done.facts)),
            tasks.ingredients(job, self.step),
        )
        artifact = artifacts.artifact_of(found, name)
        return artifact.uid, [
            StoreArtifact(job_id=self.hand.job_id, attempt=self.attempt.id, artifact=artifact),
            artifacts.registration(found, name, making, kept),
        ]

    async def _finished(self, uids: list[str], cost: int, done: Done, stored: list[Command]) -> None:
        job = await self.hand.load()
        if not isinstance(job, Open):
            return
        job_id = self.hand.job_id
        commands: list[Command] = [*stored, FinishStep(
            job_id=job_id, attempt=self.attempt.id, outputs={self.step.output: tuple(dict.fromkeys(uids))}, cost=cost,
            facts=_facts(done),
        )]
        if self.step.id == job.steps[-1].id:
            commands += [CompleteJob(job_id=job_id), *closing(job, job_id, cost)]
        await self.hand.record(*commands)


def _facts(done: Done) -> dict[str, Json]:
    """What the engine told, as far as an event can keep it."""
    facts: dict[str, Json] = redact(dict(done.facts))
    try:
        FinishStep(job_id="check", attempt="check", outputs={}, facts=facts)
    except ValueError:
        log.warning("facts_unkeepable", keys=sorted(map(str, facts))[:20])
        return {}
    return facts


