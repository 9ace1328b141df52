"""Asking one command on the console, and saying what became of it: done, so already, or what it would be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.markup import escape

from commands.declaration import Command
from domain.ids import checked
from gateways.cli_console import Data, emit, out, run, settings_of
from services.bootstrap import open_everything
from services.dispatcher import Receipt
from services.studio import Asker


async def receive(
    made: Callable[[], Command], actor: str, project: str, data: Path | None, *, dry_run: bool, **opening: bool
) -> Receipt:
    """Opens the studio (as ``open_everything``), asks one command, and gives what became of it."""
    checked("project", project)
    command = made()
    async with open_everything(settings_of(data), **opening) as opened:
        receipt = await opened.studio.ask(command, Asker(actor), project=project, dry_run=dry_run)
        await opened.audited_everything()
    return receipt


def ask(
    project: str, made: Callable[[], Command], said: str, actor: str, data: Data, *, dry_run: bool, as_json: bool
) -> None:
    """Asks one command and tells what became of it."""

    async def work() -> None:
        receipt = await receive(made, actor, project, data, dry_run=dry_run, projecting=False, create=not dry_run)
        changed = bool(receipt.would if dry_run else receipt.events)
        if as_json:
            emit({"ok": True, "dry_run": dry_run, "changed": changed, "project": project,
                  "position": receipt.position, **receipt.told})
        elif not changed:
            out().print("[dim]It is so already.[/]")
        else:
            out().print(("[yellow]Would be:[/] " if dry_run else "[green]Done:[/] ") + escape(said))

    run(work, as_json=as_json)
