"""Figures for Prometheus, in a registry of their own: two apps in one process do not mix."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS: Final = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds in seconds."""


class Metrics:
    """Counters and histograms of one app. Names of routes and outcomes are bounded by what is declared."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        here: dict[str, Any] = {"registry": self.registry}
        self._requests = Counter("comfyvn_http_requests", "Requests answered.", ["method", "route", "status"], **here)
        self._commands = Counter("comfyvn_commands", "Commands by outcome.", ["command", "outcome"], **here)
        self._latency = Histogram(
            "comfyvn_command_seconds", "Time from reading a command to its answer.", ["command"],
            buckets=BUCKETS, **here,
        )
        self.head = Gauge("comfyvn_log_head_position", "Position of the newest event of the log.", **here)
        self.position = Gauge(
            "comfyvn_projection_position", "Position up to which a projection has counted.", ["projection"], **here
        )
        self.lag = Gauge("comfyvn_projection_lag_events", "Events not counted yet.", ["projection"], **here)
        self.stopped = Gauge("comfyvn_projection_stopped", "1 for a projection stopped by an event.", ["projection"],
                             **here)
        self.up = Gauge("comfyvn_up", "1 when a part answered the last time it was asked.", ["part"], **here)
        self.subscribers = Gauge("comfyvn_stream_subscribers", "Open event streams.", **here)
        self.resumed = Counter("comfyvn_stream_resumed", "Subscribers told to resume, by reason.", ["reason"], **here)
        self.streamed = Gauge("comfyvn_stream_head_position", "Position up to which streams have been served.", **here)
        self._known: dict[Any, Any] = {}

    def requested(self, method: str, route: str, status: int) -> None:
        """Counts one answered request."""
        key = (method, route, status)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._requests.labels(method, route, str(status))
        known.inc()

    def commanded(self, command: str, outcome: str, seconds: float) -> None:
        """Counts one command and how long it took."""
        key = (command, outcome)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = (self._commands.labels(command, outcome), self._latency.labels(command))
        known[0].inc()
        known[1].observe(seconds)

    def latencies(self) -> dict[str, dict[str, Any]]:
        """By command that was asked: how often, with which outcomes, and how many seconds it took."""
        counted: dict[str, list[float]] = {}
        seconds: dict[str, float] = {}
        outcomes: dict[str, dict[str, int]] = {}
        for sample in _samples(self._latency):
            if sample.name.endswith("_bucket"):
                counted.setdefault(sample.labels["command"], []).append(sample.value)
            elif sample.name.endswith("_sum"):
                seconds[sample.labels["command"]] = sample.value
        for sample in _samples(self._commands):
            if sample.name.endswith("_total"):
                outcomes.setdefault(sample.labels["command"], {})[sample.labels["outcome"]] = int(sample.value)
        return {
            command: {
                "count": int(upto[-1]), "outcomes": outcomes.get(command, {}),
                "mean_seconds": round(seconds[command] / upto[-1], 6),
                "p50_seconds": round(quantile(upto, 0.5), 6), "p99_seconds": round(quantile(upto, 0.99), 6),
            }
            for command, upto in sorted(counted.items()) if upto[-1]
        }

    def text(self) -> bytes:
        """Everything in the text format of Prometheus."""
        return generate_latest(self.registry)


def quantile(upto: Sequence[float], share: float) -> float:
    """About how many seconds the quickest ``share`` took at most, given how many took no longer than each bound.

    ``upto`` has a count per bound of ``BUCKETS`` and then all of them. Within a bucket the times count as evenly
    spread, as in Prometheus's ``histogram_quantile``; what took longer than the last bound counts as that bound.
    """
    wanted = share * upto[-1]
    at = bisect_left(upto, wanted)
    if at >= len(BUCKETS):
        return BUCKETS[-1]
    low, below = (BUCKETS[at - 1], upto[at - 1]) if at else (0.0, 0.0)
    inside = upto[at] - below
    return low + (BUCKETS[at] - low) * ((wanted - below) / inside if inside else 1.0)


def _samples(figure: Any) -> Iterator[Any]:
    for family in figure.collect():
        yield from family.samples
