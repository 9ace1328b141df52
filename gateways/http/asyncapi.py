"""The AsyncAPI 3.0 document of the event stream, made from the registry: channels, operations, and every event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from gateways.http import job_messages
from gateways.http.openapi import about
from gateways.http.schemas import COMPONENTS, NAME, REF, portable
from services.registry import Registry

HEADERS: Final[dict[str, Any]] = {
    "type": "object", "description": "CloudEvents 1.0 attributes in binary mode, and who asked why.",
    "properties": {
        "ce-specversion": {"const": "1.0"}, "ce-id": {"type": "string"}, "ce-type": {"type": "string"},
        "ce-source": {"type": "string"}, "ce-time": {"type": "string", "format": "date-time"},
        "ce-subject": {"type": "string"},
    },
}

_CONTROL: Final[dict[str, Any]] = {
    "name": "control", "title": "A word about the stream itself", "contentType": "application/json",
    "summary": "Only on the WebSocket; an event always has a `position` and an `id`, this never has an `id`.",
    "payload": {
        "type": "object", "required": ["control"],
        "properties": {
            "control": {"enum": ["heartbeat", "resume", "problem"]}, "position": {"type": "integer"},
            "after": {"type": "integer", "description": "Connect again with this as `after`."},
            "reason": {"type": "string"}, "problem": {"type": "object"},
        },
    },
}

_FILTERS: Final[dict[str, Any]] = {
    "type": "object", "properties": {
        **{name: {"type": "string", "description": "Names separated by commas."}
           for name in ("project", "worldline", "category", "id", "event")},
        "after": {"type": "integer", "minimum": 0, "description": "Start after this position."},
    },
}


def document(registry: Registry, version: str) -> dict[str, Any]:
    """The whole document."""
    events = {name: event for name, (_, event) in sorted(registry.event_types.items())}
    listed = [(one, "serialization") for one in events.values()]
    _, definitions = models_json_schema(listed, ref_template=REF + "{model}")  # type: ignore[arg-type]
    schemas = portable(definitions.get("$defs", {})) | {"EventLine": COMPONENTS["EventLine"], "Filters": _FILTERS}
    lines = {f"{name}Line": _line(name, about(event)) for name, event in events.items()}
    bodies = {name: _body(name, about(event)) for name, event in events.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "ComfyVN events", "version": version,
            "description": "Every change of a studio, in the order in which it happened.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": _channels(lines, bodies, sorted(registry.contexts)),
        "operations": _operations(lines, bodies),
        "components": {
            "messages": {
                **lines, **bodies, "control": _CONTROL, **job_messages.MESSAGES,
                "filters": {"name": "filters", "contentType": "application/json",
                            "payload": {"$ref": f"{REF}Filters"}},
            },
            "schemas": schemas | job_messages.SCHEMAS | {"Name": NAME},
        },
    }


def _channels(lines: Iterable[str], bodies: Iterable[str], categories: Iterable[str]) -> dict[str, Any]:
    """Where events can be followed, and which messages come there."""
    return {
        "sse": {
            "address": "/events/sse", "title": "Server-sent events",
            "description": "`id` is the position; resume with Last-Event-ID. `event: resume` asks to come again.",
            "bindings": {"http": {}}, "messages": _all(lines),
        },
        "ws": {
            "address": "/events/ws", "title": "WebSocket, one event per message",
            "description": "A text message with filters replaces them; `after` in it moves the position.",
            "bindings": {"ws": {"query": {"$ref": f"{REF}Filters"}}},
            "messages": _all(lines) | {name: {"$ref": f"#/components/messages/{name}"}
                                       for name in ("control", "filters")},
        },
        "jobs": {
            "address": "/jobs/ws", "title": "WebSocket of a project's jobs",
            "description": "A snapshot, then each job again whenever something has happened to it; a job that a "
                           "filter does not fit any more is told once more. With `after` there is no snapshot. A "
                           "text message with filters replaces them, and a new snapshot follows. Needs `job:read`.",
            "bindings": {"ws": {"query": {"$ref": f"{REF}JobFilters"}}},
            "messages": _all(["jobsSnapshot", "jobUpdate", "jobLog", "control", "jobFilters"]),
        },
        "job": {
            "address": "/api/jobs/{job_id}/events", "title": "One job as server-sent events, until it is over",
            "description": "`id` is the position; resume with Last-Event-ID. Needs the scope `job:read`.",
            "parameters": {"job_id": {"description": "Id of the job."}},
            "bindings": {"http": {}}, "messages": _all(["jobSnapshot", "jobHappened", "jobEnd"]),
        },
        "nats": {
            "address": "vn.{project}.{worldline}.{category}.{id}", "title": "The log itself, on NATS JetStream",
            "description": "One subject per aggregate; what does not branch has the worldline `-`.",
            "parameters": {name: {"description": text} for name, text in (
                ("project", "Name of a project."), ("worldline", "Name of a worldline, or `-`."),
                ("category", "One of: " + ", ".join(categories) + "."),
                ("id", "Id of the aggregate."),
            )},
            "messages": _all(bodies),
        },
    }


def _operations(lines: Iterable[str], bodies: Iterable[str]) -> dict[str, Any]:
    """What the studio sends, and what it takes on the way."""
    return {
        "followBySse": _send("sse", lines), "followByWebSocket": _send("ws", [*lines, "control"]),
        "followByNats": _send("nats", bodies),
        "followJobs": _send("jobs", ["jobsSnapshot", "jobUpdate", "jobLog", "control"]),
        "followJob": _send("job", ["jobSnapshot", "jobHappened", "jobEnd"]),
        "changeJobFilters": {
            "action": "receive", "channel": {"$ref": "#/channels/jobs"},
            "messages": [{"$ref": "#/channels/jobs/messages/jobFilters"}],
        },
        "changeFilters": {
            "action": "receive", "channel": {"$ref": "#/channels/ws"},
            "messages": [{"$ref": "#/channels/ws/messages/filters"}],
        },
    }


def _all(messages: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in messages}


def _send(channel: str, messages: Iterable[str]) -> dict[str, Any]:
    return {
        "action": "send", "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }


def _line(name: str, summary: str) -> dict[str, Any]:
    return {
        "name": name, "title": name, "summary": summary, "contentType": "application/json",
        "payload": {"allOf": [{"$ref": f"{REF}EventLine"}, {
            "type": "object", "properties": {"type": {"const": name}, "data": {"$ref": f"{REF}{name}"}},
        }]},
    }


def _body(name: str, summary: str) -> dict[str, Any]:
    return {
        "name": name, "title": name, "summary": summary, "contentType": "application/json",
        "headers": HEADERS, "payload": {"$ref": f"{REF}{name}"},
    }
