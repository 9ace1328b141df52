"""`comfyvn play test`: every path of a story played, or many at random, and what was found."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.markup import escape

from domain.ids import MAIN, checked
from domain.story.playtest.asking import PLAYS_LIMIT, STATES_LIMIT, STEPS_LIMIT, WORDS_PER_MINUTE
from domain.story.playtest.exploring import Bounds
from gateways.cli_console import AsJson, Data, ExitCode, Project, emit, err, out, progress, run, settings_of, usage
from gateways.cli_playtest_shown import shown, tell_golden
from services.bootstrap import open_everything
from services.playtest import golden_files
from services.playtest.running import Done, Playtests

MODES: Final = ("exhaustive", "random", "golden")

# --- what may be said on the command line ---------------------------------------------------------------------------

Mode = Annotated[str, typer.Option(help=" | ".join(MODES))]
Timeline = Annotated[str | None, typer.Option(help="Timeline to play.", show_default=False)]
Scene = Annotated[str | None, typer.Option(help="Play this scene alone.", show_default=False)]
Worldline = Annotated[str, typer.Option("--worldline", "-w", help="Worldline to play.")]
AsOf = Annotated[int, typer.Option("--as-of", min=0, help="As the story was at this position; 0 is now.")]
Povs = Annotated[list[str] | None, typer.Option(help="Point of view; several times. Else all.", show_default=False)]
Seed = Annotated[int | None, typer.Option(
    help="Exhaustive: the dice fall as they do from it. Random: the first play's.", show_default=False,
)]
Plays = Annotated[int, typer.Option(min=1, max=PLAYS_LIMIT, help="Random plays for each point of view.")]
MaxStates = Annotated[int, typer.Option(
    "--max-states", min=1, max=STATES_LIMIT, help="Most states for each point of view.",
)]
MaxDepth = Annotated[int, typer.Option("--max-depth", min=0, help="Most steps from the beginning.")]
MaxSteps = Annotated[int, typer.Option("--max-steps", min=1, max=STEPS_LIMIT, help="Most steps of a random play.")]
WordsPerMinute = Annotated[int, typer.Option(
    "--words-per-minute", min=1, max=10_000, help="How fast people read, for minutes.",
)]
Html = Annotated[Path | None, typer.Option(
    "--html", metavar="FILE", help="Write the report as one page.", show_default=False,
)]
Golden = Annotated[Path | None, typer.Option(
    "--golden", metavar="DIR", help="Golden plays: compare with those in this folder.", show_default=False,
)]
Update = Annotated[bool, typer.Option("--update", help="Record the golden plays as they are now.")]
Against = Annotated[str | None, typer.Option(
    metavar="WORLDLINE", help="Compare with the story on this worldline.", show_default=False,
)]
AgainstAsOf = Annotated[int, typer.Option(
    "--against-as-of", min=0, help="… as it was at this position; alone: of the same worldline.",
)]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 when there are errors or warnings.")]


class Which(NamedTuple):
    """Which story, as ``Stories.pinned`` takes it."""

    project: str
    worldline: str
    position: int
    timeline: str | None
    scene: str | None


def playtest(
    project: Project = "default", mode: Mode = "exhaustive", timeline: Timeline = None, scene: Scene = None,
    worldline: Worldline = MAIN, as_of: AsOf = 0, pov: Povs = None, seed: Seed = None, plays: Plays = 200,
    max_states: MaxStates = 1_000_000, max_depth: MaxDepth = Bounds().depth, max_steps: MaxSteps = 2_000,
    words_per_minute: WordsPerMinute = WORDS_PER_MINUTE, html: Html = None, golden: Golden = None,
    update: Update = False, against: Against = None, against_as_of: AgainstAsOf = 0, strict: Strict = False,
    data: Data = None, as_json: AsJson = False,
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
        out().print(shown(report))
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
        tell_golden(results, fresh, written, removed, update)
    return ExitCode.OK if update or (results and not differing) else ExitCode.NO
