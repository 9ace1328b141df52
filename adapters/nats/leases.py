"""Leases on NATS JetStream: one message per lease in a stream whose messages end by themselves.

Whoever puts the first message on a lease's subject has it, and renews it by replacing exactly that message. What is
not replaced in time is gone, and the next worker's message is the first again. Wakes are plain messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from secrets import token_hex
from time import monotonic
from typing import Any, Final

import orjson
from nats.errors import Error as NatsError

from adapters.nats import connection as connections
from adapters.nats import stream as streams
from adapters.nats import wire
from adapters.nats.connection import Connection, Lost, Unanswered
from domain.errors import Remedy, Unavailable

_SEQUENCE = re.compile(rb"^nats-sequence: *([0-9]+)", re.IGNORECASE | re.MULTILINE)

MOVED: Final = frozenset({10071, 10164})
"""JetStream's codes for: another message is the last one on this subject."""

_TROUBLE: Final = (Lost, Unanswered, TimeoutError, streams.ApiError, NatsError, OSError)


class JetStreamLeases:
    """``domain.ports.leases.Leases`` beside the log's stream. Belongs to the event loop that connected it."""

    def __init__(self, connection: Connection, stream: str, seconds: float) -> None:
        self._connection = connection
        self._name = f"{stream}_LEASES"
        self._subjects = f"lease.{stream}"
        self._wakes = f"wake.{stream}"
        self._told: list[Callable[[str], None]] = []
        self.seconds = seconds

    @classmethod
    async def connect(cls, servers: Any, *, stream: str = "COMFYVN", seconds: float = 6.0) -> JetStreamLeases:
        """A connection of its own beside the log's; the log's stream must be there. Raises ``Unavailable``."""
        connection = await connections.connect(servers, name=f"comfyvn {stream} leases")
        leases = cls(connection, stream, seconds)
        try:
            await leases._prepare(stream)
        except _TROUBLE as error:
            await connection.close()
            raise _away(error) from error
        return leases

    async def acquire(self, name: str) -> JetStreamLease | None:
        lease = JetStreamLease(self, name)
        return lease if await lease.put() else None

    async def held(self, prefix: str) -> frozenset[str]:
        try:
            told = await streams.api(
                self._connection, f"STREAM.INFO.{self._name}", {"subjects_filter": f"{self._subjects}.{prefix}.>"}
            )
        except _TROUBLE as error:
            raise _away(error) from error
        return frozenset(one.removeprefix(f"{self._subjects}.") for one in told["state"].get("subjects") or ())

    async def wake(self, key: str) -> None:
        with suppress(*_TROUBLE):  # a hint
            if self._connection.is_connected:
                await self._connection.publish(self._wakes, key.encode())

    def listen(self, told: Callable[[str], None]) -> None:
        self._told.append(told)

    async def close(self) -> None:
        await self._connection.close()

    # --- inside -----------------------------------------------------------------------------------------------

    async def put(self, name: str, holder: bytes, expected: int) -> int | None:
        """Puts a lease's message when its last one is ``expected`` (0: there is none); its sequence."""
        headers = b"Nats-Expected-Last-Subject-Sequence: %d\r\n" % expected
        try:
            _, answer = await self._connection.ask(f"{self._subjects}.{name}", holder, headers)
        except _TROUBLE as error:
            raise _away(error) from error
        told = orjson.loads(answer)
        error = told.get("error")
        if error is None:
            return int(told["seq"])
        if error.get("err_code") in MOVED:
            return None
        raise _away(streams.ApiError(error.get("err_code", 0), error.get("description", "")))

    async def last(self, name: str) -> tuple[int, bytes]:
        """Sequence and holder of a lease's message; (0, nothing) when there is none."""
        try:
            headers, holder = await self._connection.ask(
                f"$JS.API.DIRECT.GET.{self._name}.{self._subjects}.{name}"
            )
        except _TROUBLE as error:
            raise _away(error) from error
        if wire.status(headers) == 404:
            return 0, b""
        found = _SEQUENCE.search(headers)
        return (int(found.group(1)), holder) if found else (0, b"")

    async def drop(self, sequence: int) -> None:
        """Takes exactly that message away; harmless when it is not there."""
        try:
            await streams.api(
                self._connection, f"STREAM.MSG.DELETE.{self._name}", {"seq": sequence, "no_erase": True}
            )
        except streams.ApiError:
            pass  # it has ended by itself, or was replaced
        except _TROUBLE as error:
            raise _away(error) from error

    async def _prepare(self, stream: str) -> None:
        log = await streams.info(self._connection, stream)
        age = int(self.seconds * 1e9)
        config = {
            "name": self._name, "description": "ComfyVN: who works on what; ends by itself.",
            "subjects": [f"{self._subjects}.>"], "storage": "file", "retention": "limits", "discard": "old",
            "num_replicas": log.replicas, "max_msgs_per_subject": 1, "max_age": age,
            "duplicate_window": min(age, 120 * 10**9), "allow_direct": True,
        }
        try:
            await streams.api(self._connection, f"STREAM.CREATE.{self._name}", config, seconds=10)
        except streams.ApiError as error:
            if error.code != 10058:  # there is one with other numbers: ours are what workers go by from now on
                raise
            await streams.api(self._connection, f"STREAM.UPDATE.{self._name}", config, seconds=10)

        async def heard(message: Any) -> None:
            for told in self._told:
                told(message.data.decode("utf-8", "replace"))

        await self._connection.subscribe(self._wakes, cb=heard)


class JetStreamLease:
    """One name's message, as it was put last by us."""

    def __init__(self, leases: JetStreamLeases, name: str) -> None:
        self._leases = leases
        self.name = name
        self._holder = token_hex(12).encode()
        self._sequence = 0
        self._until = 0.0

    @property
    def held(self) -> bool:
        return self._sequence > 0 and monotonic() < self._until

    async def put(self) -> bool:
        """Puts its message, the first or the next."""
        # Its time counts from before it was asked for: the server's begins later.
        began = monotonic()
        sequence = await self._leases.put(self.name, self._holder, self._sequence)
        if sequence is None:
            return False
        self._sequence, self._until = sequence, began + self._leases.seconds
        return True

    async def renew(self) -> bool:
        if self._sequence == 0:
            return False
        if await self.put():
            return True
        # An earlier renewal may have arrived although its answer did not, or it has ended while the server was away:
        # then it is ours again, unless somebody else was quicker.
        self._sequence, holder = await self._leases.last(self.name)
        if self._sequence == 0 or holder == self._holder:
            return await self.put()
        self._sequence, self._until = 0, 0.0
        return False

    async def release(self) -> None:
        sequence, self._sequence, self._until = self._sequence, 0, 0.0
        if sequence:
            await self._leases.drop(sequence)


def _away(error: BaseException) -> Unavailable:
    return Unavailable(
        f"Workers cannot agree on who does what: {str(error) or type(error).__name__}.",
        error="leases_unavailable",
        remediation=[Remedy("Check the nats-server; work goes on by itself.", "check_nats_server")],
    )
