"""The log on NATS JetStream: one stream, one subject per aggregate, one message per event."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

from adapters.nats import connection as connections
from adapters.nats import loading, wire
from adapters.nats import stream as streams
from adapters.nats.commits import GroupCommit
from adapters.nats.connection import Connection, Lost, Unanswered
from adapters.nats.following import Tail
from adapters.nats.publishing import Publisher
from adapters.nats.reading import Reader, unreadable
from adapters.nats.room import Room
from domain.errors import Invalid, Remedy
from domain.ports import Commit, Recorded, Stream


class LogStatus(NamedTuple):
    """What the log is and how it is. ``sync_interval`` is ``None`` where the server does not tell (any but our own)."""

    connected: bool
    server: str
    server_version: str
    cluster: str
    stream: str
    replicas: int
    leader: str
    messages: int
    bytes: int
    first_position: int
    last_position: int
    subjects: int
    event_limit: int
    reconnects: int
    sync_interval: str | None
    trouble: str


class JetStreamLog:
    """``domain.ports.Log`` on nats-server 2.12 or later. Belongs to the event loop that connected it."""

    def __init__(
        self, connection: Connection, info: streams.Info, *, event_limit: int, patience_seconds: float
    ) -> None:
        self.connection = connection
        self.name: str = info.config["name"]
        self.subjects: str = info.config["subjects"][0]
        self.replicas = info.replicas
        self.event_limit = event_limit
        self.sync_interval: str | None = None
        self._reader = Reader(
            connection, self.name, self.subjects, replicated=info.replicas > 1, patience_seconds=patience_seconds
        )
        self._commits = GroupCommit(
            Publisher(connection, self._reader), event_limit=event_limit, patience_seconds=patience_seconds
        )
        self._tail = Tail(connection, self._reader, self.subjects)

    @classmethod
    async def connect(
        cls, servers: Sequence[str], *, stream: str = "COMFYVN", replicas: int | None = None, event_limit: int = 2**20,
        patience_seconds: float | None = None, subjects: str = wire.SUBJECTS,
    ) -> JetStreamLog:
        """Connects and makes or checks the stream.

        ``servers`` are URLs with their credentials (``nats://TOKEN@host:port``). ``replicas`` of ``None`` means 3 on a
        cluster, else 1. ``event_limit`` is the largest event body in bytes; what the server's ``max_payload`` does not
        allow is not promised. ``patience_seconds`` is how long a command or a read waits for a log that is away:
        by default 10, and 20 on a cluster, which may need that long to choose a new leader. ``subjects`` is what the
        stream stores: other logs than the studio's take other ones of five tokens, and have no snapshots.

        Raises ``Unavailable`` when no server answers, it is too old or has no JetStream, and ``Invalid`` when the
        stream that is there cannot hold a log.
        """
        connection = await connections.connect(servers, name=f"comfyvn {stream}")
        try:
            limit = min(event_limit, connection.max_payload - wire.HEADER_ROOM)
            info = await streams.ensure(
                connection, stream, subjects, replicas=replicas, limit=limit + wire.HEADER_ROOM,
                seconds=patience_seconds or 20,
            )
            if patience_seconds is None:
                patience_seconds = 20.0 if info.replicas > 1 else 10.0
            return cls(connection, info, event_limit=limit, patience_seconds=patience_seconds)
        except BaseException:
            await connection.close()
            raise

    def stands_on(self, folder: Path) -> None:
        """The server keeps the log in this folder of this machine: with no room there nothing is sent."""
        self._commits.publisher.lack = Room(folder).lack

    async def close(self) -> None:
        """Lets commits under way finish, ends followers and gives the connection back."""
        await self._commits.close()
        await self._tail.close()
        await self.connection.close()

    async def status(self) -> LogStatus:
        """The log as it is now; raises ``Unavailable`` when it cannot be asked."""
        try:
            info = await streams.info(self.connection, self.name)
        except (Lost, Unanswered, TimeoutError, streams.ApiError) as error:
            raise unreadable(str(error) or type(error).__name__) from error
        server = self.connection._server_info
        url = self.connection.connected_url
        return LogStatus(
            self.connection.is_connected, f"{url.hostname}:{url.port}" if url else "", server.get("version", ""),
            server.get("cluster", ""), self.name, info.replicas, info.cluster.get("leader", ""),
            info.state["messages"], info.state["bytes"], info.state["first_seq"], info.state["last_seq"],
            info.state.get("num_subjects", 0), self.event_limit, self.connection.stats["reconnects"],
            self.sync_interval, self.connection.refusal,
        )

    async def append(self, commits: Sequence[Commit]) -> tuple[int, ...]:
        return await self._commits.append(commits)

    async def load(self, events: Sequence[Recorded]) -> None:
        await loading.load(
            self.connection, self._reader, events, event_limit=self.event_limit,
            patience_seconds=self._commits.patience_seconds,
        )

    async def head(self) -> int:
        return await self._reader.head()

    async def last(self, stream: Stream) -> Recorded | None:
        return await self._reader.last(stream)

    async def last_position(self, pattern: str) -> int:
        """Position of the newest event that matches a pattern, 0 for none."""
        return await self._reader.last_position(pattern)

    async def read_stream(self, stream: Stream, *, after: int = 0, upto: int | None = None) -> list[Recorded]:
        return await self._reader.stream(stream, after, upto)

    async def read(
        self, *, after: int = 0, upto: int | None = None, pattern: str = wire.EVERYTHING, batch: int = 1000
    ) -> AsyncIterator[list[Recorded]]:
        checked_pattern(pattern, self.subjects)
        head = await self._reader.head()
        end = head if upto is None else min(upto, head)
        async for found in self._reader.everything(after, end, pattern, batch):
            yield found

    async def follow(self, *, after: int = 0, pattern: str = wire.EVERYTHING) -> AsyncIterator[list[Recorded]]:
        checked_pattern(pattern, self.subjects)
        async for found in self._tail.follow(after, pattern):
            yield found

    async def load_snapshot(self, stream: Stream) -> bytes | None:
        try:
            headers, body = await self.connection.ask(
                f"$JS.API.DIRECT.GET.{self.name}_SNAPSHOTS.{_snapshot_subject(stream)}", seconds=2
            )
            return zlib.decompress(body) if wire.status(headers) == 0 else None
        except (Lost, Unanswered, TimeoutError, zlib.error):
            return None  # a snapshot may always be missing

    async def save_snapshot(self, stream: Stream, snapshot: bytes) -> None:
        packed = zlib.compress(snapshot, 1)
        if len(packed) > self.connection.max_payload - 1024:
            return  # too large to keep; the aggregate is folded from its events
        try:
            await self.connection.ask(_snapshot_subject(stream), packed)
        except (Lost, Unanswered, TimeoutError) as error:
            raise unreadable(f"the snapshot of {stream.subject} was not kept ({error})") from error


def checked_pattern(pattern: str, subjects: str) -> None:
    """Raises ``Invalid`` for what is no pattern of the log's subjects."""
    parts = pattern.split(".")
    ours = parts[0] == subjects.partition(".")[0] and all(parts)
    if not ours or ">" in parts[:-1] or any(one.isspace() for one in pattern):
        raise Invalid(
            f"{pattern!r} is no pattern of the log's subjects.", error="invalid_pattern",
            remediation=[Remedy("Write vn.<project>.<worldline>.<category>.<id> with * and > as in NATS.", "rename")],
        )


def _snapshot_subject(stream: Stream) -> str:
    return "snapshot" + stream.subject[2:]
