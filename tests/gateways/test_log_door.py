"""The log at the HTTP door: in order, page by page, filtered, one by one."""

from __future__ import annotations

import orjson
import pytest
from door import Door, door, run

from services.wire import event_line


async def filled(here: Door) -> None:
    for number in range(6):
        project = "one" if number % 2 else "two"
        actor = {"X-Comfyvn-Actor": f"a{number % 3}"}
        await here.fork(f"w{number}", params={"project": project}, headers=actor, status=201)
    await here.ask("UpdateWorldline", {"worldline_id": "w0", "notes": "x"}, params={"project": "two"}, status=200)


def test_events_are_listed_in_order_as_they_are_streamed_and_exported() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            await filled(here)
            answer = await here.client.get("/api/log")
            told = answer.json()
            assert [one["position"] for one in told["items"]] == [1, 2, 3, 4, 5, 6, 7]
            assert (told["next"], told["head"]) == (None, 7)
            assert orjson.loads(event_line(here.log.events[0])) == told["items"][0]
            assert event_line(here.log.events[6]) in answer.content
            assert (await here.client.get("/api/log/7")).content == event_line(here.log.events[6])

    run(scenario)


def test_pages_join_without_gap_or_double() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            await filled(here)
            for filters in ({}, {"project": "one"}, {"actor": "a1"}, {"type": "WorldlineForked"}):
                whole = (await here.client.get("/api/log", params=filters)).json()["items"]
                pages, after = [], 0
                while after is not None:
                    page = (await here.client.get("/api/log", params=filters | {"after": after, "limit": 2})).json()
                    assert len(page["items"]) <= 2
                    pages += page["items"]
                    after = page["next"]
                assert pages == whole

    run(scenario)


@pytest.mark.parametrize(("query", "positions"), [
    ("project=two", [1, 3, 5, 7]), ("id=w0", [1, 7]), ("type=WorldlineUpdated", [7]), ("actor=a0", [1, 4]),
    ("actor=a0,a1", [1, 2, 4, 5]), ("category=worldline&after=5", [6, 7]), ("category=scene", []),
    ("worldline=-&limit=1", [1]),
    ("project=one,two&id=w1,w2", [2, 3]), ("after=7", []), ("after=99", []),
])
def test_filters_narrow(query: str, positions: list[int]) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            await filled(here)
            answer = await here.client.get(f"/api/log?{query}")
            assert [one["position"] for one in answer.json()["items"]] == positions

    run(scenario)


def test_a_page_that_finds_little_looks_at_a_bounded_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateways.http.log.SCANNED", 3)

    async def scenario() -> None:
        async with door(projecting=False) as here:
            await filled(here)
            first = (await here.client.get("/api/log?type=WorldlineUpdated")).json()
            assert (first["items"], first["next"]) == ([], 3)
            last = (await here.client.get("/api/log?type=WorldlineUpdated&after=6")).json()
            assert (len(last["items"]), last["next"]) == (1, None)

    run(scenario)


@pytest.mark.parametrize(("query", "path"), [
    ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("after=-1", "after"), ("after=x", "after"),
    ("project=a.b", "project"), ("project=", "project"), ("worldline=*", "worldline"), ("id=%3E", "id"),
    ("colour=1", "colour"),
    ("category=" + ",".join("abcdefghijklmnopqrstuvwxyz" * 2), "category"),
])
def test_filters_that_do_not_fit_are_named(query: str, path: str) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            answer = await here.client.get(f"/api/log?{query}")
            assert answer.status_code == 422, answer.text
            assert answer.json()["detail"]["fields"][0]["path"] == path

    run(scenario)


@pytest.mark.parametrize(("position", "status"), [
    ("0", 404), ("9", 404), ("9" * 18, 404), ("x", 422), ("-1", 422), ("9" * 19, 422),
])
def test_a_position_without_an_event(position: str, status: int) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            await filled(here)
            assert (await here.client.get(f"/api/log/{position}")).status_code == status

    run(scenario)
