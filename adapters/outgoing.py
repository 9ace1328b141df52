"""Fetching what somebody else's answer points to: only public addresses, only https, bounded in size and time.

An address that a provider names, or that somebody typed, may point into the network of this machine. So a host is
resolved once, each of its addresses is looked at, and the connection is made to exactly the address that was looked at:
a name that answers differently the second time gains nothing. Redirects are followed by hand, and each is judged anew.
Nothing that identifies us is ever sent along: no key, no cookie, no referrer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpcore

URL_LIMIT: Final = 4096
"""Longest address in characters. Signed ones of object stores have about 1,500."""

REDIRECTS_LIMIT: Final = 3
PRODUCT_BYTES: Final = 4 * 2**30
"""Most bytes of one fetched file, unless the caller says less."""

Resolving = Callable[[str, int], Awaitable[list[str]]]
"""A host and a port to its addresses."""

_NEVER: Final = tuple(ipaddress.ip_network(one) for one in (
    "0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "224.0.0.0/3",
    # Addresses that hold another one inside: what they lead to depends on gateways that we do not know.
    "64:ff9b::/32", "2001::/23", "2002::/16", "::/96", "::ffff:0:0/96",
))


class NotAllowed(Exception):
    """The address may not be called, or its answer may not be taken. The message names neither user nor password."""


class Unreachable(Exception):
    """Nobody answered, or not to the end."""

    def __init__(self, message: str, *, timeout: bool = False) -> None:
        super().__init__(message)
        self.timeout = timeout


def is_public(address: str) -> bool:
    """Whether an IP address is somewhere on the public internet."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if any(found in network for network in _NEVER if network.version == found.version):
        return False
    return found.is_global and not found.is_multicast


def origin_of(url: str) -> str:
    """Scheme, host and port of an address, in one spelling; raises ``NotAllowed`` for what is no address."""
    parts = _parsed(url)
    port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def _parsed(url: str) -> Any:
    if len(url) > URL_LIMIT or any(ord(letter) <= 32 or ord(letter) == 127 for letter in url) or "\\" in url:
        raise NotAllowed("The address is too long or holds characters that no address has.")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise NotAllowed("That is not an address.") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise NotAllowed("Only https addresses are fetched.")
    if parts.username is not None or parts.password is not None:
        raise NotAllowed("An address with a user name in it is not fetched.")
    return parts


async def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host, as this machine knows them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects only to addresses that were looked at. TLS still asks for the host's own name."""

    def __init__(self, private_hosts: frozenset[tuple[str, int]], resolving: Resolving) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._private = private_hosts
        self._resolving = resolving

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        host = host.strip("[]")
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._resolving(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("The host's address was not found in time.") from None
        except OSError:
            raise httpcore.ConnectError("The host has no address.") from None
        if (host.lower(), port) not in self._private and not (addresses and all(map(is_public, addresses))):
            raise NotAllowed("The address leads into a private network.")
        failure: Exception = httpcore.ConnectError("The host has no address.")
        for address in addresses[:4]:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout=timeout, local_address=local_address, socket_options=socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(self, path: str, *given: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        raise NotAllowed("Sockets of this machine are not fetched from.")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer whose bytes are still to come. ``size`` as the server tells it; ``url`` after redirects."""

    status: int
    headers: Mapping[str, str]
    url: str
    size: int | None
    pieces: AsyncIterator[bytes]


class Outgoing:
    """Fetches files from the public internet.

    ``private_origins`` are addresses that somebody has configured and that may be private or without TLS (an engine on
    this machine, a gateway of the house, a test). ``piece_seconds`` bounds the wait for each piece, ``whole_seconds``
    one whole answer.
    """

    def __init__(
        self, private_origins: Iterable[str] = (), *, connect_seconds: float = 10.0, piece_seconds: float = 30.0,
        whole_seconds: float = 3600.0, resolving: Resolving = resolved,
    ) -> None:
        self._origins = frozenset(origin_of(one) for one in private_origins)
        places = frozenset(_place(one) for one in self._origins)
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=16, max_keepalive_connections=4, keepalive_expiry=30, http1=True, http2=False,
            network_backend=_Guarded(places, resolving),
        )
        self._timeouts = {"connect": connect_seconds, "read": piece_seconds, "write": piece_seconds,
                          "pool": piece_seconds}
        self._whole = whole_seconds

    async def close(self) -> None:
        await self._pool.aclose()

    def check(self, url: str) -> str:
        """The address when it may be asked for; raises ``NotAllowed``. Where it leads is looked at on connecting."""
        parts = _parsed(url)
        origin = origin_of(url)
        if origin in self._origins:
            return url
        if parts.scheme != "https":
            raise NotAllowed("Only https addresses are fetched.")
        host = (parts.hostname or "").rstrip(".").lower()
        if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
            raise NotAllowed("The address leads into a private network.")
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return url
        if not is_public(host):
            raise NotAllowed("The address leads into a private network.")
        return url

    @asynccontextmanager
    async def get(
        self, url: str, *, limit: int = PRODUCT_BYTES, headers: Mapping[str, str] | None = None,
        for_origin: Mapping[str, Mapping[str, str]] | None = None,
    ) -> AsyncIterator[Fetched]:
        """The answer at an address, redirects followed. Raises ``NotAllowed`` and ``Unreachable``, also while its
        pieces are read: a file larger than ``limit`` bytes, or one that ends before its told length, is not taken.

        ``headers`` go along to every origin; those ``for_origin`` (a key, say) to the origin that they are for.
        """
        deadline = asyncio.get_running_loop().time() + self._whole
        here = self.check(url)
        for _ in range(REDIRECTS_LIMIT + 1):
            own = (for_origin or {}).get(origin_of(here), {})
            async with self._asked("GET", here, {**(headers or {}), **own}, None) as answer:
                told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
                if answer.status in (301, 302, 303, 307, 308):
                    here = self._redirected(here, told.get("location", ""))
                    continue
                size = _length(told)
                if size is not None and size > limit:
                    raise NotAllowed(f"The file is larger than {limit} bytes.")
                pieces = self._pieces(answer, None if told.get("content-encoding") else size, limit, deadline)
                # Whoever leaves early leaves a reader half-way: closed here, not whenever it is collected.
                async with aclosing(pieces):
                    yield Fetched(answer.status, told, here, size, pieces)
                return
        raise NotAllowed("The address redirects again and again.")

    async def put(self, url: str, content: bytes, media_type: str) -> int:
        """Uploads bytes to an address that a provider has named for them; the status of the answer. No redirects."""
        here = self.check(url)
        deadline = asyncio.get_running_loop().time() + self._whole
        async with self._asked("PUT", here, {"Content-Type": media_type}, content) as answer:
            async with aclosing(self._pieces(answer, None, 2**20, deadline)) as pieces:
                async for _ in pieces:
                    pass
            return int(answer.status)

    def _redirected(self, here: str, location: str) -> str:
        if not location:
            raise NotAllowed("The address redirects to nowhere.")
        there = urljoin(here, location)
        if here.startswith("https:") and not there.startswith("https:"):
            raise NotAllowed("The address redirects away from https.")
        return self.check(there)

    @asynccontextmanager
    async def _asked(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> AsyncIterator[httpcore.Response]:
        parts = urlsplit(url)
        sent = {"Host": parts.netloc.rpartition("@")[2], "Accept": "*/*", "Accept-Encoding": "identity",
                "User-Agent": "comfyvn", **headers}
        if content is not None:
            sent["Content-Length"] = str(len(content))
        try:
            async with self._pool.stream(
                method, url.partition("#")[0].encode("ascii", "strict"), headers=list(sent.items()), content=content,
                extensions={"timeout": self._timeouts},
            ) as answer:
                yield answer
        except UnicodeEncodeError:
            raise NotAllowed("The address holds characters that no address has.") from None
        except httpcore.TimeoutException:
            raise Unreachable("No answer came in time.", timeout=True) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, OSError):
            raise Unreachable("The connection failed.") from None

    async def _pieces(
        self, answer: httpcore.Response, size: int | None, limit: int, deadline: float
    ) -> AsyncGenerator[bytes, None]:
        seen = 0
        async with aclosing(answer.aiter_stream()) as stream:  # type: ignore[type-var]
            async for piece in stream:
                seen += len(piece)
                if seen > limit:
                    raise NotAllowed(f"The file is larger than {limit} bytes.")
                if asyncio.get_running_loop().time() > deadline:
                    raise Unreachable("The file did not come in time.", timeout=True)
                yield piece
        if size is not None and seen < size:
            raise Unreachable("The connection ended before the file did.")


def _place(origin: str) -> tuple[str, int]:
    parts = urlsplit(origin)
    return (parts.hostname or "").lower(), int(parts.port or 0)


def _length(headers: Mapping[str, str]) -> int | None:
    told = headers.get("content-length", "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 19 else None
