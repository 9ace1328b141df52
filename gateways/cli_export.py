"""`comfyvn export`: games made of stories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args

import typer
from rich.markup import escape

from domain.errors import Refused, Remedy
from domain.exchange.export import Order
from domain.exchange.renpy.material import POV_MODES
from domain.exchange.renpy.naming import named
from domain.ids import MAIN, checked
from gateways.cli_console import Actor, AsJson, Data, Project, emit, err, out, progress, run, settings_of, usage
from services.bootstrap import open_everything
from services.exports.exporting import Made, export_archive, export_folder, export_preview
from services.exports.gate import enforced, foreseen
from services.exports.gathering import Gathered, gathered
from services.studio import Asker, Studio

app = typer.Typer(no_args_is_help=True, help="Make games of stories.")

_COLOURS = {"new": "green", "modified": "yellow", "removed": "red", "unchanged": "dim"}


class Way(NamedTuple):
    """Where a game goes and how; ``dry_run`` touches nothing."""

    target: Path
    as_zip: bool
    dry_run: bool
    force: bool
    as_json: bool


@app.callback()
def exports() -> None:
    """Make games of stories."""


@app.command()
def renpy(
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the game; with --zip the archive.")],
    project: Project = "default",
    timeline: Annotated[str | None, typer.Option(help="A timeline; else the one that is played when nobody says.",
                                                 show_default=False)] = None,
    scene: Annotated[str | None, typer.Option(help="One scene instead.", show_default=False)] = None,
    world: Annotated[list[str] | None, typer.Option(
        "--world", "--worldline", "-w", help="A worldline; may be given several times.", show_default=MAIN)] = None,
    world_mode: Annotated[str | None, typer.Option(
        help="canonical: the first worldline; multi: the player chooses. Else multi for several.",
        show_default=False)] = None,
    as_of: Annotated[int, typer.Option(min=0, help="As it was at a position; 0 is now.")] = 0,
    pov: Annotated[list[str] | None, typer.Option(help="A point of view; may be given several times.")] = None,
    pov_mode: Annotated[str | None, typer.Option(help=f"{' | '.join(POV_MODES)}.", show_default=False)] = None,
    title: Annotated[str, typer.Option(help="Name of the game; else the story's.")] = "",
    version: Annotated[str, typer.Option(help="Version of the game.")] = "1.0",
    mode: Annotated[str, typer.Option(help="What the policy lets through: sfw | warn | unrestricted.")] = "sfw",
    acknowledged: Annotated[bool, typer.Option("--rating-acknowledged", help="I know how it is rated.")] = False,
    as_zip: Annotated[bool, typer.Option("--zip", help="One archive instead of a folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would change, touch nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over what is no export, or was changed.")] = False,
    actor: Actor = "console",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a Ren'Py game of a story. The folder is replaced as a whole or not at all; files of your own in it stay.

    comfyvn export renpy ./saltmere --project demo

    comfyvn export renpy ./saltmere --project demo --pov mara --pov ivo --dry-run
    """

    for given, known in ((pov_mode, POV_MODES), (mode, get_args(Order.model_fields["mode"].annotation)),
                         (world_mode, get_args(Order.model_fields["world_mode"].annotation))):
        if given is not None and given not in known:
            run(partial(_wrong, given, known), as_json=as_json)
    worlds = tuple(dict.fromkeys(world or [MAIN]))
    wanted = {
        "timeline": timeline, "scene": scene, "worldlines": worlds,
        "world_mode": world_mode or ("multi" if len(worlds) > 1 else "canonical"), "position": as_of,
        "povs": tuple(dict.fromkeys(pov or [])), "pov_mode": pov_mode, "title": title, "version": version,
        "mode": "warn" if acknowledged and mode == "sfw" else mode, "nsfw_acknowledged": acknowledged,
    }
    way = Way(target, as_zip, dry_run, force, as_json)
    run(lambda: _export(data, project, wanted, Asker(actor), way), as_json=as_json)


async def _export(data: Path | None, project: str, wanted: Mapping[str, Any], who: Asker, way: Way) -> None:
    checked("project", project)
    order = Order.model_validate(wanted)
    async with open_everything(settings_of(data), create=False) as opened:
        await opened.counted_everything(["documents", "worldlines", "timeline", "assets"])
        found = await gathered(opened.studio, project, order)
        if way.dry_run:
            gate = await foreseen(opened.studio, project, found, who)
            told = await export_preview(found, way.target)
            _foretell(way.target, told, all(one["allow"] for one in gate), way.as_json)
            return
        await enforced(opened.studio, project, found, who)
        with progress("Exporting") as report:
            await _write(opened.studio, found, way, lambda _, done, total: report(done, total))
        await opened.audited_everything()


async def _write(studio: Studio, found: Gathered, way: Way, tell: Callable[[str, int, int], None]) -> None:
    if not way.as_zip:
        made = await export_folder(studio, found, way.target, tell, force=way.force)
        _tell(way.target, made, way.as_json)
        return
    place = way.target if way.target.suffix == ".zip" else way.target.with_name(way.target.name + ".zip")
    _check_archive(place, way.force)
    root = named([place.stem], lower=True, else_="game")[place.stem]
    await export_archive(studio, found.packed(), place, root, tell)
    _tell_archive(place, found, way.as_json)


async def _wrong(given: str, known: tuple[str, ...]) -> None:
    usage(f"{given!r} is none of these.", f"Use one of {', '.join(known)}.")


def _check_archive(place: Path, force: bool) -> None:
    if place.exists() and not force and not (place.is_file() and place.suffix == ".zip"):
        raise Refused(f"{place.name} is there already, and no archive.", error="not_an_export",
                      remediation=[Remedy("Choose another name.", "choose_file")])


def _tell(target: Path, made: Made, as_json: bool) -> None:
    told = made.told()
    if as_json:
        emit({"ok": True, "folder": str(target), **told})
        return
    if made.placing.nothing:
        out().print(f"[bold]{escape(str(target))}[/] is so already: {told['files']:,} files.")
    else:
        out().print(
            f"[bold]{escape(str(target))}[/]: {told['new']:,} files new, {told['modified']:,} modified, "
            f"{told['unchanged']:,} unchanged, {told['removed']:,} removed."
        )
    if told["missing"]:
        err().print(f"[yellow]{told['missing']:,} assets are missing and have stand-ins; "
                    "export_manifest.json lists them.[/]")


def _tell_archive(place: Path, found: Gathered, as_json: bool) -> None:
    size = place.stat().st_size
    if as_json:
        emit({"ok": True, "file": str(place), "bytes": size, "recipe": found.recipe})
    else:
        out().print(f"[bold]{escape(str(place))}[/]: {size:,} bytes.")


def _foretell(target: Path, told: Mapping[str, Any], allowed: bool, as_json: bool) -> None:
    if as_json:
        emit({"ok": True, "dry_run": True, "folder": str(target), "allowed": allowed, **told})
        return
    for one in told["files"]:
        if one["status"] != "unchanged":
            out().print(f"[{_COLOURS[one['status']]}]{one['status']:<9}[/] {escape(one['path'])}")
        if one.get("diff"):
            out().print("\n".join(f"    {line}" for line in one["diff"].split("\n")), markup=False, style="dim")
    summary = told["summary"]
    out().print(", ".join(f"{count:,} {name}" for name, count in summary.items()) + ". Nothing was touched.")
    if told["refused"]:
        err().print("[yellow]It would be refused without --force.[/]")
    if not allowed:
        err().print("[yellow]The policy would say no.[/]")
