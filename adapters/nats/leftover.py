"""A server must not outlive the process that started it: the kernel's help on Linux, and a broom for what remains."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from domain.errors import Refused, Remedy

PR_SET_PDEATHSIG: Final = 1

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent: int) -> None:
    """Runs in the child between fork and exec: SIGTERM comes when the thread that started it ends."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # the parent was gone before the kernel was asked


async def end_leftover(folder: Path, seconds: float) -> None:
    """Ends a nats-server that an earlier process left running on this folder.

    A process counts as one only if it was started with this folder's configuration. Raises ``Refused`` while the
    process that started it still lives: then the folder is in use.
    """
    pid = _noted(folder / "nats-server.pid")
    if pid is None or not is_ours(pid, folder):
        return
    parent = parent_of(pid)
    if parent not in (0, 1, os.getpid()) and parent == _owner(folder):
        raise Refused(
            f"A nats-server already runs on {folder}; it belongs to process {parent}.",
            error="folder_in_use",
            remediation=[Remedy(f"Stop process {parent}, or use another data folder.", "stop_other")],
            detail={"pid": pid, "owner": parent},
        )
    for what in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, what)
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            if not is_ours(pid, folder):
                return
            await asyncio.sleep(0.02)


def is_ours(pid: int, folder: Path) -> bool:
    """Whether a process is a nats-server that runs on the configuration in ``folder``."""
    command = _command(pid)
    return "nats-server" in command and str(folder / "nats.conf") in command


def parent_of(pid: int) -> int:
    """The parent of a process, 0 when it cannot be told."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        text = _ps(pid, "ppid=").strip()
        return int(text) if text.isdigit() else 0


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsdecode(file.read()).replace("\0", " ")
    except OSError:
        return _ps(pid, "command=")


def _ps(pid: int, column: str) -> str:
    if sys.platform in ("linux", "win32"):
        return ""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            ["ps", "-ww", "-o", column, "-p", str(pid)], capture_output=True, text=True, timeout=5, check=False
        ).stdout
    return ""


def _noted(place: Path) -> int | None:
    try:
        return int(place.read_text("ascii").strip())
    except (OSError, ValueError):
        return None


def _owner(folder: Path) -> int:
    owner = read_details(folder).get("owner", 0)
    return owner if isinstance(owner, int) else 0


def read_details(folder: Path) -> dict[str, Any]:
    """What the newest server of a folder wrote for those who attach (``url``, ``port``, ``pid``, ``owner``), if any."""
    try:
        told = json.loads((folder / "server.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
