"""`comfyvn`: the console of the studio, and where every process of it begins."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def commands() -> typer.Typer:
    """All commands. Importing them makes a million objects that stay; looking for garbage among them, then and later,
    would take a fifth of the time that a command needs to start."""
    gc.disable()
    from gateways.cli_commands import app

    gc.freeze()
    gc.enable()
    return app


def main() -> None:
    """Runs a command and ends with its exit code."""
    if os.environ.get("NO_COLOR"):
        # What explains commands is drawn by Typer, which would still write bold and dim: this is how it is told.
        os.environ.setdefault("_TYPER_FORCE_DISABLE_TERMINAL", "1")
    commands()(prog_name="comfyvn")


if __name__ == "__main__":
    main()
