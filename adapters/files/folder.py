"""The data folder: where everything that a studio keeps has its place, readable by its owner alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.files.replacing import replace
from domain.errors import Remedy, Unavailable


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Places in the data folder. ``nats`` holds the log's store, ``read`` the read side that can be thrown away."""

    root: Path

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def nats(self) -> Path:
        return self.root / "nats"

    @property
    def read(self) -> Path:
        return self.root / "read.db"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def attempts(self) -> Path:
        """Where engines of this machine keep what they work on."""
        return self.root / "attempts"

    @property
    def audit(self) -> Path:
        return self.root / "audit"

    @property
    def workflows(self) -> Path:
        """Workflows for ComfyUI that users bring."""
        return self.root / "workflows"

    @property
    def models(self) -> Path:
        """Files of models, unless a folder of its own is set for them."""
        return self.root / "models"

    @property
    def tokens(self) -> Path:
        return self.root / "tokens.json"

    @property
    def vault(self) -> Path:
        return self.root / "vault.json"

    @property
    def server(self) -> Path:
        return self.root / "server.json"

    def prepare(self) -> DataFolder:
        """Makes the folder, for its owner alone; raises ``Unavailable`` when that is not possible."""
        try:
            if not self.root.is_dir():
                self.root.mkdir(parents=True, mode=0o700)
            if not os.access(self.root, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied", str(self.root))
        except OSError as error:
            raise Unavailable(
                f"The data folder {self.root} cannot be used: {error.strerror or error}.",
                error="data_folder",
                remediation=[Remedy("Name a folder that you may write to with --data.", "choose_data_folder")],
                detail={"folder": str(self.root)},
            ) from error
        return self


def write_private_json(place: Path, told: Mapping[str, Any]) -> None:
    """Replaces a small JSON file in one step, readable by its owner alone: a reader sees the old or the new text."""
    replace(place, (json.dumps(told, indent=2) + "\n").encode())


def read_json(place: Path) -> dict[str, Any] | None:
    """A small JSON object, or nothing when the file is missing or is none."""
    try:
        told = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None
