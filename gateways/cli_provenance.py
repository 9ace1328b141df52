"""`comfyvn provenance`: whether a file is what was signed, who signed it, and where an asset comes from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from domain.errors import Invalid, Remedy
from domain.ids import checked
from domain.ports.credentials import Reading
from gateways.cli_console import AsJson, Data, ExitCode, Project, emit, out, run, settings_of
from projections.studio.lineage import ShowLineage
from projections.studio.provenance import ShowAssetProvenance
from services.bootstrap import open_everything, reach_credentials
from services.media.detection import detect
from services.signing import judgement, read_file, shown

BESIDE: Final = ".credentials.json"
"""Ending of the statement beside a file that cannot carry one."""

COLOURS: Final = {"valid": "green", "marked": "yellow", "expired": "yellow", "none": "dim"}
TREE_LIMIT: Final = 60

app = typer.Typer(
    no_args_is_help=True, help="Content credentials: verify a file, show where an asset comes from, hand on the root."
)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A file from anywhere.", exists=True, dir_okay=False, readable=True)],
    sidecar: Annotated[
        Path | None, typer.Option(help=f"The statement beside it; else FILE{BESIDE} where there is one.",
                                  exists=True, dir_okay=False, show_default=False)
    ] = None,
    manifest: Annotated[bool, typer.Option("--manifest", help="With --json: the whole manifest too.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a file is what was signed: exit code 0 it is, 1 it or what it was made from is not, 5 it is unsigned.

    comfyvn provenance verify room.png --json
    """

    async def work() -> ExitCode:
        if not file.is_file():  # a pipe would be waited for, a device never ends
            raise Invalid(f"{_seen(file)} is no regular file.", error="unreadable_file",
                          remediation=[Remedy("Name a file; save what comes from a pipe first.", "check_path")])
        credentials = reach_credentials(settings_of(data))
        try:
            found_type = await asyncio.to_thread(detect, file)
        except OSError as error:
            raise Invalid(f"{_seen(file)} cannot be read: {error.strerror}.", error="unreadable_file",
                          remediation=[Remedy("Check the path and its rights.", "check_path")]) from error
        beside = sidecar or _beside(file)
        found = await read_file(credentials, file, found_type.media_type)
        if beside is not None and (sidecar is not None or found.state in ("none", "unreadable")):
            found = await read_file(credentials, file, found_type.media_type, beside)
        told = shown(found)
        if not manifest:
            del told["manifest"]
        if as_json:
            emit({"file": str(file), "media_type": found_type.media_type, "ok": found.state == "valid", **told})
        else:
            _report(file, found)
        return _code(found)

    run(work, as_json=as_json)


@app.command()
def show(
    uid: Annotated[str, typer.Argument(help="Id of an asset.")],
    project: Project = "default",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show where an asset comes from: its licence, its credentials, what it was made from and what was made from it.

    comfyvn provenance show 3f2a9c0d1e4b5a67 --project demo
    """

    async def work() -> None:
        checked("project", project)
        async with open_everything(settings_of(data), create=False) as opened:
            studio, views = opened.studio, opened.studio.registry.views
            await opened.counted_everything(("assets", "provenance", "credentials", "lineage", "documents"))
            told = await studio.look(views["ShowAssetProvenance"], ShowAssetProvenance(project=project, uid=uid))
            tree = await studio.look(views["ShowLineage"], ShowLineage(project=project, uid=uid))
        if as_json:
            emit({"provenance": told, "lineage": tree})
        else:
            _shown(told, tree)

    run(work, as_json=as_json)


@app.command()
def certificate(data: Data = None, as_json: AsJson = False) -> None:
    """Print the root certificate (PEM) by which others can trust what this studio signs. Made if there is none yet.

    comfyvn provenance certificate > root.pem
    """

    async def work() -> None:
        found = await asyncio.to_thread(reach_credentials(settings_of(data)).roots)
        if as_json:
            emit({"pem": found})
        else:
            print(found, end="")

    run(work, as_json=as_json)


def _plain(text: object) -> str:
    """What files say of themselves, without what a terminal would take for an order."""
    return escape(_seen(text))


def _seen(text: object) -> str:
    return "".join(letter if letter.isprintable() else "�" for letter in str(text))


def _beside(file: Path) -> Path | None:
    place = file.with_name(file.name + BESIDE)
    return place if place.is_file() else None


def _code(found: Reading) -> ExitCode:
    if found.state == "valid":
        return ExitCode.OK
    return ExitCode.NOT_FOUND if found.state == "none" else ExitCode.NO


def _report(file: Path, found: Reading) -> None:
    colour = COLOURS.get(found.state, "bold red")
    out().print(f"{_plain(str(file))}: [{colour}]{found.state}[/]")
    out().print(_plain(judgement(found)))
    for name, value in (
        ("signed by", found.issuer), ("with", found.generator), ("as", found.title),
        ("came to be as", ", ".join(found.source_types)),
    ):
        if value:
            out().print(f"  [dim]{name:<14}[/] {_plain(value)}")
    for label, data in found.assertions.items():
        out().print(f"  [dim]{_plain(label)}[/]")
        for key, value in data.items() if isinstance(data, dict) else [("", data)]:
            out().print(f"    {_plain(str(key)):<16} {_plain(str(value)[:200])}")
    if found.findings:
        out().print(_findings([(one.code, one.message) for one in found.findings]))
    if found.ingredients:
        out().print("Made from:")
        for one in found.ingredients[:TREE_LIMIT]:
            mark = f"[{COLOURS.get(one.state, 'bold red')}]{one.state}[/]"
            codes = ", ".join(finding.code for finding in one.findings)
            out().print(f"  {'  ' * (one.depth - 1)}{_plain(one.title or one.uid)} ({_plain(one.relationship)}) {mark}"
                        + (f" [dim]{_plain(codes)}[/]" if codes else ""))


def _findings(findings: list[tuple[str, str]]) -> Table:
    table = Table("code", "what", box=None, header_style="dim")
    for code, message in findings:
        table.add_row(_plain(code), _plain(message))
    return table


def _shown(told: dict[str, Any], tree: dict[str, Any]) -> None:
    asset, credentials = told["asset"], told["credentials"]
    table = Table(box=None, show_header=False)
    for name, value in (
        ("asset", f"{asset['name']} ({asset['uid']})"), ("type", asset["media_type"]),
        ("licence", asset["licence"] or "not said"), ("origin", asset["origin"] or "not said"),
        ("seeds", ", ".join(told["seeds"]) or "none"), ("credentials", credentials["state"]),
        ("", credentials["words"]),
    ):
        table.add_row(f"[dim]{name}[/]", _plain(str(value)))
    out().print(table)
    out().print(_tree(tree, "from", "to", "Made from", tree["uid"], tree["ancestors"]))
    out().print(_tree(tree, "to", "from", "Went into", tree["uid"], tree["descendants"]))


def _tree(tree: dict[str, Any], there: str, here: str, title: str, start: str, count: int) -> Tree:
    names = {one["uid"]: one for one in tree["nodes"]}
    drawn = Tree(f"{title}: {count:,}")
    waiting, seen, left = [(start, drawn)], {start}, TREE_LIMIT
    while waiting and left:
        uid, branch = waiting.pop(0)
        for edge in (one for one in tree["edges"] if one[here] == uid):
            other, left = edge[there], left - 1
            if left <= 0:
                branch.add("…")
                return drawn
            one = names[other]
            twig = branch.add(f"{_plain(one['name'] or other)} [dim]{other} {_plain(one['engine'] or one['how'])}[/]")
            if other not in seen:
                seen.add(other)
                waiting.append((other, twig))
    return drawn
