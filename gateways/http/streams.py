"""Doors for listening: server-sent events and a WebSocket, both from any position of the log and on into the future."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import orjson

from domain.errors import ComfyVNError
from domain.ids import UNBRANCHED, token
from gateways.http import openapi
from gateways.http.gate import Pass
from gateways.http.hub import CHUNK_BYTES, Behind, Chunk, Entry, Hub, Subscription, Wanted
from gateways.http.metrics import Metrics
from gateways.http.problems import bad_header, in_future, malformed, problem_body, wrong_fields
from gateways.http.routing import Door
from gateways.http.visit import Visit, single
from services.studio import Studio

SCOPE: Final = "log:read"

FILTERS: Final = ("project", "worldline", "category", "id", "event")

PARAMETERS: Final = frozenset({*FILTERS, "after", "access_token"})

NAMES_LIMIT: Final = 50
"""Most names in one filter."""

RETRY: Final = b"retry: 2000\n\n"
"""How long an EventSource waits before it comes again, in milliseconds."""

MESSAGE_LIMIT: Final = 64 * 2**10
"""Longest message that a WebSocket client may send, in characters."""

POLICY, RESTARTING, TOO_SLOW = 1008, 1012, 1013
"""Close codes of a WebSocket: a message that cannot be used; the server goes away; come again from `after`."""

Send = Callable[[Any], Any]


def stream_doors(studio: Studio, hub: Hub, metrics: Metrics) -> list[Door]:
    """The door of server-sent events; the WebSocket's is ``websocket``, since it is no method of HTTP."""

    async def sse(visit: Visit, send: Send) -> None:
        await _serve_sse(studio, hub, metrics, visit, send)

    operation = openapi.read_operation(
        "FollowEvents", "Every event as it happens, as server-sent events.", "streams", {"type": "string"},
        parameters=[
            *(openapi.parameter(name, "query", {"type": "string"}, f"Only these, separated by commas: {name}.")
              for name in FILTERS),
            openapi.parameter("after", "query", openapi.POSITION, "Start after this position; 0 is the beginning."),
            openapi.parameter("Last-Event-ID", "header", {"type": "string", "pattern": "^[0-9]{1,18}$"},
                              "The position that was seen last; wins over `after`."),
        ],
        description=f"Needs the scope `{SCOPE}`. The WebSocket /events/ws gives the same; see /asyncapi.json.",
    )
    operation["responses"]["200"] = {
        "description": "A stream that does not end by itself.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    return [Door("GET", "/events/sse", stream=sse, operation=operation)]


# --- what is wanted ---------------------------------------------------------------------------------------------------


def read_wanted(given: Mapping[str, Any]) -> Wanted:
    """Filters from parameters or a message; names are separated by commas, a message may also give lists."""
    sets, wrong = {}, []
    for name in FILTERS:
        value = given.get(name)
        if value is None:
            continue
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list) or not 1 <= len(names) <= NAMES_LIMIT:
            wrong.append({"path": name, "message": f"1 to {NAMES_LIMIT} names are needed"})
            continue
        try:
            sets[name] = frozenset(_name(name, one) for one in names)
        except ValueError as error:
            wrong.append({"path": name, "message": str(error)})
    if wrong:
        raise wrong_fields("The filter", "invalid_parameters", wrong)
    return Wanted(**sets)


def _name(kind: str, text: Any) -> str:
    if not isinstance(text, str):
        raise ValueError("names are texts")
    return text if kind == "worldline" and text == UNBRANCHED else token(text)


def read_after(value: Any) -> int | None:
    """A position from a parameter or a message."""
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    if type(value) is int and 0 <= value < 10**18:
        return value
    raise wrong_fields("The position", "invalid_parameters", [
        {"path": "after", "message": "a position, a whole number from 0, is needed"}
    ])


def check_scope(passed: Pass, wanted: Wanted) -> None:
    """Raises ``Denied`` unless everything wanted may be read; no filter means every project."""
    projects: list[str | None] = [*sorted(wanted.project)] or [None]
    for project in projects:
        passed.need(SCOPE, project)


async def subscribed(studio: Studio, hub: Hub, wanted: Wanted, after: int | None) -> Subscription:
    """A subscription; raises ``Invalid`` for a position that has not happened, ``Unavailable`` without a log."""
    await hub.ready()
    await _check_after(studio, hub, after)
    return hub.subscribe(wanted, after)


async def _check_after(studio: Studio, hub: Hub, after: int | None) -> None:
    if after is not None and after > hub.head:
        head = await studio.log.head()
        if after > head:
            raise in_future("after", after, head)


async def chunks(studio: Studio, hub: Hub, subscription: Subscription) -> AsyncIterator[Chunk | None]:
    """Everything wanted, first from the log as far as the ring does not reach, then live; ``None`` is a heartbeat."""
    while True:
        turn = subscription.turn
        while subscription.cursor < hub.floor and subscription.turn == turn:
            if subscription.closed is not None:
                raise Behind(subscription.cursor, subscription.closed)
            async for chunk in _past(studio, hub, subscription):
                yield chunk
        # Once live, a subscriber that falls off the ring is too slow: ``next`` says so.
        while subscription.turn == turn:
            yield await subscription.next()


async def _past(studio: Studio, hub: Hub, subscription: Subscription) -> AsyncIterator[Chunk]:
    wanted, turn, upto = subscription.wanted, subscription.turn, hub.head

    def ended() -> bool:
        return subscription.turn != turn or subscription.closed is not None

    reading = studio.log.read(after=subscription.cursor, upto=upto, pattern=wanted.pattern, batch=500)
    async with aclosing(reading) as batches:  # type: ignore[type-var]
        async for batch in batches:
            found: list[Entry] = []
            size = 0
            for number, recorded in enumerate(batch, start=1):
                if ended():
                    return
                if wanted.matches(recorded.stream, recorded.type):
                    found.append(Entry.of(recorded))
                    size += len(found[-1].frame)
                if size >= CHUNK_BYTES or number == len(batch):
                    subscription.cursor = recorded.position
                    if found:
                        yield _chunk(found)
                    found, size = [], 0
    if not ended():
        subscription.cursor = max(subscription.cursor, upto)


def _chunk(found: list[Entry]) -> Chunk:
    return Chunk(tuple(found), b"".join(one.frame for one in found), found[-1].position)


# --- server-sent events -----------------------------------------------------------------------------------------------


async def _serve_sse(studio: Studio, hub: Hub, metrics: Metrics, visit: Visit, send: Send) -> None:
    given = single(visit.parameters(), PARAMETERS)
    wanted = read_wanted(given)
    check_scope(visit.grant, wanted)
    last = visit.header(b"last-event-id")
    if last is not None and not (last.isascii() and last.isdigit() and len(last) <= 18):
        raise bad_header("Last-Event-ID", "it is the id of an event, a position")
    subscription = await subscribed(studio, hub, wanted, read_after(last if last is not None else given.get("after")))
    metrics.subscribers.inc()
    leaving = asyncio.create_task(_until_left(visit.receive, subscription))
    try:
        await send({"type": "http.response.start", "status": 200, "headers": [
            (b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"), (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", visit.request_id.encode()), *visit.shared,
        ]})
        await send({"type": "http.response.body", "body": RETRY, "more_body": True})
        try:
            async for chunk in chunks(studio, hub, subscription):
                body = chunk.frames if chunk is not None else b": heartbeat\nid: %d\n\n" % subscription.cursor
                await send({"type": "http.response.body", "body": body, "more_body": True})
        except Behind as behind:
            if behind.reason != "left":
                metrics.resumed.labels(behind.reason).inc()
                told = orjson.dumps({"after": behind.after, "reason": behind.reason})
                body = b"event: resume\nid: %d\ndata: %b\n\n" % (behind.after, told)
                await send({"type": "http.response.body", "body": body, "more_body": True})
        except ComfyVNError as error:  # the log went away while the past was read
            metrics.resumed.labels(error.code).inc()
            told = orjson.dumps({"after": subscription.cursor, "reason": error.code})
            body = b"event: resume\nid: %d\ndata: %b\n\n" % (subscription.cursor, told)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        leaving.cancel()
        hub.left(subscription)
        metrics.subscribers.dec()


async def _until_left(receive: Callable[[], Any], subscription: Subscription) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    subscription.close("left")


# --- WebSocket --------------------------------------------------------------------------------------------------------


async def websocket(studio: Studio, hub: Hub, metrics: Metrics, visit: Visit, send: Send) -> None:
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
                    await _say(send, {"control": "heartbeat", "position": subscription.cursor})
                    continue
                moves = subscription.moves
                for entry in chunk.entries:
                    if subscription.closed is not None or subscription.moves != moves:
                        break
                    await send({"type": "websocket.send", "text": entry.line.decode()})
        except Behind as behind:
            await _end(metrics, visit, send, behind, listening)
        except ComfyVNError as error:
            metrics.resumed.labels(error.code).inc()
            await _say(send, {"control": "resume", "after": subscription.cursor, "reason": error.code})
            await send({"type": "websocket.close", "code": TOO_SLOW, "reason": error.code})
    finally:
        if listening is not None:
            listening.cancel()
        hub.left(subscription)
        metrics.subscribers.dec()


async def _end(
    metrics: Metrics, visit: Visit, send: Send, behind: Behind, listening: asyncio.Task[ComfyVNError | None]
) -> None:
    if behind.reason == "left":
        return
    if behind.reason == "refused":
        error = await listening
        if error is not None:
            await _say(send, {"control": "problem", "problem": problem_body(error, visit.request_id)})
        await send({"type": "websocket.close", "code": POLICY, "reason": error.code if error else ""})
        return
    metrics.resumed.labels(behind.reason).inc()
    await _say(send, {"control": "resume", "after": behind.after, "reason": behind.reason})
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
            await _check_after(studio, hub, after)
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


async def _say(send: Send, told: Mapping[str, Any]) -> None:
    await send({"type": "websocket.send", "text": orjson.dumps(told).decode()})


