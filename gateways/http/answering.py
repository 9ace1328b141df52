"""Replies on their way out: the headers that all of them share, and what other layers say put into our own words."""

from __future__ import annotations

from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from domain.errors import ComfyVNError, Denied, Invalid, NotFound
from gateways.http.conversing import POLICY
from gateways.http.problems import Headers, Reply, wrong_fields
from gateways.http.visit import Visit

SHARED_HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
NO_STORE: Final = (b"cache-control", b"no-store")
CLOSED_POLICY: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Watched:
    """``send``, with a memory of the status that went out."""

    __slots__ = ("send", "status")

    def __init__(self, send: Any) -> None:
        self.send = send
        self.status = 0

    async def __call__(self, message: Any) -> None:
        if not self.status:
            self.status = message.get("status", 101)
        await self.send(message)


async def answer(send: Any, visit: Visit, reply: Reply, method: str) -> None:
    """Sends a reply; without its body for HEAD."""
    headers = shared_headers(visit, reply)
    if reply.status not in (204, 304):
        headers.append((b"content-type", reply.media))
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else reply.body})


def shared_headers(visit: Visit, reply: Reply) -> list[tuple[bytes, bytes]]:
    """The headers of a reply with those that all replies share."""
    headers = [(b"x-request-id", visit.request_id.encode()), *SHARED_HEADERS, *reply.headers, *visit.shared]
    named = {name for name, _ in reply.headers}
    if b"cache-control" not in named:
        headers.append(NO_STORE)
    if b"content-security-policy" not in named:
        headers.append(CLOSED_POLICY)
    return headers


async def refuse_websocket(scope: Any, send: Any, visit: Visit, reply: Reply) -> None:
    """Answers a WebSocket that is not accepted: with the reply where the server can, else by closing it."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": POLICY, "reason": "refused"})
        return
    headers: Headers = [*shared_headers(visit, reply), (b"content-type", reply.media)]
    await send({"type": "websocket.http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": reply.body})


def said(error: HTTPException) -> ComfyVNError:
    """An error of FastAPI or Starlette in our own words."""
    kinds: dict[int, tuple[type[ComfyVNError], str]] = {
        401: (Denied, "unauthenticated"), 403: (Denied, "denied"), 404: (NotFound, "unknown_path"),
        405: (Invalid, "method_not_allowed"), 413: (Invalid, "body_too_large"),
        415: (Invalid, "unsupported_media_type"), 422: (Invalid, "invalid_fields"),
    }
    kind, code = kinds.get(error.status_code, (Invalid, "invalid"))
    allowed = [one.strip() for one in (error.headers or {}).get("allow", "").split(",") if one.strip()]
    return kind(str(error.detail), error=code, detail={"allowed": allowed} if allowed else {})


def unfit_request(error: RequestValidationError) -> ComfyVNError:
    """What FastAPI found wrong with a request, as ours."""
    fields = [
        {"path": "/".join(str(part) for part in one["loc"])[:400], "message": str(one["msg"])[:300]}
        for one in error.errors()[:50]
    ]
    return wrong_fields("The request", "invalid_fields", fields or [{"path": "", "message": "it does not fit"}])
