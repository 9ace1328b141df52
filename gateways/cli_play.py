"""`comfyvn play`: play a story in the terminal."""

from __future__ import annotations

import typer

app = typer.Typer(
    invoke_without_command=True, help="Play a story in the terminal, or have every path of it played.",
)


@app.callback()
def play(context: typer.Context) -> None:
    """Play a story in the terminal.

    comfyvn play --project demo --seed 7
    """
    if context.invoked_subcommand is not None:
        return
