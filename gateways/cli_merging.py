"""`comfyvn worldline diff` and `merge`: what two worldlines have otherwise, and bringing it together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from domain.errors import Refused
from domain.ids import MAIN, checked
from domain.story.merging.conflicts import Rule
from gateways.cli_console import Actor, AsJson, Data, ExitCode, Project, emit, err, out, run, settings_of, usage
from projections.boards.differing import DiffWorldlines
from projections.boards.merging import READS, Wanted
from services.bootstrap import open_everything
from services.merging.asking import Merge
from services.merging.decisions import decisions_of
from services.merging.working import Merging
from services.studio import Asker

SHOWN: Final = 200
"""Most lines of one table."""

WIDE: Final = 60
"""Characters of a value in a table."""


def diff(
    source: Annotated[str, typer.Argument(help="From this worldline.")],
    target: Annotated[str, typer.Argument(help="To this one.")] = MAIN,
    project: Project = "default",
    source_at: Annotated[int, typer.Option(min=0, help="The first as it was at this position; 0 is now.")] = 0,
    target_at: Annotated[int, typer.Option(min=0, help="The second as it was at this position; 0 is now.")] = 0,
    scene: Annotated[str | None, typer.Option(help="Only this scene.", show_default=False)] = None,
    pov: Annotated[
        str | None, typer.Option(help="Only what this point of view may see.", show_default=False)
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """What the second worldline has otherwise than the first, field by field. Exit code 1 when they differ.

    comfyvn worldline diff main what-if --project demo
    """

    async def work() -> ExitCode:
        for kind, name in (("project", project), ("worldline", source), ("worldline", target)):
            checked(kind, name)
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything([*READS])
            head = await opened.studio.log.head()
            if max(source_at, target_at) > head:
                usage(f"Position {max(source_at, target_at)} has not happened yet.", f"The newest is {head}.")
            told = await opened.studio.look(opened.studio.registry.views["DiffWorldlines"], DiffWorldlines(
                project=project, source=source, target=target, source_at=source_at, target_at=target_at, scene=scene,
                pov=pov,
            ))
        if as_json:
            emit(told)
        elif told["same"]:
            out().print(f"{escape(source)} and {escape(target)} say the same.")
        else:
            _changes(f"From {source} to {target}", told["documents"])
        return ExitCode.OK if told["same"] else ExitCode.NO

    run(work, as_json=as_json)


def merge(
    source: Annotated[str, typer.Argument(help="The worldline whose changes come in.")],
    into: Annotated[str, typer.Option("--into", help="The worldline that they come into.")] = MAIN,
    project: Project = "default",
    ours: Annotated[bool, typer.Option("--ours", help="Settle every other conflict with the target's side.")] = False,
    theirs: Annotated[bool, typer.Option("--theirs", help="… with the source's side.")] = False,
    newest: Annotated[bool, typer.Option("--newest", help="… with the side that changed it last.")] = False,
    resolve: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON: conflict id or address -> decision.", show_default=False)
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only these: `scene`, `scene/intro`. Repeatable.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    key: Annotated[str | None, typer.Option(help="Idempotency key for scripts.", show_default=False)] = None,
    actor: Actor = "console",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Bring a worldline's changes into another, as one batch. Exit code 4 while conflicts are undecided.

    comfyvn worldline merge what-if --into main --project demo --dry-run
    """

    async def work() -> None:
        for kind, name in (("project", project), ("worldline", source), ("worldline", into)):
            checked(kind, name)
        asked = Merge(project, source, into, Wanted(
            decisions_of(_read(resolve)), _rule(ours, theirs, newest), frozenset(only or ()),
        ))
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything([*READS])
            try:
                told = await Merging(opened.studio).merge(asked, Asker(actor, key), dry_run=dry_run)
            except Refused as error:
                if error.code == "merge_conflicts" and not as_json:
                    _conflicts(error.detail)
                raise
            if not dry_run:
                await opened.audited_everything()
        if as_json:
            emit(told)
        else:
            _merged(told)

    run(work, as_json=as_json)


def _rule(ours: bool, theirs: bool, newest: bool) -> Rule | None:
    named: list[Rule] = [
        name for name, chosen in (("ours", ours), ("theirs", theirs), ("newest", newest)) if chosen  # type: ignore[misc]
    ]
    if len(named) > 1:
        usage(f"--{named[0]} and --{named[1]} contradict each other.", "Give one of them.")
    return named[0] if named else None


def _read(path: Path | None) -> Any:
    if path is None:
        return {}
    try:
        return orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        usage(f"{path.name} is not JSON: {error}.", "Give a file that holds decisions by conflict id.")
    except OSError as error:
        usage(f"{path.name} cannot be read: {error.strerror}.", "Give a file that holds decisions by conflict id.")


# --- tables -----------------------------------------------------------------------------------------------------------


def _merged(told: Mapping[str, Any]) -> None:
    source, target = escape(told["source"]), escape(told["target"])
    if told.get("nothing_to_merge"):
        out().print(f"{target} has everything of {source} already: nothing to merge.")
        return
    if "documents" in told:
        _changes(f"What would change on {told['target']}", told["documents"])
    how = "fast-forward, " if told["fast_forward"] else ""
    sums = "; ".join(
        f"{category}: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        for category, counts in told["counts"].items()
    )
    verb = f"Merged {source} into {target} (position {told['at']})" if told["applied"] else \
        f"Would merge {source} into {target}"
    out().print(f"[bold]{verb}[/]: {how}{escape(sums) or 'no document changes'}.")
    if told["by_rule"]:
        out().print(f"{told['by_rule']} conflicts settled by the rule {told['rule']}.")
    for view in told["story"].get("views", ()):
        for word in ("appeared", "vanished"):
            if view[word]:
                out().print(f"Endings {word} for {escape(view['pov'])}: {escape(', '.join(view[word]))}")
    if told["story"].get("playable") is False:
        err().print(f"[yellow]The merged story cannot be played: {escape(told['story']['why'])}[/]")


def _changes(title: str, documents: Sequence[Mapping[str, Any]]) -> None:
    table = Table(title=escape(title), title_justify="left", box=None, header_style="dim")
    for column in ("document", "where", "", "before", "after"):
        table.add_column(column, overflow="fold")
    lines = 0
    for one in documents:
        for change in one["changes"] or [{"path": [], "how": one["how"]}]:
            lines += 1
            if lines > SHOWN:
                break
            table.add_row(
                f"{escape(one['category'])} {escape(one['id'])}", escape("/".join(change["path"])), change["how"],
                _short(change.get("before", "")), _short(change.get("after", "")),
            )
    out().print(table)
    if lines > SHOWN:
        out().print(f"… and more; --json tells all of {len(documents)} documents.")


def _conflicts(told: Mapping[str, Any]) -> None:
    table = Table(title="Undecided", title_justify="left", box=None, header_style="dim")
    for column in ("conflict", "what", "where", "base", f"ours ({told['target']})", f"theirs ({told['source']})"):
        table.add_column(escape(column), overflow="fold")
    for one in told["conflicts"][:SHOWN]:
        table.add_row(one["id"], one["kind"], escape(one["address"]), *(_short(one[side]) for side in
                                                                       ("base", "ours", "theirs")))
    out().print(table)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return escape(text if len(text) <= WIDE else text[: WIDE - 1] + "…")
