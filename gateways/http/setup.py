"""The doors of setup: what this installation can do now, and a bundle to send to whoever helps."""

from __future__ import annotations

from typing import Final

from gateways.http import openapi, schemas
from gateways.http.problems import Reply, encode, wrong_fields
from gateways.http.routing import Door
from gateways.http.visit import Visit, single
from services.generation.engines import FRESH_SECONDS
from services.setup import diagnostics, healthcheck
from services.studio import Studio

SCOPE: Final = "operations:read"


def setup_doors(studio: Studio) -> list[Door]:
    """/api/setup/healthcheck and /api/setup/diagnostics."""

    async def health(visit: Visit) -> Reply:
        given = single(visit.parameters(), frozenset({"fresh"}))
        visit.grant.need(SCOPE, None)
        fresh = given.get("fresh", "false")
        if fresh not in ("true", "false"):
            raise wrong_fields("The question", "invalid_parameters", [{"path": "fresh", "message": "true or false"}])
        within = 0.0 if fresh == "true" else FRESH_SECONDS
        told = await healthcheck(studio.settings, studio.engines, studio.vault, within_seconds=within)
        return Reply(200, encode(told))

    async def bundle(visit: Visit) -> Reply:
        single(visit.parameters(), frozenset())
        visit.grant.need(SCOPE, None)
        told = await diagnostics(studio)
        name = f"comfyvn-diagnostics-{told['made_at'][:19].replace(':', '').replace('-', '')}Z.json"
        return Reply(200, encode(told), [(b"content-disposition", f'attachment; filename="{name}"'.encode())])

    return [
        Door("GET", "/api/setup/healthcheck", answer=health, operation=openapi.read_operation(
            "Healthcheck", "Every engine with its status, balance and the one action that would help; disk, GPU, "
            "permissions, ffmpeg, credentials, vault.", "operations", _HEALTH,
            parameters=[schemas.parameter(
                "fresh", "query", {"type": "boolean", "default": False},
                "Look at every engine now, behind the answer; else what was seen up to 15 seconds ago is good enough.",
            )],
            description=f"Needs the scope `{SCOPE}`. Answers 200 whatever is missing.",
        )),
        Door("GET", "/api/setup/diagnostics", answer=bundle, operation=openapi.read_operation(
            "Diagnostics", "Versions, settings, engines, projections and the last log lines, without secrets.",
            "operations", {"type": "object", "required": ["format", "versions", "settings", "health"]},
            description=f"Needs the scope `{SCOPE}`. To download and to send.",
        )),
    ]


_OBJECT: Final = {"type": "object"}

_HEALTH: Final[schemas.Schema] = {
    "type": "object",
    "required": ["ok", "checked_at", "engines", "disk", "permissions", "gpu", "ffmpeg", "c2pa", "vault"],
    "properties": {
        "ok": {"type": "boolean"}, "checked_at": {"type": "string"},
        "engines": {"type": "array", "items": {
            "type": "object", "required": ["engine_id", "status", "balance", "last_check", "error", "action"],
            "properties": {
                "engine_id": {"type": "string"}, "status": {"type": "string"}, "balance": {"type": ["number", "null"]},
                "last_check": {"type": ["string", "null"]}, "error": {"type": ["string", "null"]},
                "action": {"type": ["object", "null"]},
            },
        }},
        "disk": _OBJECT, "permissions": _OBJECT, "gpu": _OBJECT, "ffmpeg": _OBJECT, "c2pa": _OBJECT, "vault": _OBJECT,
    },
}
