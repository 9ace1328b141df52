"""A process that opens one scene and prints how many seconds that took, once it was connected."""

from __future__ import annotations

import asyncio
import sys
import time

from adapters.nats.log import JetStreamLog
from domain.ports import Stream
from services.dispatcher import Dispatcher
from services.registry import REGISTRY


async def main(url: str, project: str, name: str) -> None:
    log = await JetStreamLog.connect([url], stream="BENCH", replicas=None, event_limit=2**20)
    dispatcher = Dispatcher(log, REGISTRY)
    began = time.perf_counter()
    found = await dispatcher.aggregates.load(Stream(project, "main", "scene", name))
    took = time.perf_counter() - began
    assert found.version > 0
    await dispatcher.close()
    await log.close()
    print(took)


asyncio.run(main(*sys.argv[1:]))
