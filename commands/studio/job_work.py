"""What workers record about a job: taking it, asking its engine, what came back, and how it ends.

Workers race, come back from the dead and hear of things twice. So everything here is harmless when it is said again,
and refused when the job has moved on since: nothing that is said late undoes what has happened. No door leads here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.studio.job_refusals import (
    State,
    at_rest,
    attempt_over,
    busy,
    doubtful,
    not_ready,
    opened,
    quarantined,
    running,
    too_early,
    unfinished,
)
from domain.bounded_json import BoundedObject
from domain.ids import Token
from domain.studio.fault import Fault, fault
from domain.studio.job import (
    TAKINGS_LIMIT,
    ArtifactStored,
    AttemptAccepted,
    AttemptDoubted,
    AttemptFailed,
    AttemptLost,
    AttemptProgressed,
    AttemptStarted,
    Closed,
    JobCancelled,
    JobCleared,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobLeft,
    JobLost,
    JobQuarantined,
    JobTaken,
    StepFinished,
)
from domain.studio.job_values import PROGRESS_LIMIT, Artifact, AttemptId, Microcredits, Outputs


class TakeJob(Command):
    """A worker begins, or goes on after another. Its ``taking`` must be the next, so that only one of two gets it."""

    job_id: Token
    worker: Annotated[str, Field(min_length=1, max_length=200)]
    taking: Annotated[int, Field(ge=1)]


class LeaveJob(Command):
    """Give a job back in order, so that the next worker begins with a clean slate."""

    job_id: Token
    worker: Annotated[str, Field(min_length=1, max_length=200)]
    taking: Annotated[int, Field(ge=1)]


class ClearJob(Command):
    """Say that a job has been in hand for a while, so that it is not what ended the workers before."""

    job_id: Token
    worker: Annotated[str, Field(min_length=1, max_length=200)]
    taking: Annotated[int, Field(ge=1)]


class StartAttempt(Command):
    """Record what an engine is about to be asked."""

    job_id: Token
    attempt: AttemptId
    step: Token
    engine: Annotated[str, Field(min_length=1, max_length=100)]
    task: BoundedObject


class AcceptAttempt(Command):
    """Record what the engine calls it."""

    job_id: Token
    attempt: AttemptId
    external_id: Annotated[str, Field(min_length=1, max_length=500)]
    memo: BoundedObject = {}


class ReportProgress(Command):
    """Record how far it is; after many reports nothing more is recorded."""

    job_id: Token
    attempt: AttemptId
    fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    stage: Annotated[str, Field(max_length=200)] = ""


class StoreArtifact(Command):
    """Record a file that an attempt has made. Asked together with the asset that it becomes."""

    job_id: Token
    attempt: AttemptId
    artifact: Artifact


class FinishStep(Command):
    """Record that a step is done, and what it cost."""

    job_id: Token
    attempt: AttemptId
    outputs: Outputs
    cost: Microcredits = 0
    facts: BoundedObject = {}


class FailAttempt(Command):
    """Record that an attempt failed, what it cost all the same, and when another may begin."""

    job_id: Token
    attempt: AttemptId
    fault: Fault
    charged: Microcredits = 0
    retry_at: str | None = None


class LoseAttempt(Command):
    """Record that the engine has forgotten an attempt."""

    job_id: Token
    attempt: AttemptId
    fault: Fault
    charged: Microcredits = 0
    retry_at: str | None = None


class DoubtAttempt(Command):
    """Record that nobody can say whether the engine took this paid work."""

    job_id: Token
    attempt: AttemptId
    fault: Fault


class CompleteJob(Command):
    """Close a job whose steps are all done. Asked together with the settling of what it cost."""

    job_id: Token


class FailJob(Command):
    """Close a job that cannot be done. Asked together with giving back what was not spent."""

    job_id: Token
    fault: Fault
    lost: bool = False


class StopJob(Command):
    """Close a job whose cancelling is through. Asked together with giving back what was not spent."""

    job_id: Token


def take(command: TakeJob, state: State, asked: Asked) -> list[JobEvent]:
    """The job, for this worker; or its quarantine, when workers end over it again and again."""
    job = opened(state, command.job_id)
    if job.quarantined is not None:
        raise quarantined(command.job_id)
    if job.attempt is not None and job.attempt.situation == "doubted":
        raise doubtful(command.job_id, job.attempt.id)
    if command.taking != job.taking + 1:
        raise busy(command.job_id)
    if command.taking > TAKINGS_LIMIT:
        return [JobQuarantined(job_id=command.job_id, fault=fault(
            "QUARANTINED", f"{TAKINGS_LIMIT} workers ended over this job without moving it.",
        ))]
    return [JobTaken(
        job_id=command.job_id, worker=command.worker, taking=command.taking, owner=job.request.owner,
    )]


def leave(command: LeaveJob, state: State, asked: Asked) -> list[JobEvent]:
    """Nothing when another worker has taken it since, or it has moved: then there is nothing to take back."""
    job = opened(state, command.job_id)
    if job.quarantined is not None or job.taking != command.taking:
        return []
    return [JobLeft(job_id=command.job_id, worker=command.worker)]


def clear(command: ClearJob, state: State, asked: Asked) -> list[JobEvent]:
    """Nothing when nothing is held against it, or another worker has taken it since."""
    job = opened(state, command.job_id)
    if job.quarantined is not None or job.taking != command.taking or job.taking <= 1:
        return []
    return [JobCleared(job_id=command.job_id, worker=command.worker)]


def start(command: StartAttempt, state: State, asked: Asked) -> list[JobEvent]:
    """An attempt at the step whose turn it is. Nothing when that attempt was started already."""
    job = opened(state, command.job_id)
    if job.attempt is not None and job.attempt.id == command.attempt:
        return []
    if job.attempt is not None and job.attempt.situation != "waiting":
        raise attempt_over(command.job_id, command.attempt, job.attempt.id)
    if job.attempt is not None and job.attempt.retry_at is not None and asked.time < job.attempt.retry_at:
        raise too_early(command.job_id, job.attempt.retry_at)
    step = job.step()
    if not job.taken or job.cancelling or step is None or step.id != command.step:
        raise not_ready(command.job_id, command.step, step.id if step else None)
    return [AttemptStarted(
        job_id=command.job_id, attempt=command.attempt, step=command.step,
        number=job.attempts.get(command.step, 0) + 1, engine=command.engine, task=command.task,
    )]


def accept(command: AcceptAttempt, state: State, asked: Asked) -> list[JobEvent]:
    """Nothing when it is known already under that id."""
    attempt = running(state, command.job_id, command.attempt)
    if attempt.situation == "accepted" and attempt.external_id == command.external_id:
        return []
    if attempt.situation == "accepted":
        raise attempt_over(command.job_id, command.attempt, f"{attempt.id} as {attempt.external_id}")
    return [AttemptAccepted(
        job_id=command.job_id, attempt=command.attempt, external_id=command.external_id, memo=command.memo,
    )]


def report(command: ReportProgress, state: State, asked: Asked) -> list[JobEvent]:
    """Nothing when it is no further than it was, or too much has been reported."""
    attempt = running(state, command.job_id, command.attempt)
    same = (attempt.fraction, attempt.stage) == (command.fraction, command.stage)
    back = attempt.fraction is not None and command.fraction is not None and command.fraction < attempt.fraction
    if same or back or attempt.reports >= PROGRESS_LIMIT:
        return []
    return [AttemptProgressed(
        job_id=command.job_id, attempt=command.attempt, fraction=command.fraction, stage=command.stage,
    )]


def store(command: StoreArtifact, state: State, asked: Asked) -> list[JobEvent]:
    """Nothing when that file of the attempt is stored already."""
    attempt = running(state, command.job_id, command.attempt)
    if any(one.name == command.artifact.name and one.digest == command.artifact.digest for one in attempt.artifacts):
        return []
    return [ArtifactStored(job_id=command.job_id, attempt=command.attempt, artifact=command.artifact)]


def finish(command: FinishStep, state: State, asked: Asked) -> list[JobEvent]:
    """Only with files that are stored: a result that is not ours yet is no result."""
    attempt = running(state, command.job_id, command.attempt)
    stored = {one.uid for one in attempt.artifacts}
    if missing := sorted({uid for uids in command.outputs.values() for uid in uids} - stored):
        raise unfinished(command.job_id, f"the files {', '.join(missing)} are not stored")
    return [StepFinished(
        job_id=command.job_id, attempt=command.attempt, step=attempt.step, outputs=command.outputs,
        cost=command.cost, facts=command.facts,
    )]


def fail(command: FailAttempt, state: State, asked: Asked) -> list[JobEvent]:
    """The attempt is over, whatever is heard of it later."""
    running(state, command.job_id, command.attempt)
    return [AttemptFailed(
        job_id=command.job_id, attempt=command.attempt, fault=command.fault, charged=command.charged,
        retry_at=command.retry_at,
    )]


def lose(command: LoseAttempt, state: State, asked: Asked) -> list[JobEvent]:
    """The attempt is over: nobody has it any more."""
    running(state, command.job_id, command.attempt)
    return [AttemptLost(
        job_id=command.job_id, attempt=command.attempt, fault=command.fault, charged=command.charged,
        retry_at=command.retry_at,
    )]


def doubt(command: DoubtAttempt, state: State, asked: Asked) -> list[JobEvent]:
    """Only before it was accepted: what has an id can be asked for."""
    attempt = running(state, command.job_id, command.attempt)
    if attempt.situation == "doubted":
        return []
    if attempt.situation == "accepted":
        raise attempt_over(command.job_id, command.attempt, f"{attempt.id} as {attempt.external_id}")
    return [AttemptDoubted(job_id=command.job_id, attempt=command.attempt, fault=command.fault)]


def complete(command: CompleteJob, state: State, asked: Asked) -> list[JobEvent]:
    """The outputs of the last step are the job's. Nothing when it was completed already."""
    if isinstance(state, Closed) and state.outcome == "completed":
        return []
    job = opened(state, command.job_id)
    if job.step() is not None or not job.steps:
        raise unfinished(command.job_id, "not all of its steps are done")
    return [JobCompleted(job_id=command.job_id, outputs=job.finished[job.steps[-1].id], cost=job.spent)]


def fail_job(command: FailJob, state: State, asked: Asked) -> list[JobEvent]:
    """Never while an attempt may still be running, or paid for."""
    if isinstance(state, Closed) and state.outcome in ("failed", "lost"):
        return []
    job = at_rest(state, command.job_id)
    if command.lost:
        return [JobLost(job_id=command.job_id, fault=command.fault, cost=job.spent)]
    return [JobFailed(job_id=command.job_id, fault=command.fault, cost=job.spent)]


def stop(command: StopJob, state: State, asked: Asked) -> list[JobEvent]:
    """Only when it was asked for, and no attempt may still be running."""
    if isinstance(state, Closed) and state.outcome == "cancelled":
        return []
    job = at_rest(state, command.job_id)
    if not job.cancelling:
        raise unfinished(command.job_id, "nobody has asked for it to be cancelled")
    return [JobCancelled(job_id=command.job_id, cost=job.spent)]


_SCOPE = "job:write"

COMMANDS = (
    Asking(TakeJob, take, "job_id", _SCOPE),
    Asking(LeaveJob, leave, "job_id", _SCOPE),
    Asking(ClearJob, clear, "job_id", _SCOPE),
    Asking(StartAttempt, start, "job_id", _SCOPE),
    Asking(AcceptAttempt, accept, "job_id", _SCOPE),
    Asking(ReportProgress, report, "job_id", _SCOPE),
    Asking(StoreArtifact, store, "job_id", _SCOPE),
    Asking(FinishStep, finish, "job_id", _SCOPE),
    Asking(FailAttempt, fail, "job_id", _SCOPE),
    Asking(LoseAttempt, lose, "job_id", _SCOPE),
    Asking(DoubtAttempt, doubt, "job_id", _SCOPE),
    Asking(CompleteJob, complete, "job_id", _SCOPE),
    Asking(FailJob, fail_job, "job_id", _SCOPE),
    Asking(StopJob, stop, "job_id", _SCOPE),
)
"""What workers record; nobody else may say how work goes."""
