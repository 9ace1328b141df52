"""The real Ren'Py engine, run without a screen: where it is, how it is installed, and one command of it at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent / "engine"
"""What the engine is given: the shim that lets it start, and the overlay that plays plans."""

OVERLAY: Final = HERE / "zz_comfyvn_proof.rpy"

PACKAGES: Final = ("renpy",)
"""Debian's packages."""

PLACES: Final = ("/usr/games/renpy", "/usr/bin/renpy")
"""Where Debian puts the command; its games are not on every PATH."""

ENVIRONMENT: Final = {
    "PYTHONPATH": str(HERE), "SDL_AUDIODRIVER": "dummy", "RENPY_DISABLE_SOUND": "1", "RENPY_DISABLE_BACKUPS": "1",
    "RENPY_NO_STEAM": "1", "RENPY_SIMPLE_EXCEPTIONS": "1", "RENPY_EDITOR": "none", "PYTHONDONTWRITEBYTECODE": "1",
    "LC_ALL": "C.UTF-8",
}


class EngineMissing(Exception):
    """Ren'Py is not here and cannot be installed; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command of the engine ended."""

    code: int
    output: str


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine's command, and a folder of ours for everything that it likes to write."""

    command: Path
    scratch: Path

    def run(
        self, project: Path, *arguments: str, video: str = "dummy", timeout_seconds: float = 900,
        environment: dict[str, str] | None = None,
    ) -> Done:
        """Runs one command on a project; ``video`` is ``offscreen`` where a window must open, else ``dummy``. What is
        empty in ``environment`` is not told at all."""
        home = self.scratch / "home"
        home.mkdir(parents=True, exist_ok=True)
        told = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RENPY", "PYTHON"))},
            **ENVIRONMENT, "HOME": str(home), "SDL_VIDEODRIVER": video, **(environment or {}),
        }
        try:
            done = subprocess.run(
                [str(self.command), str(project), *arguments, "--savedir", str(self.scratch / "saves")],
                env={name: value for name, value in told.items() if value}, cwd=self.scratch, timeout=timeout_seconds,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )
        except subprocess.TimeoutExpired as late:
            return Done(124, (late.output or b"").decode("utf-8", "replace") + f"\nstopped after {timeout_seconds} s")
        return Done(done.returncode, done.stdout.decode("utf-8-sig", "replace") + _told(project))


def _told(project: Path) -> str:
    """What the engine wrote down beside the game when it could not go on."""
    found = [project / name for name in ("errors.txt", "traceback.txt") if (project / name).exists()]
    return "".join("\n" + path.read_text(encoding="utf-8-sig", errors="replace") for path in found)


def installed(places: Sequence[str] = PLACES, path: str | None = None) -> Path | None:
    """The engine's command, if it is here: on a search path (none: that of the environment) or in one of the places."""
    found = shutil.which("renpy", path=path)
    return next((Path(place) for place in (*([found] if found else []), *places) if os.access(place, os.X_OK)), None)


def install(places: Sequence[str] = PLACES, path: str | None = None) -> Path:
    """The engine's command; Debian's packages are installed where that may be done. Raises ``EngineMissing``."""
    if command := installed(places, path):
        return command
    wanted = f"apt-get install -y --no-install-recommends {' '.join(PACKAGES)}"
    apt = shutil.which("apt-get", path=path)
    if apt is None:
        raise EngineMissing(
            "Ren'Py is not installed, and this machine has no apt-get to install Debian's with. Run this on Debian 12 "
            f"or later (in a container, say) with: {wanted}"
        )
    if os.geteuid() != 0:
        raise EngineMissing(f"Ren'Py is not installed, and installing it needs root: sudo {wanted}")
    print(f"Installing Debian's Ren'Py ({wanted}) …", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], wanted.split()[1:]):
        done = subprocess.run(
            [apt, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=1800
        )
        if done.returncode:
            raise EngineMissing(f"{' '.join([apt, *arguments])} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    command = installed(places, path)
    if command is None:
        raise EngineMissing("apt-get installed Ren'Py, but its command is nowhere to be found.")
    return command
