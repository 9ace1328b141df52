"""`comfyvn processes`: what happens after events, how far it is, and what has to be run again."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gateways.cli_console import AsJson, Data, DryRun, emit, out, run, settings_of
from services.bootstrap import open_everything, reach_runner

app = typer.Typer(no_args_is_help=True, help="What happens after events: how far it is, and what to run again.")


@app.command("list")
def list_(data: Data = None, as_json: AsJson = False) -> None:
    """Every process: events waiting for it, being worked on, and parked because they could not be worked on.

    comfyvn processes list
    """

    async def work() -> None:
        async with (
            open_everything(settings_of(data), projecting=False, create=False) as opened, AsyncExitStack() as stack
        ):
            surveyed = await (await reach_runner(opened.studio, opened.reached, stack)).survey()
        if as_json:
            emit({"processes": [
                {**one._asdict(), "parked": [parked._asdict() for parked in one.parked]} for one in surveyed
            ]})
            return
        table = Table(box=None, header_style="dim")
        for column in ("process", "waiting", "in work", "parked", "what it does"):
            table.add_column(column, overflow="fold",
                             justify="right" if column in ("waiting", "in work", "parked") else "left")
        for one in surveyed:
            table.add_row(one.name, f"{one.waiting:,}", f"{one.in_flight:,}", f"{len(one.parked):,}", escape(one.about))
        out().print(table)
        for one in surveyed:
            for parked in one.parked:
                out().print(f"[yellow]{one.name}[/] position {parked.position}, {parked.attempts} attempts, "
                            f"{parked.time[:19]}: {escape(parked.reason)}")

    run(work, as_json=as_json)


@app.command()
def rerun(
    name: Annotated[str, typer.Argument(help="A process.")],
    position: Annotated[
        int | None, typer.Option(min=1, help="Only the event at this position; else all that are parked.",
                                 show_default=False)
    ] = None,
    dry_run: DryRun = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Work on parked events again, once what stopped them is mended. Stops at the first that fails again.

    comfyvn processes rerun previews --position 42
    """

    async def work() -> None:
        async with (
            open_everything(settings_of(data), projecting=False, create=False) as opened, AsyncExitStack() as stack
        ):
            done = await (await reach_runner(opened.studio, opened.reached, stack)).rerun(
                name, position, dry_run=dry_run)
            await opened.audited_everything()
        if as_json:
            emit({"ok": True, "process": name, "positions": done} | ({"dry_run": True} if dry_run else {}))
        else:
            becomes = "would be worked on" if dry_run else "are done"
            out().print(f"{len(done):,} parked events of {escape(name)} {becomes}.")

    run(work, as_json=as_json)
