"""`comfyvn worldline`: list and fork the worldlines of a project."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import typer
from rich.markup import escape
from rich.table import Table

from commands.story.worldline import ForkWorldline
from domain.ids import MAIN, checked
from domain.story.worldline import Lane
from gateways.cli_console import Actor, AsJson, Data, Project, emit, out, run, settings_of, usage
from projections.story.worldline import ListWorldlines
from services.bootstrap import open_everything
from services.studio import Asker

app = typer.Typer(no_args_is_help=True, help="List and fork the worldlines of a project.")


@app.command("list")
def list_(project: Project = "default", data: Data = None, as_json: AsJson = False) -> None:
    """The worldlines of a project: who left whom, where, and in which lane.

    comfyvn worldline list --project demo
    """

    async def work() -> None:
        checked("project", project)
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["worldlines"])
            view = opened.studio.registry.views["ListWorldlines"]
            items: list[dict[str, Any]] = []
            cursor: str | None = ""
            while cursor is not None:
                found = await opened.studio.look(view, ListWorldlines(project=project, limit=500, cursor=cursor))
                items += found["items"]
                cursor = found["next"]
        if as_json:
            emit({"project": project, "items": items})
            return
        table = Table(title=f"Worldlines of {escape(project)}", title_justify="left", box=None, header_style="dim")
        for column in ("worldline", "label", "parent", "left it at", "lane", "notes"):
            table.add_column(column)
        for one in items:
            left = str(one["forked_at"]) if one["parent_id"] else ""
            table.add_row(*map(escape, (one["id"], one["label"], one["parent_id"] or "", left, one["lane_label"],
                                        one["notes"])))
        out().print(table)

    run(work, as_json=as_json)


@app.command()
def fork(
    worldline: Annotated[str, typer.Argument(help="Id of the new worldline.")],
    project: Project = "default",
    parent: Annotated[str, typer.Option(help="The worldline that it leaves.")] = MAIN,
    at: Annotated[
        int | None, typer.Option(min=0, help="Position at which it leaves; else now.", show_default=False)
    ] = None,
    label: Annotated[str | None, typer.Option(help="Name for people; else the id.", show_default=False)] = None,
    lane: Annotated[str, typer.Option(help=" | ".join(get_args(Lane)))] = "vn_branch",
    notes: Annotated[str, typer.Option(help="Why it was forked.")] = "",
    actor: Actor = "console",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Start a worldline from its parent, as it is now or as it was at a position. Copies nothing.

    comfyvn worldline fork what-if --project demo --label "What if she stays?"
    """

    async def work() -> None:
        checked("worldline", worldline)
        checked("parent", parent)
        if lane not in get_args(Lane):
            usage(f"{lane!r} is no lane.", f"Use one of {', '.join(get_args(Lane))}.")
        command = ForkWorldline(
            worldline_id=worldline, parent=parent, at=at, label=label, lane=lane, notes=notes  # type: ignore[arg-type]
        )
        async with open_everything(settings_of(data), projecting=False, create=False) as opened:
            receipt = await opened.studio.ask(command, Asker(actor), project=project)
            await opened.audited_everything()
        if as_json:
            emit({"ok": True, "id": receipt.id, "version": receipt.version, "position": receipt.position})
        else:
            out().print(f"Worldline [bold]{escape(worldline)}[/] of {escape(project)} left {escape(parent)} "
                        f"(position {receipt.position}).")

    run(work, as_json=as_json)
