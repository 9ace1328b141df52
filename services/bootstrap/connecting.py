"""What is reached over connections of its own, each closed with the stack that it was reached on."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from adapters.engines.fal_signatures import FalSignatures
from adapters.files.private_key import private_key
from adapters.nats.inbox import JetStreamInboxes
from adapters.nats.leases import JetStreamLeases
from adapters.sql.read_models import SqlReadModels
from services.bootstrap.log import Reached
from services.bootstrap.ports import database_url, folder_of, reach_blobs
from services.dispatcher import Dispatcher
from services.generation.webhooks import Webhooks
from services.generation.worker import Worker
from services.processes.declared import PROCESSES
from services.processes.runner import Runner, Surveyed
from services.registry import REGISTRY
from services.settings import Settings
from services.studio import Studio


async def reach_models(settings: Settings, stack: AsyncExitStack) -> SqlReadModels:
    """The read side; raises ``Unavailable``."""
    folder = await asyncio.to_thread(folder_of(settings).prepare)
    models = await asyncio.to_thread(SqlReadModels, database_url(settings, folder))
    stack.push_async_callback(asyncio.to_thread, models.close)
    return models


async def reach_runner(studio: Studio, reached: Reached, stack: AsyncExitStack) -> Runner:
    """What runs and surveys processes, on a connection of its own; raises ``Unavailable``."""
    inboxes = await JetStreamInboxes.connect(reached.servers, stream=studio.settings.nats_stream)
    stack.push_async_callback(inboxes.close)
    return Runner(studio, inboxes, PROCESSES)


async def reach_worker(studio: Studio, reached: Reached, stack: AsyncExitStack) -> Worker:
    """A worker for jobs, not running yet, on connections of its own; raises ``Unavailable``."""
    settings = studio.settings
    inboxes = await JetStreamInboxes.connect(reached.servers, stream=settings.nats_stream)
    stack.push_async_callback(inboxes.close)
    leases = await JetStreamLeases.connect(
        reached.servers, stream=settings.nats_stream, seconds=settings.lease_seconds
    )
    stack.push_async_callback(leases.close)
    return Worker(studio, leases, inboxes, at_once=settings.worker_jobs)


async def reach_webhooks(
    settings: Settings, reached: Reached, stack: AsyncExitStack, *, hearing: bool
) -> Webhooks | None:
    """Where engines may call, when a public address is set; with ``hearing`` their calls wake workers. Raises
    ``Unavailable``."""
    if settings.public_url is None:
        return None
    key = await asyncio.to_thread(private_key, reached.folder.root / "webhooks.key")

    async def nobody(_: str) -> None:
        """This process makes addresses alone."""

    if not hearing:
        return Webhooks(settings.public_url, key, nobody)
    leases = await JetStreamLeases.connect(
        reached.servers, stream=settings.nats_stream, seconds=settings.lease_seconds
    )
    stack.push_async_callback(leases.close)
    fal = FalSignatures()
    stack.push_async_callback(fal.close)
    return Webhooks(settings.public_url, key, leases.wake, {"provider_fal": fal})


async def survey(reached: Reached, settings: Settings, stack: AsyncExitStack) -> list[Surveyed]:
    """How every process stands, also when the read side does not answer; raises ``Unavailable``."""
    models = await reach_models(settings, stack)  # connects when it is first used, and here it never is
    studio = Studio(settings, REGISTRY, reached.log, Dispatcher(reached.log, REGISTRY), models, reach_blobs(settings))
    return await (await reach_runner(studio, reached, stack)).survey()
