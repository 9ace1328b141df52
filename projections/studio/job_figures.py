"""Figures about jobs: how they stand, what they cost by preset and engine, how long they wait and take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from domain.tables import PAGE_LIMIT, Reader, Where
from projections.operations.telemetry import minute_of
from projections.studio.job_tables import JOBS, WORK
from projections.studio.job_views import UNDER_WAY, UNIT

SAMPLE: Final = 5000
"""Newest jobs that costs and times are taken from; the numbers by status are of all jobs."""

ENDED: Final = ("completed", "failed", "cancelled", "lost")
_STAGES: Final = (*UNDER_WAY, "uncertain", "quarantined", *ENDED)


class Sampled(NamedTuple):
    """One job of the sample; times in seconds."""

    stage: str
    preset: str
    engine: str
    cost: int
    waited: float | None
    took: float | None


def overview(reader: Reader, project: str) -> dict[str, Any]:
    """Everything at a glance."""
    jobs = sampled(reader, project)
    return {"jobs": by_status(reader, project), "sample": _about(jobs), "costs": _costs(jobs),
            "durations": _durations(jobs)}


def jobs(reader: Reader, project: str) -> dict[str, Any]:
    """How many jobs stand how."""
    return {"jobs": by_status(reader, project)}


def costs(reader: Reader, project: str) -> dict[str, Any]:
    """What jobs cost, by preset and by engine."""
    found = sampled(reader, project)
    return {"sample": _about(found), "costs": _costs(found)}


def durations(reader: Reader, project: str) -> dict[str, Any]:
    """How long jobs wait and take, by preset and by engine."""
    found = sampled(reader, project)
    return {"sample": _about(found), "durations": _durations(found)}


FIGURES: Final[Mapping[str, Callable[[Reader, str], dict[str, Any]]]] = {
    "overview": overview, "jobs": jobs, "costs": costs, "durations": durations,
}
"""What can be asked for, by name."""


def by_status(reader: Reader, project: str) -> dict[str, int]:
    """Status -> number of jobs, over the whole history."""
    of = Where("project", "=", project)
    found = {stage: reader.count(JOBS.name, of, Where("stage", "=", stage)) for stage in _STAGES}
    cancelling = [Where("cancelling", "=", True), of]
    for stage in UNDER_WAY:
        found[stage] -= reader.count(JOBS.name, *cancelling, Where("stage", "=", stage))
    found["cancelling"] = reader.count(JOBS.name, *cancelling, Where("stage", "in", UNDER_WAY))
    return {**found, "total": sum(found.values())}


def sampled(reader: Reader, project: str) -> list[Sampled]:
    """The newest jobs, column by column."""
    names = ("job_id", "stage", "preset", "engine", "cost", "created_at", "finished_at")
    found = list(zip(*reader.columns(
        JOBS.name, names, Where("project", "=", project), order=("-requested_position",), limit=SAMPLE,
    ), strict=True))
    work: dict[str, tuple[str, int]] = {}
    for start in range(0, len(found), PAGE_LIMIT):
        ids = [row[0] for row in found[start : start + PAGE_LIMIT]]
        columns = reader.columns(WORK.name, ("job_id", "started_at", "spent"), Where("project", "=", project),
                                 Where("job_id", "in", ids), limit=PAGE_LIMIT)
        work |= {id_: (started, spent) for id_, started, spent in zip(*columns, strict=True)}
    return [_of(row, *work.get(row[0], ("", 0))) for row in found]


def _of(row: Sequence[Any], started: str, spent: int) -> Sampled:
    _, stage, preset, engine, cost, created, finished = row
    begun = seconds_of(started) if started else None
    took = seconds_of(finished) - begun if finished and begun is not None else None
    waited = begun - seconds_of(created) if begun is not None else None
    return Sampled(stage, preset, engine, spent if cost is None else cost, waited, took)


def _about(found: Sequence[Sampled]) -> dict[str, Any]:
    return {"jobs": len(found), "newest": SAMPLE}


def _costs(found: Sequence[Sampled]) -> dict[str, Any]:
    def summed(name: str) -> dict[str, dict[str, int]]:
        sums: dict[str, list[int]] = defaultdict(list)
        for one in found:
            sums[getattr(one, name)].append(one.cost)
        return {key: {"jobs": len(costs), "cost": sum(costs)} for key, costs in sorted(sums.items())}

    return {"unit": UNIT, "cost": sum(one.cost for one in found), "by_preset": summed("preset"),
            "by_engine": summed("engine")}


def _durations(found: Sequence[Sampled]) -> dict[str, Any]:
    def spread(chosen: Sequence[Sampled]) -> dict[str, Any]:
        over = [one for one in chosen if one.stage in ENDED]
        done = sum(one.stage == "completed" for one in over)
        return {
            "ended": len(over), "completed": done, "completed_share": round(done / len(over), 4) if over else None,
            "waited_seconds": _spread([one.waited for one in chosen if one.waited is not None]),
            "took_seconds": _spread([one.took for one in over if one.took is not None]),
        }

    def each(name: str) -> dict[str, Any]:
        groups: dict[str, list[Sampled]] = defaultdict(list)
        for one in found:
            groups[getattr(one, name)].append(one)
        return {key: spread(group) for key, group in sorted(groups.items())}

    return {**spread(found), "by_preset": each("preset"), "by_engine": each("engine")}


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    """Median, 95th of a hundred, and the longest; nothing of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return {"p50": round(ordered[len(ordered) // 2], 3),
            "p95": round(ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)], 3), "max": round(ordered[-1], 3)}


def seconds_of(time: str) -> float:
    """Seconds since 1970 of a time as the log writes it."""
    try:
        return minute_of(time) * 60 + float(time[17:].rstrip("Zz") or 0)
    except ValueError:
        return minute_of(time) * 60.0
