"""Budgets at their doors: set, seen and taken away; what spends is told how they stand, and refused beyond them."""

from __future__ import annotations

from typing import Any

import pytest
from door import Door, door, run

from commands.operations.budget import SetBudget
from services.access import Grant
from services.studio import Asker


async def put(at: Door, scope: str, period: str, amount: Any, **more: Any) -> Any:
    return await at.client.put(f"/api/budgets/{scope}/{period}?project=demo", json={"amount": amount, **more})


async def reserve(at: Door, attempt: str, amount: int, account: str = "team", query: str = "") -> Any:
    return await at.client.post(f"/api/credits/{account}/reserve?project=demo{query}",
                                json={"attempt_id": attempt, "amount": amount})


async def seen(at: Door, query: str = "") -> dict[str, Any]:
    answer = await at.client.get(f"/api/budgets?project=demo{query}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_a_budget_is_set_kept_seen_and_taken_away() -> None:
    async def scenario() -> None:
        async with door() as at:
            await at.ask("GrantCredits", {"account": "team", "amount": 1000}, status=201)
            assert (await put(at, "project", "month", 100, warn_percent=50)).status_code == 201
            assert (await put(at, "account:team", "total", 500)).status_code == 200
            assert (await reserve(at, "a", 40)).json().get("warnings") == []
            told = (await reserve(at, "b", 20)).json()
            month = at.studio.clock()[:7]
            assert told["warnings"] == [f"The project has used 60 of 100 microcredits in {month}."]
            assert [(one["scope"], one["left"], one["warns"]) for one in told["budgets"]] == [
                ("project", 40, True), ("account:team", 440, False)]
            assert (told["reserved"], told["balance"]) == (60, 1000)
            refused = await reserve(at, "c", 41)
            assert (refused.status_code, refused.json()["error"]) == (409, "budget_exceeded")
            assert {"raise_budget", "wait"} <= {one["action"] for one in refused.json()["remediation"]}
            foretold = await reserve(at, "c", 41, query="&dry_run=true")
            assert foretold.json()["error"] == "budget_exceeded"
            shown = await seen(at)
            assert [(one["scope"], one["held"], one["left"]) for one in shown["items"]] == [
                ("account:team", 60, 440), ("project", 60, 40)]
            assert shown["month"] == month
            assert (await seen(at, "&month=2020-01&scope=project"))["items"][0]["left"] == 100
            spend = (await at.client.get("/api/analytics/spend?project=demo")).json()
            assert spend["ok"] is True
            assert spend["data"]["spend"]["by_account"] == {"team": {"held": 60, "spent": 0}}
            assert [one["scope"] for one in spend["data"]["spend"]["warnings"]] == ["project"]
            gone = await at.client.delete("/api/budgets/project/month?project=demo")
            assert gone.status_code == 200
            assert (await reserve(at, "c", 41)).status_code == 200
            again = await at.client.delete("/api/budgets/project/month?project=demo")
            assert (again.status_code, again.json()["error"]) == (404, "unknown_budget")

    run(scenario)


def test_commands_of_one_batch_count_together_or_not_at_all() -> None:
    async def scenario() -> None:
        async with door() as at:
            await put(at, "project", "total", 50)
            grant = {"command": "GrantCredits", "account": "team", "amount": 1000}
            both = [{"command": "ReserveCredits", "account": "team", "attempt_id": id_, "amount": 30} for id_ in "ab"]
            answer = await at.client.post("/api/commands?project=demo", json={"commands": [grant, *both]})
            assert (answer.status_code, answer.json()["error"]) == (409, "budget_exceeded")
            assert (await at.client.get("/api/credits/team?project=demo")).status_code == 404
            answer = await at.client.post("/api/commands?project=demo", json={"commands": [grant, both[0]]})
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["results"]) == 2
            assert (await seen(at))["used"]["total"] == {"held": 30, "spent": 0}

    run(scenario)


def test_a_key_that_comes_again_is_answered_with_the_same() -> None:
    async def scenario() -> None:
        async with door() as at:
            await at.ask("GrantCredits", {"account": "team", "amount": 1000}, status=201)
            await put(at, "project", "total", 50)

            async def once(amount: int = 45) -> Any:
                return await at.client.post(
                    "/api/credits/team/reserve?project=demo", json={"attempt_id": "a", "amount": amount},
                    headers={"idempotency-key": "k"})

            first, second = await once(), await once()
            assert second.headers["idempotency-replayed"] == "true"
            assert second.json() == first.json()
            assert (await once(44)).json()["error"] == "idempotency_key_reused"

    run(scenario)


WRONG: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("project", "week", {"amount": 1}), ("nobody", "month", {"amount": 1}), ("account:", "month", {"amount": 1}),
    ("account:a%20b", "month", {"amount": 1}), ("project", "month", {"amount": -1}), ("project", "month", {}),
    ("project", "month", {"amount": 2**53}), ("project", "month", {"amount": 1, "warn": 5}),
    ("account:" + "a" * 97, "month", {"amount": 1}), ("project", "month", {"amount": 1, "warn_percent": 0}),
)
QUESTIONS = ("month=2026-13x", "month=odd", "scope=nobody", "more=1", "month=2026-01&month=2026-02")


def test_what_is_no_budget_and_no_question_is_told_and_never_a_fault_of_ours() -> None:
    async def scenario() -> None:
        async with door() as at:
            for scope, period, body in WRONG:
                answer = await at.client.put(f"/api/budgets/{scope}/{period}", json=body)
                assert 400 <= answer.status_code < 500, answer.text
                assert answer.json()["remediation"]
            for query in QUESTIONS:
                answer = await at.client.get(f"/api/budgets?project=demo&{query}")
                assert answer.status_code in (400, 422), answer.text
            assert (await at.ask("CountSpending", {"account": "team", "attempt_id": "a"})).status_code == 404

    run(scenario)


class Some:
    """Access for one token with one scope."""

    def __init__(self, scope: str) -> None:
        self.grant = Grant("mara", (scope,), ("demo",))

    def required(self, host: str) -> bool:
        return True

    def check(self, secret: str) -> Grant | None:
        return self.grant if secret == "let-me-in" else None


@pytest.mark.parametrize(("scope", "statuses"), [
    ("job:read", (403, 403, 403, 403)), ("ledger:*", (403, 403, 403, 403)), ("budget:read", (200, 200, 200, 403)),
    ("budget:*", (200, 200, 200, 200)),
])
def test_only_whoever_may_see_budgets_is_told_what_is_spent(scope: str, statuses: tuple[int, ...]) -> None:
    async def scenario() -> None:
        async with door(access=Some(scope), headers={"authorization": "Bearer let-me-in"}) as at:
            other = SetBudget(scope="project", period="total", amount=1)
            position = (await at.studio.ask(other, Asker("mara"), project="demo")).position
            found = [(await at.client.get(f"{path}?project=demo{query}")).status_code for path, query in (
                ("/api/budgets", f"&min_position={position}"), ("/api/budgets/spending", f"&min_position={position}"),
                ("/api/analytics/spend", ""))]
            assert (*found, (await put(at, "project", "month", 1)).status_code) == statuses

    run(scenario)
