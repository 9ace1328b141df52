"""The WebSocket of events: one event per message, and filters that the client may change while it listens."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson

from domain.errors import ComfyVNError
from gateways.http.hub import Behind, Hub, Subscription
from gateways.http.metrics import Metrics
from gateways.http.problems import malformed, problem_body, wrong_fields
from gateways.http.streams import (
    FILTERS,
    PARAMETERS,
    Send,
    check_after,
    check_scope,
    chunks,
    read_after,
    read_wanted,
    subscribed,
)
from gateways.http.visit import Visit, single
from services.studio import Studio

MESSAGE_LIMIT: Final = 64 * 2**10
"""Longest message that a client may send, in characters."""

POLICY, RESTARTING, TOO_SLOW = 1008, 1012, 1013
"""Close codes: a message that cannot be used; the server goes away; come again from `after`."""


async def serve(studio: Studio, hub: Hub, metrics: Metrics, visit: Visit, send: Send) -> None:
    """Serves one WebSocket: one event per message. Raises ``ComfyVNError`` before it is accepted."""
    given = single(visit.parameters(), PARAMETERS)
    wanted = read_wanted(given)
    # Filters may still come by message, so only what may be read at all is settled here.
    check_scope(visit.grant, wanted)
    subscription = await subscribed(studio, hub, wanted, read_after(given.get("after")))
    metrics.subscribers.inc()
    listening: asyncio.Task[ComfyVNError | None] | None = None
    try:
        await send({"type": "websocket.accept", "headers": [(b"x-request-id", visit.request_id.encode())]})
        listening = asyncio.create_task(_listen(studio, hub, visit, subscription))
        try:
            async for chunk in chunks(studio, hub, subscription):
                if chunk is None:
                    await say(send, {"control": "heartbeat", "position": subscription.cursor})
                    continue
                moves = subscription.moves
                for entry in chunk.entries:
                    # A chunk is finished before anything else is said: `after` counts all of it as received.
                    if subscription.closed in ("left", "refused") or subscription.moves != moves:
                        break
                    await send({"type": "websocket.send", "text": entry.line.decode()})
        except Behind as behind:
            await end(metrics, visit, send, behind, listening)
        except ComfyVNError as error:
            metrics.resumed.labels(error.code).inc()
            await say(send, {"control": "resume", "after": subscription.cursor, "reason": error.code})
            await send({"type": "websocket.close", "code": TOO_SLOW, "reason": error.code})
    finally:
        if listening is not None:
            listening.cancel()
        hub.left(subscription)
        metrics.subscribers.dec()


async def end(
    metrics: Metrics, visit: Visit, send: Send, behind: Behind, listening: asyncio.Task[ComfyVNError | None]
) -> None:
    """Says why a WebSocket ends, and where to go on."""
    if behind.reason == "left":
        return
    if behind.reason == "refused":
        error = await listening
        if error is not None:
            await say(send, {"control": "problem", "problem": problem_body(error, visit.request_id)})
        await send({"type": "websocket.close", "code": POLICY, "reason": error.code if error else ""})
        return
    metrics.resumed.labels(behind.reason).inc()
    await say(send, {"control": "resume", "after": behind.after, "reason": behind.reason})
    code = RESTARTING if behind.reason == "closing" else TOO_SLOW
    await send({"type": "websocket.close", "code": code, "reason": behind.reason})


async def _listen(studio: Studio, hub: Hub, visit: Visit, subscription: Subscription) -> ComfyVNError | None:
    """Takes messages of the client until one is an error: each replaces the filters, ``after`` moves the position."""
    while True:
        message = await visit.receive()
        if message["type"] == "websocket.disconnect":
            subscription.close("left")
            return None
        if message["type"] != "websocket.receive":
            continue
        try:
            given = _read_message(message.get("text"))
            wanted, after = read_wanted(given), read_after(given.get("after"))
            check_scope(visit.grant, wanted)
            await check_after(studio, hub, after)
        except ComfyVNError as error:
            subscription.close("refused")
            return error
        subscription.change(wanted, after)


def _read_message(text: str | None) -> dict[str, Any]:
    if text is None or len(text) > MESSAGE_LIMIT:
        raise malformed(f"a text of at most {MESSAGE_LIMIT} characters is needed")
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise malformed(str(error)) from error
    unknown = [name for name in given if name not in (*FILTERS, "after")] if isinstance(given, dict) else [""]
    if unknown:
        raise wrong_fields("The message", "invalid_fields", [
            {"path": unknown[0][:100], "message": f"an object with some of after, {', '.join(FILTERS)} is needed"}
        ])
    return dict(given)


async def say(send: Send, told: Mapping[str, Any]) -> None:
    """One message."""
    await send({"type": "websocket.send", "text": orjson.dumps(told).decode()})
