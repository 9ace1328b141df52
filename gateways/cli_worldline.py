"""`comfyvn worldline`: list, draw, fork, switch and put away the worldlines of a project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from commands.declaration import Command
from commands.story.pov import SwitchWorldline
from commands.story.worldline import ArchiveWorldline, ForkWorldline, RestoreWorldline
from domain.ids import MAIN, checked
from domain.story.pov import DEFAULT_VIEW
from domain.story.worldline import LANE_ALIASES, Lane, lane_named
from gateways import cli_merging
from gateways.cli_console import Actor, AsJson, Data, DryRun, Project, emit, out, progress, run, settings_of, usage
from projections.boards.timeline_overlay import ShowOverlay
from projections.story.worldline import ListWorldlines
from services.bootstrap import Opened, open_everything
from services.studio import Asker

app = typer.Typer(no_args_is_help=True, help="List, draw, fork, switch and put away the worldlines of a project.")
app.command()(cli_merging.diff)
app.command()(cli_merging.merge)

Line = Annotated[str, typer.Argument(help="Id of the worldline.")]
View = Annotated[str, typer.Option(help="Which view; several windows on one project have one each.")]


@app.command("list")
def list_(
    project: Project = "default",
    archived: Annotated[bool, typer.Option("--archived", help="Those that were put away.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
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
                query = ListWorldlines(project=project, archived=archived, limit=500, cursor=cursor)
                found = await opened.studio.look(view, query)
                items += found["items"]
                cursor = found["next"]
        if as_json:
            emit({"project": project, "items": items})
            return
        table = Table(title=f"Worldlines of {escape(project)}", title_justify="left", box=None, header_style="dim")
        for column in ("worldline", "label", "parent", "left it at", "lane", "notes"):
            table.add_column(column, overflow="fold")
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
    lane: Annotated[
        str | None, typer.Option(help=" | ".join(get_args(Lane)) + "; else what the id implies.", show_default=False)
    ] = None,
    notes: Annotated[str, typer.Option(help="Why it was forked.")] = "",
    dry_run: DryRun = False,
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
        if lane is not None and lane_named(lane) not in get_args(Lane):
            usage(f"{lane!r} is no lane.", f"Use one of {', '.join([*get_args(Lane), *LANE_ALIASES])}.")
        command = ForkWorldline(
            worldline_id=worldline, parent=parent, at=at, label=label, lane=lane, notes=notes
        )
        async with open_everything(settings_of(data), projecting=False, create=False) as opened:
            receipt = await opened.studio.ask(command, Asker(actor), project=project, dry_run=dry_run)
            await opened.audited_everything()
        if as_json:
            told = {"ok": True, "id": receipt.id, "version": receipt.version, "position": receipt.position}
            emit(told | ({"dry_run": True} if dry_run else {}))
        elif dry_run:
            out().print(f"Worldline [bold]{escape(worldline)}[/] of {escape(project)} would leave {escape(parent)}.")
        else:
            out().print(f"Worldline [bold]{escape(worldline)}[/] of {escape(project)} left {escape(parent)} "
                        f"(position {receipt.position}).")

    run(work, as_json=as_json)


@app.command()
def tree(
    project: Project = "default",
    archived: Annotated[bool, typer.Option("--archived", help="Those that were put away as well.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """The worldlines as a tree in the colours of their lanes: where each left its parent, and what it changed since.

    comfyvn worldline tree --project demo
    """

    async def work() -> None:
        checked("project", project)
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["worldlines", "documents", "timeline", "snapshots", "pov"])
            lines = await _overlay(opened, project, archived=False)
            away = await _overlay(opened, project, archived=True)
        shown = [*lines, *away] if archived else lines
        if as_json:
            emit({"project": project, "items": shown})
        else:
            # A worldline that was put away is drawn where others stand on it: they have to hang somewhere.
            out().print(_drawn([*lines, *away], {one["id"] for one in shown}))

    run(work, as_json=as_json)


async def _overlay(opened: Opened, project: str, *, archived: bool) -> list[dict[str, Any]]:
    view = opened.studio.registry.views["ShowOverlay"]
    items: list[dict[str, Any]] = []
    cursor: str | None = ""
    with progress("Comparing worldlines") as report:
        while cursor is not None:
            query = ShowOverlay(project=project, archived=archived, limit=50, cursor=cursor, snapshots=0)
            found = await opened.studio.look(view, query)
            items += found["items"]
            cursor = found["next"]
            report(len(items), sum(one["worldlines"] for one in found["lanes"]) if not archived else len(items))
    return items


def _drawn(lines: list[dict[str, Any]], shown: set[str]) -> Tree:
    """The tree; a worldline that is not to be shown stays only while one that is stands on it."""
    known = {one["id"]: one for one in lines}
    wanted = set(shown)
    for id_ in shown:
        parent = known[id_]["parent_id"]
        while parent is not None and parent in known and parent not in wanted:
            wanted.add(parent)
            parent = known[parent]["parent_id"]
    branches: dict[str, Tree] = {}
    drawn = Tree("")
    for one in sorted(lines, key=lambda one: (one["forked_at"], one["id"] != MAIN, one["id"])):
        if one["id"] in wanted:
            branches[one["id"]] = Tree(_label(one))
    for id_, branch in branches.items():
        parent = known[id_]["parent_id"]
        branches.get(parent or "", drawn).children.append(branch)
    roots = drawn.children
    return roots[0] if len(roots) == 1 else drawn


def _label(one: dict[str, Any]) -> str:
    scenes = one["changes"]["scenes"]
    marks = [f"{sign}{scenes[kind]}" for kind, sign in (("added", "+"), ("changed", "~"), ("removed", "-"))
             if scenes[kind]]
    told = [
        f"[bold {one['lane_color']}]●[/] [bold]{escape(one['id'])}[/]",
        escape(one["label"]) if one["label"] != one["id"] else "",
        f"[dim]{escape(one['lane_label'])}[/]",
        f"[dim]left at {one['forked_at']}[/]" if one["parent_id"] else "",
        f"[dim]{one['events']} events ahead[/]" if one["parent_id"] and one["events"] else "",
        f"scenes {' '.join(marks)}" + (" …" if one["changes"]["more"] else "") if marks else "",
        f"[dim]{one['snapshots']['count']} kept[/]" if one["snapshots"]["count"] else "",
        "[green]← active[/]" if one["active"] else "", "[yellow]put away[/]" if one.get("archived") else "",
    ]
    return "  ".join(part for part in told if part)


@app.command()
def switch(
    worldline: Line,
    project: Project = "default",
    pov: Annotated[
        str | None, typer.Option(help="Whose eyes; else those that belong there.", show_default=False)
    ] = None,
    view: View = DEFAULT_VIEW,
    dry_run: DryRun = False,
    actor: Actor = "console",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Look at another worldline. Nothing of the story changes, and no play.

    comfyvn worldline switch what-if --project demo
    """
    _asked(lambda: SwitchWorldline(view=checked("view", view), id=checked("worldline", worldline), pov=pov),
           project, actor, data, as_json, worldline, "looked at now", dry_run)


@app.command()
def archive(
    worldline: Line,
    project: Project = "default",
    reason: Annotated[str, typer.Option(help="Why it is put away.")] = "",
    dry_run: DryRun = False,
    actor: Actor = "console",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Put a worldline away: nothing is written on it until it is restored, and all of it can still be read.

    comfyvn worldline archive what-if --project demo --reason "told elsewhere"
    """
    _asked(lambda: ArchiveWorldline(worldline_id=checked("worldline", worldline), reason=reason),
           project, actor, data, as_json, worldline, "put away", dry_run)


@app.command()
def restore(
    worldline: Line, project: Project = "default", dry_run: DryRun = False, actor: Actor = "console",
    data: Data = None, as_json: AsJson = False,
) -> None:
    """Take a worldline that was put away into use again.

    comfyvn worldline restore what-if --project demo
    """
    _asked(lambda: RestoreWorldline(worldline_id=checked("worldline", worldline)),
           project, actor, data, as_json, worldline, "in use", dry_run)


def _asked(
    make: Callable[[], Command], project: str, actor: str, data: Path | None, as_json: bool, worldline: str,
    becomes: str, dry_run: bool,
) -> None:
    """Asks one command and says what became of the worldline."""

    async def work() -> None:
        command = make()
        async with open_everything(settings_of(data), projecting=False, create=False) as opened:
            receipt = await opened.studio.ask(command, Asker(actor), project=checked("project", project),
                                              dry_run=dry_run)
            if not dry_run:
                await opened.audited_everything()
        changed = bool(receipt.would if dry_run else receipt.events)
        if as_json:
            emit({"ok": True, "id": worldline, "changed": changed, "dry_run": dry_run, "version": receipt.version,
                  "position": receipt.position})
            return
        word = "would be" if dry_run else "is"
        out().print(f"Worldline [bold]{escape(worldline)}[/] of {escape(project)} {word} {becomes}"
                    + ("." if changed else ", as it was before."))

    run(work, as_json=as_json)
