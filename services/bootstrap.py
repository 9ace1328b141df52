"""The root: the only place that knows which adapter stands behind which port, and the order of opening and closing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from time import monotonic
from typing import Any, Final

import structlog

from adapters.c2pa.credentials import OwnCredentials
from adapters.c2pa.keys import KeyFolder, default_folder
from adapters.downloads import WebSource
from adapters.engines.fal import Fal
from adapters.engines.fal_signatures import FalSignatures
from adapters.engines.kling import Kling
from adapters.engines.liveportrait.engine import LivePortrait
from adapters.engines.local_comfy.engine import LocalComfy
from adapters.engines.local_comfy.workflows import WorkflowFolder
from adapters.engines.runware import Runware
from adapters.engines.studio_local.engine import StudioLocal
from adapters.engines.synclabs import SyncLabs
from adapters.files.blobs import StoredBlobs
from adapters.files.chain import ChainFolder
from adapters.files.folder import DataFolder, read_json, write_private_json
from adapters.files.lock import FolderLock, Holder, Role, in_use
from adapters.files.models import ModelFolder
from adapters.files.private_key import private_key
from adapters.files.vault import FileVault
from adapters.nats.embedded import EmbeddedServer
from adapters.nats.inbox import JetStreamInboxes
from adapters.nats.leases import JetStreamLeases
from adapters.nats.leftover import read_details
from adapters.nats.log import JetStreamLog
from adapters.sql.read_models import SqlReadModels
from domain.errors import ComfyVNError, NotFound, Refused, Remedy, Unavailable
from domain.ports.engines import Engine
from domain.ports.secrets import Secrets
from services.access import TokenBook, scopes_of
from services.audit import Auditor
from services.dispatcher import Dispatcher
from services.generation.engines import Engines
from services.generation.webhooks import Webhooks
from services.generation.worker import Worker
from services.processes.declared import PROCESSES
from services.processes.runner import Runner, Surveyed
from services.projector import Projector
from services.receipts import TimelineReceipts
from services.registry import REGISTRY
from services.settings import Settings
from services.studio import Studio
from services.vault import Vault

PATIENCE_SECONDS: Final = 15.0
"""How long a command waits for a server that is starting, or for another console command to be done."""

AGAIN_SECONDS: Final = 15.0
"""How long a loop may take to end in order, with jobs in its hands, before it is told once more."""

log = structlog.get_logger("bootstrap")


class Background:
    """Loops that run beside the doors. One that ends by itself has failed, and whoever waits hears of it."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        self._tasks[name] = asyncio.create_task(work, name=name)

    async def failure(self) -> tuple[str, BaseException]:
        """Waits until a loop has ended by itself; its name and why."""
        if not self._tasks:
            await asyncio.Event().wait()
        done, _ = await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        task = next(iter(done))
        failed = None if task.cancelled() else task.exception()
        return task.get_name(), failed or RuntimeError(f"{task.get_name()} ended")

    async def close(self) -> None:
        """Ends the loops and waits. A cancellation can get lost in what a loop awaits: then it is repeated."""
        left = set(self._tasks.values())
        while left:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
            if left:
                log.warning("loops_not_ended", loops=sorted(task.get_name() for task in left))


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


@dataclass(slots=True)
class Opened:
    """A studio with what stands behind it and the loops beside it."""

    studio: Studio
    reached: Reached
    projector: Projector | None = None
    background: Background = field(default_factory=Background)
    worker: Worker | None = None

    @property
    def chain(self) -> ChainFolder:
        """Where the audit keeps its hashes."""
        return ChainFolder(self.reached.folder.audit)

    async def audit(self) -> None:
        """Keeps the chain of hashes for as long as it runs. One process of a data folder does; another one waits."""
        async with self._auditing():
            await Auditor(self.studio.log, self.chain).run()

    async def audited_everything(self) -> None:
        """Brings the chain of hashes to the log's end when this process is the only one here: nobody else would."""
        if self.reached.attached_to is None:
            async with self._auditing():
                await Auditor(self.studio.log, self.chain).catch_up()

    @asynccontextmanager
    async def _auditing(self) -> AsyncIterator[None]:
        await asyncio.to_thread(self.reached.folder.audit.mkdir, mode=0o700, parents=True, exist_ok=True)
        lock = FolderLock(self.reached.folder.audit / "lock")
        while await asyncio.to_thread(lock.try_acquire, "worker") is not None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(1)
        try:
            yield
        finally:
            lock.release()

    def announce(self, url: str, told: Mapping[str, Any]) -> None:
        """Says where the door is: in the lock's note and in the data folder's ``server.json``."""
        if self.reached.lock is not None:
            self.reached.lock.announce(url)
        write_private_json(self.reached.folder.server, told)

    def withdraw(self) -> None:
        """Takes ``server.json`` away again, unless another door has announced itself since."""
        if (read_json(self.reached.folder.server) or {}).get("pid") == os.getpid():
            self.reached.folder.server.unlink(missing_ok=True)

    async def counted_everything(self, projections: Sequence[str] | None = None) -> int:
        """Waits until read models have counted the whole log as it is now, however long that takes; its head.

        Raises ``Unavailable`` when nobody counts: the loop died, a projection is stopped, or nothing moves for long.
        """
        head = await self.studio.log.head()
        names = list(self.studio.registry.projections if projections is None else projections)
        moved, last = monotonic(), -1
        failing = asyncio.create_task(self.background.failure())
        try:
            while True:
                known = await asyncio.to_thread(self.studio.models.checkpoints)
                places = {name: known[name].position if name in known else 0 for name in names}
                if not (behind := sorted(name for name, place in places.items() if place < head)):
                    return head
                if sum(places.values()) != last:
                    moved, last = monotonic(), sum(places.values())
                stopped = [name for name in behind if name in known and known[name].status == "stopped"]
                if stopped or failing.done() or monotonic() - moved > self.studio.settings.wait_seconds * 2:
                    raise _not_counted(behind, stopped, head)
                await asyncio.sleep(0.02)
        finally:
            failing.cancel()


def _not_counted(behind: Sequence[str], stopped: Sequence[str], head: int) -> Unavailable:
    why = f"{', '.join(stopped)} is stopped" if stopped else f"{', '.join(behind)} has not counted position {head}"
    return Unavailable(
        f"The read side is behind: {why}.", error="read_side_behind",
        remediation=[Remedy("`comfyvn doctor` says what holds it up.", "doctor")],
        detail={"position": head, "behind": list(behind), "stopped": list(stopped)},
    )


@asynccontextmanager
async def open_studio(
    settings: Settings, *, projecting: bool = True, processes: bool = False, auditing: bool = False,
    role: Role = "console", create: bool = True,
) -> AsyncIterator[Studio]:
    """A studio on the servers that the settings name, closed in order at the end. See ``open_everything``."""
    async with open_everything(
        settings, projecting=projecting, processes=processes, auditing=auditing, role=role, create=create
    ) as opened:
        yield opened.studio


@asynccontextmanager
async def open_everything(
    settings: Settings, *, projecting: bool = True, processes: bool = False, auditing: bool = False,
    jobs: bool = False, role: Role = "console", create: bool = True,
) -> AsyncIterator[Opened]:
    """Opens the log, the read side and the blobs, and starts the loops that are asked for; closes all in order.

    On a data folder with an embedded log, a ``server`` takes the folder's lock or is refused; everybody else attaches
    to the process that holds it, or holds it and runs the embedded log for its own duration. Who attaches to a server
    does not project by itself, except a ``worker``. ``jobs``: jobs are worked on as well.
    Raises ``Refused`` (the folder is in use), ``Unavailable``, and without ``create`` ``NotFound`` for a folder where
    no studio has been.
    """
    async with AsyncExitStack() as stack:
        reached = await reach_log(settings, stack, role=role, create=create)
        models = await reach_models(settings, stack)
        dispatcher = Dispatcher(reached.log, REGISTRY, TimelineReceipts(models, settings.wait_seconds))
        stack.push_async_callback(dispatcher.close)
        vault = reach_vault(settings)
        if role != "console":
            await vault.known_to_redaction()
        engines = reach_engines(settings, vault)
        stack.push_async_callback(engines.close)
        studio = Studio(
            settings, REGISTRY, reached.log, dispatcher, models, reach_blobs(settings), engines=engines, vault=vault,
            credentials=reach_credentials(settings), model_files=reach_model_files(settings),
        )
        source = WebSource(vault, settings.model_origins)
        stack.push_async_callback(source.close)
        studio.source = source
        studio.webhooks = await reach_webhooks(settings, reached, stack, hearing=role == "server")
        opened = Opened(studio, reached)
        if role == "server":
            await asyncio.to_thread(_make_read_models, models)
        alone = reached.attached_to is None or role == "worker"
        # Reached before the loops' ending is promised: the connections must outlive the loops that use them.
        runner = await reach_runner(studio, reached, stack) if processes and alone else None
        opened.worker = await reach_worker(studio, reached, stack) if jobs else None
        stack.push_async_callback(opened.background.close)
        if projecting and alone:
            opened.projector = Projector(reached.log, models, REGISTRY)
            opened.background.start("projector", opened.projector.run())
        if auditing and alone:
            opened.background.start("audit", opened.audit())
        if runner is not None:
            opened.background.start("processes", runner.run())
        if opened.worker is not None:
            opened.background.start("jobs", opened.worker.run())
        yield opened


def _folder(settings: Settings) -> DataFolder:
    # Absolute, so that a process with another current directory means the same files.
    return DataFolder(settings.data.absolute())


async def reach_models(settings: Settings, stack: AsyncExitStack) -> SqlReadModels:
    """The read side; raises ``Unavailable``."""
    folder = await asyncio.to_thread(_folder(settings).prepare)
    models = await asyncio.to_thread(SqlReadModels, database_url(settings, folder))
    stack.push_async_callback(asyncio.to_thread, models.close)
    return models


def _make_read_models(models: SqlReadModels) -> None:
    """Makes the read models that are missing, so that a new studio's first question is answered at once."""
    try:
        for projection in REGISTRY.projections.values():
            models.create(projection.name, projection.version, projection.tables)
    except ComfyVNError as error:
        # The projector tries again for as long as it takes; commands and the log work meanwhile.
        log.warning("read_models_not_made", code=error.code, reason=error.message)


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


def reach_tokens(settings: Settings) -> TokenBook:
    """Who may come in."""
    return TokenBook(_folder(settings).tokens, scopes_of(REGISTRY))


def reach_chain(settings: Settings) -> ChainFolder:
    """Where the audit keeps its hashes, without opening anything: enough to verify an exported log."""
    return ChainFolder(_folder(settings).audit)


def reach_vault(settings: Settings) -> Vault:
    """Where keys of providers are; it is opened when the first of them is asked for."""
    passphrase = settings.vault_passphrase
    return Vault(FileVault(
        _folder(settings).vault, settings.vault_key_file,
        lambda: passphrase.get_secret_value() if passphrase else None,
    ))


def reach_engines(settings: Settings, secrets: Secrets | None = None) -> Engines:
    """The engines of this installation, none of which has been asked anything yet."""
    folder = _folder(settings)
    built: list[Engine] = [
        LocalComfy(settings.comfy_url, own=WorkflowFolder(folder.workflows),
                   key=settings.comfy_key.get_secret_value() if settings.comfy_key else None),
        StudioLocal(folder.attempts / "studio_local", slots=settings.slots.get("studio_local")),
        LivePortrait(
            folder.attempts / "provider_liveportrait", settings.liveportrait_path, settings.liveportrait_python,
            slots=settings.slots.get("provider_liveportrait", 1),
        ),
    ]
    if secrets is not None:
        built += [Kling(secrets), Fal(secrets), Runware(secrets), SyncLabs(secrets)]
    return Engines({engine.traits.id: engine for engine in built}, slots=settings.slots)


def reach_credentials(settings: Settings) -> OwnCredentials:
    """What signs files and reads what is signed in them; keys are made when the first file is signed."""
    return OwnCredentials(_key_folder(settings), version=metadata.version("comfyvn"))


def look_at_signing_keys(settings: Settings) -> tuple[Path, str]:
    """Where the keys lie that sign credentials, and why those there cannot be used (empty: they can). Makes none."""
    keys = _key_folder(settings)
    return keys.folder, keys.trouble()


def _key_folder(settings: Settings) -> KeyFolder:
    return KeyFolder(settings.signing_keys.absolute() if settings.signing_keys else default_folder())


def reach_model_files(settings: Settings) -> ModelFolder:
    """Where model files lie."""
    root = settings.models_folder.absolute() if settings.models_folder else _folder(settings).models
    return ModelFolder(root, settings.disk_reserve)


def reach_blobs(settings: Settings) -> StoredBlobs:
    """Where blobs are kept."""
    return StoredBlobs(blob_place(settings, _folder(settings)))


def database_url(settings: Settings, folder: DataFolder) -> str:
    """Where the read side is."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite:///{folder.read}"


def blob_place(settings: Settings, folder: DataFolder) -> str:
    """Where blobs are: a folder's path or a URL."""
    return settings.blobs_url.get_secret_value() if settings.blobs_url else str(folder.blobs)


def is_shared(settings: Settings) -> bool:
    """Whether log and read side are both outside, so that any number of processes may use one data folder."""
    url = settings.database_url.get_secret_value() if settings.database_url else "sqlite:"
    return bool(settings.nats_servers) and not url.startswith("sqlite")


# --- the log and whose it is ------------------------------------------------------------------------------------


async def reach_log(
    settings: Settings, stack: AsyncExitStack, *, role: Role = "console", create: bool = True
) -> Reached:
    """The log that the settings name, and what had to be held or started for it. See ``open_everything``."""
    folder = _folder(settings)
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
        holder = await asyncio.to_thread(lock.try_acquire, role)
        if holder is None:
            stack.callback(lock.release)
            return await _own(settings, folder, lock, stack)
        if role != "server" and holder.role != "console":
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
