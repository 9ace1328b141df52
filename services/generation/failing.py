"""What becomes of a job whose attempt has failed: tried again, stopped or failed, its account closed with it."""

from __future__ import annotations

from datetime import datetime, timedelta

from commands.declaration import Command
from commands.studio.job_work import FailAttempt, FailJob, LoseAttempt, StopJob
from domain.studio.fault import Fault
from domain.studio.job import Open
from domain.studio.job_values import Attempt, Step
from services.generation.following import Followed
from services.generation.pace import Pace
from services.generation.recording import moment, safe, stamp
from services.generation.settling import closing


def failing(
    job: Open, job_id: str, step: Step, attempt: Attempt, why: Fault, followed: Followed | None, pace: Pace,
    now: datetime,
) -> list[Command]:
    """The commands to ask as one. ``followed`` is what was seen of the attempt, where anything was."""
    charged = followed.charged if followed else 0
    lost = followed is not None and followed.lost
    paid = step.paid or charged > 0
    # Paid work is tried again only when its engine has said that it failed and costs nothing.
    barred = job.cancelling or charged > 0 or (paid and followed is not None and (lost or followed.unsaid))
    retry_at = None
    if not barred and (lost or why.retryable) and attempt.number < pace.attempts:
        at = now + timedelta(seconds=0.0 if lost else pace.pause(attempt.number, why))
        deadline = job.request.deadline
        retry_at = stamp(at) if deadline is None or at < moment(deadline) else None
    kind = LoseAttempt if lost else FailAttempt
    ended = kind(job_id=job_id, attempt=attempt.id, fault=safe(why), charged=charged, retry_at=retry_at)
    if retry_at is not None:
        return [ended]
    over = StopJob(job_id=job_id) if job.cancelling else FailJob(job_id=job_id, fault=safe(why), lost=lost and paid)
    return [ended, over, *closing(job, job_id, charged, why.message)]
