"""Everybody comes at once, as after a restart, and wants the past: few read at a time, and others are answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from door import PATIENCE_SECONDS, Listener, door, on_socket, run

from adapters.memory.log import MemoryLog
from gateways.http.hub import READERS


class CountedLog(MemoryLog):
    """A log that knows how many are reading from it at this moment, and how many ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = self.most = 0

    async def read(self, **given: Any) -> AsyncIterator[Any]:
        async with aclosing(super().read(**given)) as batches:
            while True:
                self.reading += 1
                self.most = max(self.most, self.reading)
                try:
                    await asyncio.sleep(0.001)  # as long as it takes to ask a server
                    batch = await anext(batches, None)
                finally:
                    self.reading -= 1
                if batch is None:
                    return
                yield batch


def test_few_read_the_past_at_a_time_and_all_get_it() -> None:
    async def scenario() -> None:
        log = CountedLog()
        async with door(log=log, projecting=False) as here:
            await here.forks(30)
        log.reading = log.most = 0
        async with door(log=log, projecting=False) as here, on_socket(here.app) as url:  # its ring begins at the end
            stuck = [await Listener.at(url, "/events/sse?after=0", limit=2048) for _ in range(READERS * 2)]
            listeners = await asyncio.gather(*(Listener.at(url, "/events/sse?after=0") for _ in range(60)))
            async with asyncio.timeout(PATIENCE_SECONDS):
                for told in await asyncio.gather(*(one.take(30) for one in listeners)):
                    assert [event["position"] for event in told] == list(range(1, 31))
            assert 1 <= log.most <= READERS
            for one in (*stuck, *listeners):
                one.close()

    run(scenario)
