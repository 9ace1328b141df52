"""What a command id has led to before, looked up in the timeline: the memory of keys that aggregates have forgotten."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

from domain.errors import Remedy, Unavailable
from domain.ports import ReadModels
from domain.tables import Row, Where
from services.aggregates import Outcome, Seen

INDEX: Final = "timeline"

LARGEST: Final = 1000
"""Most events of one command: what one append takes."""


class TimelineReceipts:
    """``services.dispatcher.Receipts`` over the ``timeline`` read model.

    Waits at most ``wait_seconds`` until the read model has counted what is asked for.
    """

    def __init__(self, models: ReadModels, wait_seconds: float = 5.0) -> None:
        self._models = models
        self._wait_seconds = wait_seconds

    async def find(self, project: str, command_id: str, *, counted: int) -> Seen | None:
        """What a command has led to, on whatever streams, in the order of the log. Raises ``Unavailable``.

        With ``counted`` 0 an aggregate has forgotten nothing, and the same request would be found there; the index
        could only tell of another request under the same key. A read side that fails does not stop such a command.
        """
        deadline = monotonic() + self._wait_seconds
        pause = 0.002
        while True:
            try:
                position, rows = await asyncio.to_thread(self._look, project, command_id)
            except Unavailable:
                if counted:
                    raise
                return None
            if rows:
                return _seen(rows)
            if position >= counted:
                return None
            if monotonic() > deadline:
                raise _behind(position, counted)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def _look(self, project: str, command_id: str) -> tuple[int, list[Row]]:
        with self._models.reader() as reader:
            position = reader.position(INDEX)
            if not position:
                return 0, []
            # The bound says nothing new. It makes SQLite use the index on command ids also in a file that was made
            # before its statistics were written down (0.05 ms instead of 13 at 200,000 events).
            return position, reader.rows(
                "timeline", Where("project", "=", project), Where("command_id", "=", command_id),
                Where("position", "<=", position), order=("position",), limit=LARGEST,
            )


def _seen(rows: list[Row]) -> Seen:
    outcomes = tuple(Outcome(row["type"], row["position"], row["version"]) for row in rows)
    return Seen(rows[0]["request"], outcomes)


def _behind(position: int, counted: int) -> Unavailable:
    return Unavailable(
        f"Whether this key was used before cannot be told until the timeline has counted {counted}.",
        error="read_side_behind",
        remediation=[
            Remedy("Try again in a moment, with the same key.", "retry"),
            Remedy("Look at `comfyvn doctor` for a stopped projection.", "doctor"),
        ],
        detail={"projection": INDEX, "position": position, "needed": counted},
    )
