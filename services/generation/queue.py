"""Which job is taken next: the highest priority, then whoever was served least, then the oldest.

It is read from the read model by few short questions, however long the queue is. What it says may be a moment old:
who takes a job holds its lease, and says so on the job's own stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from domain.ports import ReadModels
from domain.tables import Reader, Row, Where
from projections.studio.job_queue import OWNERS, QUEUE

OWNERS_LIMIT: Final = 200
"""Most owners of one priority among whom the next is chosen; those after them by name wait until these are fewer."""

BEGUN_LIMIT: Final = 500
URGENT_LIMIT: Final = 50


class Place(NamedTuple):
    """A job in the queue. ``engine`` is the one that its next step needs, as far as that is known."""

    project: str
    job_id: str
    engine: str
    owner: str
    priority: int
    since: int
    busy: bool = False
    retry_at: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.project, self.job_id

    @property
    def lease(self) -> str:
        """The name of the lease that its worker holds."""
        return f"job.{self.project}.{self.job_id}"


class Running(NamedTuple):
    """What has begun: attempts that may be running by engine, and jobs by owner."""

    places: tuple[Place, ...]
    busy: Mapping[str, int]
    owners: Mapping[str, int]


class Queue:
    """Questions to the read model. Blocking: ask them from a thread. Raises ``Unavailable``."""

    def __init__(self, models: ReadModels) -> None:
        self._models = models

    def running(self) -> Running:
        """Everything that has begun and is not over."""
        with self._models.reader() as reader:
            rows = reader.rows(QUEUE.name, Where("state", "=", "begun"), limit=BEGUN_LIMIT)
        places = tuple(_place(row) for row in rows)
        return Running(
            places, Counter(one.engine for one in places if one.busy), Counter(one.owner for one in places)
        )

    def urgent(self, now: str) -> list[Place]:
        """Jobs that nobody works on and that only have to be closed: cancelled, or too late."""
        with self._models.reader() as reader:
            rows = reader.rows(QUEUE.name, Where("cancelling", "=", True),
                               Where("state", "in", ("ready", "quarantined")),
                               order=("requested_position",), limit=URGENT_LIMIT)
            rows += reader.rows(QUEUE.name, Where("state", "=", "ready"), Where("deadline", "<", now),
                                order=("deadline",), limit=URGENT_LIMIT)
        return [_place(row) for row in rows]

    def next(
        self, engines: Collection[str], running: Mapping[str, int], served: Mapping[str, int],
        without: Collection[tuple[str, str]],
    ) -> Place | None:
        """The job to take next among those whose next step needs one of these engines.

        ``running`` counts jobs by owner, ``served`` says when owners were served later than the read model knows.
        """
        with self._models.reader() as reader:
            found = [one for engine in engines if (one := _first(reader, engine, running, served, without))]
        return min(found, key=lambda one: one[0])[1] if found else None


Rank = tuple[int, int, int, int]


def _first(
    reader: Reader, engine: str, running: Mapping[str, int], served: Mapping[str, int],
    without: Collection[tuple[str, str]],
) -> tuple[Rank, Place] | None:
    """The first in the queue of one engine, with its rank among the engines' firsts."""
    ready = (Where("state", "=", "ready"), Where("engine", "=", engine))
    below: tuple[Where, ...] = ()
    while True:
        top = reader.rows(QUEUE.name, *ready, *below, order=("-priority",), limit=1)
        if not top:
            return None
        priority = int(top[0]["priority"])
        candidates = _oldest(reader, (*ready, Where("priority", "=", priority)), without)
        ranked = [
            ((-priority, running.get(one.owner, 0), _served(reader, one.owner, served), one.since), one)
            for one in candidates
        ]
        if ranked:
            return min(ranked, key=lambda one: one[0])
        below = (Where("priority", "<", priority),)


def _oldest(reader: Reader, among: Sequence[Where], without: Collection[tuple[str, str]]) -> list[Place]:
    """The oldest job of every owner."""
    found: list[Place] = []
    last: tuple[Where, ...] = ()
    for _ in range(OWNERS_LIMIT):
        rows = reader.rows(QUEUE.name, *among, *last, order=("owner", "requested_position"), limit=1)
        if not rows:
            break
        owner = rows[0]["owner"]
        if (rows[0]["project"], rows[0]["job_id"]) in without:
            rows = reader.rows(QUEUE.name, *among, Where("owner", "=", owner), order=("requested_position",),
                               limit=len(without) + 1)
        free = next((row for row in rows if (row["project"], row["job_id"]) not in without), None)
        if free is not None:
            found.append(_place(free))
        last = (Where("owner", ">", owner),)
    return found


def _served(reader: Reader, owner: str, served: Mapping[str, int]) -> int:
    row = reader.row(OWNERS.name, owner=owner)
    return max(int(row["served_position"]) if row else 0, served.get(owner, 0))


def _place(row: Row) -> Place:
    return Place(
        row["project"], row["job_id"], row["engine"], row["owner"], row["priority"], row["requested_position"],
        row["busy"], row["retry_at"],
    )
