"""`comfyvn models`: the catalogue of model files, and downloads that go on where they stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, get_args

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from commands.declaration import Command
from commands.studio.model import AcknowledgeModel, AddModel, RemoveModel
from commands.studio.model_downloads import CancelModelDownload, RequestModelDownload
from domain.ids import checked
from domain.studio.model_values import ModelType, Risk
from gateways.cli_asking import receive
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
    spoken,
    tell_more,
    usage,
)
from gateways.cli_models_shown import catalogue, foretell, tell_end, tell_model
from projections.studio.model_catalogue import ListModels, ShowModel
from services.bootstrap import Opened, open_everything
from services.models.catalogue import listed, planned, requested, shown, verified
from services.studio import Asker

app = typer.Typer(no_args_is_help=True, help="Model files: the catalogue, entries of your own, downloads.")

LOOK_SECONDS: Final = 0.3
READS: Final = ("models",)

ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="Id; `comfyvn models list` has them all.")]
Accept = Annotated[list[str] | None, typer.Option(
    "--accept", metavar="RISK", help=f"I know: {' | '.join(get_args(Risk))}. Recorded with your name; several times "
    "for several.", show_default=False,
)]


@app.command("list")
def list_(
    type_: Annotated[str | None, typer.Option("--type", help=" | ".join(get_args(ModelType)),
                                              show_default=False)] = None,
    engine: Annotated[str | None, typer.Option(help="Only what this engine can use.", show_default=False)] = None,
    license_: Annotated[str | None, typer.Option("--license", help="Only with this licence.",
                                                 show_default=False)] = None,
    installed: Annotated[bool | None, typer.Option("--installed/--missing", help="Only what is there, or what is not.",
                                                   show_default=False)] = None,
    own: Annotated[bool, typer.Option("--own", help="Only the project's own entries.")] = False,
    q: Annotated[str | None, typer.Option("--search", help="A word of name, file, notes or use.",
                                          show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Most entries.")] = 100, cursor: Cursor = "",
    project: Project = "default", data: Data = None, as_json: AsJson = False,
) -> None:
    """The catalogue: what is there, what could be, under which licence.

    comfyvn models list --type vae --missing
    """

    async def work() -> None:
        if type_ is not None and type_ not in get_args(ModelType):
            usage(f"{type_!r} is no type.", f"Use one of {', '.join(get_args(ModelType))}.")
        query = ListModels.model_validate({
            "project": checked("project", project), "type": type_, "engine": engine, "license": license_,
            "installed": installed, "origin": "custom" if own else None, "q": q, "limit": limit,
            "cursor": cursor,
        })
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(READS)
            found = (await listed(opened.studio, query)).answer
        if as_json:
            emit(found)
            return
        out().print(catalogue(found["items"]))
        tell_more(found["next"])

    run(work, as_json=as_json)


@app.command()
def show(model: ModelId, project: Project = "default", data: Data = None, as_json: AsJson = False) -> None:
    """One model: what it is, what has to be acknowledged, whether it is there, how its download stands.

    comfyvn models show sdxl-base-1.0
    """

    async def work() -> None:
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(READS)
            one = await _shown(opened, project, model)
        if as_json:
            emit(one)
            return
        tell_model(one)

    run(work, as_json=as_json)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    url: Annotated[str, typer.Option(help="Where the file is: https://…")],
    type_: Annotated[str, typer.Option("--type", help=" | ".join(get_args(ModelType)))],
    filename: Annotated[str | None, typer.Option(help="Its name in the models folder; else that of the address.",
                                                 show_default=False)] = None,
    license_: Annotated[str, typer.Option("--license", help="MIT, Apache-2.0, …, or Unknown.")] = "Unknown",
    license_url: Annotated[str, typer.Option(help="Where the licence can be read.")] = "",
    sha256: Annotated[str | None, typer.Option(help="Checksum: 64 hexadecimal digits.", show_default=False)] = None,
    size: Annotated[int | None, typer.Option(help="Size in bytes.", min=1, show_default=False)] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; several times for several.")] = None,
    notes: Annotated[str | None, typer.Option(help="Notes.", show_default=False)] = None,
    id_: Annotated[str | None, typer.Option("--id", help="Id; `custom-` is put in front.", show_default=False)] = None,
    accept: Accept = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be recorded.")] = False,
    project: Project = "default", actor: Actor = "console", data: Data = None, as_json: AsJson = False,
) -> None:
    """Add an entry of your own to the catalogue.

    comfyvn models add Harbour --type lora --url https://models.example/harbour.safetensors --license MIT
    """

    async def work() -> None:
        told = {
            "model_id": id_, "name": name, "type": type_, "url": url, "license": license_, "license_url": license_url,
            "filename": filename or url.partition("?")[0].rpartition("/")[2], "sha256": sha256, "size_bytes": size,
            "tags": tuple(tag or ()), "notes": notes, "acknowledge": tuple(accept or ()),
        }
        command = AddModel.model_validate(told)
        async with open_everything(settings_of(data)) as opened:
            receipt = await opened.studio.ask(command, Asker(actor), project=project, dry_run=dry_run)
            await opened.audited_everything()
        warnings = receipt.told.get("warnings", [])
        if as_json:
            emit({"ok": True, "id": receipt.id, "version": receipt.version, "warnings": warnings, "dry_run": dry_run,
                  "events": [one.type for one in receipt.events]})
            return
        out().print(f"[bold]{escape(receipt.id)}[/]" + (" would be added." if dry_run else
                    " is in the catalogue." if receipt.events else " is so already."))
        for warning in warnings:
            err().print(f"[yellow]• {escape(warning)}[/]")

    run(work, as_json=as_json)


@app.command()
def remove(
    model: ModelId, project: Project = "default", dry_run: DryRun = False, actor: Actor = "console",
    data: Data = None, as_json: AsJson = False,
) -> None:
    """Take an entry of your own out of the catalogue. A file that was downloaded stays.

    comfyvn models remove custom-harbour-light
    """
    _asked(lambda: RemoveModel(model_id=model), "removed", project, actor, data, dry_run=dry_run, as_json=as_json)


@app.command()
def acknowledge(
    model: ModelId, accept: Accept = None, project: Project = "default", dry_run: DryRun = False,
    actor: Actor = "console", data: Data = None, as_json: AsJson = False,
) -> None:
    """Take responsibility for what is risky about a model: recorded with your name.

    comfyvn models acknowledge realesrgan-x4plus --accept pickle
    """

    def command() -> AcknowledgeModel:
        if not accept:
            usage("Name what you accept.", f"--accept {' | '.join(get_args(Risk))}")
        return AcknowledgeModel.model_validate({"model_id": model, "acknowledge": tuple(accept)})

    _asked(command, "acknowledged", project, actor, data, dry_run=dry_run, as_json=as_json)


@app.command()
def cancel(
    model: ModelId, reason: Annotated[str, typer.Option(help="Why.")] = "", project: Project = "default",
    dry_run: DryRun = False, actor: Actor = "console", data: Data = None, as_json: AsJson = False,
) -> None:
    """Stop a download; what had come is thrown away.

    comfyvn models cancel sdxl-base-1.0
    """
    _asked(lambda: CancelModelDownload(model_id=model, reason=reason), "cancelled", project, actor, data,
           dry_run=dry_run, as_json=as_json)


def _asked(
    made: Callable[[], Command], done: str, project: str, actor: str, data: Path | None, *, dry_run: bool, as_json: bool
) -> None:
    async def work() -> None:
        receipt = await receive(made, actor, project, data, dry_run=dry_run, create=False, processes=not dry_run)
        events = [type(one).__name__ for one in receipt.would or ()] if dry_run else [
            one.type for one in receipt.events]
        if as_json:
            emit({"ok": True, "id": receipt.id, "version": receipt.version, "dry_run": dry_run,
                  "changed": bool(events), "events": events})
        elif events:
            out().print(f"[bold]{escape(receipt.id)}[/] {'would be' if dry_run else 'is'} {done}.")
        else:
            out().print(f"[bold]{escape(receipt.id)}[/] is {done} already.")

    run(work, as_json=as_json)


@app.command()
def download(
    model: ModelId,
    accept: Accept = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell size, licence, target and free space.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait: a running studio does it.")] = False,
    project: Project = "default", actor: Actor = "console", data: Data = None, as_json: AsJson = False,
) -> None:
    """Download a model's file, check it, and put it into the models folder. It goes on where it stopped.

    comfyvn models download flux-vae --dry-run

    comfyvn models download sdxl-base-1.0 --accept license_terms
    """

    async def work() -> ExitCode:
        checked("project", project)
        command = RequestModelDownload.model_validate({
            "model_id": checked("model", model), "acknowledge": tuple(accept or ()),
        })
        async with open_everything(settings_of(data), processes=not dry_run) as opened:
            if dry_run:
                return foretell(await planned(opened.studio, project, command), as_json)
            receipt = await requested(opened.studio, project, command, Asker(actor))
            if detach:
                await opened.audited_everything()
                told = {"ok": True, "id": receipt.id, "status": "waiting"}
                if as_json:
                    emit(told)
                else:
                    out().print(f"[bold]{escape(receipt.id)}[/] is asked for.")
                return ExitCode.OK
            await opened.counted_everything(READS)
            one = await _followed(opened, project, model, as_json)
            await opened.audited_everything()
        return tell_end(one, as_json)

    run(work, as_json=as_json)


async def _followed(opened: Opened, project: str, model: str, as_json: bool) -> dict[str, Any]:
    """The model, once its download is over; a bar meanwhile where somebody looks."""
    console, say = err(), spoken(f"{model}, bytes")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
               TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=as_json or not console.is_terminal) as bar:
        task = bar.add_task(model, total=None)
        while True:
            one = await _shown(opened, project, model)
            state = one["download"]
            progress = state["progress"]
            bar.update(task, description=f"{escape(model)} {progress['phase']}", completed=progress["done"],
                       total=progress["total"] or None)
            if not as_json and not console.is_terminal:
                say(progress["done"], progress["total"])
            if state["status"] not in ("waiting", "running"):
                return one
            await asyncio.sleep(LOOK_SECONDS)


async def _shown(opened: Opened, project: str, model: str) -> dict[str, Any]:
    query = ShowModel.model_validate({"project": checked("project", project), "model_id": checked("model", model)})
    answer: dict[str, Any] = (await shown(opened.studio, query)).answer
    return answer


@app.command()
def verify(model: ModelId, project: Project = "default", data: Data = None, as_json: AsJson = False) -> None:
    """Read the whole file and say whether it is the right one. Exit code 1 when it is not.

    comfyvn models verify flux-vae
    """

    async def work() -> ExitCode:
        async with open_everything(settings_of(data), create=False) as opened:
            told = await verified(opened.studio, checked("project", project), checked("model", model))
        if as_json:
            emit(told)
        else:
            colour = "green" if told["ok"] else "red"
            out().print(f"[{colour}]{escape(told['message'])}[/]")
            out().print(f"[dim]{escape(told['path'])}: {told['size_bytes']:,} bytes, sha256 {told['sha256']}[/]")
        return ExitCode.OK if told["ok"] else ExitCode.NO

    run(work, as_json=as_json)
