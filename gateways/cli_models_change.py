"""`comfyvn models change`: an entry of one's own says something else from now on."""

from __future__ import annotations

from typing import Annotated, Any, Final, get_args

import typer
from rich.markup import escape
from rich.table import Table

from commands.studio.model import ChangeModel
from domain.ids import UNBRANCHED, checked
from domain.ports import Stream
from domain.studio.model import CATEGORY, Listed, Model, ModelChanged
from domain.studio.model_values import ModelType, Risk
from gateways.cli_console import Actor, AsJson, Data, Project, emit, err, out, run, settings_of, usage
from services.bootstrap import open_everything
from services.studio import Asker, Studio

CLEARED: Final = (
    "license_url", "sha256", "size_bytes", "source", "tags", "notes", "recommended_use", "hardware_notes",
    "engines",
)
"""What may be taken away; the rest an entry always has."""


def change(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Id of an entry of your own; they begin with custom-.")],
    name: Annotated[str | None, typer.Option(help="What people call it.", show_default=False)] = None,
    type_: Annotated[str | None, typer.Option("--type", help=" | ".join(get_args(ModelType)),
                                              show_default=False)] = None,
    url: Annotated[str | None, typer.Option(help="Where the file is: https://…", show_default=False)] = None,
    filename: Annotated[str | None, typer.Option(help="Its name in the models folder.", show_default=False)] = None,
    license_: Annotated[str | None, typer.Option("--license", help="MIT, Apache-2.0, …, or Unknown.",
                                                 show_default=False)] = None,
    license_url: Annotated[str | None, typer.Option(help="Where the licence can be read.", show_default=False)] = None,
    sha256: Annotated[str | None, typer.Option(help="Checksum: 64 hexadecimal digits.", show_default=False)] = None,
    size: Annotated[int | None, typer.Option(help="Size in bytes.", min=1, show_default=False)] = None,
    source: Annotated[str | None, typer.Option(help="Who made it, and where it is told about.",
                                               show_default=False)] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; those that are given are all there are.",
                                                  show_default=False)] = None,
    notes: Annotated[str | None, typer.Option(help="Notes.", show_default=False)] = None,
    recommended_use: Annotated[str | None, typer.Option(help="What it is good for.", show_default=False)] = None,
    hardware_notes: Annotated[str | None, typer.Option(help="What it needs.", show_default=False)] = None,
    engine: Annotated[list[str] | None, typer.Option(help="An engine that can use it; those that are given are all.",
                                                     show_default=False)] = None,
    clear: Annotated[list[str] | None, typer.Option(
        metavar="FIELD", help=f"Take this away: {' | '.join(CLEARED)}; several times.", show_default=False)] = None,
    accept: Annotated[list[str] | None, typer.Option(
        "--accept", metavar="RISK", help=f"I know: {' | '.join(get_args(Risk))}. What was accepted of the licence or "
        "the file is needed anew when that changes.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be changed.")] = False,
    project: Project = "default", actor: Actor = "console", data: Data = None, as_json: AsJson = False,
) -> None:
    """Change what an entry of your own says. Only what is named changes.

    comfyvn models change custom-harbour-light --license MIT --clear sha256 --accept checksum_missing
    """

    async def work() -> None:
        given: dict[str, Any] = {
            "name": name, "type": type_, "url": url, "filename": filename, "license": license_,
            "license_url": license_url, "sha256": sha256, "size_bytes": size, "source": source, "notes": notes,
            "recommended_use": recommended_use, "hardware_notes": hardware_notes,
            "tags": tuple(tag) if tag else None, "engines": tuple(engine) if engine else None,
        }
        told = {field: value for field, value in given.items() if value is not None} | _cleared(clear or [], given)
        if not told and not accept:
            usage("Nothing is named that would change.", "`comfyvn models change --help` lists what can.")
        command = ChangeModel.model_validate({"model_id": checked("model", model), **told, "acknowledge": accept or ()})
        async with open_everything(settings_of(data), create=False, projecting=False) as opened:
            before = await _entry(opened.studio, checked("project", project), model)
            receipt = await opened.studio.ask(command, Asker(actor), project=project, dry_run=dry_run)
            after = await _entry(opened.studio, project, model)
            await opened.audited_everything()
        for event in receipt.would or ():
            if isinstance(event, ModelChanged):
                after = event.entry.model_dump(mode="json")
        changed = bool(receipt.would if dry_run else receipt.events)
        differing = {field: [before.get(field), value] for field, value in after.items() if before.get(field) != value}
        warnings = receipt.told.get("warnings", [])
        if as_json:
            emit({"ok": True, "dry_run": dry_run, "changed": changed, "id": receipt.id, "version": receipt.version,
                  "differing": differing, "warnings": warnings})
            return
        _print(receipt.id, differing, changed=changed, dry_run=dry_run)
        for warning in warnings:
            err().print(f"[yellow]• {escape(warning)}[/]")

    run(work, as_json=as_json)


def _cleared(clear: list[str], given: dict[str, Any]) -> dict[str, None]:
    for field in clear:
        if field not in CLEARED:
            usage(f"{field[:40]!r} cannot be taken away.", f"One of {', '.join(CLEARED)} can.")
        if given.get(field) is not None:
            usage(f"{field} is given and taken away.", "Do one of both.")
    return dict.fromkeys(clear)


async def _entry(studio: Studio, project: str, model: str) -> dict[str, Any]:
    """What the entry says now; empty where there is none: the command says so."""
    state: Model = (await studio.dispatcher.aggregates.load(Stream(project, UNBRANCHED, CATEGORY, model))).state
    return state.listing.entry.model_dump(mode="json") if isinstance(state.listing, Listed) else {}


def _print(id_: str, differing: dict[str, Any], *, changed: bool, dry_run: bool) -> None:
    if not changed:
        out().print(f"[bold]{escape(id_)}[/] [dim]is so already.[/]")
        return
    out().print(f"[bold]{escape(id_)}[/] {'would be changed' if dry_run else 'is changed'}.")
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(4):
        table.add_column(overflow="fold")
    for field, (was, now) in differing.items():
        table.add_row(f"[dim]{field}[/]", f"[red]{escape(_said(was))}[/]", "→", f"[green]{escape(_said(now))}[/]")
    if differing:
        out().print(table)


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)
