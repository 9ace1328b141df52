"""The OpenAPI document: operations made from the declarations of commands and views, so that it cannot drift."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import lru_cache
from inspect import cleandoc
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from commands.declaration import Asking
from domain.ids import MAIN, TOKEN_LIMIT
from gateways.http.problems import TITLES
from gateways.http.routing import Door
from projections.reading import BranchPageQuery, PageQuery, Query, View
from services.registry import Registry

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
            "error": {"type": "string", "pattern": "^[a-z0-9_]+$", "description": "A code that stays the same."},
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


def about(model: type[BaseModel]) -> str:
    """The first paragraph of a model's docstring."""
    return cleandoc(model.__doc__ or "").split("\n\n")[0].replace("\n", " ")


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

_PROJECT: Final = parameter(
    "project", "query", NAME | {"default": "default"}, "It comes into being with its first command."
)
_WORLDLINE: Final = parameter("worldline", "query", NAME | {"default": MAIN})
_DRY_RUN: Final = parameter(
    "dry_run", "query", {"type": "boolean", "default": False}, "Decide and answer with the events that would be."
)


def command_operation(asking: Asking, path: str, branches: bool) -> Schema:
    """The operation of one command at one address."""
    filled = _path_names(path)
    schema = f"{REF}{asking.name}" + ("Body" if set(filled) & set(asking.command.model_fields) else "")
    body: Schema = {"schema": {"$ref": schema}}
    sample = example(asking.command)
    if sample is not None:
        body["example"] = {name: value for name, value in sample.items() if name not in filled}
    needed = [name for name, field in asking.command.model_fields.items() if field.is_required() and name not in filled]
    operation: Schema = {
        "operationId": asking.name if path.startswith("/api/commands/") else f"{asking.name}_resource",
        "tags": ["commands"], "summary": about(asking.command),
        "description": f"Needs the scope `{asking.scope}`." + (
            "" if branches else " What this changes does not branch: `worldline` makes no difference."
        ),
        "parameters": [
            *(parameter(name, "path", NAME, required=True) for name in filled),
            _PROJECT, _WORLDLINE, _DRY_RUN, *COMMAND_HEADERS,
        ],
        "requestBody": {"required": bool(needed), "content": {"application/json": body}},
        "responses": {
            "200": answer("Accepted, or what would be.", {"anyOf": [
                {"$ref": f"{REF}Accepted"}, {"$ref": f"{REF}DryRun"},
            ]}, headers=("ETag", "Idempotency-Replayed")),
            "201": answer("Accepted, and created.", {"$ref": f"{REF}Accepted"},
                          headers=("ETag", "Location", "Idempotency-Replayed")),
            **problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 423, 500, 503),
        },
    }
    return operation


def batch_operation(registry: Registry) -> Schema:
    """The operation that asks several commands as one."""
    names = sorted(registry.askings)
    return {
        "operationId": "AskAll", "tags": ["commands"], "summary": "Ask several commands as one: all or none.",
        "description": "Each command needs its own scope. Up to 500 commands, one atomic append.",
        "parameters": [_PROJECT, _WORLDLINE, _DRY_RUN,
                       *(one for one in COMMAND_HEADERS if one["name"] != "If-Match")],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {
            "type": "object", "additionalProperties": False, "required": ["commands"],
            "properties": {"commands": {"type": "array", "minItems": 1, "maxItems": 500, "items": {
                "type": "object", "required": ["command"],
                "properties": {"command": {"enum": names, "description": "The command; its fields stand beside it."}},
            }}},
        }}}},
        "responses": {
            "200": answer("All accepted, or what would be.", {
                "type": "object", "required": ["ok", "results"],
                "properties": {
                    "ok": {"const": True}, "position": POSITION, "dry_run": {"const": True},
                    "results": {"type": "array", "items": {
                        "anyOf": [{"$ref": f"{REF}Accepted"}, {"$ref": f"{REF}DryRun"}],
                    }},
                },
            }, headers=("Idempotency-Replayed",)),
            **problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 423, 500, 503),
        },
    }


def commands_listed() -> Schema:
    """The operation that lists the commands."""
    return read_operation("ListCommands", "Every command with its schema, its scope and its doors.", "commands",
                          {"$ref": f"{REF}Page"})


def read_operation(
    name: str, summary: str, tag: str, schema: Schema, *, parameters: Iterable[Schema] = (),
    statuses: Iterable[int] = (400, 401, 403, 422, 500, 503), headers: Iterable[str] = (), description: str = "",
) -> Schema:
    """An operation that only reads."""
    return {
        "operationId": name, "tags": [tag], "summary": summary, "description": description,
        "parameters": list(parameters),
        "responses": {"200": answer(summary, schema, headers=headers), **problems(*statuses)},
    }


def view_operation(view: View) -> Schema:
    """The operation of one view."""
    paged = issubclass(view.query, (PageQuery, BranchPageQuery))
    operation = read_operation(
        view.name, view.about or about(view.query), "views", {"$ref": f"{REF}Page"} if paged else {"type": "object"},
        parameters=[*query_parameters(view.query, view.path),
                    parameter("If-None-Match", "header", {"type": "string"}, "An ETag: 304 when nothing has changed.")],
        statuses=(400, 401, 403, 404, 409, 422, 500, 503), headers=("X-Comfyvn-Position", "ETag"),
        description=f"Needs the scope `{view.scope}`. Reads {', '.join(view.reads)}.",
    )
    operation["responses"]["304"] = {"description": "Nothing has changed."}
    return operation


@lru_cache(maxsize=1024)
def query_parameters(query: type[Query], path: str) -> list[Schema]:
    """The fields of a query as parameters; not to be changed."""
    schema = query.model_json_schema()
    definitions = schema.get("$defs", {})
    filled = _path_names(path)
    found = []
    for name, field in schema["properties"].items():
        told = _inlined(field, definitions)
        description = told.pop("description", "")
        told.pop("title", None)
        place = "path" if name in filled else "query"
        if place == "query":
            told = _without_null(told)
        required = place == "path" or name in schema.get("required", ())
        found.append(parameter(name, place, told, description, required=required))
    return found


def _path_names(path: str) -> list[str]:
    return [segment[1:-1] for segment in path.split("/") if segment.startswith("{")]


def _without_null(schema: Schema) -> Schema:
    # A query string cannot say null: leaving the parameter away does.
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if not choices:
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf" and not (key == "default" and value is None)}
    return rest | (choices[0] if len(choices) == 1 else {"anyOf": choices})


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions) | rest
    return {key: _inlined(value, definitions) for key, value in schema.items()}


# --- examples ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def example(model: type[BaseModel]) -> dict[str, Any] | None:
    """The smallest body that a model takes, made from its schema; nothing when that cannot be guessed."""
    schema = model.model_json_schema()
    if schema.get("examples"):
        return dict(schema["examples"][0])
    definitions = schema.get("$defs", {})
    guess = {
        name: _sample(name, field, definitions, 0)
        for name, field in schema.get("properties", {}).items() if name in schema.get("required", ())
    }
    try:
        model.model_validate(guess)
    except ValidationError:
        return None
    return guess


def _sample(name: str, schema: Schema, definitions: Mapping[str, Any], depth: int) -> Any:
    if depth > 8:
        return None
    if "$ref" in schema:
        return _sample(name, definitions[schema["$ref"].rpartition("/")[2]], definitions, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _sample(name, schema[key][0], definitions, depth + 1)
    match schema.get("type"):
        case "string" if schema.get("pattern", "").startswith("^[0-9a-f]{64}"):
            return "0" * 64
        case "string":
            return (name.removesuffix("_id") or "text").ljust(schema.get("minLength", 0), "x")
        case "integer" | "number":
            return max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1, 1)
        case "boolean":
            return True
        case "array":
            return [_sample(name, schema.get("items", {}), definitions, depth + 1)] * schema.get("minItems", 0)
        case "object":
            return {
                inner: _sample(inner, field, definitions, depth + 1)
                for inner, field in schema.get("properties", {}).items() if inner in schema.get("required", ())
            }
        case _:
            return None


# --- the document -----------------------------------------------------------------------------------------------------


def document(registry: Registry, doors: Iterable[Door], others: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The whole OpenAPI document. ``others`` is the document of routes that are written as FastAPI routes."""
    commands = [asking.command for asking in registry.askings.values()]
    _, definitions = models_json_schema([(one, "validation") for one in commands], ref_template=REF + "{model}")
    schemas: dict[str, Any] = deepcopy(definitions.get("$defs", {}))
    for asking in registry.askings.values():
        _, _, path = (asking.route or "").partition(" ")
        filled = [name for name in _path_names(path) if name in asking.command.model_fields]
        if filled:
            schemas[f"{asking.name}Body"] = _without_required(schemas[asking.name], filled)
    paths: dict[str, dict[str, Any]] = deepcopy(dict(others.get("paths", {})))
    for door in doors:
        if door.operation:
            operation: Schema = deepcopy(dict(door.operation))
            if door.open:
                operation["security"] = []
            paths.setdefault(door.path, {})[door.method.lower()] = operation
    told: dict[str, Any] = portable({
        "openapi": "3.1.0",
        "info": {
            "title": "ComfyVN", "version": version,
            "description": "The backend of a visual-novel studio in which every change is an event. "
                           "Streams of events are described by /asyncapi.json.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**others.get("components", {}).get("schemas", {}), **schemas, **COMPONENTS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
        "tags": [{"name": name} for name in ("commands", "views", "log", "streams", "operations", "uploads")],
    })
    return told


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


def _without_required(schema: Schema, names: Iterable[str]) -> Schema:
    told = deepcopy(schema)
    told["required"] = [name for name in told.get("required", ()) if name not in names]
    if not told["required"]:
        del told["required"]
    return told
