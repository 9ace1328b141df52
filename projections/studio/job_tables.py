"""The tables of jobs: one row per job, what is added up about it, its attempts, its files, and its story in lines."""

from __future__ import annotations

from typing import Final

from domain.tables import Table

LINE_LIMIT: Final = 600
"""Longest line of a job's story in characters."""

JOBS = Table(
    name="jobs",
    columns={
        "project": "text", "job_id": "text", "stage": "text", "cancelling": "bool", "cancel_reason": "text",
        "preset": "text", "preset_digest": "text", "name": "text", "owner": "text", "account": "text",
        "quality": "text", "seed": "int", "priority": "int", "deadline": "text", "inputs": "json", "consent": "json",
        "retry_of": "text", "root": "text", "steps": "json", "step_count": "int", "held": "int", "cost": "int",
        "engine": "text", "step": "text", "attempt": "text", "external_id": "text", "fraction": "int",
        "doing": "text", "retry_at": "text", "worker": "text", "fault": "json", "outputs": "json", "actor": "text",
        "searched": "text", "version": "int", "position": "int", "requested_position": "int", "created_at": "text",
        "updated_at": "text", "finished_at": "text",
    },
    key=("project", "job_id"),
    nullable=frozenset({
        "account", "deadline", "retry_of", "cost", "fraction", "retry_at", "finished_at", "attempt", "external_id",
    }),
    indexes=(
        ("project", "requested_position"), ("project", "stage", "requested_position"),
        ("project", "preset", "requested_position"), ("project", "owner", "requested_position"),
        ("project", "engine", "requested_position"), ("project", "root", "requested_position"),
        ("project", "retry_of", "requested_position"), ("project", "cancelling", "requested_position"),
        ("project", "created_at", "requested_position"), ("stage", "priority", "requested_position"),
    ),
    searches=("searched",),
)
"""``stage`` is the status but for cancelling, which a job may be while it waits or runs. ``fraction`` counts in
thousandths of the step at hand; ``cost`` is what the job has cost in the end."""

WORK = Table(
    name="job_work",
    columns={
        "project": "text", "job_id": "text", "takings": "int", "attempts": "int", "steps_done": "int", "spent": "int",
        "artifacts": "int", "started_at": "text",
    },
    key=("project", "job_id"),
)
"""What adds up while a job is worked on; there is a row from the moment when the first worker takes it."""

ATTEMPTS = Table(
    name="job_attempts",
    columns={
        "project": "text", "job_id": "text", "attempt": "text", "step": "text", "number": "int", "engine": "text",
        "status": "text", "external_id": "text", "fraction": "int", "doing": "text", "fault": "json", "cost": "int",
        "retry_at": "text", "outputs": "json", "facts": "json", "position": "int", "started_at": "text",
        "finished_at": "text",
    },
    key=("project", "job_id", "attempt"),
    nullable=frozenset({"external_id", "fraction", "retry_at", "finished_at"}),
    indexes=(("project", "job_id", "position"),),
)

ARTIFACTS = Table(
    name="job_artifacts",
    columns={
        "project": "text", "job_id": "text", "position": "int", "attempt": "text", "name": "text", "uid": "text",
        "digest": "text", "size": "int", "media_type": "text",
    },
    key=("project", "job_id", "position"),
    indexes=(("project", "uid"),),
)

LINES = Table(
    name="job_lines",
    columns={
        "project": "text", "job_id": "text", "position": "int", "time": "text", "level": "text", "event": "text",
        "text": "text",
    },
    key=("project", "job_id", "position"),
)
