"""`comfyvn token`: who may come in, for what, and in which projects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gateways.cli_console import AsJson, Data, DryRun, emit, err, out, run, settings_of
from services.access import EVERY, scopes_of
from services.bootstrap import reach_tokens
from services.registry import REGISTRY

app = typer.Typer(no_args_is_help=True, help="Who may come in, for what, and in which projects.")


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Whose it is; the log names it as the actor.")],
    scope: Annotated[
        list[str], typer.Option(help="scene:write, scene:*, *:read or * for everything. May be given several times.")
    ],
    project: Annotated[
        list[str] | None, typer.Option("--project", "-p", help="Only in these; else in all.", show_default=False)
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=36500, help="How long it is good; else for ever.", show_default=False)
    ] = None,
    dry_run: DryRun = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a token. Its secret is shown once: only a digest is kept.

    comfyvn token create --name ada --scope '*'

    comfyvn token create --name viewer --scope '*:read' --project demo --days 30
    """

    async def work() -> None:
        book = reach_tokens(settings_of(data))
        expires = None
        if days is not None:
            end = datetime.now(UTC) + timedelta(days=days)
            expires = end.isoformat(timespec="seconds").replace("+00:00", "Z")
        first = not book.list()
        secret = book.create(name, scope, project or (EVERY,), expires, dry_run=dry_run)
        told = {"name": name, "scopes": scope, "projects": project or [EVERY], "expires": expires}
        if as_json:
            emit(told | ({"dry_run": True} if dry_run else {"secret": secret}))
            return
        if dry_run:
            until = f" until {expires[:19]}" if expires else ""
            out().print(f"[yellow]Would be:[/] a token {escape(name)} for {escape(' '.join(scope))} in "
                        f"{escape(' '.join(told['projects']))}{until}.")
        else:
            out().print(secret, markup=False)
            err().print(f"[dim]This is the only time it is shown. Use it as: Authorization: Bearer {secret[:8]}…[/]")
        if first:
            err().print("[dim]It is the first: from then on every request needs a token, also on this machine.[/]")

    run(work, as_json=as_json)


@app.command("list")
def list_(data: Data = None, as_json: AsJson = False) -> None:
    """Every token that was made, without its secret.

    comfyvn token list
    """

    async def work() -> None:
        book = reach_tokens(settings_of(data))
        now = book.clock()
        listed = [
            {**{key: value for key, value in one._asdict().items() if key != "digest"}, "good": one.good_at(now)}
            for one in book.list()
        ]
        if as_json:
            emit({"tokens": listed, "scopes": sorted(scopes_of(REGISTRY))})
            return
        if not listed:
            out().print("No tokens. On loopback none is needed; `comfyvn token create` makes one.")
            return
        table = Table(box=None, header_style="dim")
        for column in ("name", "good", "scopes", "projects", "created", "expires", "revoked"):
            table.add_column(column, overflow="fold")
        for one in listed:
            good = "[green]yes[/]" if one["good"] else "[red]no[/]"
            table.add_row(escape(one["name"]), good, escape(" ".join(one["scopes"])), escape(" ".join(one["projects"])),
                          one["created"][:19], one["expires"][:19], one["revoked"][:19])
        out().print(table)

    run(work, as_json=as_json)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Name of the token.")], dry_run: DryRun = False, data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a token useless at once, for ever, also for running servers.

    comfyvn token revoke viewer
    """

    async def work() -> None:
        token = reach_tokens(settings_of(data)).revoke(name, dry_run=dry_run)
        if as_json:
            emit({"ok": True, "name": token.name, "revoked": token.revoked} | ({"dry_run": True} if dry_run else {}))
        elif dry_run:
            out().print(f"Token {escape(token.name)} " + (
                "is revoked already." if token.revoked else "would be useless at once, for ever."))
        else:
            out().print(f"Token {escape(token.name)} is revoked.")

    run(work, as_json=as_json)
