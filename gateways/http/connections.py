"""Connections, bounded before anything of ours reads them: heads, silence, their number, and talk that nobody needs.

Uvicorn takes a head however long it is, waits for the rest of one for ever, lets a client that does not read keep its
place, and speaks of what it cannot read in plain text or not at all. Here each of these has an end, and every no is a
problem as everywhere else.
"""

from __future__ import annotations

import asyncio
import secrets
from http import HTTPStatus
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Response
from websockets.server import ServerProtocol

from domain.errors import ComfyVNError, Invalid, Remedy, Unavailable
from gateways.http.answering import CLOSED_POLICY, NO_STORE, SHARED_HEADERS
from gateways.http.problems import PROBLEM_TYPE, encode, problem, problem_body

HEAD_LIMIT: Final = 64 * 2**10
"""Longest head of a request in bytes, and the most that may come without meaning anything."""

HEAD_SECONDS: Final = 20.0
"""How long a head may take, and how long a connection may stay that asks nothing."""

UNREAD_SECONDS: Final = 60.0
"""How long a client may leave what was sent to it unread."""

PIECES: Final = 4096
"""Most pieces of one WebSocket message."""

SPARE: Final = 512
"""File descriptors that no connection takes: the log, the read models and files need theirs."""

DESCRIPTORS: Final = 65_536
"""As many file descriptors as are asked for."""


class Bounds(uvicorn.Config):
    """Uvicorn's settings with these bounds: at most ``connections`` at a time."""

    def __init__(
        self, app: Any, *, connections: int, head_seconds: float = HEAD_SECONDS,
        unread_seconds: float = UNREAD_SECONDS, **given: Any,
    ) -> None:
        super().__init__(
            app, http=HttpConnection, ws=WebSocketConnection, log_config=None, access_log=False, server_header=False,
            proxy_headers=False,
            # An event is small, and every listener would have it compressed anew: more work than the rest of sending.
            ws_per_message_deflate=False, **given,
        )
        self.connections = connections
        self.head_seconds, self.unread_seconds = head_seconds, unread_seconds


def room_for_connections() -> int:
    """How many connections this process may have, after it was allowed as many files as it can be."""
    try:
        import resource
    except ImportError:  # no such limits here
        return DESCRIPTORS - SPARE
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, DESCRIPTORS)
    if limit != resource.RLIM_INFINITY and limit < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
            limit = wanted
        except (OSError, ValueError):
            pass  # what was allowed before is still allowed
    if limit == resource.RLIM_INFINITY:
        limit = DESCRIPTORS
    return max(limit - SPARE, limit // 2)


class _Unread:
    """Ends a connection whose client has left what was sent to it unread for too long."""

    config: Any
    loop: asyncio.AbstractEventLoop
    transport: Any
    _unread: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()  # type: ignore[misc]
        if self._unread is None:
            self._unread = self.loop.call_later(self.config.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._read_again()
        super().resume_writing()  # type: ignore[misc]

    def connection_lost(self, exc: Exception | None) -> None:
        self._read_again()
        super().connection_lost(exc)  # type: ignore[misc]

    def _read_again(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


class HttpConnection(_Unread, HttpToolsProtocol):
    """One connection of a client that speaks HTTP."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._size = 0  # of the head that is being read
        self._meaningless = 0  # bytes that have come since something could be read from them
        self._waiting: asyncio.TimerHandle | None = None
        self._why: ComfyVNError | None = None
        self._upgraded = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.config.connections:
            self._refuse(Unavailable(
                "This server has no room for another connection.", error="too_many_connections",
                remediation=[Remedy("Close connections that nobody needs, or try again in a moment.", "retry")],
            ))
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.parser is None or self.transport.is_closing():  # already refused
            return
        self._meaningless += len(data)
        super().data_received(data)
        if self._upgraded:
            return
        if self._meaningless > HEAD_LIMIT and not self.transport.is_closing():
            self._refuse(_too_large())
        # An answer may be over before its request is: whoever goes on sending that must come to an end too.
        elif self.cycle is None or (self.cycle.response_complete and not self.pipeline):
            self._expect_head()

    def on_message_begin(self) -> None:
        self._size = self._meaningless = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._counted(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._counted(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_is_there()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._meaningless = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._meaningless = 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hands the connection on: from here it is no longer this one's."""
        self._upgraded = True
        self._head_is_there()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Answers what the parser could not read, or what was too much of it."""
        self._refuse(self._why or Invalid(
            "This is not HTTP as it should be.", error="malformed_http",
            remediation=[Remedy("Send a request as RFC 9112 says; most libraries do.", "fix_request")],
        ))

    def _counted(self, size: int) -> None:
        self._meaningless = 0
        self._size += size
        if self._size > HEAD_LIMIT:
            self._why = _too_large()
            raise ValueError("the head is too large")  # the parser hands it on, and then comes to send_400_response

    def _expect_head(self) -> None:
        if self._waiting is None and not self.transport.is_closing():
            self._waiting = self.loop.call_later(self.config.head_seconds, self._too_late)

    def _head_is_there(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _too_late(self) -> None:
        self._waiting = None
        if self._size or self._meaningless:
            self._refuse(Invalid(
                f"The head of the request did not come within {self.config.head_seconds:g} seconds.",
                error="head_late", remediation=[Remedy("Send the request again, at once.", "retry")],
            ))
        else:
            self.transport.close()

    def _refuse(self, error: ComfyVNError) -> None:
        if self.transport.is_closing():
            return
        # In the middle of an answer there is no place for another one.
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_raw(error))
        self.transport.close()


class WebSocketConnection(_Unread, WebSocketsSansIOProtocol):
    """One connection of a client that wants to speak WebSocket."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.conn = _Handshake(max_size=self.config.ws_max_size, logger=self.logger)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing() and not self.handshake_complete:
            return
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            # The whole head came at once, and nothing could be read from it: nobody else says so.
            told = b"".join(self.conn.data_to_send())
            self.transport.write(told or _raw(_no_handshake("The request cannot be read.")))
            self.close_sent = True
            self.transport.close()

    def handle_ping(self) -> None:
        """Answers a ping, unless answers are not read."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        """Takes another piece of a message; pieces may be empty, so their number has an end too."""
        if len(self.frames) < PIECES:
            super().handle_cont(event)
        else:
            self.frames = []
            self._fail(CloseCode.MESSAGE_TOO_BIG, "too many pieces")

    def send_receive_event_to_app(self) -> None:
        """Hands a whole message on; a text must be one."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self._fail(CloseCode.INVALID_DATA, "not UTF-8")
                return
        super().send_receive_event_to_app()

    def _fail(self, code: int, reason: str) -> None:
        if not self.close_sent:
            self.conn.fail(code, reason)
            self.handle_parser_exception()


class _Handshake(ServerProtocol):
    """The protocol of a WebSocket, which says no to a handshake as everything here says no."""

    def reject(self, status: Any, text: str) -> Response:
        response = super().reject(status, text)
        error = _no_handshake(" ".join(text.split()) or response.reason_phrase)
        told = problem_body(error, _request_id(), status=response.status_code)
        response.body = encode(told | {"title": HTTPStatus(response.status_code).phrase})
        for name, value in (("Content-Type", PROBLEM_TYPE.decode()), ("Content-Length", str(len(response.body)))):
            del response.headers[name]
            response.headers[name] = value
        return response


def _no_handshake(why: str) -> Invalid:
    return Invalid(why, error="invalid_handshake", remediation=[
        Remedy("Open it as RFC 6455 says: GET with Upgrade, Sec-WebSocket-Key and version 13.", "fix_request"),
    ])


def _too_large() -> Invalid:
    return Invalid(
        f"The head of the request is larger than {HEAD_LIMIT} bytes.", error="head_too_large",
        remediation=[Remedy("Send less in the address and in headers; large questions go into a body.", "send_less")],
        detail={"limit": HEAD_LIMIT},
    )


def _request_id() -> str:
    return f"c-{secrets.token_hex(6)}"


def _raw(error: ComfyVNError) -> bytes:
    """A whole answer that ends its connection."""
    request_id = _request_id()
    reply = problem(error, request_id)
    headers = [
        (b"x-request-id", request_id.encode()), *SHARED_HEADERS, NO_STORE, CLOSED_POLICY,
        *(one for one in reply.headers if one[0] != b"connection"), (b"content-type", reply.media),
        (b"content-length", b"%d" % len(reply.body)), (b"connection", b"close"),
    ]
    line = f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\n".encode()
    return b"".join([line, *(name + b": " + value + b"\r\n" for name, value in headers), b"\r\n", reply.body])
