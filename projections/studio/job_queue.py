"""The queue as workers see it: which jobs may be taken next, which were begun, and who was served last.

No door shows it: ``projections.studio.job`` is for people.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from domain.studio.job import (
    CATEGORY,
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
    JobLost,
    JobPlanned,
    JobPrioritised,
    JobQuarantined,
    JobReleased,
    JobRequested,
    JobTaken,
    StepFinished,
)
from domain.tables import Change, Drop, Patch, Put, Table
from domain.values import Event
from projections.declaration import Happened, Projection

QUEUE = Table(
    name="job_queue",
    columns={
        "project": "text", "job_id": "text", "state": "text", "engine": "text", "owner": "text", "priority": "int",
        "busy": "bool", "cancelling": "bool", "retry_at": "text", "deadline": "text", "requested_position": "int",
    },
    key=("project", "job_id"),
    indexes=(
        ("state", "engine", "priority", "owner", "requested_position"),
        ("state", "deadline"), ("cancelling", "requested_position"),
    ),
)
"""``state``: ready (nobody has begun), begun, or doubted or quarantined (it waits for a person). ``engine`` is the one
of the step at hand, as far as it is known; ``busy``: an attempt may be running there. Times are RFC 3339 in
UTC, empty for none. A job that is over has no row."""

OWNERS = Table(
    name="job_owners", columns={"owner": "text", "served_position": "int"}, key=("owner",),
)
"""When a job was last taken for somebody."""

NEVER = "~"
"""A deadline after every other: sorts behind all digits."""


def apply(happened: Happened) -> Iterable[Change]:
    """A row from the request until the job is over."""
    recorded, event = happened
    key = {"project": recorded.stream.project, "job_id": recorded.stream.id}
    match event:
        case None:
            return
        case JobRequested():
            yield Put(QUEUE.name, {
                **key, "state": "ready", "engine": "", "owner": event.request.owner,
                "priority": event.request.priority, "busy": False, "cancelling": False, "retry_at": "",
                "deadline": event.request.deadline or NEVER, "requested_position": recorded.position,
            })
        case JobCompleted() | JobFailed() | JobCancelled() | JobLost():
            yield Drop(QUEUE.name, key)
        case JobTaken():
            yield Patch(QUEUE.name, key, {"state": "begun"})
            yield Put(OWNERS.name, {"owner": event.owner, "served_position": recorded.position})
        case _:
            changed = _changed(event)
            if changed:
                yield Patch(QUEUE.name, key, changed)


def _changed(event: Event) -> dict[str, Any]:
    match event:
        case JobPlanned():
            return {"engine": event.steps[0].engine} if event.steps else {}
        case JobPrioritised():
            return {"priority": event.priority}
        case JobCancelRequested():
            return {"cancelling": True}
        case JobQuarantined():
            return {"state": "quarantined"}
        case JobReleased():
            return {"state": "begun"}
        case AttemptStarted():
            return {"state": "begun", "engine": event.engine, "busy": True, "retry_at": ""}
        case AttemptAccepted():
            return {"state": "begun"}
        case AttemptDoubted():
            return {"state": "doubted"}
        case AttemptResolved(verdict="accepted"):
            return {"state": "begun"}
        case AttemptResolved() | StepFinished():
            return {"state": "begun", "busy": False}
        case AttemptFailed() | AttemptLost():
            return {"busy": False, "retry_at": event.retry_at or ""}
    return {}


PROJECTION = Projection(
    name="job_queue", version=1, tables=(QUEUE, OWNERS), apply=apply, categories=frozenset({CATEGORY}),
    about="Which job a worker takes next.",
)
