"""Importing a folder of files as assets, with the sidecars that lie beside them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import orjson
from pydantic import ValidationError

from domain.errors import ComfyVNError, Invalid, NotFound, Remedy, Unavailable
from services.dispatcher import Receipt
from services.keeping_assets import AssetFacts, Found, examined, kept
from services.studio import Asker, Studio

SIDECAR: Final = ".asset.json"
SIDECAR_LIMIT: Final = 2**20
AT_ONCE: Final = 8
"""Files that are stored and registered at a time: their events share the log's commits."""

_READ: Final = ("name", "asset_type", "tags", "licence", "license", "origin", "notes", "nsfw", "metadata", "source")

Outcome = Literal["registered", "merged", "known", "would_register", "would_merge", "failed"]


class Imported(NamedTuple):
    """What became of one file. ``path`` is relative to the folder; ``uid`` empty where it failed."""

    path: str
    outcome: Outcome
    uid: str
    bytes: int
    error: str = ""
    message: str = ""
    warnings: tuple[str, ...] = ()


class ImportProgress(NamedTuple):
    """Given to ``report`` after every file: how many of how many, and the newest."""

    done: int
    total: int
    newest: Imported


@dataclass(slots=True)
class ImportReport:
    """What became of a folder. ``skipped`` are hidden files, sidecars, and what is no plain file."""

    folder: str
    total: int = 0
    skipped: int = 0
    position: int = 0
    bytes: int = 0
    files: list[Imported] = field(default_factory=list)

    @property
    def failed(self) -> list[Imported]:
        return [one for one in self.files if one.outcome == "failed"]

    def count(self, *outcomes: Outcome) -> int:
        """How many files had one of those outcomes."""
        return sum(one.outcome in outcomes for one in self.files)


def no_report(progress: ImportProgress) -> None:
    """For imports that nobody watches."""


async def import_folder(
    studio: Studio, folder: Path, *, project: str = "default", actor: str = "console", tags: Sequence[str] = (),
    licence: str | None = None, origin: str | None = None, dry_run: bool = False,
    report: Callable[[ImportProgress], None] = no_report,
) -> ImportReport:
    """Registers every file below a folder, each with a reference ``path:<relative path>``.

    Hidden files and folders are skipped; ``<file>.asset.json`` is read for what it says of its file (it wins over
    ``licence`` and ``origin``; tags add up). A file that cannot be imported is reported with its reason and leaves
    nothing behind; the others go on. Importing the same folder again registers only what is new.
    Raises ``NotFound`` for what is no folder, ``Invalid`` for tags that are none, ``Unavailable`` when the studio
    cannot go on; what was done until then stays, and running it again goes on from there.
    """
    given = _given(tags, licence, origin)
    found, skipped = await asyncio.to_thread(_walked, folder)
    told = ImportReport(str(folder), total=len(found), skipped=skipped)
    places = asyncio.Semaphore(AT_ONCE)
    slots: list[Imported | None] = [None] * len(found)
    done = 0

    async def one(index: int, path: Path) -> None:
        nonlocal done
        async with places:
            imported, position = await _imported(studio, folder, path, given, project, actor, dry_run)
        slots[index] = imported
        done += 1
        told.position = max(told.position, position)
        told.bytes += imported.bytes
        report(ImportProgress(done, len(found), imported))

    await _all([one(index, path) for index, path in enumerate(found)])
    told.files = [slot for slot in slots if slot is not None]
    return told


async def _all(work: Sequence[Awaitable[None]]) -> None:
    """Waits for all; the first that fails stops the others."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        for task in tasks:
            await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _imported(
    studio: Studio, folder: Path, path: Path, given: AssetFacts, project: str, actor: str, dry_run: bool
) -> tuple[Imported, int]:
    shown = path.relative_to(folder).as_posix().encode("utf-8", "replace").decode()
    try:
        facts, hash_said = await asyncio.to_thread(_facts, path, given, shown)
        found = await examined(path, facts, how="import", name=path.name)
        (receipt,) = await kept(studio, [found], Asker(actor), project=project, dry_run=dry_run)
    except Unavailable:
        raise
    except ComfyVNError as error:
        return Imported(shown, "failed", "", 0, error.code, error.message), 0
    except OSError as error:
        return Imported(shown, "failed", "", 0, "unreadable_file", f"It cannot be read: {error.strerror}."), 0
    warnings = list(found.command.cautions)
    if hash_said not in ("", found.command.digest, found.command.uid):
        warnings.append("sidecar_of_other_bytes")
    outcome = _outcome(receipt)
    return Imported(shown, outcome, receipt.id, _size(found), warnings=tuple(warnings)), receipt.position


def _outcome(receipt: Receipt) -> Outcome:
    if receipt.would is not None:
        return "would_register" if receipt.created else "would_merge" if receipt.would else "known"
    return "registered" if receipt.created else "merged" if receipt.events else "known"


def _size(found: Found) -> int:
    return found.command.size


def _given(tags: Sequence[str], licence: str | None, origin: str | None) -> AssetFacts:
    try:
        return AssetFacts(tags=tuple(tags) or None, licence=licence, origin=origin)
    except ValidationError as error:
        raise Invalid(
            f"The import cannot begin: {_words(error)}.", error="invalid_fields",
            remediation=[Remedy("Mend the tags, the licence or the origin.", "fix_fields")],
        ) from error


def _facts(path: Path, given: AssetFacts, shown: str) -> tuple[AssetFacts, str]:
    """What is said of a file, and which hash its sidecar says that it has; raises ``Invalid`` and ``OSError``."""
    said: dict[str, Any] = given.model_dump(exclude_none=True)
    said["reference"] = f"path:{shown}"
    sidecar = path.with_name(path.name + SIDECAR)
    hash_said = ""
    if sidecar.is_file():
        told = _sidecar(sidecar)
        hash_said = str(told.get("hash") or "").removeprefix("sha256:").lower()
        own = {name: told[name] for name in _READ if told.get(name) not in (None, "")}
        own |= _first_source(told)
        if "license" in own or "licence" in own:
            said.pop("licence", None)
        if isinstance(own.get("tags"), list):
            own["tags"] = [*said.get("tags", ()), *own["tags"]]
        said |= own
    try:
        return AssetFacts.model_validate_json(orjson.dumps(said)), hash_said
    except (ValidationError, TypeError) as error:
        why = _words(error) if isinstance(error, ValidationError) else "it is not UTF-8"
        raise Invalid(
            f"What is said of it does not fit: {why}.", error="invalid_sidecar",
            remediation=[Remedy(f"Mend {sidecar.name}, or rename the file.", "fix_sidecar")],
        ) from error


def _first_source(told: dict[str, Any]) -> dict[str, Any]:
    """A sidecar that the studio wrote holds all sources; the first is where the file came from."""
    sources = told.get("sources")
    if "source" not in told and isinstance(sources, list) and sources and isinstance(sources[0], dict):
        return {"source": sources[0]}
    return {}


def _sidecar(sidecar: Path) -> dict[str, Any]:
    try:
        if sidecar.stat().st_size > SIDECAR_LIMIT:
            raise ValueError(f"it is larger than {SIDECAR_LIMIT} bytes")
        told = orjson.loads(sidecar.read_bytes())
        if not isinstance(told, dict):
            raise ValueError("it is no JSON object")
    except ValueError as error:
        raise Invalid(
            f"Its sidecar {sidecar.name} cannot be read: {error}.", error="invalid_sidecar",
            remediation=[Remedy("Mend the sidecar, or take it away.", "fix_sidecar")],
        ) from error
    return told


def _walked(folder: Path) -> tuple[list[Path], int]:
    """The files below a folder by path, and how many were skipped. Links are not followed."""
    if not folder.is_dir():
        raise NotFound(
            f"{folder} is no folder that can be read.", error="unknown_folder",
            remediation=[Remedy("Check the path.", "check_path")],
        )
    found: list[Path] = []
    skipped = 0
    for above, folders, files in os.walk(folder):
        hidden = [name for name in folders if name.startswith(".") or name == "_meta"]
        folders[:] = sorted(set(folders) - set(hidden))
        names = set(files)
        for name in sorted(files):
            path = Path(above, name)
            sidecar = name.endswith(SIDECAR) and name.removesuffix(SIDECAR) in names
            if name.startswith(".") or sidecar or path.is_symlink():
                skipped += 1
            elif path.exists() and not path.is_file():
                skipped += 1  # a pipe or a device: reading one may never end
            else:
                found.append(path)
    return found, skipped


def _words(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'/'.join(str(one) for one in first['loc'])}: {first['msg'].removeprefix('Value error, ')}"
