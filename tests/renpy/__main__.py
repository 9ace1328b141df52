"""`make test-renpy`: exported games play in the real Ren'Py exactly as their stories play in the studio.

    python -m tests.renpy [--seed N] [--stories N] [--paths N] [--only stories|demo|modes|absent|extremes|doors]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.renpy.absent import prove_absent
from tests.renpy.demo import export_demo, prove_game
from tests.renpy.doors import prove_doors
from tests.renpy.engine import Engine, EngineMissing, install
from tests.renpy.extremes import EXTREMES, prove_extreme
from tests.renpy.modes import prove_asked
from tests.renpy.proof import Verdict
from tests.renpy.stories import prove_story

KEEP = Path("build/renpy")
"""Where games that differ are left, to be looked at."""

Proof = Callable[[Engine], Verdict]

MODES, ABSENT = 45, 10
"""Most stories that are asked for otherwise, and that are played without their files: each is several games."""

GROUPS = {"story": "random stories", "asked": "other points of view, worldlines", "absent": "files that are missing",
          "extreme": "at the edges", "door": "by console and HTTP"}
"""Rows of the table by the first word of a game's name; what begins otherwise is the sample project."""


def main() -> int:
    """Proves what is asked for; 0: all is the same, 1: something differs, 2: there is no engine."""
    options = _options()
    console = Console()
    try:
        command = install()
    except EngineMissing as missing:
        console.print(f"[bold red]The proof did not run.[/] {missing}", highlight=False)
        return 2
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="comfyvn-renpy-") as scratch:
        proofs = _random(options)
        if options.only in (None, "demo"):
            proofs |= _demo(Path(scratch) / "demo", options.paths * 4, options.keep)
        if options.only == "doors" or (options.only is None and options.stories > 1):
            proofs |= {"door": partial(prove_doors, folder=Path(scratch) / "doors", keep=options.keep)}
        console.print(f"{command}: {len(proofs)} games, {options.workers} at a time.", highlight=False)
        verdicts = _proved(proofs, command, Path(scratch), options.workers, console)
    _summary(console, verdicts, time.monotonic() - began, options.keep)
    return 1 if any(verdict.troubles for verdict in verdicts) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make test-renpy", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first story's seed (default 1)")
    parser.add_argument("--stories", type=int, default=200, help="how many random stories (default 200)")
    parser.add_argument("--paths", type=int, default=16, help="most paths of a story per point of view and seed")
    kinds = ("stories", "demo", "modes", "absent", "extremes", "doors")
    parser.add_argument("--only", choices=kinds, help="these alone")
    parser.add_argument("--keep", type=Path, default=KEEP, help=f"where differing games are left (default {KEEP})")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="engines at a time")
    return parser.parse_args()


def _random(options: argparse.Namespace) -> dict[str, Proof]:
    """Every proof of a story that is made from a seed. Of one story alone nothing but itself is played."""
    seeds = range(options.seed, options.seed + options.stories)
    some = options.only is None and options.stories > 1
    proofs: dict[str, Proof] = {}
    if options.only in (None, "stories"):
        proofs |= {f"story {seed}": partial(prove_story, seed=seed, paths=options.paths, keep=options.keep)
                   for seed in seeds}
    if some or options.only == "modes":
        proofs |= {f"asked {seed}": partial(prove_asked, seed=seed, paths=6, keep=options.keep)
                   for seed in seeds[:MODES]}
    if some or options.only == "absent":
        proofs |= {f"absent {seed}": partial(prove_absent, seed=seed, paths=3, keep=options.keep)
                   for seed in seeds[:ABSENT]}
    if some or options.only == "extremes":
        proofs |= {f"extreme {name}": partial(prove_extreme, name=name, keep=options.keep) for name in EXTREMES}
    return proofs


def _demo(folder: Path, paths: int, keep: Path) -> dict[str, Proof]:
    return {
        name: partial(prove_game, name=name, exported=exported, paths=paths, keep=keep)
        for name, exported in export_demo(folder).items()
    }


def _proved(proofs: dict[str, Proof], command: Path, scratch: Path, workers: int, console: Console) -> list[Verdict]:
    """Every proof, a few engines at a time; what differs is told as soon as it is known."""
    mine = threading.local()

    def proved(name: str) -> Verdict:
        if not hasattr(mine, "engine"):
            mine.engine = Engine(command, Path(tempfile.mkdtemp(dir=scratch)))
        return proofs[name](mine.engine)

    verdicts = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(workers) as pool:
        task = progress.add_task("proving", total=len(proofs))
        pending = [pool.submit(proved, name) for name in proofs]
        plain = not console.is_terminal
        for done in as_completed(pending):
            verdict = done.result()
            verdicts.append(verdict)
            progress.advance(task)
            if verdict.troubles:
                _tell(progress.console, verdict)
            if plain and len(verdicts) % 20 == 0:
                progress.console.print(f"{len(verdicts)} of {len(proofs)} games", highlight=False)
    return verdicts


def _tell(console: Console, verdict: Verdict) -> None:
    console.print(f"{verdict.name} DIFFERS", style="bold red", highlight=False)
    for trouble in verdict.troubles:
        console.print(f"  - {trouble}", markup=False, highlight=False, soft_wrap=True)
    if verdict.again:
        console.print(f"    again: {verdict.again}", markup=False, highlight=False, soft_wrap=True)


def _summary(console: Console, verdicts: list[Verdict], seconds: float, keep: Path) -> None:
    table = Table(title="Games in Ren'Py against the studio")
    for heading in ("", "games", "routes whole", "paths", "moments compared", "engine seconds", "differ"):
        table.add_column(heading, justify="left" if not heading else "right")
    groups: dict[str, list[Verdict]] = {}
    for one in verdicts:
        groups.setdefault(GROUPS.get(one.name.partition(" ")[0], "demo"), []).append(one)
    for name, group in groups.items():
        if group:
            table.add_row(
                name, str(len(group)), str(sum(one.whole for one in group)), f"{sum(one.paths for one in group):,}",
                f"{sum(one.moments for one in group):,}", f"{sum(one.seconds for one in group):,.0f}",
                str(sum(bool(one.troubles) for one in group)),
            )
    console.print(table)
    differ = sorted(one.name for one in verdicts if one.troubles)
    if differ:
        console.print(f"[bold red]{len(differ)} of {len(verdicts)} games differ[/]: {', '.join(differ)}; "
                      f"they are left in {keep}.", highlight=False)
    else:
        console.print(f"[bold green]All {len(verdicts)} games are the same[/] in {seconds:,.0f} s: lint is clean, and "
                      "every path that was played is byte for byte the studio's.", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
