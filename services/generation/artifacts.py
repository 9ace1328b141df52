"""From what an engine has made to assets: fetched within bounds, hashed, judged by its bytes, stored, registered.

An engine's own word on a file is never believed: what it is, and that it is whole, its bytes say.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import mimetypes
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from commands.studio.asset import RegisterAsset
from domain.ports.engines import EngineError
from domain.studio.asset_values import Kind, Source
from domain.studio.fault import Fault, fault
from domain.studio.job import Open
from domain.studio.job_values import Artifact, Step
from domain.values import Json
from services.keeping_assets import plain_name
from services.media.detection import Detected, detect
from services.media.rendering import Renderer, Unrenderable

GENERATION: Final = "generation"
"""The key of an asset's metadata under which it stands how it was made. Whatever has it was generated."""

PRODUCT_LIMIT: Final = 2 * 2**30
"""Largest file that is fetched from an engine, in bytes."""

FETCH_SECONDS: Final = 900.0
"""Longest time that fetching one file may take."""

WANTED: Final[frozenset[Kind]] = frozenset({"image", "video", "audio", "json", "text"})
"""Kinds of files that engines make."""

DAMAGED: Final = frozenset({"truncated", "damaged", "too_many_pixels", "too_large", "renderer_died", "too_slow"})
"""What the rendering process says of a picture or a sound that must not become an asset."""

READABLE: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff"})
"""Pictures that are always decoded: one of these that no decoder reads is broken."""

BOXES: Final = 200_000
"""Most boxes of a film: one that comes in fragments has two for each second or so."""

PROMPTS: Final = ("prompt", "positive_prompt", "text_prompt", "text")
"""Parameters whose text is what the maker had in mind; the first that is there."""


class Judged(NamedTuple):
    """A file that may become an asset; ``measures`` are what was found out about it."""

    path: Path
    digest: str
    size: int
    detected: Detected
    measures: dict[str, Any]


async def fetched(
    product: AbstractAsyncContextManager[AsyncIterator[bytes]], place: Path, limit: int = PRODUCT_LIMIT
) -> tuple[str, int]:
    """Writes a product's bytes into a file; digest and size. Raises ``EngineError``: too large, too slow, no room."""
    digest, size = hashlib.sha256(), 0
    try:
        async with asyncio.timeout(FETCH_SECONDS), product as pieces:
            with open(place, "wb") as file:  # noqa: ASYNC230 - opening is quick; the writing is done in a thread
                async for piece in pieces:
                    size += len(piece)
                    if size > limit:
                        raise EngineError(fault(
                            "FILE_REFUSED", f"The engine sends more than {limit:,} bytes for one file.", limit=limit,
                        ))
                    digest.update(piece)
                    await _written(file, piece)
    except TimeoutError as error:
        raise EngineError(fault("DOWNLOAD_TIMEOUT", "Fetching the result took too long.")) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise EngineError(_full(place, size)) from error
        raise EngineError(fault("DOWNLOAD_FAILED", f"The result cannot be written: {error.strerror}.")) from error
    return digest.hexdigest(), size


def _full(place: Path, came: int) -> Fault:
    try:
        free = shutil.disk_usage(place.parent).free
    except OSError:
        free = 0
    return fault("DISK_FULL", f"There is no room for the result: of its bytes {came:,} have come, and the disk of the "
                 f"data folder has {free:,} left.", came=came, free=free)


async def _written(file: IO[bytes], piece: bytes) -> None:
    if len(piece) < 64 * 1024:
        file.write(piece)  # cheaper than handing it to a thread
    else:
        await asyncio.to_thread(file.write, piece)


async def judged(path: Path, digest: str, size: int, said: str, renderer: Renderer) -> Judged:
    """Looks at what was fetched; ``said`` is the engine's media type for it. Raises ``EngineError`` (FILE_REFUSED)."""
    if size == 0:
        raise _refused("The engine has made an empty file.")
    found = await asyncio.to_thread(detect, path)
    family = said.partition("/")[0]
    if found.kind not in WANTED or (family in ("image", "video", "audio") and found.kind != family):
        raise _refused(f"The engine promised {said or 'a file'} and has made {found.media_type}.",
                       said=said, found=found.media_type)
    if found.kind == "image" and found.cautions:
        raise _refused("The picture brings along more than shapes.", cautions=list(found.cautions))
    measures: dict[str, Any] = {}
    if found.kind == "image" and found.media_type != "image/svg+xml":
        measures = await _seen(path, found.media_type, renderer)
    elif found.media_type in ("video/mp4", "video/quicktime", "audio/mp4"):
        await asyncio.to_thread(_whole_boxes, path, size)
    elif found.media_type == "audio/wav":
        measures = await _seen(path, found.media_type, renderer)
    return Judged(path, digest, size, found, measures)


async def _seen(path: Path, media_type: str, renderer: Renderer) -> dict[str, Any]:
    """Decodes it in the rendering process, where a hostile file takes nothing else along."""
    try:
        return (await renderer.render(path, media_type)).measures
    except Unrenderable as error:
        if error.reason in DAMAGED or media_type in READABLE:
            raise _refused(error.message, reason=error.reason) from error
        return {}  # no decoder here: it is what its first bytes say, and that has to do


def _whole_boxes(path: Path, size: int) -> None:
    """Raises for an MP4 whose boxes do not end with the file: it is cut off."""
    place, count, kinds = 0, 0, set()
    with path.open("rb") as file:
        while place < size:
            if (count := count + 1) > BOXES:
                raise _refused("The file is made of more boxes than any film.", reason="damaged")
            file.seek(place)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            kinds.add(head[4:8])
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            elif length == 0:
                length = size - place
            if length < 8 or place + length > size:
                raise _refused("The file ends too early.", reason="truncated")
            place += length
    if b"moov" not in kinds and b"moof" not in kinds:
        raise _refused("The file ends too early.", reason="truncated")


def _refused(message: str, **detail: object) -> EngineError:
    return EngineError(fault("FILE_REFUSED", message, **detail))


class Making(NamedTuple):
    """How a file was made, for its asset: ``parameters`` are those of the task, ``facts`` what the engine told."""

    job_id: str
    job: Open
    step: Step
    attempt: str
    parameters: dict[str, Json]
    facts: dict[str, Json]
    made_from: list[str]


def artifact_of(judged_: Judged, name: str) -> Artifact:
    """The file as the job records it; ``name`` is the engine's own name for it."""
    return Artifact(name=name[:200], uid=judged_.digest[:16], digest=judged_.digest, size=judged_.size,
                    media_type=judged_.detected.media_type)


class Kept(NamedTuple):
    """What the policy of the project kept of it: the prompt, and what the file told (``told`` says what was done, and
    by which handlings; nothing where the project says nothing)."""

    prompt: bool = False
    told: Mapping[str, Json] = {}


def registration(judged_: Judged, name: str, making: Making, kept: Kept) -> RegisterAsset:
    """The command that makes an asset of it: where it comes from, and what anybody needs to make it again."""
    request = making.job.request
    seed = making.facts.get("seed", making.parameters.get("seed", request.seed))
    model = str(making.facts.get("model") or making.step.model)
    prompt = next((text for key in PROMPTS if isinstance(text := making.parameters.get(key), str) and text), "")
    told: dict[str, Json] = {
        "job_id": making.job_id, "root": request.root, "attempt": making.attempt, "step": making.step.id,
        "output": making.step.output, "operation": making.step.operation, "preset": request.preset,
        "preset_digest": request.preset_digest, "quality": request.quality, "engine": making.step.engine,
        "model": model[:200], "seed": str(seed)[:40],
        "prompt_sha256": hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest() if prompt else "",
        "parents": list(making.made_from),
    }
    if kept.prompt and prompt:
        told["prompt"] = prompt[:8000]
    if kept.told:
        told["handling"] = dict(kept.told)
    metadata: dict[str, Json] = {GENERATION: told}
    metadata |= {key: value for key, value in judged_.measures.items() if key in ("width", "height")}
    extension = judged_.detected.extension or (mimetypes.guess_extension(judged_.detected.media_type) or "").lstrip(".")
    return RegisterAsset(
        digest=judged_.digest, size=judged_.size, media_type=judged_.detected.media_type, kind=judged_.detected.kind,
        cautions=judged_.detected.cautions, metadata=metadata,
        name=plain_name(f"{request.name} {making.step.output} {judged_.digest[:6]}.{extension}"),
        source=Source(
            how="generate", name=plain_name(name), job_id=making.job_id, engine=making.step.engine,
            model=plain_name(model), seed=_decimal(seed), made_from=tuple(making.made_from[:64]),
            workflow_digest=making.step.workflow.digest if making.step.workflow is not None else "",
        ),
    )


def _decimal(seed: Json) -> str:
    return str(seed) if isinstance(seed, int) and not isinstance(seed, bool) and len(str(seed)) <= 40 else ""
