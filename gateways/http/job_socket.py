"""The WebSocket of a project's jobs: a snapshot, then every job again whenever something has happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from domain.ids import token
from domain.tables import Reader
from gateways.http.asking import DEFAULT_PROJECT, checked_name
from gateways.http.conversing import Talk, converse, say
from gateways.http.hub import Hub, Subscription
from gateways.http.job_watching import SCOPE, SomeJobs, happening, is_over, several_jobs, some_jobs, wanted
from gateways.http.metrics import Metrics
from gateways.http.ring import Chunk
from gateways.http.streams import Send, check_after, chunks, read_after, read_names
from gateways.http.visit import Visit, single
from projections.reading import View
from projections.studio.job_views import ListJobs, Status, list_jobs
from services.studio import Studio

TOPICS: Final = ("job.update", "job.log")
FILTERS: Final = ("topics", "job_id", "status", "preset", "owner", "engine")
KNOWN: Final[Mapping[str, tuple[str, ...]]] = {"topics": TOPICS, "status": get_args(Status)}
NAME_LIMIT: Final = 200
"""Most characters of a preset's, an owner's or an engine's name."""

SNAPSHOT: Final = 200
"""Most jobs of a snapshot: those under way first, then the newest of the others."""

_FIRST: Final = ("running", "cancelling", "waiting", "uncertain", "quarantined", "queued")

SHOWN: Final = 20_000
"""Most jobs that one listener is remembered to have seen, so that it hears of one that its filter no longer fits."""


@dataclass(frozen=True)
class Filter:
    """What a listener wants to hear of; an empty set wants all."""

    topics: frozenset[str] = frozenset({"job.update"})
    job_id: frozenset[str] = frozenset()
    status: frozenset[str] = frozenset()
    preset: frozenset[str] = frozenset()
    owner: frozenset[str] = frozenset()
    engine: frozenset[str] = frozenset()

    def fits(self, job: Mapping[str, Any]) -> bool:
        """Whether a job is wanted."""
        return (
            (not self.job_id or job["job_id"] in self.job_id)
            and (not self.status or job["status"] in self.status)
            and (not self.preset or job["preset_id"] in self.preset)
            and (not self.owner or job["owner"] in self.owner)
            and (not self.engine or job["engine_used"] in self.engine)
        )


@dataclass
class Listener:
    """One listener: what it wants, up to where its last snapshot went, and which jobs it knows."""

    project: str
    filter: Filter
    fresh: bool = True
    position: int = 0
    shown: set[str] = field(default_factory=set)


async def serve(studio: Studio, hub: Hub, metrics: Metrics, visit: Visit, send: Send) -> None:
    """Serves one WebSocket. Raises ``ComfyVNError`` before it is accepted."""
    given = single(visit.parameters(), frozenset({*FILTERS, "project", "after", "access_token"}))
    project = checked_name("project", given.get("project", DEFAULT_PROJECT))
    visit.grant.need(SCOPE, project)
    after = read_after(given.get("after"))
    listener = Listener(project, read_filter(given), fresh=after is None, position=after or 0)
    await hub.ready()
    await check_after(studio, hub, after)
    subscription = hub.subscribe(wanted(project, listener.filter.job_id), after)

    async def hear(message: dict[str, Any]) -> None:
        """Each message replaces the filters and is answered with a new snapshot."""
        listener.filter = read_filter(message)
        listener.fresh = True
        subscription.change(wanted(listener.project, listener.filter.job_id), None)

    talk = Talk(lambda: _tell(studio, hub, subscription, listener, send), hear, FILTERS,
                place=lambda _: listener.position)
    await converse(hub, metrics, visit, send, subscription, talk)


async def _tell(studio: Studio, hub: Hub, subscription: Subscription, listener: Listener, send: Send) -> None:
    if listener.fresh:
        await _snapshot(studio, listener, subscription.cursor, send)
    async for chunk in chunks(studio, hub, subscription):
        if listener.fresh:
            await _snapshot(studio, listener, subscription.cursor, send)
        if chunk is None:
            await say(send, {"control": "heartbeat", "position": max(listener.position, subscription.cursor)})
        elif chunk.entries:
            await _update(studio, listener, chunk, send)


async def _snapshot(studio: Studio, listener: Listener, cursor: int, send: Send) -> None:
    """The jobs as of ``cursor`` or later: what happens after that is told as it happens, so nothing is missed."""
    listener.fresh = False
    now = listener.filter
    view = View("SnapshotJobs", "", ListJobs, lambda reader, query: _newest(reader, query, now), ("jobs",), SCOPE)
    asked = ListJobs(project=listener.project, limit=SNAPSHOT, min_position=cursor)
    seen = await studio.look_closely(view, asked)
    listener.position = max(listener.position, seen.position)
    listener.shown = {job["job_id"] for job in seen.answer["jobs"]}
    await say(send, {
        "topic": "jobs.snapshot", "timestamp": studio.clock(), "position": seen.position, "payload": seen.answer,
    })


def _newest(reader: Reader, query: ListJobs, filter_: Filter) -> dict[str, Any]:
    """Jobs under way, and then the newest of the others, as far as they are wanted."""
    found: dict[str, Any] = {}
    statuses: list[str | None] = [*sorted(filter_.status)] or [*_FIRST, None]
    narrow = {name: next(iter(names)) for name in ("preset", "owner", "engine")
              if len(names := getattr(filter_, name)) == 1}
    for status in statuses:
        asked = query.model_copy(update={"status": status, **narrow})
        jobs: Any = list_jobs(reader, asked)["items"]
        for job in jobs:
            if len(found) < SNAPSHOT and filter_.fits(job):
                found.setdefault(job["job_id"], job)
    missing = filter_.job_id - found.keys()
    if missing:
        named = some_jobs(reader, SomeJobs(project=query.project, job_ids=tuple(sorted(missing))))
        found |= {job["job_id"]: job for job in named if filter_.fits(job)}
    return {"project": query.project, "jobs": list(found.values()), "filter": {
        name: sorted(getattr(filter_, name)) for name in FILTERS
    }}


async def _update(studio: Studio, listener: Listener, chunk: Chunk, send: Send) -> None:
    """Every job of the chunk once, as it is after all of it; and what has happened, where that is wanted."""
    fresh = [entry for entry in chunk.entries if entry.position > listener.position]
    if not fresh:
        return
    last = {entry.stream.id: entry for entry in fresh}
    jobs = {job["job_id"]: job for job in await several_jobs(studio, listener.project, list(last), fresh[-1].position)}
    for entry in fresh:
        job = jobs.get(entry.stream.id)
        if job is None or not (listener.filter.fits(job) or job["job_id"] in listener.shown):
            continue
        told = happening(studio.registry, entry)
        about = {"timestamp": told["timestamp"], "position": entry.position}
        if "job.log" in listener.filter.topics and told["text"]:
            await say(send, {"topic": "job.log", **about, "payload": {
                name: told[name] for name in ("job_id", "event", "level", "text")}})
        if "job.update" in listener.filter.topics and last[entry.stream.id] is entry:
            await say(send, {"topic": "job.update", **about, "payload": {"event": told["event"], "job": job}})
    for job in jobs.values():
        if listener.filter.fits(job) and not is_over(job) and len(listener.shown) < SHOWN:
            listener.shown.add(job["job_id"])
        else:
            listener.shown.discard(job["job_id"])
    listener.position = fresh[-1].position


def read_filter(given: Mapping[str, Any]) -> Filter:
    """Filters from parameters or a message."""
    return Filter(**read_names(given, FILTERS, _checked))


def _checked(kind: str, text: str) -> str:
    if kind == "job_id":
        return token(text)
    known = KNOWN.get(kind)
    if known is not None and text not in known:
        raise ValueError(f"some of {', '.join(known)} are needed")
    if not 1 <= len(text) <= NAME_LIMIT:
        raise ValueError(f"names are texts of 1 to {NAME_LIMIT} characters")
    return text
