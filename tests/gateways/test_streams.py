"""Event streams: resumed without gap or double, filtered, kept alive, and never buffered without bound."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from typing import Any

import httpx
import pytest
from door import Listener, door, on_socket, run, until
from log_words import event
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from adapters.memory.log import MemoryLog
from domain.ports import Commit, Stream
from gateways.http.hub import Hub, Subscription
from gateways.http.ring import Wanted
from services.wire import event_line


def ws(url: str, query: str = "") -> str:
    return url.replace("http", "ws", 1) + "/events/ws" + query


async def messages(socket: Any, count: int) -> list[Any]:
    async with asyncio.timeout(20):
        return [json.loads(await socket.recv()) for _ in range(count)]


def test_an_event_reaches_every_listener_as_it_happens() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here, on_socket(here.app) as url:
            listeners = [await Listener.at(url, "/events/sse") for _ in range(5)]
            assert all("content-type: text/event-stream" in one.headers for one in listeners)
            async with connect(ws(url)) as socket:
                await here.fork("night", status=201)
                expected = json.loads(event_line(here.log.events[0]))
                for one in listeners:
                    assert await one.take(1) == [expected]
                    assert one.last_id == 1
                assert await messages(socket, 1) == [expected]
            for one in listeners:
                one.close()
            await until(lambda: here.app.hub.subscribers == 0, "the listeners to be forgotten")

    run(scenario)


@pytest.mark.parametrize("ring", [3, 1000])
@pytest.mark.parametrize("after", [0, 4, 10])
def test_a_listener_that_resumes_misses_nothing_and_sees_nothing_twice(ring: int, after: int) -> None:
    async def scenario() -> None:
        async with door(projecting=False, hub={"ring_events": ring}) as here, on_socket(here.app) as url:
            await here.app.hub.ready()
            await here.forks(10)
            await until(lambda: here.app.hub.head == 10, "the hub to have followed")
            writing = asyncio.create_task(here.forks(10, start=10))
            by_header = await Listener.at(url, "/events/sse", headers=f"Last-Event-ID: {after}\r\n")
            by_query = await Listener.at(url, f"/events/sse?after={after}")
            async with connect(ws(url, f"?after={after}")) as socket:
                wanted = list(range(after + 1, 21))
                for one in (by_header, by_query):
                    assert [event["position"] for event in await one.take(len(wanted))] == wanted
                    one.close()
                assert [event["position"] for event in await messages(socket, len(wanted))] == wanted
            await writing

    run(scenario)


def test_the_header_wins_over_the_query_since_an_event_source_repeats_its_address() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here, on_socket(here.app) as url:
            await here.forks(5)
            listener = await Listener.at(url, "/events/sse?after=0", headers="Last-Event-ID: 3\r\n")
            assert [event["position"] for event in await listener.take(2)] == [4, 5]
            listener.close()

    run(scenario)


@pytest.mark.parametrize("live", [True, False])
def test_filters_narrow_what_is_live_and_what_is_past(live: bool) -> None:
    async def scenario() -> None:
        async with door(projecting=False, hub={} if live else {"ring_events": 1}) as here, on_socket(here.app) as url:
            await here.app.hub.ready()
            filters = {
                "project=one": [1, 4], "project=one,two": [1, 2, 4], "id=b": [2, 3], "event=WorldlineUpdated": [4],
                "category=worldline&project=three": [3], "worldline=-&id=a": [1, 4], "category=scene": [],
            }
            if live:
                reading = {name: await Listener.at(url, f"/events/sse?{name}") for name in filters}
            for project, id_ in (("one", "a"), ("two", "b"), ("three", "b")):
                await here.fork(id_, params={"project": project}, status=201)
            body = {"worldline_id": "a", "notes": "x"}
            await here.ask("UpdateWorldline", body, params={"project": "one"}, status=200)
            if not live:
                await until(lambda: here.app.hub.floor == 3, "the ring to be full")
                reading = {name: await Listener.at(url, f"/events/sse?{name}&after=0") for name in filters}
            for name, positions in filters.items():
                assert [event["position"] for event in await reading[name].take(len(positions))] == positions, name
                reading[name].close()

    run(scenario)


@pytest.mark.parametrize(("query", "status", "error"), [
    ("project=a.b", 422, "invalid_parameters"), ("project=", 422, "invalid_parameters"),
    ("category=*", 422, "invalid_parameters"), ("id=%3E", 422, "invalid_parameters"),
    ("event=" + ",".join(["a"] * 51), 422, "invalid_parameters"), ("after=-1", 422, "invalid_parameters"),
    ("after=soon", 422, "invalid_parameters"), ("colour=red", 422, "invalid_parameters"),
    ("after=99", 400, "position_in_future"),
])
def test_what_cannot_be_followed_is_refused_before_the_stream_begins(query: str, status: int, error: str) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            answer = await here.client.get(f"/events/sse?{query}")
            assert (answer.status_code, answer.json()["error"]) == (status, error)
        async with door(projecting=False) as here:
            answer = await here.client.get("/events/sse", headers={"Last-Event-ID": "x"})
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_header")

    run(scenario)


def test_a_quiet_stream_is_kept_alive_and_its_id_moves_on() -> None:
    async def scenario() -> None:
        async with door(projecting=False, hub={"heartbeat_seconds": 0.1}) as here, on_socket(here.app) as url:
            listener = await Listener.at(url, "/events/sse?project=nobody")
            reading = asyncio.create_task(listener.take(1))
            await here.forks(3)
            await until(lambda: listener.comments >= 3 and listener.last_id == 3, "heartbeats with the newest id")
            async with connect(ws(url, "?project=nobody")) as socket:
                assert await messages(socket, 1) == [{"control": "heartbeat", "position": 3}]
            await here.fork("night", params={"project": "nobody"}, status=201)
            assert (await reading)[0]["position"] == 4
            listener.close()

    run(scenario)


def test_a_slow_reader_is_told_to_resume_and_finds_everything_then() -> None:
    async def scenario() -> None:
        hub = {"ring_events": 50, "beat_seconds": 0.001}
        async with door(projecting=False, hub=hub) as here, on_socket(here.app) as url:
            slow = await Listener.at(url, "/events/sse", limit=2**12)
            socket = await connect(ws(url), max_queue=1, compression=None)
            body = {"notes": "x" * 9000}
            for number in range(1200):
                await here.ask("ForkWorldline", {"worldline_id": f"w{number}", **body}, status=201)
                if number % 4 == 0:
                    await here.client.get("/health")  # a thread answers: the streams have their turn meanwhile
            await until(lambda: here.app.hub.floor > 1000, "the ring to move on")
            assert len(here.app.hub.ring) <= 50
            seen = []
            async with asyncio.timeout(20):
                async for event, id_, data in slow.messages():
                    if event == "resume":
                        assert (id_, data) == (seen[-1], {"after": seen[-1], "reason": "too_slow"})
                        break
                    seen.append(data["position"])
            assert seen == list(range(1, len(seen) + 1))
            assert len(seen) < 1200
            again = await Listener.at(url, "/events/sse", headers=f"Last-Event-ID: {seen[-1]}\r\n")
            rest = [event["position"] for event in await again.take(1200 - len(seen))]
            assert seen + rest == list(range(1, 1201))
            again.close()
            slow.close()
            last = {}
            with contextlib.suppress(ConnectionClosed):
                async for message in socket:
                    last = json.loads(message)
            assert (last["control"], last["reason"]) == ("resume", "too_slow")
            assert socket.close_code == 1013
            figures = (await here.client.get("/metrics")).text
            assert 'comfyvn_stream_resumed_total{reason="too_slow"} 2.0' in figures

    run(scenario)


def test_a_server_that_ends_tells_its_listeners_to_come_again() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here, on_socket(here.app) as url:
            await here.fork("night", status=201)
            listener = await Listener.at(url, "/events/sse?after=0")
            assert len(await listener.take(1)) == 1
            socket = await connect(ws(url, "?after=0"))
            assert len(await messages(socket, 1)) == 1
            here.app.begin_closing()
            found = [message async for message in listener.messages()]
            assert found == [("resume", 1, {"after": 1, "reason": "closing"})]
            assert await messages(socket, 1) == [{"control": "resume", "after": 1, "reason": "closing"}]
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd.code == 1012
            refused = await here.client.get("/events/sse")
            assert (refused.status_code, refused.json()["error"]) == (503, "too_many_streams")

    run(scenario)


def test_a_request_that_the_end_of_the_server_cuts_off_is_told_to_come_again() -> None:
    async def scenario() -> None:
        async with door(projecting=False, wait_seconds=60) as here, httpx.AsyncClient(timeout=60) as client:
            await here.fork("night", status=201)
            async with on_socket(here.app) as url:
                waiting = asyncio.create_task(client.get(f"{url}/api/credits", params={"min_position": 1}))
                # Nobody counts, so it waits: who comes later is answered earlier, and by then it is under way.
                for _ in range(3):
                    assert (await client.get(f"{url}/health")).status_code == 200
            answer = await waiting
            assert (answer.status_code, answer.json()["error"]) == (503, "studio_ending")
            assert answer.headers["retry-after"]

    run(scenario)


def test_a_burst_beyond_the_ring_makes_a_listener_resume_and_loses_nothing() -> None:
    async def scenario() -> None:
        hub = {"ring_events": 10, "beat_seconds": 0.1}
        async with door(projecting=False, hub=hub) as here, on_socket(here.app) as url:
            listener, seen = await Listener.at(url, "/events/sse?after=0"), []
            writing = asyncio.create_task(here.forks(300))
            async with asyncio.timeout(20):
                while len(seen) < 300:
                    async for event, _, data in listener.messages():
                        if event == "resume":
                            assert data["after"] == (seen[-1] if seen else 0)
                            break
                        seen.append(data["position"])
                        if len(seen) == 300:
                            break
                    listener.close()
                    headers = f"Last-Event-ID: {seen[-1] if seen else 0}\r\n"
                    listener = await Listener.at(url, "/events/sse", headers=headers)
            assert seen == list(range(1, 301))
            await writing
            listener.close()

    run(scenario)


def test_asking_for_the_head_of_a_stream_does_not_open_one() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            answer = await here.client.head("/events/sse")
            assert (answer.status_code, answer.content) == (200, b"")
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert here.app.hub.subscribers == 0

    run(scenario)


def test_there_is_room_for_so_many_listeners() -> None:
    async def scenario() -> None:
        async with door(projecting=False, hub={"subscribers": 2}) as here, on_socket(here.app) as url:
            open_ones = [await Listener.at(url, "/events/sse") for _ in range(2)]
            full = await Listener.at(url, "/events/sse")
            assert full.status == 503
            open_ones[0].close()
            await until(lambda: here.app.hub.subscribers == 1, "the first to be gone")
            assert (await Listener.at(url, "/events/sse")).status == 200

    run(scenario)


def test_a_message_changes_the_filters_of_a_websocket() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here, on_socket(here.app) as url:
            for project in ("one", "two", "one"):
                await here.ask("ForkWorldline", {}, params={"project": project}, status=201)
            async with connect(ws(url, "?project=nobody")) as socket:
                await socket.send(json.dumps({"after": 0, "project": "one"}))
                assert [one["position"] for one in await messages(socket, 2)] == [1, 3]
                await socket.send(json.dumps({"after": 1, "project": ["one", "two"]}))
                assert [one["position"] for one in await messages(socket, 2)] == [2, 3]
                await socket.send(json.dumps({"project": "two"}))
                await socket.send(json.dumps({"project": "two"}))
                # The filters have changed when the events of this project arrive and those of the other do not.
                pong = await socket.ping()
                await pong
                for project in ("one", "two"):
                    await here.ask("ForkWorldline", {}, params={"project": project}, status=201)
                assert [one["position"] for one in await messages(socket, 1)] == [5]

    run(scenario)


@pytest.mark.parametrize("message", [
    "nonsense", "[]", "3", '{"colour": 1}', '{"after": "x"}', '{"after": -1}', '{"after": 99}', '{"project": "a.b"}',
    '{"project": [1]}', '{"project": []}', b"bytes", "x" * 70_000,
])
def test_a_message_that_cannot_be_used_ends_the_websocket_with_its_problem(message: str | bytes) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here, on_socket(here.app) as url, connect(ws(url)) as socket:
            await socket.send(message)
            (told,) = await messages(socket, 1)
            assert told["control"] == "problem"
            assert told["problem"]["remediation"]
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd.code == 1008
            await until(lambda: here.app.hub.subscribers == 0, "the listener to be forgotten")

    run(scenario)


def test_other_addresses_are_no_websockets() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here, on_socket(here.app) as url:
            refusals = {"/nowhere": 404, "/events/sse": 404, "/events/ws?colour=1": 422, "/events/ws?after=9": 400}
            for path, status in refusals.items():
                with pytest.raises(InvalidStatus) as refused:
                    await connect(url.replace("http", "ws") + path)
                assert refused.value.response.status_code == status
                assert refused.value.response.headers["content-type"] == "application/problem+json"
            async with httpx.AsyncClient(base_url=url) as client:
                assert (await client.get("/events/ws")).status_code == 404

    run(scenario)


def test_a_log_that_goes_away_and_comes_back_is_followed_on() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here, on_socket(here.app) as url:
            listener = await Listener.at(url, "/events/sse")
            await here.forks(2)
            assert len(await listener.take(2)) == 2
            follow, broken = here.log.follow, asyncio.Event()

            def interrupted(**given: Any) -> Any:
                if not broken.is_set():
                    broken.set()
                    raise ConnectionError("the log is away")
                return follow(**given)

            here.log.follow = interrupted
            for task in here.app.hub._tasks:
                if task.get_name() == "hub _follow":
                    task.cancel()
            here.app.hub._tasks.append(asyncio.create_task(here.app.hub._follow()))
            await broken.wait()
            await here.forks(2, start=2)
            assert [one["position"] for one in await listener.take(2)] == [3, 4]
            listener.close()

    run(scenario)


def test_a_stream_of_a_log_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateways.http.hub.READY_SECONDS", 0.05)

    async def scenario() -> None:
        async with door(projecting=False) as here:
            async def silent() -> int:
                await asyncio.Event().wait()
                return 0

            here.log.head = silent
            answer = await here.client.get("/events/sse")
            assert (answer.status_code, answer.json()["error"]) == (503, "log_unreachable")

    run(scenario)


@pytest.mark.parametrize("seed", range(4))
def test_whoever_listens_from_any_moment_on_misses_nothing(seed: int) -> None:
    """Listeners come while events come, at every step of the hub: each has all that happens after it came."""
    dice = random.Random(seed)

    async def scenario() -> None:
        log = MemoryLog()
        hub = Hub(log, beat_seconds=0.002)
        await hub.ready()
        asked: list[tuple[Subscription, list[int]]] = []
        got: dict[Subscription, list[int]] = {}

        async def listen(subscription: Subscription) -> None:
            while (chunk := await subscription.next()) is not None:
                got[subscription] += [one.position for one in chunk.entries]

        tasks = []
        for number in range(120):
            project = f"p{dice.randrange(3)}"
            (position,) = await log.append([Commit(Stream(project, "main", "note", f"n{number}"), 0, (event(),))])
            for subscription, expected in asked:
                if project in subscription.wanted.project:
                    expected.append(position)
            for _ in range(dice.randrange(8)):
                await asyncio.sleep(0)
            if dice.random() < 0.5:
                wanted = Wanted(project=frozenset(dice.sample(["p0", "p1", "p2"], dice.randint(1, 2))))
                subscription = hub.subscribe(wanted, position)
                asked.append((subscription, []))
                got[subscription] = []
                tasks.append(asyncio.create_task(listen(subscription)))
            if dice.random() < 0.3:
                await asyncio.sleep(dice.choice([0.001, 0.003, 0.01]))
        await until(lambda: all(got[one][-1:] == expected[-1:] for one, expected in asked), "everything to arrive")
        assert [got[one] for one, _ in asked] == [expected for _, expected in asked]
        for task in tasks:
            task.cancel()
        await hub.close()

    run(scenario)
