"""The pieces that the OpenAPI document is made of: shapes, headers, parameters, answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from domain.ids import TOKEN_LIMIT
from gateways.http.problems import TITLES

Schema = dict[str, Any]

REF: Final = "#/components/schemas/"

NAME: Final[Schema] = {
    "type": "string", "minLength": 1, "maxLength": TOKEN_LIMIT, "pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]*$",
}
POSITION: Final[Schema] = {"type": "integer", "minimum": 0, "description": "A position of the log; 1 is the first."}

COMPONENTS: Final[dict[str, Schema]] = {
    "Problem": {
        "type": "object", "description": "Why something was not done, and what to do about it (RFC 9457).",
        "required": ["type", "title", "status", "error", "message", "remediation", "detail", "request_id"],
        "properties": {
            "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
            "error": {"type": "string", "pattern": "^[A-Za-z0-9_]+$", "description": "A code that stays the same."},
            "message": {"type": "string", "description": "One sentence for people."},
            "remediation": {"type": "array", "items": {
                "type": "object", "required": ["text", "action"],
                "properties": {"text": {"type": "string"}, "action": {"type": "string"}},
            }},
            "detail": {"type": "object"}, "request_id": {"type": "string"},
        },
    },
    "RecordedEvent": {
        "type": "object", "required": ["type", "position"],
        "properties": {"type": {"type": "string"}, "position": POSITION},
    },
    "Accepted": {
        "type": "object", "description": "The command took effect (or it was so already: then `events` is empty).",
        "required": ["ok", "id", "version", "position", "events", "project", "worldline"],
        "properties": {
            "ok": {"const": True}, "id": {"type": "string"},
            "version": {"type": "integer", "minimum": 0, "description": "The aggregate's version after the command."},
            "position": POSITION, "events": {"type": "array", "items": {"$ref": f"{REF}RecordedEvent"}},
            "project": {"type": "string"}, "worldline": {"type": "string"},
        },
    },
    "DryRun": {
        "type": "object", "description": "What the command would do; nothing was recorded.",
        "required": ["ok", "dry_run", "id", "version", "would"],
        "properties": {
            "ok": {"const": True}, "dry_run": {"const": True}, "id": {"type": "string"},
            "version": {"type": "integer", "minimum": 0}, "project": {"type": "string"},
            "worldline": {"type": "string"},
            "would": {"type": "array", "items": {
                "type": "object", "required": ["type", "data"],
                "properties": {"type": {"type": "string"}, "data": {"type": "object"}},
            }},
            "problem": {"$ref": f"{REF}Problem"},
        },
    },
    "Page": {
        "type": "object", "required": ["next"],
        "properties": {
            "items": {"type": "array"},
            "next": {"type": ["string", "null"], "description": "The next page's `cursor`; null at the end."},
        },
    },
    "EventLine": {
        "type": "object", "description": "A recorded event. `stream` is the id of the aggregate.",
        "required": ["position", "id", "type", "schema", "project", "worldline", "category", "stream", "version",
                     "time", "actor", "command_id", "correlation_id", "causation_id", "request"],
        "properties": {
            "position": POSITION, "id": {"type": "string"}, "type": {"type": "string"},
            "schema": {"type": "integer"}, "project": {"type": "string"}, "worldline": {"type": "string"},
            "category": {"type": "string"}, "stream": {"type": "string"}, "version": {"type": "integer"},
            "time": {"type": "string"}, "actor": {"type": "string"}, "command_id": {"type": "string"},
            "correlation_id": {"type": "string"}, "causation_id": {"type": "string"}, "request": {"type": "string"},
            "data": {}, "data_base64": {"type": "string"},
        },
    },
}


def answer(description: str, schema: Schema, *, headers: Iterable[str] = ()) -> Schema:
    """A response with JSON in it."""
    return {
        "description": description, "content": {"application/json": {"schema": schema}},
        "headers": {name: HEADERS[name] for name in ("X-Request-Id", *headers)},
    }


def problems(*statuses: int) -> dict[str, Schema]:
    """Responses that are problems."""
    return {
        str(status): {
            "description": TITLES[status],
            "content": {"application/problem+json": {"schema": {"$ref": f"{REF}Problem"}}},
            "headers": {"X-Request-Id": HEADERS["X-Request-Id"]},
        }
        for status in statuses
    }


def parameter(name: str, place: str, schema: Schema, description: str = "", *, required: bool = False) -> Schema:
    """One parameter of an operation."""
    told = {"name": name, "in": place, "required": required, "schema": schema}
    return told | ({"description": description} if description else {})


HEADERS: Final[dict[str, Schema]] = {
    "X-Request-Id": {"schema": {"type": "string"}, "description": "Finds this request in the server's log."},
    "ETag": {"schema": {"type": "string"}, "description": "The version; If-Match takes it as it is."},
    "Location": {"schema": {"type": "string"}, "description": "Where what was created is shown."},
    "Idempotency-Replayed": {"schema": {"const": "true"}, "description": "This is the first answer again."},
    "X-Comfyvn-Position": {"schema": {"type": "string"}, "description": "The position that the answer shows."},
}

COMMAND_HEADERS: Final = (
    parameter("Idempotency-Key", "header", {"type": "string", "pattern": "^[!-~]{1,255}$"},
              "Repeated with the same request: the first answer again. With another request: 422."),
    parameter("If-Match", "header", {"type": "string", "pattern": '^(\\*|"[0-9]{1,18}"|[0-9]{1,18})$'},
              "The version on which the caller decided; 412 when it is not the newest. `*`: it must exist."),
    parameter("X-Comfyvn-Actor", "header", {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,99}$"},
              "Who asks, on a door without tokens. A token's actor is its own name."),
    parameter("X-Correlation-Id", "header", {"type": "string", "pattern": "^[!-~]{1,255}$"},
              "Stored with the events; the command's own id by default."),
)


def portable(schema: Any) -> Any:
    """The same schema with patterns as JSON Schema writes them (ECMA 262): the ends of a text are ``^`` and ``$``."""
    if isinstance(schema, list):
        return [portable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    told = {key: portable(value) for key, value in schema.items()}
    if isinstance(told.get("pattern"), str):
        told["pattern"] = told["pattern"].replace(r"\A", "^").replace(r"\Z", "$").replace(r"\z", "$")
    return told
