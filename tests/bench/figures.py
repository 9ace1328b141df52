"""A figure: what was measured, what it stands beside, what was to be reached, and whether it was."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One row of the table. ``reached`` of ``None``: nothing was to be reached, the figure is there to be seen."""

    name: str
    ours: str
    beside: str
    to_reach: str
    reached: bool | None
    how: str = ""


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def rate(per_second: float, of: str = "events") -> str:
    return f"{per_second:,.0f} {of}/s"


def table(figures: Sequence[Figure], console: Console) -> None:
    """Prints the figures; what falls short says so."""
    shown = Table(title="Figures of one interleaved run (medians)", show_lines=True)
    for column in ("figure", "here", "beside it, same run", "to reach", ""):
        shown.add_column(column)
    for figure in figures:
        verdict = {True: "[green]reached[/]", False: "[red]SHORT[/]", None: ""}[figure.reached]
        name = f"{figure.name}\n[dim]{figure.how}[/]" if figure.how else figure.name
        shown.add_row(name, figure.ours, figure.beside, figure.to_reach, verdict)
    console.print(shown)


def as_json(figures: Sequence[Figure], machine: dict[str, Any]) -> dict[str, Any]:
    return {"machine": machine, "figures": [asdict(figure) for figure in figures]}
