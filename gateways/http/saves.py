"""The doors at which a play is kept under a name, with whatever its player sends, and let go again."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Final

from pydantic import ValidationError

from commands.story.save import DeleteSlot, OfSlot, SaveSlot
from domain.errors import ComfyVNError, Invalid, Remedy
from domain.ids import UNBRANCHED
from domain.story.save import CATEGORY, NAME_LIMIT, slot_id
from gateways.http import schemas
from gateways.http.asking import asker, dry_body, expected_version, receipt_body
from gateways.http.bodies import check_media_type, read_object
from gateways.http.commands import circumstances
from gateways.http.metrics import Metrics
from gateways.http.problems import Reply, encode, wrong_fields
from gateways.http.routing import Door
from gateways.http.visit import Visit
from services.studio import Studio


def save_doors(studio: Studio, metrics: Metrics) -> list[Door]:
    """POST /api/save/{slot}: the body as it is, whatever else it holds besides what every slot needs; and DELETE."""

    async def save(visit: Visit) -> Reply:
        circumstances(visit)  # whoever asks wrongly is told before the body is read
        raw = await visit.body()
        check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
        return await _asked(studio, metrics, visit, SaveSlot, {"body": read_object(raw)})

    async def delete(visit: Visit) -> Reply:
        raw = await visit.body()
        if raw and read_object(raw):
            raise wrong_fields("The body", "invalid_fields", [{"path": "", "message": "nothing is needed here"}])
        return await _asked(studio, metrics, visit, DeleteSlot, {})

    return [
        Door("POST", "/api/save/{slot}", answer=save, operation=_OPERATION),
        Door("DELETE", "/api/save/{slot}", answer=delete, operation=_DELETING),
    ]


async def _asked(
    studio: Studio, metrics: Metrics, visit: Visit, type_: type[OfSlot], fields: dict[str, Any]
) -> Reply:
    project, worldline, dry_run = circumstances(visit)
    visit.grant.need(f"{CATEGORY}:write", project)
    who = asker(visit)
    command = _command(type_, {"slot": visit.path["slot"], **fields})
    began, outcome = perf_counter(), "failed"
    try:
        expected = await expected_version(studio, visit, CATEGORY, slot_id(command.slot), project, UNBRANCHED)
        receipt = await studio.ask(
            command, who, project=project, worldline=worldline, expected_version=expected, dry_run=dry_run
        )
        outcome = "repeated" if receipt.repeated else "accepted"
    except ComfyVNError as error:
        outcome = error.code
        raise
    finally:
        metrics.commanded(type_.__name__, outcome, perf_counter() - began)
    if receipt.would is not None:
        return Reply(200, encode(dry_body(receipt, visit.request_id)))
    headers = [(b"etag", b'"%d"' % receipt.version)]
    if receipt.repeated:
        headers.append((b"idempotency-replayed", b"true"))
    return Reply(200, encode(receipt_body(receipt)), headers)


def _command(type_: type[OfSlot], fields: dict[str, Any]) -> OfSlot:
    try:
        return type_.model_validate(fields)
    except ValidationError as error:
        wrong = [
            {"path": "/".join(map(str, one["loc"])), "message": one["msg"].removeprefix("Value error, ")}
            for one in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise Invalid(
            f"That cannot be saved: {wrong[0]['path']} {wrong[0]['message']}.", error="invalid_save",
            remediation=[Remedy("Choose another name for the slot, or save less.", "mend_save")],
            detail={"fields": wrong[:50]},
        ) from error


_PARAMETERS: Final[list[schemas.Schema]] = [
    schemas.parameter("slot", "path", {"type": "string", "minLength": 1, "maxLength": NAME_LIMIT}, required=True),
    schemas.parameter("project", "query", schemas.NAME | {"default": "default"}),
    schemas.parameter("worldline", "query", schemas.NAME | {"default": "main"}),
    schemas.parameter("dry_run", "query", {"type": "boolean", "default": False}),
    *schemas.COMMAND_HEADERS,
]

_STATUSES: Final = (400, 401, 403, 404, 409, 412, 413, 415, 422, 423, 500, 503)

_DELETING: Final[schemas.Schema] = {
    "operationId": "DeleteSlot_resource", "tags": ["commands"],
    "summary": "Keep nothing in a slot any more; what was there stays in the log.",
    "description": f"Needs the scope `{CATEGORY}:write`.", "parameters": _PARAMETERS,
    "responses": {
        "200": schemas.answer("Done, or what would be.", {"type": "object", "required": ["ok"]}),
        **schemas.problems(*_STATUSES),
    },
}

_OPERATION: Final[schemas.Schema] = {
    "operationId": "SaveSlot_resource", "tags": ["commands"],
    "summary": "Keep a play in a slot; what was there is overwritten, and stays in the log.",
    "description": f"Needs the scope `{CATEGORY}:write`. Anything else in the body is kept too.",
    "parameters": _PARAMETERS,
    "requestBody": {"required": True, "content": {"application/json": {"schema": {
        "type": "object", "required": ["vars", "node_pointer", "seed"], "additionalProperties": True,
    }}}},
    "responses": {
        "200": schemas.answer("It is kept, or what would be.", {"type": "object", "required": ["ok"]}),
        **schemas.problems(*_STATUSES),
    },
}
