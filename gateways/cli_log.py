"""`comfyvn log`: read, follow, export, import and verify the log."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console
from rich.json import JSON
from rich.markup import escape
from rich.table import Table

from domain.errors import Invalid, NotFound, Remedy, Unavailable
from domain.ids import UNBRANCHED, checked
from domain.ports import Log, Recorded
from gateways.cli_console import AsJson, Data, ExitCode, emit, err, out, progress, run, settings_of
from services.audit import Verified, verify_file, verify_log
from services.bootstrap import open_everything, open_studio, reach_chain
from services.transfer import export_log, import_log
from services.wire import event_line, event_object

app = typer.Typer(no_args_is_help=True, help="Read, follow, export, import and verify the log.")



def _filter(*names: str, about: str) -> Any:
    return typer.Option(*names, help=about, show_default=False)


@app.command()
def tail(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens next.")] = False,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="How many of the newest events.")] = 20,
    after: Annotated[
        int | None, typer.Option(min=0, help="All after this position instead of the newest.", show_default=False)
    ] = None,
    project: Annotated[str | None, _filter("--project", "-p", about="Only this project.")] = None,
    worldline: Annotated[str | None, _filter(about="Only this worldline; - is what does not branch.")] = None,
    category: Annotated[str | None, _filter(about="Only this category: scene, asset, …")] = None,
    id: Annotated[str | None, _filter("--id", about="Only the thing with this id.")] = None,
    type: Annotated[str | None, _filter("--type", about="Only this event: SceneCreated, …")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """The newest events, one per line; with -f it goes on live.

    comfyvn log tail -f --project demo --category scene

    comfyvn log tail --after 0 --json | jq -r .type | sort | uniq -c
    """

    async def work() -> None:
        pattern = pattern_of(project, worldline, category, id)
        console = out()
        async with open_studio(settings_of(data), projecting=False, create=False) as studio:
            head = await studio.log.head()
            if after is None:
                for recorded in await newest(studio.log, head, pattern, type, count):
                    _line(recorded, as_json, console)
            else:
                await _show(studio.log.read(after=after, upto=head, pattern=pattern), type, as_json, console)
            if follow:
                going_on = studio.log.follow(after=max(head, after or 0), pattern=pattern)
                await _show(going_on, type, as_json, console)

    run(work, as_json=as_json)


@app.command()
def show(
    position: Annotated[int, typer.Argument(min=1, help="Position in the log.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """One event: its headers and its body.

    comfyvn log show 42
    """

    async def work() -> None:
        async with open_studio(settings_of(data), projecting=False, create=False) as studio:
            found = [one async for batch in studio.log.read(after=position - 1, upto=position) for one in batch]
            if not found:
                raise NotFound(
                    f"There is no event at position {position}; the newest is {await studio.log.head()}.",
                    error="unknown_position",
                    remediation=[Remedy("`comfyvn log tail` shows the newest positions.", "tail_log")],
                )
            told = event_object(found[0])
            if as_json:
                emit(told)
                return
            headers = Table.grid(padding=(0, 2))
            for name, value in told.items():
                if name not in ("data", "data_base64"):
                    headers.add_row(f"[dim]{name}[/]", escape(str(value)))
            console = out()
            console.print(headers)
            console.print(JSON.from_data(told.get("data", told.get("data_base64")), ensure_ascii=False))

    run(work, as_json=as_json)


@app.command("export")
def export_(
    file: Annotated[str, typer.Argument(help="File to write; - is standard output.")] = "-",
    after: Annotated[int, typer.Option(min=0, help="Only what comes after this position.")] = 0,
    upto: Annotated[int | None, typer.Option(min=0, help="Only up to this position.", show_default=False)] = None,
    project: Annotated[str | None, _filter("--project", "-p", about="Only this project (not importable).")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """The log as one JSON object per line. The whole of it is a backup that `log import` takes back.

    comfyvn log export studio.jsonl

    comfyvn log export - --project demo | gzip > demo.jsonl.gz
    """

    async def work() -> None:
        pattern = pattern_of(project, None, None, None)
        async with open_studio(settings_of(data), projecting=False, create=False) as studio:
            with progress("Exporting") as report:
                if file == "-":
                    told = await export_log(studio.log, sys.stdout.buffer, after=after, upto=upto, pattern=pattern,
                                            report=report)
                else:
                    with _replacing(Path(file)) as target:
                        told = await export_log(studio.log, target, after=after, upto=upto, pattern=pattern,
                                                report=report)
        if as_json and file != "-":
            emit({"ok": True, "file": file, **told._asdict()})
        elif not as_json:
            err().print(f"{told.events:,} events, {told.size:,} bytes, sha256 {told.digest}")

    run(work, as_json=as_json)


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="File that `log export` wrote; - is standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every line, change nothing.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Load an exported log into an empty one: same order, positions, ids and times.

    comfyvn log import studio.jsonl --data ./restored

    An import that was interrupted goes on where it was. Blobs are not in the log: copy their folder as well.
    """

    async def work() -> None:
        settings = settings_of(data)
        with _reading(file) as lines:
            async with open_everything(settings, projecting=False) as opened:
                with progress("Importing") as report:
                    told = await import_log(opened.studio.log, lines, report, event_limit=settings.event_limit,
                                            dry_run=dry_run)
                await opened.audited_everything()
        if as_json:
            emit({"ok": True, **told._asdict()})
        else:
            verb = "would be" if dry_run else "are"
            out().print(f"{told.events:,} events {verb} in the log ({told.resumed:,} were there already); "
                        f"it ends at position {told.head:,}.")

    run(work, as_json=as_json)


@app.command()
def verify(
    key: Annotated[
        Path | None, typer.Option(help="Public key that was kept elsewhere (audit/key.pub.pem).", show_default=False)
    ] = None,
    file: Annotated[
        str | None, typer.Option(help="An exported log instead of the one in the folder.", show_default=False)
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Compute every hash of the log again and compare: was anything changed, removed, inserted or reordered?

    comfyvn log verify

    comfyvn log verify --key ~/keys/studio.pub.pem

    Exit code 1 and the first position when something was. Without --key the key beside the chain is believed, and
    whoever may write there may have replaced it.
    """

    async def work() -> ExitCode:
        trusted = None
        if key is not None:
            with _reading(str(key)) as source:
                trusted = source.read()
        settings = settings_of(data)
        if file is not None:  # needs no log: a copy of the checkpoints in DIR/audit is enough
            with _reading(file) as lines, progress("Verifying") as report:
                told = await verify_file(lines, reach_chain(settings), report, trusted=trusted)
        else:
            async with open_everything(settings, projecting=False, create=False) as opened:
                await opened.audit_begun()
                with progress("Verifying") as report:
                    told = await verify_log(opened.studio.log, opened.chain, report, trusted=trusted)
        if as_json:
            emit({**told._asdict(), "findings": [one._asdict() for one in told.findings]})
        else:
            _verified(told)
        return ExitCode.OK if told.ok else ExitCode.NO

    run(work, as_json=as_json)


def _verified(told: Verified) -> None:
    console = out()
    if told.ok:
        console.print(f"[green]The log is as it was.[/] {told.checked:,} of {told.head:,} positions compared, "
                      f"{told.checkpoints:,} signed checkpoints up to {told.signed:,}.")
    elif all(one.kind == "chain_missing" for one in told.findings):
        console.print("[bold red]Nothing says how the log was.[/]")
    else:
        first = told.first
        exact = first is not None and first.position and first.kind != "rewritten"
        where = f" at position {first.position}" if first is not None and exact else ""
        console.print(f"[bold red]The log is not as it was{where}.[/]")
    for finding in told.findings:
        console.print(f"  [red]{finding.kind}[/]  {escape(finding.message)}")
    for note in told.notes:
        console.print(f"  [dim]{escape(note)}[/]")
    if told.digest:
        console.print(f"  [dim]hash {told.digest}\n  key  {told.key or 'none'}[/]")


@contextmanager
def _replacing(place: Path) -> Iterator[BinaryIO]:
    """A file that takes its place only when it is whole."""
    partial = place.with_name(place.name + ".partial")
    try:
        with partial.open("wb") as target:
            yield target
            os.fsync(target.fileno())
        partial.replace(place)
    except OSError as error:
        raise Unavailable(
            f"{place} cannot be written: {error.strerror or error}.", error="file_not_written",
            remediation=[Remedy("Make room, or name another file.", "choose_file")], detail={"file": str(place)},
        ) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _reading(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        source = Path(file).open("rb")  # noqa: SIM115 - errors of reading belong to whoever reads
    except OSError as error:
        raise Invalid(
            f"{file} cannot be read: {error.strerror or error}.", error="file_not_read",
            remediation=[Remedy("Name a file that `comfyvn log export` wrote.", "choose_file")], detail={"file": file},
        ) from error
    with source:
        yield source


def pattern_of(project: str | None, worldline: str | None, category: str | None, id: str | None) -> str:
    """The subject pattern of a filter; raises ``Invalid`` for a name that cannot stand in a subject."""
    named = {"project": project, "worldline": worldline, "category": category, "id": id}
    tokens = []
    for kind, value in named.items():
        if value is not None and not (kind == "worldline" and value == UNBRANCHED):
            checked(kind, value)
        tokens.append("*" if value is None else value)
    return "vn.>" if all(one == "*" for one in tokens) else "vn." + ".".join(tokens)


async def newest(log: Log, head: int, pattern: str, type: str | None, count: int) -> list[Recorded]:
    """The newest ``count`` events of a pattern in order; looks back in growing steps, never reads more than needed."""
    found: deque[Recorded] = deque()
    upto, step = head, max(count, 1)
    while upto > 0 and len(found) < count:
        after = max(0, upto - step)
        part: deque[Recorded] = deque(maxlen=count - len(found))
        async for batch in log.read(after=after, upto=upto, pattern=pattern):
            part.extend(one for one in batch if type is None or one.type == type)
        found.extendleft(reversed(part))
        upto, step = after, step * 8
    return list(found)


async def _show(batches: AsyncIterator[list[Recorded]], type: str | None, as_json: bool, console: Console) -> None:
    async for batch in batches:
        for recorded in batch:
            if type is None or recorded.type == type:
                _line(recorded, as_json, console)


def _line(recorded: Recorded, as_json: bool, console: Console) -> None:
    if as_json:
        sys.stdout.buffer.write(event_line(recorded) + b"\n")
        sys.stdout.flush()
        return
    console.print(line_of(recorded), overflow="ignore", no_wrap=True, crop=False)


def line_of(recorded: Recorded) -> str:
    """An event in one line for people, with rich's markup."""
    project, worldline, category, id_ = recorded.stream
    line = "" if worldline == UNBRANCHED else f"@{worldline}"
    return (
        f"[dim]{recorded.position:>8}  {recorded.time[:23]}[/]  [bold]{escape(recorded.type):<26}[/] "
        f"[cyan]{escape(project)}{escape(line)}[/] {escape(category)}/{escape(id_)} [dim]v{recorded.version} "
        f"by {escape(recorded.actor)}[/]"
    )
