"""`comfyvn replay`: play a recorded playthrough again and say where it comes out otherwise, if it does."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from domain.ids import checked
from domain.story.replaying import Mark, Replay
from gateways.cli_console import AsJson, Data, ExitCode, Project, emit, out, run, settings_of
from services.bootstrap import open_everything
from services.replaying import judged, recording


def replay(
    playthrough: Annotated[str, typer.Argument(help="Id of a playthrough.", show_default=False)],
    project: Project = "default",
    version: Annotated[
        int | None, typer.Option(min=1, help="As it was at this version; else now.", show_default=False)
    ] = None,
    steps: Annotated[bool, typer.Option("--steps/--verdict", help="Show every step, or only what it comes to.")] = True,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Play a playthrough again from its events against the story that it pins: path, variables, dice and digests.

    comfyvn replay 3f2a9c0d1e4b5a67 --project demo
    """

    async def work() -> ExitCode:
        checked("project", project)
        async with open_everything(settings_of(data), create=False) as opened:
            told = await recording(opened.studio, project, playthrough, version)
            marks = list(Replay(told.story).marks(told.events)) if steps else []
            verdict = await asyncio.to_thread(judged, told)
        if as_json:
            for mark in marks:
                emit(mark.shown())
            emit({"playthrough": playthrough, "version": told.version, **verdict.shown()})
        else:
            if marks:
                out().print(_table(marks))
            if verdict.diverged is None:
                out().print(f"[green]As recorded[/]: {verdict.marks} marks, {verdict.steps} steps. {verdict.trace}")
            else:
                first = verdict.diverged
                out().print(f"[bold red]Otherwise than recorded[/] at step {first.standing.step} ({first.event}):")
                for one in first.differs:
                    out().print(f"  {escape(str(one['what']))}: recorded {escape(str(one['recorded'])[:300])}, "
                                f"replayed {escape(str(one['replayed'])[:300])}")
        return ExitCode.OK if verdict.diverged is None else ExitCode.NO

    run(work, as_json=as_json)


def _table(marks: list[Mark]) -> Table:
    table = Table(box=None, header_style="dim")
    for column in ("step", "how", "choice", "scene", "node", "draws", "text", ""):
        table.add_column(column, justify="right" if column in ("step", "draws") else "left", overflow="fold")
    for one in marks:
        standing = one.standing
        text = " ".join(str(one.moment["text"]).split())
        table.add_row(
            str(standing.step), one.how, escape(one.choice or ""), escape(standing.scene), escape(standing.node),
            str(standing.dice.uses), escape(text if len(text) <= 60 else text[:59] + "…"),
            "[red]differs[/]" if one.differs else "[green]✓[/]",
        )
    return table
