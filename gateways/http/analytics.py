"""Figures at `/api/analytics`: pages that only decorate are never answered with an error, but with `ok: false`."""

from __future__ import annotations

from typing import Any, Final

import structlog

from domain.errors import ComfyVNError, Denied
from gateways.http import openapi, schemas
from gateways.http.asking import DEFAULT_PROJECT, checked_name
from gateways.http.gate import Pass
from gateways.http.job_watching import SCOPE
from gateways.http.problems import Reply, encode
from gateways.http.routing import Door
from gateways.http.visit import Visit, single
from projections.operations.budget import spend
from projections.reading import Query, View
from projections.studio.job_figures import FIGURES
from services.redaction import redact
from services.studio import Studio

SPEND: Final = "spend"
SPEND_SCOPE: Final = "budget:read"
"""What is spent is told to whoever may see the budgets."""

log = structlog.get_logger("analytics")


def analytics_doors(studio: Studio) -> list[Door]:
    """The overview, and every figure by its name."""

    async def show(visit: Visit) -> Reply:
        name = "/".join(visit.path[part] for part in ("name", "part") if part in visit.path) or "overview"
        try:
            told = await _figures(studio, visit, name)
        except Denied:
            raise
        except ComfyVNError as error:
            told = _unavailable(name, error.code, error.message)
        except Exception:
            log.exception("analytics_failed", name=name[:100], request_id=visit.request_id)
            told = _unavailable(name, "unavailable", "These figures cannot be shown now.")
        return Reply(200, encode(told), [(b"cache-control", b"no-cache")])

    return [
        Door("GET", "/api/analytics", answer=show, operation=_operation("ShowAnalyticsOverview", ())),
        Door("GET", "/api/analytics/{name}", answer=show, operation=_operation("ShowAnalytics", ("name",))),
        Door("GET", "/api/analytics/{name}/{part}", answer=show,
             operation=_operation("ShowAnalyticsPart", ("name", "part"))),
    ]


async def _figures(studio: Studio, visit: Visit, name: str) -> dict[str, Any]:
    passed: Pass = visit.grant
    given = single(visit.parameters(), frozenset({"project"}))
    project = checked_name("project", given.get("project", DEFAULT_PROJECT))
    if name == SPEND:
        passed.need(SPEND_SCOPE, project)
        month = studio.clock()[:7]
        view = View("ShowAnalytics", "", Query, lambda reader, _: spend(reader, project, month), ("budget",),
                    SPEND_SCOPE)
    else:
        passed.need(SCOPE, project)
        figure = FIGURES.get(name)
        if figure is None:
            known = sorted([*FIGURES, SPEND])
            return _unavailable(name, "not_configured", "Analytics not configured") | {"known": known}
        view = View("ShowAnalytics", "", Query, lambda reader, _: figure(reader, project), ("jobs",), SCOPE)
    seen = await studio.look_closely(view, Query(project=project))
    return {"ok": True, "name": name, "data": {"project": project, **seen.answer}, "error": None, "message": None,
            "position": seen.position}


def _unavailable(name: str, error: str, message: str) -> dict[str, Any]:
    # The name is whatever stood in the address, and a part of it must not leave what the whole would hide.
    return {"ok": False, "name": redact(name)[:100], "data": None, "error": error, "message": redact(message)}


_ANSWER: Final[schemas.Schema] = {
    "type": "object", "required": ["ok", "data", "error", "message"],
    "properties": {
        "ok": {"type": "boolean"}, "data": {"type": ["object", "null"]}, "error": {"type": ["string", "null"]},
        "message": {"type": ["string", "null"]},
    },
}


def _operation(name: str, path: tuple[str, ...]) -> schemas.Schema:
    return openapi.read_operation(
        name, "Figures about jobs and what they cost; `ok` is false where there are none.", "views", _ANSWER,
        parameters=[
            *(schemas.parameter(one, "path", {"type": "string", "minLength": 1}, required=True) for one in path),
            # Whatever is asked is answered: what is no project's name has no figures.
            schemas.parameter("project", "query", {"type": "string", "default": DEFAULT_PROJECT}),
        ],
        statuses=(400, 401, 403, 404),
        description=f"Needs the scope `{SCOPE}`, `{SPEND}` the scope `{SPEND_SCOPE}`. Known: {', '.join(FIGURES)}, "
                    f"{SPEND}.",
    )
