"""Jobs at their doors: followed one by one and all together, resumed, filtered, and counted without ever failing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from door import Door, Listener, door, on_socket, run
from job_stories import cancelled, failed_attempt, requested, started, stopped, taken, whole
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from adapters.engines.studio_local.engine import StudioLocal
from commands.declaration import Command
from domain.studio.fault import fault
from services.access import Grant
from services.studio import Asker

MARA = Asker("mara")


async def ask(at: Door, commands: Sequence[Command], project: str = "demo") -> int:
    """The position after all of them."""
    position = 0
    for command in commands:
        position = (await at.studio.ask(command, MARA, project=project)).position
    return position


async def all_of(listener: Listener) -> list[tuple[str, int | None, Any]]:
    return [one async for one in listener.messages()]


def test_a_job_is_followed_to_its_end() -> None:
    async def scenario() -> None:
        async with door() as at, on_socket(at.app) as url:
            await ask(at, [requested()])
            listener = await Listener.at(url, "/api/jobs/j1/events?project=demo")
            assert listener.status == 200
            await ask(at, whole()[1:])
            (first, begin, told), *updates, (last, end, over) = await all_of(listener)
            assert (first, begin, told["job"]["status"]) == ("snapshot", 2, "queued")
            assert [event for event, _, _ in updates] == ["update"] * 7
            assert [id_ for _, id_, _ in updates] == [3, 4, 5, 6, 7, 8, 9]
            assert updates[-1][2]["job"]["outputs"]["image"][0]["asset"] == "ab" * 8
            assert (last, end, over) == ("end", 9, {"job_id": "j1", "status": "completed"})

    run(scenario)


def test_whoever_was_cut_off_goes_on_where_it_was_and_is_let_go_after_the_end() -> None:
    async def scenario() -> None:
        async with door() as at, on_socket(at.app) as url:
            await ask(at, whole())
            later = await Listener.at(url, "/api/jobs/j1/events?project=demo", headers="Last-Event-ID: 6\r\n")
            assert [(event, id_) for event, id_, _ in await all_of(later)] == [
                ("update", 7), ("update", 8), ("update", 9), ("end", 9),
            ]
            over = await Listener.at(url, "/api/jobs/j1/events?project=demo", headers="Last-Event-ID: 9\r\n")
            assert over.status == 204
            fresh = await Listener.at(url, "/api/jobs/j1/events?project=demo")
            assert [event for event, _, _ in await all_of(fresh)] == ["snapshot", "end"]

    run(scenario)


def test_questions_that_make_no_sense_are_told_so() -> None:
    async def scenario() -> None:
        async with door() as at:
            await ask(at, [requested()])
            for path, status, error in (
                ("/api/jobs/nobody/events?project=demo", 404, "unknown_job"),
                ("/api/jobs/j1/events", 404, "unknown_job"),
                ("/api/jobs/j1/events?project=demo&after=9999", 400, None),
                ("/api/jobs/j1/events?project=demo&after=x", 422, "invalid_parameters"),
                ("/api/jobs/j1/events?project=demo&more=1", 422, "invalid_parameters"),
                ("/api/jobs?status=odd", 422, "invalid_parameters"),
                ("/api/jobs?since=yesterday", 422, "invalid_parameters"),
            ):
                answer = await at.client.get(path)
                assert (answer.status_code, path) == (status, path), answer.text
                assert error in (None, answer.json()["error"])
                assert answer.json()["remediation"]

    run(scenario)


def test_all_jobs_are_shown_and_then_each_whenever_something_happened() -> None:
    async def scenario() -> None:
        async with door() as at, on_socket(at.app) as url:
            position = await ask(at, [requested("a"), requested("b", owner="ivo")])
            await ask(at, [requested("elsewhere")], project="other")
            async with connect(f"{url.replace('http', 'ws')}/jobs/ws?project=demo") as socket:
                shown = json.loads(await socket.recv())
                assert (shown["topic"], shown["position"] >= position) == ("jobs.snapshot", True)
                assert {one["job_id"] for one in shown["payload"]["jobs"]} == {"a", "b"}
                await ask(at, whole("a")[1:])
                seen = []
                while not seen or seen[-1]["payload"]["job"]["status"] != "completed":
                    seen.append(json.loads(await socket.recv()))
                assert {one["topic"] for one in seen} == {"job.update"}
                assert {one["payload"]["job"]["job_id"] for one in seen} == {"a"}
                assert seen[-1]["payload"]["event"] == "JobCompleted"
                assert [one["position"] for one in seen] == sorted(one["position"] for one in seen)

    run(scenario)


def test_filters_may_change_and_a_job_that_leaves_them_is_told_once_more() -> None:
    async def scenario() -> None:
        async with door() as at, on_socket(at.app) as url:
            await ask(at, [requested("a"), requested("b", owner="ivo")])
            async with connect(f"{url.replace('http', 'ws')}/jobs/ws?project=demo&owner=ivo") as socket:
                assert [one["job_id"] for one in json.loads(await socket.recv())["payload"]["jobs"]] == ["b"]
                await socket.send(json.dumps({"status": ["queued"], "topics": ["job.update", "job.log"]}))
                again = json.loads(await socket.recv())
                assert {one["job_id"] for one in again["payload"]["jobs"]} == {"a", "b"}
                await ask(at, [cancelled("a")])
                line, left = json.loads(await socket.recv()), json.loads(await socket.recv())
                assert (line["topic"], line["payload"]["level"]) == ("job.log", "warning")
                assert (left["topic"], left["payload"]["job"]["status"]) == ("job.update", "cancelling")

    run(scenario)


def test_a_message_that_is_none_ends_the_socket_with_its_reason() -> None:
    async def scenario() -> None:
        async with door() as at, on_socket(at.app) as url:
            await ask(at, [requested()])
            for message in ("{", '{"status": ["odd"]}', '{"topics": []}', '{"more": 1}', "[]"):
                async with connect(f"{url.replace('http', 'ws')}/jobs/ws?project=demo") as socket:
                    await socket.recv()
                    await socket.send(message)
                    told = json.loads(await socket.recv())
                    assert told["problem"]["remediation"]
                    with pytest.raises(ConnectionClosed) as closed:
                        await socket.recv()
                    assert closed.value.rcvd is not None
                    assert closed.value.rcvd.code == 1008
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"{url.replace('http', 'ws')}/jobs/ws?status=odd"):
                    pass
            assert refused.value.response.status_code == 422

    run(scenario)


class Some:
    """One token, which may do some things in one project."""

    def __init__(self, *scopes: str) -> None:
        self.grant = Grant("viewer", scopes, ("demo",))

    def required(self, host: str) -> bool:
        return True

    def check(self, secret: str) -> Grant | None:
        return self.grant if secret == "let-me-in" else None


def test_only_whoever_may_read_jobs_hears_of_them() -> None:
    async def scenario() -> None:
        async with door(access=Some("job:read")) as at, on_socket(at.app) as url:
            await ask(at, [requested()])
            listener = await Listener.at(url, "/api/jobs/j1/events?project=demo&access_token=let-me-in")
            assert listener.status == 200
            async with connect(f"{url.replace('http', 'ws')}/jobs/ws?project=demo&access_token=let-me-in") as socket:
                assert json.loads(await socket.recv())["topic"] == "jobs.snapshot"
            for query, status in (("project=demo", 401), ("project=other&access_token=let-me-in", 403)):
                assert (await Listener.at(url, f"/api/jobs/j1/events?{query}")).status == status
        async with door(access=Some("scene:read")) as at, on_socket(at.app) as url:
            path = "/api/jobs/j1/events?project=demo&access_token=let-me-in"
            assert (await Listener.at(url, path)).status == 403
            answer = await at.client.get("/api/analytics?project=demo", headers={"authorization": "Bearer let-me-in"})
            assert answer.status_code == 403

    run(scenario)


def test_figures_are_there_or_say_that_they_are_not() -> None:
    async def scenario() -> None:
        async with door() as at:
            await ask(at, [*whole("a"), requested("b"), cancelled("b")])
            told = (await at.client.get("/api/analytics/overview?project=demo")).json()
            assert told["ok"] is True
            assert (told["data"]["jobs"]["completed"], told["data"]["jobs"]["cancelling"]) == (1, 1)
            assert told["data"]["jobs"]["total"] == 2
            assert told["data"]["costs"]["by_engine"] == {"studio_local": {"jobs": 2, "cost": 1500}}
            assert told["data"]["durations"]["took_seconds"]["p50"] >= 0
            for path in ("nothing", "a/b", "overview?project=a%20b", "overview?more=1"):
                answer = await at.client.get(f"/api/analytics/{path}")
                assert (answer.status_code, answer.json()["ok"], answer.json()["data"]) == (200, False, None)
                assert answer.json()["message"]

    run(scenario)


def test_figures_that_cannot_be_read_are_no_error() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as at:
            answer = await at.client.get("/api/analytics")
            assert (answer.status_code, answer.json()["ok"]) == (200, False)
            assert answer.json()["error"]

    run(scenario)


def test_a_job_that_is_over_is_done_again_with_its_lineage(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with door() as at:
            at.studio.engines.add(StudioLocal(tmp_path))
            body = {"inputs": {"prompt": "a lamp", "draft": True, "seed": 11}}
            made = await at.client.post("/api/presets/photoreal_portrait_v1/run?project=demo", json=body)
            assert made.is_success, made.text
            first = made.json()["job_id"]
            path = f"/api/jobs/{first}/retry?project=demo"
            early = await at.client.post(path)
            assert (early.status_code, early.json()["error"]) == (409, "job_not_over")
            await ask(at, [cancelled(first), stopped(first)])
            plan = await at.client.post(f"{path}&dry_run=true")
            assert (plan.status_code, plan.json()["plan"]["seed"]) == (200, 11)
            once = await at.client.post(path, headers={"idempotency-key": "again"})
            twice = await at.client.post(path, headers={"idempotency-key": "again"})
            assert once.status_code == twice.status_code == 202, once.text
            assert once.json()["job_id"] == twice.json()["job_id"] != first
            second = (await at.client.get(once.headers["location"])).json()
            assert (second["retry_of"], second["root"], second["seed"]) == (first, first, 11)
            assert second["inputs"] == {"prompt": "a lamp", "draft": True, "seed": 11}
            line = (await at.client.get(f"/api/jobs?project=demo&root={first}")).json()["items"]
            assert [one["job_id"] for one in line] == [second["job_id"], first]
            for wrong in ({"quality": "odd"}, {"more": 1}, {"quality": 3}, {"spend_limit": -1}):
                answer = await at.client.post(path, json=wrong)
                assert answer.status_code == 422, answer.text
                assert answer.json()["remediation"]
            nobody = await at.client.post("/api/jobs/nobody/retry?project=demo")
            assert (nobody.status_code, nobody.json()["error"]) == (404, "unknown_job")

    run(scenario)


def test_what_is_copied_holds_no_secret_and_nothing_that_was_put_in() -> None:
    async def scenario() -> None:
        async with door() as at:
            key = "sk-" + "9f8e7d6c5b4a3f2e1d0c9b8a7f6e5d4c"
            why = fault("ENGINE_ERROR", "It broke.", request={"headers": {"authorization": f"Bearer {key}"}})
            steps = [requested(inputs={"prompt": "my own words"}), taken(), started()]
            await ask(at, [*steps, failed_attempt(why=why)])
            copied = await at.client.get("/api/jobs/j1/details?project=demo")
            assert copied.status_code == 200
            assert copied.json()["fault"]["code"] == "ENGINE_ERROR"
            assert key not in copied.text
            assert "my own words" not in copied.text

    run(scenario)


def test_what_the_streams_of_jobs_send_is_what_the_document_says() -> None:
    async def scenario() -> None:
        async with door() as at, on_socket(at.app) as url:
            document = (await at.client.get("/asyncapi.json")).json()

            def fits(message: str, told: Any) -> bool:
                schema = document["components"]["messages"][message]["payload"]
                return jsonschema_rs.is_valid(schema | {"components": document["components"]}, told)

            await ask(at, [requested()])
            listener = await Listener.at(url, "/api/jobs/j1/events?project=demo")
            async with connect(f"{url.replace('http', 'ws')}/jobs/ws?project=demo&topics=job.update,job.log") as socket:
                first = json.loads(await socket.recv())
                assert fits("jobsSnapshot", first)
                assert not fits("jobsSnapshot", first | {"payload": {"jobs": [{"job_id": 3}]}})
                await ask(at, whole()[1:])
                seen = {}
                while seen.get("job.update", {}).get("payload", {}).get("event") != "JobCompleted":
                    told = json.loads(await socket.recv())
                    seen[told["topic"]] = told
                    assert fits({"job.update": "jobUpdate", "job.log": "jobLog"}[told["topic"]], told)
                assert seen.keys() == {"job.update", "job.log"}
            names = {"snapshot": "jobSnapshot", "update": "jobHappened", "end": "jobEnd"}
            events = await all_of(listener)
            assert {event for event, _, _ in events} == names.keys()
            assert all(fits(names[event], data) for event, _, data in events)

    run(scenario)
