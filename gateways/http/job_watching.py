"""What a stream about jobs tells: the jobs as their views show them, and each thing that happens to them in a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic import Field

from domain.studio.job import CATEGORY
from domain.tables import PAGE_LIMIT, Reader, Where
from gateways.http.ring import Entry, Wanted
from projections.reading import Query, View
from projections.studio.job_lines import line
from projections.studio.job_tables import JOBS
from projections.studio.job_views import OVER, ShowJob, show_job, told_together
from services.registry import Registry, Undecodable
from services.studio import Looked, Studio
from services.wire import parse_line

SCOPE: Final = f"{CATEGORY}:read"


class SomeJobs(Query):
    """Jobs by their ids."""

    job_ids: tuple[str, ...] = Field(max_length=PAGE_LIMIT)


def some_jobs(reader: Reader, query: SomeJobs) -> list[Any]:
    """Those of the jobs that there are, by age."""
    found = reader.rows(
        JOBS.name, Where("project", "=", query.project), Where("job_id", "in", list(query.job_ids)), order=("job_id",),
    )
    return told_together(reader, query.project, sorted(found, key=lambda row: int(row["requested_position"])))


_ONE: Final = View("ShowJob", "", ShowJob, show_job, ("jobs",), SCOPE)
_SOME: Final = View("SomeJobs", "", SomeJobs, some_jobs, ("jobs",), SCOPE)


def wanted(project: str, job_ids: Iterable[str] = ()) -> Wanted:
    """The events of jobs of a project."""
    return Wanted(project=frozenset({project}), category=frozenset({CATEGORY}), id=frozenset(job_ids))


async def one_job(studio: Studio, project: str, job_id: str, position: int = 0) -> Looked:
    """A job as its page shows it, once that position is counted; raises ``NotFound`` and ``Unavailable``."""
    return await studio.look_closely(_ONE, ShowJob(project=project, job_id=job_id, min_position=position))


async def several_jobs(studio: Studio, project: str, job_ids: Sequence[str], position: int) -> list[dict[str, Any]]:
    """Jobs as a listing shows them, once that position is counted; raises ``Unavailable``."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(job_ids), PAGE_LIMIT):
        ids = tuple(job_ids[start : start + PAGE_LIMIT])
        found += await studio.look(_SOME, SomeJobs(project=project, job_ids=ids, min_position=position))
    return found


def is_over(job: dict[str, Any]) -> bool:
    """Whether nothing more will happen to a job."""
    return job["status"] in OVER


def happening(registry: Registry, entry: Entry) -> dict[str, Any]:
    """What has happened, in a line; never its body, which may hold more than a reader of jobs should see."""
    recorded = parse_line(entry.line)
    try:
        said = line(registry.decode(recorded))
    except Undecodable:
        said = None
    return {
        "job_id": entry.stream.id, "event": entry.type, "position": entry.position, "timestamp": recorded.time,
        "level": said.level if said else "info", "text": said.text if said else "",
    }
