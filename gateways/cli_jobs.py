"""`comfyvn jobs`: what was generated, how it goes, and what to do when it does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.markup import escape

from commands.declaration import Command
from commands.studio.job import CancelJob, PrioritiseJob, ReleaseJob, ResolveAttempt
from domain.errors import Refused, Remedy
from domain.ids import checked
from domain.studio.job import Open
from gateways.cli_console import (
    Actor,
    AsJson,
    Cursor,
    Data,
    DryRun,
    ExitCode,
    Project,
    emit,
    err,
    out,
    run,
    settings_of,
    tell_more,
    usage,
)
from gateways.cli_job_drawing import drawn, line_of, table_of
from gateways.cli_job_watching import followed, job_of, watched
from projections.studio.job_views import ListJobLines, ListJobs, Status
from services.bootstrap import open_everything
from services.dispatcher import Receipt
from services.generation.accepting import again, told
from services.generation.planning import job_state, repeated
from services.studio import Asker

app = typer.Typer(no_args_is_help=True, help="What was asked of engines, how it goes, what it made and cost.")

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]



@app.command("list")
def list_(
    project: Project = "default",
    status: Annotated[str | None, typer.Option(help=" | ".join(get_args(Status)), show_default=False)] = None,
    preset: Annotated[str | None, typer.Option(help="Only of this preset.", show_default=False)] = None,
    owner: Annotated[str | None, typer.Option(help="Only of this person.", show_default=False)] = None,
    engine: Annotated[str | None, typer.Option(help="Only where this engine was asked last.",
                                               show_default=False)] = None,
    since: Annotated[str | None, typer.Option(help="Asked for at this time (UTC) or later: 2026-01-02T15:04.",
                                              show_default=False)] = None,
    q: Annotated[str | None, typer.Option("--search", help="Text in ids, names and inputs.",
                                          show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Most jobs.")] = 50,
    cursor: Cursor = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Jobs, newest first.

    comfyvn jobs list --status failed
    """

    async def work() -> None:
        checked("project", project)
        if status is not None and status not in get_args(Status):
            usage(f"{status!r} is none of these.", f"Use one of {', '.join(get_args(Status))}.")
        query = ListJobs.model_validate({
            "project": project, "status": status, "preset": preset, "owner": owner, "engine": engine, "since": since,
            "q": q, "limit": limit, "cursor": cursor,
        })
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["jobs"])
            found = await opened.studio.look(opened.studio.registry.views["ListJobs"], query)
        if as_json:
            emit({"project": project, **found})
        else:
            out().print(table_of(project, found["items"]))
            tell_more(found["next"])

    run(work, as_json=as_json)


@app.command()
def show(job_id: JobId, project: Project = "default", data: Data = None, as_json: AsJson = False) -> None:
    """One job: how far it is, what it made, cost and said, and what to do when it failed.

    comfyvn jobs show JOB
    """

    async def work() -> None:
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["jobs"])
            job = await job_of(opened, project, job_id)
        if as_json:
            emit(job)
        else:
            out().print(drawn(job))

    run(work, as_json=as_json)


@app.command()
def follow(job_id: JobId, project: Project = "default", data: Data = None, as_json: AsJson = False) -> None:
    """Watch a job until it is over. The exit code is 0 when it was completed, else 1.

    comfyvn jobs follow JOB
    """

    async def work() -> ExitCode:
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["jobs"])
            return await followed(opened, project, job_id, as_json=as_json)

    run(work, as_json=as_json)


@app.command()
def log(
    job_id: JobId,
    level: Annotated[str | None, typer.Option(help="info | warning | error", show_default=False)] = None,
    follow_it: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job is over.")] = False,
    project: Project = "default", data: Data = None, as_json: AsJson = False,
) -> None:
    """The whole story of a job, oldest line first. It holds no secret and nothing that was put in.

    comfyvn jobs log JOB --level error
    """

    async def work() -> ExitCode:
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["jobs"])
            if follow_it and level is None:
                return await followed(opened, project, job_id, as_json=as_json)
            view, lines, asked = opened.studio.registry.views["ListJobLines"], list[dict[str, Any]](), {
                "project": checked("project", project), "job_id": checked("job", job_id), "level": level, "limit": 500,
            }
            while True:
                page = await opened.studio.look(view, ListJobLines.model_validate(asked))
                lines += page["items"]
                if page["next"] is None:
                    break
                asked["cursor"] = page["next"]
        if as_json:
            emit({"job_id": job_id, "project": project, "lines": lines})
        else:
            for one in lines:
                out().print(line_of(f"{one['time']} {one['level']} {one['text']}"))
        return ExitCode.OK

    run(work, as_json=as_json)


@app.command()
def watch(
    job_id: Annotated[str | None, typer.Argument(metavar="[JOB]", help="One job; else all of the project.",
                                                 show_default=False)] = None,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End when no job is under way.")] = False,
    project: Project = "default", data: Data = None, as_json: AsJson = False,
) -> None:
    """Watch the jobs of a project as they go; with JOB only that one, until it is over. Ctrl-C ends it.

    comfyvn jobs watch --project demo
    """

    async def work() -> ExitCode:
        checked("project", project)
        async with open_everything(settings_of(data), create=False) as opened:
            if job_id is not None:
                await opened.counted_everything(["jobs"])
                return await followed(opened, project, job_id, as_json=as_json)
            return await watched(opened, project, as_json=as_json, until_idle=until_idle)

    run(work, as_json=as_json)


@app.command()
def cancel(
    job_id: JobId,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    project: Project = "default",
    actor: Actor = "console",
    dry_run: DryRun = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Stop a job: at once while it waits, else as soon as its engine has heard of it.

    comfyvn jobs cancel JOB --reason "another picture"
    """
    _ask(lambda: CancelJob(job_id=checked("job", job_id), reason=reason), "will be stopped", project, actor, data,
         dry_run=dry_run, as_json=as_json)


@app.command()
def retry(
    job_id: JobId,
    quality: Annotated[str | None, typer.Option(help="Another quality.", show_default=False)] = None,
    engine: Annotated[str | None, typer.Option(help="On this engine.", show_default=False)] = None,
    spend_limit: Annotated[float | None, typer.Option(min=0, help="Most credits that it may cost.",
                                                      show_default=False)] = None,
    project: Project = "default",
    actor: Actor = "console",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan and what it may cost.")] = False,
    follow_it: Annotated[bool, typer.Option("--follow", help="Watch it until it is over.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Do a job that is over again, as a new job with its lineage, on the engines as they are now.

    comfyvn jobs retry JOB --quality low --dry-run
    """

    async def work() -> ExitCode:
        checked("project", project)
        async with open_everything(settings_of(data), create=False) as opened:
            studio, who = opened.studio, Asker(actor)
            state = await job_state(studio, project, checked("job", job_id))
            if isinstance(state, Open):
                raise Refused(
                    f"Job {job_id} is not over: doing it again now would do it twice.", error="job_not_over",
                    remediation=[Remedy("Wait for it, or cancel it first.", "cancel_job")],
                )
            if dry_run:
                plan = told(await repeated(studio, project, job_id, actor, "dry-run", quality=quality, engine=engine,
                                           spend_limit=spend_limit))
                if as_json:
                    emit({"ok": True, "dry_run": True, "retry_of": job_id, "plan": plan})
                else:
                    steps = ", ".join(f"{one['operation']} on {one['engine']}" for one in plan["steps"])
                    out().print(f"It would be: {escape(steps)}; at most {plan['credits']:g} credits.")
                    _tell_notes(plan["notes"])
                return ExitCode.OK
            found = await again(studio, project, job_id, who, quality=quality, engine=engine, spend_limit=spend_limit)
            notes = found.plan.notes if found.plan is not None else ()
            await opened.audited_everything()
            if follow_it:
                await opened.counted_everything(["jobs"])
                return await followed(opened, project, found.job_id, as_json=as_json)
        if as_json:
            emit({"ok": True, "job_id": found.job_id, "retry_of": job_id, "position": found.receipt.position,
                  "notes": list(notes)})
        else:
            out().print(f"Asked for as job [bold]{escape(found.job_id)}[/]. `comfyvn jobs follow {found.job_id}` "
                        "watches it.")
            _tell_notes(notes)
        return ExitCode.OK

    run(work, as_json=as_json)


def _tell_notes(notes: Sequence[str]) -> None:
    for note in notes:
        err().print(f"  [yellow]{escape(note)}[/]")


@app.command()
def release(
    job_id: JobId, project: Project = "default", dry_run: DryRun = False, actor: Actor = "console", data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let a quarantined job be taken again.

    comfyvn jobs release JOB
    """
    _ask(lambda: ReleaseJob(job_id=checked("job", job_id)), "may be taken again", project, actor, data,
         dry_run=dry_run, as_json=as_json)


@app.command()
def prioritise(
    job_id: JobId,
    priority: Annotated[int, typer.Argument(min=0, max=9, help="0 is the last to be taken, 9 the first.")],
    project: Project = "default", dry_run: DryRun = False, actor: Actor = "console", data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Move a job in the queue.

    comfyvn jobs prioritise JOB 9
    """
    _ask(lambda: PrioritiseJob(job_id=checked("job", job_id), priority=priority), f"has priority {priority}", project,
         actor, data, dry_run=dry_run, as_json=as_json)


@app.command()
def resolve(
    job_id: JobId,
    accepted_as: Annotated[str | None, typer.Option(
        "--accepted-as", help="The engine has it, under this id.", show_default=False)] = None,
    never_accepted: Annotated[bool, typer.Option("--never-accepted", help="The engine never had it.")] = False,
    notes: Annotated[str, typer.Option(help="What you have seen there.")] = "",
    project: Project = "default",
    dry_run: DryRun = False,
    actor: Actor = "console",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Say what you found at the engine about a job that nobody can be sure of: it may have been paid for.

    comfyvn jobs resolve JOB --never-accepted
    """

    async def work() -> None:
        if (accepted_as is None) is not never_accepted:
            usage("Say either --accepted-as ID or --never-accepted.", "Look at the engine's own list of tasks first.")
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["jobs"])
            job = await job_of(opened, project, job_id)
            doubted = [one for one in job["attempts"] if one["status"] == "doubted"]
            if not doubted:
                raise Refused(
                    f"Job {job_id} has no attempt that anybody doubts: it is {job['status']}.", error="not_doubted",
                    remediation=[Remedy("Look at the job.", "show_job")], detail={"status": job["status"]},
                )
            command = ResolveAttempt(
                job_id=job_id, attempt=doubted[-1]["attempt"], notes=notes, external_id=accepted_as,
                verdict="never_accepted" if never_accepted else "accepted",
            )
            receipt = await opened.studio.ask(command, Asker(actor), project=project, dry_run=dry_run)
            await opened.audited_everything()
        _done(receipt, "goes on", as_json, dry_run)

    run(work, as_json=as_json)


# --- asking -------------------------------------------------------------------------------------------


def _ask(
    make: Any, what: str, project: str, actor: str, data: Path | None, *, dry_run: bool, as_json: bool
) -> None:
    async def work() -> None:
        command: Command = make()
        checked("project", project)
        async with open_everything(settings_of(data), projecting=False, create=False) as opened:
            receipt = await opened.studio.ask(command, Asker(actor), project=project, dry_run=dry_run)
            await opened.audited_everything()
        _done(receipt, what, as_json, dry_run)

    run(work, as_json=as_json)


def _done(receipt: Receipt, what: str, as_json: bool, dry_run: bool) -> None:
    changed = bool(receipt.would if dry_run else receipt.events)
    if as_json:
        told = {"ok": True, "id": receipt.id, "changed": changed, "position": receipt.position}
        emit(told | ({"dry_run": True} if dry_run else {}))
    elif changed:
        out().print(f"{'[yellow]Would be:[/] ' if dry_run else ''}Job [bold]{escape(receipt.id)}[/] {what}.")
    else:
        out().print(f"Job [bold]{escape(receipt.id)}[/] is so already.")
