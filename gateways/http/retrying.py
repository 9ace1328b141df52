"""The doors of a job that is over: do it again with its lineage, and what to copy into a question about it."""

from __future__ import annotations

from typing import Annotated, Any, Final

import orjson
from pydantic import Field, ValidationError

from domain.errors import NotFound, Refused, Remedy
from domain.ids import UNBRANCHED, checked
from domain.studio.job import CATEGORY, Closed
from domain.values import Value
from gateways.http import openapi, schemas
from gateways.http.asking import DEFAULT_PROJECT, asker, checked_name, exists, receipt_body, refuse_if_match
from gateways.http.bodies import check_media_type, read_object
from gateways.http.commands import circumstances
from gateways.http.health import product_version
from gateways.http.job_watching import SCOPE, one_job
from gateways.http.problems import Reply, encode, unfit
from gateways.http.routing import Door
from gateways.http.visit import Visit, single
from services.generation.accepting import again, told
from services.generation.planning import job_state, repeated
from services.redaction import redact
from services.studio import Studio

WRITE: Final = f"{CATEGORY}:write"

Name = Annotated[str, Field(min_length=1, max_length=100)]


class Retry(Value):
    """What should be another way this time; what is left away stays, the seed too."""

    quality: Name | None = None
    engine: Name | None = None
    without: Annotated[tuple[Name, ...], Field(max_length=20)] = ()
    spend_limit: Annotated[float, Field(ge=0, le=1_000_000)] | None = None


def retry_doors(studio: Studio) -> list[Door]:
    """POST /api/jobs/{job_id}/retry and GET /api/jobs/{job_id}/details."""

    async def retry(visit: Visit) -> Reply:
        project, worldline, dry_run = circumstances(visit)
        visit.grant.need(WRITE, project)
        refuse_if_match(visit)
        who, asked = asker(visit), await _asked(visit)
        job_id = await _over(studio, visit, project, worldline)
        if dry_run:
            plan = await repeated(studio, project, job_id, who.actor, "dry-run", quality=asked.quality,
                                  engine=asked.engine, without=asked.without, spend_limit=asked.spend_limit)
            return Reply(200, encode({"ok": True, "dry_run": True, "retry_of": job_id, "plan": told(plan)}))
        found = await again(studio, project, job_id, who, quality=asked.quality, engine=asked.engine,
                            without=asked.without, spend_limit=asked.spend_limit)
        request = found.job.was.request if isinstance(found.job, Closed) else found.job.request
        place = f"/api/jobs/{found.job_id}"
        body = receipt_body(found.receipt) | {
            "job_id": found.job_id, "status": "queued", "retry_of": request.retry_of, "root": request.root,
            "notes": list(found.plan.notes) if found.plan is not None else [],
            "links": {"self": f"{place}?project={project}", "events": f"{place}/events?project={project}",
                      "cancel": f"{place}/cancel?project={project}"},
        }
        headers = [(b"location", f"{place}?project={project}".encode())]
        if found.receipt.repeated:
            headers.append((b"idempotency-replayed", b"true"))
        return Reply(202, encode(body), headers)

    async def details(visit: Visit) -> Reply:
        given = single(visit.parameters(), frozenset({"project"}))
        project = checked_name("project", given.get("project", DEFAULT_PROJECT))
        visit.grant.need(SCOPE, project)
        job = (await one_job(studio, project, checked("job", visit.path["job_id"]))).answer
        kept = {name: job[name] for name in _COPIED}
        copied: Any = redact({"comfyvn": product_version(), "project": project, **kept})
        return Reply(200, encode(copied))

    return [
        Door("POST", "/api/jobs/{job_id}/retry", answer=retry, operation=_RETRY),
        Door("GET", "/api/jobs/{job_id}/details", answer=details, operation=_DETAILS),
    ]


async def _asked(visit: Visit) -> Retry:
    body = await visit.body()
    if body:
        check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
    try:
        return Retry.model_validate_json(orjson.dumps(read_object(body or b"{}")), strict=True)
    except ValidationError as error:
        raise unfit(error, what="The body", code="invalid_fields") from error


async def _over(studio: Studio, visit: Visit, project: str, worldline: str) -> str:
    """The id of the job; raises ``NotFound``, and ``Refused`` for one that still goes on."""
    job_id = checked("job", visit.path["job_id"])
    if not await exists(studio, CATEGORY, job_id, project, worldline or UNBRANCHED):
        raise NotFound(
            f"Project {project} has no job {job_id}.", error="unknown_job",
            remediation=[Remedy("List the jobs of the project.", "list_jobs")],
            detail={"project": project, "job_id": job_id},
        )
    if not isinstance(await job_state(studio, project, job_id), Closed):
        raise Refused(
            f"Job {job_id} is not over: doing it again now would do it twice.", error="job_not_over",
            remediation=[Remedy("Wait for it, or cancel it first.", "cancel_job")], detail={"job_id": job_id},
        )
    return job_id


_COPIED: Final = (
    "job_id", "preset_id", "preset_digest", "status", "quality_level", "engine_used", "created_at", "started_at",
    "finished_at", "fault", "steps", "attempts", "logs", "retry_of", "root",
)
"""What may help somebody else: neither what was put in nor whose it is."""

_PLACES: Final = [
    schemas.parameter("job_id", "path", schemas.NAME, required=True),
    schemas.parameter("project", "query", schemas.NAME | {"default": DEFAULT_PROJECT}),
]
_RETRY: Final[schemas.Schema] = {
    "operationId": "RetryJob", "tags": ["commands"],
    "summary": "Do a job that is over again, as a new job with its lineage.",
    "description": f"Needs the scope `{WRITE}`. It is planned anew on the engines as they are now; "
                   "workflows of users are those that the job was planned with (`notes` say so where it matters).",
    "parameters": [
        *_PLACES, schemas.parameter("worldline", "query", schemas.NAME | {"default": "main"}),
        schemas.parameter("dry_run", "query", {"type": "boolean", "default": False}, "Only show the plan."),
        *(one for one in schemas.COMMAND_HEADERS if one["name"] != "If-Match"),
    ],
    "requestBody": {"required": False, "content": {"application/json": {"schema": Retry.model_json_schema()}}},
    "responses": {
        "200": schemas.answer("What would be done, and the most that it may cost.",
                              {"type": "object", "required": ["ok", "plan"]}),
        "202": schemas.answer("Asked for.", {"type": "object", "required": ["ok", "job_id", "retry_of", "root"]},
                              headers=("Location", "Idempotency-Replayed")),
        **schemas.problems(400, 401, 403, 404, 409, 413, 415, 422, 423, 500, 503),
    },
}
_DETAILS: Final[schemas.Schema] = openapi.read_operation(
    "ShowJobDetails", "What to copy into a question about a job: redacted, without its inputs.", "views",
    {"type": "object"}, parameters=_PLACES, statuses=(400, 401, 403, 404, 422, 500, 503),
    description=f"Needs the scope `{SCOPE}`.",
)
