"""The log, and whose it is: an outside one, our own child, or that of the process that holds the data folder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import monotonic
from typing import Final

from adapters.files.folder import DataFolder, read_json
from adapters.files.lock import FolderLock, Holder, Role, holder_of, in_use
from adapters.nats.embedded import EmbeddedServer
from adapters.nats.leftover import read_details
from adapters.nats.log import JetStreamLog
from domain.errors import NotFound, Refused, Remedy, Unavailable
from services.bootstrap.ports import folder_of, is_shared
from services.settings import Settings

PATIENCE_SECONDS: Final = 15.0
"""How long a command waits for a server that is starting, or for another console command to be done."""


@dataclass(slots=True)
class Reached:
    """The log, and what stands behind it.

    ``attached_to`` is the process whose embedded log this one uses; ``lock`` is held when the data folder is ours;
    ``server`` is the embedded nats-server when it is our child; ``servers`` are the URLs of the log, with credentials.
    """

    folder: DataFolder
    log: JetStreamLog
    servers: tuple[str, ...]
    attached_to: Holder | None
    lock: FolderLock | None
    server: EmbeddedServer | None


async def reach_log(
    settings: Settings, stack: AsyncExitStack, *, role: Role = "console", create: bool = True, hold: bool = True
) -> Reached:
    """The log that the settings name, and what had to be held or started for it. See ``open_everything``."""
    folder = folder_of(settings)
    if not create and not settings.nats_servers and not folder.nats.is_dir():
        raise _no_studio(folder)
    await asyncio.to_thread(folder.prepare)
    if settings.nats_servers:
        lock = None
        if role == "server" and not is_shared(settings):
            lock = await _held(folder, role, stack)
        jetstream = await _connected(settings, settings.nats_servers, stack)
        return Reached(folder, jetstream, settings.nats_servers, None, lock, None)
    deadline = monotonic() + PATIENCE_SECONDS
    while True:
        lock = FolderLock(folder.lock)
        holder = await asyncio.to_thread(lock.try_acquire, role) if hold \
            else await asyncio.to_thread(holder_of, folder.lock)
        if holder is None and hold:
            stack.callback(lock.release)
            return await _own(settings, folder, lock, stack)
        if holder is None:
            if monotonic() > deadline:
                raise _nobody(folder)
        elif role != "server" and holder.role != "console":
            reached = await _attached(settings, folder, holder, deadline, stack)
            if reached is not None:
                return reached
        elif holder.role != "console" or monotonic() > deadline:
            raise in_use(folder.root, holder)
        await asyncio.sleep(0.05)


def _no_studio(folder: DataFolder) -> NotFound:
    return NotFound(
        f"There is no studio in {folder.root}.", error="no_studio",
        remediation=[
            Remedy("Name the data folder with --data or COMFYVN_DATA.", "choose_data_folder"),
            Remedy("`comfyvn serve --data DIR` starts a new studio.", "serve"),
        ],
        detail={"folder": str(folder.root)},
    )


def _nobody(folder: DataFolder) -> Unavailable:
    return Unavailable(
        f"Nobody serves the studio in {folder.root}, and this process only helps who does.", error="nobody_serves",
        remediation=[
            Remedy("Start `comfyvn serve` (or `comfyvn work`) on the folder first.", "serve"),
            Remedy("Or name the folder of a studio that is served, with --data.", "choose_data_folder"),
        ],
        detail={"folder": str(folder.root)},
    )


async def _held(folder: DataFolder, role: Role, stack: AsyncExitStack) -> FolderLock:
    lock = FolderLock(folder.lock)
    await asyncio.to_thread(lock.acquire, role)
    stack.callback(lock.release)
    return lock


async def _own(settings: Settings, folder: DataFolder, lock: FolderLock, stack: AsyncExitStack) -> Reached:
    """Starts the embedded server for as long as this process wants it, and keeps it running."""
    server = await EmbeddedServer.start(folder.nats)
    stack.push_async_callback(server.stop)
    jetstream = await _connected(settings, [server.url], stack)
    jetstream.sync_interval = server.sync_interval
    jetstream.stands_on(folder.nats)
    return Reached(folder, jetstream, (server.url,), None, lock, server)


async def _attached(
    settings: Settings, folder: DataFolder, holder: Holder, deadline: float, stack: AsyncExitStack
) -> Reached | None:
    """The embedded log of the process that holds the folder; nothing while that is still starting."""
    announced = read_json(folder.server) or {}
    if announced.get("pid") == holder.pid and announced.get("log") == "outside":
        raise Refused(
            f"{holder} uses an outside log, and this command was not told which.", error="outside_log",
            remediation=[Remedy("Set COMFYVN_NATS_URL as for the server, or write nats_url into comfyvn.toml.",
                                "check_settings")],
        )
    told = read_details(folder.nats)
    try:
        # Details of an earlier holder may still lie there while this one starts.
        if told.get("owner") == holder.pid:
            jetstream = await _connected(settings, [told["url"]], stack)
            jetstream.sync_interval = told.get("sync_interval")
            jetstream.stands_on(folder.nats)
            return Reached(folder, jetstream, (told["url"],), holder, None, None)
    except Unavailable:
        pass
    if monotonic() > deadline:
        raise Unavailable(
            f"The log of {holder} does not answer.", error="log_unreachable",
            remediation=[Remedy("Look at what that process says, or stop it and try again.", "doctor")],
        )
    return None


async def _connected(settings: Settings, servers: Sequence[str], stack: AsyncExitStack) -> JetStreamLog:
    jetstream = await JetStreamLog.connect(
        list(servers), stream=settings.nats_stream, replicas=settings.nats_replicas, event_limit=settings.event_limit
    )
    stack.push_async_callback(jetstream.close)
    return jetstream
