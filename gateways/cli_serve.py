"""`comfyvn serve` and `comfyvn work`: the processes that keep running."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.markup import escape

from gateways import serving
from gateways.cli_console import AsJson, Data, emit, out, run
from services import journal
from services.bootstrap import Opened, open_everything
from services.settings import Settings
from services.supervisor import run_until_told


def serve(
    data: Data = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; anything but loopback needs a token.", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port, else 8001; 0 takes a free one.", show_default=False)
    ] = None,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Run the worker process beside the HTTP door.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Start the studio on a data folder and serve until Ctrl-C.

    comfyvn serve --data ./studio

    comfyvn serve --port 0 --json      # one JSON line with the address, for scripts

    The address also stands in DIR/server.json. With COMFYVN_NATS_URL and COMFYVN_DATABASE_URL the log and the read
    side are outside; without them an embedded nats-server and SQLite run on the data folder.
    """

    async def told(ready: serving.Ready, _: Opened) -> bool:
        if as_json:
            emit({"ready": True, **asdict(ready)})
            return True
        console = out()
        console.print(f"ComfyVN serves [bold]{escape(ready.data)}[/] at [bold cyan]{ready.url}[/]")
        console.print(f"  [dim]log {ready.log} · read side {ready.read_side} · every door {ready.url}/ · "
                      "Ctrl-C ends it[/]")
        return True

    async def working() -> None:
        await serving.serve(loud_settings(data, host=host, port=port), worker=worker, told=told)

    run(working, as_json=as_json, loop=uvloop.new_event_loop)


def work(
    data: Data = None,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
    as_json: AsJson = False,
) -> None:
    """Run the worker alone: read models, processes, audit, jobs. Beside `serve --no-worker` or on a machine of its own.

    comfyvn work --data ./studio
    """

    async def working() -> None:
        # The worker of a server never takes the folder of one that has died: the next server could not have it.
        opening = open_everything(
            loud_settings(data), role="worker", processes=True, auditing=True, jobs=True, hold=not with_parent
        )
        async with opening as opened:
            if as_json:
                emit({"ready": True, "attached_to": attached.pid if (attached := opened.reached.attached_to) else None})
            _, reason = await opened.background.failure()
            raise reason

    run(lambda: run_until_told(working(), with_parent=with_parent), as_json=as_json, loop=uvloop.new_event_loop)


def worker(
    data: Data = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=500, help="Jobs that it works on at a time.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a worker for jobs alone, beside `serve` or `work`: more of them do more at a time, and outlive each other.

    comfyvn worker --data ./studio --jobs 4
    """

    async def working() -> None:
        settings = loud_settings(data, worker_jobs=jobs)
        opening = open_everything(
            settings, role="worker", projecting=False, jobs=True, create=False, hold=False
        )
        async with opening as opened:
            assert opened.worker is not None, "a worker was asked for"
            if as_json:
                emit({"ready": True, "worker": opened.worker.name, "jobs": opened.worker.at_once})
            else:
                out().print(f"Worker [bold]{escape(opened.worker.name)}[/] takes up to {opened.worker.at_once} jobs at "
                            "a time. [dim]Ctrl-C ends it; what it has in hand goes to the next one.[/]")
            _, reason = await opened.background.failure()
            raise reason

    run(lambda: run_until_told(working()), as_json=as_json, loop=uvloop.new_event_loop)


def loud_settings(data: Path | None, **given: Any) -> Settings:
    """Settings for what keeps running: everything from ``log_level`` up is logged."""
    settings = Settings.load(data=data, **given)
    journal.configure(settings.log_level, settings.log_format)
    return settings
