"""Serving: one process with the HTTP door, which keeps the embedded log and a worker process running beside it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
import uvicorn
from pydantic import SecretStr

from domain.errors import Refused, Remedy, Unavailable
from services.access import TokenBook, is_loopback
from services.bootstrap import Opened, open_everything, reach_tokens
from services.settings import Settings
from services.studio import FIRST_MOMENT_SECONDS
from services.supervisor import Child, run_until_told

if TYPE_CHECKING:
    from gateways.http.app import StudioApp

GRACE_SECONDS: Final = 3
"""How long open requests and streams may go on once the server is told to end."""

log = structlog.get_logger("serve")


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handling: the whole house ends together, in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bound(host: str, port: int) -> socket.socket:
    """A socket bound to an address; raises ``Refused`` when the port is taken, ``Unavailable`` for a strange host."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        # Listening at once settles who owns the port; requests wait in the backlog until the door opens.
        listening.listen(2048)
    except socket.gaierror as error:
        raise Unavailable(
            f"{host} is no address of this machine: {error.strerror}.", error="unknown_host",
            remediation=[Remedy("Use --host 127.0.0.1 for this machine alone, 0.0.0.0 for every network.", "set_host")],
        ) from error
    except OSError as error:
        raise Refused(
            f"Cannot listen on {host} port {port}: {os.strerror(error.errno) if error.errno else error}.",
            error="address_in_use",
            remediation=[Remedy("Choose another with --port; --port 0 takes a free one.", "set_port")],
            detail={"host": host, "port": port},
        ) from error
    listening.setblocking(False)
    return listening


def guard(host: str, access: TokenBook) -> None:
    """Raises ``Refused`` for a door that others can reach while there is no token to open it with."""
    if is_loopback(host) or any(token.good_at(access.clock()) for token in access.list()):
        return
    raise Refused(
        f"Others can reach {host}, and there is no token yet.", error="token_needed",
        remediation=[
            Remedy("Make one: `comfyvn token create --name NAME --scope '*'`.", "create_token"),
            Remedy("Or listen on this machine alone: --host 127.0.0.1.", "set_host"),
        ],
        detail={"host": host},
    )


def address_of(listening: socket.socket) -> str:
    """The URL at which a bound socket is reached from this machine."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@dataclass(frozen=True, slots=True)
class Ready:
    """A server that answers. ``log`` and ``read_side`` say which kind: embedded or outside, sqlite or postgresql."""

    url: str
    data: str
    host: str
    port: int
    pid: int
    worker: bool
    log: str
    read_side: str


Told = Callable[[Ready, Opened], Awaitable[bool]]
"""Called when the door is open, with the studio behind it; answers whether to go on serving."""


async def serve(settings: Settings, *, worker: bool, told: Told) -> None:
    """Serves until SIGINT or SIGTERM, then ends the door, the worker and the embedded log in that order.

    Raises ``Refused`` when the folder is in use, the port is taken or a door beyond loopback has no token yet, and
    ``Unavailable`` when a server that is needed does not answer.
    """
    await run_until_told(_serve(settings, worker, told))


async def _serve(settings: Settings, worker: bool, told: Told) -> None:
    # The web framework takes half a second that no other command should pay.
    from gateways.http.app import create_app
    from gateways.http.connections import Bounds, room_for_connections
    from gateways.http.hub import SUBSCRIBERS, Hub

    with contextlib.closing(bound(settings.host, settings.port)) as listening:
        async with open_everything(settings, role="server", projecting=False) as opened:
            access = reach_tokens(settings)
            guard(settings.host, access)
            opened.studio.first_moment_seconds = FIRST_MOMENT_SECONDS if worker else 0.0
            child = Child("worker", worker_command(settings), worker_environment(settings))
            connections = room_for_connections()
            app = create_app(
                opened.studio, access=access, worker_status=lambda: _children(child, opened, worker),
                # Streams stay, so they leave some connections to everybody else.
                hub=Hub(opened.studio.log, subscribers=min(SUBSCRIBERS, connections * 3 // 4)),
            )
            bounds = Bounds(app, connections=connections, timeout_graceful_shutdown=GRACE_SECONDS,
                            ws_max_size=2**20)
            async with _beside([child.run()] if worker else []), _door(app, bounds, listening) as door:
                ready = _ready(settings, opened, listening, worker)
                opened.announce(ready.url, asdict(ready))
                try:
                    if await told(ready, opened):
                        await door
                finally:
                    opened.withdraw()


@contextlib.asynccontextmanager
async def _door(
    app: StudioApp, bounds: uvicorn.Config, listening: socket.socket
) -> AsyncIterator[asyncio.Future[None]]:
    """The HTTP door, open; at the end it finishes what is under way within the grace and closes."""
    server = _Server(bounds)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await _opened(server, serving)
        collect_rarely()
        yield asyncio.shield(serving)
    finally:
        app.begin_closing()
        server.should_exit = True
        await serving


def collect_rarely() -> None:
    """Lets the cycle collector pass over what was made at the start, and look at the rest less often.

    Folded aggregates are many small objects that live long and hold no cycles: looking through them again and again
    took a fifth of a command's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


async def _opened(server: _Server, serving: asyncio.Task[None]) -> None:
    while not server.started:
        if serving.done():
            await serving
            raise Unavailable("The HTTP door did not open.", error="door_closed")
        await asyncio.sleep(0.01)


def _children(child: Child, opened: Opened, worker: bool) -> dict[str, Any]:
    """What ``/status`` tells of the processes beside the door."""
    server = opened.reached.server
    log_server = None if server is None else {"pid": server.pid or None, "restarts": server.restarts}
    told = child.told() if worker else {"name": "worker", "state": "elsewhere", "pid": None, "restarts": 0}
    return told | {"log_server": log_server}


@contextlib.asynccontextmanager
async def _beside(works: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def worker_command(settings: Settings) -> list[str]:
    """How the worker process is started: this interpreter, this folder, whatever the current directory is."""
    folder = str(settings.data.absolute())
    return [sys.executable, "-P", "-m", "gateways.cli", "work", "--with-parent", "--data", folder]


def worker_environment(settings: Settings) -> dict[str, str]:
    """The worker reads the same settings as the server: the environment and the file; options are handed on."""
    given = {name: getattr(settings, name) for name, origin in settings.origins.items() if origin == "option"}
    passed = {name: value for name, value in given.items() if name not in ("data", "host", "port")}
    return os.environ | {f"COMFYVN_{name.upper()}": _text(value) for name, value in passed.items()}


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _ready(settings: Settings, opened: Opened, listening: socket.socket, worker: bool) -> Ready:
    database = settings.database_url.get_secret_value() if settings.database_url else "sqlite"
    return Ready(
        address_of(listening), str(settings.data.absolute()), settings.host,
        listening.getsockname()[1], os.getpid(), worker,
        "outside" if settings.nats_servers else "embedded",
        database.partition(":")[0].partition("+")[0],
    )
