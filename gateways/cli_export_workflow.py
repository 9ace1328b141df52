"""`comfyvn export workflow`: the graph that a preset, a job or a picture was made with, as a file again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.markup import escape

from domain.errors import Refused, Remedy
from domain.ids import checked
from gateways.cli_console import AsJson, Data, Project, emit, err, out, run, settings_of
from services.bootstrap import open_everything
from services.generation.stored_workflows import Stored, stored_workflow, workflow_of_preset
from services.studio import Studio


def workflow(
    what: Annotated[str, typer.Argument(metavar="PRESET|DIGEST", help="A preset that was made of a workflow, or the "
                                        "digest that a plan or an asset tells.")],
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Where to; else standard output.",
                                                show_default=False)] = None,
    job: Annotated[str | None, typer.Option(help="The job that ran it, where presets have others by now.",
                                            show_default=False)] = None,
    asset: Annotated[str | None, typer.Option(help="The uid of an asset that it made.", show_default=False)] = None,
    graph: Annotated[bool, typer.Option("--graph", help="The graph alone, as ComfyUI takes it.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    project: Project = "default", data: Data = None, as_json: AsJson = False,
) -> None:
    """Give a stored workflow back, as it was taken in or, with --graph, as ComfyUI takes it.

    comfyvn export workflow bottle bottle_api.json --graph
    """

    async def work() -> None:
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["presets"])
            found = await _found(opened.studio, checked("project", project), what, job, asset)
        content = found.content if not graph else orjson.dumps(found.graph, option=orjson.OPT_INDENT_2) + b"\n"
        if file is not None:
            _write(file, content, force=force)
        if as_json:
            told = {"ok": True, "digest": found.digest, "bytes": len(content)}
            emit(told | ({"path": str(file)} if file is not None else {
                "path": None, "workflow": found.graph if graph else found.document}))
        elif file is None:
            typer.echo(content.decode())
        else:
            out().print(f"[bold]{escape(str(file))}[/] holds the workflow {found.digest[:12]}, {len(content):,} bytes.")
            if graph:
                err().print("[dim]Load it in ComfyUI, or take it in: `comfyvn import workflow FILE`.[/]")

    run(work, as_json=as_json)


async def _found(studio: Studio, project: str, what: str, job: str | None, asset: str | None) -> Stored:
    if len(what.removeprefix("sha256:")) == 64 or job is not None or asset is not None:
        return await stored_workflow(studio, project, what, job=job, asset=asset)
    return await workflow_of_preset(studio, project, what)


def _write(file: Path, content: bytes, *, force: bool) -> None:
    try:
        with file.open("wb" if force else "xb") as place:
            place.write(content)
    except FileExistsError:
        raise Refused(
            f"{file} is there already.", error="target_exists",
            remediation=[Remedy("Name another file, or write over it with --force.", "choose_name")],
        ) from None
