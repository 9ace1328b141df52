"""`make test-renpy`: exported games play in the real Ren'Py exactly as their stories play in the studio.

    python -m tests.renpy [--seed N] [--stories N] [--paths N] [--only stories|demo] [--keep FOLDER]
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

from tests.renpy.demo import export_demo, prove_game
from tests.renpy.engine import Engine, EngineMissing, install
from tests.renpy.proof import Verdict
from tests.renpy.stories import prove_story

KEEP = Path("build/renpy")
"""Where games that differ are left, to be looked at."""

Proof = Callable[[Engine], Verdict]


def main() -> int:
    """Proves what is asked for; 0: all is the same, 1: something differs, 2: there is no engine."""
    options = _options()
    console = Console()
    try:
        command = install()
    except EngineMissing as missing:
        console.print(f"[bold red]The proof did not run.[/] {missing}", highlight=False)
        return 2
    seeds = range(options.seed, options.seed + options.stories)
    proofs: dict[str, Proof] = {}
    if options.only != "demo":
        proofs |= {f"story {seed}": _story(seed, options.paths, options.keep) for seed in seeds}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="comfyvn-renpy-") as scratch:
        if options.only != "stories":
            proofs |= _demo(Path(scratch) / "demo", options.paths * 4, options.keep)
        console.print(f"{command}: {len(proofs)} games, {options.workers} at a time.", highlight=False)
        verdicts = _proved(proofs, command, Path(scratch), options.workers, console)
    _summary(console, verdicts, time.monotonic() - began, options.keep)
    return 1 if any(verdict.troubles for verdict in verdicts) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make test-renpy", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first story's seed (default 1)")
    parser.add_argument("--stories", type=int, default=200, help="how many random stories (default 200)")
    parser.add_argument("--paths", type=int, default=16, help="most paths of a story per point of view and seed")
    parser.add_argument("--only", choices=("stories", "demo"), help="these alone")
    parser.add_argument("--keep", type=Path, default=KEEP, help=f"where differing games are left (default {KEEP})")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="engines at a time")
    return parser.parse_args()


def _story(seed: int, paths: int, keep: Path) -> Proof:
    return partial(prove_story, seed=seed, paths=paths, keep=keep)


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
    groups = {"random stories": [one for one in verdicts if one.name.startswith("story ")]}
    groups["demo"] = [one for one in verdicts if one not in groups["random stories"]]
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
