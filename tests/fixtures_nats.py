"""Real NATS servers for the tests: one embedded server and one cluster of three per run, emptied for each test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import orjson
import pytest

from adapters.nats import connection as connections
from adapters.nats import stream as streams
from adapters.nats.background import LoopThread
from adapters.nats.embedded import EmbeddedServer, find_binary
from adapters.nats.leftover import die_with_parent
from adapters.nats.log import JetStreamLog
from domain.errors import Unavailable

_numbers = count(1)


class Server:
    """One embedded nats-server; ``stream`` is a name that no other test has used."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.embedded = server
        self.stream = f"TEST{next(_numbers)}"
        self.replicas = 1

    @property
    def urls(self) -> list[str]:
        return [self.embedded.url]

    @property
    def url(self) -> str:
        return self.embedded.url

    async def connect(self, **options: object) -> JetStreamLog:
        """A new connection to this test's log."""
        return await JetStreamLog.connect(self.urls, stream=self.stream, **options)  # type: ignore[arg-type]

    def kill(self) -> None:
        """``kill -9``; the embedded server is started again by its watcher."""
        os.kill(self.embedded.pid, signal.SIGKILL)


class Cluster:
    """Three nodes with routes between them, each a process that can be killed and started again."""

    TOKEN = "cluster-of-the-tests"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stream = ""
        self.replicas = 3
        ports = free_ports(6)
        self.ports, self._routes = ports[:3], ports[3:]
        self._nodes: list[subprocess.Popen[bytes] | None] = [None, None, None]

    @property
    def urls(self) -> list[str]:
        return [f"nats://{self.TOKEN}@127.0.0.1:{port}" for port in self.ports]

    @property
    def url(self) -> str:
        return ",".join(self.urls)

    async def connect(self, **options: object) -> JetStreamLog:
        """A new connection to this test's log, with three copies."""
        return await JetStreamLog.connect(self.urls, stream=self.stream, **options)  # type: ignore[arg-type]

    def start(self, index: int) -> None:
        """Starts a node that does not run."""
        home = self.folder / f"n{index}"
        home.mkdir(exist_ok=True)
        routes = json.dumps([f"nats://127.0.0.1:{port}" for port in self._routes])
        (home / "nats.conf").write_text(f"""
server_name: n{index}
listen: "127.0.0.1:{self.ports[index]}"
authorization {{ token: "{self.TOKEN}" }}
max_payload: 2097152
log_file: "{home}/log"
cluster {{ name: tests, listen: "127.0.0.1:{self._routes[index]}", routes: {routes} }}
jetstream {{ store_dir: "{home}/store", sync_interval: always }}
""")
        self._nodes[index] = started(home / "nats.conf")

    def kill(self, index: int) -> None:
        """``kill -9`` of one node; it stays away until ``start``."""
        node = self._nodes[index]
        if node is not None:
            node.kill()
            node.wait()
            self._nodes[index] = None

    def heal(self) -> None:
        """Starts every node that does not run and waits until JetStream takes streams of three."""
        for index, node in enumerate(self._nodes):
            if node is None:
                self.start(index)
        asyncio.run(self._whole())

    async def leader(self, stream: str) -> int:
        """Which node leads a stream."""
        connection = await connections.connect(self.urls, name="tests")
        try:
            while True:
                with contextlib.suppress(streams.ApiError, TimeoutError, connections.Lost, connections.Unanswered):
                    leader = (await streams.info(connection, stream, seconds=2)).cluster.get("leader", "")
                    if leader:
                        return int(leader.removeprefix("n"))
                await asyncio.sleep(0.05)
        finally:
            await connection.close()

    async def _whole(self) -> None:
        end = time.monotonic() + 180
        probe = {"name": "PROBE", "subjects": ["probe"], "num_replicas": 3, "storage": "memory"}
        while True:
            with contextlib.suppress(Unavailable):
                connection = await connections.connect(self.urls, name="tests", seconds=2)
                try:
                    while time.monotonic() < end:
                        try:
                            await streams.api(connection, "STREAM.CREATE.PROBE", probe, seconds=2)
                            await streams.api(connection, "STREAM.DELETE.PROBE", seconds=2)
                            return
                        except (streams.ApiError, TimeoutError, connections.Lost, connections.Unanswered):
                            await asyncio.sleep(0.05)
                finally:
                    await connection.close()
            assert time.monotonic() < end, "the cluster does not come together"

    def stop(self) -> None:
        """Ends all nodes."""
        for index in range(3):
            self.kill(index)


def started(config: Path) -> subprocess.Popen[bytes]:
    """A nats-server on a configuration; on Linux it ends with the tests, however they end."""
    return subprocess.Popen(
        [str(find_binary()), "-c", str(config)], start_new_session=True,
        preexec_fn=partial(die_with_parent, os.getpid()) if sys.platform == "linux" else None,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )


def free_ports(number: int) -> list[int]:
    """Ports of the loopback address that nobody listens on, below those that the system hands out: until they are
    used, nobody gets one of them by chance."""
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < number:
            one, port = stack.enter_context(socket.socket()), secrets.choice(range(20_000, 32_000))
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
        return found


async def forget_everything(urls: list[str]) -> None:
    """Deletes every stream of a server or cluster."""
    connection = await connections.connect(urls, name="tests")
    try:
        _, answer = await connection.ask("$JS.API.STREAM.NAMES")
        for name in orjson.loads(answer).get("streams") or []:
            await streams.api(connection, f"STREAM.DELETE.{name}")
    finally:
        await connection.close()


def eventually(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to be so in time"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def _nats_server() -> Iterator[EmbeddedServer]:
    folder = Path(tempfile.mkdtemp(prefix="comfyvn-nats-"))
    background = LoopThread("nats-server of the tests")
    server = background.wait(EmbeddedServer.start(folder))
    try:
        yield server
    finally:
        background.wait(server.stop())
        background.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def nats_server(_nats_server: EmbeddedServer) -> Server:
    """One server with nothing on it. It holds one log at a time: every log takes the subjects ``vn.>``."""
    eventually(lambda: _nats_server.pid != 0)
    asyncio.run(forget_everything([_nats_server.url]))
    return Server(_nats_server)


@pytest.fixture(scope="session")
def _nats_cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="comfyvn-cluster-"))
    cluster = Cluster(folder)
    try:
        cluster.heal()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def nats_cluster(_nats_cluster: Cluster) -> Cluster:
    """Three nodes, all of them up, with nothing on them."""
    _nats_cluster.heal()
    asyncio.run(forget_everything(_nats_cluster.urls))
    _nats_cluster.stream = f"TEST{next(_numbers)}"
    return _nats_cluster


@contextlib.contextmanager
def plain_server(folder: Path, config: str) -> Iterator[str]:
    """A nats-server with a configuration of its own; gives its URL (without credentials)."""
    (port,) = free_ports(1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nats.conf").write_text(f'listen: "127.0.0.1:{port}"\nlog_file: "{folder}/log"\n{config}\n')
    process = started(folder / "nats.conf")
    try:
        eventually(lambda: _listens(port))
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0
