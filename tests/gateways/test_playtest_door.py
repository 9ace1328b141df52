"""Playtests over HTTP: reports, pages, comparisons, traces, bounds, and clients that go away."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from door import Door, door, run, until

from domain.errors import Unavailable
from services.playtest.running import Playtests

SCENE: dict[str, Any] = {
    "id": "pier", "title": "The pier", "start": "gate", "nodes": [
        {"id": "gate", "text": "Halt!", "speaker": "Mira", "choices": [
            {"id": "leave", "label": "Leave", "target": "road"}, {"id": "stay", "label": "Stay", "target": "night"}]},
        {"id": "road", "text": "The road.", "end": True},
        {"id": "night", "text": "The night.", "choices": [
            {"id": "sleep", "label": "Sleep", "target": "road",
             "conditions": [{"key": "tired", "operator": "eq", "value": True}]}]},
    ],
}


async def asked(here: Door, status: int = 200, **body: Any) -> Any:
    answer = await here.client.post("/api/playtest/run?project=demo", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_report_is_told_kept_and_shown_as_a_page() -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.ask("CreateScene", SCENE, status=201)
            report = await asked(here)
            assert report["complete"]
            assert report["povs"] == ["narrator"]
            assert report["story"]["implicit"]
            assert {(one["kind"], one.get("node")) for one in report["findings"]} >= {("dead_end", "night")}
            assert report["timing"]["of"] == "states"
            kept = await here.client.get(f"/api/playtest/reports/{report['report_id']}?project=demo")
            assert kept.json() == report
            listed = (await here.client.get("/api/playtest/reports?project=demo")).json()["items"]
            assert [one["report_id"] for one in listed] == [report["report_id"]]
            page = await here.client.get(f"/api/playtest/reports/{report['report_id']}/page?project=demo")
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert "script-src 'sha256-" in page.headers["content-security-policy"]
            assert "The pier" in page.text
            other = await here.client.get(f"/api/playtest/reports/{report['report_id']}?project=other")
            assert other.status_code == 404

    run(scenario)


def test_modes_bounds_and_points_of_view_are_as_asked() -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.ask("CreateScene", SCENE, status=201)
            some = await asked(here, mode="random", plays=20, seed=5, pov=["mara", "ivo"], tables=False, scene="pier")
            assert some["povs"] == ["mara", "ivo"]
            assert some["views"][0]["plays"] == 20
            assert "nodes" not in some["views"][0]
            bounded = await asked(here, max_states=2)
            assert not bounded["complete"]
            assert bounded["views"][0]["bounds_reached"] == ["states"]
            again = await asked(here, variables={"tired": True})
            assert "dead_end" not in {one["kind"] for one in again["findings"]}
            page = await here.client.post("/api/playtest/run?project=demo", json={"format": "html"})
            assert page.text.startswith("<!doctype html>")

    run(scenario)


def test_two_worldlines_are_compared() -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.ask("CreateScene", SCENE, status=201)
            await here.fork("storm", status=201)
            await here.ask("EditNode", {"scene_id": "pier", "node_id": "night", "end": True},
                           params={"worldline": "storm"}, status=200)
            await here.ask("RemoveChoice", {"scene_id": "pier", "node_id": "gate", "choice_id": "leave"},
                           params={"worldline": "storm"}, status=200)
            report = await asked(here, worldline="storm", against="main")
            (view,) = report["comparison"]["views"]
            assert [one["node"] for one in view["endings"]["vanished"]] == ["road"]
            assert view["endings"]["vanished"][0]["why"] == "Now pier/gate has no choice leave."
            assert report["comparison"]["before"]["worldline"] == "main"

    run(scenario)


@pytest.mark.parametrize(("body", "status", "error"), [
    ({"mode": "golden"}, 422, "invalid_fields"), ({"max_states": 0}, 422, "invalid_fields"),
    ({"max_states": 10**9}, 422, "invalid_fields"), ({"plays": True}, 422, "invalid_fields"),
    ({"worldline": "nowhere"}, 404, None), ({"timeline": "none"}, 404, None), ({"as_of": 10**9}, 400, None),
    ({"scene": {"id": "x"}}, 400, "invalid_scene"), ({"scene": SCENE, "choices": ["fly"]}, 400, "choice_unavailable"),
    ({"persist": True}, 400, "contradicting_playtest"), ({"scene": SCENE, "pov": ["a", "b"]}, 400, None),
    ({"pov": [f"p{one}" for one in range(60)]}, 400, "too_many_povs"), ({"unknown": 1}, 422, "invalid_fields"),
])
def test_bad_questions_get_a_clear_no(body: dict[str, Any], status: int, error: str | None) -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.ask("CreateScene", SCENE, status=201)
            told = await asked(here, status, **body)
            assert told["remediation"]
            assert error is None or told["error"] == error

    run(scenario)


def test_a_trace_has_the_same_digest_stored_or_not() -> None:
    async def scenario() -> None:
        async with door() as here:
            question = {"scene": SCENE, "seed": 7, "variables": {"tired": True}}
            plain = await asked(here, **question)
            dry = await asked(here, **question, dry_run=True, persist=True)
            stored = await asked(here, **question, persist=True)
            assert plain["provenance"] == dry["provenance"] == stored["provenance"]
            assert (plain["persisted"], dry["persisted"], stored["persisted"]) == (False, False, True)
            assert plain["schema_version"] == "1.0"
            found = await here.client.get(f"/api/playtest/traces/{stored['trace_id']}?project=demo")
            assert found.json()["provenance"] == plain["provenance"]
            for other in (f"{stored['trace_id']}?project=other", "0" * 64 + "?project=demo", "x?project=demo"):
                assert (await here.client.get(f"/api/playtest/traces/{other}")).status_code == 404

    run(scenario)


def tangle(flags: int) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = [
        {"id": f"n{one}", "choices": [
            {"id": "yes", "label": "Yes", "target": f"n{one + 1}",
             "actions": [{"type": "set", "key": f"f{one}", "value": True}]},
            {"id": "no", "label": "No", "target": f"n{one + 1}"}]} for one in range(flags)]
    nodes.append({"id": f"n{flags}", "choices": [{"id": "all", "label": "All", "target": "end", "conditions": [
        {"key": f"f{one}", "operator": "eq", "value": True} for one in range(flags)]}]})
    nodes.append({"id": "end", "end": True})
    return {"id": "tangle", "start": "n0", "nodes": nodes}


def test_whoever_stops_waiting_ends_the_process() -> None:
    async def scenario() -> None:
        playtests = Playtests()
        content = {"id": "t", "entries": [{"id": "e", "scene": "tangle"}], "scenes": {"tangle": tangle(40)},
                   "variables": {}}
        met: list[int] = []
        order = {"task": "report", "content": content, "wanted": {"bounds": {"states": 5_000_000}}}
        waiting = asyncio.create_task(playtests.run(order, lambda _, done, __: met.append(done)))
        await until(lambda: met, "some progress")
        assert len(playtests.running) == 1
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not playtests.running

    run(scenario)


def test_a_client_that_goes_away_ends_the_process_and_the_server_goes_on() -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.ask("CreateScene", tangle(40), status=201)
            gone = asyncio.Event()
            body = json.dumps({"max_states": 5_000_000}).encode()
            messages = [{"type": "http.request", "body": body, "more_body": False}]

            async def receive() -> Any:
                if messages:
                    return messages.pop()
                await gone.wait()
                return {"type": "http.disconnect"}

            sent: list[Any] = []

            async def send(message: Any) -> None:
                sent.append(message)

            scope = {
                "type": "http", "method": "POST", "path": "/api/playtest/run", "query_string": b"project=demo",
                "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
            }
            visiting = asyncio.create_task(here.app(scope, receive, send))
            health = await here.client.get("/health/live")
            assert health.status_code < 500
            gone.set()
            async with asyncio.timeout(20):
                await visiting
            assert not sent

    run(scenario)


def test_too_many_at_once_are_asked_to_come_back() -> None:
    async def scenario() -> None:
        playtests = Playtests(at_once=1, waiting=0)
        content = {"id": "t", "entries": [{"id": "e", "scene": "tangle"}], "scenes": {"tangle": tangle(30)},
                   "variables": {}}
        order = {"task": "report", "content": content, "wanted": {"bounds": {"states": 5_000_000}}}
        first = asyncio.create_task(playtests.run(order))
        await until(lambda: playtests.running, "the first to run")
        with pytest.raises(Unavailable, match="Too many"):
            await playtests.run(order)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    run(scenario)


def test_a_playtest_that_takes_too_long_or_too_much_says_so() -> None:
    async def scenario() -> None:
        content = {"id": "t", "entries": [{"id": "e", "scene": "tangle"}], "scenes": {"tangle": tangle(40)},
                   "variables": {}}
        bounds = {"states": 5_000_000, "transitions": 50_000_000, "memory": 10**12}
        order = {"task": "report", "content": content, "wanted": {"bounds": bounds}}
        with pytest.raises(Unavailable, match="longer than"):
            await Playtests(seconds=1.0).run(order)
        with pytest.raises(Unavailable):
            await Playtests(memory=260 * 2**20).run(order)

    run(scenario)
