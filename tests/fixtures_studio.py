"""Studios for the tests: opened in this process on a real embedded log, or served by real `comfyvn` processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest

from services.settings import Settings

if TYPE_CHECKING:
    from services.bootstrap import Opened

PATIENCE_SECONDS = 60.0
"""Longest wait for something that is bound to happen; a machine that is busy must not fail a test."""

PATIENT = ("COMFYVN_WAIT_SECONDS", "45")
"""A reader that names a position waits for it, however busy the machine that runs the tests."""

StudioFactory = Callable[..., "AbstractAsyncContextManager[Opened]"]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests set what they need; a developer's own COMFYVN_… variables stay out, and so do the keys that sign."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "configuration"))
    for name in [name for name in os.environ if name.upper().startswith("COMFYVN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(*PATIENT)


@pytest.fixture
def studio_factory(tmp_path: Path) -> StudioFactory:
    """``async with studio_factory() as opened``: a studio on a real embedded log in a folder of its own.

    ``data`` opens another folder (or the same one again); settings and the arguments of ``open_everything`` pass.
    """
    from services.bootstrap import open_everything  # every adapter comes with it: only tests that open a studio pay

    wiring = ("projecting", "processes", "auditing", "role", "create", "hold")

    @asynccontextmanager
    async def opened(data: Path | None = None, **given: Any) -> AsyncIterator[Opened]:
        how = {name: given.pop(name) for name in wiring if name in given}
        async with open_everything(Settings.load(data=data or tmp_path / "studio", **given), **how) as one:
            yield one

    return opened


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the sample project ``demo``; not to be opened: ``a_sample`` gives a copy."""
    from services.bootstrap import open_everything
    from services.demo import load_demo

    folder = tmp_path_factory.mktemp("sample") / "studio"

    async def load() -> None:
        async with open_everything(Settings.load(data=folder), processes=False) as opened:
            await load_demo(opened.studio)
            await opened.counted_everything()

    asyncio.run(load())
    return folder


@pytest.fixture
def a_sample(sample: Path, tmp_path: Path) -> Path:
    """A data folder with the sample project ``demo``, of the test's own."""
    shutil.copytree(sample, tmp_path / "sample")
    return tmp_path / "sample"


def wait_until(true: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """The first truthy answer; fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        if found := true():
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Running:
    """A real `comfyvn` command that goes on until it is told to end, with the means to hurt it."""

    def __init__(self, command: str, data: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        self.command = command
        self.data = data
        self.options = options
        self.environment = {**os.environ, **dict([PATIENT]), **(environment or {})}
        self.process: subprocess.Popen[str] | None = None
        self.ready: dict[str, Any] = {}
        self.errors: list[str] = []

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> Self:
        """Starts it and waits until it says that it is ready."""
        command = [sys.executable, "-m", "gateways.cli", self.command, "--data", str(self.data), "--json"]
        self.process = subprocess.Popen(
            [*command, *self.options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment,
        )
        self._draining = threading.Thread(target=self._drain, args=(self.process,), daemon=True)
        self._draining.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait(PATIENCE_SECONDS)
            self._draining.join(PATIENCE_SECONDS)
            raise AssertionError(f"`comfyvn {self.command}` ended with {code} before it was ready:\n{self.said()}")
        self.ready = json.loads(line)
        return self

    def restart(self) -> Self:
        """Starts it again on the same folder after it was killed or stopped."""
        return self.start()

    def _drain(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self.errors.extend(process.stderr)

    def said(self) -> str:
        """Everything on its standard error so far."""
        return "".join(self.errors)

    def kill(self) -> None:
        """kill -9."""
        self._signal(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        return self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._draining.join(PATIENCE_SECONDS)
        return code


class RunningWorker(Running):
    """A real `comfyvn work`, or `comfyvn worker`."""

    def __init__(self, data: Path, command: str = "work", environment: dict[str, str] | None = None) -> None:
        super().__init__(command, data, environment=environment)


class RunningServer(Running):
    """A real `comfyvn serve` on a free port."""

    def __init__(self, data: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        super().__init__("serve", data, "--port", "0", *options, environment=environment)

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    def client(self, **given: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS, **given)

    def nats(self) -> dict[str, Any]:
        """Where its embedded log is: ``url``, ``pid``, …"""
        told: dict[str, Any] = json.loads((self.data / "nats" / "server.json").read_text())
        return told

    def worker(self) -> int:
        """Process id of its worker."""
        return int(wait_until(lambda: next(iter(self._workers()), 0), "a worker"))

    def _workers(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        found = []
        for child in children.read_text().split() if children.exists() else ():
            with contextlib.suppress(OSError):
                if b"\0work\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
        return found


@pytest.fixture
def server_factory(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """``server_factory(*options)``: a started server; all of them are ended after the test."""
    made: list[RunningServer] = []

    def start(*options: str, data: Path | None = None, **given: Any) -> RunningServer:
        running = RunningServer(data or tmp_path / "studio", *options, **given)
        made.append(running)
        return running.start()

    yield start
    for running in made:
        if running.process is not None and running.process.poll() is None:
            running.stop()
        print(running.said())  # shown with a test that failed


@pytest.fixture
def server(server_factory: Callable[..., RunningServer]) -> RunningServer:
    """One started server on a folder of its own."""
    return server_factory()


def comfyvn(*arguments: str, data: Path | None = None, **given: Any) -> subprocess.CompletedProcess[str]:
    """Runs one console command as a process of its own; standard output and error as text."""
    command = [sys.executable, "-m", "gateways.cli", *arguments]
    if data is not None:
        command += ["--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS * 2, check=False, **given)
