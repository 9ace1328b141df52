"""Asking a remote service: one host, bounded answers, and a word on what is known after it went wrong.

What was sent and not answered may have been accepted, and may cost money. So a failure says whether the request can
have arrived: nothing did before a connection stood; everything may have afterwards. Nothing is repeated here.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, Final

import httpx
import orjson

from adapters.outgoing import NotAllowed, Outgoing, Unreachable, origin_of
from domain.errors import ComfyVNError
from domain.ports.engines import EngineError, Health, Product, Submission
from domain.ports.secrets import Secrets
from domain.studio.fault import Fault, fault

ANSWER_BYTES: Final = 8 * 2**20
"""Largest JSON answer that is read."""

RETRY_LIMIT_SECONDS: Final = 3600.0

_BEFORE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL)
"""What can only happen before a request is on its way."""

_ADDRESSES: Final = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.I)
_PATHS: Final = re.compile(r"(?:[A-Za-z]:\\|/)(?:[\w.@~-]+[\\/]){1,}[\w.@~-]*")
_KEYS: Final = re.compile(r"\b(?:eyJ[\w-]{8,}\.[\w-]+\.[\w-]+|[A-Za-z0-9_-]{40,})\b")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said: its status, headers in lower case, and the JSON (``None`` where there is none)."""

    status: int
    headers: Mapping[str, str]
    json: Any

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait as ``Retry-After`` tells, within reason."""
        told = self.headers.get("retry-after", "").strip()
        try:
            seconds = float(told) if told.replace(".", "", 1).isdigit() else \
                parsedate_to_datetime(told).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
        return min(max(seconds, 0.0), RETRY_LIMIT_SECONDS)


def said(text: object, secrets: Iterable[str] = (), most: int = 400) -> str:
    """Words of a service, fit to be shown: no secret, no address or path, nothing that looks like a key, one line."""
    words = str(text).encode("utf-8", "replace").decode()[:20_000]
    for secret in sorted((one for one in secrets if one), key=len, reverse=True):
        words = words.replace(secret, "…")
    words = _KEYS.sub("…", _PATHS.sub("…", _ADDRESSES.sub("…", words)))
    words = " ".join("".join(one if one.isprintable() else " " for one in words).split())
    return words if len(words) <= most else words[: most - 1] + "…"


def told(value: Any, *names: str) -> str:
    """The first of several fields that is a text."""
    if isinstance(value, Mapping):
        for name in names:
            if isinstance(value.get(name), str) and value[name].strip():
                return str(value[name])
    return ""


def found_object(value: Any) -> dict[str, Any]:
    """A JSON object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def refused(code: str, message: str, *, retry_after: float | None = None, **detail: object) -> EngineError:
    """A no, after which nothing is under way."""
    found = fault(code, message, **detail)
    return EngineError(found.model_copy(update={"retry_after_seconds": retry_after}) if retry_after else found)


def unknown(code: str, message: str, **detail: object) -> EngineError:
    """A failure after which the service may be working."""
    return EngineError(fault(code, message, **detail), Submission.UNKNOWN)


def odd(name: str, submitting: bool = False) -> EngineError:
    """An answer that is none of those that the service gives."""
    say = unknown if submitting else refused
    return say("ENGINE_ERROR", f"{name} answered something that is none of its answers.")


class Asking:
    """One service at one address. Raises ``EngineError`` and nothing else for what goes wrong outside."""

    def __init__(
        self, name: str, *addresses: str, patience_seconds: float = 30.0, outgoing: Outgoing | None = None
    ) -> None:
        self.name = name
        self.origins = frozenset(origin_of(one) for one in addresses)
        self._patience = patience_seconds
        # What is configured to be elsewhere than on the public internet may hold its files there as well.
        private = [one for one in self.origins if not one.startswith("https://")]
        self.outgoing = outgoing or Outgoing(
            private, connect_seconds=min(10.0, patience_seconds), piece_seconds=patience_seconds
        )

    @cached_property
    def _http(self) -> httpx.AsyncClient:
        # Made when somebody asks: reading the certificates takes a tenth of a second, and most processes ask nothing.
        return httpx.AsyncClient(
            timeout=httpx.Timeout(self._patience, connect=min(10.0, self._patience)),
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=4, keepalive_expiry=20),
            follow_redirects=False, trust_env=False, headers={"User-Agent": "comfyvn", "Accept": "application/json"},
        )

    async def close(self) -> None:
        if "_http" in self.__dict__:
            await self._http.aclose()
        await self.outgoing.close()

    def ours(self, url: object) -> str | None:
        """An address that the service has named, when it is on a host that may be sent our key."""
        try:
            return url if isinstance(url, str) and origin_of(url) in self.origins else None
        except NotAllowed:
            return None

    async def ask(
        self, method: str, url: str, *, headers: Mapping[str, str], json: Any = None,
        content: AsyncIterator[bytes] | bytes | None = None, submitting: bool = False, patience_seconds: float = 0.0,
    ) -> Answer:
        """One request. With ``submitting`` a failure after the connection stood leaves it open what became of it."""
        assert self.ours(url), "keys are sent to configured hosts alone"
        if self._http.is_closed:  # whoever still asks has kept an engine that was replaced, or is about to end
            raise self._away(False)
        sent = dict(headers)
        if json is not None:
            content = orjson.dumps(json)
            sent["Content-Type"] = "application/json"
        try:
            async with (
                asyncio.timeout(patience_seconds or self._patience),
                self._http.stream(method, url, headers=sent, content=content) as answer,
            ):
                status, named = answer.status_code, {k.lower(): v for k, v in answer.headers.items()}
                body = await _bounded(answer)
        except _BEFORE as error:
            raise self._away(isinstance(error, httpx.TimeoutException)) from None
        except (httpx.TimeoutException, TimeoutError):
            raise self._silent(submitting) from None
        except httpx.HTTPError:
            say = unknown if submitting else refused
            raise say("SERVICE_UNAVAILABLE", f"The connection to {self.name} broke off.") from None
        if body is None:
            raise odd(self.name, submitting)
        return Answer(status, named, _parsed(_without(body, headers)))

    def _away(self, timeout: bool) -> EngineError:
        if timeout:
            return refused("CONNECTION_TIMEOUT", f"{self.name} was not reached in time.")
        return refused("CONNECTION_REFUSED", f"{self.name} cannot be reached.")

    def _silent(self, submitting: bool) -> EngineError:
        say = unknown if submitting else refused
        return say("CONNECTION_TIMEOUT", f"{self.name} did not answer in time.")

    @asynccontextmanager
    async def fetched(self, product: Product) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a product from the address in its memo, without our key."""
        url = product.memo.get("url")
        if not isinstance(url, str):
            raise refused("FILE_NOT_FOUND", f"{self.name} has not told where {product.name} is.")
        try:
            async with self.outgoing.get(url) as answer:
                if answer.status in (403, 404, 410):
                    raise refused("FILE_NOT_FOUND", f"{self.name} no longer has {product.name}.", status=answer.status)
                if answer.status != 200:
                    raise refused("SERVICE_UNAVAILABLE", f"{product.name} was not handed out.", status=answer.status)
                if "text/html" in answer.headers.get("content-type", ""):
                    raise refused("FILE_REFUSED", f"A page came instead of {product.name}.")
                async with aclosing(self._pieces(answer.pieces, product.name)) as pieces:
                    yield pieces
        except NotAllowed as error:
            raise refused("FILE_REFUSED", f"{product.name} is not fetched: {said(error)}") from None
        except Unreachable as error:
            code = "DOWNLOAD_TIMEOUT" if error.timeout else "DOWNLOAD_FAILED"
            raise refused(code, f"{product.name} did not arrive: {said(error)}") from None

    @staticmethod
    async def _pieces(pieces: AsyncIterator[bytes], name: str) -> AsyncGenerator[bytes, None]:
        # The reader stands in the caller's body, so what goes wrong there must be told in our words too.
        try:
            async for piece in pieces:
                yield piece
        except NotAllowed as error:
            raise refused("FILE_REFUSED", f"{name} is not fetched: {said(error)}") from None
        except Unreachable as error:
            raise refused("DOWNLOAD_FAILED", f"{name} did not arrive: {said(error)}") from None


def _without(body: bytes, headers: Mapping[str, str]) -> bytes:
    # Services quote what they were sent, keys too: none may come any further than this.
    for name, value in headers.items():
        key = value.split()[-1].encode() if value.strip() else b""
        if name.lower() in ("authorization", "x-api-key") and len(key) >= 6:
            body = body.replace(key, b"[key]")
    return body


async def _bounded(answer: httpx.Response) -> bytes | None:
    length = answer.headers.get("content-length", "")
    if length.isdigit() and (len(length) > 12 or int(length) > ANSWER_BYTES):
        return None
    body = bytearray()
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > ANSWER_BYTES:
            return None
    return bytes(body)


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def with_status(found: Fault, status: int) -> Fault:
    """A fault that also tells the HTTP status."""
    return found.model_copy(update={"detail": {**found.detail, "status": status}})


async def keys(secrets: Secrets, id_: str, name: str) -> Mapping[str, str]:
    """The credentials of an engine, or none; raises ``EngineError`` when the vault cannot be opened."""
    try:
        return await secrets(id_) or {}
    except ComfyVNError as error:
        raise refused("AUTH_MISSING", f"The key of {name} cannot be had: {said(error.message)}",
                      reason=error.code) from None


async def connected(secrets: Secrets, id_: str, name: str, *wanted: str) -> Mapping[str, str]:
    """The credentials of an engine; raises ``EngineError`` when it is not connected."""
    found = await keys(secrets, id_, name)
    if not all(found.get(one) for one in wanted):
        raise refused("AUTH_MISSING", f"{name} is not connected: its key is missing.")
    return found


def unwell(error: EngineError) -> Health:
    """How an engine stands that answered with an error."""
    found = error.fault
    statuses: dict[str, Any] = {
        "AUTH_MISSING": "not_connected", "AUTH_INVALID": "not_connected", "AUTH_EXPIRED": "not_connected",
        "CONNECTION_REFUSED": "offline", "CONNECTION_TIMEOUT": "offline", "SERVICE_UNAVAILABLE": "offline",
    }
    remedy = (found.meaning.text, found.meaning.action)
    if found.code in ("CONNECTION_REFUSED", "CONNECTION_TIMEOUT"):
        remedy = ("Look at this machine's network, or at the service's own status page.", "retry")
    return Health(statuses.get(found.code, "error"), found.message, remedy)
