"""Where files are downloaded from: one suite for every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from model_server import FileServer, serving

from adapters.downloads import WebSource
from adapters.memory.downloads import MemorySource, Page
from domain.ports.downloads import Answer, Source, SourceError
from domain.studio.fault import CODES

CONTENT = bytes(range(256)) * 1200


class Place:
    """A source, and the other side of it."""

    def __init__(self, source: Source, origin: str, asked: Callable[[], list[dict[str, str]]]) -> None:
        self.source = source
        self.origin = origin
        self.asked = asked

    @property
    def url(self) -> str:
        return self.origin + "/model"


Open = Callable[..., AbstractAsyncContextManager[Place]]


@pytest.fixture(params=["web", "memory"])
def opened(request: pytest.FixtureRequest) -> Open:
    """``opened(statuses=…, cut=…, redirects=…)``: one file at ``/model``; nobody answers at ``/nobody``."""

    @asynccontextmanager
    async def on_the_web(status: str = "", cut: int | None = None, **redirects: str) -> AsyncIterator[Place]:
        server = FileServer(CONTENT, cuts=[] if cut is None else [cut],
                            statuses=[(status, {})] if status else [])
        server.redirects = {f"/{name}": there for name, there in redirects.items()}
        async with serving(server):
            source = WebSource(None, [server.origin, "http://127.0.0.1:9"])
            try:
                yield Place(source, server.origin, lambda: server.asked)
            finally:
                await source.close()

    @asynccontextmanager
    async def in_memory(status: str = "", cut: int | None = None, **redirects: str) -> AsyncIterator[Place]:
        origin = "http://models.house"
        page = Page(CONTENT, breaks_after=cut)
        if status:
            page = Page(b"", status=int(status.split()[0]))
        pages = {f"{origin}/model": page, **{
            f"{origin}/{name}": Page(goes_to=there if "://" in there else origin + there)
            for name, there in redirects.items()
        }}
        yield Place(MemorySource(pages, [origin, "http://127.0.0.1:9"]), origin, lambda: page.asked)

    return on_the_web if request.param == "web" else in_memory


async def whole(answer: Answer) -> bytes:
    return b"".join([piece async for piece in answer.pieces])


async def read(place: Place, came: list[bytes]) -> bytes:
    """The whole file; ``came`` gets each piece, also when no more follows."""
    async with place.source.get(place.url, {}) as answer:
        async for piece in answer.pieces:
            came.append(piece)
    return b"".join(came)


def failed(caught: Any, *, again: bool) -> None:
    error: SourceError = caught.value
    assert error.fault.code in CODES
    assert error.fault.message.strip()
    assert error.again is again
    assert error.after_seconds >= 0


def test_an_answer_comes_with_its_headers_and_all_its_bytes(opened: Open) -> None:
    async def scenario() -> None:
        async with opened() as place:
            place.source.check(place.url)
            async with place.source.get(place.url, {}) as answer:
                assert answer.status == 200
                assert answer.headers["content-length"] == str(len(CONTENT))
                assert answer.headers["etag"] == '"one"'
                assert await whole(answer) == CONTENT

    asyncio.run(scenario())


def test_what_is_asked_for_reaches_the_other_side(opened: Open) -> None:
    async def scenario() -> None:
        async with opened() as place:
            asked = {"Range": "bytes=1000-", "If-Range": '"one"'}
            async with place.source.get(place.url, asked) as answer:
                assert answer.status == 206
                assert answer.headers["content-range"] == f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}"
                assert await whole(answer) == CONTENT[1000:]
            async with place.source.get(place.url, asked | {"If-Range": '"another"'}) as answer:
                assert answer.status == 200
            async with place.source.get(place.url, asked | {"Range": f"bytes={len(CONTENT)}-"}) as answer:
                assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")
            assert [one.get("range") for one in place.asked()][:2] == ["bytes=1000-", "bytes=1000-"]

    asyncio.run(scenario())


@pytest.mark.parametrize("status", ["404 Not Found", "401 Unauthorized", "503 Busy"])
def test_a_no_is_an_answer_and_no_error(opened: Open, status: str) -> None:
    async def scenario() -> None:
        async with opened(status=status) as place, place.source.get(place.url, {}) as answer:
            assert answer.status == int(status[:3])

    asyncio.run(scenario())


def test_a_connection_that_breaks_off_is_an_error_after_what_came(opened: Open) -> None:
    async def scenario() -> None:
        async with opened(cut=100_000) as place:
            came: list[bytes] = []
            with pytest.raises(SourceError) as caught:
                await read(place, came)
            failed(caught, again=True)
            assert CONTENT.startswith(b"".join(came))
            assert sum(map(len, came)) <= 100_000

    asyncio.run(scenario())


def test_nobody_there_may_be_asked_again(opened: Open) -> None:
    async def scenario() -> None:
        async with opened() as place:
            with pytest.raises(SourceError) as caught:
                async with place.source.get("http://127.0.0.1:9/nobody", {}):
                    pass
            failed(caught, again=True)

    asyncio.run(scenario())


@pytest.mark.parametrize("url", [
    "ftp://models.example/x", "file:///etc/passwd", "http://models.example/x", "https://mo:key@models.example/x",
    "https://127.0.0.1/x", "https://[::1]/x", "https://localhost/x", "https://router.local/x", "nonsense", "",
    "https://models.example/a b", "https://10.0.0.1/x", "https://" + "a" * 5000,
])
def test_addresses_that_are_never_asked(opened: Open, url: str) -> None:
    async def scenario() -> None:
        async with opened() as place:
            with pytest.raises(SourceError) as caught:
                place.source.check(url)
            failed(caught, again=False)
            assert "key" not in f"{caught.value.fault.model_dump_json()} {caught.value}"
            with pytest.raises(SourceError) as caught:
                async with place.source.get(url, {}):
                    pass
            failed(caught, again=False)
            assert place.asked() == []

    asyncio.run(scenario())


def test_redirects_are_followed_with_care(opened: Open) -> None:
    async def scenario() -> None:
        async with opened(moved="/model", inside="http://10.0.0.1/x", round="/round", other="file:///x") as place:
            async with place.source.get(place.origin + "/moved", {"Range": "bytes=5-", "If-Range": '"one"'}) as answer:
                assert await whole(answer) == CONTENT[5:]
            for name in ("inside", "round", "other"):
                with pytest.raises(SourceError) as caught:
                    async with place.source.get(f"{place.origin}/{name}", {}):
                        pass
                failed(caught, again=False)

    asyncio.run(scenario())


def test_who_leaves_early_can_ask_again(opened: Open) -> None:
    async def scenario() -> None:
        async with opened() as place:
            for _ in range(3):
                async with place.source.get(place.url, {}) as answer:
                    async for _piece in answer.pieces:
                        break
            several = await asyncio.gather(*(read(place, []) for _ in range(4)))
            assert several == [CONTENT] * 4

    asyncio.run(scenario())
