"""What may be fetched because somebody else named it: public, https, bounded; and nothing of ours goes along."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.outgoing import NotAllowed, Outgoing, Unreachable, is_public

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server on this machine that reads one request head and answers as told; its address and what it was asked."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head)
            await answer(head, writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
    finally:
        server.close()


def plain(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> Answer:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    return answer


async def content(outgoing: Outgoing, url: str, **given: Any) -> bytes:
    async with outgoing.get(url, **given) as fetched:
        return b"".join([piece async for piece in fetched.pieces])


def run(work: Awaitable[Any]) -> Any:
    async def whole() -> Any:
        async with asyncio.timeout(20):
            return await work

    return asyncio.run(whole())


PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "198.18.0.1", "192.0.0.8", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
    "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "nonsense", "",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_none_of_ours(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@given(st.integers(0, 2**32 - 1))
def test_an_address_inside_another_is_not_a_way_in(number: int) -> None:
    import ipaddress

    four = ipaddress.IPv4Address(number)
    assert not is_public(f"::ffff:{four}")
    assert not is_public(str(ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + number)))


@pytest.mark.parametrize("url", [
    "http://example.com/a", "ftp://example.com/a", "file:///etc/passwd", "data:text/plain,x", "https://", "https:///a",
    "https://localhost/a", "https://a.localhost/", "https://printer.local/", "https://meta.internal/",
    "https://user:word@example.com/", "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest",
    "https://example.com:99999/", "https://exa mple.com/", "https://example.com/\r\nHost: x", "https:\\\\example.com",
    "gopher://example.com", "https://" + "a" * 5000, "//example.com/a", "", "https://localhost./",
])
def test_addresses_that_are_not_even_resolved(url: str) -> None:
    with pytest.raises(NotAllowed):
        Outgoing().check(url)


def test_a_name_that_leads_inside_is_found_out_on_connecting() -> None:
    async def scenario() -> None:
        async def inside(host: str, port: int) -> list[str]:
            return ["93.184.216.34", "127.0.0.1"]  # one public address does not excuse the other

        outgoing = Outgoing(resolving=inside)
        with pytest.raises(NotAllowed):
            await content(outgoing, "https://harmless.example/file")
        await outgoing.close()

    run(scenario())


def test_the_name_is_resolved_once_for_looking_and_connecting() -> None:
    async def scenario() -> None:
        asked = []

        async def changing(host: str, port: int) -> list[str]:
            asked.append(host)
            return ["203.0.113.1"] if len(asked) > 1 else ["127.0.0.1"]

        outgoing = Outgoing(resolving=changing)
        with pytest.raises(NotAllowed):
            await content(outgoing, "https://rebinding.example/file")
        assert asked == ["rebinding.example"]
        await outgoing.close()

    run(scenario())


def test_a_configured_origin_may_be_private_and_only_that_one() -> None:
    async def scenario() -> None:
        async with served(plain(b"bytes")) as (here, heads), served(plain(b"other")) as (other, _):
            outgoing = Outgoing([here])
            assert await content(outgoing, f"{here}/file?x=1#part") == b"bytes"
            assert heads[0].startswith(b"GET /file?x=1 HTTP/1.1")
            for name in (b"cookie", b"authorization", b"referer"):
                assert name not in heads[0].lower()
            with pytest.raises(NotAllowed):
                await content(outgoing, f"{other}/file")
            await outgoing.close()

    run(scenario())


@pytest.mark.parametrize("there", [
    "http://example.com/", "file:///etc/passwd", "https://127.0.0.1/", "https://10.0.0.1/x", "ftp://example.com", "",
    "//169.254.169.254/latest/meta-data/", "gopher://x",
])
def test_redirects_elsewhere_are_not_followed(there: str) -> None:
    async def scenario() -> None:
        async with served(plain(b"", f"Location: {there}", status="302 Found")) as (here, _):
            outgoing = Outgoing([here])
            with pytest.raises(NotAllowed):
                await content(outgoing, f"{here}/file")
            await outgoing.close()

    run(scenario())


def test_redirects_within_bounds_are_followed_and_loops_are_left() -> None:
    async def scenario() -> None:
        async def twice(head: bytes, writer: asyncio.StreamWriter) -> None:
            if b"GET /end" in head:
                await plain(b"there")(head, writer)
            else:
                await plain(b"", "Location: /end", status="307 Temporary Redirect")(head, writer)

        async with served(twice) as (here, _), served(plain(b"", "Location: /", status="302 Found")) as (loop, _):
            outgoing = Outgoing([here, loop])
            assert await content(outgoing, f"{here}/begin") == b"there"
            with pytest.raises(NotAllowed):
                await content(outgoing, f"{loop}/")
            await outgoing.close()

    run(scenario())


def test_sizes_are_held() -> None:
    async def scenario() -> None:
        async def endless(head: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
                await writer.drain()

        async with (
            served(plain(b"x" * 2000)) as (told, _), served(endless) as (untold, _),
            served(plain(b"x" * 10, length=20)) as (short, _),
        ):
            outgoing = Outgoing([told, untold, short])
            with pytest.raises(NotAllowed):
                await content(outgoing, told, limit=1999)
            with pytest.raises(NotAllowed):
                await content(outgoing, untold, limit=2**20)
            with pytest.raises(Unreachable):
                await content(outgoing, short)
            await outgoing.close()

    run(scenario())


def test_slow_servers_are_left() -> None:
    async def scenario() -> None:
        async def silent(head: bytes, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(5)

        async def dripping(head: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)

        async with served(silent) as (quiet, _), served(dripping) as (drop, _):
            outgoing = Outgoing([quiet, drop], piece_seconds=0.3, whole_seconds=0.6)
            for url in (quiet, drop):
                with pytest.raises(Unreachable) as caught:
                    await content(outgoing, url)
                assert caught.value.timeout
            await outgoing.close()

    run(scenario())


def test_nobody_there_is_unreachable() -> None:
    async def scenario() -> None:
        async with served(plain(b"")) as (gone, _):
            pass
        outgoing = Outgoing([gone])
        with pytest.raises(Unreachable):
            await content(outgoing, gone)
        await outgoing.close()

    run(scenario())
