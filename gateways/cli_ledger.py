"""`comfyvn ledger`: what accounts hold, what was spent, and the budgets that it may not go beyond."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from commands.declaration import Command
from commands.operations.budget import RemoveBudget, SetBudget
from commands.operations.ledger import GrantCredits
from domain.ids import checked
from domain.operations.budget import AMOUNT_LIMIT, PROJECT, WARN_PERCENT
from gateways.cli_asking import ask
from gateways.cli_console import (
    Actor,
    AsJson,
    Cursor,
    Data,
    DryRun,
    ExitCode,
    Project,
    emit,
    err,
    out,
    run,
    settings_of,
    tell_more,
    usage,
)
from projections.operations.budget import ShowBudgets, show_budgets
from projections.operations.ledger import ListAccounts, ListEntries
from projections.reading import View
from services.bootstrap import open_everything
from services.generation.estimating import MICROCREDITS

app = typer.Typer(no_args_is_help=True, help="Credits: what accounts hold, what was spent, and budgets. A credit is a "
                                             "cent; amounts are in credits, in JSON in microcredits.")
budget = typer.Typer(no_args_is_help=True, help="What a project, or one of its accounts, may spend in a month or in "
                                                "all.")
app.add_typer(budget, name="budget")

BUDGETS: Final = View("ShowBudgets", "", ShowBudgets, show_budgets, ("budget",), "budget:read")

AccountOf = Annotated[str | None, typer.Option("--account", help="An account; else the project as a whole.",
                                               show_default=False)]
PeriodOf = Annotated[str, typer.Option("--period", help="month | total")]


@app.command()
def accounts(project: Project = "default", data: Data = None, as_json: AsJson = False) -> None:
    """The accounts of a project: balance, what is held, what is available.

    comfyvn ledger accounts
    """

    async def work() -> None:
        checked("project", project)
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["ledger"])
            view, items, page = opened.studio.registry.views["ListAccounts"], list[dict[str, Any]](), ""
            while page is not None:
                found = await opened.studio.look(view, ListAccounts(project=project, limit=500, cursor=page))
                items, page = [*items, *found["items"]], found["next"]
        if as_json:
            emit({"project": project, "items": items, "next": None})
            return
        table = _table("account", "balance", "held", "available", "shortfall", "changed")
        for one in items:
            table.add_row(one["account"], *(_credits(one[name]) for name in (
                "balance", "reserved", "available", "shortfall")), one["updated_at"][:19])
        out().print(table)
        if not items:
            err().print("[dim]There is none yet: `comfyvn ledger grant ACCOUNT CREDITS` opens one.[/]")

    run(work, as_json=as_json)


@app.command()
def show(
    account: Annotated[str, typer.Argument(help="The account.")],
    limit: Annotated[int, typer.Option(min=1, max=500, help="Most entries.")] = 30, cursor: Cursor = "",
    project: Project = "default", data: Data = None, as_json: AsJson = False,
) -> None:
    """The newest entries of an account, which explain how it stands.

    comfyvn ledger show studio
    """

    async def work() -> None:
        checked("project", project)
        query = ListEntries(project=project, account=account, limit=limit, cursor=cursor)
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["ledger"])
            found = await opened.studio.look(opened.studio.registry.views["ListEntries"], query)
        if as_json:
            emit({"project": project, "account": account, **found})
            return
        table = _table("time", "what", "attempt", "credits", "held", "balance after", "why")
        for one in found["items"]:
            table.add_row(one["time"][:19], one["kind"], one["attempt_id"] or "", _credits(one["amount"]),
                          _credits(one["held"]), _credits(one["balance"]), escape(one["reason"][:60]))
        out().print(table)
        tell_more(found["next"])

    run(work, as_json=as_json)


@app.command()
def grant(
    account: Annotated[str, typer.Argument(help="The account; its first grant opens it.")],
    credits_: Annotated[str, typer.Argument(metavar="CREDITS", help="How many credits: 500, or 2.5.")],
    reason: Annotated[str, typer.Option(help="Why; the log keeps it.")] = "",
    project: Project = "default", dry_run: DryRun = False, actor: Actor = "console", data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give an account credits.

    comfyvn ledger grant studio 500 --reason "March"
    """

    def made() -> Command:
        return GrantCredits(account=account, amount=_micro(credits_), reason=reason)

    ask(project, made, f"{account} is given {credits_} credits.", actor, data, dry_run=dry_run, as_json=as_json)


@budget.command("list")
def list_(
    project: Project = "default",
    month: Annotated[str | None, typer.Option(help="A month of UTC: 2026-03; else the present one.",
                                              show_default=False)] = None,
    data: Data = None, as_json: AsJson = False,
) -> None:
    """Every budget with what is left of it. Exit code 1 when one of them warns.

    comfyvn ledger budget list
    """

    async def work() -> ExitCode:
        checked("project", project)
        async with open_everything(settings_of(data), create=False) as opened:
            query = ShowBudgets(project=project, month=month or opened.studio.clock()[:7])
            await opened.counted_everything(["budget"])
            found = await opened.studio.look(BUDGETS, query)
        warned = any(one["warns"] for one in found["items"])
        if as_json:
            emit({"project": project, **found})
            return ExitCode.NO if warned else ExitCode.OK
        _print(found)
        return ExitCode.NO if warned else ExitCode.OK

    run(work, as_json=as_json)


@budget.command("set")
def set_(
    credits_: Annotated[str, typer.Argument(metavar="CREDITS", help="How many credits: 500, or 2.5; 0 stops all "
                                                                    "paid work.")],
    account: AccountOf = None, period: PeriodOf = "month",
    warn: Annotated[int, typer.Option(min=1, max=100, help="From what percentage on answers warn.")] = WARN_PERCENT,
    project: Project = "default", dry_run: DryRun = False, actor: Actor = "console", data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Say what a project, or one of its accounts, may spend. What was spent before counts.

    comfyvn ledger budget set 2000

    comfyvn ledger budget set 500 --account guests --period total --warn 50
    """

    def made() -> Command:
        return SetBudget.model_validate({
            "scope": _scope(account), "period": period, "amount": _micro(credits_), "warn_percent": warn})

    whose = f"Account {account}" if account else f"Project {project}"
    when = "in a month" if period == "month" else "in all"
    ask(project, made, f"{whose} may spend {credits_} credits {when}.", actor, data, dry_run=dry_run, as_json=as_json)


@budget.command()
def remove(
    account: AccountOf = None, period: PeriodOf = "month", project: Project = "default", dry_run: DryRun = False,
    actor: Actor = "console", data: Data = None, as_json: AsJson = False,
) -> None:
    """Take a budget away.

    comfyvn ledger budget remove --account guests --period total
    """

    def made() -> Command:
        return RemoveBudget.model_validate({"scope": _scope(account), "period": period})

    ask(project, made, "The budget is taken away.", actor, data, dry_run=dry_run, as_json=as_json)


def _print(found: dict[str, Any]) -> None:
    table = _table("of", "period", "budget", "spent", "held", "left", "used", "")
    for one in found["items"]:
        used = one["held"] + one["spent"]
        style = "red" if one["over"] or not one["left"] else "yellow" if one["warns"] else "green"
        share = f"[{style}]{used * 100 // one['amount']} %[/]" if one["amount"] else f"[{style}]closed[/]"
        bar = ProgressBar(total=max(one["amount"], 1), completed=min(used, max(one["amount"], 1)), width=20,
                          complete_style=style, finished_style=style)
        scope = "the project" if one["scope"] == PROJECT else escape(one["scope"].partition(":")[2])
        table.add_row(scope, one["month"] or "in all", *(_credits(one[name]) for name in (
            "amount", "spent", "held", "left")), share, bar)
    out().print(table)
    month = found["used"]["month"]
    err().print(f"[dim]{found['month']}: {_credits(month['spent'])} credits spent, {_credits(month['held'])} held."
                f"{'' if found['items'] else ' No budget is set: `comfyvn ledger budget set CREDITS`.'}[/]")


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    words = {"account", "time", "what", "attempt", "why", "changed", "of", "period", ""}
    for column in columns:
        table.add_column(column, justify="left" if column in words else "right", overflow="fold")
    return table


def _scope(account: str | None) -> str:
    return PROJECT if account is None else f"account:{account}"


def _micro(told: str) -> int:
    """Credits as somebody writes them, in whole microcredits."""
    try:
        found = Decimal(told) * MICROCREDITS
    except InvalidOperation:
        usage(f"{told[:40]!r} is no number of credits.", "Write it like 500 or 2.5.")
    if not found.is_finite() or found != found.to_integral_value() or not 0 <= found <= AMOUNT_LIMIT:
        usage(f"{told[:40]} credits is no amount.", f"Use 0 to {AMOUNT_LIMIT // MICROCREDITS}, with at most six digits "
              "after the point.")
    return int(found)


def _credits(micro: int) -> str:
    return f"{Decimal(micro) / MICROCREDITS:,f}"
