"""Jobs as people see them: what was asked for, how far it is, what it made and cost, and what to do when it failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from domain.studio.fault import Fault
from domain.studio.job import (
    CATEGORY,
    ArtifactStored,
    AttemptAccepted,
    AttemptDoubted,
    AttemptFailed,
    AttemptLost,
    AttemptProgressed,
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
from domain.studio.job_values import Request, Step
from domain.tables import Add, Change, Patch, Put
from domain.values import Event
from projections.declaration import Happened, Projection
from projections.studio.job_lines import line
from projections.studio.job_queue import PROJECTION as QUEUE_PROJECTION
from projections.studio.job_tables import ARTIFACTS, ATTEMPTS, JOBS, LINES, WORK
from projections.studio.job_views import VIEWS as VIEWS

SEARCHED_LIMIT: Final = 1000
"""Characters of a job that a search looks at: its ids, its name, and the beginnings of its texts."""

Key = Mapping[str, Any]


def apply(happened: Happened) -> Iterable[Change]:
    """A request is a row; whatever follows sets what it changed, adds to what adds up, and tells a line."""
    recorded, event = happened
    if event is None:
        return
    key = {"project": recorded.stream.project, "job_id": recorded.stream.id}
    told = {"version": recorded.version, "position": recorded.position, "updated_at": recorded.time}
    if isinstance(event, JobRequested):
        yield Put(JOBS.name, {
            **key, **_requested(event.request, recorded.stream.id), **told, "actor": recorded.actor,
            "requested_position": recorded.position, "created_at": recorded.time,
        })
    else:
        yield Patch(JOBS.name, key, {**_changed(event, recorded.time), **told})
    yield from _worked(event, key, recorded.position, recorded.time)
    said = line(event)
    if said is not None:
        yield Put(LINES.name, {
            **key, "position": recorded.position, "time": recorded.time, "level": said.level,
            "event": recorded.type, "text": said.text,
        })


def _requested(request: Request, job_id: str) -> dict[str, Any]:
    texts = [text for text in request.inputs.values() if isinstance(text, str)]
    words = "\n".join((job_id, request.preset, request.name, request.owner, *texts))
    return {
        "stage": "queued", "cancelling": False, "cancel_reason": "", "preset": request.preset,
        "preset_digest": request.preset_digest, "name": request.name, "owner": request.owner,
        "account": request.account, "quality": request.quality, "seed": request.seed, "priority": request.priority,
        "deadline": request.deadline, "inputs": request.inputs,
        "consent": request.consent and request.consent.model_dump(mode="json", exclude_defaults=True),
        "retry_of": request.retry_of, "root": request.root, "steps": [], "step_count": 0, "held": 0, "cost": None,
        "step": "", "attempt": None, "engine": "", "external_id": None, "fraction": None, "doing": "",
        "retry_at": None, "worker": "", "fault": None, "outputs": {}, "searched": words[:SEARCHED_LIMIT],
        "finished_at": None,
    }


_FRESH: Final[dict[str, Any]] = {
    "external_id": None, "fraction": None, "doing": "", "retry_at": None, "fault": None,
}
_NO_ATTEMPT: Final[dict[str, Any]] = {**_FRESH, "attempt": None}
_OVER: Final[dict[str, Any]] = {"cancelling": False, "fraction": None, "doing": "", "retry_at": None}


def _changed(event: Event, time: str) -> dict[str, Any]:
    """What an event sets in the row of its job."""
    match event:
        case JobPlanned():
            first = event.steps[0] if event.steps else None
            return {
                "steps": [_step(step) for step in event.steps], "step_count": len(event.steps), "held": event.held,
                "engine": first.engine if first else "", "step": first.id if first else "",
            }
        case JobTaken():
            return {"stage": "running", "worker": event.worker}
        case JobLeft():
            return {"stage": "queued", "worker": ""}
        case JobPrioritised():
            return {"priority": event.priority}
        case JobCancelRequested():
            return {"cancelling": True, "cancel_reason": event.reason}
        case JobQuarantined():
            return {"stage": "quarantined", "fault": _fault(event.fault)}
        case JobReleased():
            return {"stage": "queued", "fault": None}
        case JobCompleted():
            return {**_OVER, "stage": "completed", "outputs": _outputs(event.outputs), "cost": event.cost,
                    "fault": None, "finished_at": time}
        case JobFailed() | JobLost():
            return {**_OVER, "stage": "failed" if isinstance(event, JobFailed) else "lost",
                    "fault": _fault(event.fault), "cost": event.cost, "finished_at": time}
        case JobCancelled():
            return {**_OVER, "stage": "cancelled", "cost": event.cost, "fault": None, "finished_at": time}
    return _attempted(event)


def _attempted(event: Event) -> dict[str, Any]:
    match event:
        case AttemptStarted():
            return {**_FRESH, "stage": "running", "attempt": event.attempt, "step": event.step,
                    "engine": event.engine}
        case AttemptAccepted():
            return {"external_id": event.external_id}
        case AttemptProgressed():
            return {"fraction": _thousandths(event.fraction), "doing": event.stage}
        case AttemptFailed() | AttemptLost():
            return {**_FRESH, "stage": "waiting" if event.retry_at else "running", "fault": _fault(event.fault),
                    "retry_at": event.retry_at}
        case AttemptDoubted():
            return {"stage": "uncertain", "fault": _fault(event.fault)}
        case AttemptResolved(verdict="accepted"):
            return {"stage": "running", "fault": None, "external_id": event.external_id}
        case AttemptResolved():
            return {**_NO_ATTEMPT, "stage": "queued"}
        case StepFinished():
            return _NO_ATTEMPT
    return {}


def _worked(event: Event, key: Key, position: int, time: str) -> Iterable[Change]:
    """What an event adds to the sums of its job, and what it says of an attempt and its files."""
    match event:
        case JobTaken():
            yield _added(key, time, takings=1)
        case AttemptStarted():
            yield _added(key, time, attempts=1)
            yield Put(ATTEMPTS.name, {
                **key, "attempt": event.attempt, "step": event.step, "number": event.number, "engine": event.engine,
                "status": "started", "external_id": None, "fraction": None, "doing": "", "fault": None, "cost": 0,
                "retry_at": None, "outputs": {}, "facts": {}, "position": position, "started_at": time,
                "finished_at": None,
            })
        case ArtifactStored():
            yield _added(key, time, artifacts=1)
            yield Put(ARTIFACTS.name, {
                **key, "position": position, "attempt": event.attempt, **event.artifact.model_dump(mode="json"),
            })
        case StepFinished():
            yield _added(key, time, steps_done=1, spent=event.cost)
        case AttemptFailed() | AttemptLost():
            yield _added(key, time, spent=event.charged)
    changed = _tried(event, time)
    if changed is not None:
        yield Patch(ATTEMPTS.name, {**key, "attempt": event.attempt}, changed)  # type: ignore[attr-defined]


def _added(key: Key, time: str, **amounts: int) -> Add:
    nothing = {"takings": 0, "attempts": 0, "steps_done": 0, "spent": 0, "artifacts": 0}
    return Add(WORK.name, key, nothing | amounts, first={"started_at": time})


def _tried(event: Event, time: str) -> dict[str, Any] | None:
    """What an event sets in the row of its attempt."""
    match event:
        case AttemptAccepted():
            return {"status": "accepted", "external_id": event.external_id}
        case AttemptProgressed():
            return {"fraction": _thousandths(event.fraction), "doing": event.stage}
        case AttemptFailed() | AttemptLost():
            return {"status": "failed" if isinstance(event, AttemptFailed) else "lost",
                    "fault": _fault(event.fault), "cost": event.charged, "retry_at": event.retry_at,
                    "finished_at": time}
        case AttemptDoubted():
            return {"status": "doubted", "fault": _fault(event.fault)}
        case AttemptResolved(verdict="accepted"):
            return {"status": "accepted", "fault": None, "external_id": event.external_id}
        case AttemptResolved():
            return {"status": "never_accepted", "finished_at": time}
        case StepFinished():
            return {"status": "finished", "fraction": 1000, "cost": event.cost, "finished_at": time,
                    "outputs": _outputs(event.outputs), "facts": event.facts}
    return None


def _step(step: Step) -> dict[str, Any]:
    told = step.model_dump(mode="json", include={"id", "operation", "engine", "model", "output", "paid", "estimate"})
    return told if step.workflow is None else told | {"workflow": step.workflow.digest}


def _outputs(outputs: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    return {name: list(uids) for name, uids in outputs.items()}


def _fault(fault: Fault) -> dict[str, Any]:
    return fault.model_dump(mode="json")


def _thousandths(fraction: float | None) -> int | None:
    return None if fraction is None else max(0, min(1000, round(fraction * 1000)))


PROJECTIONS = (
    Projection(
        name="jobs", version=2, tables=(JOBS, WORK, ATTEMPTS, ARTIFACTS, LINES), apply=apply,
        categories=frozenset({CATEGORY}), about="What was asked for, how far it is, what it made, cost and said.",
    ),
    QUEUE_PROJECTION,
)
