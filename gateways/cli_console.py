"""How the console speaks: results on standard output, all else on standard error, exit codes for scripts."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from io import TextIOWrapper
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, Final, NoReturn, Protocol, TextIO

import orjson
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from domain.errors import ComfyVNError, Invalid, NotFound, Remedy, Unavailable
from services import journal
from services.redaction import SECRETS
from services.settings import Settings

AGAIN_SECONDS: Final = 10.0
"""How long a command may take to end in order before it is told once more."""

SAID_SECONDS: Final = 5.0
"""How often progress is a line of its own, on a terminal that wants no drawing."""


class ExitCode(IntEnum):
    """What a command's exit says. Also in docs/operations.md."""

    OK = 0
    NO = 1
    USAGE = 2
    UNAVAILABLE = 3
    REFUSED = 4
    NOT_FOUND = 5
    DEFECT = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANINGS: Final[Mapping[ExitCode, str]] = {
    ExitCode.OK: "done, and the answer is yes",
    ExitCode.NO: "the answer is no: a check failed, a digest differs",
    ExitCode.USAGE: "the command line, a setting or a given file cannot be used",
    ExitCode.UNAVAILABLE: "the log, the read side, the disk or a server cannot answer now; trying again later is right",
    ExitCode.REFUSED: "a rule says no: the folder is in use, a policy blocks, something exists already",
    ExitCode.NOT_FOUND: "nothing of that name",
    ExitCode.DEFECT: "a defect of ComfyVN; COMFYVN_LOG_LEVEL=debug shows where",
    ExitCode.INTERRUPTED: "stopped by Ctrl-C",
    ExitCode.BROKEN_PIPE: "whoever read the output went away",
}



class Report(Protocol):
    """Told how far something long is, and at which rate per second where that is known."""

    def __call__(self, done: int, total: int, rate: float | None = None, /) -> None: ...


Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Data folder. Else COMFYVN_DATA, else ./data.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for scripts: one document per line on standard output.")]
Project = Annotated[str, typer.Option("--project", "-p", help="Project.")]
Actor = Annotated[str, typer.Option("--actor", help="Who the log says it was.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Cursor = Annotated[str, typer.Option("--cursor", help="Go on where an answer ended: its `next`.", show_default=False)]


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def plain() -> bool:
    """Whether nobody wants escape codes: ``NO_COLOR`` is set, to anything but nothing (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def out() -> Console:
    """Standard output for people. What it cannot write, such as the name of a file that is not UTF-8, is replaced."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return _console(sys.stdout)


def err() -> Console:
    """Standard error: progress, hints, problems."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    # Without a terminal nothing is drawn: no colour, no bold, no bar that moves.
    return _Console(
        file=file, highlight=False, soft_wrap=not file.isatty(), force_terminal=False if plain() else None,
    )


def emit(told: Any) -> None:
    """One JSON document on one line of standard output."""
    sys.stdout.write(_json(told) + "\n")
    sys.stdout.flush()


def _json(told: Any) -> str:
    """JSON in one line. Names of files that are not UTF-8, which orjson refuses, are escaped as the system does."""
    try:
        return orjson.dumps(told, default=str).decode()
    except TypeError:
        return json.dumps(told, separators=(",", ":"), default=str)


def settings_of(data: Path | None, **given: Any) -> Settings:
    """The settings in force for a console command; only what goes wrong is logged, unless a level was chosen."""
    settings = Settings.load(data=data, **given)
    level = "warning" if settings.origins["log_level"] == "default" else settings.log_level
    journal.configure(level, settings.log_format)
    return settings


def run(
    work: Callable[[], Coroutine[Any, Any, Any]], *, as_json: bool = False,
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Runs a command's work to its end; whatever goes wrong becomes a sentence and an exit code.

    The work may return an ``ExitCode``; anything else it returns counts as done.
    """
    code: Any = ExitCode.OK
    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            code = runner.run(_to_its_end(work()))
        sys.stdout.flush()
    except ComfyVNError as error:
        complain(error, as_json=as_json)
        code = code_of(error)
    except ValidationError as error:
        complain(unfit(error), as_json=as_json)
        code = ExitCode.USAGE
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes once more when it ends; that must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.BROKEN_PIPE
    except OSError as error:
        complain(_cannot(error), as_json=as_json)
        code = ExitCode.UNAVAILABLE
    except Exception as error:  # the last door: people get a sentence, the log gets the place
        _defect(error, as_json)
        code = ExitCode.DEFECT
    if isinstance(code, ExitCode) and code is not ExitCode.OK:
        raise typer.Exit(int(code))


async def _to_its_end(work: Coroutine[Any, Any, Any]) -> Any:
    """What the work returns. Told to end it is told again until it has: a cancellation can get lost on the way."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=AGAIN_SECONDS)
        return task.result()


def unfit(error: ValidationError) -> Invalid:
    """What a command line named that does not fit, in a sentence."""
    wrong = [f"{'.'.join(map(str, one['loc'])) or 'value'}: {one['msg'].removeprefix('Value error, ')}"
             for one in error.errors(include_url=False, include_input=False, include_context=False)]
    return Invalid(
        "; ".join(wrong) + ".", error="invalid_value",
        remediation=[Remedy("Mend that value; --help says what is expected.", "mend_command")],
    )


def code_of(error: ComfyVNError) -> ExitCode:
    """The exit code of a kind of error."""
    match error:
        case Unavailable():
            return ExitCode.UNAVAILABLE
        case NotFound():
            return ExitCode.NOT_FOUND
        case Invalid():
            return ExitCode.USAGE
        case _:
            return ExitCode.REFUSED


def complain(error: ComfyVNError, *, as_json: bool = False) -> None:
    """The problem in one sentence and what to do next, on standard error; as JSON it is one document there."""
    if as_json:
        remedies = [{"text": remedy.text, "action": remedy.action} for remedy in error.remediation]
        told = {"error": error.code, "message": error.message, "remediation": remedies, "detail": error.detail}
        sys.stderr.write(_json(SECRETS.redact(told)) + "\n")
        return
    console = err()
    console.print(f"[bold red]{escape(SECRETS.text(error.message))}[/]")
    for remedy in error.remediation:
        console.print(f"  [dim]→[/] {escape(SECRETS.text(remedy.text))}")


def _cannot(error: OSError) -> Unavailable:
    where = f" ({error.filename})" if error.filename else ""
    return Unavailable(
        f"The system says: {error.strerror or error}{where}.", error="system",
        remediation=[Remedy("`comfyvn doctor` looks at disk space and access.", "doctor")],
    )


def _defect(error: Exception, as_json: bool) -> None:
    if os.environ.get("COMFYVN_LOG_LEVEL", "").lower() == "debug":
        sys.stderr.write(SECRETS.text("".join(traceback.format_exception(error))))
    complain(_Defect(f"A defect of ComfyVN: {type(error).__name__}: {error}"), as_json=as_json)


class _Defect(ComfyVNError):
    error = "defect"


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """A bar on standard error while something long is done; ``report(done, total)``. Silent unless on a terminal; a
    line now and then on one that wants no drawing."""
    console = err()
    if not console.is_terminal:
        yield spoken(title)
        return
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, rate="")

        def report(done: int, total: int, rate: float | None = None) -> None:
            speed = rate or bar.tasks[0].speed
            bar.update(task, completed=done, total=total or None, rate=f"{speed:,.0f}/s" if speed else "")

        yield report


def spoken(title: str) -> Report:
    """Progress as a line every few seconds where a person looks at a plain terminal; else nothing."""
    if not sys.stderr.isatty():
        return lambda done, total, rate=None: None
    last = monotonic()

    def report(done: int, total: int, rate: float | None = None) -> None:
        nonlocal last
        if monotonic() - last >= SAID_SECONDS:
            last = monotonic()
            err().print(f"{escape(title)}: {done:,}" + (f" of {total:,}" if total else ""))

    return report


def tell_more(cursor: str | None) -> None:
    """Says on standard error that an answer was only a part, and how one gets at the rest."""
    if cursor is not None:
        err().print(f"[dim]There are more: narrow it, raise --limit, or go on with --cursor {escape(cursor)}[/]")


def usage(message: str, hint: str) -> NoReturn:
    """Says that the command line makes no sense."""
    raise Invalid(message, error="usage", remediation=[Remedy(hint, "mend_command")])
