"""Everything is killed at random moments under load: what was acknowledged is there, once; nothing is there by halves.

The seed of every round is printed; ``COMFYVN_CRASH_SEED`` repeats one, ``COMFYVN_CRASH_ROUNDS`` asks for more.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from consoles import console
from crowd import Crowd, check_promises, promised, whole_log
from fixtures_studio import RunningServer

ROUNDS = int(os.environ.get("COMFYVN_CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("COMFYVN_CRASH_SEED", str(random.SystemRandom().randrange(2**32))))

Victim = Callable[[RunningServer], None]


def kill_api(server: RunningServer) -> None:
    """The serving process, and everything that is tied to it; then it is started again."""
    server.kill()
    server.restart()


def kill_log(server: RunningServer) -> None:
    """The nats-server; whoever owns it starts it again."""
    os.kill(server.nats()["pid"], signal.SIGKILL)


def kill_projector(server: RunningServer) -> None:
    """The worker with projector, processes and auditor; the server starts another."""
    os.kill(server.worker(), signal.SIGKILL)


VICTIMS: dict[str, Victim] = {"api": kill_api, "log": kill_log, "projector": kill_projector}


async def press(server: RunningServer, crowd: Crowd, victims: list[Victim], dice: random.Random) -> None:
    """Lets the crowd ask while one after the other is killed; ends when every ask has its answer."""
    await crowd.prepare(server.url)
    for victim in victims:
        asking = asyncio.create_task(crowd.press(lambda: server.url))
        await crowd.accepted(asking)
        await asyncio.sleep(dice.uniform(0.2, 1.2))
        await asyncio.to_thread(victim, server)
        await crowd.accepted(asking)  # after the blow the world goes on
        crowd.running = False
        await asking
        await crowd.settle(server.url)
    await crowd.settle(server.url)


def check_everything(server: RunningServer, crowd: Crowd) -> None:
    """The promises, the invariants of the accounts, the read models, and the hash chain."""
    events = asyncio.run(whole_log(server.url, crowd.project))
    check_promises(crowd.asks, events)
    head = events[-1]["position"] if events[0]["position"] < events[-1]["position"] else events[0]["position"]
    with server.client() as http:
        account = http.get("/api/credits/shared", params={"project": crowd.project, "min_position": head}).json()
    reserved = sum(ask.body["amount"] for ask in crowd.asks
                   if ask.status in (200, 201) and "ReserveCredits" in ask.path)
    assert account["reserved"] == reserved
    assert account["available"] == 2_000 - reserved >= 0
    verified = console("projections", "verify", "--json", data=server.data)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    chained = wait_chained(server, head)
    assert chained["ok"], chained


def wait_chained(server: RunningServer, head: int) -> dict[str, object]:
    """The verdict on the hash chain, once the auditor has chained the last event."""
    deadline = time.monotonic() + 60
    while True:
        done = console("log", "verify", "--json", data=server.data)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        told: dict[str, object] = json.loads(done.stdout)
        if done.returncode == 1 or told.get("chained", head) >= head or time.monotonic() > deadline:
            return {**told, "ok": done.returncode == 0}
        time.sleep(0.2)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for every crowd: each has a project of its own, and what is checked of the log is checked of all."""
    server = RunningServer(tmp_path_factory.mktemp("kills") / "studio").start()
    yield server
    server.stop()


@pytest.mark.parametrize("name", VICTIMS)
def test_nothing_acknowledged_is_lost_when_it_is_killed(shared: RunningServer, name: str) -> None:
    seed = SEED + list(VICTIMS).index(name)
    print(f"seed {seed} (COMFYVN_CRASH_SEED={SEED}), {ROUNDS} rounds of killing the {name}")
    dice = random.Random(seed)
    crowd = Crowd(seed, project=f"crash-{name}")
    asyncio.run(press(shared, crowd, [VICTIMS[name]] * ROUNDS, dice))
    check_everything(shared, crowd)
    doubts = sum(ask.doubts for ask in crowd.asks)
    print(f"{len(crowd.asks)} asks, {len(promised(crowd.asks))} accepted, {doubts} answers that never came")


def test_nothing_acknowledged_is_lost_when_everything_is_killed_in_turn(shared: RunningServer) -> None:
    seed = SEED + 10
    print(f"seed {seed} (COMFYVN_CRASH_SEED={SEED}), everything in turn")
    dice = random.Random(seed)
    crowd = Crowd(seed, clients=16, project="crash-in-turn")
    victims = [VICTIMS[dice.choice(list(VICTIMS))] for _ in range(ROUNDS)]
    asyncio.run(press(shared, crowd, victims, dice))
    check_everything(shared, crowd)
