"""Why a job says no: each refusal once, with what to do next."""

from __future__ import annotations

from domain.errors import NotFound, Refused, Remedy
from domain.studio.job import Closed, Open, Unrequested
from domain.studio.job_values import Attempt

State = Unrequested | Open | Closed


def opened(state: State, job_id: str) -> Open:
    """The job, when it is not over; raises ``NotFound`` and ``Refused``."""
    match state:
        case Unrequested():
            raise NotFound(
                f"There is no job {job_id}.",
                error="unknown_job",
                remediation=[Remedy("List the jobs of the project.", "list_jobs")],
                detail={"job": job_id},
            )
        case Closed():
            raise Refused(
                f"Job {job_id} is {state.outcome}: nothing changes any more.",
                error="job_over",
                remediation=[Remedy("Run it again: that is a new job.", "retry")],
                detail={"job": job_id, "outcome": state.outcome},
            )
        case Open():
            return state


def running(state: State, job_id: str, attempt: str) -> Attempt:
    """That attempt, while it is the one that is under way; raises like ``opened``, and ``Refused``."""
    job = opened(state, job_id)
    if job.attempt is None or job.attempt.id != attempt or job.attempt.situation == "waiting":
        raise attempt_over(job_id, attempt, job.attempt.id if job.attempt else None)
    return job.attempt


def at_rest(state: State, job_id: str) -> Open:
    """The job, while nothing of it is under way; raises like ``opened``, and ``Refused``."""
    job = opened(state, job_id)
    if job.attempt is not None and job.attempt.situation != "waiting":
        raise unfinished(job_id, f"attempt {job.attempt.id} is {job.attempt.situation}")
    return job


def duplicate_job(job_id: str) -> Refused:
    """The id stands for other work."""
    return _refused(f"Job {job_id} exists and is other work.", "job_exists", "Use a new id for new work.", "new_job",
                    job=job_id)


def quarantined(job_id: str) -> Refused:
    """Nobody takes it."""
    return _refused(f"Job {job_id} is in quarantine: it has ended its workers several times.", "job_quarantined",
                    "Look at its log; release it when the reason is gone, or cancel it.", "release_job", job=job_id)


def doubtful(job_id: str, attempt: str) -> Refused:
    """Somebody has to look first."""
    return _refused(f"Nobody knows whether attempt {attempt} of job {job_id} was accepted.", "attempt_doubted",
                    "Look at the engine's own list of work, and say what you found.", "resolve_uncertain",
                    job=job_id, attempt=attempt)


def busy(job_id: str) -> Refused:
    """Another worker has it."""
    return _refused(f"Another worker has taken job {job_id} meanwhile.", "job_taken", "Take another job.", "take_other",
                    job=job_id)


def attempt_over(job_id: str, attempt: str, current: str | None) -> Refused:
    """The job has moved on since."""
    return _refused(f"Attempt {attempt} of job {job_id} is over; now it is {current or 'none'}.", "attempt_over",
                    "Load the job and go on from where it stands.", "reload", job=job_id, attempt=attempt,
                    current=current)


def too_early(job_id: str, retry_at: str) -> Refused:
    """The pause after a failure is not over."""
    return _refused(f"Job {job_id} is not tried again before {retry_at}.", "retry_later", "Wait until then.", "wait",
                    job=job_id, retry_at=retry_at)


def not_ready(job_id: str, step: str, current: str | None) -> Refused:
    """It is another step's turn, or nobody's."""
    return _refused(f"It is not the turn of step {step} of job {job_id}.", "step_not_ready",
                    "Load the job and go on from where it stands.", "reload", job=job_id, step=step, current=current)


def unfinished(job_id: str, why: str) -> Refused:
    """It cannot be closed, or counted as done, like this."""
    return _refused(f"Job {job_id} cannot be closed: {why}.", "job_unfinished",
                    "Load the job and go on from where it stands.", "reload", job=job_id)


def not_doubted(job_id: str, attempt: str, situation: str) -> Refused:
    """There is nothing to find out about it, or the finding is incomplete."""
    return _refused(f"Attempt {attempt} of job {job_id} is {situation}; only one in doubt is resolved, and work that "
                    "the engine has is named by its id there.", "not_doubted",
                    "Give `external_id` with `accepted`.", "correct_input", job=job_id, attempt=attempt)


def _refused(message: str, code: str, text: str, action: str, **detail: str | None) -> Refused:
    return Refused(message, error=code, remediation=[Remedy(text, action)], detail=detail)
