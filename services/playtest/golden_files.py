"""Golden plays as files of a folder: read, compared and written, never half."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from domain.errors import Invalid, Remedy
from domain.story.playtest.golden import file_name
from domain.texts import sayable

FILE_LIMIT: Final = 64 * 2**20
"""Largest file that is read, in bytes."""

FILES_LIMIT: Final = 5_000


def read(folder: Path) -> dict[str, Any]:
    """File name -> JSON of every ``.json`` file in a folder; a folder that is not there is empty."""
    if not folder.exists():
        return {}
    paths = sorted(folder.glob("*.json"))
    if len(paths) > FILES_LIMIT:
        raise _unreadable(folder, f"it holds more than {FILES_LIMIT} files")
    found = {}
    for path in paths:
        try:
            if not path.is_file():
                raise _unreadable(path, "it is no plain file")
            if path.stat().st_size > FILE_LIMIT:
                raise _unreadable(path, "it is too large")
            found[path.name] = sayable(json.loads(path.read_bytes()))
        except OSError as error:
            raise _unreadable(path, error.strerror or "the disk does not give it") from error
        except (ValueError, RecursionError) as error:
            raise _unreadable(path, str(error)[:200]) from error
    return found


def write(folder: Path, plays: list[dict[str, Any]]) -> list[str]:
    """Writes plays, each whole or not at all; the names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for play in plays:
        name = file_name(play["name"])
        beside = folder / f".{name}.new"
        beside.write_text(json.dumps(play, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(beside, folder / name)
        names.append(name)
    return names


def remove(folder: Path, names: list[str]) -> None:
    """Takes files away whose plays cannot be played any more."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _unreadable(path: Path, why: str) -> Invalid:
    return Invalid(
        f"{path} cannot be read as golden plays: {why}.", error="not_golden",
        remediation=[Remedy("Mend or remove it, or record into another folder.", "choose_folder")],
    )
