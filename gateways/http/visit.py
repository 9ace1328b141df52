"""One request at the door: its headers, its parameters and its body, read strictly and within bounds."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from domain.errors import Invalid, Remedy
from gateways.http.gate import Pass
from gateways.http.problems import wrong_fields

QUERY_LIMIT: Final = 16 * 1024
"""Longest query string in bytes."""

PARAMETERS_LIMIT: Final = 200
"""Most parameters in one query string."""

BODY_SECONDS: Final = 20.0
"""How long the next piece of a body may take."""

Parameters = tuple[tuple[str, str], ...]
"""Names and values of a query string in the order in which they came."""


class ClientGone(Exception):
    """The client left before its request was read: there is nobody to answer."""


class Visit:
    """A request with what the gate found out about it. ``path`` parameters are filled in by the door."""

    __slots__ = ("body_limit", "body_seconds", "grant", "path", "receive", "request_id", "scope", "shared", "whole")

    def __init__(
        self, scope: Any, receive: Any, request_id: str, body_limit: int, body_seconds: float = BODY_SECONDS
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.request_id = request_id
        self.body_limit = body_limit
        self.body_seconds = body_seconds
        self.grant: Pass = NOBODY
        self.path: dict[str, str] = {}
        self.shared: list[tuple[bytes, bytes]] = []
        self.whole = False

    def header(self, name: bytes) -> str | None:
        """The value of a header, given its name in lower case."""
        for known, value in self.scope["headers"]:
            if known == name:
                return str(value.decode("latin-1"))
        return None

    def parameters(self) -> Parameters:
        """The query string, decoded; raises ``Invalid`` for one that is too long or not UTF-8."""
        raw: bytes = self.scope["query_string"]
        if not raw:
            return ()
        return _known_parameters(raw) if len(raw) <= 256 else read_parameters(raw)

    async def body(self, limit: int | None = None) -> bytes:
        """The whole body; raises ``Invalid`` when it is larger than ``limit`` bytes, however it is sent."""
        limit = self.body_limit if limit is None else limit
        told = self.header(b"content-length")
        if told is not None and (not told.isascii() or not told.isdigit()):
            raise Invalid("The header Content-Length is not a number.", error="invalid_header")
        if told is not None and (len(told) > 18 or int(told) > limit):
            raise too_large(limit)
        message = await self.more()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise too_large(limit)
        if not message.get("more_body"):
            return body
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await self.more()
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise too_large(limit)
        return b"".join(parts)

    async def more(self) -> Any:
        """The next message of the client; raises ``Invalid`` when the body stops in the middle."""
        if self.whole:
            return await self.receive()
        try:
            async with asyncio.timeout(self.body_seconds):
                message = await self.receive()
        except TimeoutError as error:
            raise Invalid(
                f"Nothing more of the body came for {self.body_seconds:g} seconds.", error="body_late",
                remediation=[Remedy("Send the request again, without a pause.", "retry")],
            ) from error
        self.whole = not message.get("more_body")
        return message


NOBODY: Final = Pass(None, None)
"""What a request has before the gate has looked at it."""


def too_large(limit: int) -> Invalid:
    """A body over its limit."""
    return Invalid(
        f"The body is larger than {limit} bytes.", error="body_too_large",
        remediation=[Remedy("Send less at once, or raise `body_limit`.", "send_less")], detail={"limit": limit},
    )


def read_parameters(raw: bytes) -> Parameters:
    """A query string, decoded strictly."""
    if len(raw) > QUERY_LIMIT:
        raise _bad_query(f"it is longer than {QUERY_LIMIT} bytes")
    pairs = [pair for pair in raw.split(b"&") if pair]
    if len(pairs) > PARAMETERS_LIMIT:
        raise _bad_query(f"it has more than {PARAMETERS_LIMIT} parameters")
    try:
        return tuple((_decoded(name), _decoded(value)) for name, _, value in (pair.partition(b"=") for pair in pairs))
    except UnicodeDecodeError as error:
        raise _bad_query("it is not UTF-8") from error


_known_parameters = lru_cache(maxsize=2048)(read_parameters)


def single(parameters: Parameters, allowed: frozenset[str]) -> dict[str, str]:
    """Parameters of which each may come once; raises ``Invalid`` that names an unknown or doubled one."""
    found: dict[str, str] = {}
    wrong = []
    for name, value in parameters:
        if name not in allowed:
            wrong.append({"path": name[:100], "message": "there is no such parameter"})
        elif name in found:
            wrong.append({"path": name, "message": "this parameter came twice"})
        else:
            found[name] = value
    if wrong:
        raise wrong_fields("The query string", "invalid_parameters", wrong)
    return found


def _decoded(raw: bytes) -> str:
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode()


def _bad_query(why: str) -> Invalid:
    return Invalid(
        f"The query string cannot be read: {why}.", error="invalid_parameters",
        remediation=[Remedy("Encode parameters as percent-encoded UTF-8.", "fix_parameters")],
    )
