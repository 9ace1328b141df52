"""A package placed in a folder all at once: built beside it, then exchanged with it, whatever fails in between.

What an author has added to the folder stays; what an author has changed of ours is not thrown away unasked.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from domain.errors import Invalid, Refused, Remedy, Unavailable
from domain.exchange.renpy.manifests import SCHEMA
from domain.exchange.renpy.material import Asset
from domain.exchange.renpy.package import PROVENANCE, Package

try:
    import fcntl
except ImportError:  # not everywhere; two exports into one folder at once are then the author's own care
    fcntl = None  # type: ignore[assignment]

BUILDING: Final = ".comfyvn-building-"
AWAY: Final = ".comfyvn-away-"
PIECE: Final = 2**20
SHOWN: Final = 50

Report = Callable[[int, int], None]
"""Told (files done, files in all); may raise to stop."""

Fetch = Callable[[Asset, Path], None]
"""Writes an asset's bytes to a path; raises ``NotFound`` when they are not there."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands in a folder: our files with the digests they were written with, and how each is now.

    ``recipe`` is that of our export, empty where it is none of ours; ``extra`` are files that are not ours; ``missing``
    counts the assets that were.
    """

    recipe: str
    written: Mapping[str, str]
    now: Mapping[str, str]
    extra: tuple[str, ...]
    missing: int = 0

    @property
    def ours(self) -> bool:
        """Whether an export of ours stands there."""
        return bool(self.recipe)

    @property
    def edited(self) -> tuple[str, ...]:
        """Files of ours that somebody has changed since."""
        return tuple(sorted(
            path for path, digest in self.written.items() if path in self.now and self.now[path] != digest
        ))

    @property
    def whole(self) -> bool:
        """Whether every file of ours stands there as it was written."""
        return self.ours and all(self.now.get(path) == digest for path, digest in self.written.items())


@dataclass(frozen=True, slots=True)
class Placing:
    """What placing a package does to each file, by path."""

    new: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether the folder is so already."""
        return not (self.new or self.modified or self.removed)


def standing(folder: Path) -> Standing:
    """Looks at a folder; one that is not there is empty. Blocking."""
    if not folder.is_dir():
        if folder.exists():
            raise Invalid(f"{folder.name} is a file, not a folder.", error="not_a_folder",
                          remediation=[Remedy("Name a folder that is not there yet.", "choose_folder")])
        return Standing("", {}, {}, ())
    told = _provenance(folder)
    written = {path: one["sha256"] for path, one in told.get("files", {}).items()}
    now: dict[str, str] = {}
    extra: list[str] = []
    for path in _files(folder):
        if path in written or (told and path == PROVENANCE):
            now[path] = _digest(folder / path)
        else:
            extra.append(path)
    missing = sum(isinstance(one, dict) and one.get("finding") == "missing" for one in told.get("findings", ()))
    return Standing(str(told.get("recipe", "")), written, now, tuple(sorted(extra)), missing)


def _provenance(folder: Path) -> dict[str, Any]:
    """What our export says of itself; nothing where it is none of ours, or says nothing that can be read."""
    try:
        told = json.loads((folder / PROVENANCE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    fits = (isinstance(told, dict) and told.get("schema") == SCHEMA and isinstance(told.get("files"), dict)
            and isinstance(told.get("findings", []), list))
    files = told.get("files", {}).values() if fits else ()
    return told if fits and all(isinstance(one, dict) and isinstance(one.get("sha256"), str) for one in files) else {}


def _files(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in (*files, *links):
            yield Path(place, name).relative_to(folder).as_posix()


def _digest(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        return "link"
    whole = sha256()
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            whole.update(piece)
    return whole.hexdigest()


def compared(package: Package, was: Standing) -> Placing:
    """What placing a package would do to what stands there."""
    digests = package.digests
    held = {path: was.now.get(path) for path in digests}
    new = [path for path in digests if held[path] is None and path not in was.extra]
    same = [path for path in digests if held[path] == digests[path]]
    changed = sorted(set(digests) - set(new) - set(same))
    removed = sorted(set(was.now) - set(digests))
    gone = {f"{path}c" for path in (*changed, *removed) if path.endswith(".rpy")}
    kept = [path for path in was.extra if path not in digests and path not in gone]
    edited = [path for path in was.edited if digests.get(path) != was.now[path]]
    return Placing(tuple(sorted(new)), tuple(changed), tuple(sorted(same)), tuple(removed), tuple(kept),
                   tuple(edited))


def check(folder: Path, was: Standing, placing: Placing, *, force: bool) -> None:
    """Raises ``Refused`` where placing would throw away what somebody else has made."""
    if force:
        return
    if was.extra and not was.ours:
        raise _foreign(folder, was.extra[:SHOWN])
    if placing.edited:
        raise Refused(
            f"{len(placing.edited)} exported files were changed by hand, {placing.edited[0]} for one.",
            error="export_edited",
            remediation=[Remedy("Move your changes into the studio, or into files of your own.", "keep_changes"),
                         Remedy("Or say --force: they are written over.", "force")],
            detail={"folder": folder.name, "files": list(placing.edited[:SHOWN])},
        )


def check_ours(folder: Path) -> None:
    """The same for a folder that is no export of ours, before all that is in it is looked at: it may be a home."""
    if folder.is_dir() and not _provenance(folder) and (files := [*islice(_files(folder), SHOWN)]):
        raise _foreign(folder, sorted(files))


def _foreign(folder: Path, files: Sequence[str]) -> Refused:
    return Refused(
        f"{folder.name} is not empty, and no export of a story: nothing is written over it.", error="not_an_export",
        remediation=[Remedy("Choose a folder that is empty or not there.", "choose_folder"),
                     Remedy("Or say --force: files of the same names are written over, others stay.", "force")],
        detail={"folder": folder.name, "files": list(files)},
    )


def placed(
    folder: Path, package: Package, fetch: Fetch, report: Report, *, force: bool = False
) -> Placing:
    """Places a package in a folder; what it did. Blocking.

    Raises ``Refused``, and ``Unavailable`` when the disk cannot take it; whatever is raised, the folder is as it was.
    """
    folder = Path(os.path.realpath(folder))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.parent):
            recovered(folder)
            if not force:
                check_ours(folder)
            was = standing(folder)
            placing = compared(package, was)
            check(folder, was, placing, force=force)
            if not placing.nothing:
                _exchanged(folder, package, placing, fetch, report)
            return placing
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError) -> Unavailable:
    """The error for an export that cannot be written down."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return Unavailable(
        f"The export cannot be written: {error.strerror or error}.", error="disk_full" if full else "unwritable",
        remediation=[Remedy("Make room on the disk." if full else "Look at the folder's permissions.", "free_space"),
                     Remedy("Then try again: the export before this one is as it was.", "retry")],
    )


@contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """One export at a time into the folders of one parent; the lock ends with the process that holds it."""
    handle = os.open(parent, os.O_RDONLY)
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def recovered(folder: Path) -> None:
    """Cleans up after exports into this folder that died: with the lock held, whatever lies beside it is left over."""
    away = sorted(folder.parent.glob(f".{_literal(folder.name)}{AWAY}*"))
    if away and not folder.exists():
        away.pop().rename(folder)  # it died between taking the old one away and putting the new one there
    for left in (*away, *folder.parent.glob(f".{_literal(folder.name)}{BUILDING}*")):
        shutil.rmtree(left, ignore_errors=True)


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _exchanged(folder: Path, package: Package, placing: Placing, fetch: Fetch, report: Report) -> None:
    building = folder.parent / f".{folder.name}{BUILDING}{token_hex(4)}"
    try:
        building.mkdir()
        total = len(package.digests) + len(placing.kept)
        same = frozenset(placing.unchanged)
        done = 0
        for path in package.digests:
            report(done, total)
            place = building / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if path in same:
                _linked(folder / path, place)
            elif path in package.texts:
                _written(place, package.texts[path])
            else:
                fetch(package.blobs[path], place)
            done += 1
        for path in placing.kept:
            report(done, total)
            place = building / path
            place.parent.mkdir(parents=True, exist_ok=True)
            _linked(folder / path, place)
            done += 1
        report(total, total)
        if folder.exists():
            shutil.copystat(folder, building)
        _swapped(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _linked(old: Path, new: Path) -> None:
    """The same file under another name: nothing is copied where the disk knows that."""
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError:
        shutil.copy2(old, new, follow_symlinks=False)


def _written(place: Path, data: bytes) -> None:
    with open(place, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _swapped(building: Path, folder: Path) -> None:
    """The new folder in the old one's place, in one step where the system has one; the old one is gone then."""
    if not folder.exists():
        building.rename(folder)
    elif not _exchange(building, folder):
        away = folder.parent / f".{folder.name}{AWAY}{token_hex(4)}"
        folder.rename(away)
        try:
            building.rename(folder)
        except OSError:
            away.rename(folder)
            raise
        shutil.rmtree(away, ignore_errors=True)
    with suppress(OSError):
        handle = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _exchange(one: Path, other: Path) -> bool:
    """Linux exchanges two names atomically (renameat2 with RENAME_EXCHANGE); whether it did."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_here, exchange = -100, 2
    return bool(call(at_here, os.fsencode(one), at_here, os.fsencode(other), exchange) == 0)
