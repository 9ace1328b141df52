"""`comfyvn doctor`: what is in force, where it comes from, and whether it is well."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from gateways.cli_console import AsJson, Data, emit, err, out, run, settings_of
from services.doctor import Verdict, examine, gathered, in_force, worst

COLORS: Final[dict[Verdict, str]] = {"well": "green", "warning": "yellow", "broken": "bold red"}
EXITS: Final[dict[Verdict, int]] = {"well": 0, "warning": 1, "broken": 2}


def doctor(
    data: Data = None,
    as_json: AsJson = False,
    bundle: Annotated[Path | None, typer.Option(
        "--bundle", metavar="FILE", help="Also write all of it to a file to send; - is standard output. No secrets.",
        show_default=False,
    )] = None,
    settings_only: Annotated[bool, typer.Option("--settings", help="Only the settings in force.")] = False,
) -> None:
    """What is in force, where it comes from, and whether it is well.

    comfyvn doctor --data ./studio

    comfyvn doctor --bundle diagnostics.json

    comfyvn doctor --json | jq '.findings[] | select(.verdict != "well")'

    Exit code: 0 all is well, 1 something is worth a look, 2 something is broken. Secrets are never shown.
    """
    verdict: Verdict = "well"

    async def work() -> None:
        nonlocal verdict
        settings = settings_of(data)
        forced = in_force(settings)
        findings = [] if settings_only else await examine(settings)
        verdict = worst(findings)
        if bundle is not None:
            told = gathered(forced, findings)
            if str(bundle) == "-":
                emit(told)
                return
            bundle.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2, default=str) + b"\n")
            err().print(f"[dim]Written to {escape(str(bundle))}: look through it before you send it.[/]")
        if as_json:
            emit({"verdict": verdict, "settings": forced, "findings": [asdict(finding) for finding in findings]})
            return
        console = out()
        table = Table(box=None, header_style="dim", pad_edge=False)
        for column in ("setting", "value", "from"):
            table.add_column(column, overflow="fold")
        for one in forced:
            value = "" if one["value"] in (None, []) else str(one["value"])
            style = "dim" if one["from"] == "default" else ""
            table.add_row(one["name"], escape(value), one["from"], style=style)
        console.print(table)
        console.print()
        for finding in findings:
            console.print(f"[{COLORS[finding.verdict]}]{finding.verdict:<7}[/]  [bold]{escape(finding.check)}[/]  "
                          f"{escape(finding.text)}")
            if finding.remedy:
                console.print(f"         [dim]→[/] {escape(finding.remedy)}")

    run(work, as_json=as_json)
    if verdict != "well":
        raise typer.Exit(EXITS[verdict])
