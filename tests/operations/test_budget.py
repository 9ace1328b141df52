"""Budgets: of a project and of its accounts, by month and in all; never gone beyond, whatever runs at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from behaviour import ASKED, given
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from projected import Projected
from pydantic import ValidationError

from adapters.memory.log import MemoryLog
from commands.declaration import Command
from commands.envelope import Asked
from commands.operations.budget import CountSpending, RemoveBudget, SetBudget, told
from commands.operations.ledger import (
    CoverShortfall,
    DeductCredits,
    GrantCredits,
    RefundCredits,
    ReleaseReservation,
    ReserveCredits,
    SettleReservation,
)
from domain.errors import ComfyVNError, NotFound, Refused
from domain.operations.budget import (
    AMOUNT_LIMIT,
    BUDGET_LIMIT,
    CONTEXT,
    BudgetRemoved,
    BudgetSet,
    Purse,
    SpendingCounted,
    Standing,
    Sum,
    following,
)
from domain.operations.ledger import CONTEXT as LEDGER
from domain.operations.ledger import Account, CreditsGranted, CreditsReserved, Unopened
from domain.ports import Stream
from projections.operations.budget import ShowBudgets, show_budgets, spend
from services.dispatcher import Dispatcher, Receipt
from services.registry import REGISTRY

SET = BudgetSet(scope="project", period="month", amount=100, warn_percent=80)
MONTH = SetBudget(scope="project", period="month", amount=100)
TEAM = SetBudget(scope="account:team", period="total", amount=100)


SUMS = ("account_month", "account_total", "project_month", "project_total")


def account(held: int = 60, attempt: str = "a1") -> Account:
    """An account that holds so much for one attempt."""
    after = {"account": "team", "balance": 1000, "shortfall": 0}
    state: Any = LEDGER.initial
    for event in (
        CreditsGranted(**after, reserved=0, grant_id="g", amount=1000, reason=""),
        CreditsReserved(**after, reserved=held, attempt_id=attempt, amount=held, purpose="", metadata={}),
    ):
        state = LEDGER.evolve(state, event)
    assert isinstance(state, Account)
    return state


def counted(held: int, spent: int = 0, attempt: str = "a1", **more: Any) -> SpendingCounted:
    sums = dict.fromkeys(SUMS, Sum(held=held, spent=spent))
    return SpendingCounted(
        **{"account": "team", "attempt_id": attempt, "month": "2026-01", "held": held, "spent": spent, **sums, **more}
    )


# --- setting ----------------------------------------------------------------------------------------------------------


def test_a_budget_is_set_changed_and_taken_away() -> None:
    given().when(MONTH).then(SET).and_again_nothing()
    given(SET).when(MONTH.model_copy(update={"warn_percent": 50})).then(SET.model_copy(update={"warn_percent": 50}))
    given(SET).when(RemoveBudget(scope="project", period="month")).then(BudgetRemoved(scope="project", period="month"))
    gone = BudgetRemoved(scope="project", period="month")
    given(SET, gone).when(RemoveBudget(scope="project", period="month")).then_refused("unknown_budget", NotFound)


def test_a_budget_of_another_scope_or_period_is_another_budget() -> None:
    given(SET).when(RemoveBudget(scope="project", period="total")).then_refused("unknown_budget", NotFound)
    given(SET).when(RemoveBudget(scope="account:team", period="month")).then_refused("unknown_budget", NotFound)


def test_budgets_have_a_number() -> None:
    many = [BudgetSet(scope=f"account:a{n}", period="total", amount=1, warn_percent=1) for n in range(BUDGET_LIMIT)]
    given(*many).when(MONTH).then_refused("too_many", Refused)
    given(*many).when(SetBudget(scope="account:a3", period="total", amount=2))


@pytest.mark.parametrize("wrong", [
    {"amount": -1}, {"amount": 1.5}, {"amount": True}, {"amount": "5"}, {"amount": AMOUNT_LIMIT + 1},
    {"scope": "account"}, {"scope": "account:"}, {"scope": "account:a b"}, {"scope": "world:x"}, {"period": "week"},
    {"scope": "account:" + "a" * 97}, {"scope": "project\n"}, {"warn_percent": 0}, {"warn_percent": 101},
])
def test_what_is_no_budget_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        SetBudget.model_validate({"scope": "project", "period": "month", "amount": 1} | wrong)
    assert {one["loc"][0] for one in caught.value.errors()} == set(wrong)


# --- counting ---------------------------------------------------------------------------------------------------------


def test_what_is_held_is_counted_once() -> None:
    command = CountSpending(account="team", attempt_id="a1", binding=True)
    given(others=[account()]).when(command).then(counted(60)).and_again_nothing()


def test_what_is_counted_says_how_its_budgets_stand() -> None:
    team = BudgetSet(scope="account:team", period="total", amount=500, warn_percent=50)
    other = BudgetSet(scope="account:other", period="total", amount=1, warn_percent=50)
    stands = (
        Standing(scope="project", period="month", month="2026-01", amount=100, warn_percent=80, held=80, spent=0),
        Standing(scope="account:team", period="total", month="", amount=500, warn_percent=50, held=80, spent=0),
    )
    follows = counted(80, budgets=stands)
    command = CountSpending(account="team", attempt_id="a1", binding=True)
    given(SET, team, other, others=[account(80)]).when(command).then(follows)
    said: Mapping[str, Any] = told([follows])
    assert [(one["left"], one["over"], one["warns"]) for one in said["budgets"]] == [(20, 0, True), (420, 0, False)]
    assert said["warnings"] == ["The project has used 80 of 100 microcredits in 2026-01."]


def test_nothing_is_counted_for_work_that_no_account_knows() -> None:
    command = CountSpending(account="team", attempt_id="a9", binding=True)
    given(SET, others=[account()]).when(command).then_nothing()
    given(SET, others=[Unopened()]).when(command).then_nothing()


def test_beyond_a_budget_is_refused_with_the_numbers_and_what_helps() -> None:
    refused = given(SET, counted(60), others=[account(41, "a2")]).when(
        CountSpending(account="team", attempt_id="a2", binding=True)
    ).then_refused("budget_exceeded", Refused)
    assert refused.message == "The project has 40 of 100 microcredits left for 2026-01, and 41 are needed."
    assert [one.action for one in refused.remediation] == [
        "raise_budget", "wait", "lower_quality", "use_local_engine", "release_reservation",
    ]
    assert refused.remediation[0].text == "Raise it to 101 microcredits or more: PUT /api/budgets/project/month."
    assert (refused.detail["missing"], refused.detail["resets_at"]) == (1, "2026-02-01T00:00:00Z")


def test_nobody_is_told_to_wait_where_waiting_does_not_help() -> None:
    always = BudgetSet(scope="account:team", period="total", amount=50, warn_percent=80)
    for history, held in (([always], 51), ([SET], 101), ([SET, always], 101)):
        refused = given(*history, others=[account(held)]).when(
            CountSpending(account="team", attempt_id="a1", binding=True)
        ).then_refused("budget_exceeded", Refused)
        assert "wait" not in {one.action for one in refused.remediation}


def test_the_last_month_of_a_year_is_followed_by_the_first() -> None:
    assert (following("2026-12"), following("2026-09")) == ("2027-01-01T00:00:00Z", "2026-10-01T00:00:00Z")


# --- with the ledger, as one decision ---------------------------------------------------------------------------------


def asked(command_id: str, month: str = "2026-01") -> Asked:
    return ASKED._replace(command_id=command_id, request="", time=f"{month}-02T03:04:05Z")


class Told:
    """A ledger with its purse on one log, and what was said to it."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.dispatcher = Dispatcher(self.log, REGISTRY)
        self.number = 0

    async def ask(self, command: Command, month: str = "2026-01", **given: Any) -> Receipt:
        self.number += 1
        return await self.dispatcher.ask(command, asked(f"c{self.number}", month), **given)

    async def outcome(self, command: Command, month: str = "2026-01") -> str:
        try:
            await self.ask(command, month)
        except ComfyVNError as error:
            return error.code
        return "ok"

    async def purse(self) -> Purse:
        found = await Dispatcher(self.log, REGISTRY).aggregates.load(Stream("demo", "-", "budget", "purse"))
        assert isinstance(found.state, Purse)
        return found.state

    async def used(self, scope: str = "project", month: str = "total") -> tuple[int, int]:
        found = (await self.purse()).sum_of(scope, month)
        return found.held, found.spent

    async def events(self) -> list[str]:
        return [one.type async for batch in self.log.read(after=0, upto=await self.log.head()) for one in batch]


def reserve(attempt: str, amount: int = 10, account: str = "team") -> ReserveCredits:
    return ReserveCredits(account=account, attempt_id=attempt, amount=amount)


def test_fifty_at_once_on_a_budget_for_ten_and_released_holds_give_room_again() -> None:
    async def scenario() -> None:
        told = Told()
        await told.ask(GrantCredits(account="team", amount=10_000))
        await told.ask(MONTH)
        outcomes = await asyncio.gather(*(told.outcome(reserve(f"a{n}")) for n in range(50)))
        assert sorted(outcomes) == ["budget_exceeded"] * 40 + ["ok"] * 10
        assert await told.used(month="2026-01") == (100, 0)
        first = outcomes.index("ok")
        await told.ask(ReleaseReservation(account="team", attempt_id=f"a{first}"))
        again = await asyncio.gather(*(told.outcome(reserve(f"b{n}")) for n in range(5)))
        assert sorted(again) == ["budget_exceeded"] * 4 + ["ok"]
        # What was refused has left nothing behind: neither a reservation nor a count.
        events = await told.events()
        assert (events.count("CreditsReserved"), events.count("SpendingCounted")) == (11, 12)

    asyncio.run(scenario())


def test_a_budget_of_a_project_holds_on_all_its_accounts_at_once() -> None:
    async def scenario() -> None:
        told = Told()
        for name in ("team", "guests"):
            await told.ask(GrantCredits(account=name, amount=10_000))
        await told.ask(MONTH)
        await told.ask(SetBudget(scope="account:guests", period="total", amount=30))
        outcomes = await asyncio.gather(*(
            told.outcome(reserve(f"a{n}", account="guests" if n % 2 else "team")) for n in range(40)
        ))
        assert outcomes.count("ok") == 10
        guests = outcomes[1::2].count("ok")
        assert guests <= 3
        assert await told.used("account:guests") == (guests * 10, 0)
        assert await told.used("account:team") == (100 - guests * 10, 0)

    asyncio.run(scenario())


def test_settling_below_gives_room_and_above_is_counted_although_it_is_over() -> None:
    async def scenario() -> None:
        told = Told()
        await told.ask(GrantCredits(account="team", amount=10_000))
        await told.ask(TEAM)
        await told.ask(reserve("a", 60))
        await told.ask(SettleReservation(account="team", attempt_id="a", actual=20))
        assert await told.used("account:team") == (0, 20)
        await told.ask(reserve("b", 80))
        receipt = await told.ask(SettleReservation(account="team", attempt_id="b", actual=100))
        (stands,) = receipt.told["budgets"]
        assert (stands["spent"], stands["left"], stands["over"], stands["warns"]) == (120, 0, 20, True)
        assert receipt.told["warnings"] == ["Account team has used 120 of 100 microcredits in all."]
        assert receipt.told["balance"] == 10_000 - 120, "what the account tells is told as before"
        assert await told.outcome(reserve("c", 1)) == "budget_exceeded"
        await told.ask(RefundCredits(account="team", attempt_id="b", amount=25))
        assert await told.outcome(reserve("c", 5)) == "ok"
        assert await told.outcome(reserve("d", 1)) == "budget_exceeded"

    asyncio.run(scenario())


def test_what_was_lacking_was_spent_and_is_not_counted_again_when_it_is_covered() -> None:
    async def scenario() -> None:
        told = Told()
        await told.ask(GrantCredits(account="team", amount=50))
        await told.ask(reserve("a", 50))
        await told.ask(SettleReservation(account="team", attempt_id="a", actual=70))
        assert await told.used() == (0, 70)
        await told.ask(GrantCredits(account="team", amount=50))
        await told.ask(CoverShortfall(account="team", attempt_id="a"))
        assert await told.used() == (0, 70)

    asyncio.run(scenario())


def test_a_month_begins_with_its_whole_budget_and_keeps_what_is_its_own() -> None:
    async def scenario() -> None:
        told = Told()
        await told.ask(GrantCredits(account="team", amount=10_000))
        await told.ask(MONTH)
        await told.ask(reserve("a", 100), "2026-01")
        assert await told.outcome(reserve("b", 1), "2026-01") == "budget_exceeded"
        assert await told.outcome(reserve("b", 100), "2026-02") == "ok"
        await told.ask(SettleReservation(account="team", attempt_id="a", actual=90), "2026-02")
        assert await told.used(month="2026-01") == (0, 90)
        assert await told.used(month="2026-02") == (100, 0)
        assert await told.used() == (100, 90)
        assert await told.outcome(reserve("c", 1), "2026-02") == "budget_exceeded", "January's rest is January's"

    asyncio.run(scenario())


def test_a_command_that_comes_again_counts_once_and_answers_the_same() -> None:
    async def scenario() -> None:
        told = Told()
        await told.ask(GrantCredits(account="team", amount=10_000))
        await told.ask(MONTH)
        first = await told.dispatcher.ask(reserve("a", 90), asked("same"))
        before = await told.events()
        for dispatcher in (told.dispatcher, Dispatcher(told.log, REGISTRY)):
            again = await dispatcher.ask(reserve("a", 90), asked("same"), keyed=True)
            assert (again.repeated, again.told, again.position) == (True, first.told, first.position)
        assert await told.outcome(reserve("a", 90)) == "ok", "and under another command id nothing follows"
        assert await told.events() == before
        assert first.told["warnings"] == ["The project has used 90 of 100 microcredits in 2026-01."]

    asyncio.run(scenario())


def test_a_dry_run_says_no_and_records_nothing() -> None:
    async def scenario() -> None:
        told = Told()
        await told.ask(GrantCredits(account="team", amount=10_000))
        await told.ask(MONTH)
        before = await told.events()
        receipt = await told.ask(reserve("a", 90), dry_run=True)
        assert receipt.told["budgets"][0]["held"] == 90
        assert [type(one).__name__ for one in receipt.would or ()] == ["CreditsReserved", "SpendingCounted"]
        with pytest.raises(Refused):
            await told.ask(reserve("a", 101), dry_run=True)
        assert await told.events() == before

    asyncio.run(scenario())


def test_an_expected_version_speaks_of_the_account_alone() -> None:
    async def scenario() -> None:
        told = Told()
        await told.ask(GrantCredits(account="team", amount=100))
        await told.ask(MONTH)
        await told.ask(TEAM)
        assert (await told.ask(reserve("a"), expected_version=1)).version == 2

    asyncio.run(scenario())


def test_a_budget_that_is_set_counts_what_was_spent_before_and_may_be_lower() -> None:
    async def scenario() -> None:
        told = Told()
        await told.ask(GrantCredits(account="team", amount=100))
        await told.ask(DeductCredits(account="team", attempt_id="a", amount=60))
        await told.ask(SetBudget(scope="account:team", period="month", amount=50))
        assert await told.outcome(reserve("b", 1)) == "budget_exceeded"
        await told.ask(SetBudget(scope="account:team", period="month", amount=61))
        assert await told.outcome(reserve("b", 1)) == "ok"
        await told.ask(RemoveBudget(scope="account:team", period="month"))
        assert await told.outcome(reserve("c", 39)) == "ok"

    asyncio.run(scenario())


def test_setting_a_budget_races_with_what_it_limits_and_both_sides_of_a_log_agree() -> None:
    async def scenario() -> None:
        log = MemoryLog()
        sides = [Dispatcher(log, REGISTRY) for _ in range(2)]
        await sides[0].ask(GrantCredits(account="team", amount=10_000), asked("grant"))

        async def one(number: int) -> str:
            try:
                await sides[number % 2].ask(reserve(f"a{number}"), asked(f"c{number}"))
            except ComfyVNError as error:
                return error.code
            return "ok"

        *outcomes, _ = await asyncio.gather(
            *(one(n) for n in range(60)), sides[1].ask(MONTH, asked("budget")),
        )
        purse = (await Dispatcher(log, REGISTRY).aggregates.load(Stream("demo", "-", "budget", "purse"))).state
        place = [one.type async for batch in log.read(after=0, upto=await log.head()) for one in batch]
        before = place[: place.index("BudgetSet")].count("CreditsReserved")
        assert set(outcomes) <= {"ok", "budget_exceeded"}
        assert outcomes.count("ok") == max(10, before)
        assert purse.sum_of("project", "2026-01").held == 10 * outcomes.count("ok")

    asyncio.run(scenario())


# --- whatever the order -----------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["team", "guests"])
ATTEMPTS = st.sampled_from([f"a{n}" for n in range(6)])
MONTHS = st.sampled_from(["2026-01", "2026-02"])
STEPS = st.lists(st.tuples(st.one_of(
    st.builds(ReserveCredits, account=NAMES, attempt_id=ATTEMPTS, amount=st.integers(1, 60)),
    st.builds(DeductCredits, account=NAMES, attempt_id=ATTEMPTS, amount=st.integers(1, 60)),
    st.builds(SettleReservation, account=NAMES, attempt_id=ATTEMPTS, actual=st.integers(0, 60)),
    st.builds(ReleaseReservation, account=NAMES, attempt_id=ATTEMPTS),
    st.builds(RefundCredits, account=NAMES, attempt_id=ATTEMPTS, amount=st.integers(1, 60)),
    st.builds(CoverShortfall, account=NAMES, attempt_id=ATTEMPTS),
    st.builds(GrantCredits, account=NAMES, amount=st.integers(1, 100)),
), MONTHS), max_size=30)


@settings(max_examples=60, deadline=None)
@drawn(STEPS, st.integers(0, 150), st.integers(0, 100))
def test_nothing_is_reserved_beyond_a_budget_and_the_sums_are_those_of_the_accounts(
    steps: Sequence[tuple[Any, str]], project: int, guests: int
) -> None:
    async def scenario() -> None:
        told = Told()
        for name in ("team", "guests"):
            await told.ask(GrantCredits(account=name, amount=100))
        await told.ask(SetBudget(scope="project", period="month", amount=project))
        await told.ask(SetBudget(scope="account:guests", period="total", amount=guests))
        for command, month in steps:
            before = await told.purse()
            if await told.outcome(command, month) != "ok" or not isinstance(command, ReserveCredits | DeductCredits):
                continue
            after = await told.purse()
            for scope, key, amount in (("project", month, project), ("account:guests", "total", guests)):
                if after.sum_of(scope, key).used > before.sum_of(scope, key).used:
                    assert after.sum_of(scope, key).used <= amount
        purse = await told.purse()
        everything = [0, 0]
        for name in ("team", "guests"):
            found = await told.dispatcher.aggregates.load(Stream("demo", "-", "ledger", name))
            attempts = [one for bucket in found.state.attempts.values() for one in bucket.values()]
            held = sum(one.held for one in attempts)
            spent = sum(one.taken + one.lacking - one.refunded for one in attempts)
            assert purse.sum_of(f"account:{name}", "total") == Sum(held=held, spent=spent)
            everything = [everything[0] + held, everything[1] + spent]
        assert purse.sum_of("project", "total") == Sum(held=everything[0], spent=everything[1])
        months = [purse.sum_of("project", month) for month in ("2026-01", "2026-02")]
        assert [sum(one.held for one in months), sum(one.spent for one in months)] == everything
        adapter = REGISTRY.states["budget"]
        assert adapter.validate_json(adapter.dump_json(purse)) == purse

    asyncio.run(scenario())


WHOLE = st.integers(0, 2**60)


@drawn(st.builds(
    SpendingCounted, account=NAMES, attempt_id=ATTEMPTS, month=MONTHS, held=WHOLE, spent=WHOLE,
    **dict.fromkeys(SUMS, st.builds(Sum, held=WHOLE, spent=WHOLE)),
))
def test_what_was_counted_crosses_the_wire(event: SpendingCounted) -> None:
    assert SpendingCounted.model_validate_json(REGISTRY.encode(event)) == event
    assert CONTEXT.evolve(CONTEXT.initial, event).sum_of("project", "total") == event.project_total


# --- as people see it -------------------------------------------------------------------------------------------------


def test_budgets_are_seen_with_what_is_left_of_them(tmp_path: Path) -> None:
    async def scenario() -> Sequence[Any]:
        told = Told()
        for name in ("team", "guests"):
            await told.ask(GrantCredits(account=name, amount=1000))
        await told.ask(MONTH)
        await told.ask(SetBudget(scope="account:team", period="total", amount=500, warn_percent=50))
        await told.ask(SetBudget(scope="account:team", period="month", amount=1))
        await told.ask(RemoveBudget(scope="account:team", period="month"))
        await told.ask(reserve("a", 40), "2026-01")
        await told.ask(SettleReservation(account="team", attempt_id="a", actual=30), "2026-02")
        await told.ask(reserve("b", 60, "guests"), "2026-01")
        await told.ask(DeductCredits(account="team", attempt_id="c", amount=90), "2026-02")
        return told.log.events

    events = asyncio.run(scenario())
    seen = Projected(tmp_path / "at once", ["budget"]) if (tmp_path / "at once").mkdir() is None else None
    assert seen is not None
    seen.count(events)
    with seen.models.reader() as reader:
        january = show_budgets(reader, ShowBudgets(project="demo", month="2026-01"))
        february = show_budgets(reader, ShowBudgets(project="demo", month="2026-02", scope="project"))
        figures = spend(reader, "demo", "2026-02")["spend"]
        nothing = show_budgets(reader, ShowBudgets(project="other", month="2026-02"))
    team, project = january["items"]
    assert (team["scope"], team["period"], team["spent"], team["left"], team["warns"]) == (
        "account:team", "total", 120, 380, False)
    assert (project["month"], project["held"], project["spent"], project["left"], project["warns"]) == (
        "2026-01", 60, 30, 10, True)
    assert january["used"] == {"month": {"held": 60, "spent": 30}, "total": {"held": 60, "spent": 120}}
    assert [(one["month"], one["spent"]) for one in february["items"]] == [("2026-02", 90)]
    assert figures["by_account"] == {"team": {"held": 0, "spent": 90}}
    assert [one["scope"] for one in figures["warnings"]] == ["project"]
    assert nothing["items"] == []
    assert nothing["used"]["total"] == {"held": 0, "spent": 0}
    listed = seen.pages("ListSpending", limit=2)
    assert [(one["scope"], one["month"]) for one in listed] == [
        (scope, month) for scope, months in (
            ("account:guests", ("2026-01", "total")), ("account:team", ("2026-01", "2026-02", "total")),
            ("project", ("2026-01", "2026-02", "total")),
        ) for month in months
    ]
    assert len(seen.pages("ListSpending", scope="account:team", month="total")) == 1
    by_one = Projected(tmp_path, ["budget"])
    by_one.count(events, batch=1)
    assert by_one.pages("ListSpending") == listed
