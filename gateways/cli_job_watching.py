"""Watching jobs from the console: one until it is over, or all of a project as they go."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from domain.ids import UNBRANCHED, checked
from domain.ports import Recorded
from domain.studio.job import CATEGORY
from gateways.cli_console import ExitCode, emit, err, out
from gateways.cli_job_drawing import doing, line_of, table_of
from projections.studio.job_lines import line
from projections.studio.job_views import OVER, ListJobs, ShowJob
from services.bootstrap import Opened
from services.registry import Undecodable

SHOWN = 30
"""Most jobs of the live table."""


async def followed(opened: Opened, project: str, job_id: str, *, as_json: bool) -> ExitCode:
    """Shows a job until it is over: lines on standard output and a bar on standard error, or one document a change."""
    studio = opened.studio
    job = await job_of(opened, project, job_id)
    if job["status"] not in OVER and opened.reached.attached_to is None:
        err().print("[yellow]No server and no worker runs on this folder: nobody works on the job.[/]")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
               TimeElapsedColumn())
    said: set[str] = set()
    silent = as_json or not err().is_terminal
    with Progress(*columns, console=err(), transient=True, disable=silent) as bar:
        # On one terminal the bar must know of the lines, or it would stand among them.
        speak = bar.console if not silent and out().is_terminal else out()
        task = bar.add_task(job["name"] or job_id, total=1.0)

        def tell() -> None:
            nonlocal said
            bar.update(task, completed=job["progress"]["fraction"], description=escape(doing(job)))
            if as_json:
                emit(job)
                return
            fresh = [text for text in job["logs"] if text not in said]
            if fresh:
                speak.print("\n".join(map(line_of, fresh)))
            said = set(job["logs"])

        tell()
        reached, subject = job["position"], f"vn.{project}.{UNBRANCHED}.{CATEGORY}.{job_id}"
        while job["status"] not in OVER:
            async for batch in studio.log.follow(after=reached, pattern=subject):
                reached = batch[-1].position
                job = await job_of(opened, project, job_id, reached)
                tell()
                if job["status"] in OVER:
                    break
    return ExitCode.OK if job["status"] == "completed" else ExitCode.NO


async def job_of(opened: Opened, project: str, job_id: str, position: int = 0) -> dict[str, Any]:
    """A job as its page shows it, once a position is counted; raises ``NotFound``."""
    query = ShowJob(project=checked("project", project), job_id=checked("job", job_id), min_position=position)
    job: dict[str, Any] = await opened.studio.look(opened.studio.registry.views["ShowJob"], query)
    return job


async def watched(opened: Opened, project: str, *, as_json: bool, until_idle: bool) -> ExitCode:
    """Tells what happens to the jobs of a project: a live table on a terminal, else a line or document for each thing.

    With ``until_idle`` it ends when no job is under way.
    """
    studio, position = opened.studio, await opened.counted_everything(["jobs"])
    jobs = {job["job_id"]: job for job in await _under_way(opened, project)}
    live = not as_json and out().is_terminal
    with (Live(table_of(project, []), console=out()) if live else nullcontext()) as screen:

        def draw() -> None:
            if screen is not None:
                screen.update(table_of(project, list(jobs.values())[-SHOWN:]))

        if as_json:
            emit({"project": project, "jobs": list(jobs.values())})
        elif screen is None:
            for job in jobs.values():
                out().print(f"[bold]{escape(job['job_id'])}[/] {escape(doing(job))}")
        draw()
        while not until_idle or any(job["status"] not in OVER for job in jobs.values()):
            async for batch in studio.log.follow(after=position, pattern=f"vn.{project}.{UNBRANCHED}.{CATEGORY}.*"):
                position = batch[-1].position
                for job_id in dict.fromkeys(one.stream.id for one in batch):
                    jobs.pop(job_id, None)
                    jobs[job_id] = await job_of(opened, project, job_id, position)
                _told(opened, batch, jobs, as_json=as_json, silent=live)
                draw()
                if until_idle and all(job["status"] in OVER for job in jobs.values()):
                    break
    return ExitCode.OK


def _told(
    opened: Opened, batch: Sequence[Recorded], jobs: dict[str, dict[str, Any]], *, as_json: bool, silent: bool
) -> None:
    for one in batch:
        try:
            said = line(opened.studio.registry.decode(one))
        except Undecodable:
            said = None
        if as_json:
            job = jobs[one.stream.id]
            emit({"job_id": one.stream.id, "event": one.type, "position": one.position, "time": one.time,
                  "text": said.text if said else "", "status": job["status"], "progress": job["progress"]})
        elif said is not None and not silent:
            out().print(f"[bold]{escape(one.stream.id)}[/] {line_of(f'{one.time} {said.level} {said.text}')}")


async def _under_way(opened: Opened, project: str) -> list[dict[str, Any]]:
    view = opened.studio.registry.views["ListJobs"]
    found: dict[str, Any] = await opened.studio.look(view, ListJobs(project=project, limit=200))
    return [job for job in reversed(found["items"]) if job["status"] not in OVER]
