"""A package as one zip: the same package gives the same bytes, on any machine and with any zlib."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Final
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from domain.exchange.renpy.package import Package
from services.exports.folder import PIECE, Fetch, Report, unwritable

DATE: Final = (1980, 1, 1, 0, 0, 0)
"""The first date that a zip knows: when a file was packed says nothing about it."""

MODE: Final = 0o100644


PACKING: Final = ".comfyvn-packing-"
"""In the names of files beside a zip that is being written."""

LEFTOVER_SECONDS: Final = 24 * 3600
"""A file that nobody has written to for this long belongs to a process that died."""


def packed(place: Path, root: str, package: Package, fetch: Fetch, report: Report) -> None:
    """Writes the zip at a path, whole or not at all. Files stand below ``root``, sorted, without compression: two
    releases of zlib need not find the same short form. Blocking; raises ``Unavailable``."""
    building = place.with_name(f".{place.name}{PACKING}{token_hex(4)}")
    fetched = place.with_name(f".{place.name}{PACKING}{token_hex(4)}")
    try:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            _tidy(place)
            with ZipFile(building, "w", ZIP_STORED, allowZip64=True) as archive:
                for done, path in enumerate(sorted(package.digests)):
                    report(done, len(package.digests))
                    info = ZipInfo(f"{root}/{path}", DATE)
                    info.external_attr = MODE << 16
                    info.create_system = 3
                    if path in package.texts:
                        archive.writestr(info, package.texts[path])
                        continue
                    fetch(package.blobs[path], fetched)
                    info.file_size = fetched.stat().st_size
                    with open(fetched, "rb") as source, archive.open(info, "w") as target:
                        while piece := source.read(PIECE):
                            target.write(piece)
                    fetched.unlink()
            report(len(package.digests), len(package.digests))
            with open(building, "rb") as file:
                os.fsync(file.fileno())
            os.replace(building, place)
        finally:
            building.unlink(missing_ok=True)
            fetched.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(error) from error


def _tidy(place: Path) -> None:
    """Removes what processes that died while they wrote this zip have left of it."""
    beginning = f".{place.name}{PACKING}"
    for one in os.scandir(place.parent):
        with suppress(FileNotFoundError):
            if one.name.startswith(beginning) and one.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
                os.unlink(one.path)
