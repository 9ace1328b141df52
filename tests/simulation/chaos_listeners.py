"""Listeners that come back where they were, on every door of the log.

None may miss an event, hear one twice, or hear one that is not in the log afterwards.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import nats
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, DeliverPolicy
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

SILENCE_SECONDS = 20.0
"""Without a word for so long a listener comes again: whoever serves it may have been stopped."""


@dataclass
class Heard:
    """What a listener has heard, in order: positions and ids of events. ``after`` is where it goes on."""

    door: str
    after: int = 0
    events: list[tuple[int, str]] = field(default_factory=list)
    returns: int = -1

    def take(self, position: int, id_: str) -> None:
        self.events.append((position, id_))
        self.after = position

    def wrong(self, log: list[dict[str, Any]]) -> list[str]:
        """What it was not told as it is in the log (from the first event on), in sentences."""
        there = [(one["position"], one["id"]) for one in log]
        if self.events == there:
            return []
        for number, (heard, is_) in enumerate(zip(self.events, there, strict=False)):
            if heard != is_:
                return [f"{self.door}: event {number + 1} that it heard is {heard}, and the log has {is_}"]
        return [f"{self.door} heard {len(self.events)} events up to {self.after}, and the log has {len(there)}"]


class Listeners:
    """A listener on each door, for as long as the run lasts. ``url`` and ``nats_url`` are asked at every coming."""

    def __init__(self, url: Callable[[], str], nats_url: Callable[[], str]) -> None:
        self._url, self._nats_url = url, nats_url
        self.heard = [Heard("sse"), Heard("websocket"), Heard("nats")]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        doors = (self._sse, self._websocket, self._nats)
        self._tasks = [asyncio.create_task(self._again(door, one)) for door, one in zip(doors, self.heard, strict=True)]

    async def caught_up(self, head: int, seconds: float = 90) -> None:
        """Waits until everybody has heard the log's end; who has not by then is found by the comparison."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while any(one.after < head for one in self.heard):  # noqa: ASYNC110 - other processes move it
                    await asyncio.sleep(0.1)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in ended:
            if isinstance(one, Exception):
                raise one

    async def _again(self, door: Callable[[Heard], Any], heard: Heard) -> None:
        while True:
            heard.returns += 1
            with suppress(httpx.HTTPError, OSError, TimeoutError, WebSocketException, NatsError, json.JSONDecodeError):
                await door(heard)
            await asyncio.sleep(0.2)

    async def _sse(self, heard: Heard) -> None:
        timeout = httpx.Timeout(10, read=SILENCE_SECONDS)
        async with httpx.AsyncClient(base_url=self._url(), timeout=timeout) as http:
            given = {"params": {"after": 0}} if not heard.after else {"headers": {"Last-Event-ID": str(heard.after)}}
            async with http.stream("GET", "/events/sse", **given) as answer:
                if answer.status_code != 200:
                    return
                told: dict[str, str] = {}
                async for line in answer.aiter_lines():
                    name, _, value = line.partition(": ")
                    if line:
                        told[name] = value
                        continue
                    if "data" in told and "event" not in told:
                        event = json.loads(told["data"])
                        heard.take(event["position"], event["id"])
                    elif "id" in told:  # a heartbeat, or told to come again: as an EventSource does
                        heard.after = int(told["id"])
                    told = {}

    async def _websocket(self, heard: Heard) -> None:
        address = self._url().replace("http", "ws") + f"/events/ws?after={heard.after}"
        async with connect(address, open_timeout=10, close_timeout=1, max_size=2**24) as socket:
            while True:
                message = json.loads(await asyncio.wait_for(socket.recv(), SILENCE_SECONDS))
                if "id" in message:
                    heard.take(message["position"], message["id"])
                elif message["control"] == "resume":
                    heard.after = message["after"]

    async def _nats(self, heard: Heard) -> None:
        client = await nats.connect(self._nats_url(), connect_timeout=2, allow_reconnect=False, error_cb=_nothing)
        try:
            start = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=heard.after + 1)
            events = await client.jetstream().subscribe("vn.>", ordered_consumer=True, config=start)
            while True:
                message = await events.next_msg(timeout=SILENCE_SECONDS)
                heard.take(message.metadata.sequence.stream, (message.headers or {}).get("ce-id", ""))
        finally:
            with suppress(Exception):
                await client.close()


async def _nothing(_: Exception) -> None:
    """What goes wrong is seen by what is heard."""
