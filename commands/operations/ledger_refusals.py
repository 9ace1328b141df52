"""How an account says no: with its numbers, and with what would help."""

from __future__ import annotations

from domain.errors import NotFound, Refused, Remedy
from domain.operations.ledger import AMOUNT_LIMIT, UNIT, Account


def unknown_account(account_id: str) -> NotFound:
    return NotFound(
        f"There is no account {account_id}.",
        error="unknown_account",
        remediation=[
            Remedy(f"Open it with a first grant: POST /api/credits/{account_id}/grant.", "grant_credits"),
            Remedy("List the accounts: GET /api/credits.", "list_accounts"),
        ],
        detail={"account": account_id},
    )


def unknown_attempt(account_id: str, attempt_id: str) -> NotFound:
    return NotFound(
        f"Account {account_id} knows no attempt {attempt_id}.",
        error="unknown_attempt",
        remediation=[
            Remedy(f"List what was reserved: GET /api/credits/{account_id}/attempts.", "list_attempts"),
            Remedy("Work that was paid without a reservation is deducted under its own attempt id.", "deduct_credits"),
        ],
        detail={"account": account_id, "attempt_id": attempt_id},
    )


def insufficient(account_id: str, account: Account, needed: int) -> Refused:
    return Refused(
        f"Account {account_id} has {account.available} {UNIT}s available, and {needed} are needed.",
        error="insufficient_credits",
        remediation=[
            Remedy(f"Grant at least {needed - account.available} {UNIT}s more.", "grant_credits"),
            Remedy("Release reservations that are not needed any more.", "release_reservation"),
        ],
        detail={
            "account": account_id, "needed": needed, "available": account.available, "balance": account.balance,
            "reserved": account.reserved, "missing": needed - account.available, "unit": UNIT,
        },
    )


def used_otherwise(what: str, id_: str) -> Refused:
    return Refused(
        f"The {what} id {id_} was used before with other facts.",
        error=f"{what}_used_otherwise",
        remediation=[Remedy(f"Use a new {what} id for something new; a retry must repeat what was said.", "new_id")],
        detail={f"{what}_id": id_},
    )


def conflicting(attempt_id: str, what: str, action: str, remedy: str) -> Refused:
    return Refused(
        f"Attempt {attempt_id} {what}.",
        error="attempt_closed",
        remediation=[Remedy(remedy, action)],
        detail={"attempt_id": attempt_id},
    )


def nothing_held(attempt_id: str) -> Refused:
    return Refused(
        f"Attempt {attempt_id} was deducted at once; nothing was ever reserved for it.",
        error="nothing_reserved",
        remediation=[Remedy("Refund what it has taken instead.", "refund_credits")],
        detail={"attempt_id": attempt_id},
    )


def over_limit(what: str) -> Refused:
    return Refused(
        f"The {what} of an account stays below {AMOUNT_LIMIT + 1} {UNIT}s.",
        error="amount_limit",
        remediation=[Remedy("Use a smaller amount, or another account.", "use_less")],
        detail={"limit": AMOUNT_LIMIT, "unit": UNIT},
    )
