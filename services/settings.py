"""What can be set, with its defaults; the environment wins over ``comfyvn.toml``, which wins over the defaults."""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from domain.errors import Invalid, Remedy


class Passphrase(SecretStr):
    """A secret that is nothing else: not even its shape is shown."""


Origin = Literal["option", "environment", "comfyvn.toml", "default"]
"""Where a value comes from, strongest first."""

PREFIX: Final = "COMFYVN_"
TOML: Final = "comfyvn.toml"
TOML_BYTES: Final = 2**20
"""Largest file of settings."""

SLOTS_LIMIT: Final = 100
"""Most slots of one engine."""


class Settings(BaseSettings):
    """Every setting is ``COMFYVN_<NAME>`` in the environment or ``<name>`` in ``comfyvn.toml``.

    The file is looked for in the data folder, so ``data`` alone cannot stand in it. Make one with ``load``.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    TOML: ClassVar[str] = TOML

    data: Path = Field(default=Path("data"), description="Folder of everything that this studio keeps.")
    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on; anything but loopback needs tokens."
    )
    port: int = Field(default=8001, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    nats_url: SecretStr | None = Field(
        default=None, description="An outside nats-server, or a comma-separated cluster; empty: an embedded one."
    )
    nats_replicas: int | None = Field(
        default=None, ge=1, le=5, description="Replicas of the log; by default 3 on a cluster of three or more, else 1."
    )
    nats_stream: str = Field(default="COMFYVN", pattern=r"^[A-Z0-9_]{1,32}$", description="Name of the log's stream.")
    database_url: SecretStr | None = Field(
        default=None, description="postgresql://… for the read side; empty: SQLite in the data folder."
    )
    blobs_url: SecretStr | None = Field(
        default=None, description="s3://…, gs://… or az://… for blobs; empty: a folder in the data folder."
    )
    comfy_url: str = Field(
        default="http://127.0.0.1:8188", description="Where ComfyUI listens; nothing else there is ever called."
    )
    comfy_key: Passphrase | None = Field(
        default=None, description="user:password or a token, where ComfyUI is behind a login; empty: it is not."
    )
    public_url: str | None = Field(
        default=None, description="Where engines on the internet reach this server, https://…; empty: none calls us."
    )
    signing_keys: Path | None = Field(
        default=None, description="Folder of the keys that sign credentials; empty: comfyvn/signing where the user's "
        "settings are, outside the data folder."
    )
    liveportrait_path: Path | None = Field(
        default=None, description="Folder of a LivePortrait that you have installed; empty: there is none."
    )
    liveportrait_python: str | None = Field(
        default=None, description="LivePortrait's Python; empty: the one of the .venv in its folder."
    )
    models_folder: Path | None = Field(
        default=None, description="Folder of model files, with a folder per kind: ComfyUI's own `models`, say; empty: "
        "models in the data folder."
    )
    model_limit: int = Field(default=64 * 2**30, ge=1, le=2**43, description="Largest model file in bytes.")
    model_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins that models may be downloaded from although they are private or not https: "
        "http://mirror.house:8080, say; comma-separated in the environment."
    )
    disk_reserve: int = Field(
        default=2**30, ge=0, le=2**50, description="Bytes of the disk that downloads of models leave free."
    )
    download_metadata: Literal["keep", "strip"] = Field(
        default="keep",
        description="Whether a downloaded asset keeps what it tells besides its content (prompts, places), where the "
                    "project's policy says nothing.",
    )
    upload_limit: int = Field(default=512 * 2**20, ge=1, description="Largest upload in bytes.")
    body_limit: int = Field(default=8 * 2**20, ge=1024, description="Largest JSON body in bytes.")
    event_limit: int = Field(default=2**20, ge=1024, le=8 * 2**20, description="Largest event in bytes.")
    wait_seconds: float = Field(default=5.0, gt=0, le=60, description="Longest wait for a view to count a position.")
    lease_seconds: float = Field(
        default=6.0, ge=1, le=300, description="How long a job of a worker that has died waits for the next one."
    )
    worker_jobs: int = Field(
        default=16, ge=1, le=500,
        description="Jobs that one worker works on at a time; engines have limits of their own.",
    )
    engine_slots: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Tasks that an engine is given at a time, over all workers: local_comfy=1, "
        "provider_fal=4; comma-separated in the environment. By default what the engine says of itself."
    )
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$", description="How much is logged.")
    log_format: Literal["auto", "pretty", "json"] = Field(
        default="auto", description="How it is logged, to standard error; auto: pretty on a terminal, else JSON."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Host names accepted besides loopback ones; comma-separated in the environment."
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Web origins accepted besides the own one; comma-separated in the environment."
    )
    vault_key_file: Path | None = Field(
        default=None, description="Where the vault's master keys are, outside the data folder; empty: the user's "
        "configuration folder."
    )
    vault_passphrase: Passphrase | None = Field(
        default=None, description="Passphrase of the vault, in the place of a key file; never in comfyvn.toml."
    )

    _origins: dict[str, Origin] = PrivateAttr(default_factory=dict)

    @field_validator("allowed_hosts", "allowed_origins", "model_origins", "engine_slots", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("nats_url", "database_url", "blobs_url", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("nats_url")
    @classmethod
    def _nats(cls, value: SecretStr | None) -> SecretStr | None:
        for url in _split(value):
            _scheme(url, ("nats", "tls", "ws", "wss"), needs_host=True)
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        url = value.get_secret_value().strip()
        _scheme(url, ("postgresql", "postgres", "postgresql+psycopg", "sqlite"), needs_host=False)
        for short in ("postgresql://", "postgres://"):
            if url.startswith(short):
                url = "postgresql+psycopg://" + url.removeprefix(short)
        return SecretStr(url)

    @field_validator("blobs_url")
    @classmethod
    def _blobs(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not Path(value.get_secret_value()).is_absolute():
            _scheme(value.get_secret_value(), ("s3", "gs", "az", "file"), needs_host=False)
        return value

    @field_validator("public_url")
    @classmethod
    def _public(cls, value: str | None) -> str | None:
        if value is None or not value.strip():
            return None
        _scheme(value.strip(), ("https", "http"), needs_host=True)
        parts = urlsplit(value.strip())
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("it must hold no user, password, query or fragment")
        return value.strip().rstrip("/")

    @field_validator("comfy_url")
    @classmethod
    def _comfy(cls, value: str) -> str:
        _scheme(value, ("http", "https"), needs_host=True)
        parts = urlsplit(value)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("it must hold no user, password, query or fragment")
        return value.rstrip("/")

    @field_validator("model_origins")
    @classmethod
    def _model_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            _scheme(origin, ("https", "http"), needs_host=True)
            parts = urlsplit(origin)
            if parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"):
                raise ValueError("an origin is scheme, host and port alone: http://mirror.house:8080")
        return tuple(origin.rstrip("/") for origin in value)

    @field_validator("engine_slots")
    @classmethod
    def _engine_slots(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            engine, _, number = one.partition("=")
            if not engine.strip() or not number.strip().isascii() or not number.strip().isdigit() \
                    or not 1 <= int(number.strip()[:9]) <= SLOTS_LIMIT:
                raise ValueError(f"each is an engine's id and a number from 1 to {SLOTS_LIMIT}: local_comfy=2")
        return value

    @property
    def slots(self) -> Mapping[str, int]:
        """Engine -> tasks that it is given at a time, where somebody has said so."""
        return {engine.strip(): int(number) for engine, _, number in (one.partition("=") for one in self.engine_slots)}

    @property
    def nats_servers(self) -> tuple[str, ...]:
        """URLs of the outside servers, with their credentials; empty: the log is embedded."""
        return tuple(_split(self.nats_url))

    @property
    def origins(self) -> Mapping[str, Origin]:
        """Setting -> where its value comes from."""
        return {name: self._origins.get(name, "default") for name in type(self).model_fields}

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        folder = (init_settings() | {}).get("data") or env_settings().get("data") or "data"
        written = InitSettingsSource(settings_cls, _written(Path(str(folder)) / TOML, cls))
        return init_settings, env_settings, written

    @classmethod
    def load(cls, **given: Any) -> Settings:
        """The settings in force; ``given`` (from the command line) wins over everything and may hold ``None``s.

        Raises ``Invalid`` and names the setting, where it stands and what it may be.
        """
        named = {name: value for name, value in given.items() if value is not None}
        if unknown := sorted(named.keys() - cls.model_fields.keys()):
            raise _unknown(unknown[0], "the call", cls)
        try:
            settings = cls(**named)
        except ValidationError as error:
            raise _unfit(error, named, cls) from None  # the original shows the value, which may be a secret
        written = _written(settings.data / TOML, cls)
        for name in cls.model_fields:
            settings._origins[name] = _origin(name, named, written)
        return settings


def stray_variables() -> dict[str, str | None]:
    """Variables of the environment that look like settings and are none -> the setting that was perhaps meant."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    strays = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    return {name: next(iter(difflib.get_close_matches(name.upper(), known, n=1)), None) for name in strays}


def masked(url: str) -> str:
    """A URL without what lets one in: user, password and query are shown as ``***``."""
    parts = urlsplit(url)
    if not parts.scheme or not parts.netloc:
        return url
    host = parts.netloc.rpartition("@")[2]
    secret = "***@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{secret}{host}{parts.path}" + ("?***" if parts.query else "")


def shown(value: Any) -> Any:
    """A setting's value for people and JSON: secrets masked, paths as text."""
    if isinstance(value, Passphrase):
        return "***"
    if isinstance(value, SecretStr):
        return ",".join(masked(part) for part in _split(value))
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _split(value: SecretStr | None) -> list[str]:
    text = value.get_secret_value() if value else ""
    return [part.strip() for part in text.split(",") if part.strip()]


def _scheme(url: str, allowed: tuple[str, ...], *, needs_host: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("it is not a URL") from None
    if parts.scheme not in allowed:
        raise ValueError(f"it must begin with {' or '.join(name + '://' for name in allowed)}")
    if needs_host and not host:
        raise ValueError("it names no host")


def _written(place: Path, cls: type[Settings]) -> dict[str, Any]:
    try:
        text = _text(place)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        why = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise Invalid(
            f"{place} cannot be read: {getattr(error, 'strerror', None) or why}.",
            error="unreadable_settings", remediation=[Remedy("Mend the file or take it away.", "mend_settings")],
        ) from error
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # besides its own errors: a number of thousands of digits, lists
        raise Invalid(
            f"{place} is not valid TOML: {str(error)[:300]}.",
            error="unreadable_settings", remediation=[Remedy("Mend that line of the file.", "mend_settings")],
        ) from error
    for name in found:
        if name == "data":
            raise Invalid(
                f"{place} cannot set data: the data folder is where this file is looked for.", error="unknown_setting",
                remediation=[Remedy("Use --data or COMFYVN_DATA.", "mend_settings")],
            )
        if name == "vault_passphrase":
            raise Invalid(
                f"{place} cannot set vault_passphrase: whoever copies the folder would have the vault and its key.",
                error="unknown_setting",
                remediation=[Remedy("Use COMFYVN_VAULT_PASSPHRASE, or a key file elsewhere.", "mend_settings")],
            )
        if name not in cls.model_fields:
            raise _unknown(name, str(place), cls)
    return found


def _text(place: Path) -> str:
    with open(place, "rb", opener=_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no plain file")
        raw = file.read(TOML_BYTES + 1)
    if len(raw) > TOML_BYTES:
        raise ValueError(f"it is larger than {TOML_BYTES} bytes")
    return raw.decode().replace("\r\n", "\n")


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe that nobody writes to would hold us for ever


def _unknown(name: str, place: str, cls: type[Settings]) -> Invalid:
    close = difflib.get_close_matches(name, cls.model_fields, n=1)
    meant = f"Did you mean {close[0]}?" if close else "`comfyvn doctor` lists every setting."
    return Invalid(
        f"{place} sets {name}, which is no setting.", error="unknown_setting",
        remediation=[Remedy(meant, "mend_settings")], detail={"setting": name},
    )


def _unfit(error: ValidationError, named: Mapping[str, Any], cls: type[Settings]) -> Invalid:
    first = error.errors(include_input=False, include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "settings"
    if _in_environment(name) and name not in named:
        place = PREFIX + name.upper()
    else:
        place = f"--{name.replace('_', '-')}" if name in named else f"{name} in {TOML}"
    field = cls.model_fields.get(name)
    return Invalid(
        f"{place} cannot be used: {first['msg'].removeprefix('Value error, ')}.",
        error="invalid_setting",
        remediation=[Remedy(field.description if field and field.description else "Mend the value.", "mend_settings")],
        detail={"setting": name},
    )


def _in_environment(name: str) -> bool:
    return any(key.upper() == PREFIX + name.upper() and value for key, value in os.environ.items())


def _origin(name: str, named: Mapping[str, Any], written: Mapping[str, Any]) -> Origin:
    if name in named:
        return "option"
    if _in_environment(name):
        return "environment"
    return "comfyvn.toml" if name in written else "default"
