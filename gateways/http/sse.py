"""The door of server-sent events: what a browser's EventSource understands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from domain.errors import ComfyVNError
from gateways.http import openapi, schemas
from gateways.http.hub import Behind, Hub, Subscription
from gateways.http.metrics import Metrics
from gateways.http.problems import bad_header
from gateways.http.routing import Door
from gateways.http.streams import (
    FILTERS,
    PARAMETERS,
    SCOPE,
    Send,
    check_scope,
    chunks,
    read_after,
    read_wanted,
    subscribed,
)
from gateways.http.visit import Visit, single
from services.studio import Studio

RETRY: Final = b"retry: 2000\n\n"
"""How long an EventSource waits before it comes again, in milliseconds."""


def stream_doors(studio: Studio, hub: Hub, metrics: Metrics) -> list[Door]:
    """The door of server-sent events."""

    async def sse(visit: Visit, send: Send) -> None:
        await _serve(studio, hub, metrics, visit, send)

    operation = openapi.read_operation(
        "FollowEvents", "Every event as it happens, as server-sent events.", "streams", {"type": "string"},
        parameters=[
            *(schemas.parameter(name, "query", {"type": "string"}, f"Only these, separated by commas: {name}.")
              for name in FILTERS),
            schemas.parameter("after", "query", schemas.POSITION, "Start after this position; 0 is the beginning."),
            schemas.parameter("Last-Event-ID", "header", {"type": "string", "pattern": "^[0-9]{1,18}$"},
                              "The position that was seen last; wins over `after`."),
        ],
        description=f"Needs the scope `{SCOPE}`. The WebSocket /events/ws gives the same; see /asyncapi.json.",
    )
    operation["responses"]["200"] = {
        "description": "A stream that does not end by itself.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    return [Door("GET", "/events/sse", stream=sse, operation=operation)]


async def _serve(studio: Studio, hub: Hub, metrics: Metrics, visit: Visit, send: Send) -> None:
    given = single(visit.parameters(), PARAMETERS)
    wanted = read_wanted(given)
    check_scope(visit.grant, wanted)
    after = start_of(visit, given)
    head = head_of(visit)
    if visit.scope["method"] == "HEAD":
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b""})
        return
    subscription = await subscribed(studio, hub, wanted, after)
    metrics.subscribers.inc()
    leaving = asyncio.create_task(until_left(visit.receive, subscription))
    try:
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": RETRY, "more_body": True})
        try:
            async for chunk in chunks(studio, hub, subscription):
                body = chunk.frames if chunk is not None else b": heartbeat\nid: %d\n\n" % subscription.cursor
                await send({"type": "http.response.body", "body": body, "more_body": True})
        except Behind as behind:
            if behind.reason != "left":
                await resume(metrics, send, behind.after, behind.reason)
        except ComfyVNError as error:  # the log went away while the past was read
            await resume(metrics, send, subscription.cursor, error.code)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        leaving.cancel()
        hub.left(subscription)
        metrics.subscribers.dec()


def start_of(visit: Visit, given: Mapping[str, str]) -> int | None:
    """The position after which a listener wants to begin: what it has seen last, or what it names."""
    last = visit.header(b"last-event-id")
    if last is not None and not (last.isascii() and last.isdigit() and len(last) <= 18):
        raise bad_header("Last-Event-ID", "it is the id of an event, a position")
    return read_after(last if last is not None else given.get("after"))


def head_of(visit: Visit) -> list[tuple[bytes, bytes]]:
    """The headers of a stream of events."""
    return [
        (b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"), (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", visit.request_id.encode()), *visit.shared,
    ]


async def resume(metrics: Metrics, send: Send, after: int, reason: str) -> None:
    """Asks the listener to come again from there."""
    metrics.resumed.labels(reason).inc()
    told = orjson.dumps({"after": after, "reason": reason})
    body = b"event: resume\nid: %d\ndata: %b\n\n" % (after, told)
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def until_left(receive: Callable[[], Any], subscription: Subscription) -> None:
    """Closes a subscription when its client goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    subscription.close("left")
