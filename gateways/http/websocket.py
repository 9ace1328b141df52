"""The WebSocket of events: one event per message, and filters that the client may change while it listens."""

from __future__ import annotations

from typing import Any

from gateways.http.conversing import Talk, converse, say
from gateways.http.hub import Hub
from gateways.http.metrics import Metrics
from gateways.http.streams import (
    FILTERS,
    PARAMETERS,
    Send,
    check_after,
    check_scope,
    chunks,
    read_after,
    read_wanted,
    subscribed,
)
from gateways.http.visit import Visit, single
from services.studio import Studio


async def serve(studio: Studio, hub: Hub, metrics: Metrics, visit: Visit, send: Send) -> None:
    """Serves one WebSocket: one event per message. Raises ``ComfyVNError`` before it is accepted."""
    given = single(visit.parameters(), PARAMETERS)
    wanted = read_wanted(given)
    # Filters may still come by message, so only what may be read at all is settled here.
    check_scope(visit.grant, wanted)
    subscription = await subscribed(studio, hub, wanted, read_after(given.get("after")))

    async def tell() -> None:
        async for chunk in chunks(studio, hub, subscription):
            if chunk is None:
                await say(send, {"control": "heartbeat", "position": subscription.cursor})
                continue
            moves = subscription.moves
            for entry in chunk.entries:
                # A chunk is finished before anything else is said: `after` counts all of it as received.
                if subscription.closed in ("left", "refused") or subscription.moves != moves:
                    break
                await send({"type": "websocket.send", "text": entry.line.decode()})

    async def hear(message: dict[str, Any]) -> None:
        """Each message replaces the filters; ``after`` moves the position."""
        wanted, after = read_wanted(message), read_after(message.get("after"))
        check_scope(visit.grant, wanted)
        await check_after(studio, hub, after)
        subscription.change(wanted, after)

    talk = Talk(tell, hear, ("after", *FILTERS), place=lambda told: told)
    await converse(hub, metrics, visit, send, subscription, talk)
