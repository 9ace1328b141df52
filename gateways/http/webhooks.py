"""The door for calls of engines. It needs no token of ours: the address itself is one, and a call only wakes."""

from __future__ import annotations

import time
from typing import Final

from domain.errors import NotFound, Remedy
from gateways.http.problems import Reply, encode
from gateways.http.routing import Door
from gateways.http.visit import Visit
from services.studio import Studio

BODY_LIMIT: Final = 2**20
"""Largest call: results name files, and do not hold them."""


def webhook_doors(studio: Studio) -> list[Door]:
    """``POST /api/webhooks/{engine}/{token}``."""

    async def called(visit: Visit) -> Reply:
        if studio.webhooks is None:
            raise NotFound("This studio takes no webhooks.", error="webhooks_off", remediation=[
                Remedy("Set COMFYVN_PUBLIC_URL to where engines reach this server.", "set_public_url")])
        body = await visit.body(BODY_LIMIT)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in visit.scope["headers"]}
        outcome = await studio.webhooks.heard(
            visit.path["engine"], visit.path["token"], headers, body, time.time()
        )
        return Reply(200, encode({"ok": True, "outcome": outcome}))

    return [Door("POST", "/api/webhooks/{engine}/{token}", answer=called, open=True, operation={
        "operationId": "hear_webhook", "tags": ["operations"],
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                       for name in ("engine", "token")],
        "requestBody": {"required": False, "content": {"application/json": {"schema": {}}}},
        "summary": "An engine says that something has moved",
        "description": "Wakes whoever follows the job; nothing that the call says is believed.",
        "responses": {"200": {"description": "Heard.", "content": {"application/json": {"schema": {
            "type": "object", "required": ["ok", "outcome"], "properties": {
                "ok": {"const": True}, "outcome": {"enum": ["woken", "repeated"]}}}}}},
            **{status: {"description": why, "content": {"application/problem+json": {"schema": {"type": "object"}}}}
               for status, why in (("400", "It cannot be read."), ("403", "It is forged or stale."),
                                   ("404", "Nobody is called there."), ("413", "It is too large."))}},
    })]
