"""Commands at the HTTP door: accepted, refused, repeated, raced, tried dry, and asked together."""

from __future__ import annotations

import asyncio
import json

import pytest
from door import door, run

from domain.errors import Locked, Remedy
from services.registry import REGISTRY


def test_an_accepted_command_says_what_was_recorded_and_where_it_is_shown() -> None:
    async def scenario() -> None:
        async with door() as here:
            made = await here.fork("night", status=201)
            assert made.json() == {
                "ok": True, "id": "night", "version": 1, "position": 1, "project": "demo", "worldline": "-",
                "events": [{"type": "WorldlineForked", "position": 1}],
            }
            assert made.headers["etag"] == '"1"'
            assert made.headers["location"] == "/api/pov/worlds/night?project=demo"
            shown = await here.client.get(made.headers["location"], params={"project": "demo", "min_position": 1})
            assert shown.json()["id"] == "night"
            changed = await here.ask("UpdateWorldline", {"worldline_id": "night", "notes": "darker"}, status=200)
            assert changed.headers["etag"] == '"2"'
            assert "location" not in changed.headers

    run(scenario)


def test_the_resource_door_asks_the_same_command() -> None:
    async def scenario() -> None:
        async with door() as here:
            made = await here.client.post("/api/pov/worlds?project=demo", json={"worldline_id": "night"})
            assert made.status_code == 201
            changed = await here.client.patch("/api/pov/worlds/night?project=demo", json={"notes": "darker"})
            assert (changed.status_code, changed.json()["version"]) == (200, 2)
            same = {"worldline_id": "night", "notes": "darkest"}
            assert (await here.client.patch("/api/pov/worlds/night?project=demo", json=same)).status_code == 200
            other = await here.client.patch("/api/pov/worlds/night?project=demo", json={"worldline_id": "day"})
            assert other.status_code == 422
            assert other.json()["detail"]["fields"][0]["path"] == "worldline_id"

    run(scenario)


def test_what_is_so_already_is_accepted_without_an_event() -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.fork("night", status=201)
            again = await here.ask("UpdateWorldline", {"worldline_id": "night", "label": "night"}, status=200)
            assert (again.json()["events"], again.json()["version"]) == ([], 1)

    run(scenario)


def test_a_rule_that_says_no_is_a_conflict_and_says_what_to_do() -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.fork("night", status=201)
            refused = await here.fork("night", status=409)
            assert refused.json()["error"] == "worldline_exists"
            assert refused.json()["remediation"] == [
                {"text": "Choose another id for the new worldline.", "action": "rename"}
            ]

    run(scenario)


def test_if_match_holds_the_version_on_which_the_caller_decided() -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.fork("night", status=201)
            body = {"worldline_id": "night", "notes": "darker"}
            stale = await here.ask("UpdateWorldline", body, headers={"If-Match": '"7"'}, status=412)
            assert stale.json()["detail"] == {"expected": 7, "current": 1, "id": "night"}
            assert (await here.ask("UpdateWorldline", body, headers={"If-Match": "1"})).status_code == 200
            seen = await here.client.get("/api/pov/worlds/night?project=demo&min_position=2")
            body["notes"] = "darkest"
            with_tag = await here.ask("UpdateWorldline", body, headers={"If-Match": seen.headers["etag"]}, status=200)
            assert with_tag.json()["version"] == 3
            star = {"If-Match": "*"}
            assert (await here.ask("UpdateWorldline", body, headers=star)).status_code == 200
            assert (await here.fork("nobody", headers=star)).status_code == 412

    run(scenario)


@pytest.mark.parametrize("value", ["", "seven", '"7', 'W/"7"', '"1", "2"', "-1", "9" * 30, '""'])
def test_an_if_match_that_is_no_version_is_refused(value: str) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            answer = await here.fork("night", headers={"If-Match": value}, status=400)
            assert answer.json()["error"] == "invalid_header"
            assert here.log.events == []

    run(scenario)


def test_a_repeated_key_gets_the_first_answer_again() -> None:
    async def scenario() -> None:
        async with door() as here:
            key = {"Idempotency-Key": "first-try"}
            first = await here.ask("ForkWorldline", {"label": "Night"}, headers=key, status=201)
            await here.ask("UpdateWorldline", {"worldline_id": first.json()["id"], "notes": "darker"}, status=200)
            again = await here.ask("ForkWorldline", {"label": "Night"}, headers=key, status=201)
            assert again.json() == first.json()
            assert again.headers["idempotency-replayed"] == "true"
            assert "idempotency-replayed" not in first.headers
            other = await here.ask("ForkWorldline", {"label": "Day"}, headers=key, status=422)
            assert other.json()["error"] == "idempotency_key_reused"
            assert len(here.log.events) == 2

    run(scenario)


def test_one_key_sent_fifty_times_at_once_takes_effect_once() -> None:
    async def scenario() -> None:
        async with door() as here:
            key = {"Idempotency-Key": "at-once"}
            answers = await asyncio.gather(*(
                here.ask("ForkWorldline", {"label": "Night"}, headers=key) for _ in range(50)
            ))
            assert {answer.status_code for answer in answers} == {201}
            assert len({answer.text for answer in answers}) == 1
            assert len(here.log.events) == 1

    run(scenario)


@pytest.mark.parametrize("value", ["", " ", "a b", "x" * 256, "späť".encode().decode("latin-1")])
def test_a_key_that_is_no_key_is_refused(value: str) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            answer = await here.fork("night", headers=[("Idempotency-Key", value.encode("latin-1"))], status=400)
            assert answer.json()["error"] == "invalid_header"

    run(scenario)


def test_every_command_can_be_tried_dry() -> None:
    async def scenario() -> None:
        async with door() as here:
            tried = await here.fork("night", params={"dry_run": "true"}, status=200)
            told = tried.json()
            assert (told["ok"], told["dry_run"], told["id"], told["version"]) == (True, True, "night", 1)
            assert [one["type"] for one in told["would"]] == ["WorldlineForked"]
            assert told["would"][0]["data"]["worldline_id"] == "night"
            assert here.log.events == []
            await here.fork("night", status=201)
            await here.fork("night", params={"dry_run": "1"}, status=409)
            wrong = await here.fork("day", params={"dry_run": "perhaps"}, status=422)
            assert wrong.json()["detail"]["fields"][0]["path"] == "dry_run"

    run(scenario)


def test_bad_news_that_was_recorded_is_a_problem_that_says_where() -> None:
    from domain.ports import Stream
    from gateways.http.asking import Locations, accepted
    from services.aggregates import Outcome
    from services.dispatcher import Receipt

    receipt = Receipt(
        "d1", Stream("demo", "-", "policy", "d1"), 1, 7, (Outcome("PolicyDecided", 7, 1),), created=True,
        problem=Locked("Somebody must acknowledge it.", remediation=[Remedy("Acknowledge it.", "acknowledge")]),
    )
    reply = accepted(receipt, "r1", Locations(REGISTRY))
    told = json.loads(reply.body)
    assert (reply.status, told["ok"], told["position"], told["error"]) == (423, False, 7, "locked")
    assert told["events"] == [{"type": "PolicyDecided", "position": 7}]


def test_several_commands_are_asked_as_one() -> None:
    async def scenario() -> None:
        async with door() as here:
            both = [
                {"command": "ForkWorldline", "worldline_id": "night"},
                {"command": "UpdateWorldline", "worldline_id": "night", "notes": "darker"},
            ]
            answer = await here.client.post("/api/commands?project=demo", json={"commands": both})
            assert answer.status_code == 200, answer.text
            told = answer.json()
            assert [one["version"] for one in told["results"]] == [1, 2]
            assert told["position"] == 2
            refused = [{"command": "ForkWorldline", "worldline_id": "day"}, both[0]]
            answer = await here.client.post("/api/commands?project=demo", json={"commands": refused})
            assert answer.status_code == 409
            assert len(here.log.events) == 2
            dry = await here.client.post("/api/commands?project=demo&dry_run=true", json={"commands": refused[:1]})
            assert dry.json()["results"][0]["would"][0]["type"] == "WorldlineForked"

    run(scenario)


@pytest.mark.parametrize(("body", "status", "path"), [
    ({}, 422, "commands"),
    ({"commands": []}, 422, "commands"),
    ({"commands": [{"command": "ForkWorldline"}] * 501}, 422, "commands"),
    ({"commands": [{}]}, 422, "commands/0"),
    ({"commands": [3]}, 422, "commands/0"),
    ({"commands": [{"command": "ForkWorldline"}], "more": 1}, 422, "more"),
    ({"commands": [{"command": "ForkWorldline"}, {"command": "ForkWorldline", "colour": 1}]}, 422, "commands/1/colour"),
    ({"commands": [{"command": "Nothing"}]}, 404, None),
])
def test_a_batch_that_does_not_fit_names_the_place(body: object, status: int, path: str | None) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            answer = await here.client.post("/api/commands", json=body)
            assert answer.status_code == status, answer.text
            if path is not None:
                assert answer.json()["detail"]["fields"][0]["path"] == path
            assert here.log.events == []

    run(scenario)


def test_who_asks_is_recorded() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            await here.fork("one", status=201)
            await here.fork("two", headers={"X-Comfyvn-Actor": "mara@example", "X-Correlation-Id": "c-1"}, status=201)
            assert [event.actor for event in here.log.events] == ["local", "mara@example"]
            assert here.log.events[1].correlation_id == "c-1"
            for bad in ("", "a b", "x" * 101, "-x"):
                await here.fork("three", headers={"X-Comfyvn-Actor": bad}, status=400)

    run(scenario)


def test_every_command_of_the_registry_has_its_doors_and_is_listed() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            listed = (await here.client.get("/api/commands")).json()["items"]
            assert {one["name"] for one in listed} == set(REGISTRY.askings)
            for one in listed:
                assert one["scope"] == REGISTRY.askings[one["name"]].scope
                assert one["schema"]["type"] == "object"
                empty = await here.client.post(f"/api/commands/{one['name']}", json={"not_a_field": 1})
                assert empty.status_code == 422, one["name"]
                paths = [field["path"] for field in empty.json()["detail"]["fields"]]
                assert "not_a_field" in paths

    run(scenario)


def test_fifty_people_who_change_different_things_at_once_all_succeed() -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.fork("night", status=201)
            answers = await asyncio.gather(*(
                here.ask("UpdateWorldline", {"worldline_id": "night", "metadata": {str(number): True}})
                for number in range(50)
            ))
            assert sorted(answer.json()["version"] for answer in answers) == list(range(2, 52))

    run(scenario)
