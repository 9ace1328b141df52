"""A figure: what was measured, what it stands beside, what was to be reached, and whether it was."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
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

    @property
    def ratio(self) -> float | None:
        """The figure here as a multiple of the one beside it, where both are times or both are rates."""
        here, there = _measured(self.ours), _measured(self.beside)
        if here is None or there is None or here[1] != there[1] or not there[0]:
            return None
        return here[0] / there[0]


_MEASURE = re.compile(r"(\d[\d,]*(?:\.\d+)?) ?(ms\b|MiB\b|(?:\w+)?/s\b)")


def _measured(text: str) -> tuple[float, str] | None:
    """The first figure with a unit in a text, and what it measures."""
    found = _MEASURE.search(text)
    if found is None:
        return None
    unit = found.group(2)
    return float(found.group(1).replace(",", "")), "rate" if unit.endswith("/s") else unit


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


def table(group: str, figures: Sequence[Figure], seconds: float, console: Console) -> None:
    """Prints the figures of a group; what falls short says so."""
    shown = Table(title=f"{group} ({lasted(seconds)})", title_justify="left", show_lines=True, expand=True)
    for column, share in (("figure", 5), ("here", 3), ("peer or limit, same run", 4)):
        shown.add_column(column, ratio=share, overflow="fold")
    shown.add_column("ratio", justify="right", no_wrap=True)
    shown.add_column("to reach", ratio=3, overflow="fold")
    shown.add_column("", no_wrap=True)
    for figure in figures:
        verdict = {True: "[green]reached[/]", False: "[red]SHORT[/]", None: "[dim]shown[/]"}[figure.reached]
        how = f"\n[dim]{escape(figure.how)}[/]" if figure.how else ""
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f} ×"
        shown.add_row(
            f"{escape(figure.name)}{how}", escape(figure.ours), escape(figure.beside), ratio, escape(figure.to_reach),
            verdict,
        )
    console.print(shown)


def lasted(seconds: float) -> str:
    """A duration as people say it."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def as_json(groups: Mapping[str, Sequence[Figure]], machine: dict[str, Any]) -> dict[str, Any]:
    """Everything that was measured, by group, for a machine to compare."""
    return {
        "machine": machine,
        "figures": [
            {"group": group, **asdict(figure), "ratio": figure.ratio}
            for group, found in groups.items() for figure in found
        ],
    }
