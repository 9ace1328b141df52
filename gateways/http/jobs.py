"""Doors of jobs beside the declared ones: one job as server-sent events until it is over, and doing it again."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson

from domain.errors import ComfyVNError
from domain.ids import checked
from gateways.http import openapi, schemas
from gateways.http.asking import DEFAULT_PROJECT, checked_name
from gateways.http.hub import Behind, Hub, Subscription
from gateways.http.job_watching import SCOPE, happening, is_over, one_job, wanted
from gateways.http.metrics import Metrics
from gateways.http.retrying import retry_doors
from gateways.http.routing import Door
from gateways.http.sse import RETRY, head_of, resume, start_of, until_left
from gateways.http.streams import Send, check_after, chunks
from gateways.http.visit import Visit, single
from services.studio import Studio

_PARAMETERS: Final = frozenset({"project", "after", "access_token"})


def job_doors(studio: Studio, hub: Hub, metrics: Metrics) -> list[Door]:
    """The doors of jobs that are no plain views or commands."""

    async def follow(visit: Visit, send: Send) -> None:
        await _follow(studio, hub, metrics, visit, send)

    return [Door("GET", "/api/jobs/{job_id}/events", stream=follow, operation=_FOLLOW), *retry_doors(studio)]


async def _follow(studio: Studio, hub: Hub, metrics: Metrics, visit: Visit, send: Send) -> None:
    given = single(visit.parameters(), _PARAMETERS)
    project = checked_name("project", given.get("project", DEFAULT_PROJECT))
    visit.grant.need(SCOPE, project)
    job_id = checked("job", visit.path["job_id"])
    after = start_of(visit, given)
    await hub.ready()
    await check_after(studio, hub, after)
    seen = await one_job(studio, project, job_id)
    if after is not None and is_over(seen.answer) and after >= seen.answer["position"]:
        # Whoever comes back after the end is told in the one way that makes an EventSource stay away.
        await send({"type": "http.response.start", "status": 204, "headers": [*visit.shared]})
        await send({"type": "http.response.body", "body": b""})
        return
    if visit.scope["method"] == "HEAD":
        await send({"type": "http.response.start", "status": 200, "headers": head_of(visit)})
        await send({"type": "http.response.body", "body": b""})
        return
    subscription = hub.subscribe(wanted(project, [job_id]), seen.position if after is None else after)
    metrics.subscribers.inc()
    leaving = asyncio.create_task(until_left(visit.receive, subscription))
    try:
        await send({"type": "http.response.start", "status": 200, "headers": head_of(visit)})
        body = RETRY if after is not None else RETRY + _frame("snapshot", seen.position, {"job": seen.answer})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        if after is not None or not is_over(seen.answer):
            await _updates(studio, hub, metrics, subscription, project, job_id, send)
        else:
            await _say(send, _frame("end", seen.position, {"job_id": job_id, "status": seen.answer["status"]}))
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        leaving.cancel()
        hub.left(subscription)
        metrics.subscribers.dec()


async def _updates(
    studio: Studio, hub: Hub, metrics: Metrics, subscription: Subscription, project: str, job_id: str, send: Send,
) -> None:
    """What happens to a job, until it is over; whoever is sent away is told where to go on."""
    told = subscription.cursor
    try:
        async for chunk in chunks(studio, hub, subscription):
            if chunk is None:
                await _say(send, b": heartbeat\n\n")
                continue
            if not chunk.entries:
                continue
            last = chunk.entries[-1].position
            job = (await one_job(studio, project, job_id, last)).answer
            frames = []
            for entry in chunk.entries:
                shown = {"job": job} if entry.position == last else {}
                frames.append(_frame("update", entry.position, happening(studio.registry, entry) | shown))
            if is_over(job) and job["position"] <= last:
                frames.append(_frame("end", last, {"job_id": job_id, "status": job["status"]}))
            await _say(send, b"".join(frames))
            told = last
            if is_over(job) and job["position"] <= last:
                return
    except Behind as behind:
        if behind.reason != "left":
            await resume(metrics, send, told, behind.reason)
    except ComfyVNError as error:  # the log or the read side went away
        await resume(metrics, send, told, error.code)


def _frame(event: str, position: int, data: Any) -> bytes:
    return b"event: %b\nid: %d\ndata: %b\n\n" % (event.encode(), position, orjson.dumps(data))


async def _say(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


_PROJECT: Final = schemas.parameter("project", "query", schemas.NAME | {"default": DEFAULT_PROJECT})
_JOB: Final = schemas.parameter("job_id", "path", schemas.NAME, required=True)

_FOLLOW: Final[schemas.Schema] = openapi.read_operation(
    "FollowJob", "One job as server-sent events, until it is over.", "streams", {"type": "string"},
    parameters=[
        _JOB, _PROJECT,
        schemas.parameter("after", "query", schemas.POSITION, "Start after this position, without a snapshot."),
        schemas.parameter("Last-Event-ID", "header", {"type": "string", "pattern": "^[0-9]{1,18}$"},
                          "The position that was seen last; wins over `after`."),
    ],
    statuses=(400, 401, 403, 404, 422, 500, 503),
    description=f"Needs the scope `{SCOPE}`. `snapshot` holds the job, `update` what happened to it (the newest of "
                "several holds the job again), `end` says that nothing more will come, `resume` asks to come again.",
)
_FOLLOW["responses"]["200"] = {
    "description": "A stream that ends when the job is over.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}
_FOLLOW["responses"]["204"] = {"description": "The job was over at that position: there is nothing to come back for."}
