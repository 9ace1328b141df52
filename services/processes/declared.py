"""The processes of this release: one line each."""

from __future__ import annotations

from typing import Final

from services.processes import downloads, exports, previews, signing
from services.processes.declaration import Process

PROCESSES: Final[tuple[Process, ...]] = (previews.PROCESS, exports.PROCESS, signing.PROCESS, downloads.PROCESS)
