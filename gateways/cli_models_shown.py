"""Models on the terminal: the catalogue, one of them, a download that is over, and what one would mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from gateways.cli_console import ExitCode, emit, err, out


def catalogue(models: Iterable[Mapping[str, Any]]) -> Table:
    """A line for each."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("model", "type", "size", "licence", "there", "to know"):
        table.add_column(name, overflow="fold", no_wrap=name in ("model", "type", "size"))
    for one in models:
        table.add_row(
            escape(one["id"]), one["type"], decimal(one["size_bytes"]) if one["size_bytes"] else "?",
            escape(one["license"]), _there(one), ", ".join(one["risks"]),
        )
    return table


def _there(one: Mapping[str, Any]) -> str:
    if one["installed"]:
        return "[green]yes[/]"
    if one["another_file"]:
        return "[red]another file[/]"
    download = one["download"]
    if download and download["status"] in ("waiting", "running"):
        progress = download["progress"]
        share = f"{100 * progress['done'] // progress['total']} %" if progress["total"] else "…"
        return f"[yellow]{share}[/]"
    return "[red]failed[/]" if download and download["status"] == "failed" else "[dim]no[/]"


def tell_model(one: Mapping[str, Any]) -> None:
    """Everything about one."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name in ("name", "type", "path", "size_bytes", "license", "license_url", "source", "url", "sha256",
                 "recommended_use", "hardware_notes", "notes", "tags", "added_by"):
        if value := one.get(name):
            told = decimal(value) if name == "size_bytes" else ", ".join(value) if name == "tags" else str(value)
            table.add_row(f"[dim]{name.replace('_', ' ')}[/]", escape(told))
    table.add_row("[dim]there[/]", _there(one))
    out().print(f"[bold]{escape(one['id'])}[/] [dim]({one['origin']})[/]")
    out().print(table)
    for warning in one["warnings"]:
        out().print(f"[yellow]• {escape(warning)}[/]")
    for known in one["acknowledged"]:
        out().print(f"[dim]{known['risk']} acknowledged by {escape(known['acknowledged_by'])}, "
                    f"{known['acknowledged_at'][:19]}[/]")
    _tell_error(one["download"])


def tell_end(one: Mapping[str, Any], as_json: bool) -> ExitCode:
    """What came of a download."""
    state = one["download"]
    if as_json:
        emit(one)
    elif state["status"] == "finished":
        result = state["result"]
        how = "was there already" if result["reused"] else "is there"
        out().print(f"[bold]{escape(result['path'])}[/] {how}: {decimal(result['size_bytes'])}, {result['format']}.")
        out().print(f"[dim]sha256 {result['sha256']}[/]")
    elif state["status"] == "cancelled":
        err().print("[yellow]It was cancelled.[/]")
    else:
        _tell_error(state)
    return ExitCode.OK if state["status"] == "finished" else ExitCode.NO


def _tell_error(download: Mapping[str, Any] | None) -> None:
    if download and download["error"] and download["status"] == "failed":
        error = download["error"]
        err().print(f"[bold red]{error['code']}: {escape(error['message'])}[/]")
        for remedy in error["remediation"]:
            err().print(f"  [dim]→[/] {escape(remedy['text'])}")
        if hint := error["detail"].get("hint"):
            err().print(f"  [dim]→[/] {escape(str(hint))}")


def foretell(told: Mapping[str, Any], as_json: bool) -> ExitCode:
    """What a download would mean."""
    if as_json:
        emit(told)
        return ExitCode.OK if told["ok"] else ExitCode.NO
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    size = told["size_bytes"]
    rows = {
        "from": told["url"], "to": told["target"], "size": decimal(size) if size else "nobody has said",
        "came already": decimal(told["have_bytes"]) if told["have_bytes"] else "", "free": decimal(told["free_bytes"]),
        "licence": f"{told['license']} {told['license_url']}", "checksum": told["sha256"] or "none",
        "there": "yes" if told["installed"] else "",
    }
    for name, value in rows.items():
        if value:
            table.add_row(f"[dim]{name}[/]", escape(value))
    out().print(table)
    for warning in told["warnings"]:
        out().print(f"[yellow]• {escape(warning)}[/]")
    for one in told["hindrances"]:
        err().print(f"[red]{one['code']}: {escape(one['message'])}[/]")
    for risk in told["to_acknowledge"]:
        err().print(f"[yellow]It would be refused without --accept {risk}[/]")
    return ExitCode.OK if told["ok"] else ExitCode.NO
