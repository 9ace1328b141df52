"""`make bench`: every figure beside its peer or limit, measured in one interleaved run on real servers.

    python -m tests.bench [--quick] [--only NAME …] [--million] [--json [FILE]]

A table per group: figure, here, peer or limit, ratio, what was to be reached, and whether it was. ``--json`` alone
prints everything as JSON instead.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import orjson
from rich.console import Console

from tests.bench import (
    doors,
    exporting,
    generation,
    job_history,
    logs,
    merging,
    models,
    playing,
    playtest,
    signing,
    stories,
)
from tests.bench.figures import Figure, as_json, lasted, milliseconds, table
from tests.bench.peers import fsync_probe

FIGURES: dict[str, Callable[[Path, bool], Iterable[Figure]]] = {
    "append": logs.append_figures,
    "open": logs.open_figures,
    "http": doors.command_figures,
    "fork": doors.fork_figures,
    "travel": doors.travel_figures,
    "streams": doors.stream_figures,
    "rebuild": models.rebuild_figures,
    "merge": merging.merging_figures,
    "story": stories.story_figures,
    "play": playing.playing_figures,
    "playtest": playtest.playtest_figures,
    "export": exporting.export_figures,
    "jobs": generation.job_figures,
    "signing": signing.signing_figures,
    "job_history": job_history.history_figures,
}
"""Name of a group -> what measures it, given a scratch folder and whether to be quick."""


def main() -> int:
    """Measures, prints the table, and says plainly what fell short; the exit code is 0 all the same."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer events and rounds; figures scatter more")
    parser.add_argument("--only", nargs="+", choices=[*FIGURES, "million"], help="these groups alone")
    parser.add_argument("--million", action="store_true", help="also rebuild from 1,000,000 events")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="JSON to this file as well, or alone")
    options = parser.parse_args()
    console = Console(stderr=options.json == "-")
    chosen = options.only or [*FIGURES]
    figures: dict[str, list[Figure]] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="comfyvn-bench-") as scratch:
        probe = fsync_probe(Path(scratch))
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "fdatasync_seconds": probe,
                   "load": os.getloadavg()[0]}
        console.print(f"{machine['cores']} cores, Python {machine['python']}, fdatasync p50 {milliseconds(probe)}, "
                      f"load {machine['load']:.1f}. Compare ratios, not absolute times.")
        groups = {**FIGURES, "million": models.million_figures}
        if options.million and "million" not in chosen:
            chosen = [*chosen, "million"]
        for name in chosen:
            folder = Path(scratch) / name
            folder.mkdir()
            begun = time.monotonic()
            with console.status(f"measuring {name} …"):
                figures[name] = list(groups[name](folder, options.quick))
            table(name, figures[name], time.monotonic() - begun, console)
    seconds = time.monotonic() - began
    everything = [figure for found in figures.values() for figure in found]
    short = [figure.name for figure in everything if figure.reached is False]
    console.print(f"{sum(figure.reached is True for figure in everything)} reached, {len(short)} short"
                  + (f": {'; '.join(short)}" if short else "") + f". The whole run took {lasted(seconds)}.")
    if options.json:
        said = orjson.dumps(as_json(figures, machine | {"run_seconds": round(seconds, 1)}), option=orjson.OPT_INDENT_2)
        if options.json == "-":
            sys.stdout.buffer.write(said + b"\n")
        else:
            Path(options.json).write_bytes(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
