"""Asking an account: grant, reserve, settle, release, deduct, refund. An attempt id is used once, whatever runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from commands.declaration import Asking, Command, nothing_along
from commands.envelope import Asked
from commands.operations.budget import CountSpending
from commands.operations.ledger_refusals import (
    conflicting,
    insufficient,
    nothing_held,
    over_limit,
    unknown_account,
    unknown_attempt,
    used_otherwise,
)
from domain.errors import Refused, Remedy
from domain.ids import Token
from domain.operations.ledger import (
    AMOUNT_LIMIT,
    UNIT,
    Account,
    Amount,
    CreditsDeducted,
    CreditsGranted,
    CreditsRefunded,
    CreditsReserved,
    LedgerEvent,
    Metadata,
    Purpose,
    ReservationReleased,
    ReservationSettled,
    ShortfallCovered,
    Total,
    Unopened,
    facts,
    grant_key,
    refund_key,
)
from domain.operations.ledger_memory import Attempt
from domain.values import Json


class GrantCredits(Command):
    """Give an account credits (in microcredits); the first grant opens it. The same ``grant_id`` counts once."""

    account: Token
    amount: Amount
    grant_id: Token | None = None
    reason: Purpose = ""


class ReserveCredits(Command):
    """Hold credits for one attempt at paid work, at the most that it may cost."""

    account: Token
    attempt_id: Token
    amount: Amount
    purpose: Purpose = ""
    metadata: Metadata = {}


class SettleReservation(Command):
    """Say what an attempt really cost: the rest of its reservation is released, more is taken from what is available.

    What nothing is left to pay for is kept as the account's shortfall. Work that was paid although its reservation had
    been released is settled in the same way.
    """

    account: Token
    attempt_id: Token
    actual: Total


class ReleaseReservation(Command):
    """Give back what was held for an attempt that cost nothing."""

    account: Token
    attempt_id: Token
    reason: Purpose = ""


class DeductCredits(Command):
    """Pay for an attempt at once, without a reservation."""

    account: Token
    attempt_id: Token
    amount: Amount
    purpose: Purpose = ""
    metadata: Metadata = {}


class RefundCredits(Command):
    """Give back part of what an attempt has taken, never more than that. The same ``refund_id`` counts once."""

    account: Token
    attempt_id: Token
    amount: Amount
    refund_id: Token | None = None
    reason: Purpose = ""


class CoverShortfall(Command):
    """Pay what an attempt lacked, as far as the available balance goes."""

    account: Token
    attempt_id: Token


def grant(command: GrantCredits, state: Unopened | Account, asked: Asked) -> list[LedgerEvent]:
    """Nothing when that grant was entered already."""
    account = state if isinstance(state, Account) else Account(balance=0, reserved=0, shortfall=0)
    grant_id = command.grant_id or asked.new_id("grant")
    digest = account.entry(grant_key(grant_id))
    if digest is not None:
        if digest != facts(command.amount, command.reason):
            raise used_otherwise("grant", grant_id)
        return []
    if account.balance + command.amount > AMOUNT_LIMIT:
        raise over_limit("balance")
    return [CreditsGranted(
        **_after(command.account, account, balance=command.amount),
        grant_id=grant_id, amount=command.amount, reason=command.reason,
    )]


def reserve(command: ReserveCredits, state: Unopened | Account, asked: Asked) -> list[LedgerEvent]:
    """Nothing when the attempt was reserved with the same facts, also when it has been settled since."""
    account = _opened(state, command.account)
    known = account.attempt(command.attempt_id)
    if known is not None:
        if known.kind == "deducted" or known.facts != facts(command.amount, command.purpose, command.metadata):
            raise used_otherwise("attempt", command.attempt_id)
        if known.kind == "released":
            raise conflicting(command.attempt_id, "was released; nothing is held for it any more", "new_attempt",
                              "Reserve again under a new attempt id.")
        return []
    if command.amount > account.available:
        raise insufficient(command.account, account, command.amount)
    return [CreditsReserved(
        **_after(command.account, account, reserved=command.amount),
        attempt_id=command.attempt_id, amount=command.amount, purpose=command.purpose, metadata=command.metadata,
    )]


def settle(command: SettleReservation, state: Unopened | Account, asked: Asked) -> list[LedgerEvent]:
    """Takes what the attempt cost: from its reservation first, then from what is available; the rest is lacking."""
    account, known = _attempted(state, command.account, command.attempt_id)
    if known.kind == "deducted":
        raise nothing_held(command.attempt_id)
    if known.kind == "settled":
        if known.actual == command.actual:
            return []
        raise conflicting(command.attempt_id, f"was settled at {known.actual} {UNIT}s already", "refund_credits",
                          "Refund the difference, or deduct it under a new attempt id.")
    taken = min(command.actual, known.held + account.available)
    lacking = command.actual - taken
    if account.shortfall + lacking > AMOUNT_LIMIT:
        raise over_limit("shortfall")
    return [ReservationSettled(
        **_after(command.account, account, balance=-taken, reserved=-known.held, shortfall=lacking),
        attempt_id=command.attempt_id, actual=command.actual, held=known.held, taken=taken,
        returned=max(0, known.held - taken), lacking=lacking,
    )]


def release(command: ReleaseReservation, state: Unopened | Account, asked: Asked) -> list[LedgerEvent]:
    """Nothing when it was released already."""
    account, known = _attempted(state, command.account, command.attempt_id)
    match known.kind:
        case "released":
            return []
        case "settled":
            raise conflicting(command.attempt_id, "was settled already", "refund_credits",
                              "Refund what it has taken instead.")
        case "deducted":
            raise nothing_held(command.attempt_id)
        case "reserved":
            return [ReservationReleased(
                **_after(command.account, account, reserved=-known.held),
                attempt_id=command.attempt_id, amount=known.held, reason=command.reason,
            )]


def deduct(command: DeductCredits, state: Unopened | Account, asked: Asked) -> list[LedgerEvent]:
    """Nothing when the attempt was deducted with the same facts."""
    account = _opened(state, command.account)
    known = account.attempt(command.attempt_id)
    if known is not None:
        if known.kind != "deducted" or known.facts != facts(command.amount, command.purpose, command.metadata):
            raise used_otherwise("attempt", command.attempt_id)
        return []
    if command.amount > account.available:
        raise insufficient(command.account, account, command.amount)
    return [CreditsDeducted(
        **_after(command.account, account, balance=-command.amount),
        attempt_id=command.attempt_id, amount=command.amount, purpose=command.purpose, metadata=command.metadata,
    )]


def refund(command: RefundCredits, state: Unopened | Account, asked: Asked) -> list[LedgerEvent]:
    """Nothing when that refund was entered already; never more than the attempt has taken."""
    account, known = _attempted(state, command.account, command.attempt_id)
    refund_id = command.refund_id or asked.new_id("refund")
    digest = account.entry(refund_key(refund_id))
    if digest is not None:
        if digest != facts(command.attempt_id, command.amount, command.reason):
            raise used_otherwise("refund", refund_id)
        return []
    refundable = known.taken - known.refunded
    if command.amount > refundable:
        raise Refused(
            f"Attempt {command.attempt_id} has {refundable} {UNIT}s left that could be refunded, not {command.amount}.",
            error="refund_exceeds_taken",
            remediation=[
                Remedy("Settle or release the reservation first.", "settle_reservation") if known.held
                else Remedy(f"Refund at most {refundable} {UNIT}s.", "refund_less")
            ],
            detail={"attempt_id": command.attempt_id, "taken": known.taken, "refunded": known.refunded,
                    "refundable": refundable, "asked": command.amount, "unit": UNIT},
        )
    if account.balance + command.amount > AMOUNT_LIMIT:
        raise over_limit("balance")
    return [CreditsRefunded(
        **_after(command.account, account, balance=command.amount),
        attempt_id=command.attempt_id, refund_id=refund_id, amount=command.amount,
        refunded=known.refunded + command.amount, reason=command.reason,
    )]


def cover(command: CoverShortfall, state: Unopened | Account, asked: Asked) -> list[LedgerEvent]:
    """Nothing when the attempt lacks nothing."""
    account, known = _attempted(state, command.account, command.attempt_id)
    if not known.lacking:
        return []
    amount = min(known.lacking, account.available)
    if not amount:
        raise insufficient(command.account, account, known.lacking)
    return [ShortfallCovered(
        **_after(command.account, account, balance=-amount, shortfall=-amount),
        attempt_id=command.attempt_id, amount=amount, taken=known.taken + amount, lacking=known.lacking - amount,
    )]


def _opened(state: Unopened | Account, account_id: str) -> Account:
    if isinstance(state, Unopened):
        raise unknown_account(account_id)
    return state


def _attempted(state: Unopened | Account, account_id: str, attempt_id: str) -> tuple[Account, Attempt]:
    account = _opened(state, account_id)
    known = account.attempt(attempt_id)
    if known is None:
        raise unknown_attempt(account_id, attempt_id)
    return account, known


def _after(account_id: str, account: Account, **changes: int) -> dict[str, Any]:
    totals = ("balance", "reserved", "shortfall")
    return {"account": account_id} | {name: getattr(account, name) + changes.get(name, 0) for name in totals}


def told(events: Sequence[LedgerEvent]) -> Mapping[str, Json]:
    """How the account stands after the command, so that nobody needs to ask for it."""
    if not events:
        return {}
    last = events[-1]
    return {
        "balance": last.balance, "reserved": last.reserved, "available": last.balance - last.reserved,
        "shortfall": last.shortfall, "unit": UNIT,
    }


def _binding(command: Any) -> Sequence[Command]:
    """New work may not go beyond a budget."""
    return (CountSpending(account=command.account, attempt_id=command.attempt_id, binding=True),)


def _counting(command: Any) -> Sequence[Command]:
    """What became of work is counted as it is: it has happened, whatever the budget says."""
    return (CountSpending(account=command.account, attempt_id=command.attempt_id),)


def _asking(command: type[Command], decide: Any, verb: str, along: Any = nothing_along) -> Asking:
    return Asking(
        command, decide, id_field="account", scope="ledger:write", route=f"POST /api/credits/{{account}}/{verb}",
        told=told, along=along,
    )


COMMANDS = (
    _asking(GrantCredits, grant, "grant"),
    _asking(ReserveCredits, reserve, "reserve", _binding),
    _asking(SettleReservation, settle, "settle", _counting),
    _asking(ReleaseReservation, release, "release", _counting),
    _asking(DeductCredits, deduct, "deduct", _binding),
    _asking(RefundCredits, refund, "refund", _counting),
    _asking(CoverShortfall, cover, "cover"),
)
