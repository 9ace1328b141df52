"""A WebSocket from its acceptance to its end: what is told, what the client says meanwhile, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from domain.errors import ComfyVNError
from gateways.http.hub import Behind, Hub, Subscription
from gateways.http.metrics import Metrics
from gateways.http.problems import malformed, problem_body, wrong_fields
from gateways.http.streams import Send
from gateways.http.visit import Visit

MESSAGE_LIMIT: Final = 64 * 2**10
"""Longest message that a client may send, in characters."""

POLICY, RESTARTING, TOO_SLOW = 1008, 1012, 1013
"""Close codes: a message that cannot be used; the server goes away; come again from `after`."""


@dataclass(frozen=True)
class Talk:
    """What one kind of WebSocket says and hears.

    ``tell`` says everything until the subscription ends. ``hear`` takes a message, an object with some of ``names``;
    it raises ``ComfyVNError`` for what it cannot use. ``place`` is where to go on, given how far the subscription is.
    """

    tell: Callable[[], Awaitable[None]]
    hear: Callable[[dict[str, Any]], Awaitable[None]]
    names: Sequence[str]
    place: Callable[[int], int]


async def converse(
    hub: Hub, metrics: Metrics, visit: Visit, send: Send, subscription: Subscription, talk: Talk
) -> None:
    """Accepts the WebSocket and serves it to its end. Gives the subscription back."""
    metrics.subscribers.inc()
    listening: asyncio.Task[ComfyVNError | None] | None = None
    try:
        await send({"type": "websocket.accept", "headers": [(b"x-request-id", visit.request_id.encode())]})
        listening = asyncio.create_task(_listen(visit, subscription, talk))
        try:
            await talk.tell()
        except Behind as behind:
            await _end(metrics, visit, send, behind.reason, talk.place(behind.after), listening)
        except ComfyVNError as error:
            metrics.resumed.labels(error.code).inc()
            after = talk.place(subscription.cursor)
            await say(send, {"control": "resume", "after": after, "reason": error.code})
            await send({"type": "websocket.close", "code": TOO_SLOW, "reason": error.code})
    finally:
        if listening is not None:
            listening.cancel()
        hub.left(subscription)
        metrics.subscribers.dec()


async def _end(
    metrics: Metrics, visit: Visit, send: Send, reason: str, after: int,
    listening: asyncio.Task[ComfyVNError | None],
) -> None:
    """Says why a WebSocket ends, and where to go on."""
    if reason == "left":
        return
    if reason == "refused":
        error = await listening
        if error is not None:
            await say(send, {"control": "problem", "problem": problem_body(error, visit.request_id)})
        await send({"type": "websocket.close", "code": POLICY, "reason": error.code if error else ""})
        return
    metrics.resumed.labels(reason).inc()
    await say(send, {"control": "resume", "after": after, "reason": reason})
    code = RESTARTING if reason == "closing" else TOO_SLOW
    await send({"type": "websocket.close", "code": code, "reason": reason})


async def _listen(visit: Visit, subscription: Subscription, talk: Talk) -> ComfyVNError | None:
    """Takes messages of the client until one is an error."""
    while True:
        message = await visit.receive()
        if message["type"] == "websocket.disconnect":
            subscription.close("left")
            return None
        if message["type"] != "websocket.receive":
            continue
        try:
            await talk.hear(_read(message.get("text"), talk.names))
        except ComfyVNError as error:
            subscription.close("refused")
            return error


def _read(text: str | None, names: Sequence[str]) -> dict[str, Any]:
    if text is None or len(text) > MESSAGE_LIMIT:
        raise malformed(f"a text of at most {MESSAGE_LIMIT} characters is needed")
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise malformed(str(error)) from error
    unknown = [name for name in given if name not in names] if isinstance(given, dict) else [""]
    if unknown:
        raise wrong_fields("The message", "invalid_fields", [
            {"path": unknown[0][:100], "message": f"an object with some of {', '.join(names)} is needed"}
        ])
    return dict(given)


async def say(send: Send, told: Mapping[str, Any]) -> None:
    """One message."""
    await send({"type": "websocket.send", "text": orjson.dumps(told).decode()})
