"""The OpenAPI document: operations made from the declarations of commands and views, so that it cannot drift."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import lru_cache
from inspect import cleandoc
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from commands.declaration import Asking
from domain.ids import MAIN
from domain.values import Value
from gateways.http.examples import example
from gateways.http.routing import Door
from gateways.http.schemas import (
    COMMAND_HEADERS,
    COMPONENTS,
    NAME,
    POSITION,
    REF,
    Schema,
    answer,
    parameter,
    portable,
    problems,
)
from projections.reading import BranchPageQuery, PageQuery, Query, View
from services.registry import Registry


def about(model: type[BaseModel]) -> str:
    """The first paragraph of a model's docstring."""
    return cleandoc(model.__doc__ or "").split("\n\n")[0].replace("\n", " ")


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


def inlined(query: type[Value]) -> Schema:
    """The schema of a question or a body as one piece."""
    schema = query.model_json_schema()
    told: Schema = _inlined({name: one for name, one in schema.items() if name != "$defs"}, schema.get("$defs", {}))
    return told


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
        if described := door.described():
            operation: Schema = deepcopy(dict(described))
            if door.open:
                operation["security"] = []
            paths.setdefault(door.path, {})[door.method.lower()] = operation
    for operation in (one for methods in paths.values() for one in methods.values()):
        anywhere = problems(*_ANYWHERE, *((408,) if "requestBody" in operation else ()))
        operation["responses"] = dict(sorted((anywhere | operation["responses"]).items()))
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


_ANYWHERE: Final = (400, 401, 403, 422, 431, 503)
"""What a request may be told at any door: no HTTP, no good token, no host of ours, a parameter that there is not, too
long a head, too many at once."""


def _without_required(schema: Schema, names: Iterable[str]) -> Schema:
    told = deepcopy(schema)
    told["required"] = [name for name in told.get("required", ()) if name not in names]
    if not told["required"]:
        del told["required"]
    return told
