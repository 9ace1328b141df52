"""The farm's shape under load: three nodes and PostgreSQL. The log's leader is killed, and the same promises hold."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable

from consoles import console
from crowd import Crowd, check_promises, promised, whole_log
from fixtures_nats import Cluster
from fixtures_studio import RunningServer

SEED = int(os.environ.get("COMFYVN_CRASH_SEED", str(random.SystemRandom().randrange(2**32))))


async def press(server: RunningServer, crowd: Crowd, cluster: Cluster, dice: random.Random) -> None:
    """Lets the crowd ask while the leader of the log is killed and comes back, twice."""
    await crowd.prepare(server.url)
    for _ in range(2):
        asking = asyncio.create_task(crowd.press(lambda: server.url))
        await crowd.accepted(asking)
        await asyncio.sleep(dice.uniform(0.3, 1.0))
        leader = await cluster.leader(cluster.stream)
        await asyncio.to_thread(cluster.kill, leader)
        await crowd.accepted(asking)  # two of three go on
        cluster.start(leader)  # from this thread: a node goes with the thread that started it
        await crowd.accepted(asking)
        crowd.running = False
        await asking
        await crowd.settle(server.url, seconds=120)


def test_nothing_acknowledged_is_lost_when_the_leader_is_killed(
    server_factory: Callable[..., RunningServer], nats_cluster: Cluster, postgres_url: str
) -> None:
    print(f"COMFYVN_CRASH_SEED={SEED}")
    outside = {
        "COMFYVN_NATS_URL": nats_cluster.url, "COMFYVN_NATS_STREAM": nats_cluster.stream,
        "COMFYVN_DATABASE_URL": postgres_url,
    }
    server = server_factory(environment=outside)
    crowd = Crowd(SEED, clients=8)
    asyncio.run(press(server, crowd, nats_cluster, random.Random(SEED)))
    check_promises(crowd.asks, asyncio.run(whole_log(server.url, crowd.project)))
    nats_cluster.heal()
    verified = console("projections", "verify", "--json", data=server.data, env={**os.environ, **outside})
    assert verified.returncode == 0, verified.stdout + verified.stderr
    print(f"{len(crowd.asks)} asks, {len(promised(crowd.asks))} accepted, "
          f"{sum(ask.doubts for ask in crowd.asks)} answers that never came")
