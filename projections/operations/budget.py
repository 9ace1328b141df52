"""Budgets as people see them: what is allowed, held, spent and left, of the project and of each account, by month."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from domain.operations.budget import (
    CATEGORY,
    PROJECT,
    TOTAL,
    BudgetRemoved,
    BudgetSet,
    Month,
    Period,
    Scope,
    SpendingCounted,
    Standing,
    Sum,
    following,
    scope_of,
)
from domain.operations.ledger import UNIT
from domain.tables import PAGE_LIMIT, Change, Drop, Put, Reader, Row, Table, Where
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, Query, View, page

BUDGETS = Table(
    name="budgets",
    columns={
        "project": "text", "scope": "text", "period": "text", "amount": "int", "warn_percent": "int", "actor": "text",
        "position": "int", "set_at": "text",
    },
    key=("project", "scope", "period"),
)

SPENDING = Table(
    name="budget_spending",
    columns={
        "project": "text", "scope": "text", "month": "text", "held": "int", "spent": "int", "position": "int",
        "updated_at": "text",
    },
    key=("project", "scope", "month"),
    indexes=(("project", "month", "scope"),),
)
"""What was counted: of a scope in a month, or (``total``) ever."""


def apply(happened: Happened) -> Iterable[Change]:
    """Budgets as they stand, and the sums as their event states them."""
    recorded, event = happened
    project = recorded.stream.project
    match event:
        case BudgetSet():
            yield Put(BUDGETS.name, {
                "project": project, "scope": event.scope, "period": event.period, "amount": event.amount,
                "warn_percent": event.warn_percent, "actor": recorded.actor, "position": recorded.position,
                "set_at": recorded.time,
            })
        case BudgetRemoved():
            yield Drop(BUDGETS.name, {"project": project, "scope": event.scope, "period": event.period})
        case SpendingCounted():
            scope = scope_of(event.account)
            touched = {"position": recorded.position, "updated_at": recorded.time}
            for whose, month, found in (
                (scope, event.month, event.account_month), (scope, TOTAL, event.account_total),
                (PROJECT, event.month, event.project_month), (PROJECT, TOTAL, event.project_total),
            ):
                yield Put(SPENDING.name, {
                    "project": project, "scope": whose, "month": month, "held": found.held, "spent": found.spent,
                    **touched,
                })


class ShowBudgets(Query):
    """The budgets of a project (at most 1000), and how they stand in a month."""

    month: Month
    scope: Scope | None = None


class ListSpending(PageQuery):
    """What was held and spent, by scope and month; the month ``total`` is all of them."""

    scope: Scope | None = None
    month: str | None = Field(default=None, pattern=r"^(\d{4}-\d{2}|total)$")


def show_budgets(reader: Reader, query: ShowBudgets) -> dict[str, Any]:
    """Every budget with what is left of it, and what the project has used in the month and ever."""
    where = [Where("project", "=", query.project)]
    if query.scope is not None:
        where.append(Where("scope", "=", query.scope))
    rows = reader.rows(BUDGETS.name, *where, order=("scope", "period"), limit=PAGE_LIMIT)
    whose = query.scope or PROJECT
    return {
        "unit": UNIT, "month": query.month, "month_ends": following(query.month),
        "items": [_shown(reader, row, query.month) for row in rows], "next": None,
        "used": {name: _used(reader, query.project, whose, month).model_dump()
                 for name, month in (("month", query.month), ("total", TOTAL))},
    }


def list_spending(reader: Reader, query: ListSpending) -> dict[str, Any]:
    """A page of sums, by scope and month."""
    where = [Where("project", "=", query.project)]
    where += [Where(name, "=", value) for name in ("scope", "month") if (value := getattr(query, name)) is not None]
    found = page(
        reader, SPENDING.name, *where, order=("scope", "month"), limit=query.limit, cursor=query.cursor,
        shape=lambda row: {name: value for name, value in row.items() if name != "project"},
    )
    return {"unit": UNIT, **found}


def spend(reader: Reader, project: str, month: str) -> dict[str, Any]:
    """What figures show of it: the project's and its accounts' spending in a month and ever, and every budget."""
    told = show_budgets(reader, ShowBudgets(project=project, month=month))
    accounts = reader.rows(
        SPENDING.name, Where("project", "=", project), Where("month", "=", month), order=("scope",), limit=PAGE_LIMIT,
    )
    of = {row["scope"].partition(":")[2]: {"held": row["held"], "spent": row["spent"]} for row in accounts
          if row["scope"] != PROJECT}
    return {"spend": {
        "unit": UNIT, "month": month, "project": told["used"], "by_account": of, "budgets": told["items"],
        "warnings": [one for one in told["items"] if one["warns"]],
    }}


def _shown(reader: Reader, row: Row, month: str) -> dict[str, Any]:
    period: Period = row["period"]
    used = _used(reader, row["project"], row["scope"], month if period == "month" else TOTAL)
    standing = Standing(
        scope=row["scope"], period=period, month=month if period == "month" else "", amount=row["amount"],
        warn_percent=row["warn_percent"], held=used.held, spent=used.spent,
    )
    return {**standing.told(), "set_at": row["set_at"], "set_by": row["actor"], "position": row["position"]}


def _used(reader: Reader, project: str, scope: str, month: str) -> Sum:
    row = reader.row(SPENDING.name, project=project, scope=scope, month=month)
    return Sum() if row is None else Sum(held=row["held"], spent=row["spent"])


PROJECTIONS = (
    Projection(
        name="budget", version=1, tables=(BUDGETS, SPENDING), apply=apply, categories=frozenset({CATEGORY}),
        about="Budgets, and what was held and spent by account and month.",
    ),
)

VIEWS = (
    View("ListSpending", "/api/budgets/spending", ListSpending, list_spending, ("budget",), "budget:read"),
)
