"""What can be set, with its defaults; the environment wins over ``comfyvn.toml``, which wins over the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource


class Settings(BaseSettings):
    """Every setting is ``COMFYVN_<NAME>`` in the environment or ``<name>`` in ``comfyvn.toml``.

    The file is looked for in the data folder.
    """

    model_config = SettingsConfigDict(env_prefix="COMFYVN_", extra="forbid", frozen=True)

    TOML: ClassVar[str] = "comfyvn.toml"

    data: Path = Field(default=Path("data"), description="Folder of everything that this studio keeps.")
    host: str = Field(default="127.0.0.1", description="Address to listen on; anything but loopback needs tokens.")
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
    upload_limit: int = Field(default=512 * 2**20, ge=1, description="Largest upload in bytes.")
    body_limit: int = Field(default=8 * 2**20, ge=1024, description="Largest JSON body in bytes.")
    event_limit: int = Field(default=2**20, ge=1024, le=8 * 2**20, description="Largest event in bytes.")
    wait_seconds: float = Field(default=5.0, gt=0, le=60, description="Longest wait for a view to count a position.")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$", description="How much is logged.")
    allowed_hosts: tuple[str, ...] = Field(default=(), description="Host names accepted besides loopback ones.")
    allowed_origins: tuple[str, ...] = Field(default=(), description="Web origins accepted besides the own one.")

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        folder = (init_settings() | {}).get("data") or env_settings().get("data") or "data"
        toml = TomlConfigSettingsSource(settings_cls, Path(str(folder)) / cls.TOML)
        return init_settings, env_settings, toml

    @classmethod
    def load(cls, **given: Any) -> Settings:
        """The settings in force; ``given`` (from the command line) wins over everything and may hold ``None``s."""
        return cls(**{name: value for name, value in given.items() if value is not None})
