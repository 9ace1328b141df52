"""The HTTP door on a real nats-server: what many write at once reaches every listener once, in order."""

from __future__ import annotations

import asyncio

import httpx
from door import Listener, on_socket, run
from fixtures_studio import StudioFactory

from gateways.http.app import create_app
from gateways.http.gate import OpenAccess


def test_what_many_write_at_once_is_durable_and_heard_once_in_order(studio_factory: StudioFactory) -> None:
    async def scenario() -> None:
        async with studio_factory() as opened:
            app = create_app(opened.studio, access=OpenAccess())
            async with on_socket(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
                live = await Listener.at(url, "/events/sse?project=demo")

                async def writer(name: str) -> list[int]:
                    positions = []
                    for number in range(10):
                        body = {"worldline_id": f"{name}-{number}"}
                        answer = await client.post("/api/commands/ForkWorldline?project=demo", json=body)
                        assert answer.status_code == 201, answer.text
                        positions.append(answer.json()["position"])
                    return positions

                told = await asyncio.gather(*(writer(f"w{number}") for number in range(16)))
                positions = sorted(position for one in told for position in one)
                assert positions == list(range(1, 161))
                assert [event["position"] for event in await live.take(160)] == positions
                past = await Listener.at(url, "/events/sse?project=demo&after=100")
                assert [event["position"] for event in await past.take(60)] == positions[100:]
                logged = (await client.get("/api/log?limit=1000")).json()
                assert [event["position"] for event in logged["items"]] == positions
                page = await client.get("/api/pov/worlds?project=demo&limit=500&min_position=160")
                assert len(page.json()["items"]) == 161
                assert (await client.get("/health")).json()["position"] == 160
                live.close()
                past.close()
            await app.close()

    run(scenario)
