"""One NATS connection, lean where a log needs it: raw replies over one inbox, and no answer ever waited for in vain.

nats-py keeps the connection (reconnects, clusters, TLS, credentials). Three things are done here instead, since they
cost most of its time per message: headers stay bytes, replies go straight to whoever asked, and whole network reads
are cut into messages at once. Requests are never buffered while the connection is away, and those under way fail
at once when it goes: whether to ask again is for the caller, who knows what asking twice would mean.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import nats.errors
from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from adapters.nats import wire
from domain.errors import Remedy, Unavailable

CHUNK: Final = 1 << 20
"""Bytes written between two waits for the socket."""

Message = tuple[bytes, bytes]
"""(header block, body) as they came."""


class Lost(Exception):
    """The connection went away before the answer came: what was asked may have been done, or not."""


class NotConnected(Lost):
    """There is no connection at the moment: what was asked has not been sent."""


class Unanswered(Exception):
    """Nobody listens on that subject at the moment (the stream has no leader, or does not exist)."""


class Connection(Client):
    """A NATS client with raw requests; everything that nats-py offers works on it as well."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = _Cutter(self)
        self.takers: dict[int, Callable[[bytes, bytes, bytes], None]] = {}
        self.gone: list[Callable[[], None]] = []
        self.back: list[Callable[[], None]] = []
        self._asked: dict[bytes, _Asked] = {}
        self._count = 0
        self._inbox = b""
        self._up = asyncio.Event()
        self._doubting = False
        self.refusal: str = ""

    async def raw_subscribe(self, subject: str, taker: Callable[[bytes, bytes, bytes], None]) -> int:
        """Calls ``taker(subject, headers, body)`` for every message, also after reconnects; it must not raise."""
        subscription = await self.subscribe(subject)
        self.takers[subscription._id] = taker
        return subscription._id

    async def ask(self, subject: str, body: bytes = b"", headers: bytes = b"", *, seconds: float = 5.0) -> Message:
        """One request and its answer. Raises ``Lost``, ``Unanswered`` or ``TimeoutError``.

        ``headers`` are lines with their line ends, without version line and closing line.
        """
        asked = _Asked(single=True)
        (message,) = await self._conversation(asked, [(subject, headers, body)], seconds)
        if not message[1] and wire.status(message[0]) == 503:
            raise Unanswered(subject)
        return message

    async def ask_batch(self, messages: Sequence[tuple[str, bytes, bytes]], *, seconds: float = 5.0) -> Message:
        """Sends (subject, headers, body) one after the other; the answer to the last one. Raises as ``ask``."""
        (message,) = await self._conversation(_Asked(single=True), messages, seconds)
        if not message[1] and wire.status(message[0]) == 503:
            raise Unanswered(messages[-1][0])
        return message

    async def ask_many(self, subject: str, body: bytes, *, seconds: float = 10.0) -> list[Message]:
        """One request with many answers; the last one carries a status. Raises as ``ask``."""
        messages = await self._conversation(_Asked(single=False), [(subject, b"", body)], seconds)
        if wire.status(messages[-1][0]) == 503:
            raise Unanswered(subject)
        return messages

    async def ready(self, seconds: float) -> bool:
        """Waits until the connection stands; whether it does."""
        if self.is_connected:
            return True
        self._up.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._up.wait()
        return self.is_connected

    async def flush(self, timeout: int = 10) -> None:
        # As nats-py's, whose wait_for forgets a cancellation that meets the answer before Python 3.12: who waits here
        # and is told to end would go on for ever.
        await asyncio.shield(asyncio.ensure_future(super().flush(timeout)))

    async def doubt(self, seconds: float = 1.0) -> None:
        """After an answer that did not come: finds out whether the connection still carries anything, or gives it up.

        A peer that vanished without a word (power, a pulled cable) would otherwise be believed for half a minute.
        """
        if self._doubting or not self.is_connected:
            return
        self._doubting = True
        try:
            answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            # Not rtt(): before Python 3.12 its wait_for forgets a cancellation that meets the answer.
            async with asyncio.timeout(seconds):
                await self._send_ping(answered)
                await answered
        except (TimeoutError, nats.errors.Error, OSError):
            await self.force_reconnect()
        finally:
            self._doubting = False

    # --- inside -------------------------------------------------------------------------------------------------

    async def _process_pong(self) -> None:
        # As nats-py's, but for who asked and has gone meanwhile: there the answer to them ends the reading for good,
        # and the connection stands there deaf until its own pings are overdue.
        if self._pongs:
            asked = self._pongs.pop(0)
            if not asked.done():
                asked.set_result(True)
            self._pongs_received += 1
            self._pings_outstanding = 0

    async def _conversation(
        self, asked: _Asked, messages: Sequence[tuple[str, bytes, bytes]], seconds: float
    ) -> list[Message]:
        if not self.is_connected:
            raise NotConnected("there is no connection to the log")
        self._count += 1
        token = b"%d" % self._count
        self._asked[token] = asked
        try:
            async with asyncio.timeout(seconds):
                await self._write(messages, self._inbox + token)
                return await asked.future
        finally:
            self._asked.pop(token, None)

    async def _write(self, messages: Sequence[tuple[str, bytes, bytes]], reply: bytes) -> None:
        frames: list[bytes] = []
        size = 0
        last = len(messages) - 1
        for index, (subject, headers, body) in enumerate(messages):
            frames.append(frame(subject, reply if index == last else b"", headers, body))
            size += len(frames[-1])
            if size >= CHUNK or index == last:
                if not self.is_connected or self._transport is None:
                    raise Lost("the connection went away while sending")
                try:
                    # Subscriptions and the like of nats-py wait in its own buffer; they must not be overtaken.
                    if self._pending:
                        frames = [*self._pending, *frames]
                        self._pending, self._pending_data_size = [], 0
                    self._transport.write(b"".join(frames))
                    if size >= CHUNK:
                        await self._transport.drain()  # type: ignore[no-untyped-call]
                except (OSError, RuntimeError, AttributeError) as error:
                    raise Lost(str(error)) from error
                frames, size = [], 0

    async def start_inbox(self) -> None:
        """Subscribes the inbox; once, right after connecting."""
        self._inbox = self.new_inbox().encode() + b"."
        prefix = len(self._inbox)

        def take(subject: bytes, headers: bytes, body: bytes) -> None:
            asked = self._asked.get(subject[prefix:])
            if asked is not None:
                asked.take(headers, body)

        await self.raw_subscribe((self._inbox + b"*").decode(), take)
        await self.flush()

    async def on_gone(self) -> None:
        """Fails what is under way; nats-py calls it when the connection is lost."""
        asked, self._asked = self._asked, {}
        for one in asked.values():
            one.fail(Lost("the connection went away"))
        for call in self.gone:
            call()

    async def on_back(self) -> None:
        """nats-py calls it when the connection stands again."""
        self.refusal = ""
        self._up.set()
        for call in self.back:
            call()

    async def on_error(self, error: Exception) -> None:
        """Keeps the newest trouble as a sentence, for status and errors."""
        self.refusal = str(error) or type(error).__name__


class _Asked:
    """A request that waits for one answer, or for many up to one with a status."""

    __slots__ = ("future", "messages", "single")

    def __init__(self, *, single: bool) -> None:
        self.future: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
        self.messages: list[Message] = []
        self.single = single

    def take(self, headers: bytes, body: bytes) -> None:
        if self.future.done():
            return  # in a cluster two servers may answer one request when something is made twice at once
        self.messages.append((headers, body))
        if self.single or headers.startswith(b"NATS/1.0 "):
            self.future.set_result(self.messages)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


def frame(subject: str, reply: bytes, headers: bytes, body: bytes) -> bytes:
    """One message as the NATS protocol sends it."""
    address = b"%b %b" % (subject.encode(), reply) if reply else subject.encode()
    if not headers:
        return b"PUB %b %d\r\n%b\r\n" % (address, len(body), body)
    length = len(headers) + 12  # the version line and the closing empty line
    return b"HPUB %b %d %d\r\nNATS/1.0\r\n%b\r\n%b\r\n" % (address, length, length + len(body), headers, body)


class _Cutter(Parser):
    """Cuts what the network gives into messages; everything that is no message goes to nats-py's own parser."""

    def reset(self) -> None:
        super().reset()
        self._rest: list[bytes] = []
        self._have = 0
        self._need = 0
        self._life = getattr(self, "_life", 0) + 1

    async def parse(self, data: bytes = b"") -> None:
        try:
            await self._cut(data)
        except (ProtocolError, OSError):
            raise
        except Exception as error:  # nats-py would stop reading and tell nobody; on this one it reconnects
            raise ProtocolError(str(error)) from error

    async def _cut(self, data: bytes) -> None:
        self._rest.append(data)
        self._have += len(data)
        if self._have < self._need:
            return
        data = b"".join(self._rest) if len(self._rest) > 1 else data
        life, at, need, size = self._life, 0, 0, len(data)
        takers = self.nc.takers
        while at < size:
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            first = data[at]
            if first == 72 or (first == 77 and data.startswith(b"MSG ", at)):  # HMSG, MSG
                words = data[at:end].split()
                body = end + 2
                stop = body + int(words[-1])
                if stop + 2 > size:
                    need = stop + 2 - at
                    break
                split = body + int(words[-2]) if first == 72 else body
                reply = len(words) == (6 if first == 72 else 5)
                sid = int(words[2])
                at = stop + 2
                taker = takers.get(sid)
                if taker is not None:
                    taker(words[1], data[body:split], data[split:stop])
                    continue
                await self.nc._process_msg(
                    sid, words[1], words[3] if reply else b"", data[split:stop], data[body:split] or None
                )
            else:
                at, line = end + 2, data[at : end + 2]
                await super().parse(line)
            if life != self._life:
                return  # the connection was given up meanwhile; the rest belonged to it
        rest = data[at:]
        self._rest, self._have, self._need = ([rest] if rest else []), len(rest), need


async def connect(servers: Sequence[str], *, name: str, seconds: float = 10.0) -> Connection:
    """A connection to the first server that answers; credentials stand inside the URLs.

    Raises ``Unavailable`` when none answers in time or the credentials are refused. Afterwards it reconnects for ever.
    """
    connection = Connection()
    shown = ", ".join(without_credentials(server) for server in servers)
    refused = asyncio.Event()

    async def trouble(error: Exception) -> None:
        await connection.on_error(error)
        if "authorization" in str(error).lower() or "authentication" in str(error).lower():
            refused.set()

    opening = asyncio.ensure_future(
        Client.connect(
            connection, [without_credentials(server) for server in servers], name=name, error_cb=trouble,
            disconnected_cb=connection.on_gone, reconnected_cb=connection.on_back, max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,  # type: ignore[arg-type]  # it is only slept
            connect_timeout=3, ping_interval=10, max_outstanding_pings=2,
            **_credentials(servers),
        )
    )
    waiting = asyncio.ensure_future(refused.wait())
    try:
        await asyncio.wait([opening, waiting], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done() or opening.exception() is not None:
            reason = connection.refusal or (str(opening.exception()) if opening.done() else "no answer in time")
            raise _unreachable(shown, refused.is_set(), reason)
        try:
            await connection.start_inbox()
        except (nats.errors.Error, OSError) as error:  # it went away again, or is too busy to answer
            raise _unreachable(shown, refused.is_set(), str(error) or type(error).__name__) from error
    except BaseException:
        opening.cancel()
        with contextlib.suppress(BaseException):
            await opening
        with contextlib.suppress(Exception):
            await connection.close()
        raise
    finally:
        waiting.cancel()
    return connection


def without_credentials(url: str) -> str:
    """A server URL that may be shown."""
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{place}{parts.path}"


def _credentials(servers: Sequence[str]) -> dict[str, Any]:
    # Given as options rather than in the URLs, so that cluster members that are discovered later get them too.
    for server in servers:
        parts = urlsplit(server if "://" in server else f"nats://{server}")
        if parts.username and parts.password:
            return {"user": unquote(parts.username), "password": unquote(parts.password)}
        if parts.username:
            return {"token": unquote(parts.username)}
    return {}


def _unreachable(shown: str, refused: bool, reason: str) -> Unavailable:
    if refused:
        return Unavailable(
            f"The NATS server at {shown} refuses the credentials.",
            error="log_refused",
            remediation=[Remedy("Check the user, password or token in COMFYVN_NATS_URL.", "check_settings")],
            detail={"servers": shown},
        )
    return Unavailable(
        f"No NATS server answers at {shown}: {reason}.",
        error="log_unreachable",
        remediation=[Remedy("Check that the server runs and that COMFYVN_NATS_URL is right.", "check_settings")],
        detail={"servers": shown},
    )


