"""Budgets: how much a project, or one of its accounts, may spend in a month or at all, and what was spent of it.

A project has one purse. Whatever is reserved, settled, released, deducted or refunded on any account of the project is
counted there in the same decision: so a budget holds whatever runs at once, and on whichever account.

An attempt counts in the month in which it was first counted, also what is settled or refunded of it later: what was
allowed by the budget of March is never charged to that of April. Months are of UTC.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NamedTuple, assert_never

from pydantic import Field

from domain.context import Context, Fields
from domain.ids import TOKEN_LIMIT, Token
from domain.operations.ledger_memory import Buckets, remembered, with_one
from domain.values import Event, Value

CATEGORY = "budget"

PURSE: Final = "purse"
"""The one aggregate of a project's budgets: what is allowed is decided on exactly what is held and spent."""

PROJECT: Final = "project"
"""The scope of a project as a whole; that of an account is ``account:`` and its name."""

TOTAL: Final = "total"
"""The period that never ends."""

BUDGET_LIMIT: Final = 1000
"""Most budgets of a project."""

AMOUNT_LIMIT: Final = 2**53 - 1
"""Largest budget in microcredits."""

SUM_LIMIT: Final = 2**60
"""Nothing more is reserved when this much was spent: sums stay whole numbers that databases can hold."""

WARN_PERCENT: Final = 80
"""From what share of a budget on answers warn, when nobody has said."""

Period = Literal["month", "total"]
Scope = Annotated[str, Field(
    max_length=TOKEN_LIMIT + 8, pattern=r"^(project|account:[A-Za-z0-9_][A-Za-z0-9_-]{0,95})$",
    description="`project`, or `account:` and the name of an account.",
)]
Month = Annotated[str, Field(pattern=r"^\d{4}-\d{2}$", description="A month of UTC: 2026-03.")]
Allowed = Annotated[int, Field(strict=True, ge=0, le=AMOUNT_LIMIT)]
Percent = Annotated[int, Field(strict=True, ge=1, le=100)]


class Sum(Value):
    """What is held for work that goes on, and what was spent, in microcredits."""

    held: int = 0
    spent: int = 0

    @property
    def used(self) -> int:
        return self.held + self.spent

    def more(self, held: int, spent: int) -> Sum:
        return Sum(held=self.held + held, spent=self.spent + spent)


class Limit(Value):
    """What a budget allows, and the share of it from which on answers warn."""

    amount: Allowed
    warn_percent: Percent


class Standing(Value):
    """How a budget stands: ``month`` is the month that it speaks of, empty for one that never ends."""

    scope: Scope
    period: Period
    month: str
    amount: int
    warn_percent: int
    held: int
    spent: int

    @property
    def left(self) -> int:
        """What may still be reserved; never negative, also where work has cost more than was reserved for it."""
        return max(0, self.amount - self.held - self.spent)

    @property
    def over(self) -> int:
        """What was used beyond it: settled above its estimate, or used before the budget was set so low."""
        return max(0, self.held + self.spent - self.amount)

    @property
    def warns(self) -> bool:
        return (self.held + self.spent) * 100 >= self.warn_percent * self.amount

    def told(self) -> dict[str, Any]:
        """As answers show it."""
        return {**self.model_dump(mode="json"), "left": self.left, "over": self.over, "warns": self.warns}


class BudgetSet(Event):
    """A project allowed itself, or one of its accounts, so much."""

    scope: Scope
    period: Period
    amount: Allowed
    warn_percent: Percent


class BudgetRemoved(Event):
    """A budget holds no more."""

    scope: Scope
    period: Period


class SpendingCounted(Event):
    """What an attempt at paid work holds and has spent now, and the sums after it.

    ``budgets`` are those that it counts against, as they stand after it.
    """

    account: Token
    attempt_id: Token
    month: Month
    held: int
    spent: int
    account_month: Sum
    account_total: Sum
    project_month: Sum
    project_total: Sum
    budgets: tuple[Standing, ...] = ()


BudgetEvent = BudgetSet | BudgetRemoved | SpendingCounted


class Counted(NamedTuple):
    """What was counted of one attempt, and in which month."""

    month: str
    held: int
    spent: int


class Purse(Value):
    """A project's budgets and sums. ``limits``: scope and period -> budget. ``sums``: scope and month -> sum, where the
    month is ``total`` for all of them. ``attempts`` remembers for ever, compactly, what was counted of each."""

    kind: Literal["purse"] = "purse"
    limits: dict[str, Limit] = {}
    sums: dict[str, Sum] = {}
    attempts: Buckets[Counted] = {}

    def limit(self, scope: str, period: str) -> Limit | None:
        return self.limits.get(f"{scope} {period}")

    def sum_of(self, scope: str, month: str) -> Sum:
        return self.sums.get(f"{scope} {month}", Sum())

    def counted(self, account: str, attempt_id: str) -> Counted | None:
        return remembered(self.attempts, f"{account} {attempt_id}")

    def standings(self, account: str, month: str) -> tuple[Standing, ...]:
        """The budgets that work on an account in a month counts against, the project's first."""
        scopes: tuple[tuple[str, Period], ...] = tuple(
            (scope, period) for scope in (PROJECT, scope_of(account)) for period in PERIODS
        )
        found = (self.standing(scope, period, month) for scope, period in scopes)
        return tuple(one for one in found if one is not None)

    def standing(self, scope: str, period: Period, month: str) -> Standing | None:
        """How one budget stands; nothing where none is set."""
        limit = self.limit(scope, period)
        if limit is None:
            return None
        used = self.sum_of(scope, month if period == "month" else TOTAL)
        return Standing(
            scope=scope, period=period, month=month if period == "month" else "", amount=limit.amount,
            warn_percent=limit.warn_percent, held=used.held, spent=used.spent,
        )


PERIODS: Final[tuple[Period, ...]] = ("month", "total")


def scope_of(account: str) -> str:
    """The scope that an account is."""
    return f"account:{account}"


def month_of(time: str) -> str:
    """The month of a time as the log writes it (RFC 3339 in UTC)."""
    return time[:7]


def following(month: str) -> str:
    """When the month after begins, as a time."""
    year, number = int(month[:4]), int(month[5:7])
    year, number = (year + 1, 1) if number == 12 else (year, number + 1)
    return f"{year:04d}-{number:02d}-01T00:00:00Z"


def evolve(state: Purse, event: BudgetEvent) -> Purse:
    """What an event makes of the purse."""
    match event:
        case BudgetSet():
            limit = Limit(amount=event.amount, warn_percent=event.warn_percent)
            return state.model_copy(update={"limits": {**state.limits, f"{event.scope} {event.period}": limit}})
        case BudgetRemoved():
            left = {key: one for key, one in state.limits.items() if key != f"{event.scope} {event.period}"}
            return state.model_copy(update={"limits": left})
        case SpendingCounted():
            scope = scope_of(event.account)
            sums = {
                **state.sums, f"{scope} {event.month}": event.account_month, f"{scope} {TOTAL}": event.account_total,
                f"{PROJECT} {event.month}": event.project_month, f"{PROJECT} {TOTAL}": event.project_total,
            }
            counted = Counted(event.month, event.held, event.spent)
            attempts = with_one(state.attempts, f"{event.account} {event.attempt_id}", counted)
            return state.model_copy(update={"sums": sums, "attempts": attempts})
        case _:
            assert_never(event)


def fields(event: BudgetEvent) -> Fields:
    """Budgets by scope and period; what is counted is no part of what people have written."""
    match event:
        case BudgetSet():
            said = {"amount": event.amount, "warn_percent": event.warn_percent}
            return {f"budgets/{event.scope} {event.period}": said}
        case BudgetRemoved():
            return {f"budgets/{event.scope} {event.period}": None}
        case SpendingCounted():
            return {}
        case _:
            assert_never(event)


CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(BudgetSet, BudgetRemoved, SpendingCounted),
    state=Purse,
    initial=Purse(),
    evolve=evolve,
    fields=fields,
)
"""The budgets of a project."""
