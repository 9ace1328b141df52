"""The door at which a play is kept under a name, with whatever its player sends."""

from __future__ import annotations

from pydantic import ValidationError

from commands.story.save import SaveSlot
from domain.errors import ComfyVNError, Invalid, Remedy
from domain.ids import UNBRANCHED
from domain.story.save import CATEGORY, NAME_LIMIT, slot_id
from gateways.http import schemas
from gateways.http.asking import asker, dry_body, expected_version, receipt_body
from gateways.http.bodies import check_media_type, read_object
from gateways.http.commands import circumstances
from gateways.http.metrics import Metrics
from gateways.http.problems import Reply, encode
from gateways.http.routing import Door
from gateways.http.visit import Visit
from services.studio import Studio


def save_doors(studio: Studio, metrics: Metrics) -> list[Door]:
    """POST /api/save/{slot}: the body as it is, whatever else it holds besides what every slot needs."""

    async def save(visit: Visit) -> Reply:
        project, worldline, dry_run = circumstances(visit)
        visit.grant.need(f"{CATEGORY}:write", project)
        who = asker(visit)
        raw = await visit.body()
        check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
        command = _command(visit.path["slot"], read_object(raw))
        outcome = "failed"
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
            metrics.commanded("SaveSlot", outcome, 0.0)
        if receipt.would is not None:
            return Reply(200, encode(dry_body(receipt, visit.request_id)))
        headers = [(b"etag", b'"%d"' % receipt.version)]
        if receipt.repeated:
            headers.append((b"idempotency-replayed", b"true"))
        return Reply(200, encode(receipt_body(receipt)), headers)

    return [Door("POST", "/api/save/{slot}", answer=save, operation=_OPERATION)]


def _command(slot: str, body: dict[str, object]) -> SaveSlot:
    try:
        return SaveSlot.model_validate({"slot": slot, "body": body})
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


_OPERATION: schemas.Schema = {
    "operationId": "SaveSlot_resource", "tags": ["commands"],
    "summary": "Keep a play in a slot; what was there is overwritten, and stays in the log.",
    "description": f"Needs the scope `{CATEGORY}:write`. Anything else in the body is kept too.",
    "parameters": [
        schemas.parameter("slot", "path", {"type": "string", "minLength": 1, "maxLength": NAME_LIMIT}, required=True),
        schemas.parameter("project", "query", schemas.NAME | {"default": "default"}),
        schemas.parameter("worldline", "query", schemas.NAME | {"default": "main"}),
        schemas.parameter("dry_run", "query", {"type": "boolean", "default": False}),
        *schemas.COMMAND_HEADERS,
    ],
    "requestBody": {"required": True, "content": {"application/json": {"schema": {
        "type": "object", "required": ["vars", "node_pointer", "seed"], "additionalProperties": True,
    }}}},
    "responses": {
        "200": schemas.answer("It is kept, or what would be.", {"type": "object", "required": ["ok"]}),
        **schemas.problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 423, 500, 503),
    },
}
