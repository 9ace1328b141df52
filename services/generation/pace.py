"""How fast workers go, and how patient they are: every number in one place."""

from __future__ import annotations

from dataclasses import dataclass

from domain.studio.fault import Fault


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, unless the name says otherwise.

    ``look``: between two looks at the queue that nobody asked for. ``check``: between two looks at a job's own stream
    while its engine works. ``retry`` is the first pause after a failure, doubled up to ``longest_retry``;
    ``attempts`` how many tries a step has. ``cancel``: how long after a cancel an engine that costs nothing may go on.
    ``steady``: how long a worker has to live with a job before that job is free of suspicion.
    ``progress``: between two reports. ``fetches``: tries to fetch one file; those of paid work never end before the
    attempt's own time does.
    """

    look: float = 1.0
    check: float = 0.25
    retry: float = 2.0
    longest_retry: float = 60.0
    attempts: int = 4
    cancel: float = 30.0
    steady: float = 1.0
    progress: float = 1.0
    fetches: int = 6
    first_poll: float = 0.02

    def pause(self, number: int, fault: Fault) -> float:
        """How long to wait after the ``number``-th failure (1 is the first)."""
        grown = min(self.retry * 2.0 ** min(number - 1, 16), self.longest_retry)
        return max(grown, fault.retry_after_seconds or 0.0)
