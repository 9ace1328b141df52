"""How long work like this has taken lately: a median of what was done, never a guess."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from domain.tables import Reader, Where
from projections.studio.job_figures import seconds_of
from projections.studio.job_tables import JOBS, WORK

RUNS: Final = 20
"""Newest completed runs that the median is of."""

LOOKED_AT: Final = 200
"""Newest jobs of the preset among which they are looked for."""


class Usual(NamedTuple):
    """Seconds from the moment when a worker took it to its end, and of how many runs that is the median."""

    seconds: float
    runs: int


def usual(reader: Reader, project: str, preset: str, quality: str, engines: Collection[str]) -> Usual | None:
    """What completed runs of a preset in a quality on the same engines took; nothing where there was none lately."""
    of = Where("project", "=", project)
    rows = zip(*reader.columns(
        JOBS.name, ("job_id", "stage", "quality", "steps", "finished_at"), of, Where("preset", "=", preset),
        order=("-requested_position",), limit=LOOKED_AT,
    ), strict=True)
    ended = {
        job_id: finished for job_id, stage, level, steps, finished in rows
        if stage == "completed" and finished and level == quality and {one["engine"] for one in steps} == set(engines)
    }
    newest = list(ended)[:RUNS]
    if not newest:
        return None
    begun = zip(*reader.columns(WORK.name, ("job_id", "started_at"), of, Where("job_id", "in", newest), limit=RUNS),
                strict=True)
    took = sorted(max(0.0, seconds_of(ended[id_]) - seconds_of(started)) for id_, started in begun if started)
    if not took:
        return None
    middle = len(took) // 2
    return Usual(took[middle] if len(took) % 2 else (took[middle - 1] + took[middle]) / 2, len(took))
