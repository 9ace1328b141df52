"""`comfyvn projections`: list, rebuild, verify and resume the read models."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from domain.ports import Checkpoint
from gateways.cli_console import AsJson, Data, ExitCode, emit, out, progress, run, settings_of
from services.bootstrap import open_everything
from services.rebuild import Rebuilt, Verified, named, rebuild, resume, verify
from services.registry import REGISTRY

app = typer.Typer(no_args_is_help=True, help="List, rebuild, verify and resume the read models.")

Names = Annotated[
    list[str] | None, typer.Argument(help="Projections; all when none is named.", show_default=False, metavar="[NAME]…")
]


@app.command("list")
def list_(data: Data = None, as_json: AsJson = False) -> None:
    """Every projection: how far it has counted, and whether something stopped it.

    comfyvn projections list --json | jq '.projections[] | select(.status != "live")'
    """

    async def work() -> None:
        async with open_everything(settings_of(data), projecting=False, create=False) as opened:
            head = await opened.studio.log.head()
            known = await asyncio.to_thread(opened.studio.models.checkpoints)
        listed = [_listed(name, known.get(name), head) for name in sorted(REGISTRY.projections)]
        if as_json:
            emit({"head": head, "projections": listed})
            return
        table = Table(title=f"Read models of a log that ends at {head:,}", title_justify="left", box=None,
                      header_style="dim")
        for column in ("projection", "status", "version", "position", "behind", "what it is"):
            table.add_column(column, overflow="fold",
                             justify="right" if column in ("version", "position", "behind") else "left")
        for one in listed:
            color = {"live": "green", "stopped": "bold red"}.get(one["status"], "yellow")
            table.add_row(one["projection"], f"[{color}]{one['status']}[/]", str(one["version"]),
                          f"{one['position']:,}", f"{one['behind']:,}", escape(one["error"] or one["about"]))
        out().print(table)

    run(work, as_json=as_json)


@app.command("rebuild")
def rebuild_(names: Names = None, data: Data = None, as_json: AsJson = False) -> None:
    """Build read models anew beside the live ones, then swap them in. Readers and writers go on meanwhile.

    comfyvn projections rebuild

    comfyvn projections rebuild documents timeline

    A damaged SQLite file is moved aside first. Exit code 1 when an event could not be applied; the live tables stay.
    """

    async def work() -> ExitCode:
        async with open_everything(settings_of(data), projecting=False, create=False) as opened:
            studio = opened.studio
            with progress("Rebuilding") as report:
                built = await rebuild(studio.log, studio.models, studio.registry, names or (), report)
        if as_json:
            emit({"ok": all(one.failure is None for one in built), "rebuilt": [_built(one) for one in built]})
        else:
            console = out()
            for one in built:
                failed = one.failure
                state = f"[bold red]kept as it was[/]: position {failed.position}: {escape(failed.reason)}" if failed \
                    else f"[green]rebuilt[/] up to position {one.position:,}"
                console.print(f"{one.projection:<24} {state}")
        return ExitCode.OK if all(one.failure is None for one in built) else ExitCode.NO

    run(work, as_json=as_json)


@app.command("verify")
def verify_(names: Names = None, data: Data = None, as_json: AsJson = False) -> None:
    """Build a second copy of every read model from the log and compare it with the live one, table by table.

    comfyvn projections verify

    Prints both digests; exit code 1 when any differ.
    """

    async def work() -> ExitCode:
        named(REGISTRY, names or ())  # nobody would ever have counted for a name that is none
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(names)
            compared = await verified(opened.studio, names or ())
        equal = all(one.equal for one in compared)
        if as_json:
            emit({"equal": equal, "tables": [{**one._asdict(), "equal": one.equal} for one in compared]})
        else:
            out().print(digests(compared))
            out().print("[green]Equal: every table is what the log says.[/]" if equal
                        else "[bold red]Not equal.[/] `comfyvn projections rebuild` builds them anew.")
        return ExitCode.OK if equal else ExitCode.NO

    run(work, as_json=as_json)


@app.command("resume")
def resume_(
    name: Annotated[str, typer.Argument(help="A stopped projection.")], data: Data = None, as_json: AsJson = False
) -> None:
    """Let a stopped projection go on from the event that stopped it, once what applies it is mended.

    comfyvn projections resume timeline
    """

    async def work() -> ExitCode:
        async with open_everything(settings_of(data), projecting=False, create=False) as opened:
            await resume(opened.studio.models, opened.studio.registry, name)
            known = await asyncio.to_thread(opened.studio.models.checkpoints)
            head = await opened.studio.log.head()
        listed = _listed(name, known.get(name), head)
        if as_json:
            emit(listed)
        else:
            out().print(f"{name} goes on from position {listed['position']:,} once a worker runs.")
        return ExitCode.OK

    run(work, as_json=as_json)


async def verified(studio: Any, names: tuple[str, ...] | list[str] = ()) -> list[Verified]:
    """Compares live tables with fresh ones, with a bar."""
    with progress("Verifying") as report:
        return await verify(studio.log, studio.models, studio.registry, names, report)


def digests(compared: list[Verified]) -> Table:
    """The digests of every table side by side, as much of each as fits; ``--json`` has them whole."""
    table = Table(box=None, header_style="dim")
    for column in ("table", "live", "built anew from the log", ""):
        table.add_column(column, no_wrap=True)
    for one in compared:
        sign = "[green]equal[/]" if one.equal else f"[bold red]differs[/] {escape(one.error)}"
        table.add_row(one.table, one.live[:20], one.rebuilt[:20], sign)
    return table


def _built(one: Rebuilt) -> dict[str, Any]:
    failed = one.failure
    return {"projection": one.projection, "position": one.position,
            "failure": None if failed is None else {"position": failed.position, "reason": failed.reason}}


def _listed(name: str, found: Checkpoint | None, head: int) -> dict[str, Any]:
    declared = REGISTRY.projections[name]
    position = found.position if found else 0
    status = "not built" if found is None else "beyond the log" if position > head else found.status
    if found is not None and found.version != declared.version:
        status = "outdated" if found.version < declared.version else "newer"
    return {
        "projection": name, "status": status, "version": found.version if found else declared.version,
        "declared_version": declared.version, "position": position, "behind": max(0, head - position),
        "failed_position": found.failed_position if found else 0, "error": found.error if found else "",
        "about": declared.about, "tables": [table.name for table in declared.tables],
    }
