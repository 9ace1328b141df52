"""The story of a job in lines that people read, made from its events: so it is never lost and says nothing secret.

Inputs, prompts, parameters and addresses stay out; what a fault says was redacted before it became an event.
"""

from __future__ import annotations

from typing import NamedTuple

from domain.studio.fault import Fault
from domain.studio.job import (
    ArtifactStored,
    AttemptAccepted,
    AttemptDoubted,
    AttemptFailed,
    AttemptLost,
    AttemptResolved,
    AttemptStarted,
    JobCancelled,
    JobCancelRequested,
    JobCompleted,
    JobFailed,
    JobLeft,
    JobLost,
    JobPlanned,
    JobPrioritised,
    JobQuarantined,
    JobReleased,
    JobRequested,
    JobTaken,
    StepFinished,
)
from domain.values import Event
from projections.studio.job_tables import LINE_LIMIT


class Line(NamedTuple):
    """One line; ``level`` is info, warning or error."""

    level: str
    text: str


def line(event: Event | None) -> Line | None:
    """What an event says to people; nothing for reports of progress, which are seen while they happen."""
    told = _asked(event) or _worked(event) or _over(event)
    return None if told is None else Line(told.level, told.text[:LINE_LIMIT])


def _asked(event: Event | None) -> Line | None:
    match event:
        case JobRequested():
            again = f", again after {event.request.retry_of}" if event.request.retry_of else ""
            return Line("info", f"Asked for by {event.request.owner}: {event.request.preset}, "
                                f"quality {event.request.quality}, seed {event.request.seed}{again}.")
        case JobPlanned():
            engines = ", ".join(dict.fromkeys(step.engine for step in event.steps))
            held = f"; {_credits(event.held)} held" if event.held else ""
            return Line("info", f"Planned: {_count(len(event.steps), 'step')} on {engines}{held}.")
        case JobPrioritised():
            return Line("info", f"Moved in the queue: priority {event.priority}.")
        case JobCancelRequested():
            reason = f": {event.reason}" if event.reason else ""
            return Line("warning", f"Somebody wants it to stop{reason}.")
        case JobReleased():
            return Line("info", "Released: it may be taken again.")
        case JobLeft():
            return Line("info", f"Worker {event.worker} gave it back.")
        case JobTaken():
            again = f" ({event.taking}. since it last moved)" if event.taking > 1 else ""
            return Line("info", f"Worker {event.worker} took it{again}.")
    return None


def _worked(event: Event | None) -> Line | None:
    match event:
        case AttemptStarted():
            return Line("info", f"Step {event.step}, attempt {event.number}: asking {event.engine}.")
        case AttemptAccepted():
            return Line("info", f"Accepted as {event.external_id}.")
        case AttemptFailed():
            return _failure("Attempt failed", event.fault, event.charged, event.retry_at)
        case AttemptLost():
            return _failure("The engine has forgotten it", event.fault, event.charged, event.retry_at)
        case AttemptDoubted():
            return _failure("Nobody can say whether the engine took it", event.fault, 0, None)
        case AttemptResolved(verdict="accepted"):
            return Line("info", f"Somebody has looked: the engine has it as {event.external_id}.")
        case AttemptResolved():
            return Line("info", "Somebody has looked: the engine never had it.")
        case ArtifactStored():
            made = event.artifact
            return Line("info", f"Stored {made.name}: {made.media_type}, {made.size:,} bytes, asset {made.uid}.")
        case StepFinished():
            cost = f" for {_credits(event.cost)}" if event.cost else ""
            return Line("info", f"Step {event.step} done{cost}.")
    return None


def _over(event: Event | None) -> Line | None:
    match event:
        case JobQuarantined():
            return _failure("Put aside", event.fault, 0, None)
        case JobCompleted():
            count = sum(len(uids) for uids in event.outputs.values())
            return Line("info", f"Done: {_count(count, 'file')}{_paid(event.cost)}.")
        case JobFailed():
            return _failure("Failed", event.fault, event.cost, None)
        case JobCancelled():
            return Line("warning", f"Cancelled{_paid(event.cost)}.")
        case JobLost():
            return _failure("Lost", event.fault, event.cost, None)
    return None


def _failure(what: str, why: Fault, charged: int, retry_at: str | None) -> Line:
    again = f" Again at {retry_at}." if retry_at else ""
    return Line("warning" if retry_at else "error", f"{what}: {why.code}: {_ended(why.message)}{_paid(charged)}{again}")


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _paid(cost: int) -> str:
    return f" ({_credits(cost)})" if cost else ""


def _credits(amount: int) -> str:
    return f"{amount / 1_000_000:g} credits"


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
