"""Inboxes on NATS JetStream: one durable pull consumer of the log's stream per process, shared by all its workers.

What was given up stands in a stream of its own (``<LOG>_PARKED``, one message per process and position), so that it
outlives workers and consumers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import orjson
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from adapters.nats import connection as connections
from adapters.nats import stream as streams
from adapters.nats import wire
from adapters.nats.connection import Connection, Lost, Unanswered
from domain.errors import Remedy, Unavailable
from domain.ports import Delivery, InboxStatus, Parked, Recorded

PARKED_LIMIT: Final = 1000
SLACK_SECONDS: Final = 2.0
"""How long after its end a pull that nobody answered counts as lost."""

_TROUBLE: Final = (Lost, Unanswered, TimeoutError, streams.ApiError, NatsError, OSError)


class JetStreamInboxes:
    """``domain.ports.Inboxes`` on the stream of a ``JetStreamLog``. Belongs to the event loop that connected it."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._stream = stream

    @classmethod
    async def connect(cls, servers: Sequence[str], *, stream: str = "COMFYVN") -> JetStreamInboxes:
        """A connection of its own beside the log's; the stream must be there. Raises ``Unavailable``."""
        return cls(await connections.connect(servers, name=f"comfyvn {stream} inboxes"), stream)

    async def open(
        self, name: str, patterns: Sequence[str], *, ack_wait_seconds: float, in_flight: int
    ) -> JetStreamInbox:
        config = {
            "durable_name": name, "name": name, "description": f"ComfyVN: what the process {name} has yet to do.",
            "deliver_policy": "all", "ack_policy": "explicit", "ack_wait": int(ack_wait_seconds * 1e9),
            "max_deliver": -1, "max_ack_pending": in_flight, "filter_subjects": list(patterns),
            "replay_policy": "instant", "max_waiting": 512,
        }
        inbox = JetStreamInbox(self._connection, self._stream, name, config)
        await inbox.prepare()
        return inbox

    async def close(self) -> None:
        await self._connection.close()


class JetStreamInbox:
    """One process's consumer. A pull is asked for only when what is on its way does not suffice."""

    def __init__(self, connection: Connection, stream: str, name: str, config: dict[str, Any]) -> None:
        self._connection = connection
        self._stream = stream
        self._name = name
        self._config = config
        self._inbox = ""
        self._ready: deque[Msg] = deque()
        self._pulls: dict[str, tuple[int, float]] = {}
        self._arrived = asyncio.Event()
        self._prepared = False

    async def prepare(self) -> None:
        """Makes or updates the consumer and the stream of parked deliveries; raises ``Unavailable``."""
        try:
            log = await streams.info(self._connection, self._stream)
            await self._make_parked_stream(log.replicas)
            await streams.api(
                self._connection, f"CONSUMER.CREATE.{self._stream}.{self._name}",
                {"stream_name": self._stream, "config": self._config},
            )
            if not self._inbox:
                self._inbox = self._connection.new_inbox()
                await self._connection.subscribe(f"{self._inbox}.*", cb=self._take)
                self._connection.gone.append(self._forget_pulls)
        except _TROUBLE as error:
            raise _away(error) from error
        self._prepared = True

    async def fetch(self, count: int, seconds: float) -> list[Delivery]:
        if not self._prepared:
            await self.prepare()
        if not self._ready:
            self._arrived.clear()
            await self._pull(count, seconds)
            # Not wait_for: before Python 3.12 it forgets a cancellation that meets a message.
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds + SLACK_SECONDS):
                    await self._arrived.wait()
        found: list[Delivery] = []
        while self._ready and len(found) < count:
            found.append(JetStreamDelivery(self, self._ready.popleft()))
        return found

    async def parked(self) -> list[Parked]:
        try:
            wanted = {"subjects_filter": self._parked_subject("*")}
            told = await streams.api(self._connection, f"STREAM.INFO.{self._parked_stream}", wanted)
            positions = sorted(int(one.rpartition(".")[2]) for one in told["state"].get("subjects") or ())
            found = []
            for position in positions[:PARKED_LIMIT]:
                subject = f"$JS.API.DIRECT.GET.{self._parked_stream}.{self._parked_subject(str(position))}"
                headers, body = await self._connection.ask(subject)
                if wire.status(headers) != 404:  # taken off the list meanwhile
                    found.append(Parked(position, **orjson.loads(body)))
            return found
        except _TROUBLE as error:
            raise _away(error) from error

    async def forget(self, position: int) -> None:
        await self._api(f"STREAM.PURGE.{self._parked_stream}", {"filter": self._parked_subject(str(position))})

    async def status(self) -> InboxStatus:
        told = await self._api(f"CONSUMER.INFO.{self._stream}.{self._name}")
        wanted = {"subjects_filter": self._parked_subject("*")}
        parked = await self._api(f"STREAM.INFO.{self._parked_stream}", wanted)
        return InboxStatus(
            told.get("num_pending", 0), told.get("num_ack_pending", 0), len(parked["state"].get("subjects") or ())
        )

    # --- inside -----------------------------------------------------------------------------------------------

    async def answer(self, message: Msg, body: bytes) -> None:
        """Tells JetStream what became of a delivery."""
        if not self._connection.is_connected:
            raise _away(Lost("not connected"))
        try:
            await self._connection.publish(message.reply, body)
        except _TROUBLE as error:
            raise _away(error) from error

    async def park(self, parked: Parked) -> None:
        """Notes durably that a delivery was given up; noting it twice is harmless."""
        told = {"attempts": parked.attempts, "reason": parked.reason, "time": parked.time}
        try:
            _, answer = await self._connection.ask(self._parked_subject(str(parked.position)), orjson.dumps(told))
        except _TROUBLE as error:
            raise _away(error) from error
        if "error" in (said := orjson.loads(answer)):
            raise _away(streams.ApiError(said["error"].get("err_code", 0), said["error"].get("description", "")))

    async def _pull(self, count: int, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        self._pulls = {pull: (left, end) for pull, (left, end) in self._pulls.items() if left > 0 and end > now}
        missing = count - sum(left for left, _ in self._pulls.values())
        if missing <= 0:
            return
        if not self._connection.is_connected:
            raise _away(Lost("not connected"))
        pull = self._connection.new_inbox().rpartition(".")[2]
        self._pulls[pull] = (missing, now + seconds + SLACK_SECONDS)
        request = orjson.dumps({"batch": missing, "expires": int(max(seconds, 0.001) * 1e9)})
        try:
            await self._connection.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._name}", request, reply=f"{self._inbox}.{pull}"
            )
        except _TROUBLE as error:
            self._pulls.pop(pull, None)
            raise _away(error) from error

    async def _take(self, message: Msg) -> None:
        if message.reply.startswith("$JS.ACK."):
            # A delivery keeps its own subject; which pull it belongs to does not matter for counting.
            for pull, (left, end) in self._pulls.items():
                if left > 0:
                    self._pulls[pull] = (left - 1, end)
                    break
            self._ready.append(message)
        else:
            self._pulls.pop(message.subject.rpartition(".")[2], None)
            status = (message.headers or {}).get("Status", "")
            if status == "503" or "Consumer" in (message.headers or {}).get("Description", ""):
                self._prepared = False  # somebody deleted the consumer: it is made again before the next pull
        self._arrived.set()

    def _forget_pulls(self) -> None:
        self._pulls.clear()
        self._arrived.set()

    async def _api(self, subject: str, request: Any = None) -> dict[str, Any]:
        try:
            return await streams.api(self._connection, subject, request)
        except _TROUBLE as error:
            raise _away(error) from error

    async def _make_parked_stream(self, replicas: int) -> None:
        config = {
            "name": self._parked_stream, "description": "ComfyVN: deliveries that processes gave up.",
            "subjects": [f"parked.{self._stream}.*.*"], "storage": "file", "retention": "limits", "discard": "old",
            "num_replicas": replicas, "max_msgs_per_subject": 1,
            "allow_direct": True,
        }
        try:
            await streams.api(self._connection, f"STREAM.CREATE.{self._parked_stream}", config, seconds=10)
        except streams.ApiError as error:
            if error.code != 10058:  # there is one, made with other numbers: it is good enough
                raise

    @property
    def _parked_stream(self) -> str:
        return f"{self._stream}_PARKED"

    def _parked_subject(self, position: str) -> str:
        return f"parked.{self._stream}.{self._name}.{position}"


class JetStreamDelivery:
    """One message of the log's stream, on its way to one process."""

    def __init__(self, inbox: JetStreamInbox, message: Msg) -> None:
        self._inbox = inbox
        self._message = message
        # $JS.ACK.<stream>.<consumer>.<attempt>.<stream sequence>.… or, with a domain, two tokens more in front.
        tokens = message.reply.split(".")[4:] if message.reply.count(".") < 10 else message.reply.split(".")[6:]
        self.attempt = int(tokens[0])
        headers = {str(name): str(value) for name, value in (message.headers or {}).items()}
        self.recorded: Recorded = wire.event_of(message.subject, int(tokens[1]), headers, message.data)

    async def ack(self) -> None:
        await self._inbox.answer(self._message, b"+ACK")

    async def later(self, seconds: float) -> None:
        await self._inbox.answer(self._message, b"-NAK " + orjson.dumps({"delay": int(max(seconds, 0) * 1e9)}))

    async def working(self) -> None:
        await self._inbox.answer(self._message, b"+WPI")

    async def give_up(self, reason: str, time: str) -> None:
        await self._inbox.park(Parked(self.recorded.position, self.attempt, reason[:1000], time))
        await self._inbox.answer(self._message, b"+TERM")


def _away(error: BaseException) -> Unavailable:
    return Unavailable(
        f"The inbox of a process cannot be reached: {str(error) or type(error).__name__}.",
        error="inbox_unavailable",
        remediation=[Remedy("Check the nats-server; the process goes on by itself.", "check_nats_server")],
    )
