"""Which adapter stands behind which port, as the settings say; what needs no connection."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from adapters.c2pa.credentials import OwnCredentials
from adapters.c2pa.keys import KeyFolder, default_folder
from adapters.engines.fal import Fal
from adapters.engines.kling import Kling
from adapters.engines.liveportrait.engine import LivePortrait
from adapters.engines.local_comfy.engine import LocalComfy
from adapters.engines.local_comfy.workflows import WorkflowFolder
from adapters.engines.runware import Runware
from adapters.engines.studio_local.engine import StudioLocal
from adapters.engines.synclabs import SyncLabs
from adapters.files.blobs import StoredBlobs
from adapters.files.chain import ChainFolder
from adapters.files.folder import DataFolder
from adapters.files.models import ModelFolder
from adapters.files.vault import FileVault
from domain.ports.engines import Engine
from domain.ports.secrets import Secrets
from services.access import TokenBook, scopes_of
from services.generation.engines import Engines
from services.registry import REGISTRY
from services.settings import Settings
from services.vault import Vault


def folder_of(settings: Settings) -> DataFolder:
    """The data folder; nothing is made in it yet."""
    # Absolute, so that a process with another current directory means the same files.
    return DataFolder(settings.data.absolute())


def reach_tokens(settings: Settings) -> TokenBook:
    """Who may come in."""
    return TokenBook(folder_of(settings).tokens, scopes_of(REGISTRY))


def reach_chain(settings: Settings) -> ChainFolder:
    """Where the audit keeps its hashes, without opening anything: enough to verify an exported log."""
    return ChainFolder(folder_of(settings).audit)


def reach_vault(settings: Settings) -> Vault:
    """Where keys of providers are; it is opened when the first of them is asked for."""
    passphrase = settings.vault_passphrase
    return Vault(FileVault(
        folder_of(settings).vault, settings.vault_key_file,
        lambda: passphrase.get_secret_value() if passphrase else None,
    ))


def reach_engines(settings: Settings, secrets: Secrets | None = None) -> Engines:
    """The engines of this installation, none of which has been asked anything yet."""
    folder = folder_of(settings)
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
    root = settings.models_folder.absolute() if settings.models_folder else folder_of(settings).models
    return ModelFolder(root, settings.disk_reserve)


def reach_blobs(settings: Settings) -> StoredBlobs:
    """Where blobs are kept."""
    return StoredBlobs(blob_place(settings, folder_of(settings)))


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
