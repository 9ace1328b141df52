"""What can be asked about jobs: the history with its filters, one job with everything that is known, its story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import quote

from pydantic import Field

from domain.errors import NotFound, Remedy
from domain.ids import Token
from domain.studio.fault import CODES
from domain.tables import Reader, Row, Where
from domain.values import Json
from projections.reading import PageQuery, Query, View, page
from projections.studio.job_tables import ARTIFACTS, ATTEMPTS, JOBS, LINES, WORK

Status = Literal[
    "queued", "running", "waiting", "cancelling", "uncertain", "quarantined", "completed", "failed", "cancelled", "lost"
]
"""``waiting``: an attempt failed, another begins later. ``uncertain`` and ``quarantined`` wait for a person."""

UNIT: Final = "microcredit"
UNDER_WAY: Final = ("queued", "running", "waiting")
"""Stages in which a job goes on by itself, and in which cancelling is what there is to say of it."""

OVER: Final = frozenset({"completed", "failed", "cancelled", "lost"})
SHOWN_LINES: Final = 200
SHOWN_EACH: Final = 200
"""Newest lines, attempts, files and retries that one answer shows; the lines have pages of their own."""

_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}(:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?)?Z?)?\z"


class ListJobs(PageQuery):
    """Jobs, newest first; every filter narrows."""

    status: Status | None = None
    preset: Token | None = None
    owner: str | None = Field(default=None, max_length=200)
    engine: str | None = Field(default=None, max_length=100, description="The engine that was asked last.")
    root: Token | None = Field(default=None, description="The whole line of a job and its retries.")
    retry_of: Token | None = Field(default=None, description="Only what was tried again after this job.")
    since: str | None = Field(default=None, pattern=_TIME, description="Asked for at this time (UTC) or later.")
    until: str | None = Field(default=None, pattern=_TIME, description="Asked for at this time (UTC) or earlier.")
    q: str | None = Field(default=None, max_length=200, description="Text in id, name, preset, owner or input texts.")


class ShowJob(Query):
    """One job: how far it is, what it made, cost and said, and what to do when it failed."""

    job_id: Token


class ListJobLines(PageQuery):
    """The story of a job in lines, oldest first."""

    job_id: Token
    level: Literal["info", "warning", "error"] | None = None


def list_jobs(reader: Reader, query: ListJobs) -> dict[str, Any]:
    """A page of the history."""
    where = _wanted(query)
    for bound in _since(reader, query), _until(reader, query):
        if bound is None:
            return {"items": [], "next": None}
        where += bound
    found = page(
        reader, JOBS.name, *where, order=("-requested_position",), limit=query.limit, cursor=query.cursor,
    )
    rows: Any = found["items"]
    return {"items": told_together(reader, query.project, rows), "next": found["next"]}


def _wanted(query: ListJobs) -> list[Where]:
    where = [Where("project", "=", query.project)]
    for name in ("preset", "owner", "engine", "root", "retry_of"):
        if (value := getattr(query, name)) is not None:
            where.append(Where(name, "=", value))
    if query.status == "cancelling":
        where += [Where("cancelling", "=", True), Where("stage", "in", UNDER_WAY)]
    elif query.status is not None:
        where.append(Where("stage", "=", query.status))
        if query.status in UNDER_WAY:
            where.append(Where("cancelling", "=", False))
    if query.q:
        where.append(Where("searched", "contains", query.q))
    return where


def _since(reader: Reader, query: ListJobs) -> list[Where] | None:
    """The time as a position, so that every filter keeps its index; nothing when nothing is that young."""
    if query.since is None:
        return []
    time = query.since.removesuffix("Z")
    first = reader.columns(
        JOBS.name, ("requested_position",), Where("project", "=", query.project), Where("created_at", ">=", time),
        order=("created_at", "requested_position"), limit=1,
    )[0]
    return [Where("requested_position", ">=", first[0])] if first else None


def _until(reader: Reader, query: ListJobs) -> list[Where] | None:
    if query.until is None:
        return []
    time = query.until.removesuffix("Z") + "~"  # whatever is said more finely than this still belongs to it
    last = reader.columns(
        JOBS.name, ("requested_position",), Where("project", "=", query.project), Where("created_at", "<=", time),
        order=("-created_at", "-requested_position"), limit=1,
    )[0]
    return [Where("requested_position", "<=", last[0])] if last else None


def told_together(reader: Reader, project: str, rows: Sequence[Row]) -> list[Json]:
    """Rows of jobs as a listing shows them."""
    ids = [row["job_id"] for row in rows]
    work = reader.rows(WORK.name, Where("project", "=", project), Where("job_id", "in", ids)) if ids else []
    by_id = {row["job_id"]: row for row in work}
    return [summary(row, by_id.get(row["job_id"])) for row in rows]


def job_row(reader: Reader, project: str, job_id: str) -> Row:
    """The row of a job; raises ``NotFound``."""
    row = reader.row(JOBS.name, project=project, job_id=job_id)
    if row is None:
        raise NotFound(
            f"Project {project} has no job {job_id}.", error="unknown_job",
            remediation=[Remedy("List the jobs of the project.", "list_jobs")],
            detail={"project": project, "job_id": job_id},
        )
    return row


def show_job(reader: Reader, query: ShowJob) -> dict[str, Any]:
    """One job; raises ``NotFound``."""
    row = job_row(reader, query.project, query.job_id)
    of = (Where("project", "=", query.project), Where("job_id", "=", query.job_id))
    work = reader.row(WORK.name, project=query.project, job_id=query.job_id)
    attempts = reader.rows(ATTEMPTS.name, *of, order=("-position",), limit=SHOWN_EACH)[::-1]
    files = reader.rows(ARTIFACTS.name, *of, order=("-position",), limit=SHOWN_EACH)[::-1]
    lines = reader.rows(LINES.name, *of, order=("-position",), limit=SHOWN_LINES)[::-1]
    retries = reader.columns(
        JOBS.name, ("job_id", "stage"), Where("project", "=", query.project), Where("retry_of", "=", query.job_id),
        order=("requested_position",), limit=SHOWN_EACH,
    )
    return {
        **summary(row, work),
        "inputs": row["inputs"], "consent": row["consent"], "deadline": row["deadline"], "account": row["account"],
        "preset_digest": row["preset_digest"], "actor": row["actor"], "worker": row["worker"],
        "cancel_reason": row["cancel_reason"], "queue_position": _queue_position(reader, row),
        "lineage": {"root": row["root"], "retry_of": row["retry_of"],
                    "retries": [{"job_id": id_, "status": stage} for id_, stage in zip(*retries, strict=True)]},
        "steps": _steps(row, attempts), "attempts": [_attempt(one) for one in attempts],
        "artifacts": [_file(one) for one in files],
        "logs": [f"{one['time']} {one['level']} {one['text']}" for one in lines],
    }


def list_lines(reader: Reader, query: ListJobLines) -> dict[str, Any]:
    """A page of a job's story; raises ``NotFound``."""
    job_row(reader, query.project, query.job_id)
    where = [Where("project", "=", query.project), Where("job_id", "=", query.job_id)]
    if query.level is not None:
        where.append(Where("level", "=", query.level))
    return page(
        reader, LINES.name, *where, order=("position",), limit=query.limit, cursor=query.cursor,
        shape=lambda row: {name: row[name] for name in ("position", "time", "level", "event", "text")},
    )


# --- shapes ---------------------------------------------------------------------------------------------------------


def status_of(row: Row) -> str:
    """How a job stands: cancelling hides how far it is, but never that it waits for a person."""
    return "cancelling" if row["cancelling"] and row["stage"] in UNDER_WAY else str(row["stage"])


def summary(row: Row, work: Row | None) -> dict[str, Any]:
    """A job as a listing shows it. Amounts are microcredits; ``credit_cost`` is what it has cost so far."""
    spent = work["spent"] if work else 0
    why = fault_told(row["fault"])
    return {
        "job_id": row["job_id"], "preset_id": row["preset"], "name": row["name"], "status": status_of(row),
        "user_id": row["owner"], "owner": row["owner"], "priority": row["priority"], "seed": row["seed"],
        "quality_level": row["quality"], "engine_used": row["engine"] or None,
        "created_at": row["created_at"], "started_at": work["started_at"] if work else None,
        "finished_at": row["finished_at"], "updated_at": row["updated_at"], "retry_at": row["retry_at"],
        "progress": progress(row, work),
        "credit_cost": spent if row["cost"] is None else row["cost"], "credit_held": row["held"], "unit": UNIT,
        "attempts_made": work["attempts"] if work else 0,
        "error": why and why["message"], "error_code": why and why["code"],
        "remediation": why and why["remediation"], "fault": why,
        "retry_of": row["retry_of"], "root": row["root"],
        "outputs": outputs_told(row["project"], row["outputs"]),
        "version": row["version"], "position": row["position"],
    }


def progress(row: Row, work: Row | None) -> dict[str, Any]:
    """How far a job is: ``fraction`` counts steps and how far the one at hand is, where its engine tells."""
    done, total = (work["steps_done"] if work else 0), row["step_count"]
    part = min(done + (row["fraction"] or 0) / 1000, total)
    fraction = 1.0 if row["stage"] == "completed" else round(part / total, 4) if total else 0.0
    return {"fraction": fraction, "steps_done": done, "steps_total": total, "step": row["step"] or None,
            "doing": row["doing"]}


def fault_told(stored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Why something failed, and what this release knows to do about it."""
    if stored is None:
        return None
    meaning = CODES.get(stored["code"], CODES["UNKNOWN_ERROR"])
    return {
        "code": stored["code"], "message": stored["message"], "retryable": meaning.retryable,
        "remediation": [{"text": meaning.text, "action": meaning.action}],
        "retry_after_seconds": stored.get("retry_after_seconds"), "detail": stored.get("detail", {}),
    }


def outputs_told(project: str, outputs: Mapping[str, Sequence[str]]) -> dict[str, list[dict[str, str]]]:
    """The assets that a job has made, and where they are."""
    return {name: [{"asset": uid, "url": asset_url(project, uid)} for uid in uids] for name, uids in outputs.items()}


def asset_url(project: str, uid: str) -> str:
    """Where the bytes of an asset are given out."""
    return f"/api/assets/{quote(uid)}/download?project={quote(project)}"


def _steps(row: Row, attempts: Sequence[Row]) -> list[dict[str, Any]]:
    """The plan, with how each step stands after its newest attempt."""
    newest = {one["step"]: one for one in attempts}
    told = []
    for step in row["steps"]:
        tried = newest.get(step["id"])
        told.append({
            **step, "status": tried["status"] if tried else "planned", "attempts": tried["number"] if tried else 0,
            "cost": sum(one["cost"] for one in attempts if one["step"] == step["id"]),
            "outputs": outputs_told(row["project"], tried["outputs"]) if tried else {},
        })
    return told


def _attempt(row: Row) -> dict[str, Any]:
    hidden = {"project", "job_id", "position", "outputs"}
    told = {name: value for name, value in row.items() if name not in hidden}
    fraction = None if row["fraction"] is None else row["fraction"] / 1000
    return {**told, "fraction": fraction, "fault": fault_told(row["fault"]),
            "outputs": outputs_told(row["project"], row["outputs"])}


def _file(row: Row) -> dict[str, Any]:
    told = {name: value for name, value in row.items() if name not in ("project", "job_id", "position")}
    return {**told, "url": asset_url(row["project"], row["uid"])}


def _queue_position(reader: Reader, row: Row) -> int | None:
    """1 for the next to be taken, by priority and age over all projects; fair shares among owners may change it."""
    if row["stage"] != "queued":
        return None
    queued = Where("stage", "=", "queued")
    before = reader.count(JOBS.name, queued, Where("priority", ">", row["priority"]))
    older = Where("requested_position", "<", row["requested_position"])
    return 1 + before + reader.count(JOBS.name, queued, Where("priority", "=", row["priority"]), older)


VIEWS = (
    View("ListJobs", "/api/jobs", ListJobs, list_jobs, ("jobs",), "job:read"),
    View("ShowJob", "/api/jobs/{job_id}", ShowJob, show_job, ("jobs",), "job:read"),
    View("ListJobLines", "/api/jobs/{job_id}/log", ListJobLines, list_lines, ("jobs",), "job:read"),
)
