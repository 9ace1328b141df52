"""Which job is taken next: the highest priority, then whoever was served least, then the oldest.

It is read from the read model by few short questions, however long the queue is. What it says may be a moment old:
who takes a job holds its lease, and says so on the job's own stream.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from domain.ports import ReadModels
from domain.tables import Reader, Row, Where
from projections.studio.job_queue import OWNERS, PROJECTION, QUEUE

OWNERS_LIMIT: Final = 200
"""Most owners of one priority among whom the next is chosen; those after them by name wait until these are fewer."""

ENGINES_LIMIT: Final = 100
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
    """What has begun: attempts that may be running by engine, and jobs by owner, as of a position."""

    places: tuple[Place, ...]
    busy: Mapping[str, int]
    owners: Mapping[str, int]
    position: int = 0

    @classmethod
    def of(cls, places: Iterable[Place], position: int) -> Running:
        found = tuple(places)
        return cls(found, Counter(one.engine for one in found if one.busy), Counter(one.owner for one in found),
                   position)


class Queue:
    """Questions to the read model. Blocking: ask them from a thread. Raises ``Unavailable``."""

    def __init__(self, models: ReadModels) -> None:
        self._models = models

    def running(self) -> Running:
        """Everything that has begun and is not over."""
        with self._models.reader() as reader:
            rows = reader.rows(QUEUE.name, Where("state", "=", "begun"), limit=BEGUN_LIMIT)
            return Running.of((_place(row) for row in rows), reader.position(PROJECTION.name))

    def urgent(self, now: str) -> list[Place]:
        """Jobs that nobody works on and that only have to be closed: cancelled, or too late."""
        with self._models.reader() as reader:
            rows = reader.rows(QUEUE.name, Where("cancelling", "=", True),
                               Where("state", "in", ("ready", "quarantined")),
                               order=("requested_position",), limit=URGENT_LIMIT)
            rows += reader.rows(QUEUE.name, Where("state", "=", "ready"), Where("deadline", "<", now),
                                order=("deadline",), limit=URGENT_LIMIT)
        return [_place(row) for row in rows]

    def line(
        self, room: Mapping[str, int], running: Mapping[str, int], served: Mapping[str, int],
        without: Collection[tuple[str, str]], count: int,
    ) -> list[Place]:
        """The jobs to take next, in order: at most ``count``, and per engine as many as it has ``room`` for.

        ``running`` counts jobs by owner, ``served`` says when owners were served later than the read model knows. Each
        job is chosen as if those before it had been taken already. There may be more when all of these are taken.
        """
        with self._models.reader() as reader:
            engines = [one for one in _needed(reader) if room.get(one, 0) > 0]
            lines = [_Line(reader, engine, room[engine], served, without) for engine in engines]
        return _chosen([one for one in lines if one.waiting], Counter(running), count)


class _Line:
    """The oldest jobs of every owner at the highest priority of an engine that somebody waits at."""

    def __init__(
        self, reader: Reader, engine: str, room: int, served: Mapping[str, int], without: Collection[tuple[str, str]]
    ) -> None:
        self.room = room
        self.waiting: dict[str, deque[Place]] = {}
        ready = (Where("state", "=", "ready"), Where("engine", "=", engine))
        below: tuple[Where, ...] = ()
        while not self.waiting:
            top = reader.rows(QUEUE.name, *ready, *below, order=("-priority",), limit=1)
            if not top:
                break
            self.priority = int(top[0]["priority"])
            self.waiting = _oldest(reader, (*ready, Where("priority", "=", self.priority)), room, without)
            below = (Where("priority", "<", self.priority),)
        self.served = {owner: _served(reader, owner, served) for owner in self.waiting}


def _chosen(lines: Sequence[_Line], running: Counter[str], count: int) -> list[Place]:
    """Highest priority first, then whoever has least in hand, then whoever was served longest ago, then the oldest."""
    chosen: list[Place] = []
    now: dict[str, int] = {}

    def rank(line: _Line, owner: str) -> tuple[int, int, int, int, int]:
        return (-line.priority, running[owner], now.get(owner, 0), line.served[owner], line.waiting[owner][0].since)

    while len(chosen) < count:
        firsts = [(rank(line, owner), line, owner) for line in lines if line.room for owner in line.waiting]
        if not firsts:
            break
        _, line, owner = min(firsts, key=lambda one: one[0])
        chosen.append(line.waiting[owner].popleft())
        running[owner] += 1
        now[owner] = len(chosen)
        line.room -= 1
        if not line.waiting[owner]:  # there were as many of each owner as there is room: this one has no more
            del line.waiting[owner]
            if line.room and not line.waiting:
                break  # what is of a lower priority there has to be looked for
    return chosen


def _needed(reader: Reader) -> list[str]:
    """The engines that somebody waits for."""
    found: list[str] = []
    beyond: tuple[Where, ...] = ()
    for _ in range(ENGINES_LIMIT):
        ready = (Where("state", "=", "ready"), *beyond)
        rows = reader.columns(QUEUE.name, ("engine",), *ready, order=("engine",), limit=1)
        if not rows[0]:
            break
        found.append(rows[0][0])
        beyond = (Where("engine", ">", rows[0][0]),)
    return found


def _oldest(
    reader: Reader, among: Sequence[Where], count: int, without: Collection[tuple[str, str]]
) -> dict[str, deque[Place]]:
    """The oldest jobs of every owner, at most so many of each."""
    found: dict[str, deque[Place]] = {}
    last: tuple[Where, ...] = ()
    for _ in range(OWNERS_LIMIT):
        first = reader.columns(QUEUE.name, ("owner",), *among, *last, order=("owner", "requested_position"), limit=1)
        if not first[0]:
            break
        owner = first[0][0]
        rows = reader.rows(QUEUE.name, *among, Where("owner", "=", owner), order=("requested_position",),
                           limit=count + len(without))
        free = deque(place for row in rows if (place := _place(row)).key not in without)
        if free:
            found[owner] = free
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
