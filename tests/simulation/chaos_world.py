"""A studio of real processes that are killed, and whoever starts them again: server, workers, and a log of its own."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from fixtures_nats import free_ports, started
from fixtures_studio import RunningServer, is_alive

from adapters.files.lock import holder_of

LEASE_SECONDS = 1.5
GONE_SECONDS = 45.0
"""How long what belongs to a killed server may take to end: a worker gives its jobs back first."""

MARK = "CHAOS_RUN"
"""Stands in the environment of every process of a run, and its folder in most command lines."""


class Process(NamedTuple):
    """One process of the run, by what it is."""

    pid: int
    what: str
    command: str


class Broken(AssertionError):
    """A promise that was not kept."""


@dataclass
class World:
    """One studio below ``folder``. ``outside``: its log is a nats-server that nobody of ours looks after."""

    folder: Path
    outside: bool = False
    database: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    server: RunningServer = field(init=False)
    extra: subprocess.Popen[str] | None = None
    log: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)
    said: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.environment[MARK] = str(self.folder)
        self.environment["XDG_CONFIG_HOME"] = str(self.folder / "configuration")
        self.environment["COMFYVN_LEASE_SECONDS"] = str(LEASE_SECONDS)
        self.environment["COMFYVN_LOG_LEVEL"] = "warning"
        if self.database:
            self.environment["COMFYVN_DATABASE_URL"] = self.database
        if self.outside:
            (self._port,) = free_ports(1)
            self.environment["COMFYVN_NATS_URL"] = f"nats://127.0.0.1:{self._port}"
        self.server = RunningServer(self.data, environment=self.environment)

    @property
    def data(self) -> Path:
        return self.folder / "studio"

    @property
    def url(self) -> str:
        return str(self.server.ready.get("url", "http://127.0.0.1:9"))

    @property
    def nats_url(self) -> str:
        """Where the log is now."""
        return self.environment["COMFYVN_NATS_URL"] if self.outside else str(self.server.nats()["url"])

    # --- who runs -------------------------------------------------------------------------------------------------

    def processes(self) -> list[Process]:
        """Everything of this run that is alive, but for this process and what it asks."""
        found = []
        for place in Path("/proc").iterdir():
            if not place.name.isdigit() or int(place.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                mark = f"{MARK}={self.folder}".encode()
                if (str(self.folder) in command or mark in (place / "environ").read_bytes().split(b"\0")) \
                        and is_alive(int(place.name)):
                    found.append(Process(int(place.name), _what(command), command[:200]))
        return found

    def of(self, what: str) -> list[Process]:
        """Those of one kind: ``serve``, ``worker``, ``nats``, ``attempt``, ``extra``, ``other``."""
        return [one for one in self.processes() if one.what == what]

    # --- starting -------------------------------------------------------------------------------------------------

    def mended(self) -> None:
        """Starts again whoever has died, and sees to it that a dead server leaves nobody behind. Blocking."""
        if self.server.process is None or self.server.process.poll() is not None:
            holder = holder_of(self.data / "lock")
            if self.extra is not None and holder is not None and holder.pid == self.extra.pid:
                self.extra.terminate()  # it began while there was no server, and runs the log by itself
                self.extra.wait(60)
            self.gone()
            began = time.monotonic()
            self.server.start()
            self.starts.append(time.monotonic() - began)
        if self.extra is None or self.extra.poll() is not None:
            self._start_extra()

    def gone(self) -> None:
        """Waits until nothing of a dead server is left but who does not belong to it."""
        stays = {"extra", "nats"} if self.outside else {"extra"}
        deadline = time.monotonic() + GONE_SECONDS
        extra = self.extra.pid if self.extra is not None else 0
        while left := [one for one in self.processes() if one.what not in stays and not _below(one.pid, extra)]:
            if time.monotonic() > deadline:
                raise Broken(f"orphans {GONE_SECONDS:.0f} s after their server had died: {left}")
            time.sleep(0.05)

    def interrupted(self, seconds: float) -> None:
        """A start that everything is killed in after so long."""
        command = [sys.executable, "-m", "gateways.cli", "serve", "--data", str(self.data), "--port", "0", "--json"]
        starting = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                    env={**os.environ, **self.environment})
        time.sleep(seconds)
        starting.kill()
        starting.wait()

    def stop(self) -> int:
        """Ends everything in order; the server's exit code."""
        if self.extra is not None and self.extra.poll() is None:
            self.extra.terminate()
            self.extra.wait(60)
        code = self.server.stop() if self.server.process is not None else 0
        self.gone()
        if self.log is not None:
            self.log.terminate()
            self.log.wait(60)
        return code

    def abandon(self) -> None:
        """Ends everything without a word, whatever it is doing."""
        for one in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)

    def answers(self, seconds: float = 90) -> int:
        """Waits until the studio answers, with its read models counted; the log's end."""
        deadline = time.monotonic() + seconds
        why = ""
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError, KeyError), httpx.Client(base_url=self.url, timeout=60) as http:
                status = http.get("/status")
                told: dict[str, Any] = status.json()
                head = told["log"]["position"]
                behind = [one for one in told["projections"] if one["lag"] != 0 or one["status"] != "live"]
                why = f"log {told['log']}, behind {behind}"
                if head is not None and not behind:
                    return int(head)
            time.sleep(0.2)
        raise Broken(f"the studio does not answer after {seconds:.0f} s: {why}")

    def keep_log(self) -> None:
        """Starts the outside log where it does not run; it ends with the thread that does this."""
        if not self.outside or (self.log is not None and self.log.poll() is None):
            return
        home = self.folder / "outside"
        home.mkdir(exist_ok=True)
        (home / "nats.conf").write_text(
            f'listen: "127.0.0.1:{self._port}"\nmax_payload: 2097152\nlog_file: "{home}/log"\n'
            f'jetstream {{ store_dir: "{home}/store", sync_interval: always }}\n'
        )
        self.log = started(home / "nats.conf")

    def _start_extra(self) -> None:
        command = [sys.executable, "-m", "tests.engines.working_child", str(self.data), str(self.folder / "engines"),
                   str(LEASE_SECONDS)]
        environment = {**os.environ, **self.environment, "PYTHONPATH": os.pathsep.join([".", "tests"])}
        self.extra = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                      env=environment)
        assert self.extra.stdout is not None
        self.extra.stdout.readline()  # attached: else it would hold the folder when the server dies now


# --- blows --------------------------------------------------------------------------------------------------------


def blow(world: World, dice: random.Random) -> str:
    """Somebody is hit, somehow; what was done, as a sentence. Who is stopped goes on before this returns."""
    kinds = ["serve", "worker", "worker", "nats", "nats", "attempt", "extra"]
    match dice.randrange(8):
        case 0:
            hit = world.processes() if not world.outside else [one for one in world.processes() if one.what != "nats"]
            dice.shuffle(hit)
            return _strike(world, hit, signal.SIGKILL, "everything")
        case 1 | 2:
            return _rest(world, _one(world, dice.choice(kinds)), dice.uniform(0.3, 7.0))
        case 3:
            what = dice.choice(kinds)
            return _strike(world, _one(world, what), signal.SIGTERM, what)
        case _:
            what = dice.choice(kinds)
            return _strike(world, _one(world, what), signal.SIGKILL, what)


def _one(world: World, what: str) -> list[Process]:
    return world.of(what)[:1] or world.of("worker")[:1]


def _strike(world: World, hit: list[Process], number: signal.Signals, who: str) -> str:
    for one in hit:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, number)
    for running in (world.server.process, world.extra, world.log):
        if running is not None and number != signal.SIGSTOP and running.pid in {one.pid for one in hit}:
            code = running.wait(60)
            if running is world.server.process and number == signal.SIGTERM and code:
                raise Broken(f"SIGTERM ended the server with {code}:\n{world.server.said()[-3000:]}")
    return f"{number.name} to {who} ({', '.join(f'{one.what} {one.pid}' for one in hit)})"


def _rest(world: World, hit: list[Process], seconds: float) -> str:
    told = _strike(world, hit, signal.SIGSTOP, "one")
    time.sleep(seconds)
    for one in hit:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGCONT)
    return f"{told}, for {seconds:.1f} s"


def _what(command: str) -> str:
    for words, what in ((" serve ", "serve"), (" work ", "worker"), ("working_child", "extra"),
                        ("nats-server", "nats"), ("/attempts/", "attempt")):
        if words in command:
            return what
    return "other"


def _below(pid: int, above: int) -> bool:
    """Whether a process descends from another one."""
    while pid > 1:
        if pid == above:
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return False
    return False
