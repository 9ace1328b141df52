"""Jobs as they go, told through the commands that workers and people ask: what tests of their views look at."""

from __future__ import annotations

from typing import Any

from commands.declaration import Command
from commands.studio.job import CancelJob, RequestJob, ResolveAttempt
from commands.studio.job_work import (
    AcceptAttempt,
    CompleteJob,
    DoubtAttempt,
    FailAttempt,
    FailJob,
    FinishStep,
    ReportProgress,
    StartAttempt,
    StopJob,
    StoreArtifact,
    TakeJob,
)
from domain.studio.fault import Fault, fault
from domain.studio.job_values import Artifact, Request, Step

UID = "ab" * 8


def wanted(job_id: str = "j1", **changes: Any) -> Request:
    """What somebody asks for."""
    told = {
        "preset": "photoreal_portrait_v1", "preset_digest": "d" * 8, "name": "Portrait", "owner": "mara",
        "inputs": {"prompt": "a lamp in the fog"}, "quality": "standard", "seed": 7, "account": None, "priority": 5,
        "deadline": None, "consent": None, "retry_of": None, "root": job_id,
    }
    return Request.model_validate(told | changes)


def step(id_: str = "make", **changes: Any) -> Step:
    """A step of a plan."""
    told = {
        "id": id_, "operation": "text_to_image", "engine": "studio_local", "model": "placeholder", "parameters": {},
        "inputs": {}, "output": "image", "paid": False, "finds_attempts": False, "estimate": 0,
    }
    return Step.model_validate(told | changes)


def requested(job_id: str = "j1", *steps: Step, held: int = 0, **changes: Any) -> RequestJob:
    return RequestJob(job_id=job_id, request=wanted(job_id, **changes), steps=steps or (step(),), held=held)


def taken(job_id: str = "j1", taking: int = 1, worker: str = "w1") -> TakeJob:
    return TakeJob(job_id=job_id, worker=worker, taking=taking)


def started(job_id: str = "j1", attempt: str = "a1", step_id: str = "make", engine: str = "studio_local") -> Command:
    return StartAttempt(job_id=job_id, attempt=attempt, step=step_id, engine=engine, task={"prompt": "a lamp"})


def accepted(job_id: str = "j1", attempt: str = "a1") -> Command:
    return AcceptAttempt(job_id=job_id, attempt=attempt, external_id=f"x-{attempt}", memo={"url": "http://engine/1"})


def reported(job_id: str = "j1", attempt: str = "a1", fraction: float = 0.5, stage: str = "drawing") -> Command:
    return ReportProgress(job_id=job_id, attempt=attempt, fraction=fraction, stage=stage)


def stored(job_id: str = "j1", attempt: str = "a1", uid: str = UID) -> Command:
    made = Artifact(name="lamp.png", uid=uid, digest=f"sha256:{uid * 4}", size=10, media_type="image/png")
    return StoreArtifact(job_id=job_id, attempt=attempt, artifact=made)


def finished(job_id: str = "j1", attempt: str = "a1", cost: int = 0, uid: str = UID) -> Command:
    return FinishStep(job_id=job_id, attempt=attempt, outputs={"image": (uid,)}, cost=cost, facts={"seed": 7})


def failed_attempt(job_id: str = "j1", attempt: str = "a1", retry_at: str | None = None, charged: int = 0,
                   why: Fault | None = None) -> Command:
    why = why or fault("ENGINE_OFFLINE", "Nothing answers there.")
    return FailAttempt(job_id=job_id, attempt=attempt, fault=why, retry_at=retry_at, charged=charged)


def doubted(job_id: str = "j1", attempt: str = "a1") -> Command:
    return DoubtAttempt(job_id=job_id, attempt=attempt, fault=fault("OUTCOME_UNKNOWN", "No answer came."))


def resolved(job_id: str = "j1", attempt: str = "a1", verdict: str = "never_accepted") -> Command:
    return ResolveAttempt.model_validate({
        "job_id": job_id, "attempt": attempt, "verdict": verdict,
        "external_id": "x9" if verdict == "accepted" else None,
    })


def cancelled(job_id: str = "j1", reason: str = "enough") -> Command:
    return CancelJob(job_id=job_id, reason=reason)


def stopped(job_id: str = "j1") -> Command:
    return StopJob(job_id=job_id)


def failed(job_id: str = "j1", lost: bool = False) -> Command:
    why = fault("JOB_LOST", "The engine has forgotten it.") if lost else fault("ENGINE_ERROR", "It broke.")
    return FailJob(job_id=job_id, fault=why, lost=lost)


def completed(job_id: str = "j1") -> Command:
    return CompleteJob(job_id=job_id)


def whole(job_id: str = "j1", **changes: Any) -> list[Command]:
    """A job from its request to its end."""
    attempt = f"{job_id}-a1"
    return [
        requested(job_id, **changes), taken(job_id), started(job_id, attempt), accepted(job_id, attempt),
        reported(job_id, attempt), stored(job_id, attempt), finished(job_id, attempt, cost=1500), completed(job_id),
    ]
