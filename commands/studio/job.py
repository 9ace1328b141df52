"""What people ask of jobs: to have one done, moved, stopped or let go on, and what they found out about a doubt."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.studio import job_work
from commands.studio.job_refusals import State, duplicate_job, not_doubted, opened, running
from domain.ids import Token
from domain.studio.job import (
    AttemptResolved,
    Closed,
    JobCancelRequested,
    JobEvent,
    JobPlanned,
    JobPrioritised,
    JobReleased,
    JobRequested,
    Open,
    Unrequested,
)
from domain.studio.job_values import STEPS_LIMIT, AttemptId, Microcredits, Request, Step, Text


class RequestJob(Command):
    """Ask for work that has been planned. Asked together with the reservation of what it may cost."""

    job_id: Token | None = None
    request: Request
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=STEPS_LIMIT)]
    held: Microcredits = 0


class ResolveAttempt(Command):
    """Say what you found at the engine: it has the work under this id, or it never had it."""

    job_id: Token
    attempt: AttemptId
    verdict: Literal["accepted", "never_accepted"]
    external_id: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    notes: Text = ""


class PrioritiseJob(Command):
    """Move a job in the queue: 0 is the last to be taken, 9 the first."""

    job_id: Token
    priority: Annotated[int, Field(ge=0, le=9)]


class CancelJob(Command):
    """Stop a job: at once while it waits, else as soon as its engine has heard of it."""

    job_id: Token
    reason: Text = ""


class ReleaseJob(Command):
    """Let a quarantined job be taken again."""

    job_id: Token


def request(command: RequestJob, state: State, asked: Asked) -> list[JobEvent]:
    """Nothing when the very same was asked for already."""
    assert command.job_id is not None, "the door gives every job an id"
    if isinstance(state, Unrequested):
        return [
            JobRequested(job_id=command.job_id, request=command.request),
            JobPlanned(job_id=command.job_id, steps=command.steps, held=command.held),
        ]
    known = state if isinstance(state, Open) else state.was
    if known.request.model_copy(update={"priority": command.request.priority}) == command.request:
        return []
    raise duplicate_job(command.job_id)


def resolve(command: ResolveAttempt, state: State, asked: Asked) -> list[JobEvent]:
    """What a person found out about an attempt in doubt."""
    attempt = running(state, command.job_id, command.attempt)
    if attempt.situation != "doubted" or (command.verdict == "accepted" and not command.external_id):
        raise not_doubted(command.job_id, command.attempt, attempt.situation)
    return [AttemptResolved(
        job_id=command.job_id, attempt=command.attempt, verdict=command.verdict,
        external_id=command.external_id if command.verdict == "accepted" else None, notes=command.notes,
    )]


def prioritise(command: PrioritiseJob, state: State, asked: Asked) -> list[JobEvent]:
    """Nothing when it stands there already."""
    job = opened(state, command.job_id)
    if job.request.priority == command.priority:
        return []
    return [JobPrioritised(job_id=command.job_id, priority=command.priority)]


def cancel(command: CancelJob, state: State, asked: Asked) -> list[JobEvent]:
    """Nothing when it was cancelled already; a job that is done stays done."""
    if isinstance(state, Closed) and state.outcome == "cancelled":
        return []
    job = opened(state, command.job_id)
    return [] if job.cancelling else [JobCancelRequested(job_id=command.job_id, reason=command.reason)]


def release(command: ReleaseJob, state: State, asked: Asked) -> list[JobEvent]:
    """Nothing when it is not in quarantine."""
    job = opened(state, command.job_id)
    return [] if job.quarantined is None else [JobReleased(job_id=command.job_id)]


_SCOPE = "job:write"

COMMANDS = (
    Asking(ResolveAttempt, resolve, "job_id", _SCOPE, "POST /api/jobs/{job_id}/resolve"),
    Asking(PrioritiseJob, prioritise, "job_id", _SCOPE, "POST /api/jobs/{job_id}/prioritise"),
    Asking(CancelJob, cancel, "job_id", _SCOPE, "POST /api/jobs/{job_id}/cancel"),
    Asking(ReleaseJob, release, "job_id", _SCOPE, "POST /api/jobs/{job_id}/release"),
)
"""What people ask of a job."""

INNER = (Asking(RequestJob, request, "job_id", _SCOPE, creates=True), *job_work.COMMANDS)
"""What is asked inside alone: presets become jobs by planning, and only workers say how work goes."""
