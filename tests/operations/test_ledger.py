"""The ledger: every command accepted, refused, repeated and raced; never negative, never twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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
from commands.envelope import Asked
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
from domain.operations.ledger import (
    AMOUNT_LIMIT,
    CONTEXT,
    Account,
    CreditsDeducted,
    CreditsGranted,
    CreditsRefunded,
    CreditsReserved,
    ReservationReleased,
    ReservationSettled,
    ShortfallCovered,
)
from domain.ports import Stream
from services.dispatcher import Dispatcher
from services.registry import REGISTRY


def stands(balance: int, reserved: int = 0, shortfall: int = 0) -> dict[str, Any]:
    return {"account": "team", "balance": balance, "reserved": reserved, "shortfall": shortfall}


GRANTED = CreditsGranted(**stands(100), grant_id="g1", amount=100, reason="")
RESERVED = CreditsReserved(**stands(100, 60), attempt_id="a1", amount=60, purpose="render", metadata={})
SETTLED = ReservationSettled(
    **stands(55), attempt_id="a1", actual=45, held=60, taken=45, returned=15, lacking=0,
)
RELEASED = ReservationReleased(**stands(100), attempt_id="a1", amount=60, reason="")
DEDUCTED = CreditsDeducted(**stands(70), attempt_id="d1", amount=30, purpose="", metadata={})
RESERVE = ReserveCredits(account="team", attempt_id="a1", amount=60, purpose="render")


def test_a_first_grant_opens_an_account() -> None:
    given().when(GrantCredits(account="team", amount=100, grant_id="g1")).then(GRANTED).and_again_nothing()


def test_a_grant_without_an_id_counts_once_per_command() -> None:
    command = GrantCredits(account="team", amount=5)
    given().when(command).and_again_nothing()
    first = CreditsGranted(**stands(5), grant_id=ASKED.new_id("grant"), amount=5, reason="")
    other = ASKED._replace(command_id="another")
    given(first).when(command, other).then(
        CreditsGranted(**stands(10), grant_id=other.new_id("grant"), amount=5, reason="")
    )


def test_a_grant_id_with_another_amount_is_refused() -> None:
    given(GRANTED).when(GrantCredits(account="team", amount=99, grant_id="g1")).then_refused("grant_used_otherwise")


def test_a_balance_has_a_limit() -> None:
    given(GRANTED).when(GrantCredits(account="team", amount=AMOUNT_LIMIT)).then_refused("amount_limit", Refused)


@pytest.mark.parametrize("amount", [0, -1, 1.5, "10", True, AMOUNT_LIMIT + 1])
def test_an_amount_is_a_whole_positive_number(amount: object) -> None:
    attempt = {"attempt_id": "a"}
    for command, said in ((GrantCredits, {}), (ReserveCredits, attempt), (DeductCredits, attempt)):
        with pytest.raises(ValidationError):
            command.model_validate({"account": "team", "amount": amount, **said})


def test_a_reservation_holds_what_is_available() -> None:
    given(GRANTED).when(RESERVE).then(RESERVED).and_again_nothing()


def test_more_than_is_available_is_refused_with_the_numbers() -> None:
    refused = given(GRANTED, RESERVED).when(
        ReserveCredits(account="team", attempt_id="a2", amount=41)
    ).then_refused("insufficient_credits", Refused)
    assert refused.detail == {
        "account": "team", "needed": 41, "available": 40, "balance": 100, "reserved": 60, "missing": 1,
        "unit": "microcredit",
    }


def test_the_same_attempt_with_other_facts_is_refused() -> None:
    for other in (
        ReserveCredits(account="team", attempt_id="a1", amount=59, purpose="render"),
        ReserveCredits(account="team", attempt_id="a1", amount=60, purpose="else"),
        ReserveCredits(account="team", attempt_id="a1", amount=60, purpose="render", metadata={"job": 1}),
        DeductCredits(account="team", attempt_id="a1", amount=60, purpose="render"),
    ):
        given(GRANTED, RESERVED).when(other).then_refused("attempt_used_otherwise", Refused)


def test_a_reservation_repeated_after_it_was_settled_takes_nothing_again() -> None:
    given(GRANTED, RESERVED, SETTLED).when(RESERVE).then_nothing()


def test_a_released_attempt_is_not_reserved_again() -> None:
    given(GRANTED, RESERVED, RELEASED).when(RESERVE).then_refused("attempt_closed", Refused)


def test_an_account_that_was_never_opened_is_unknown() -> None:
    for command in (
        RESERVE, DeductCredits(account="team", attempt_id="a1", amount=1),
        SettleReservation(account="team", attempt_id="a1", actual=1),
        ReleaseReservation(account="team", attempt_id="a1"),
        RefundCredits(account="team", attempt_id="a1", amount=1),
        CoverShortfall(account="team", attempt_id="a1"),
    ):
        given().when(command).then_refused("unknown_account", NotFound)


def test_an_attempt_that_was_never_made_is_unknown() -> None:
    for command in (
        SettleReservation(account="team", attempt_id="a9", actual=1),
        ReleaseReservation(account="team", attempt_id="a9"),
        RefundCredits(account="team", attempt_id="a9", amount=1),
        CoverShortfall(account="team", attempt_id="a9"),
    ):
        given(GRANTED).when(command).then_refused("unknown_attempt", NotFound)


def test_settling_below_the_reservation_returns_the_rest() -> None:
    command = SettleReservation(account="team", attempt_id="a1", actual=45)
    given(GRANTED, RESERVED).when(command).then(SETTLED).and_again_nothing()


def test_settling_at_nothing_returns_everything() -> None:
    given(GRANTED, RESERVED).when(SettleReservation(account="team", attempt_id="a1", actual=0)).then(
        ReservationSettled(**stands(100), attempt_id="a1", actual=0, held=60, taken=0, returned=60, lacking=0)
    )


def test_settling_above_the_reservation_takes_the_excess_from_what_is_available() -> None:
    given(GRANTED, RESERVED).when(SettleReservation(account="team", attempt_id="a1", actual=75)).then(
        ReservationSettled(**stands(25), attempt_id="a1", actual=75, held=60, taken=75, returned=0, lacking=0)
    )


OTHER = CreditsReserved(**stands(100, 90), attempt_id="a2", amount=30, purpose="", metadata={})
OVERSPENT = ReservationSettled(
    **stands(30, 30, 50), attempt_id="a1", actual=120, held=60, taken=70, returned=0, lacking=50,
)


def test_what_nothing_is_left_to_pay_for_is_a_shortfall_and_other_reservations_stay() -> None:
    command = SettleReservation(account="team", attempt_id="a1", actual=120)
    given(GRANTED, RESERVED, OTHER).when(command).then(OVERSPENT).and_again_nothing()


def test_a_shortfall_is_covered_as_far_as_the_balance_goes() -> None:
    cover = CoverShortfall(account="team", attempt_id="a1")
    given(GRANTED, RESERVED, OTHER, OVERSPENT).when(cover).then_refused("insufficient_credits", Refused)
    more = CreditsGranted(**stands(50, 30, 50), grant_id="g2", amount=20, reason="")
    part = ShortfallCovered(**stands(30, 30, 30), attempt_id="a1", amount=20, taken=90, lacking=30)
    given(GRANTED, RESERVED, OTHER, OVERSPENT, more).when(cover).then(part)
    rest = CreditsGranted(**stands(130, 30, 30), grant_id="g3", amount=100, reason="")
    given(GRANTED, RESERVED, OTHER, OVERSPENT, more, part, rest).when(cover).then(
        ShortfallCovered(**stands(100, 30, 0), attempt_id="a1", amount=30, taken=120, lacking=0)
    ).and_again_nothing()
    given(GRANTED, RESERVED, SETTLED).when(cover).then_nothing()


def test_an_attempt_is_settled_at_one_cost() -> None:
    command = SettleReservation(account="team", attempt_id="a1", actual=46)
    given(GRANTED, RESERVED, SETTLED).when(command).then_refused("attempt_closed", Refused)


def test_work_that_was_paid_after_its_reservation_was_released_is_not_lost() -> None:
    command = SettleReservation(account="team", attempt_id="a1", actual=45)
    given(GRANTED, RESERVED, RELEASED).when(command).then(
        ReservationSettled(**stands(55), attempt_id="a1", actual=45, held=0, taken=45, returned=0, lacking=0)
    ).and_again_nothing()


def test_a_reservation_is_released_once() -> None:
    command = ReleaseReservation(account="team", attempt_id="a1")
    given(GRANTED, RESERVED).when(command).then(RELEASED).and_again_nothing()
    given(GRANTED, RESERVED, SETTLED).when(command).then_refused("attempt_closed", Refused)


def test_a_deduction_takes_at_once_and_once() -> None:
    command = DeductCredits(account="team", attempt_id="d1", amount=30)
    given(GRANTED).when(command).then(DEDUCTED).and_again_nothing()
    given(GRANTED).when(DeductCredits(account="team", attempt_id="d1", amount=101)).then_refused("insufficient_credits")
    given(GRANTED, DEDUCTED).when(DeductCredits(account="team", attempt_id="d1", amount=31)).then_refused(
        "attempt_used_otherwise"
    )
    for command in (SettleReservation(account="team", attempt_id="d1", actual=1),
                    ReleaseReservation(account="team", attempt_id="d1")):
        given(GRANTED, DEDUCTED).when(command).then_refused("nothing_reserved", Refused)


def test_a_refund_gives_back_what_was_taken_and_no_more() -> None:
    command = RefundCredits(account="team", attempt_id="d1", amount=20, refund_id="r1", reason="blurred")
    refunded = CreditsRefunded(
        **stands(90), attempt_id="d1", refund_id="r1", amount=20, refunded=20, reason="blurred",
    )
    given(GRANTED, DEDUCTED).when(command).then(refunded).and_again_nothing()
    refused = given(GRANTED, DEDUCTED, refunded).when(
        RefundCredits(account="team", attempt_id="d1", amount=11, refund_id="r2")
    ).then_refused("refund_exceeds_taken", Refused)
    assert refused.detail["refundable"] == 10
    given(GRANTED, DEDUCTED, refunded).when(
        RefundCredits(account="team", attempt_id="d1", amount=5, refund_id="r1", reason="blurred")
    ).then_refused("refund_used_otherwise", Refused)
    given(GRANTED, RESERVED).when(
        RefundCredits(account="team", attempt_id="a1", amount=1)
    ).then_refused("refund_exceeds_taken", Refused)


def test_free_words_about_an_entry_are_bounded() -> None:
    with pytest.raises(ValidationError):
        ReserveCredits(account="team", attempt_id="a", amount=1, metadata={"x": "y" * 9000})
    deep: Any = 1
    for _ in range(20):
        deep = [deep]
    with pytest.raises(ValidationError):
        ReserveCredits(account="team", attempt_id="a", amount=1, metadata={"x": deep})


def test_an_account_crosses_a_snapshot_unchanged() -> None:
    state = CONTEXT.initial
    for event in (GRANTED, RESERVED, OTHER, OVERSPENT):
        state = CONTEXT.evolve(state, event)
    adapter = REGISTRY.states["ledger"]
    assert adapter.validate_json(adapter.dump_json(state)) == state


def test_an_account_with_many_attempts_behind_it_stays_quick_to_change_and_small() -> None:
    state = CONTEXT.evolve(CONTEXT.initial, CreditsGranted(**stands(10**9), grant_id="g", amount=10**9, reason=""))
    left = 10**9
    for number in range(5000):
        left -= 3
        state = CONTEXT.evolve(state, CreditsDeducted(
            **stands(left), attempt_id=f"attempt-{number}", amount=3, purpose="p" * 400, metadata={"k": "v" * 4000},
        ))
    assert isinstance(state, Account)
    written = REGISTRY.states["ledger"].dump_json(state)
    assert len(written) < 5000 * 100, "what was said about an attempt must not stay in the state"
    copied = len(state.attempts) + max(map(len, state.attempts.values()))
    assert copied < 1000, "an entry copies one bucket, not the memory"
    assert state.attempt("attempt-7") is not None


# --- whatever is asked, in whatever order ------------------------------------------------------------------------

IDS = st.sampled_from(["a", "b", "c"])
AMOUNTS = st.integers(1, 60)
ASKS = st.one_of(
    st.builds(GrantCredits, account=st.just("team"), amount=AMOUNTS, grant_id=st.none() | IDS),
    st.builds(ReserveCredits, account=st.just("team"), attempt_id=IDS, amount=AMOUNTS),
    st.builds(SettleReservation, account=st.just("team"), attempt_id=IDS, actual=st.integers(0, 120)),
    st.builds(ReleaseReservation, account=st.just("team"), attempt_id=IDS),
    st.builds(DeductCredits, account=st.just("team"), attempt_id=IDS, amount=AMOUNTS),
    st.builds(RefundCredits, account=st.just("team"), attempt_id=IDS, amount=AMOUNTS, refund_id=st.none() | IDS),
    st.builds(CoverShortfall, account=st.just("team"), attempt_id=IDS),
)


@settings(max_examples=300, deadline=None)
@drawn(st.lists(st.tuples(ASKS, st.booleans()), max_size=40))
def test_whatever_is_asked_an_account_is_never_negative_and_nothing_counts_twice(
    asks: Sequence[tuple[Any, bool]],
) -> None:
    state = CONTEXT.initial
    taken: dict[str, int] = {}
    spent: dict[str, int] = {}
    held: dict[str, int] = {}
    granted = covered_or_lacking = unhelpful = 0
    for number, (command, again) in enumerate(asks):
        asking = REGISTRY.askings[type(command).__name__]
        for _ in range(2 if again else 1):
            asked = ASKED._replace(command_id=f"c{number}")
            try:
                events = asking.decide(command, state, asked)
            except ComfyVNError as error:
                unhelpful += not error.remediation
                continue
            for event in events:
                state = CONTEXT.evolve(state, event)
                match event:
                    case CreditsGranted():
                        granted += event.amount
                    case CreditsReserved():
                        assert event.attempt_id not in held, "an attempt was reserved twice"
                        held[event.attempt_id] = event.amount
                    case ReservationReleased():
                        held[event.attempt_id] = 0
                    case ReservationSettled():
                        assert event.attempt_id not in spent, "an attempt was paid twice"
                        spent[event.attempt_id] = event.actual
                        held[event.attempt_id] = 0
                        taken[event.attempt_id] = event.taken
                        assert event.taken + event.lacking == event.actual
                        assert event.held == event.returned + min(event.held, event.taken)
                        covered_or_lacking += event.lacking
                    case CreditsDeducted():
                        assert event.attempt_id not in spent, "an attempt was paid twice"
                        spent[event.attempt_id] = taken[event.attempt_id] = event.amount
                        held[event.attempt_id] = 0
                    case CreditsRefunded():
                        taken[event.attempt_id] -= event.amount
                        assert taken[event.attempt_id] >= 0, "more came back than was taken"
                    case ShortfallCovered():
                        taken[event.attempt_id] += event.amount
                        covered_or_lacking -= event.amount
            if isinstance(state, Account):
                assert state.balance == granted - sum(taken.values()) >= 0
                assert state.reserved == sum(held.values())
                assert state.available >= 0
                assert state.shortfall == covered_or_lacking >= 0
    assert unhelpful == 0, "a refusal does not say what to do next"


# --- raced -------------------------------------------------------------------------------------------------------

STREAM = Stream("demo", "-", "ledger", "team")


def asked(command_id: str) -> Asked:
    return Asked(command_id, "author", "2026-01-02T03:04:05Z", "demo", request=command_id)


async def outcome(dispatcher: Dispatcher, command: Any, command_id: str) -> str:
    try:
        await dispatcher.ask(command, asked(command_id))
    except Refused as error:
        return error.code
    return "ok"


def test_two_hundred_reservations_at_once_never_overdraw() -> None:
    async def scenario() -> None:
        log = MemoryLog()
        sides = [Dispatcher(log, REGISTRY), Dispatcher(log, REGISTRY)]
        await sides[0].ask(GrantCredits(account="team", amount=100), asked("grant"))
        outcomes = await asyncio.gather(*(
            outcome(sides[number % 2], ReserveCredits(account="team", attempt_id=f"a{number}", amount=1), f"c{number}")
            for number in range(200)
        ))
        assert sorted(outcomes) == ["insufficient_credits"] * 100 + ["ok"] * 100
        third = await Dispatcher(log, REGISTRY).aggregates.load(STREAM)
        assert (third.state.balance, third.state.reserved, third.state.available) == (100, 100, 0)
        assert [one.stream for one in log.events].count(STREAM) == 101

    asyncio.run(scenario())


def test_one_attempt_asked_fifty_times_at_once_in_two_processes_counts_once() -> None:
    async def scenario() -> None:
        log = MemoryLog()
        sides = [Dispatcher(log, REGISTRY), Dispatcher(log, REGISTRY)]
        await sides[0].ask(GrantCredits(account="team", amount=1000), asked("grant"))
        command = DeductCredits(account="team", attempt_id="only", amount=7)
        outcomes = await asyncio.gather(*(outcome(sides[n % 2], command, f"c{n}") for n in range(50)))
        assert outcomes == ["ok"] * 50
        assert [one.type for one in log.events] == ["CreditsGranted", "CreditsDeducted", "SpendingCounted"]

    asyncio.run(scenario())


# --- seen --------------------------------------------------------------------------------------------------------


def test_a_balance_explains_itself_by_its_entries(tmp_path: Path) -> None:
    log = MemoryLog()

    async def scenario() -> None:
        dispatcher = Dispatcher(log, REGISTRY)
        for number, command in enumerate([
            GrantCredits(account="team", amount=100, reason="start"),
            ReserveCredits(account="team", attempt_id="a1", amount=60, purpose="render"),
            ReserveCredits(account="team", attempt_id="a2", amount=30),
            SettleReservation(account="team", attempt_id="a1", actual=120),
            ReleaseReservation(account="team", attempt_id="a2"),
            CoverShortfall(account="team", attempt_id="a1"),
            GrantCredits(account="team", amount=40),
            DeductCredits(account="team", attempt_id="a3", amount=5),
            RefundCredits(account="team", attempt_id="a3", amount=2),
            ReserveCredits(account="team", attempt_id="a4", amount=10, purpose="speak", metadata={"job": "j1"}),
            GrantCredits(account="other", amount=1),
        ]):
            receipt = await dispatcher.ask(command, asked(f"c{number}"))
        assert receipt.told == {"balance": 1, "reserved": 0, "available": 1, "shortfall": 0, "unit": "microcredit"}

    asyncio.run(scenario())
    seen = Projected(tmp_path, ["ledger"])
    seen.count(log.events, batch=3)
    account = seen.see("ShowAccount", account="team")
    assert (account["balance"], account["reserved"], account["available"], account["shortfall"]) == (37, 10, 27, 20)
    assert account["explained"] is True
    assert account["entry_count"] == 10
    (open_,) = account["open_reservations"]
    assert open_ | {"attempt_id": "a4", "held": 10, "purpose": "speak", "metadata": {"job": "j1"}} == open_
    entries = seen.pages("ListEntries", account="team", limit=3)
    assert sum(one["amount"] for one in entries) == account["balance"]
    assert sum(one["held"] for one in entries) == account["reserved"]
    assert sum(one["owed"] for one in entries) == account["shortfall"]
    assert [one["position"] for one in entries] == sorted((one["position"] for one in entries), reverse=True)
    running = 0
    for one in reversed(entries):
        running += one["amount"]
        assert one["balance"] == running
    assert [one["kind"] for one in seen.pages("ListEntries", account="team", attempt_id="a1")] == [
        "covered", "settled", "reserved",
    ]
    assert [one["kind"] for one in seen.pages("ListEntries", account="team", kind="granted", as_of=3)] == ["granted"]
    attempts = {one["attempt_id"]: one for one in seen.pages("ListAttempts", account="team", limit=1)}
    assert attempts["a1"] | {"taken": 100, "lacking": 20, "status": "settled", "actual": 120} == attempts["a1"]
    assert attempts["a3"] | {"taken": 5, "refunded": 2, "status": "deducted"} == attempts["a3"]
    assert [one["account"] for one in seen.pages("ListAccounts", limit=1)] == ["other", "team"]
    assert account["opened_at"] == "2026-01-02T03:04:05Z"
    with pytest.raises(NotFound):
        seen.see("ShowAccount", account="nobody")


def test_a_balance_that_its_entries_do_not_explain_says_so(tmp_path: Path) -> None:
    log = MemoryLog()

    async def scenario() -> None:
        dispatcher = Dispatcher(log, REGISTRY)
        await dispatcher.ask(GrantCredits(account="team", amount=100), asked("c1"))
        await dispatcher.ask(DeductCredits(account="team", attempt_id="a", amount=10), asked("c2"))

    asyncio.run(scenario())
    forged = log.events[1]._replace(data=log.events[1].data.replace(b'"balance":90', b'"balance":95'))
    seen = Projected(tmp_path, ["ledger"])
    seen.count([log.events[0], forged])
    assert seen.see("ShowAccount", account="team")["explained"] is False


def test_on_a_real_log_two_hundred_reservations_from_two_connections_never_overdraw(nats_server: Any) -> None:
    async def scenario() -> None:
        logs = [await nats_server.connect(), await nats_server.connect()]
        try:
            sides = [Dispatcher(log, REGISTRY) for log in logs]
            await sides[0].ask(GrantCredits(account="team", amount=100), asked("grant"))
            outcomes = await asyncio.gather(*(
                outcome(sides[n % 2], ReserveCredits(account="team", attempt_id=f"a{n}", amount=1), f"c{n}")
                for n in range(200)
            ))
            assert sorted(outcomes) == ["insufficient_credits"] * 100 + ["ok"] * 100
            found = await Dispatcher(logs[0], REGISTRY).aggregates.load(STREAM)
            assert (found.state.balance, found.state.reserved, found.version) == (100, 100, 101)
            for side in sides:
                await side.close()
        finally:
            for log in logs:
                await log.close()

    asyncio.run(scenario())
