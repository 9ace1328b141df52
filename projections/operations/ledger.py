"""The accounts of a project as people see them: what is there, what is held, and the entries that explain it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from domain.errors import NotFound, Remedy
from domain.ids import Token
from domain.operations.ledger import (
    CATEGORY,
    UNIT,
    CreditsDeducted,
    CreditsGranted,
    CreditsRefunded,
    CreditsReserved,
    LedgerEvent,
    ReservationReleased,
    ReservationSettled,
    ShortfallCovered,
)
from domain.tables import Add, Change, Patch, Put, Reader, Row, Table, Where
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, Query, View, page

ACCOUNTS = Table(
    name="accounts",
    columns={
        "project": "text", "account": "text", "balance": "int", "reserved": "int", "shortfall": "int",
        "entries": "int", "balance_of_entries": "int", "reserved_of_entries": "int", "shortfall_of_entries": "int",
        "version": "int", "position": "int", "updated_at": "text", "opened_position": "int", "opened_at": "text",
    },
    key=("project", "account"),
)

ENTRIES = Table(
    name="ledger_entries",
    columns={
        "project": "text", "account": "text", "position": "int", "kind": "text", "attempt_id": "text",
        "entry_id": "text", "amount": "int", "held": "int", "owed": "int", "actual": "int", "balance": "int",
        "reserved": "int", "shortfall": "int", "reason": "text", "metadata": "json", "time": "text", "actor": "text",
        "version": "int",
    },
    key=("project", "account", "position"),
    indexes=(("project", "account", "kind", "position"), ("project", "account", "attempt_id", "position")),
    nullable=frozenset({"attempt_id", "entry_id", "actual"}),
)

ATTEMPTS = Table(
    name="ledger_attempts",
    columns={
        "project": "text", "account": "text", "attempt_id": "text", "status": "text", "held": "int", "taken": "int",
        "lacking": "int", "refunded": "int", "actual": "int", "purpose": "text", "metadata": "json",
        "opened_position": "int", "opened_at": "text", "position": "int", "updated_at": "text",
    },
    key=("project", "account", "attempt_id"),
    indexes=(("project", "account", "status", "opened_position"), ("project", "account", "opened_position")),
    nullable=frozenset({"actual"}),
)


def apply(happened: Happened) -> Iterable[Change]:
    """An entry, what it makes of its attempt, and the account after it.

    The sums over the entries are counted beside the balance that the event states, so that both can be compared.
    """
    recorded, event = happened
    if event is None:
        return
    entry = _entry(event)  # type: ignore[arg-type]
    key = {"project": recorded.stream.project, "account": recorded.stream.id}
    stands = {"balance": event.balance, "reserved": event.reserved, "shortfall": event.shortfall}  # type: ignore[attr-defined]
    yield Put(ENTRIES.name, {
        **key, **_EMPTY, **entry, **stands, "position": recorded.position, "time": recorded.time,
        "actor": recorded.actor, "version": recorded.version,
    })
    yield Add(
        ACCOUNTS.name, key,
        {"entries": 1, "balance_of_entries": entry.get("amount", 0), "reserved_of_entries": entry.get("held", 0),
         "shortfall_of_entries": entry.get("owed", 0)},
        {**stands, "version": recorded.version, "position": recorded.position, "updated_at": recorded.time},
        first={"opened_position": recorded.position, "opened_at": recorded.time},
    )
    touched = {"position": recorded.position, "updated_at": recorded.time}
    yield from _attempt(event, key, touched)  # type: ignore[arg-type]


_EMPTY: dict[str, Any] = {
    "attempt_id": None, "entry_id": None, "amount": 0, "held": 0, "owed": 0, "actual": None, "reason": "",
    "metadata": {},
}


def _entry(event: LedgerEvent) -> dict[str, Any]:
    """What an entry adds: ``amount`` to the balance, ``held`` to what is reserved, ``owed`` to the shortfall."""
    match event:
        case CreditsGranted():
            return {"kind": "granted", "entry_id": event.grant_id, "amount": event.amount, "reason": event.reason}
        case CreditsReserved():
            return {"kind": "reserved", "attempt_id": event.attempt_id, "held": event.amount,
                    "reason": event.purpose, "metadata": event.metadata}
        case ReservationSettled():
            return {"kind": "settled", "attempt_id": event.attempt_id, "amount": -event.taken, "held": -event.held,
                    "owed": event.lacking, "actual": event.actual}
        case ReservationReleased():
            return {"kind": "released", "attempt_id": event.attempt_id, "held": -event.amount, "reason": event.reason}
        case CreditsDeducted():
            return {"kind": "deducted", "attempt_id": event.attempt_id, "amount": -event.amount,
                    "actual": event.amount, "reason": event.purpose, "metadata": event.metadata}
        case CreditsRefunded():
            return {"kind": "refunded", "attempt_id": event.attempt_id, "entry_id": event.refund_id,
                    "amount": event.amount, "reason": event.reason}
        case ShortfallCovered():
            return {"kind": "covered", "attempt_id": event.attempt_id, "amount": -event.amount, "owed": -event.amount}


def _attempt(event: LedgerEvent, account: dict[str, str], touched: dict[str, Any]) -> Iterable[Change]:
    if isinstance(event, CreditsGranted):
        return
    key = {**account, "attempt_id": event.attempt_id}
    opened = {"opened_position": touched["position"], "opened_at": touched["updated_at"]}
    match event:
        case CreditsReserved():
            yield Put(ATTEMPTS.name, {
                **key, **touched, **opened, "status": "reserved", "held": event.amount, "taken": 0, "lacking": 0,
                "refunded": 0, "actual": None, "purpose": event.purpose, "metadata": event.metadata,
            })
        case CreditsDeducted():
            yield Put(ATTEMPTS.name, {
                **key, **touched, **opened, "status": "deducted", "held": 0, "taken": event.amount, "lacking": 0,
                "refunded": 0, "actual": event.amount, "purpose": event.purpose, "metadata": event.metadata,
            })
        case ReservationSettled():
            yield Patch(ATTEMPTS.name, key, {
                **touched, "status": "settled", "held": 0, "taken": event.taken, "lacking": event.lacking,
                "actual": event.actual,
            })
        case ReservationReleased():
            yield Patch(ATTEMPTS.name, key, {**touched, "status": "released", "held": 0})
        case CreditsRefunded():
            yield Patch(ATTEMPTS.name, key, {**touched, "refunded": event.refunded})
        case ShortfallCovered():
            yield Patch(ATTEMPTS.name, key, {**touched, "taken": event.taken, "lacking": event.lacking})


class ListAccounts(PageQuery):
    """The accounts of a project by their names."""


class ShowAccount(Query):
    """One account: how it stands, what is held, its newest entries, and whether they explain it."""

    account: Token


class ListEntries(PageQuery):
    """The entries of an account, newest first."""

    account: Token
    kind: Literal["granted", "reserved", "settled", "released", "deducted", "refunded", "covered"] | None = None
    attempt_id: Token | None = None
    as_of: int = Field(default=0, ge=0, le=2**62, description="Entries up to this position; 0 is all.")


class ListAttempts(PageQuery):
    """What was reserved and deducted, newest first."""

    account: Token
    status: Literal["reserved", "settled", "released", "deducted"] | None = None


def list_accounts(reader: Reader, query: ListAccounts) -> dict[str, Any]:
    """A page of accounts."""
    return page(
        reader, ACCOUNTS.name, Where("project", "=", query.project), order=("account",), limit=query.limit,
        cursor=query.cursor, shape=standing,
    )


def show_account(reader: Reader, query: ShowAccount) -> dict[str, Any]:
    """One account with its first 50 open reservations and its newest 20 entries; raises ``NotFound``."""
    row = _account(reader, query)
    of = [Where("project", "=", query.project), Where("account", "=", query.account)]
    held = [*of, Where("status", "=", "reserved")]
    open_ = reader.rows(ATTEMPTS.name, *held, order=("opened_position",), limit=50)
    newest = reader.rows(ENTRIES.name, *of, order=("-position",), limit=20)
    return {
        **standing(row),
        "open_reservations": [_shape(one) for one in open_],
        "open_reservation_count": reader.count(ATTEMPTS.name, *held),
        "entries": [_shape(one) for one in newest],
    }


def list_entries(reader: Reader, query: ListEntries) -> dict[str, Any]:
    """A page of entries; raises ``NotFound`` for an account that was never opened."""
    _account(reader, query)
    where = [Where("project", "=", query.project), Where("account", "=", query.account)]
    where += [Where(name, "=", value) for name in ("kind", "attempt_id")
              if (value := getattr(query, name)) is not None]
    if query.as_of:
        where.append(Where("position", "<=", query.as_of))
    return page(
        reader, ENTRIES.name, *where, order=("-position",), limit=query.limit, cursor=query.cursor,
        shape=_shape,
    )


def list_attempts(reader: Reader, query: ListAttempts) -> dict[str, Any]:
    """A page of attempts; raises ``NotFound`` for an account that was never opened."""
    _account(reader, query)
    where = [Where("project", "=", query.project), Where("account", "=", query.account)]
    if query.status is not None:
        where.append(Where("status", "=", query.status))
    return page(
        reader, ATTEMPTS.name, *where, order=("-opened_position",), limit=query.limit, cursor=query.cursor,
        shape=_shape,
    )


def _account(reader: Reader, query: ShowAccount | ListEntries | ListAttempts) -> Row:
    row = reader.row(ACCOUNTS.name, project=query.project, account=query.account)
    if row is None:
        raise NotFound(
            f"Project {query.project} has no account {query.account}.",
            error="unknown_account",
            remediation=[
                Remedy(f"Open it with a first grant: POST /api/credits/{query.account}/grant.", "grant_credits"),
                Remedy("List the accounts: GET /api/credits.", "list_accounts"),
            ],
            detail={"account": query.account},
        )
    return row


def standing(row: Row) -> dict[str, Any]:
    """How an account stands; ``explained`` is whether its entries add up to it."""
    totals = ("balance", "reserved", "shortfall")
    return {
        "account": row["account"], "unit": UNIT, "balance": row["balance"], "reserved": row["reserved"],
        "available": row["balance"] - row["reserved"], "shortfall": row["shortfall"],
        "explained": all(row[name] == row[f"{name}_of_entries"] for name in totals),
        "entry_count": row["entries"], "version": row["version"], "position": row["position"],
        "opened_at": row["opened_at"], "updated_at": row["updated_at"],
    }


def _shape(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("project", "account")}


PROJECTIONS = (
    Projection(
        name="ledger", version=1, tables=(ACCOUNTS, ENTRIES, ATTEMPTS), apply=apply, categories=frozenset({CATEGORY}),
        about="How accounts stand, and every entry that explains it.",
    ),
)

VIEWS = (
    View("ListAccounts", "/api/credits", ListAccounts, list_accounts, ("ledger",), "ledger:read"),
    View("ShowAccount", "/api/credits/{account}", ShowAccount, show_account, ("ledger",), "ledger:read"),
    View("ListEntries", "/api/credits/{account}/entries", ListEntries, list_entries, ("ledger",), "ledger:read"),
    View("ListAttempts", "/api/credits/{account}/attempts", ListAttempts, list_attempts, ("ledger",), "ledger:read"),
)
