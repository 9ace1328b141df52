"""How a budget says no: with its numbers, and with what would help."""

from __future__ import annotations

from collections.abc import Sequence

from domain.errors import NotFound, Refused, Remedy
from domain.operations.budget import PROJECT, SUM_LIMIT, Standing, following
from domain.operations.ledger import UNIT


def exceeded(broken: Sequence[Standing], needed: int, account: str) -> Refused:
    """Told by the budget that lacks most."""
    worst = max(broken, key=lambda one: needed - one.left)
    whose = "The project" if worst.scope == PROJECT else f"Account {account}"
    when = f"for {worst.month}" if worst.month else "in all"
    remedies = [Remedy(
        f"Raise it to {worst.amount + needed - worst.left} {UNIT}s or more: PUT /api/budgets/{worst.scope}/"
        f"{worst.period}.", "raise_budget",
    )]
    waiting_helps = all(one.month and needed <= one.amount for one in broken)
    resets = following(worst.month) if waiting_helps else None
    if resets:
        remedies.append(Remedy(f"Wait until {resets}: then the budget begins anew.", "wait"))
    remedies += [
        Remedy("Choose a cheaper quality.", "lower_quality"),
        Remedy("Choose an engine of this machine: its work is free.", "use_local_engine"),
    ]
    if worst.held:
        remedies.append(Remedy("Cancel or await work that holds a part of it.", "release_reservation"))
    return Refused(
        f"{whose} has {worst.left} of {worst.amount} {UNIT}s left {when}, and {needed} are needed.",
        error="budget_exceeded", remediation=remedies,
        detail={
            "scope": worst.scope, "period": worst.period, "month": worst.month, "account": account, "needed": needed,
            "left": worst.left, "amount": worst.amount, "held": worst.held, "spent": worst.spent,
            "missing": needed - worst.left, "resets_at": resets, "unit": UNIT,
            "budgets": [one.told() for one in broken],
        },
    )


def unknown_budget(scope: str, period: str) -> NotFound:
    return NotFound(
        f"No budget of {scope} is set for the period {period}.", error="unknown_budget",
        remediation=[Remedy("List the budgets: GET /api/budgets.", "list_budgets")],
        detail={"scope": scope, "period": period},
    )


def too_many(limit: int) -> Refused:
    return Refused(
        f"A project has at most {limit} budgets.", error="too_many",
        remediation=[Remedy("Take one away first.", "remove_budget")], detail={"limit": limit},
    )


def sum_limit() -> Refused:
    return Refused(
        f"What a project spends stays below {SUM_LIMIT} {UNIT}s.", error="amount_limit",
        remediation=[Remedy("Go on in another project.", "new_project")], detail={"limit": SUM_LIMIT, "unit": UNIT},
    )
