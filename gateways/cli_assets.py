"""`comfyvn assets`: the stored bytes behind assets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.table import Table

from domain.errors import Refused, Remedy
from gateways.cli_console import AsJson, Data, emit, out, progress, run, settings_of
from services.bootstrap import open_everything
from services.orphans import GRACE_SECONDS, Surveyed, as_told, remove, survey

HOUR: Final = 3600.0

SHOWN: Final = 50
"""Orphans that people are shown; ``--json`` tells all of them."""

WHY: Final = {
    "": "may be removed", "fresh": "stored a moment ago", "job": "a job is at work", "trace": "a playtest's trace",
}

app = typer.Typer(no_args_is_help=True, help="The stored bytes behind assets.")


@app.callback()
def assets() -> None:
    """The stored bytes behind assets."""


@app.command()
def orphans(
    older_than: Annotated[
        float, typer.Option(min=0, max=24 * 3650, metavar="HOURS", help="Only what was stored longer ago may go.")
    ] = GRACE_SECONDS / HOUR,
    take_away: Annotated[bool, typer.Option("--remove", help="Remove what may be removed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --remove: show what would be removed.")] = False,
    traces: Annotated[bool, typer.Option("--traces", help="Stored traces of playtests may go as well.")] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="No other studio keeps its files in this object store.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List stored bytes that no event names: left behind by a crash between storing and recording.

    comfyvn assets orphans

    comfyvn assets orphans --remove --dry-run

    What an event names, what was stored within --older-than, and what a running job may be about to name always stays.
    """

    async def work() -> None:
        settings = settings_of(data)
        if take_away and not dry_run and settings.blobs_url is not None and not alone:
            raise Refused(
                "Files are in an object store: those of another studio would count as orphans here.",
                error="store_may_be_shared",
                remediation=[Remedy("Say --alone if no other studio uses that place.", "confirm"),
                             Remedy("Look first: --remove --dry-run.", "preview")],
            )
        async with open_everything(settings, projecting=False, create=False) as opened:
            studio = opened.studio
            with progress("Comparing with the log") as report:
                found = await survey(studio.log, studio.blobs, datetime.now(UTC), grace_seconds=older_than * HOUR,
                                     traces=traces, report=report)
            gone = None
            if take_away and not dry_run:
                with progress("Removing") as report:
                    gone = await remove(studio.log, studio.blobs, found, report)
        if as_json:
            emit(as_told(found, gone) | {"dry_run": dry_run})
            return
        _show(found)
        if gone is not None:
            out().print(f"Removed {len(gone):,} ({sum(one.size for one in gone):,} bytes).")
        elif found.removable:
            size = sum(one.size for one in found.removable)
            hint = "Nothing was removed (--dry-run)." if dry_run else "`--remove` removes them."
            out().print(f"{len(found.removable):,} may be removed ({size:,} bytes). {hint}")

    run(work, as_json=as_json)


def _show(found: Surveyed) -> None:
    out().print(f"{found.blobs:,} files stored ({found.bytes:,} bytes), compared with {found.head:,} events.")
    if not found.orphans:
        out().print("Every stored file is named by an event.")
        return
    table = Table(box=None, header_style="dim")
    for column in ("digest", "bytes", "stored", "what becomes of it"):
        table.add_column(column, justify="right" if column == "bytes" else "left", overflow="fold")
    for one in found.orphans[:SHOWN]:
        table.add_row(one.digest[:16], f"{one.size:,}", one.stored_at, WHY[one.stays])
    out().print(table)
    if len(found.orphans) > SHOWN:
        out().print(f"… and {len(found.orphans) - SHOWN:,} more; --json tells all of them.")
