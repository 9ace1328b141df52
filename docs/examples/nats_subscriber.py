"""Reads the studio's events with nothing but `nats-py`: everything there is, then live, in order, across reconnects.

    NATS_URL=nats://TOKEN@127.0.0.1:PORT python docs/examples/nats_subscriber.py [FIRST_POSITION] [HOW_MANY]
"""

import asyncio
import os
import sys

import nats
from nats.js.api import ConsumerConfig, DeliverPolicy


async def main(first: int = 1, many: int = 0) -> None:
    client = await nats.connect(os.environ["NATS_URL"])
    start = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first)
    events = await client.jetstream().subscribe("vn.>", ordered_consumer=True, config=start)
    async for message in events.messages:
        position, headers = message.metadata.sequence.stream, message.headers or {}
        print(position, message.subject, headers.get("ce-type"), message.data.decode(), flush=True)  # noqa: T201
        if position == first + many - 1:
            break
    await client.close()


asyncio.run(main(*map(int, sys.argv[1:])))
