"""`comfyvn jobs`: what was generated, how it goes, and what to do when it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, get_args

import typer
from rich.console import Group
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from commands.declaration import Command
from commands.studio.job import CancelJob, PrioritiseJob, ReleaseJob, ResolveAttempt
from domain.errors import Refused, Remedy
from domain.ids import UNBRANCHED, checked
from domain.studio.job import CATEGORY, Open
from gateways.cli_console import Actor, AsJson, Data, ExitCode, Project, emit, err, out, run, settings_of, usage
from projections.studio.disclosure import ShowDisclosure
from projections.studio.job_views import OVER, ListJobs, ShowJob, Status
from services.bootstrap import Opened, open_everything
from services.generation.accepting import again, told
from services.generation.planning import job_state, repeated
from services.studio import Asker

app = typer.Typer(no_args_is_help=True, help="What was asked of engines, how it goes, what it made and cost.")

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]

_COLOURS: Final = {
    "queued": "dim", "running": "cyan", "waiting": "yellow", "cancelling": "yellow", "uncertain": "magenta",
    "quarantined": "magenta", "completed": "green", "failed": "red", "cancelled": "dim", "lost": "red",
}
_LEVELS: Final = {"info": "dim", "warning": "yellow", "error": "red"}


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
            "q": q, "limit": limit,
        })
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["jobs"])
            found = await opened.studio.look(opened.studio.registry.views["ListJobs"], query)
        if as_json:
            emit({"project": project, **found})
        else:
            out().print(_table(project, found["items"]))
            if found["next"]:
                err().print("[dim]There are more: narrow the list, or raise --limit.[/]")

    run(work, as_json=as_json)


@app.command()
def show(job_id: JobId, project: Project = "default", data: Data = None, as_json: AsJson = False) -> None:
    """One job: how far it is, what it made, cost and said, and what to do when it failed.

    comfyvn jobs show JOB
    """

    async def work() -> None:
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["jobs"])
            job = await _job(opened, project, job_id)
        if as_json:
            emit(job)
        else:
            out().print(_drawn(job))

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
def cancel(
    job_id: JobId,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    project: Project = "default",
    actor: Actor = "console",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Stop a job: at once while it waits, else as soon as its engine has heard of it.

    comfyvn jobs cancel JOB --reason "another picture"
    """
    _ask(lambda: CancelJob(job_id=checked("job", job_id), reason=reason), "will be stopped", project, actor, data,
         as_json, dry_run)


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
                return ExitCode.OK
            found = await again(studio, project, job_id, who, quality=quality, engine=engine, spend_limit=spend_limit)
            await opened.audited_everything()
            if follow_it:
                await opened.counted_everything(["jobs"])
                return await followed(opened, project, found.job_id, as_json=as_json)
        if as_json:
            emit({"ok": True, "job_id": found.job_id, "retry_of": job_id, "position": found.receipt.position})
        else:
            out().print(f"Asked for as job [bold]{escape(found.job_id)}[/]. `comfyvn jobs follow {found.job_id}` "
                        "watches it.")
        return ExitCode.OK

    run(work, as_json=as_json)


@app.command()
def release(
    job_id: JobId, project: Project = "default", actor: Actor = "console", data: Data = None, as_json: AsJson = False,
) -> None:
    """Let a quarantined job be taken again.

    comfyvn jobs release JOB
    """
    _ask(lambda: ReleaseJob(job_id=checked("job", job_id)), "may be taken again", project, actor, data, as_json)


@app.command()
def prioritise(
    job_id: JobId,
    priority: Annotated[int, typer.Argument(min=0, max=9, help="0 is the last to be taken, 9 the first.")],
    project: Project = "default", actor: Actor = "console", data: Data = None, as_json: AsJson = False,
) -> None:
    """Move a job in the queue.

    comfyvn jobs prioritise JOB 9
    """
    _ask(lambda: PrioritiseJob(job_id=checked("job", job_id), priority=priority), f"has priority {priority}", project,
         actor, data, as_json)


@app.command()
def resolve(
    job_id: JobId,
    accepted_as: Annotated[str | None, typer.Option(
        "--accepted-as", help="The engine has it, under this id.", show_default=False)] = None,
    never_accepted: Annotated[bool, typer.Option("--never-accepted", help="The engine never had it.")] = False,
    notes: Annotated[str, typer.Option(help="What you have seen there.")] = "",
    project: Project = "default",
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
            job = await _job(opened, project, job_id)
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
            receipt = await opened.studio.ask(command, Asker(actor), project=project)
            await opened.audited_everything()
        _done(job_id, "goes on", bool(receipt.events), receipt.position, as_json)

    run(work, as_json=as_json)


def disclosure(project: Project = "default", data: Data = None, as_json: AsJson = False) -> None:
    """Which assets were generated, how and with what, in the words that itch.io and Steam ask for.

    comfyvn disclosure --project demo
    """

    async def work() -> None:
        checked("project", project)
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["disclosure"])
            view = opened.studio.registry.views["ShowDisclosure"]
            told = await opened.studio.look(view, ShowDisclosure(project=project, limit=500))
            items, cursor = list(told["items"]), told["next"]
            while cursor:
                more = await opened.studio.look(view, ShowDisclosure(project=project, limit=500, cursor=cursor))
                items, cursor = [*items, *more["items"]], more["next"]
        if as_json:
            emit({**told, "items": items, "next": None})
        else:
            _disclosed(project, told, items)

    run(work, as_json=as_json)


# --- asking and following -------------------------------------------------------------------------------------------


async def followed(opened: Opened, project: str, job_id: str, *, as_json: bool) -> ExitCode:
    """Shows a job until it is over: lines on standard output and a bar on standard error, or one document a change."""
    studio = opened.studio
    job = await _job(opened, project, job_id)
    if job["status"] not in OVER and opened.reached.attached_to is None:
        err().print("[yellow]No server and no worker runs on this folder: nobody works on the job.[/]")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
               TimeElapsedColumn())
    said: set[str] = set()
    with Progress(*columns, console=err(), transient=True, disable=as_json or not err().is_terminal) as bar:
        task = bar.add_task(job["name"] or job_id, total=1.0)

        def tell() -> None:
            nonlocal said
            bar.update(task, completed=job["progress"]["fraction"], description=escape(_doing(job)))
            if as_json:
                emit(job)
                return
            fresh = [text for text in job["logs"] if text not in said]
            if fresh:
                out().print("\n".join(map(_line, fresh)))
            said = set(job["logs"])

        tell()
        reached, subject = job["position"], f"vn.{project}.{UNBRANCHED}.{CATEGORY}.{job_id}"
        while job["status"] not in OVER:
            async for batch in studio.log.follow(after=reached, pattern=subject):
                reached = batch[-1].position
                job = await _job(opened, project, job_id, reached)
                tell()
                if job["status"] in OVER:
                    break
    return ExitCode.OK if job["status"] == "completed" else ExitCode.NO


async def _job(opened: Opened, project: str, job_id: str, position: int = 0) -> dict[str, Any]:
    query = ShowJob(project=checked("project", project), job_id=checked("job", job_id), min_position=position)
    job: dict[str, Any] = await opened.studio.look(opened.studio.registry.views["ShowJob"], query)
    return job


def _ask(
    make: Any, what: str, project: str, actor: str, data: Path | None, as_json: bool, dry_run: bool = False,
) -> None:
    async def work() -> None:
        command: Command = make()
        checked("project", project)
        async with open_everything(settings_of(data), projecting=False, create=False) as opened:
            receipt = await opened.studio.ask(command, Asker(actor), project=project, dry_run=dry_run)
            await opened.audited_everything()
        changed = bool(receipt.would if dry_run else receipt.events)
        _done(receipt.id, f"would be so: it {what}" if dry_run else what, changed, receipt.position, as_json, dry_run)

    run(work, as_json=as_json)


def _done(job_id: str, what: str, changed: bool, position: int, as_json: bool, dry_run: bool = False) -> None:
    if as_json:
        told = {"ok": True, "id": job_id, "changed": changed, "position": position}
        emit(told | ({"dry_run": True} if dry_run else {}))
    elif changed:
        out().print(f"Job [bold]{escape(job_id)}[/] {what}.")
    else:
        out().print(f"Job [bold]{escape(job_id)}[/] is so already.")


# --- drawing --------------------------------------------------------------------------------------------------------


def _table(project: str, jobs: list[dict[str, Any]]) -> Table:
    table = Table(title=f"Jobs of {escape(project)}", title_justify="left", box=None, header_style="dim")
    for column in ("job", "status", "", "preset", "owner", "engine", "cost", "asked for"):
        table.add_column(column)
    for job in jobs:
        progress = job["progress"]
        share = f"{progress['fraction']:.0%}" if job["status"] not in OVER | {"queued"} else job["error_code"] or ""
        table.add_row(
            escape(job["job_id"]), _coloured(job["status"]), share, escape(job["preset_id"]), escape(job["owner"]),
            escape(job["engine_used"] or ""), _credits(job["credit_cost"]), job["created_at"][:19].replace("T", " "),
        )
    return table


def _drawn(job: dict[str, Any]) -> Group:
    head = Table.grid(padding=(0, 2))
    cost = _credits(job["credit_cost"]) or "nothing"
    held = f" of {_credits(job['credit_held'])} held" if job["credit_held"] else ""
    for name, value in (
        ("job", escape(job["job_id"])), ("status", _coloured(job["status"])), ("preset", escape(job["preset_id"])),
        ("name", escape(job["name"])), ("owner", escape(job["owner"])), ("doing", escape(_doing(job))),
        ("engine", escape(job["engine_used"] or "")), ("cost", cost + held),
        ("in the queue", str(job["queue_position"] or "")), ("asked for", job["created_at"]),
        ("begun", job["started_at"] or ""), ("over", job["finished_at"] or ""),
        ("again after", escape(job["retry_of"] or "")),
        ("tried again as", escape(", ".join(one["job_id"] for one in job["lineage"]["retries"]))),
    ):
        if value:
            head.add_row(f"[dim]{name}[/]", value)
    for name, files in job["outputs"].items():
        for file in files:
            head.add_row(f"[dim]{escape(name)}[/]", escape(f"{file['asset']}  {file['url']}"))
    parts: list[Any] = [head]
    if job["fault"]:
        remedies = "\n".join(f"  [dim]→[/] {escape(one['text'])}" for one in job["remediation"])
        parts.append(f"[red]{escape(job['error_code'])}[/] {escape(job['error'])}\n{remedies}")
    parts += [_line(text) for text in job["logs"]]
    return Group(*parts)


def _disclosed(project: str, told: dict[str, Any], items: list[dict[str, Any]]) -> None:
    table = Table(title=f"Generated in {escape(project)}", title_justify="left", box=None, header_style="dim")
    for column in ("asset", "name", "what", "made by", "engine", "model", "job"):
        table.add_column(column)
    for one in items:
        table.add_row(*map(escape, (one["uid"], one["name"], one["category"], one["made_by"], one["engine"],
                                    one["model"], one["job_id"])))
    console = out()
    console.print(table)
    boxes = (name for name in ("graphics", "sound", "text") if told["itch"][name])
    console.print(f"[bold]itch.io[/]  {', '.join(boxes) or 'nothing generated'}")
    before = told["steam"]["pre_generated"]["statement"] or "nothing."
    console.print(f"[bold]Steam[/]    pre-generated: {escape(before)}", soft_wrap=True)
    console.print(f"         live-generated: {escape(told['steam']['live_generated']['statement'])}", soft_wrap=True)
    console.print(f"[dim]{escape(told['note'])}[/]", soft_wrap=True)


def _doing(job: dict[str, Any]) -> str:
    progress = job["progress"]
    words = [job["status"]]
    if progress["steps_total"] > 1:
        words.append(f"step {min(progress['steps_done'] + 1, progress['steps_total'])} of {progress['steps_total']}")
    return " · ".join([*words, *filter(None, [progress["doing"]])])


def _line(text: str) -> str:
    time, _, rest = text.partition(" ")
    level, _, said = rest.partition(" ")
    return f"[dim]{time[11:19]}[/] [{_LEVELS.get(level, 'dim')}]{escape(said)}[/]"


def _coloured(status: str) -> str:
    return f"[{_COLOURS.get(status, 'default')}]{status}[/]"


def _credits(amount: int) -> str:
    return f"{amount / 1_000_000:g}" if amount else ""
