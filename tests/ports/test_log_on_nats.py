"""What the log does about a server that is not as it should be, and about live messages that never come."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import orjson
import pytest
from fixtures_nats import Server, plain_server
from log_words import event, events, everything, stream, taken

from adapters.nats import connection as connections
from adapters.nats import stream as streams
from adapters.nats.log import JetStreamLog
from domain.errors import ComfyVNError, Invalid, Unavailable
from domain.ports import Commit

SECRET = "very-secret-token"


def refused(work: Coroutine[Any, Any, Any], code: str, kind: type[ComfyVNError] = Unavailable) -> ComfyVNError:
    """Runs something that must fail with a code, say what to do, and tell no secret."""
    with pytest.raises(kind) as caught:
        asyncio.run(work)
    error = caught.value
    assert error.code == code
    assert error.remediation
    told = f"{error.message} {error.detail} {error.remediation}"
    assert SECRET not in told
    return error


async def _connect_and_close(*servers: str, **options: Any) -> None:
    log = await JetStreamLog.connect(servers, stream="TEST", **options)
    await log.close()


async def _make(url: str, **config: Any) -> None:
    """A stream as somebody else might have made it."""
    connection = await connections.connect([url], name="tests")
    try:
        await streams.api(connection, f"STREAM.CREATE.{config['name']}", config)
    finally:
        await connection.close()


# --- connecting -------------------------------------------------------------------------------------------------------


def test_nobody_there_refused_credentials_and_no_jetstream_are_told_apart(tmp_path: Path) -> None:
    with plain_server(tmp_path, f'authorization {{ token: "{SECRET}" }}') as url:
        address = url.removeprefix("nats://")
        refused(_connect_and_close(f"nats://wrong-{SECRET}@{address}"), "log_refused")
        refused(_connect_and_close(f"nats://{SECRET}@{address}"), "log_unavailable")
    error = refused(connections.connect([f"nats://{SECRET}@{address}"], name="tests", seconds=0.5), "log_unreachable")
    assert address in error.message


def test_a_stream_made_otherwise_is_mended_where_that_is_safe(nats_server: Server) -> None:
    asyncio.run(_make(
        nats_server.url, name="TEST", subjects=["vn.*.*.*.*"], storage="file", max_age=10**9 * 3600, max_msgs=1000,
        discard="old", max_msg_size=100,
    ))

    async def body() -> None:
        log = await JetStreamLog.connect(nats_server.urls, stream="TEST")
        try:
            config = (await streams.info(log.connection, "TEST")).config
            wanted = streams.log_config("TEST", "vn.*.*.*.*", 1, config["max_msg_size"])
            assert {key: config.get(key) for key in wanted if wanted[key] not in (0, None)} == {
                key: value for key, value in wanted.items() if value not in (0, None)
            }
            assert not config.get("max_age")
            assert await log.append([Commit(stream(), 0, events(3))]) == (1, 2, 3)
        finally:
            await log.close()

    asyncio.run(body())


@pytest.mark.parametrize("config", [{"storage": "memory"}, {"retention": "workqueue"}])
def test_a_stream_that_would_lose_events_is_refused(nats_server: Server, config: dict[str, str]) -> None:
    asyncio.run(_make(nats_server.url, name="TEST", subjects=["vn.*.*.*.*"], **config))
    refused(_connect_and_close(nats_server.url), "log_stream_unfit", Invalid)


def test_two_logs_cannot_share_the_subjects_of_one_account(nats_server: Server) -> None:
    asyncio.run(_make(nats_server.url, name="OTHER", subjects=["vn.>"], storage="file"))
    refused(_connect_and_close(nats_server.url), "log_subjects_taken", Invalid)


def test_copies_need_a_cluster(nats_server: Server) -> None:
    error = refused(_connect_and_close(nats_server.url, replicas=3, patience_seconds=0.5), "log_unavailable")
    assert "COMFYVN_NATS_REPLICAS" in error.remediation[0].text


def test_what_the_server_does_not_take_is_not_promised(tmp_path: Path) -> None:
    config = f'max_payload: 65536\njetstream {{ store_dir: "{tmp_path}/store", sync_interval: always }}'

    async def body(url: str) -> None:
        log = await JetStreamLog.connect([url], event_limit=2**20)
        try:
            assert log.event_limit == 65536 - 16384
            assert (await log.status()).event_limit == log.event_limit
            whole = event(data=b"x" * log.event_limit, actor="y" * 10_000)
            assert await log.append([Commit(stream(), 0, (whole,))]) == (1,)
            with pytest.raises(Invalid):
                await log.append([Commit(stream(), 1, (event(data=b"x" * (log.event_limit + 1)),))])
        finally:
            await log.close()

    with plain_server(tmp_path, config) as url:
        asyncio.run(body(url))


def test_status_says_what_the_log_is(nats_server: Server) -> None:
    async def body() -> None:
        log = await nats_server.connect()
        try:
            await log.append([Commit(stream("a"), 0, events(2)), Commit(stream("b"), 0, events(1))])
            status = await log.status()
            assert (status.connected, status.stream, status.replicas) == (True, nats_server.stream, 1)
            assert (status.messages, status.first_position, status.last_position, status.subjects) == (3, 1, 3, 2)
            assert status.server_version.split(".")[0] == "2"
            assert status.bytes > 0
        finally:
            await log.close()

    asyncio.run(body())


# --- no room ----------------------------------------------------------------------------------------------------------


def test_a_full_log_records_nothing_says_so_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    config = f'jetstream {{ store_dir: "{tmp_path}/store", sync_interval: always, max_file_store: %s }}'

    async def fill(url: str) -> int:
        log = await JetStreamLog.connect([url], patience_seconds=3)
        recorded = 0

        async def write() -> None:
            nonlocal recorded
            while recorded < 1000:
                fat = tuple(event(one, data=b"x" * 50_000) for one in range(1 + recorded % 2))
                recorded = (await log.append([Commit(stream(f"s{recorded}"), 0, fat)]))[-1]

        try:
            with pytest.raises(Unavailable) as caught:
                await write()
            assert caught.value.code == "log_full"
            assert "nothing was recorded" in caught.value.message
            assert caught.value.remediation
            assert len(await everything(log)) == recorded
            return recorded
        finally:
            await log.close()

    async def go_on(url: str, recorded: int) -> None:
        log = await JetStreamLog.connect([url])
        try:
            assert await log.head() == recorded
            assert await log.append([Commit(stream("more"), 0, events(2))]) == (recorded + 1, recorded + 2)
        finally:
            await log.close()

    with plain_server(tmp_path, config % "1MB") as url:
        recorded = asyncio.run(fill(url))
    assert 5 < recorded < 30
    with plain_server(tmp_path, config % "100MB") as url:
        asyncio.run(go_on(url, recorded))


# --- strangers --------------------------------------------------------------------------------------------------------


def test_a_message_that_somebody_published_by_hand_stops_nobody(nats_server: Server) -> None:
    async def body() -> None:
        log = await nats_server.connect()
        try:
            follower = asyncio.create_task(taken(log.follow(), 4))
            (first,) = await log.append([Commit(stream(), 0, events(1))])
            stranger = await log.connection.jetstream().publish(stream().subject, b"hello", headers={"vn-version": "x"})
            await log.connection.jetstream().publish("vn.somebody.main.scene.else", b"\xff\x00")
            assert stranger.seq == first + 1
            last = await log.last(stream())
            assert last is not None
            assert (last.position, last.type, last.version, last.data) == (2, "", 0, b"hello")
            assert await log.append([Commit(stream(), last.position, events(1, 2))]) == (4,)
            assert [one.position for one in await follower] == [1, 2, 3, 4]
            assert [one.position for one in await everything(log)] == [1, 2, 3, 4]
        finally:
            await log.close()

    asyncio.run(body())


def test_no_subject_but_an_aggregates_can_enter_the_log(nats_server: Server) -> None:
    async def body() -> None:
        log = await nats_server.connect()
        try:
            for subject in ("vn.demo", "vn.demo.main.scene", "vn.demo.main.scene.a.b"):
                with pytest.raises(connections.Unanswered):
                    await log.connection.ask(subject, b"{}", seconds=2)
            assert await log.head() == 0
        finally:
            await log.close()

    asyncio.run(body())


@pytest.mark.parametrize("pattern", ["", "other.>", "vn..x", "vn.>.x", "vn.a b.>", "vn.\r\n.>"])
def test_what_is_no_pattern_of_the_log_is_refused(nats_server: Server, pattern: str) -> None:
    async def body() -> None:
        log = await nats_server.connect()
        try:
            for source in (log.read(pattern=pattern), log.follow(pattern=pattern)):
                with pytest.raises(Invalid) as caught:
                    await anext(source)
                assert caught.value.code == "invalid_pattern"
        finally:
            await log.close()

    asyncio.run(body())


# --- live messages are a hint and not a promise -----------------------------------------------------------------------


def test_followers_miss_nothing_when_live_messages_are_lost(nats_server: Server) -> None:
    async def body() -> None:
        log, other = await nats_server.connect(), await nats_server.connect()
        try:
            followers = [
                asyncio.create_task(taken(log.follow(), 300)),
                asyncio.create_task(taken(log.follow(pattern="vn.*.*.job.>"), 100)),
            ]
            await _writes(other, 0, 100)
            # From here on this process hears nothing live: only the regular comparison with the log can tell.
            deaf = {key: taker for key, taker in log.connection.takers.items() if key != min(log.connection.takers)}
            for key in deaf:
                log.connection.takers[key] = lambda subject, headers, body: None
            await _writes(other, 100, 100)
            heard = await asyncio.wait_for(taken(log.follow(after=100), 100), 10)
            assert [one.position for one in heard] == list(range(101, 201))
            log.connection.takers.update(deaf)
            await _writes(other, 200, 100)
            assert [one.position for one in await followers[0]] == list(range(1, 301))
            assert [one.position for one in await followers[1]] == [one for one in range(1, 301) if one % 3 == 1]
        finally:
            await log.close()
            await other.close()

    asyncio.run(body())


def test_a_connection_that_is_cut_is_taken_up_again_without_a_gap(nats_server: Server) -> None:
    async def body() -> None:
        log, other = await nats_server.connect(), await nats_server.connect()
        try:
            follower = asyncio.create_task(taken(log.follow(), 200))
            await _writes(other, 0, 50)
            for start in (50, 100, 150):
                assert log.connection._transport is not None
                log.connection._transport.close()
                await _writes(other, start, 50)
            assert [one.position for one in await follower] == list(range(1, 201))
            assert await log.append([Commit(stream("after"), 0, events(1))]) == (201,)
        finally:
            await log.close()
            await other.close()

    asyncio.run(body())


class Proxy:
    """A way to a server that can swallow what goes through it, as a cable does that is pulled."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.swallowing: set[asyncio.StreamWriter] = set()
        self.open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def pull(self) -> None:
        """From now on nothing gets through on the connections that stand; new ones work."""
        self.swallowing |= self.open

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        self.open |= {writer, back}
        await asyncio.gather(self._carry(reader, back), self._carry(there, writer), return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if writer not in self.swallowing:
                writer.write(data)
        writer.close()


def test_a_connection_on_which_nothing_comes_through_is_given_up(nats_server: Server) -> None:
    async def body() -> None:
        proxy = Proxy(nats_server.embedded.port)
        address = nats_server.url.replace(str(nats_server.embedded.port), str(await proxy.start()))
        log = await JetStreamLog.connect([address], stream="TEST")
        try:
            follower = asyncio.create_task(taken(log.follow(), 3))
            assert await log.append([Commit(stream("a"), 0, events(1))]) == (1,)
            proxy.pull()
            assert await log.append([Commit(stream("b"), 0, events(2))]) == (2, 3)
            assert [one.position for one in await follower] == [1, 2, 3]
            proxy.pull()
            assert len(await log.read_stream(stream("b"))) == 2
            assert (await log.status()).reconnects == 2
        finally:
            await log.close()

    asyncio.run(body())


async def _writes(log: JetStreamLog, start: int, number: int) -> None:
    for one in range(start, start + number):
        await log.append([Commit(stream(f"n{one}", category=("job", "scene", "prop")[one % 3]), 0, events(1))])


def test_who_reads_slowly_gets_everything_from_the_log_and_the_tail_stays_bounded(nats_server: Server) -> None:
    async def body() -> None:
        log = await nats_server.connect()
        try:
            slow = log.follow()
            await log.append([Commit(stream("first"), 0, events(1))])
            found = [one.position for one in await anext(slow)]
            for number in range(12):
                await log.append([Commit(stream(f"s{number}"), 0, events(1000))])
            follower = asyncio.create_task(taken(log.follow(after=12_000), 1))
            await follower
            assert len(log._tail._events) <= 8192
            while len(found) < 12_001:
                found += [one.position for one in await anext(slow)]
            assert found == list(range(1, 12_002))
        finally:
            await log.close()

    asyncio.run(body())


def test_followers_of_a_closed_log_end_with_an_error(nats_server: Server) -> None:
    async def body() -> None:
        log = await nats_server.connect()
        follower = asyncio.create_task(taken(log.follow(), 1))
        await asyncio.sleep(0)
        await log.append([])
        await log.head()
        await log.close()
        with pytest.raises(Unavailable):
            await follower
        with pytest.raises(Unavailable):
            await log.append([Commit(stream(), 0, events(1))])

    asyncio.run(body())


def test_any_nats_client_sees_events_live(nats_server: Server) -> None:
    async def body() -> None:
        log = await nats_server.connect()
        try:
            subscription = await log.connection.subscribe("live.vn.demo.>")
            await log.connection.flush()
            await log.append([Commit(stream("a"), 0, events(1)), Commit(stream("b"), 0, events(1))])
            one, two = await subscription.next_msg(5), await subscription.next_msg(5)
            assert [one.subject, two.subject] == ["live.vn.demo.main.scene.a", "live.vn.demo.main.scene.b"]
            assert one.headers is not None
            assert (one.headers["ce-type"], one.headers["Nats-Sequence"]) == ("SceneOpened", "1")
            assert orjson.loads(one.data) == {"title": "Harbour"}
        finally:
            await log.close()

    asyncio.run(body())


def test_the_documented_subscriber_reads_from_any_position(nats_server: Server) -> None:
    async def write() -> None:
        log = await nats_server.connect()
        await log.append([Commit(stream("a"), 0, events(3)), Commit(stream("b"), 0, events(1))])
        await log.close()

    asyncio.run(write())
    example = Path(__file__).parents[2] / "docs" / "examples" / "nats_subscriber.py"
    done = subprocess.run(
        [sys.executable, str(example), "2", "3"], env={"NATS_URL": nats_server.url}, capture_output=True, text=True,
        timeout=60, check=False,
    )
    assert done.returncode == 0, done.stderr
    told = 'SceneOpened {"title":"Harbour"}'
    assert done.stdout.splitlines() == [
        f"2 vn.demo.main.scene.a {told}", f"3 vn.demo.main.scene.a {told}", f"4 vn.demo.main.scene.b {told}",
    ]


def test_the_documented_permissions_let_a_reader_see_one_project_only(tmp_path: Path) -> None:
    config = f"""
jetstream {{ store_dir: "{tmp_path}/store", sync_interval: always }}
authorization {{ users: [
  {{ user: studio, password: studio }}
  {{ user: reader, password: reader, permissions: {{
      publish:   {{ allow: ["$JS.API.DIRECT.GET.COMFYVN.vn.demo.>"] }}
      subscribe: {{ allow: ["live.vn.demo.>", "_INBOX.>"] }} }} }}
] }}
"""

    async def body(address: str) -> None:
        log = await JetStreamLog.connect([f"nats://studio:studio@{address}"])
        reader = await connections.connect([f"nats://reader:reader@{address}"], name="reader")
        try:
            live = await reader.subscribe("live.vn.demo.>")
            await reader.flush()
            ours, theirs = stream("a"), stream("a", project="other")
            await log.append([Commit(theirs, 0, events(1)), Commit(ours, 0, events(1))])
            assert (await live.next_msg(5)).subject == f"live.{ours.subject}"
            _, body = await reader.ask(f"$JS.API.DIRECT.GET.COMFYVN.{ours.subject}")
            assert body == b'{"title":"Harbour"}'
            forbidden = (f"$JS.API.DIRECT.GET.COMFYVN.{theirs.subject}", "$JS.API.STREAM.INFO.COMFYVN", ours.subject)
            for subject in forbidden:
                with pytest.raises(TimeoutError):
                    await reader.ask(subject, b"{}", seconds=0.3)
            assert await log.head() == 2
        finally:
            await reader.close()
            await log.close()

    with plain_server(tmp_path, config) as url:
        asyncio.run(body(url.removeprefix("nats://")))
