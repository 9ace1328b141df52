"""Downloads from the web: guarded as everything that goes out, with a hub's key for that hub's own origin alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from adapters.outgoing import NotAllowed, Outgoing, Unreachable
from domain.ports.downloads import Answer, SourceError
from domain.ports.secrets import Secrets
from domain.studio.fault import fault

HUBS: Final[Mapping[str, str]] = {
    "https://huggingface.co:443": "hub_huggingface", "https://civitai.com:443": "hub_civitai",
}
"""Origins that take a key → the provider that it is kept as."""

WHOLE_SECONDS: Final = 7 * 86_400.0
"""One answer may take so long; what stops moving is noticed long before."""

_ANY_SIZE: Final = 2**62
"""Sizes are the downloader's to judge: it knows what was announced."""


class WebSource:
    """``private_origins`` are those that an operator has named: a mirror of the house, or a test. ``hubs`` maps origins
    to the names under which the vault keeps their keys."""

    def __init__(
        self, secrets: Secrets | None = None, private_origins: Iterable[str] = (), *,
        hubs: Mapping[str, str] = HUBS, piece_seconds: float = 30.0,
    ) -> None:
        self._secrets = secrets
        self._hubs = hubs
        self._outgoing = Outgoing(private_origins, piece_seconds=piece_seconds, whole_seconds=WHOLE_SECONDS)

    async def close(self) -> None:
        await self._outgoing.close()

    def check(self, url: str) -> None:
        """Raises ``SourceError`` for an address that is never asked."""
        try:
            self._outgoing.check(url)
        except NotAllowed as error:
            raise _refused(error, url) from None

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        """The answer at an address; the key of a hub goes to that hub and is not taken along to another origin."""
        keys = await self._keys()
        try:
            async with self._outgoing.get(url, limit=_ANY_SIZE, headers=headers, for_origin=keys) as fetched:
                yield Answer(fetched.status, fetched.headers, _pieces(fetched.pieces, url))
        except NotAllowed as error:
            raise _refused(error, url) from None
        except Unreachable as error:
            raise _unreachable(error, url) from None

    async def _keys(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for origin, name in self._hubs.items() if self._secrets is not None else ():
            assert self._secrets is not None
            key = await self._secrets(name)
            if key and key.get("api_key"):
                found[origin] = {"Authorization": f"Bearer {key['api_key']}"}
        return found


async def _pieces(pieces: AsyncIterator[bytes], url: str) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    except NotAllowed as error:
        raise _refused(error, url) from None
    except Unreachable as error:
        raise _unreachable(error, url) from None


def _refused(error: NotAllowed, url: str) -> SourceError:
    return SourceError(fault("DOWNLOAD_FAILED", str(error), host=_host(url), hint=(
        "Only public https addresses are downloaded; an operator may name others in model_origins.")))


def _unreachable(error: Unreachable, url: str) -> SourceError:
    code = "DOWNLOAD_TIMEOUT" if error.timeout else "DOWNLOAD_FAILED"
    return SourceError(fault(code, str(error), host=_host(url)), again=True)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
