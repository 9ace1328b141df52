"""The moments at which a death is meanest: a first start, a rebuild, a backup, a restore, an upgrade of read models."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from simulation import chaos_verdicts as verdicts
from simulation.chaos_world import Broken, World

TIMES = 6

Moment = Callable[[World, random.Random], None]


def first_start(world: World, dice: random.Random) -> None:
    """Everything dies again and again while a studio is made."""
    for number in range(TIMES * 2):
        _dead(world, [*_serve(world)], dice.uniform(0.0, 4.0))
        if number % 4 == 3:
            _opens(world, f"killed {number + 1} times while it was made")


def rebuild(world: World, dice: random.Random) -> None:
    """The console dies while it builds read models anew, beside a server and alone."""
    _filled(world)
    for number in range(TIMES):
        command = dice.choice([["rebuild"], ["verify"]])
        if number % 2:
            world.server.stop()
            world.gone()
        _dead(world, _comfyvn(world, "projections", *command), dice.uniform(0.5, 3.0), alone=number % 2 == 1)
        if number % 2:
            world.server.start()
    _opens(world, "killed while read models were built anew")


def upgrade(world: World, dice: random.Random) -> None:
    """The server dies while it builds the read models of an older release anew."""
    _filled(world)
    for _ in range(TIMES):
        world.server.stop()
        world.gone()
        with contextlib.closing(sqlite3.connect(world.data / "read.db")) as base:
            base.execute("UPDATE projection_checkpoints SET version = 0 WHERE live = 1")
            base.commit()
        _dead(world, _serve(world), dice.uniform(1.5, 5.0))
    _opens(world, "killed while read models were upgraded")


def backup(world: World, dice: random.Random) -> None:
    """The console dies while it writes a backup, and while it reads one; then the restore goes on where it was."""
    _filled(world)
    place = world.folder / "backup.jsonl"
    for _ in range(TIMES):
        _dead(world, _comfyvn(world, "log", "export", str(place)), dice.uniform(0.3, 2.5), alone=True, but={"serve"})
    done = subprocess.run(_comfyvn(world, "log", "export", str(place)), env={**os.environ, **world.environment},
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"no backup after killed ones: {done.stderr}")
    if (leftover := place.with_name(place.name + ".partial")).exists():
        raise Broken(f"{leftover.name} is left")
    world.server.stop()
    world.gone()
    shutil.move(world.data, world.folder / "before")
    for _ in range(TIMES):
        _dead(world, _comfyvn(world, "log", "import", str(place)), dice.uniform(0.3, 3.0), alone=True)
    done = subprocess.run(_comfyvn(world, "log", "import", str(place)), env={**os.environ, **world.environment},
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"the restore does not go on: {done.stdout}{done.stderr}")
    _opens(world, "restored by an import that was killed")
    again = world.folder / "again.jsonl"
    subprocess.run(_comfyvn(world, "log", "export", str(again)), env={**os.environ, **world.environment},
                   capture_output=True, check=True)
    if not again.read_bytes().startswith(place.read_bytes()):
        raise Broken("the restored log is another one")


MOMENTS: dict[str, Moment] = {
    "first_start": first_start, "rebuild": rebuild, "upgrade": upgrade, "backup": backup,
}


def _serve(world: World) -> list[str]:
    return [sys.executable, "-m", "gateways.cli", "serve", "--data", str(world.data), "--port", "0", "--json"]


def _comfyvn(world: World, *words: str) -> list[str]:
    return [sys.executable, "-m", "gateways.cli", *words, "--data", str(world.data)]


def _dead(world: World, command: list[str], seconds: float, *, alone: bool = True, but: set[str] | None = None) -> None:
    """Runs a command and kills it after so long, whatever it has begun; waits until nothing of it is left."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**os.environ, **world.environment})
    time.sleep(seconds)
    running.send_signal(signal.SIGKILL)
    running.wait()
    if alone and not (but and world.of("serve")):
        world.gone()


def _filled(world: World) -> None:
    """A studio that has something to lose: a few thousand events."""
    world.server.start()
    with httpx.Client(base_url=world.url, timeout=60) as http:
        nodes = [{"id": f"n{one}", "text": "…", "end": True} for one in range(50)]
        http.post("/api/scenes", json={"id": "s", "start": "n0", "nodes": nodes}).raise_for_status()
        for number in range(30):
            edits = [{"command": "EditNode", "scene_id": "s", "node_id": f"n{n}", "text": f"{number} {n}"}
                     for n in range(50)]
            http.post("/api/commands", json={"commands": edits}).raise_for_status()
    world.answers()


def _opens(world: World, why: str) -> None:
    """The studio opens, takes a command, and its read models and its chain are what they should be."""
    if not world.of("serve"):
        world.server.start()
    world.answers()
    with httpx.Client(base_url=world.url, timeout=60) as http:
        answer = http.post("/api/pov/worlds", json={"worldline_id": f"w{time.monotonic_ns()}"})
        if answer.status_code != 201:
            raise Broken(f"{why}: {answer.status_code} {answer.text}")
    world.answers()
    wrong = verdicts.commands(world.data, world.environment)
    if code := world.server.stop():
        wrong.append(f"the server ended with {code}")
    world.gone()
    wrong += [f"left behind: {one}" for one in verdicts.left_over(world.data) if _young(world.data / one)]
    if wrong:
        raise Broken(f"{why}: " + "\n".join(wrong))


def _young(place: Path) -> bool:
    """What is swept when it is old may lie there until then."""
    return not place.name.startswith("blob-")


