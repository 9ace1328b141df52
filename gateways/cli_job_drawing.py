"""Jobs drawn for people: as a table, as a page, as lines of a story."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from projections.studio.job_views import OVER

COLOURS: Final = {
    "queued": "dim", "running": "cyan", "waiting": "yellow", "cancelling": "yellow", "uncertain": "magenta",
    "quarantined": "magenta", "completed": "green", "failed": "red", "cancelled": "dim", "lost": "red",
}
LEVELS: Final = {"info": "dim", "warning": "yellow", "error": "red"}


def table_of(project: str, jobs: list[dict[str, Any]]) -> Table:
    """Jobs, one a line; ids stay whole, since the next command needs them."""
    table = Table(title=f"Jobs of {escape(project)}", title_justify="left", box=None, header_style="dim")
    table.add_column("job", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for column in ("", "preset", "owner", "engine", "cost", "asked for"):
        table.add_column(column, overflow="fold")
    for job in jobs:
        progress = job["progress"]
        share = f"{progress['fraction']:.0%}" if job["status"] not in OVER | {"queued"} else job["error_code"] or ""
        table.add_row(
            escape(job["job_id"]), coloured(job["status"]), share, escape(job["preset_id"]), escape(job["owner"]),
            escape(job["engine_used"] or ""), in_credits(job["credit_cost"]), job["created_at"][:19].replace("T", " "),
        )
    return table


def drawn(job: dict[str, Any]) -> Group:
    """One job with all there is to know of it."""
    head = Table.grid(padding=(0, 2))
    cost = in_credits(job["credit_cost"]) or "nothing"
    held = f" of {in_credits(job['credit_held'])} held" if job["credit_held"] else ""
    for name, value in (
        ("job", escape(job["job_id"])), ("status", coloured(job["status"])), ("preset", escape(job["preset_id"])),
        ("name", escape(job["name"])), ("owner", escape(job["owner"])), ("doing", escape(doing(job))),
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
    parts += [line_of(text) for text in job["logs"]]
    return Group(*parts)


def doing(job: dict[str, Any]) -> str:
    """What a job is doing, in a few words."""
    progress = job["progress"]
    words = [job["status"]]
    if progress["steps_total"] > 1:
        words.append(f"step {min(progress['steps_done'] + 1, progress['steps_total'])} of {progress['steps_total']}")
    return " · ".join([*words, *filter(None, [progress["doing"]])])


def line_of(text: str) -> str:
    """A line of a job's story: time, level, text."""
    time, _, rest = text.partition(" ")
    level, _, said = rest.partition(" ")
    return f"[dim]{time[11:19]}[/] [{LEVELS.get(level, 'dim')}]{escape(said)}[/]"


def coloured(status: str) -> str:
    """A status in its colour."""
    return f"[{COLOURS.get(status, 'default')}]{status}[/]"


def in_credits(amount: int) -> str:
    """Microcredits as credits; nothing for none."""
    return f"{amount / 1_000_000:g}" if amount else ""
