"""`comfyvn providers`: bring your own key. A key comes from a prompt, standard input or a variable, never from argv."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from domain.errors import ComfyVNError, Invalid, NotFound, Remedy
from domain.ports.secrets import SecretStore
from gateways.cli_console import Actor, AsJson, Data, DryRun, ExitCode, emit, err, out, run, settings_of
from services.bootstrap import open_everything, open_studio, reach_vault
from services.providers import PROVIDERS, Provider, Providers
from services.studio import Asker

app = typer.Typer(no_args_is_help=True, help="Bring your own key: connect, test and remove remote providers.")

Id = Annotated[str, typer.Argument(help="provider_fal, provider_kling, …; `comfyvn providers list` has them all.")]


@app.command("list")
def list_(data: Data = None, as_json: AsJson = False) -> None:
    """Every provider: what its key is made of, and whether it is connected.

    comfyvn providers list

    comfyvn providers list --json | jq '.items[] | select(.connected) | .id'
    """

    async def work() -> None:
        async with open_studio(settings_of(data), projecting=False) as studio:
            told = await Providers(studio).list()
        if as_json:
            emit(told)
            return
        table = Table(box=None, header_style="dim", pad_edge=False)
        for column in ("provider", "status", "key", "since", "by", "its key is"):
            table.add_column(column, overflow="fold")
        for one in told["items"]:
            key = one["key"] or {}
            style = "green" if one["connected"] and one["status"] == "connected" else "dim" if not key else "yellow"
            parts = ", ".join(part["name"] + ("" if part["required"] else " (optional)") for part in one["fields"])
            table.add_row(
                one["id"], f"[{style}]{one['status'].replace('_', ' ')}[/]", key.get("fingerprint", ""),
                str(key.get("since", ""))[:19], escape(key.get("connected_by") or ""), parts,
            )
        out().print(table)
        if told["vault"]["trouble"]:
            err().print(f"[bold red]{escape(told['vault']['trouble'])}[/]")

    run(work, as_json=as_json)


@app.command()
def connect(
    provider: Id,
    env: Annotated[list[str] | None, typer.Option(
        "--env", metavar="PART=VARIABLE", help="Take a part of the key from a variable of the environment.",
        show_default=False,
    )] = None,
    stdin: Annotated[bool, typer.Option(
        "--stdin", help="Read the key from standard input: the key alone, or a JSON object of its parts.",
    )] = False,
    unverified: Annotated[bool, typer.Option(
        "--unverified", help="Store it without asking the provider whether it is good.",
    )] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only ask whether the key is good; store nothing.",
                                          )] = False,
    actor: Actor = "console", data: Data = None, as_json: AsJson = False,
) -> None:
    """Connect a provider, or give it another key. Without options the key is asked for, unseen.

    comfyvn providers connect provider_fal

    comfyvn providers connect provider_kling --env access_key=KLING_ACCESS --env secret_key=KLING_SECRET

    pass show fal | comfyvn providers connect provider_fal --stdin
    """

    async def work() -> None:
        settings = settings_of(data)
        declared = _declared(provider)
        values = _from_env(declared, env) if env else _from_stdin(declared) if stdin else _from_prompt(declared)
        async with open_everything(settings, projecting=False, create=not dry_run) as opened:
            told = await Providers(opened.studio).connect(
                provider, values, Asker(actor), verify=not unverified, dry_run=dry_run)
            await opened.audited_everything()
        if as_json:
            emit(told)
            return
        balance = f" Balance: {told['balance']:g} {told['balance_unit']}." if told["balance"] is not None else ""
        key = f" Key {told['key']['fingerprint']}." if told["key"] else ""
        out().print(f"[green]{escape(told['message'])}[/]{escape(balance)}{key}")

    run(work, as_json=as_json)


@app.command("test")
def ask(provider: Id, data: Data = None, as_json: AsJson = False) -> None:
    """Ask a provider whether the stored key is good. Exit code 1 when it is not.

    comfyvn providers test provider_fal
    """

    async def work() -> ExitCode:
        async with open_everything(settings_of(data), projecting=False) as opened:
            told = await Providers(opened.studio).test(provider)
            await opened.audited_everything()
        if as_json:
            emit(told)
        else:
            balance = f" Balance: {told['balance']:g} {told['balance_unit']}." if told["balance"] is not None else ""
            out().print(f"[{'green' if told['ok'] else 'bold red'}]{escape(told['message'])}[/]{escape(balance)}")
            for remedy in told["remediation"]:
                out().print(f"  [dim]→[/] {escape(remedy['text'])}")
        return ExitCode.OK if told["ok"] else ExitCode.NO

    run(work, as_json=as_json)


@app.command()
def remove(
    provider: Id,
    reason: Annotated[str, typer.Option(help="Why; the log keeps it.")] = "",
    dry_run: DryRun = False,
    actor: Actor = "console", data: Data = None, as_json: AsJson = False,
) -> None:
    """Forget a provider's key.

    comfyvn providers remove provider_fal --reason "moved to another account"
    """

    async def work() -> None:
        async with open_everything(settings_of(data), projecting=False, create=False) as opened:
            told = await Providers(opened.studio).remove(provider, Asker(actor), reason=reason[:500], dry_run=dry_run)
            await opened.audited_everything()
        emit(told) if as_json else out().print(escape(told["message"]))

    run(work, as_json=as_json)


@app.command("rotate-key")
def rotate_key(
    passphrase: Annotated[bool, typer.Option(
        "--passphrase", help="Seal with a passphrase from now on; it is asked for, or read from standard input.",
    )] = False,
    dry_run: DryRun = False, data: Data = None, as_json: AsJson = False,
) -> None:
    """Seal the vault under a new master key. Older copies of the data folder cannot be opened any more.

    comfyvn providers rotate-key

    comfyvn providers rotate-key --passphrase
    """

    async def work() -> None:
        vault = reach_vault(settings_of(data))
        if dry_run:
            _foretell(vault.store, passphrase, as_json)
            return
        words = None
        if passphrase:
            if sys.stdin.isatty():
                words = typer.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True)
            else:
                words = sys.stdin.readline().rstrip("\r\n")
        key_id = vault.store.rotate(words)
        if as_json:
            emit({"ok": True, "key_id": key_id, "lock": "passphrase" if passphrase else "key_file"})
            return
        out().print(f"The vault is sealed with the new master key {key_id}.")
        if passphrase:
            err().print("[dim]Set COMFYVN_VAULT_PASSPHRASE for the server, and start it again.[/]")

    run(work, as_json=as_json)


def _foretell(store: SecretStore, passphrase: bool, as_json: bool) -> None:
    keys = len(store.all())  # says why, and what helps, where it cannot be opened
    lock = "passphrase" if passphrase else "key_file"
    if as_json:
        emit({"ok": True, "dry_run": True, "keys": keys, "key_id": store.state().key_id, "lock": lock})
        return
    out().print(f"[yellow]Would be:[/] {keys:,} keys sealed under a new master key, by "
                f"{'a passphrase' if passphrase else 'a key file'}. Copies that were made of the data folder before "
                "could not be opened any more.")


def _declared(provider: str) -> Provider:
    if provider not in PROVIDERS:
        raise NotFound(
            f"There is no provider {provider[:96]!a}.", error="unknown_provider",
            remediation=[Remedy(f"Choose one of {', '.join(PROVIDERS)}.", "list_providers")],
        )
    return PROVIDERS[provider]


def _from_env(provider: Provider, named: list[str]) -> dict[str, str]:
    found = {}
    for one in named:
        part, _, variable = one.partition("=")
        if not part or not variable or "=" in variable:
            # What was given may be the key itself: it is not repeated.
            raise _unusable("--env names a part and a variable, as in --env api_key=FAL_KEY.")
        if variable not in os.environ:
            raise _unusable(f"There is no variable for the part {part[:40]} in the environment.")
        found[part] = os.environ[variable]
    return found


def _from_stdin(provider: Provider) -> Mapping[str, Any]:
    text = sys.stdin.read(64 * 1024).strip()
    if text.startswith("{"):
        try:
            told = orjson.loads(text)
        except ValueError:
            raise _unusable("Standard input is no JSON object.") from None
        return dict(told)
    needed = [one.name for one in provider.fields if one.required]
    lines = text.splitlines()
    if len(lines) != len(needed):
        raise _unusable(f"Standard input holds {len(lines)} line(s); {', '.join(needed)} are needed, one a line.")
    return dict(zip(needed, lines, strict=True))


def _from_prompt(provider: Provider) -> dict[str, str]:
    if not sys.stdin.isatty():
        raise _unusable("There is no terminal to ask at: use --stdin or --env.")
    err().print(f"[dim]A key of {escape(provider.name)} is made at {provider.keys_at}[/]")
    found = {}
    for one in provider.fields:
        note = "" if one.required else ", or nothing"
        found[one.name] = typer.prompt(
            f"{one.name} ({one.about.rstrip('.')}{note})", hide_input=True, err=True,
            default=None if one.required else "", show_default=False,
        )
    return found


def _unusable(message: str) -> ComfyVNError:
    return Invalid(message, error="usage", remediation=[Remedy("`comfyvn providers connect --help`.", "mend_command")])
