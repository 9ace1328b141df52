"""Doors for those who run it: is it well, what does it do, and how much of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST

from domain.errors import ComfyVNError, Remedy, Unavailable
from domain.ports import Checkpoint
from gateways.http import openapi
from gateways.http.hub import Hub
from gateways.http.metrics import Metrics
from gateways.http.problems import Reply, encode, problem
from gateways.http.routing import Door
from gateways.http.visit import Visit, single
from services.studio import Studio

ASK_SECONDS: Final = 2.0
"""How long the log and the read side may take to answer before they count as unreachable."""

SCOPE: Final = "operations:read"

WorkerStatus = Callable[[], Mapping[str, Any]]


def product_version() -> str:
    """The version of this release."""
    try:
        return version("comfyvn")
    except PackageNotFoundError:
        return "0"


@dataclass(slots=True)
class Pulse:
    """Asks the log and the read side whether they are there; one question at a time to each, however many ask."""

    studio: Studio
    _asking: dict[str, asyncio.Future[Any]] = field(default_factory=dict)
    # A thread of its own: a database that hangs must not take the threads of the views with it.
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "health"))

    async def log(self) -> int:
        """Position of the log's end; raises ``Unavailable``."""
        found: int = await self._asked("log", self.studio.log.head)
        return found

    async def read_side(self) -> Mapping[str, Checkpoint]:
        """The checkpoints; raises ``Unavailable``."""

        async def ask() -> Mapping[str, Checkpoint]:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self.studio.models.checkpoints)

        found: Mapping[str, Checkpoint] = await self._asked("read_side", ask)
        return found

    async def both(self) -> tuple[int | ComfyVNError, Mapping[str, Checkpoint] | ComfyVNError]:
        """Both answers, asked for at once; an error in the place of one that failed."""
        head, marks = await asyncio.gather(_found(self.log()), _found(self.read_side()))
        return head, marks

    async def _asked(self, part: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        asking = self._asking.get(part)
        if asking is None or asking.done():
            asking = self._asking[part] = asyncio.ensure_future(ask())
            asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        done, _ = await asyncio.wait({asking}, timeout=ASK_SECONDS)
        if not done:
            raise _silent(part)
        return asking.result()

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def _silent(part: str) -> Unavailable:
    return Unavailable(
        f"The {part.replace('_', ' ')} has not answered within {ASK_SECONDS:g} seconds.", error=f"{part}_silent",
        remediation=[Remedy("Look at `comfyvn doctor`.", "doctor")], detail={"part": part},
    )


async def _found(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except ComfyVNError as error:
        return error


def health_doors(
    studio: Studio, pulse: Pulse, hub: Hub, metrics: Metrics, worker_status: WorkerStatus | None,
    routes: Callable[[], list[str]],
) -> list[Door]:
    """/health, /status and /metrics."""

    async def asked_both() -> tuple[Any, Any]:
        head, marks = await pulse.both()
        metrics.up.labels("log").set(not isinstance(head, ComfyVNError))
        metrics.up.labels("read_side").set(not isinstance(marks, ComfyVNError))
        return head, marks

    async def health(visit: Visit) -> Reply:
        head, marks = await asked_both()
        failed = {name: one for name, one in (("log", head), ("read_side", marks)) if isinstance(one, ComfyVNError)}
        parts = {name: failed[name].code if name in failed else "ok" for name in ("log", "read_side")}
        if not failed:
            return Reply(200, encode({"status": "ok", **parts, "position": head}))
        name, first = next(iter(failed.items()))
        told = Unavailable(
            first.message, error=first.code, remediation=first.remediation, detail=first.detail | {"part": name}
        )
        return problem(told, visit.request_id, more={"health": "failing", **parts})

    async def status(visit: Visit) -> Reply:
        single(visit.parameters(), frozenset())
        visit.grant.need(SCOPE, None)
        head, marks = await asked_both()
        return Reply(200, encode(_status(studio, hub, head, marks, worker_status, routes())))

    async def figures(visit: Visit) -> Reply:
        visit.grant.need(SCOPE, None)
        head, marks = await asked_both()
        _measure(metrics, hub, head, marks)
        return Reply(200, metrics.text(), media=CONTENT_TYPE_LATEST.encode())

    return [
        Door("GET", "/health", answer=health, open=True, operation=openapi.read_operation(
            "Health", "Whether the log and the read side answer now.", "operations", {
                "type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}},
            }, statuses=(400, 403, 500, 503),
        )),
        Door("GET", "/status", answer=status, operation=openapi.read_operation(
            "Status", "Version, routes, positions, and how far every projection is.", "operations", {
                "type": "object", "required": ["version", "log", "projections", "routes"],
            }, description=f"Needs the scope `{SCOPE}`.",
        )),
        Door("GET", "/metrics", answer=figures, operation=_metrics_operation()),
    ]


def _metrics_operation() -> dict[str, Any]:
    operation = openapi.read_operation(
        "Metrics", "Figures in the text format of Prometheus.", "operations", {},
        statuses=(400, 401, 403, 500), description=f"Needs the scope `{SCOPE}`.",
    )
    operation["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    return operation


def _status(
    studio: Studio, hub: Hub, head: Any, marks: Any, worker_status: WorkerStatus | None, routes: list[str]
) -> dict[str, Any]:
    log_ok, read_ok = not isinstance(head, ComfyVNError), not isinstance(marks, ComfyVNError)
    known: Mapping[str, Checkpoint] = marks if read_ok else {}
    projections = [
        projection_told(name, known.get(name), head if log_ok else None) for name in sorted(studio.registry.projections)
    ]
    return {
        "version": product_version(),
        "log": {"ok": log_ok, "position": head if log_ok else None, "reason": None if log_ok else head.message},
        "read_side": {"ok": read_ok, "reason": None if read_ok else marks.message},
        "projections": projections,
        "quarantine": [
            {"projection": mark.projection, "position": mark.failed_position, "error": mark.error[:2000]}
            for mark in known.values() if mark.status == "stopped"
        ],
        "streams": {"subscribers": hub.subscribers, "position": hub.head},
        "worker": worker_status() if worker_status is not None else None,
        "commands": sorted(studio.registry.askings), "views": sorted(studio.registry.views), "routes": routes,
    }


def projection_told(name: str, mark: Checkpoint | None, head: int | None) -> dict[str, Any]:
    """How far a projection is; its lag is in events, and unknown while the log's end is."""
    position = mark.position if mark else 0
    return {
        "name": name, "version": mark.version if mark else None, "position": position,
        "lag": max(head - position, 0) if head is not None else None, "status": mark.status if mark else "missing",
    }


def _measure(metrics: Metrics, hub: Hub, head: Any, marks: Any) -> None:
    metrics.streamed.set(hub.head)
    if not isinstance(head, ComfyVNError):
        metrics.head.set(head)
    if isinstance(marks, ComfyVNError):
        return
    for name, mark in marks.items():
        metrics.position.labels(name).set(mark.position)
        metrics.stopped.labels(name).set(mark.status == "stopped")
        if not isinstance(head, ComfyVNError):
            metrics.lag.labels(name).set(max(head - mark.position, 0))
