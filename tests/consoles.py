"""The console in this process, which saves its start; what depends on a process of its own uses ``comfyvn``."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from typer.testing import CliRunner

from commands.declaration import Command
from gateways import cli_commands
from services.bootstrap import open_everything
from services.settings import Settings
from services.studio import Asker


class Done(NamedTuple):
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def console(
    *arguments: str, data: Path | None = None, input: str | None = None, env: Mapping[str, str] | None = None,
) -> Done:
    """Runs a command as ``comfyvn`` does: ``env`` is all of its environment, ``input`` its standard input."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    given = [*arguments, *([] if data is None else ["--data", str(data)])]
    absent = {} if env is None else dict.fromkeys(name for name in os.environ if name not in env)
    try:
        done = CliRunner().invoke(
            cli_commands.app, given, prog_name="comfyvn", input=input or "", env={**absent, **(env or {})},
        )
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Done(done.exit_code, done.stdout, done.stderr)


def told(*arguments: str, data: Path, code: int = 0) -> Any:
    """The one JSON document that a command writes."""
    done = console(*arguments, "--json", data=data)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


@contextmanager
def held(folder: Path, *commands: Command) -> Iterator[Path]:
    """A studio that stays open, in which these commands were asked: every command of a console attaches to its log, and
    none has to start one of its own."""
    ready, over = threading.Event(), threading.Event()

    async def hold() -> None:
        async with open_everything(Settings.load(data=folder), role="server") as opened:
            for command in commands:
                await opened.studio.ask(command, Asker("mara"), project="demo")
            await opened.counted_everything()
            ready.set()
            await asyncio.to_thread(over.wait)

    holding = threading.Thread(target=asyncio.run, args=(hold(),), daemon=True)
    holding.start()
    try:
        assert ready.wait(60)
        yield folder
    finally:
        over.set()
        holding.join(60)
