"""The web in memory: the whole port without a network, for tests. Pages are asked for as over HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from adapters.outgoing import REDIRECTS_LIMIT, NotAllowed, Outgoing
from domain.ports.downloads import Answer, SourceError
from domain.studio.fault import fault

PIECE: Final = 64 * 1024


@dataclass(slots=True)
class Page:
    """What stands at an address. ``breaks_after`` bytes the connection ends; ``goes_to`` redirects."""

    content: bytes = b""
    etag: str = '"one"'
    status: int = 200
    breaks_after: int | None = None
    goes_to: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)


class MemorySource:
    """``pages`` by address. Which addresses may be asked at all is judged as for the real web."""

    def __init__(self, pages: Mapping[str, Page], private_origins: Iterable[str] = ()) -> None:
        self._pages = pages
        self._judge = Outgoing(private_origins)

    def check(self, url: str) -> None:
        try:
            self._judge.check(url)
        except NotAllowed as error:
            raise SourceError(fault("DOWNLOAD_FAILED", str(error))) from None

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        page = self._found(url)
        asked = {name.lower(): value for name, value in headers.items()}
        page.asked.append(asked)
        begin = re.fullmatch(r"bytes=(\d{1,18})-", asked.get("range", ""))
        told = {"etag": page.etag}
        if page.status != 200:
            yield Answer(page.status, told, _pieces(page.content, None))
        elif begin is None or asked.get("if-range", page.etag) != page.etag:
            told["content-length"] = str(len(page.content))
            yield Answer(200, told, _pieces(page.content, page.breaks_after))
        elif int(begin[1]) >= len(page.content):
            yield Answer(416, told | {"content-range": f"bytes */{len(page.content)}"}, _pieces(b"", None))
        else:
            at, last = int(begin[1]), len(page.content) - 1
            told |= {"content-range": f"bytes {at}-{last}/{len(page.content)}", "content-length": str(last + 1 - at)}
            yield Answer(206, told, _pieces(page.content[at:], page.breaks_after))

    def _found(self, url: str) -> Page:
        for _ in range(REDIRECTS_LIMIT + 1):
            self.check(url)
            page = self._pages.get(url)
            if page is None:
                raise SourceError(fault("DOWNLOAD_FAILED", "The connection failed."), again=True)
            if not page.goes_to:
                return page
            url = page.goes_to
        raise SourceError(fault("DOWNLOAD_FAILED", "The address redirects again and again."))


async def _pieces(content: bytes, breaks_after: int | None) -> AsyncIterator[bytes]:
    whole = content if breaks_after is None else content[:breaks_after]
    for at in range(0, len(whole), PIECE):
        yield whole[at : at + PIECE]
    if breaks_after is not None:
        raise SourceError(fault("DOWNLOAD_FAILED", "The connection ended before the file did."), again=True)
