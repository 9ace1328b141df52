"""ComfyUI's HTTP routes, with everything that comes back bounded, typed and free of surprises.

Only the configured address is ever called: no redirects, no proxies of the environment. A request is repeated once
where nothing can have been accepted (``GET`` on a connection that the server had closed meanwhile), never otherwise.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx
import orjson

from adapters.engines.local_comfy.python_json import loads
from domain.ports.engines import EngineError, Submission
from domain.studio.fault import fault

ADDRESS: Final = "http://127.0.0.1:8188"
"""Where ComfyUI listens unless it was told otherwise."""

ANSWER_BYTES: Final = 64 * 2**20
"""Largest JSON answer that is read. ``/object_info`` of an installation with many custom nodes has about 20 MB."""

START_HINT: Final = (
    "Start ComfyUI in its folder (`python main.py --port 8188`), or set COMFYVN_COMFY_URL to where it listens."
)


def checked_address(url: str) -> str:
    """An address without its trailing slash. Raises ``ValueError`` for what is not plainly a server's address."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be http://host:port or https://host:port")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user, password, query or fragment")
    _ = parts.port  # raises for what is no port
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def login_of(key: str) -> str:
    """The header for what people call their key: ``user:password``, a token, or the header's value itself."""
    if key.split(" ", 1)[0].lower() in ("basic", "bearer") and " " in key:
        return key
    if ":" in key:
        return "Basic " + b64encode(key.encode()).decode()
    return "Bearer " + key


_PATHS: Final = re.compile(
    r"(?<!\w)(?:[A-Za-z]:[\\/]|\\\\|~/|/)"
    r"(?:[^\s\"'<>|:*?\\/]+(?: [^\s\"'<>|:*?\\/]+)*[\\/])+(?P<last>[^\s\"'<>|:*?\\/]*)"
)
_URLS: Final = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.I)


def without_paths(text: object, most: int = 500) -> str:
    """What the server says, fit to be shown: of a path only its last part, no addresses, no control characters."""
    said = str(text).encode("utf-8", "replace").decode()[:20_000]
    said = _PATHS.sub(lambda found: found["last"] or "…", _URLS.sub("…", said))
    said = "".join(letter if letter.isprintable() else " " for letter in said)
    said = " ".join(said.split())
    return said if len(said) <= most else said[: most - 1] + "…"


def quoted(name: str) -> str:
    """A name as one part of a path: names of node classes hold spaces, slashes and signs."""
    return quote(name, safe="", errors="replace")


class Client:
    """One server. Every method raises ``EngineError`` and nothing else for what goes wrong outside.

    ``patience_seconds`` bounds one whole request but for the bytes of files, which it bounds piece by piece. ``key`` is
    for a proxy in front of it: ``user:password``, or a token.
    """

    def __init__(self, address: str, patience_seconds: float, key: str | None = None) -> None:
        self.address = checked_address(address)
        self.login = {"Authorization": login_of(key)} if key else {}
        told = {key, key.split(" ")[-1], login_of(key).split(" ")[-1]} if key else set()
        self._secrets = [one.encode() for one in told if len(one) >= 4]
        self._patience = patience_seconds
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(patience_seconds, connect=min(3.0, patience_seconds)),
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=4),
            follow_redirects=False, trust_env=False, headers=self.login,
            verify=self.address.startswith("https:"),  # reading the certificates takes time that http need not spend
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: str) -> Any:
        """The JSON of a ``GET``."""
        try:
            return await self._asked("GET", path, params=query)
        except Rejected:
            raise _odd(f"ComfyUI answered 400 for {path}") from None
        except EngineError as error:
            if error.fault.detail.get("connection") != "broken":
                raise
        return await self._asked("GET", path, params=query)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON of a ``POST``, ``None`` for an empty answer. Status 400 with a JSON object raises ``Rejected``."""
        return await self._asked("POST", path, content=orjson.dumps(body),
                                 headers={"Content-Type": "application/json"})

    async def upload(self, path: str, name: str, subfolder: str, size: int, pieces: AsyncIterator[bytes],
                     fields: Mapping[str, str]) -> Any:
        """Hands a file over as a form. The form is made here, so that the file is never in memory as a whole."""
        boundary = token_hex(16)
        texts = {"type": "input", "subfolder": subfolder, **fields}
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in texts.items()
        ) + (f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
             "Content-Type: application/octet-stream\r\n\r\n")
        tail = f"\r\n--{boundary}--\r\n"

        async def body() -> AsyncIterator[bytes]:
            yield head.encode()
            left = size
            async for piece in pieces:
                left -= len(piece)
                if left < 0:
                    break
                yield piece
            if left:
                raise EngineError(fault("FILE_REFUSED", "The stored file is not as long as it is said to be."))
            yield tail.encode()

        return await self._asked("POST", path, content=body(), headers={
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(head.encode()) + size + len(tail)),
        })

    @asynccontextmanager
    async def file(self, query: Mapping[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a stored file. Raises ``Gone`` when it is not there any more."""
        self._open()
        try:
            async with self._http.stream("GET", f"{self.address}/view", params=dict(query),
                                         headers={"Accept-Encoding": "identity"}) as answer:
                if answer.status_code == 404:
                    raise Gone
                if answer.status_code != 200:
                    raise _refused(answer.status_code) or _odd(f"ComfyUI answered {answer.status_code} for a file")
                yield _pieces(answer)
        except httpx.HTTPError as error:
            raise _unreachable(error) from None

    def _open(self) -> None:
        if self._http.is_closed:  # whoever still asks has kept an engine that was let go, or is about to end
            raise EngineError(fault("CONNECTION_REFUSED", "The connections to ComfyUI were let go."))

    async def _asked(self, method: str, path: str, **given: Any) -> Any:
        self._open()
        try:
            async with (
                asyncio.timeout(self._patience),
                self._http.stream(method, self.address + path, **given) as answer,
            ):
                status, content = answer.status_code, await _bounded(answer)
        except httpx.HTTPError as error:
            raise _unreachable(error) from None
        except TimeoutError:
            raise _unreachable(httpx.ReadTimeout("")) from None
        for secret in self._secrets:  # what answers may quote what it was sent
            content = content.replace(secret, b"[key]")
        if status == 400:
            raise Rejected(_parsed(content) if content[:1] == b"{" else {})
        if (no := _refused(status)) is not None:
            raise no
        if status in (502, 503, 504):  # a proxy answers, and nobody knows whether ComfyUI was asked
            raise EngineError(fault("SERVICE_UNAVAILABLE", f"What stands before ComfyUI answered {status}.",
                                    status=status), Submission.UNKNOWN)
        if status >= 500:
            raise EngineError(fault("ENGINE_ERROR", f"ComfyUI answered {status}: {without_paths(_text(content), 200)}",
                                    status=status), Submission.UNKNOWN)
        if status != 200:
            raise _odd(f"ComfyUI answered {status} where 200 was expected", status=status)
        return None if method == "POST" and not content else _parsed(content)


class Gone(Exception):
    """The file is not there any more."""


class Rejected(Exception):
    """Status 400: what ComfyUI says about a graph or an upload."""

    def __init__(self, answer: Any) -> None:
        super().__init__("rejected")
        self.answer: Mapping[str, Any] = answer if isinstance(answer, dict) else {}


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw(64 * 1024):
            yield piece
    except httpx.HTTPError as error:
        raise _unreachable(error) from None


async def _bounded(answer: httpx.Response) -> bytes:
    if int(answer.headers.get("Content-Length") or 0) > ANSWER_BYTES:
        raise _odd("ComfyUI's answer is too large to be read")
    content = bytearray()
    async for piece in answer.aiter_bytes():
        content += piece
        if len(content) > ANSWER_BYTES:
            raise _odd("ComfyUI's answer is too large to be read")
    return bytes(content)


def _parsed(content: bytes) -> Any:
    try:
        return loads(content)
    except ValueError:
        raise _odd("What answers there does not speak as ComfyUI does") from None


def _text(content: bytes) -> str:
    return "with a page." if content.lstrip()[:1] == b"<" else content[:2000].decode("utf-8", "replace")


def _odd(sentence: str, **detail: object) -> EngineError:
    """An answer that ComfyUI does not give: something else may be listening there."""
    return EngineError(fault("ENGINE_ERROR", sentence + ".", **detail), Submission.UNKNOWN)


def _refused(status: int) -> EngineError | None:
    """What certain statuses say, none of which ComfyUI itself gives: whatever was sent has not been taken."""
    if status in (401, 403, 407):
        return EngineError(fault("AUTH_INVALID" if status == 403 else "AUTH_MISSING", "ComfyUI is behind a login: set "
                                 "COMFYVN_COMFY_KEY to user:password, or to a token.", status=status))
    if status in (301, 302, 303, 307, 308):
        return EngineError(fault("ENGINE_ERROR", "What answers there sends elsewhere, to a login page perhaps: set "
                                 "COMFYVN_COMFY_URL to where ComfyUI itself answers.", status=status))
    if status == 413:
        return EngineError(fault("FILE_REFUSED", "That is more than ComfyUI, or what stands before it, takes at once: "
                                 "start ComfyUI with a larger --max-upload-size.", status=status))
    if status == 429:
        return EngineError(fault("RATE_LIMIT_EXCEEDED", "What stands before ComfyUI asks to slow down.", status=status))
    if status in (404, 405, 411, 415):
        return EngineError(fault("ENGINE_ERROR", f"What answers there has not what ComfyUI has ({status}): look at "
                                 "COMFYVN_COMFY_URL.", status=status))
    return None


def _unreachable(error: httpx.HTTPError) -> EngineError:
    """What a broken conversation means: refused while nothing was sent, unknown once something was."""
    match error:
        case httpx.ConnectError():
            return EngineError(fault("CONNECTION_REFUSED", f"ComfyUI does not answer. {START_HINT}"))
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return EngineError(fault("CONNECTION_TIMEOUT", f"ComfyUI cannot be reached. {START_HINT}"))
        case httpx.TimeoutException():
            return EngineError(fault("CONNECTION_TIMEOUT", "ComfyUI did not answer in time."), Submission.UNKNOWN)
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            return EngineError(fault("CONNECTION_TIMEOUT", "The connection to ComfyUI broke.", connection="broken"),
                               Submission.UNKNOWN)
        case _:
            return EngineError(fault("ENGINE_ERROR", "What answers there does not speak HTTP as ComfyUI does."),
                               Submission.UNKNOWN)
