"""Ledger: what an account may spend, what is held for paid work, and what that work really cost.

Amounts are whole microcredits (a million of them is one credit), so that nothing is ever rounded. A balance is never
negative. An attempt is one piece of paid work; its id is used once in the life of an account. What work cost beyond
everything that was available is kept as the account's shortfall: the fact that it was spent is never lost.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, assert_never

from pydantic import AfterValidator, Field, JsonValue

from domain.bounded_json import check_json
from domain.context import Context, Fields
from domain.ids import Token, derived_id
from domain.operations.ledger_memory import Attempt, Buckets, remembered, with_one
from domain.values import Event, Value

CATEGORY = "ledger"

UNIT: Final = "microcredit"
"""What an amount of 1 is: a millionth of a credit."""

AMOUNT_LIMIT: Final = 2**53 - 1
"""Largest amount, balance or shortfall in microcredits: the largest whole number that every JSON reader keeps exact."""

METADATA_LIMIT: Final = 8 * 1024
"""Largest free description of an entry, in bytes of compact JSON."""


def _small(value: dict[str, Any]) -> dict[str, Any]:
    check_json(value, depth=8, size=METADATA_LIMIT)
    return value


Amount = Annotated[int, Field(strict=True, ge=1, le=AMOUNT_LIMIT)]
Total = Annotated[int, Field(strict=True, ge=0, le=AMOUNT_LIMIT)]
Purpose = Annotated[str, Field(max_length=500)]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(_small)]


class Entry(Event):
    """What every entry of an account says: how the account stands after it. ``shortfall`` is what is still owed."""

    account: Token
    balance: Total
    reserved: Total
    shortfall: Total


class CreditsGranted(Entry):
    """An account was given credits; its first grant opened it."""

    grant_id: Token
    amount: Amount
    reason: Purpose


class CreditsReserved(Entry):
    """Part of what was available is held for one attempt at paid work."""

    attempt_id: Token
    amount: Amount
    purpose: Purpose
    metadata: Metadata


class ReservationSettled(Entry):
    """The real cost of an attempt became known.

    ``held`` was reserved for it (0 when that had been released before), ``taken`` left the balance, ``returned`` is the
    part of ``held`` that was not needed, ``lacking`` the part of ``actual`` that nothing was left to pay with.
    """

    attempt_id: Token
    actual: Total
    held: Total
    taken: Total
    returned: Total
    lacking: Total


class ReservationReleased(Entry):
    """What was held for an attempt is available again."""

    attempt_id: Token
    amount: Amount
    reason: Purpose


class CreditsDeducted(Entry):
    """An attempt was paid at once, without a reservation."""

    attempt_id: Token
    amount: Amount
    purpose: Purpose
    metadata: Metadata


class CreditsRefunded(Entry):
    """Part of what an attempt had taken came back. ``refunded`` is what came back of that attempt so far."""

    attempt_id: Token
    refund_id: Token
    amount: Amount
    refunded: Amount
    reason: Purpose


class ShortfallCovered(Entry):
    """What an attempt lacked was taken after all; ``taken`` and ``lacking`` are those of the attempt after it."""

    attempt_id: Token
    amount: Amount
    taken: Total
    lacking: Total


LedgerEvent = (
    CreditsGranted | CreditsReserved | ReservationSettled | ReservationReleased | CreditsDeducted | CreditsRefunded
    | ShortfallCovered
)


class Unopened(Value):
    """No account of that name has been given anything yet."""

    kind: Literal["unopened"] = "unopened"


class Account(Value):
    """An account. ``attempts`` and ``entries`` remember for ever, compactly, what has been done once."""

    kind: Literal["account"] = "account"
    balance: int
    reserved: int
    shortfall: int
    attempts: Buckets[Attempt] = {}
    entries: Buckets[str] = {}

    @property
    def available(self) -> int:
        """What can be reserved or taken now."""
        return self.balance - self.reserved

    def attempt(self, attempt_id: str) -> Attempt | None:
        return remembered(self.attempts, attempt_id)

    def entry(self, entry_id: str) -> str | None:
        """Digest of the facts under which a grant or a refund of that id was entered."""
        return remembered(self.entries, entry_id)


LedgerState = Annotated[Unopened | Account, Field(discriminator="kind")]


def evolve(state: Unopened | Account, event: LedgerEvent) -> Unopened | Account:
    """What an entry makes of an account."""
    account = state if isinstance(state, Account) else Account(balance=0, reserved=0, shortfall=0)
    attempts, entries = account.attempts, account.entries
    match event:
        case CreditsGranted():
            entries = with_one(entries, grant_key(event.grant_id), facts(event.amount, event.reason))
        case CreditsReserved():
            digest = facts(event.amount, event.purpose, event.metadata)
            attempts = with_one(attempts, event.attempt_id, Attempt("reserved", digest, held=event.amount))
        case CreditsDeducted():
            digest = facts(event.amount, event.purpose, event.metadata)
            attempts = with_one(attempts, event.attempt_id, Attempt("deducted", digest, taken=event.amount))
        case ReservationSettled():
            attempts = _changed(
                account, event.attempt_id, kind="settled", held=0, actual=event.actual, taken=event.taken,
                lacking=event.lacking,
            )
        case ReservationReleased():
            attempts = _changed(account, event.attempt_id, kind="released", held=0)
        case CreditsRefunded():
            digest = facts(event.attempt_id, event.amount, event.reason)
            entries = with_one(entries, refund_key(event.refund_id), digest)
            attempts = _changed(account, event.attempt_id, refunded=event.refunded)
        case ShortfallCovered():
            attempts = _changed(account, event.attempt_id, taken=event.taken, lacking=event.lacking)
        case _:
            assert_never(event)
    return account.model_copy(update={
        "balance": event.balance, "reserved": event.reserved, "shortfall": event.shortfall,
        "attempts": attempts, "entries": entries,
    })


def _changed(account: Account, attempt_id: str, **values: Any) -> Buckets[Attempt]:
    known = account.attempt(attempt_id)
    assert known is not None, "an attempt is reserved or deducted first"
    return with_one(account.attempts, attempt_id, known._replace(**values))


def facts(*said: Any) -> str:
    """Digest of what was said about an attempt or an entry: the same id with other facts is another matter."""
    return derived_id(json.dumps(said, sort_keys=True, separators=(",", ":")), length=16)


def grant_key(grant_id: str) -> str:
    return f"grant {grant_id}"


def refund_key(refund_id: str) -> str:
    return f"refund {refund_id}"


def fields(event: LedgerEvent) -> Fields:
    """How the account stands after the entry; only what that kind of entry can change."""
    match event:
        case CreditsGranted() | CreditsDeducted() | CreditsRefunded():
            return {"balance": event.balance}
        case CreditsReserved() | ReservationReleased():
            return {"reserved": event.reserved}
        case ReservationSettled():
            return {"balance": event.balance, "reserved": event.reserved, "shortfall": event.shortfall}
        case ShortfallCovered():
            return {"balance": event.balance, "shortfall": event.shortfall}
        case _:
            assert_never(event)


CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(
        CreditsGranted, CreditsReserved, ReservationSettled, ReservationReleased, CreditsDeducted, CreditsRefunded,
        ShortfallCovered,
    ),
    state=LedgerState,
    initial=Unopened(),
    evolve=evolve,
    fields=fields,
)
