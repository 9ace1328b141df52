"""Taking a task in: order and inputs are written beside, checked, and appear at once under the attempt's name."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from adapters.engines.attempts.folder import AttemptFolder
from domain.ports.engines import EngineError, Material, Reading, Task
from domain.studio.fault import Fault, fault

INPUT_LIMIT: Final = 2 * 2**30
"""Most bytes of all inputs of one task."""

PIECE: Final = 2**20
"""Bytes that are written at once."""

STALE_SECONDS: Final = 3600.0
"""Age after which a half-written order belongs to nobody."""


async def take(root: Path, task: Task, reading: Reading, *, limit: int = INPUT_LIMIT) -> bool:
    """Writes the folder of an attempt; false when it is there already. Raises ``EngineError``: nothing was taken."""
    folder = AttemptFolder(root / task.attempt)
    if await asyncio.to_thread(folder.exists):
        return False
    asked = sum(material.size for materials in task.inputs.values() for material in materials)
    if asked > limit:
        raise EngineError(fault("FILE_REFUSED", f"The task's files are larger than {limit // 2**20} MB together."))
    coming = root / f".coming-{task.attempt}-{os.urandom(4).hex()}"
    try:
        await asyncio.to_thread((coming / "inputs").mkdir, parents=True)
        inputs: dict[str, list[dict[str, Any]]] = {}
        number = 0
        for name, materials in task.inputs.items():
            for material in materials:
                place = f"{number:02d}"
                await _copied(reading, material, coming / "inputs" / place)
                inputs.setdefault(name, []).append(
                    {"file": place, "media_type": material.media_type, "name": material.name[:200]}
                )
                number += 1
        return await asyncio.to_thread(_appear, coming, folder.path, _order(task, inputs))
    except OSError as error:
        wrong = _disk(error)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, coming, ignore_errors=True))
    raise EngineError(wrong)


def _order(task: Task, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "attempt": task.attempt, "operation": task.operation, "model": task.model, "parameters": dict(task.parameters),
        "inputs": inputs, "seconds": task.deadline_seconds,
    }


def _appear(coming: Path, place: Path, order: Mapping[str, Any]) -> bool:
    (coming / "order.json").write_text(json.dumps(order), encoding="utf-8")
    try:
        coming.rename(place)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


async def _copied(reading: Reading, material: Material, place: Path) -> None:
    hashed = hashlib.sha256()
    size = 0
    with await asyncio.to_thread(place.open, "wb") as file:
        async with reading(material) as pieces:
            waiting = bytearray()
            async for piece in pieces:
                size += len(piece)
                if size > material.size:
                    break
                waiting += piece
                if len(waiting) >= PIECE:
                    hashed.update(waiting)
                    await asyncio.to_thread(file.write, bytes(waiting))
                    waiting.clear()
        hashed.update(waiting)
        file.write(waiting)
    if size != material.size or f"sha256:{hashed.hexdigest()}" != material.digest:
        raise EngineError(fault("CHECKSUM_MISMATCH", "A stored file is not what it was when it was stored.",
                                digest=material.digest))


def _disk(error: OSError) -> Fault:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return fault("DISK_FULL", "The disk of the engine's folder is full.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return fault("PERMISSION_DENIED", "The engine's folder may not be written.")
    return fault("ENGINE_OFFLINE", "The engine's folder cannot be used.", reason=error.strerror or "")


def opened(root: Path) -> None:
    """Makes the engine's folder where it is not there. Raises ``EngineError`` when it cannot be used."""
    wrong = None
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
            wrong = _disk(PermissionError(errno.EACCES, "permission denied"))
    except OSError as error:
        wrong = _disk(error)
    if wrong is not None:  # raised out here, so that no error of the system hangs on it with the folder's name
        raise EngineError(wrong)


def tidied(root: Path, keep_seconds: float, keep_bytes: int, now: float | None = None) -> list[str]:
    """Removes what nobody will ask for: orders half written, finished attempts that are old or too many bytes.

    A finished attempt of the last hour always stays: its worker may be about to come back. Returns what was removed.
    """
    now = time.time() if now is None else now
    finished: list[tuple[float, int, Path]] = []
    removed = []
    for path in root.iterdir():
        with suppress(OSError):
            if path.name.startswith(".coming-"):
                if now - path.stat().st_mtime > STALE_SECONDS:
                    removed.append(path)
            elif (path / "outcome.json").exists():
                size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                finished.append(((path / "outcome.json").stat().st_mtime, size, path))
    total = sum(size for _, size, _ in finished)
    for ended, size, path in sorted(finished):
        old = now - ended > keep_seconds or (total > keep_bytes and now - ended > STALE_SECONDS)
        if old and not AttemptFolder(path).taken():
            removed.append(path)
            total -= size
    for path in removed:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in removed]
