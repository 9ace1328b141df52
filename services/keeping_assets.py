"""From files on disk to registered assets: what they are, what is said of them, stored, then registered."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from pydantic import ValidationError

from commands.studio.asset import RegisterAsset, Said
from domain.errors import Invalid, Remedy
from domain.studio.asset_values import (
    Licence,
    Reference,
    Source,
)
from services.dispatcher import Receipt
from services.media.detection import detect
from services.studio import Asker, Studio

CHUNK: Final = 2**20
NAME_LIMIT: Final = 200

_UNNAMEABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class AssetFacts(Said):
    """What somebody says about a file that is to become an asset. ``license`` is another spelling of ``licence``."""

    license: Licence | None = None
    source: Source | None = None
    reference: Reference | None = None


class Found(NamedTuple):
    """A file that is to become an asset, and the command that would register it."""

    path: Path
    extension: str
    command: RegisterAsset


async def examined(
    path: Path, facts: AssetFacts, *, how: Literal["upload", "register", "import"], name: str
) -> Found:
    """Looks at a file's bytes. ``name`` is what it was called where it came from.

    Raises ``Invalid`` for an empty file and for facts that contradict themselves, and ``OSError``.
    """
    digest, size = await asyncio.to_thread(_hashed, path)
    if size == 0:
        raise Invalid(
            f"{plain_name(name) or 'The file'} is empty.", error="empty_file",
            remediation=[Remedy("Send a file with bytes in it.", "choose_file")], detail={"name": plain_name(name)},
        )
    if facts.licence is not None and facts.license is not None and facts.licence != facts.license:
        raise Invalid(
            "`licence` and `license` say different things.", error="contradicting_licences",
            remediation=[Remedy("Name one of them.", "fix_fields")],
        )
    detected = await asyncio.to_thread(detect, path)
    called = plain_name(name)
    said = facts.model_dump(exclude={"license", "name", "source"}, exclude_none=True)
    if facts.license is not None:
        said["licence"] = facts.license
    try:
        command = RegisterAsset(
            digest=digest, size=size, media_type=detected.media_type, kind=detected.kind, cautions=detected.cautions,
            name=called if facts.name is None else facts.name,
            source=Source(how=how, name=called) if facts.source is None else facts.source, **said,
        )
    except ValidationError as error:  # the facts were checked before; this is the file's own name
        raise Invalid(
            f"{called} cannot be registered: {error.errors()[0]['msg']}.", error="invalid_fields",
            remediation=[Remedy("Rename the file.", "rename")],
        ) from error
    return Found(path, detected.extension, command)


async def kept(
    studio: Studio, found: Sequence[Found], asker: Asker, *, project: str, dry_run: bool = False
) -> list[Receipt]:
    """Stores the bytes and registers them, all or none; raises the kinds of ``domain.errors``.

    Everything is decided before anything is stored, so that what is refused leaves no bytes behind.
    """
    commands = [one.command for one in found]
    at_hand = {one.digest for one in commands}
    would = await studio.ask_all(commands, asker, project=project, dry_run=True, at_hand=at_hand)
    if dry_run:
        return would
    for one in found:
        stored = await studio.blobs.put_file(str(one.path))
        if stored.digest != one.command.digest:
            raise Invalid(
                f"{one.command.name} changed while it was read.", error="file_changed",
                remediation=[Remedy("Wait until nobody writes to it and try again.", "retry")],
            )
    return await studio.ask_all(commands, asker, project=project)


def plain_name(name: str) -> str:
    """The last part of a path from any system, fit to be the name of an asset."""
    last = re.split(r"[/\\]", name)[-1]
    return _UNNAMEABLE.sub("_", last).strip()[-NAME_LIMIT:]


def _hashed(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size
