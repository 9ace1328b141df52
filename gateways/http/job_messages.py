"""What the streams of jobs send, for the AsyncAPI document: the WebSocket of all jobs, and one job as events."""

from __future__ import annotations

from typing import Any, Final, get_args

from gateways.http.job_socket import TOPICS
from gateways.http.schemas import NAME, REF
from projections.studio.job_views import Status

_STATUS: Final = {"enum": list(get_args(Status))}
_TEXT: Final = {"type": "string"}
_POSITION: Final = {"type": "integer", "minimum": 0}

SCHEMAS: Final[dict[str, Any]] = {
    "Job": {
        "type": "object", "description": "A job as GET /api/jobs lists it; GET /api/jobs/{job_id} tells more.",
        "required": ["job_id", "status", "preset_id", "progress", "position"],
        "properties": {
            "job_id": _TEXT, "preset_id": _TEXT, "name": _TEXT, "status": _STATUS, "owner": _TEXT,
            "priority": {"type": "integer"}, "engine_used": {"type": ["string", "null"]}, "position": _POSITION,
            "progress": {"type": "object", "required": ["fraction"], "properties": {"fraction": {"type": "number"}}},
            "error_code": {"type": ["string", "null"]}, "outputs": {"type": "object"},
        },
    },
    "JobFilters": {
        "type": "object", "properties": {
            "topics": {"description": f"Some of {', '.join(TOPICS)}; by default the first."},
            **{name: {"description": "Names separated by commas; in a message also a list."}
               for name in ("job_id", "status", "preset", "owner", "engine")},
            "project": NAME, "after": _POSITION,
        },
    },
}

_JOB: Final = {"$ref": f"{REF}Job"}


def _topic(topic: str, summary: str, payload: dict[str, Any]) -> dict[str, Any]:
    """A message of the WebSocket."""
    return {"name": topic, "title": topic, "summary": summary, "contentType": "application/json", "payload": {
        "type": "object", "required": ["topic", "timestamp", "position", "payload"], "properties": {
            "topic": {"const": topic}, "timestamp": _TEXT, "position": _POSITION,
            "payload": {"type": "object", "required": sorted(payload), "properties": payload},
        },
    }}


def _event(event: str, summary: str, data: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """A message of the server-sent events, by its `event:`."""
    return {"name": event, "title": event, "summary": summary, "contentType": "application/json",
            "payload": {"type": "object", "required": required, "properties": data}}


_HAPPENED: Final[dict[str, Any]] = {
    "job_id": _TEXT, "event": _TEXT, "level": {"enum": ["info", "warning", "error"]}, "text": _TEXT,
}

MESSAGES: Final[dict[str, Any]] = {
    "jobsSnapshot": _topic("jobs.snapshot", "Jobs as they are: those under way, then the newest of the others.", {
        "project": NAME, "jobs": {"type": "array", "items": _JOB}, "filter": {"type": "object"},
    }),
    "jobUpdate": _topic("job.update", "Something has happened to a job: what, and the job after it.",
                        {"event": _TEXT, "job": _JOB}),
    "jobLog": _topic("job.log", "A line of a job's story; only when `topics` asks for it.", _HAPPENED),
    "jobFilters": {"name": "jobFilters", "contentType": "application/json", "payload": {"$ref": f"{REF}JobFilters"}},
    "jobSnapshot": _event("snapshot", "The job as it is; not when somebody resumes.", {"job": _JOB}, ["job"]),
    "jobHappened": _event("update", "What happened; the newest of several holds the job.", {
        **_HAPPENED, "position": _POSITION, "timestamp": _TEXT, "job": _JOB,
    }, ["job_id", "event", "position"]),
    "jobEnd": _event("end", "Nothing more will come.", {"job_id": _TEXT, "status": _STATUS}, ["job_id", "status"]),
}
