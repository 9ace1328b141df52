"""`comfyvn import`: folders of files, character cards, chats and workflows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from rich.markup import escape
from rich.table import Table

from domain.ids import MAIN, checked
from domain.ports.engines import Operation
from gateways.cli_console import (
    Actor,
    AsJson,
    Data,
    ExitCode,
    Project,
    emit,
    err,
    out,
    progress,
    run,
    settings_of,
    usage,
)
from services.bootstrap import open_everything
from services.generation.taking import Taken, take_workflow_file, told
from services.importing_assets import ImportReport, import_folder
from services.intake.importing import Imported, import_card, import_chat
from services.studio import Asker

app = typer.Typer(no_args_is_help=True, help="Take in folders of files, character cards, chats and workflows.")

Worldline = Annotated[str, typer.Option("--worldline", "-w", help="Worldline.")]
Replace = Annotated[bool, typer.Option("--replace", help="Change what exists and is another.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Decide everything, record nothing.")]


@app.command()
def assets(
    folder: Annotated[Path, typer.Argument(help="Any folder of files.")],
    project: Project = "default",
    tag: Annotated[list[str] | None, typer.Option(help="A tag for every file. May be given several times.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of every file: CC0-1.0, …", show_default=False)] = None,
    origin: Annotated[str | None, typer.Option(help="Where the files come from.", show_default=False)] = None,
    dry_run: DryRun = False,
    actor: Actor = "console",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Register every file of a folder as an asset. The same bytes are kept once; running it again adds what is new.

    comfyvn import assets ./art --project demo --tag background --licence CC0-1.0

    FILE.asset.json beside a FILE is read for its name, tags, licence and origin. Exit code 1 when a file could not be
    taken in; the others are.
    """

    async def work() -> ExitCode:
        checked("project", project)
        async with open_everything(settings_of(data), projecting=False) as opened:
            with progress("Importing") as report:
                told = await import_folder(
                    opened.studio, folder, project=project, actor=actor, tags=tag or (), licence=licence,
                    origin=origin, dry_run=dry_run, report=lambda step: report(step.done, step.total),
                )
            await opened.audited_everything()
        _tell_folder(told, as_json)
        return ExitCode.NO if told.failed else ExitCode.OK

    run(work, as_json=as_json)


@app.command()
def card(
    file: Annotated[Path, typer.Argument(help="PNG with a card in it, or JSON (SillyTavern, V2 and V3).")],
    project: Project = "default",
    worldline: Worldline = MAIN,
    id: Annotated[str | None, typer.Option("--id", help="Id of the character; else from its name.",
                                           show_default=False)] = None,
    greetings: Annotated[bool, typer.Option("--greetings", help="Make a scene of its greetings too.")] = False,
    replace: Replace = False,
    dry_run: DryRun = False,
    actor: Actor = "console",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take in a character card: the character, its picture, and if wanted its greetings. All of it or nothing.

    comfyvn import card mara.png --project demo --greetings
    """

    async def work() -> None:
        async with open_everything(settings_of(data), projecting=False) as opened:
            told = await import_card(
                opened.studio, file, Asker(actor), project=project, worldline=worldline, character_id=id,
                greetings=greetings, replace=replace, dry_run=dry_run,
            )
            await opened.audited_everything()
        _tell(told, dry_run, as_json)

    run(work, as_json=as_json)


@app.command()
def chat(
    file: Annotated[Path, typer.Argument(help="A chat as SillyTavern keeps it (.jsonl).")],
    project: Project = "default",
    worldline: Worldline = MAIN,
    id: Annotated[str | None, typer.Option("--id", help="Id of the scene; else from the file's name.",
                                           show_default=False)] = None,
    title: Annotated[str | None, typer.Option(help="Title of the scene; else the file's name.",
                                              show_default=False)] = None,
    replace: Replace = False,
    dry_run: DryRun = False,
    actor: Actor = "console",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take in a chat as a scene. With --replace a chat that went on adds what is new.

    comfyvn import chat "Mara - 2024-05-01.jsonl" --project demo --id mara-first
    """

    async def work() -> None:
        async with open_everything(settings_of(data), projecting=False) as opened:
            told = await import_chat(
                opened.studio, file, Asker(actor), project=project, worldline=worldline, scene_id=id, title=title,
                replace=replace, dry_run=dry_run,
            )
            await opened.audited_everything()
        _tell(told, dry_run, as_json)

    run(work, as_json=as_json)


@app.command()
def workflow(
    file: Annotated[Path, typer.Argument(help="A workflow of ComfyUI (JSON), or a PNG that one made.")],
    project: Project = "default",
    id: Annotated[str | None, typer.Option("--id", help="Id of the preset; else from the file's name.",
                                           show_default=False)] = None,
    title: Annotated[str | None, typer.Option(help="What people call it; else the file's name.",
                                              show_default=False)] = None,
    operation: Annotated[str | None, typer.Option(help="What it does, where that is guessed wrongly: text_to_image, …",
                                                  show_default=False)] = None,
    expose: Annotated[list[str] | None, typer.Option(
        metavar="NAME=NODE.INPUT", help="One more setting that can be given; several times for several.")] = None,
    replace: Replace = False,
    dry_run: DryRun = False,
    actor: Actor = "console",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take in a workflow of ComfyUI as a preset. Its prompts, seed, sizes, models and files become inputs.

    comfyvn import workflow portrait_api.json --expose clip_skip=12.stop_at_clip_layer

    What “Export (API)” writes is read as it is; what the editor saves needs a running ComfyUI. `comfyvn generate` with
    the id runs it.
    """

    async def work() -> None:
        checked("project", project)
        if operation is not None and operation not in get_args(Operation):
            usage(f"{operation[:60]!r} is no operation.", f"They are {', '.join(get_args(Operation))}.")
        async with open_everything(settings_of(data), projecting=False) as opened:
            taken = await take_workflow_file(
                opened.studio, file, Asker(actor), project=project, id_=id, title=title,
                operation=cast("Operation | None", operation), expose=_exposed(expose or []), replace=replace,
                dry_run=dry_run,
            )
            await opened.audited_everything()
        _tell_workflow(taken, dry_run, as_json)

    run(work, as_json=as_json)


def _exposed(given: list[str]) -> dict[str, str]:
    found = {}
    for one in given:
        name, equals, where = one.partition("=")
        if not equals or "." not in where:
            usage(f"{one[:80]!r} names no setting.", "Write NAME=NODE.INPUT, such as clip_skip=12.stop_at_clip_layer.")
        found[name] = where
    return found


def _tell_workflow(taken: Taken, dry_run: bool, as_json: bool) -> None:
    flow = taken.workflow
    if as_json:
        emit(told(taken, dry_run))
        return
    verb = "would be taken in" if dry_run else "is taken in" if taken.changed else "was there already"
    out().print(f"[bold]{escape(flow.id)}[/] {verb}: {flow.operation.replace('_', ' ')}, makes {flow.makes}.")
    table = Table(box=None, pad_edge=False)
    for name in ("input", "type", "", "where it goes", "now"):
        table.add_column(name, overflow="fold")
    for name, one in taken.preset["inputs"].items():
        now = str(one.get("default", ""))
        table.add_row(name, one["type"], "needed" if one.get("required") else "", escape(one["description"]),
                      escape(now if len(now) <= 60 else now[:59] + "…"))
    out().print(table)
    for note in flow.notes:
        err().print(f"  [yellow]{escape(note)}[/]")
    if flow.missing:
        err().print(f"  [yellow]ComfyUI lacks {escape(', '.join(flow.missing[:10]))}: install it before it runs.[/]")
    if not dry_run:
        out().print(f"`comfyvn generate {escape(flow.id)}` runs it.")


def _tell(told: Imported, dry_run: bool, as_json: bool) -> None:
    made: dict[str, Any] = {"character": told.character_id, "scene": told.scene_id, "asset": told.asset_id}
    if as_json:
        emit({"ok": True, "name": told.name, **made, "changed": told.changed, "position": told.position,
              "dry_run": dry_run, "warnings": list(told.warnings)})
        return
    verb = "would be taken in" if dry_run else "is taken in" if told.changed else "was there already"
    out().print(f"[bold]{escape(told.name)}[/] {verb}: "
                + ", ".join(f"{kind} {escape(id_)}" for kind, id_ in made.items() if id_))
    for warning in told.warnings:
        err().print(f"  [yellow]{escape(warning)}[/]")


def _tell_folder(told: ImportReport, as_json: bool) -> None:
    if as_json:
        emit({"ok": not told.failed, "folder": told.folder, "total": told.total, "skipped": told.skipped,
              "bytes": told.bytes, "position": told.position, "files": [one._asdict() for one in told.files]})
        return
    for one in told.files:
        if one.outcome == "failed":
            err().print(f"[red]{escape(one.path)}[/]: {escape(one.message)}")
        for warning in one.warnings:
            err().print(f"[yellow]{escape(one.path)}[/]: {escape(warning)}")
    fresh = told.count("registered", "would_register")
    known = told.count("known", "merged", "would_merge")
    out().print(f"{fresh:,} files registered, {known:,} known already, {len(told.failed):,} failed, "
                f"{told.skipped:,} skipped; {told.bytes:,} bytes.")
