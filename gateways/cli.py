"""`comfyvn`: the console of the studio."""

from __future__ import annotations

import typer

from gateways import cli_demo, cli_doctor, cli_import, cli_log, cli_projections, cli_serve, cli_token, cli_worldline

app = typer.Typer(
    name="comfyvn", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The backend of a visual-novel studio in which every change is an event.",
)
app.add_typer(cli_log.app, name="log")
app.add_typer(cli_projections.app, name="projections")
app.add_typer(cli_worldline.app, name="worldline")
app.add_typer(cli_import.app, name="import")
app.add_typer(cli_token.app, name="token")
app.command()(cli_serve.serve)
app.command()(cli_serve.work)
app.command()(cli_demo.demo)
app.command()(cli_doctor.doctor)


def main() -> None:
    """Runs a command and ends with its exit code."""
    app()


if __name__ == "__main__":
    main()
