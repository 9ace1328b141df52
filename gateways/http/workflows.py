"""The doors for workflows that users bring: a graph of ComfyUI in, a preset out; and the stored graph back."""

from __future__ import annotations

from typing import Any, Final, cast, get_args

from domain.errors import Invalid, Remedy
from domain.ports.engines import Operation
from gateways.http import schemas
from gateways.http.asking import DEFAULT_PROJECT, asker, checked_name, refuse_if_match
from gateways.http.bodies import check_media_type
from gateways.http.problems import Reply, encode, wrong_fields
from gateways.http.routing import Answering, Door
from gateways.http.views import matches
from gateways.http.visit import Visit, single
from services.generation.stored_workflows import stored_workflow
from services.generation.taking import FILE_BYTES, take_workflow, told
from services.studio import Studio

SCOPE: Final = "preset:write"
READ: Final = "preset:read"
_PARAMETERS: Final = frozenset({"project", "id", "title", "operation", "expose", "replace", "dry_run"})
_YES_NO: Final = {"true": True, "false": False}


def workflow_doors(studio: Studio) -> list[Door]:
    """Taking a workflow in, and giving a stored one back."""
    return [
        Door("POST", "/api/workflows", answer=_taking(studio), operation=_TAKE),
        Door("GET", "/api/workflows/{digest}", answer=_giving(studio), operation=_GIVE),
    ]


def _giving(studio: Studio) -> Answering:
    async def answer(visit: Visit) -> Reply:
        given = single(visit.parameters(), frozenset({"project", "job", "asset", "graph"}))
        project = checked_name("project", given.get("project", DEFAULT_PROJECT))
        visit.grant.need(READ, project)
        graph = _flag(given, "graph")
        job, asset = (checked_name(name, given[name]) if name in given else None for name in ("job", "asset"))
        found = await stored_workflow(studio, project, visit.path["digest"], job=job, asset=asset)
        tag = f'"{found.digest}{"-graph" if graph else ""}"'.encode()
        headers = [(b"etag", tag), (b"cache-control", b"private, no-cache")]
        if matches(visit.header(b"if-none-match"), tag.decode()):
            return Reply(304, b"", headers)
        return Reply(200, encode(found.graph) if graph else found.content, headers)

    return answer


def _taking(studio: Studio) -> Answering:
    async def answer(visit: Visit) -> Reply:
        given = single(visit.parameters(), _PARAMETERS)
        project = checked_name("project", given.get("project", DEFAULT_PROJECT))
        visit.grant.need(SCOPE, project)
        refuse_if_match(visit)
        replace, dry_run = (_flag(given, name) for name in ("replace", "dry_run"))
        operation = given.get("operation")
        if operation is not None and operation not in get_args(Operation):
            raise _wrong("operation", f"it is one of {', '.join(get_args(Operation))}")
        if len(given.get("title", "")) > 200:
            raise _wrong("title", "at most 200 characters")
        picture = (visit.header(b"content-type") or "").partition(";")[0].strip().lower() == "image/png"
        if not picture:
            check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
        content = await visit.body(FILE_BYTES if picture else None)
        if not content:
            raise Invalid("The body is empty: send the workflow.", error="invalid_fields",
                          remediation=[Remedy("Send what “Export (API)” writes.", "correct_input")])
        taken = await take_workflow(
            studio, content, given.get("title") or "workflow", asker(visit), project=project, id_=given.get("id"),
            title=given.get("title"), operation=cast("Operation | None", operation), expose=_exposed(given),
            replace=replace, dry_run=dry_run,
        )
        made = taken.changed and not dry_run
        location = f"/api/presets/{taken.workflow.id}?project={project}".encode()
        return Reply(201 if made else 200, encode(told(taken, dry_run)), ((b"location", location),))

    return answer


def _flag(given: dict[str, str], name: str) -> bool:
    found = _YES_NO.get(given.get(name, "false"))
    if found is None:
        raise _wrong(name, "this is either true or false")
    return found


def _exposed(given: dict[str, str]) -> dict[str, str]:
    found = {}
    for one in filter(None, given.get("expose", "").split(",")):
        name, equals, where = one.partition("=")
        if not equals or "." not in where:
            raise _wrong("expose", "write NAME=NODE.INPUT, several separated by commas")
        found[name] = where
    return found


def _wrong(name: str, message: str) -> Exception:
    return wrong_fields("The query string", "invalid_parameters", [{"path": name, "message": message}])


_TEXT: Final[dict[str, Any]] = {"type": "string"}
_FLAG: Final[dict[str, Any]] = {"type": "boolean", "default": False}

_GIVE: Final[schemas.Schema] = {
    "operationId": "ShowWorkflow", "tags": ["generation"], "summary": "A stored workflow, by its digest.",
    "description": f"Needs the scope `{READ}`. A preset of the project names it; one that a preset named earlier is "
                   "given with the job that ran it, or an asset that it made. `graph=true` is what ComfyUI takes.",
    "parameters": [
        schemas.parameter("digest", "path", {"type": "string", "pattern": "^(sha256:)?[0-9a-f]{64}$"},
                          "SHA-256 of the stored bytes.", required=True),
        schemas.parameter("project", "query", schemas.NAME | {"default": DEFAULT_PROJECT}),
        schemas.parameter("job", "query", schemas.NAME, "A job that ran it."),
        schemas.parameter("asset", "query", schemas.NAME, "The uid of an asset that it made."),
        schemas.parameter("graph", "query", _FLAG, "The graph alone, as “Export (API)” writes it."),
        schemas.parameter("If-None-Match", "header", {"type": "string"}, "An ETag: 304 when it is known already."),
    ],
    "responses": {
        "200": schemas.answer("The workflow as it is stored, or its graph.", {"type": "object"}, headers=("ETag",)),
        "304": {"description": "It is known already."},
        **schemas.problems(400, 401, 403, 404, 409, 422, 500, 503),
    },
}

_TAKE: Final[schemas.Schema] = {
    "operationId": "TakeWorkflow", "tags": ["generation"], "summary": "Take a workflow of ComfyUI in, as a preset.",
    "description": f"Needs the scope `{SCOPE}`. The body is what “Export (API)” writes, what the editor saves (then "
                   "ComfyUI must run), or a PNG that ComfyUI made. Prompts, seed, sizes, models and files become "
                   "inputs of a preset of the same id.",
    "parameters": [
        schemas.parameter("project", "query", schemas.NAME | {"default": DEFAULT_PROJECT}),
        schemas.parameter("id", "query", _TEXT, "Id of the preset; else from the title."),
        schemas.parameter("title", "query", _TEXT | {"maxLength": 200}, "What people call it."),
        schemas.parameter("operation", "query", {"enum": list(get_args(Operation))}, "Where it is guessed wrongly."),
        schemas.parameter("expose", "query", _TEXT, "NAME=NODE.INPUT of more settings, separated by commas."),
        schemas.parameter("replace", "query", _FLAG, "Change what exists and is another."),
        schemas.parameter("dry_run", "query", _FLAG, "Decide everything, keep nothing."),
        *(one for one in schemas.COMMAND_HEADERS if one["name"] != "If-Match"),
    ],
    "requestBody": {"required": True, "content": {
        "application/json": {"schema": {"type": "object"}},
        "image/png": {"schema": {"type": "string", "format": "binary"}},
    }},
    "responses": {
        "200": schemas.answer("It was there already, or would be taken in.", {"type": "object"}),
        "201": schemas.answer("It was taken in.", {"type": "object", "required": [
            "id", "operation", "makes", "preset", "notes", "missing"]}, headers=("Location",)),
        **schemas.problems(400, 401, 403, 404, 409, 413, 415, 422, 423, 500, 503),
    },
}
