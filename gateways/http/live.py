"""What only the running process knows, shown beside what a view counts: latency of commands, lag of projections.

Views are answered from the read models alone, so that the same log gives the same answer; this is added at the door.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from domain.errors import ComfyVNError
from domain.ports import Checkpoint
from gateways.http.health import Pulse, projection_told
from gateways.http.metrics import Metrics
from services.studio import Studio

Beside = Mapping[str, Callable[[], Awaitable[dict[str, Any]]]]
"""By name of a view: what its answer shows under ``live``."""


def live_figures(studio: Studio, pulse: Pulse, metrics: Metrics) -> Beside:
    """The figures of this process since now. Times are seconds; a log that does not answer has no lag to tell."""
    since = studio.clock()

    async def telemetry() -> dict[str, Any]:
        head, marks = await pulse.both()
        known: Mapping[str, Checkpoint] = {} if isinstance(marks, ComfyVNError) else marks
        position = None if isinstance(head, ComfyVNError) else head
        told = (projection_told(name, known.get(name), position) for name in sorted(studio.registry.projections))
        return {
            "since": since, "commands": metrics.latencies(),
            "projections": {one.pop("name"): one for one in told},
        }

    return {"ShowTelemetry": telemetry}
