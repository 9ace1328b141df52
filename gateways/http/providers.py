"""The doors of the provider registry: which there are, connect, test, disconnect. No answer holds a key."""

from __future__ import annotations

from typing import Any, Final

from domain.errors import Invalid
from gateways.http import openapi, schemas
from gateways.http.asking import asker
from gateways.http.bodies import check_media_type, read_object
from gateways.http.problems import Reply, encode, wrong_fields
from gateways.http.routing import Door
from gateways.http.visit import Visit, single
from services.providers import PROVIDERS, Providers
from services.studio import Studio

READ: Final = "provider:read"
WRITE: Final = "provider:write"

BODY_BYTES: Final = 64 * 1024

SECRET_HEADERS: Final = [(b"cache-control", b"no-store")]


def provider_doors(studio: Studio, providers: Providers | None = None) -> list[Door]:
    """The registry. A connection is the whole installation's, so a token must be good in every project."""
    registry = providers or Providers(studio)

    async def listed(visit: Visit) -> Reply:
        single(visit.parameters(), frozenset())
        visit.grant.need(READ, None)
        return _told(await registry.list())

    async def shown(visit: Visit) -> Reply:
        single(visit.parameters(), frozenset())
        visit.grant.need(READ, None)
        return _told(await registry.show(visit.path["provider_id"]))

    async def connect(visit: Visit) -> Reply:
        given = await _body(visit)
        verify = given.pop("verify", True)
        if not isinstance(verify, bool):
            raise wrong_fields("The body", "invalid_fields", [{"path": "verify", "message": "this is true or false"}])
        return _told(await registry.connect(visit.path["provider_id"], given, asker(visit), verify=verify))

    async def test(visit: Visit) -> Reply:
        await _nothing(visit)
        return _told(await registry.test(visit.path["provider_id"]))

    async def remove(visit: Visit) -> Reply:
        given = await _body(visit, needed=False)
        reason = given.pop("reason", "")
        if given or not isinstance(reason, str) or len(reason) > 500:
            raise wrong_fields("The body", "invalid_fields", [
                {"path": next(iter(given), "reason"), "message": "only `reason` is taken, a text of 500 characters"},
            ])
        return _told(await registry.remove(visit.path["provider_id"], asker(visit), reason=reason))

    one = "/api/providers/{provider_id}"
    return [
        Door("GET", "/api/providers", answer=listed, operation=openapi.read_operation(
            "ListProviders", "Every provider: what its key is made of, whether it is connected, how it stands.",
            "providers", _LIST, statuses=(400, 401, 403, 500, 503), description=f"Needs the scope `{READ}`.",
        )),
        Door("GET", one, answer=shown, operation=_operation(
            "ShowProvider", "One provider.", READ, _SHOWN, (400, 401, 403, 404, 409, 500, 503),
        )),
        Door("POST", f"{one}/connect", answer=connect, operation=_operation(
            "ConnectProvider", "Try a key at the provider, seal it in the vault, record the fact. Again: rotate it.",
            WRITE, _CONNECTED, _STATUSES, body=_KEY,
        )),
        Door("POST", f"{one}/test", answer=test, operation=_operation(
            "TestProvider", "Ask the provider whether the stored key is good; a no is an answer.", WRITE, _TESTED,
            _STATUSES,
        )),
        Door("DELETE", one, answer=remove, operation=_operation(
            "DisconnectProvider", "Forget the key.", WRITE, _REMOVED, _STATUSES, body=_REASON, body_needed=False,
        )),
    ]


def _told(answer: dict[str, Any]) -> Reply:
    return Reply(200, encode(answer), SECRET_HEADERS)


async def _body(visit: Visit, *, needed: bool = True) -> dict[str, Any]:
    single(visit.parameters(), frozenset())
    visit.grant.need(WRITE, None)
    raw = await visit.body(BODY_BYTES)
    if not raw and not needed:
        return {}
    check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
    try:
        return read_object(raw)
    except Invalid as error:
        # A message about broken JSON may quote some of it, and here that may be a key.
        if error.code != "malformed_json":
            raise
        raise Invalid("The body is not usable JSON.", error=error.code, remediation=error.remediation) from None


async def _nothing(visit: Visit) -> None:
    single(visit.parameters(), frozenset())
    visit.grant.need(WRITE, None)
    raw = await visit.body(BODY_BYTES)
    if raw and read_object(raw):
        raise wrong_fields("The body", "invalid_fields", [{"path": "", "message": "nothing is needed here"}])


_STATUSES: Final = (400, 401, 403, 404, 409, 413, 415, 422, 500, 503)

_TEXT_OR_NOTHING: Final = {"type": ["string", "null"]}
_FINGERPRINT: Final = {"type": "string", "pattern": "^[0-9a-f]{12}$"}
_BALANCE: Final = {
    "balance": {"type": ["number", "null"]}, "balance_unit": _TEXT_OR_NOTHING, "balance_as_told": _TEXT_OR_NOTHING,
}

_SHOWN: Final[schemas.Schema] = {
    "type": "object", "required": ["id", "name", "fields", "connected", "status", "message", "key", "balance"],
    "properties": {
        "id": {"type": "string"}, "name": {"type": "string"}, "connected": {"type": "boolean"},
        "status": {"type": "string"}, "message": {"type": "string"}, "engine_at_hand": {"type": "boolean"},
        "key": {"type": ["object", "null"], "description": "Names of its parts, fingerprint, since when; no secret."},
        **_BALANCE,
    },
}
_LIST: Final[schemas.Schema] = {
    "type": "object", "required": ["items", "vault"],
    "properties": {"items": {"type": "array", "items": _SHOWN}, "vault": {"type": "object"}},
}
_CONNECTED: Final[schemas.Schema] = {
    "type": "object", "required": ["ok", "balance", "message"],
    "properties": {"ok": {"const": True}, "message": {"type": "string"}, "verified": {"type": "boolean"}, **_BALANCE},
}
_TESTED: Final[schemas.Schema] = {
    "type": "object", "required": ["ok", "balance", "message", "error", "remediation"],
    "properties": {"ok": {"type": "boolean"}, "message": {"type": "string"}, "error": _TEXT_OR_NOTHING, **_BALANCE},
}
_REMOVED: Final[schemas.Schema] = {
    "type": "object", "required": ["ok", "message"],
    "properties": {"ok": {"const": True}, "message": {"type": "string"}},
}
_KEY: Final[schemas.Schema] = {
    "type": "object", "additionalProperties": False,
    "description": "The parts that GET /api/providers names for this provider.",
    "properties": {
        **{one.name: {"type": "string", "minLength": 8, "maxLength": 4096, "writeOnly": True}
           for provider in PROVIDERS.values() for one in provider.fields},
        "verify": {"type": "boolean", "default": True, "description": "False stores the key without asking for it."},
    },
}
_REASON: Final[schemas.Schema] = {
    "type": "object", "additionalProperties": False, "properties": {"reason": {"type": "string", "maxLength": 500}},
}


def _operation(
    id_: str, summary: str, scope: str, answer: schemas.Schema, statuses: tuple[int, ...], *,
    body: schemas.Schema | None = None, body_needed: bool = True,
) -> schemas.Schema:
    told: schemas.Schema = {
        "operationId": id_, "tags": ["providers"], "summary": summary,
        "description": f"Needs the scope `{scope}` in every project.",
        "parameters": [schemas.parameter("provider_id", "path", {"type": "string", "minLength": 1}, required=True)],
        "responses": {"200": schemas.answer("Told.", answer), **schemas.problems(*statuses)},
    }
    if scope == WRITE:
        told["parameters"] += [one for one in schemas.COMMAND_HEADERS if one["name"] != "If-Match"]
    if body is not None:
        told["requestBody"] = {"required": body_needed, "content": {"application/json": {"schema": body}}}
    return told
