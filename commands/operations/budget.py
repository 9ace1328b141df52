"""Asking for budgets: set, remove; and counting what is spent against them, in the decision that spends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.operations.budget_refusals import exceeded, sum_limit, too_many, unknown_budget
from domain.ids import UNBRANCHED, Token
from domain.operations.budget import (
    BUDGET_LIMIT,
    PROJECT,
    SUM_LIMIT,
    TOTAL,
    WARN_PERCENT,
    Allowed,
    BudgetEvent,
    BudgetRemoved,
    BudgetSet,
    Counted,
    Limit,
    Percent,
    Period,
    Purse,
    Scope,
    SpendingCounted,
    evolve,
    month_of,
    scope_of,
)
from domain.operations.ledger import CATEGORY as LEDGER
from domain.operations.ledger import UNIT, Account, Unopened
from domain.ports import Stream
from domain.values import Json


class BudgetCommand(Command):
    """Something asked of the purse; a project has one."""

    purse: Literal["purse"] = "purse"


class SetBudget(BudgetCommand):
    """Allow a project, or one of its accounts, so many microcredits in each month or at all.

    What was spent before counts. From `warn_percent` of it on, answers to whoever spends warn. A budget of 0 stops all
    paid work.
    """

    scope: Scope
    period: Period
    amount: Allowed
    warn_percent: Percent = WARN_PERCENT


class RemoveBudget(BudgetCommand):
    """Take a budget away: nothing but what the accounts hold limits the work then."""

    scope: Scope
    period: Period


class CountSpending(BudgetCommand):
    """Count how an attempt stands on its account now. ``binding``: it may not go beyond a budget.

    Asked together with what changes the attempt, never alone.
    """

    account: Token
    attempt_id: Token
    binding: bool = False


def set_budget(command: SetBudget, state: Purse, asked: Asked) -> list[BudgetEvent]:
    """Nothing when it is so already."""
    limit = state.limit(command.scope, command.period)
    if limit == Limit(amount=command.amount, warn_percent=command.warn_percent):
        return []
    if limit is None and len(state.limits) >= BUDGET_LIMIT:
        raise too_many(BUDGET_LIMIT)
    return [BudgetSet(
        scope=command.scope, period=command.period, amount=command.amount, warn_percent=command.warn_percent,
    )]


def remove_budget(command: RemoveBudget, state: Purse, asked: Asked) -> list[BudgetEvent]:
    """Raises ``NotFound`` for a budget that is not set."""
    if state.limit(command.scope, command.period) is None:
        raise unknown_budget(command.scope, command.period)
    return [BudgetRemoved(scope=command.scope, period=command.period)]


def count(
    command: CountSpending, state: Purse, asked: Asked, accounts: Sequence[Unopened | Account]
) -> list[BudgetEvent]:
    """What has changed about an attempt; nothing when nothing has. Raises ``Refused`` beyond a budget."""
    (account,) = accounts
    attempt = account.attempt(command.attempt_id) if isinstance(account, Account) else None
    if attempt is None:
        return []
    known = state.counted(command.account, command.attempt_id)
    month = known.month if known is not None else month_of(asked.time)
    now = Counted(month, attempt.held, attempt.taken + attempt.lacking - attempt.refunded)
    if now == known:
        return []
    was = known or Counted(month, 0, 0)
    held, spent = now.held - was.held, now.spent - was.spent
    if command.binding:
        _allowed(state, command.account, month, held + spent)
    scope = scope_of(command.account)
    event = SpendingCounted(
        account=command.account, attempt_id=command.attempt_id, month=month, held=now.held, spent=now.spent,
        account_month=state.sum_of(scope, month).more(held, spent),
        account_total=state.sum_of(scope, TOTAL).more(held, spent),
        project_month=state.sum_of(PROJECT, month).more(held, spent),
        project_total=state.sum_of(PROJECT, TOTAL).more(held, spent),
    )
    after = evolve(state, event)
    return [event.model_copy(update={"budgets": after.standings(command.account, month)})]


def _allowed(state: Purse, account: str, month: str, more: int) -> None:
    standings = state.standings(account, month)
    if broken := [one for one in standings if more > one.left]:
        raise exceeded(broken, more, account)
    if state.sum_of(PROJECT, TOTAL).used + more > SUM_LIMIT:
        raise sum_limit()


def _account(command: CountSpending, asked: Asked) -> Sequence[Stream]:
    return (Stream(asked.project, UNBRANCHED, LEDGER, command.account),)


def told(events: Sequence[BudgetEvent]) -> Mapping[str, Json]:
    """The budgets that the work counts against, as they stand after it; ``warnings`` in words."""
    for event in reversed(events):
        if isinstance(event, SpendingCounted) and event.budgets:
            return {
                "budgets": [one.told() for one in event.budgets],
                "warnings": [
                    f"{_named(one.scope)} has used {one.held + one.spent} of {one.amount} {UNIT}s "
                    f"{f'in {one.month}' if one.month else 'in all'}." for one in event.budgets if one.warns
                ],
            }
    return {}


def _named(scope: str) -> str:
    return "The project" if scope == PROJECT else f"Account {scope.partition(':')[2]}"


_ROUTE = "/api/budgets/{scope}/{period}"
_SCOPE = "budget:write"

COMMANDS = (
    Asking(SetBudget, set_budget, id_field="purse", scope=_SCOPE, route=f"PUT {_ROUTE}"),
    Asking(RemoveBudget, remove_budget, id_field="purse", scope=_SCOPE, route=f"DELETE {_ROUTE}"),
)

COUNT: Any = Asking(CountSpending, count, id_field="purse", scope=_SCOPE, others=_account, told=told)

INNER = (COUNT,)
"""What only the commands of the ledger bring along; no door leads here."""
