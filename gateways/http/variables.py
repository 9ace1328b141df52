"""The doors at which variables are set and reset, whatever they belong to: `/api/vars/{set,reset}`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, Final

from domain.errors import ComfyVNError, Stale
from gateways.http import schemas
from gateways.http.asking import asker, dry_body, expected_version, receipt_body
from gateways.http.bodies import check_media_type, read_command
from gateways.http.commands import circumstances
from gateways.http.metrics import Metrics
from gateways.http.problems import Reply, encode
from gateways.http.routing import Door
from gateways.http.visit import Visit
from services.setting_variables import Chosen, Named, ResetVars, SetVars, resetting, setting
from services.studio import Studio

ATTEMPTS: Final = 10
"""How often what others change at the same time is set again."""

Choosing = Callable[[Studio, Any, str, str], Awaitable[Chosen]]


def variable_doors(studio: Studio, metrics: Metrics) -> list[Door]:
    """POST /api/vars/set and /api/vars/reset."""
    return [
        _door(studio, metrics, "set", SetVars, setting, "Give variables of one scope values."),
        _door(studio, metrics, "reset", ResetVars, resetting, "Put variables of one scope back; no other is touched."),
    ]


def _door(
    studio: Studio, metrics: Metrics, verb: str, body: type[Named], choose: Choosing, summary: str
) -> Door:
    async def answer(visit: Visit) -> Reply:
        project, worldline, dry_run = circumstances(visit)
        visit.grant.need("variables:read", project)
        who = asker(visit)
        raw = await visit.body()
        check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
        asked = read_command(body, raw, {})
        for attempt in range(ATTEMPTS):
            chosen = await choose(studio, asked, project, worldline)
            name = type(chosen.command).__name__
            asking, home = studio.registry.askings[name], studio.registry.homes[name]
            visit.grant.need(asking.scope, project)
            id_ = getattr(chosen.command, asking.id_field)
            said = await expected_version(studio, visit, home.category, id_, project, worldline)
            began, outcome = perf_counter(), "failed"
            try:
                receipt = await studio.ask(
                    chosen.command, who, project=project, worldline=worldline, dry_run=dry_run,
                    expected_version=chosen.version if said is None else said,
                )
                outcome = "repeated" if receipt.repeated else "accepted" if receipt.events else "unchanged"
                break
            except ComfyVNError as error:
                outcome = error.code
                # Somebody changed the scene meanwhile: what was to be set inside it is set inside what it is now.
                if not isinstance(error, Stale) or said is not None or attempt + 1 == ATTEMPTS:
                    raise
            finally:
                metrics.commanded(name, outcome, perf_counter() - began)
        told = {"scope": asked.scope, "playthrough": asked.playthrough, "scene": asked.scene}
        if receipt.would is not None:
            return Reply(200, encode(told | dry_body(receipt, visit.request_id)))
        headers = [(b"etag", b'"%d"' % receipt.version)]
        if receipt.repeated:
            headers.append((b"idempotency-replayed", b"true"))
        return Reply(200, encode(told | receipt_body(receipt)), headers)

    return Door("POST", f"/api/vars/{verb}", answer=answer, operation=_operation(verb, body, summary))


def _operation(verb: str, body: type[Named], summary: str) -> schemas.Schema:
    name = "SetVars" if verb == "set" else "ResetVars"
    return {
        "operationId": name, "tags": ["commands"], "summary": summary,
        "description": "Needs the scope `variables:write`, `playthrough:write` or `scene:write`, by whose they are.",
        "parameters": [
            schemas.parameter("project", "query", schemas.NAME | {"default": "default"}),
            schemas.parameter("worldline", "query", schemas.NAME | {"default": "main"}),
            schemas.parameter("dry_run", "query", {"type": "boolean", "default": False}),
            *schemas.COMMAND_HEADERS,
        ],
        "requestBody": {"required": True, "content": {"application/json": {
            "schema": schemas.portable(_schema(body)),
        }}},
        "responses": {
            "200": schemas.answer("It is so, or what would be.", {"type": "object", "required": ["ok", "scope"]}),
            **schemas.problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 423, 500, 503),
        },
    }


def _schema(body: type[Named]) -> Any:
    """The body's schema in one piece."""
    told = body.model_json_schema()
    return _in_place(told, told.pop("$defs", {}))


def _in_place(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """The same schema with what it refers to written where it is referred to; none of it refers to itself."""
    if isinstance(schema, list):
        return [_in_place(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        rest = {name: one for name, one in schema.items() if name != "$ref"}
        return _in_place(definitions[schema["$ref"].rpartition("/")[2]] | rest, definitions)
    return {name: _in_place(one, definitions) for name, one in schema.items()}
