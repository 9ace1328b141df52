"""`comfyvn play test`: every path of a story played, or many at random, and what was found."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from domain.ids import MAIN, checked
from domain.story.playtest.asking import PLAYS_LIMIT, STATES_LIMIT, STEPS_LIMIT, WORDS_PER_MINUTE
from domain.story.playtest.exploring import Bounds
from gateways.cli_console import AsJson, Data, ExitCode, Project, emit, err, out, progress, run, settings_of, usage
from services.bootstrap import open_everything
from services.playtest import golden_files
from services.playtest.running import Done, Playtests

MODES: Final = ("exhaustive", "random", "golden")

SHOWN: Final = 25
"""Most findings, and endings, that the terminal shows; the page and the JSON have them all."""

COLORS: Final = {"error": "bold red", "warning": "yellow", "note": "dim"}


class Which(NamedTuple):
    """Which story, as ``Stories.pinned`` takes it."""

    project: str
    worldline: str
    position: int
    timeline: str | None
    scene: str | None


def playtest(
    project: Project = "default",
    mode: Annotated[str, typer.Option(help=" | ".join(MODES))] = "exhaustive",
    timeline: Annotated[str | None, typer.Option(help="Timeline to play.", show_default=False)] = None,
    scene: Annotated[str | None, typer.Option(help="Play this scene alone.", show_default=False)] = None,
    worldline: Annotated[str, typer.Option("--worldline", "-w", help="Worldline to play.")] = MAIN,
    as_of: Annotated[int, typer.Option("--as-of", min=0, help="As the story was at this position; 0 is now.")] = 0,
    pov: Annotated[
        list[str] | None, typer.Option(help="Point of view; several times. Else all.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Exhaustive: the dice fall as they do from it. Random: the first play's.",
                                 show_default=False),
    ] = None,
    plays: Annotated[int, typer.Option(min=1, max=PLAYS_LIMIT, help="Random plays for each point of view.")] = 200,
    max_states: Annotated[
        int, typer.Option("--max-states", min=1, max=STATES_LIMIT, help="Most states for each point of view.")
    ] = 1_000_000,
    max_depth: Annotated[int, typer.Option("--max-depth", min=0, help="Most steps from the beginning.")] =
    Bounds().depth,
    max_steps: Annotated[int, typer.Option("--max-steps", min=1, max=STEPS_LIMIT, help="Most steps of a random play.")]
    = 2_000,
    words_per_minute: Annotated[
        int, typer.Option("--words-per-minute", min=1, max=10_000, help="How fast people read, for minutes.")
    ] = WORDS_PER_MINUTE,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as one page.", show_default=False)
    ] = None,
    golden: Annotated[
        Path | None, typer.Option("--golden", metavar="DIR", help="Golden plays: compare with those in this folder.",
                                  show_default=False),
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Record the golden plays as they are now.")] = False,
    against: Annotated[
        str | None, typer.Option(metavar="WORLDLINE", help="Compare with the story on this worldline.",
                                 show_default=False),
    ] = None,
    against_as_of: Annotated[
        int, typer.Option("--against-as-of", min=0, help="… as it was at this position; alone: of the same worldline.")
    ] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when there are errors or warnings.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Play every path of a story, and tell what is never met, where players get stuck, and the way to every ending.

    comfyvn play test --project demo --html report.html

    comfyvn play test --against main --worldline storm

    comfyvn play test --golden tests/golden --update

    Exit code 1 when golden plays differ, or with --strict when there are findings that are not mere notes.
    """
    golden_mode = golden is not None or mode == "golden"
    wanted = {
        "mode": "exhaustive" if golden_mode else mode, "povs": pov or [], "seed": seed,
        "plays": min(plays, 10) if golden_mode else plays, "steps": max_steps, "words_per_minute": words_per_minute,
        "bounds": {"states": max_states, "transitions": 10 * max_states, "depth": max_depth},
    }

    which = Which(project, worldline, as_of, timeline, scene)
    other = Which(project, against or worldline, against_as_of, timeline, scene)

    async def work() -> ExitCode:
        checked("project", project)
        _fits(mode, golden, update, golden_mode)
        order = {"task": "report", "wanted": wanted, "page": bool(html)}
        async with open_everything(settings_of(data), create=False) as opened:
            order["content"] = (await opened.studio.stories.pinned(*which)).content
            if against is not None or against_as_of:
                order["against"] = (await opened.studio.stories.pinned(*other)).content
        # The studio is closed meanwhile: what is pinned does not change, and others may want the folder.
        if golden is not None:
            return await _golden(golden, order, update, as_json)
        return await _report(order, html, strict, as_json)

    run(work, as_json=as_json)


async def _report(order: dict[str, Any], html: Path | None, strict: bool, as_json: bool) -> ExitCode:
    done = await _played(order)
    if html is not None:
        await asyncio.to_thread(html.write_bytes, done.page)
    report = json.loads(done.report)
    if as_json:
        emit(report)
    else:
        out().print(_shown(report))
        if html is not None:
            err().print(f"The page is in {escape(str(html))}.")
    serious = any(one["severity"] != "note" for one in report["findings"])
    return ExitCode.NO if strict and (serious or not _settled(report)) else ExitCode.OK


def _fits(mode: str, golden: Path | None, update: bool, golden_mode: bool) -> None:
    if mode not in MODES:
        usage(f"{mode!r} is no mode.", f"Use one of {', '.join(MODES)}.")
    if golden_mode and golden is None:
        usage("Golden plays need a folder.", "Name it with --golden DIR.")
    if update and golden is None:
        usage("--update records golden plays.", "Name their folder with --golden DIR.")


def _settled(report: dict[str, Any]) -> bool:
    return bool(report["mode"] == "random" or report["complete"])


async def _played(order: dict[str, Any]) -> Done:
    with progress("Playing") as bar:
        return await Playtests(seconds=None).run(order, lambda stage, done, most: bar(done, most))


# --- on the terminal ----------------------------------------------------------------------------------------------


def _shown(report: dict[str, Any]) -> Group:
    about, timing = report["story"], report["timing"]
    where = " ".join(part for part in (
        f"[bold]{escape(str(about['timeline'] or about['id']))}[/]", f"on {escape(str(about['worldline']))}",
        f"as of {about['position']}",
    ) if part)
    how = "every path played" if report["complete"] else "random plays" if report["mode"] == "random" \
        else "[yellow]bounded: not every path was played[/]"
    parts: list[Any] = [
        f"{where}: {how}. {about['scenes']:,} scenes, {about['nodes']:,} nodes, {about['choices']:,} choices, "
        f"{about['words']:,} words; {timing['per_second'] or 0:,} {timing['of']}/s.", "", _views(report),
    ]
    if report["coverage"]["nodes"]["total"]:
        met = report["coverage"]
        parts.append("[dim]Together: " + ", ".join(
            f"{met[kind]['met']:,} of {met[kind]['total']:,} {name}" for kind, name in
            (("nodes", "nodes"), ("choices", "choices"), ("sides", "sides of conditions"))) + ".[/]")
    parts += [part for view in report["views"] for part in _endings(view)]
    parts += _findings(report["findings"])
    if "comparison" in report:
        parts += _compared(report["comparison"])
    return Group(*parts)


def _views(report: dict[str, Any]) -> Table:
    table = Table(box=None, header_style="dim")
    columns = ("point of view", "nodes", "choices", "conditions", "endings", "minutes",
               "states" if report["mode"] == "exhaustive" else "plays", "")
    for column in columns:
        table.add_column(column, justify="left" if column in ("point of view", "") else "right")
    for view in report["views"]:
        met, lengths = view["coverage"], view["lengths"]
        minutes = "–"
        if lengths["shortest"]:
            minutes = f"{lengths['shortest']['minutes']:g}–{lengths['longest']['minutes']:g}"
            minutes += " and on" if lengths["loops"] else ""
        bound = f"[yellow]{', '.join(view['bounds_reached'])} reached[/]" if view["bounds_reached"] else ""
        bound += f"[yellow], {view['frontier']:,} states not followed[/]" if view.get("frontier") else ""
        table.add_row(escape(view["pov"]), *(_share(met[kind]) for kind in ("nodes", "choices", "sides")),
                      str(len(view["endings"])), minutes, f"{view.get('states', view.get('plays', 0)):,}", bound)
    return table


def _share(met: dict[str, int]) -> str:
    if not met["total"]:
        return "–"
    share = 100 * met["met"] // met["total"]
    color = "green" if share == 100 else "yellow" if share >= 80 else "red"
    return f"{met['met']:,}/{met['total']:,} [{color}]{share} %[/]"


def _endings(view: dict[str, Any]) -> list[Any]:
    if not view["endings"]:
        return []
    parts = ["", f"[bold]Endings of {escape(view['pov'])}[/]"]
    for one in view["endings"][:SHOWN]:
        path = one["path"] or {}
        color = "green" if one["kind"] == "end" else "bold red" if one["kind"] in ("stuck", "hidden") else "yellow"
        told = [f"{path['minutes']:g} min"] if path else []
        if path and path["steps"] is not None:
            told.insert(0, f"{path['steps']:,} steps")
        if path and path["draws"]:
            told.append("no seed found" if path["seed"] is None else f"seed {path['seed']}")
        place = escape(f"{one['scene']}/{one['node']}")
        parts.append(f"  {place} [{color}]{one['kind']}[/] [dim]{', '.join(told)}[/]")
        if path and path["choices"] is not None:
            taken = " › ".join(choice["choice"] for choice in path["choices"][:60])
            parts.append(f"    [dim]{escape(taken) or '–'}[/]")
    more = len(view["endings"]) - SHOWN
    return [*parts, *([f"  [dim]… and {more:,} more[/]"] if more > 0 else [])]


def _findings(findings: list[dict[str, Any]]) -> list[Any]:
    if not findings:
        return ["", "[green]No findings.[/]"]
    parts: list[Any] = [""]
    for one in findings[:SHOWN]:
        who = f" [dim]({escape(one['pov'])})[/]" if one.get("pov") else ""
        parts.append(f"[{COLORS[one['severity']]}]{one['severity']:<8}[/] {escape(one['message'])}{who}")
        path = one.get("path")
        if path and path.get("picks") is not None and one["severity"] != "note":
            seed = f"seed {path['seed']}, " if path["seed"] is not None and path["draws"] else ""
            parts.append(f"         [dim]{seed}choices: {escape(' › '.join(path['picks'][:40])) or 'none'}[/]")
    if len(findings) > SHOWN:
        parts.append(f"[dim]… and {len(findings) - SHOWN:,} more: --json and --html tell them all[/]")
    return parts


def _compared(compared: dict[str, Any]) -> list[Any]:
    before = compared["before"]
    parts: list[Any] = ["", f"Beside [bold]{escape(str(before['worldline']))}[/] as of {before['position']}:"]
    if compared["same"]:
        return [*parts, "  [green]the same endings by the same ways[/]"]
    for view in compared["views"]:
        for kind, color in (("appeared", "green"), ("vanished", "bold red"), ("moved", "yellow")):
            for one in view["endings"][kind][:SHOWN]:
                parts.append(f"  [{color}]{kind}[/] {escape(one['scene'])}/{escape(one['node'])} "
                             f"[dim]({escape(view['pov'])})[/] {escape(one['why'])}")
    nodes = compared["nodes"]
    parts.append("  [dim]nodes: " + ", ".join(f"{len(nodes[kind])} {kind}" for kind in nodes) + "[/]")
    return parts


# --- golden plays -------------------------------------------------------------------------------------------------


async def _golden(folder: Path, order: dict[str, Any], update: bool, as_json: bool) -> ExitCode:
    recorded = await asyncio.to_thread(golden_files.read, folder)
    done = await _played({"task": "golden", "content": order["content"], "wanted": order["wanted"],
                          "recorded": recorded})
    found = json.loads(done.report)
    results, fresh = found["results"], found["new"]
    differing = [one for one in results if one["status"] != "same"]
    written: list[str] = []
    removed: list[str] = []
    if update:
        again = [one["now"] for one in differing if one["status"] == "changed"]
        removed = [one["file"] for one in differing if one["status"] == "broken"]
        await asyncio.to_thread(golden_files.remove, folder,
                                removed + [one["file"] for one in differing if one["status"] == "changed"])
        written = await asyncio.to_thread(golden_files.write, folder, again + fresh)
    if as_json:
        plain = [{name: value for name, value in one.items() if name != "now"} for one in results]
        emit({"ok": update or (not differing and bool(results)), "results": plain,
              "new": [one["name"] for one in fresh], "written": written, "removed": removed})
    else:
        _tell_golden(results, fresh, written, removed, update)
    return ExitCode.OK if update or (results and not differing) else ExitCode.NO


def _tell_golden(results: list[dict[str, Any]], fresh: list[dict[str, Any]], written: list[str], removed: list[str],
                 update: bool) -> None:
    console = out()
    for one in results:
        color = {"same": "green", "changed": "yellow", "broken": "bold red"}[one["status"]]
        console.print(f"[{color}]{one['status']:<8}[/] {escape(one['name'])}")
        if one.get("why"):
            console.print(f"         {escape(one['why'])}")
        if one.get("difference"):
            _tell_difference(console, one["difference"])
    if update:
        console.print(f"{len(written)} recorded, {len(removed)} removed.")
    elif not results:
        console.print("No golden plays are recorded there yet: --update records them.")
    elif fresh:
        console.print(f"[dim]{len(fresh)} plays of today are not recorded; --update records them.[/]")


def _tell_difference(console: Any, told: dict[str, Any]) -> None:
    for step in told["context"]:
        console.print(f"           [dim]{escape(str(step))}[/]")
    console.print(f"         step {told['step']}: {escape(str(told['at']))} → {escape(str(told['now_at']))}")
    for field in told["fields"]:
        for sign, color, name in (("-", "red", "before"), ("+", "green", "after")):
            text = json.dumps(field[name], ensure_ascii=False)
            console.print(f"         [{color}]{sign} {field['field']}: {escape(text[:300])}[/]")
    if told["added"] is not None:
        console.print(f"         [dim]{told['added']} steps added, {told['removed']} removed, "
                      f"{told['changed']} changed[/]")
