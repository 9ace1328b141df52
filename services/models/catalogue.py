"""The catalogue together with the disk: what there is, what lies in the models folder, what a download would do."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Any, Final

from commands.studio.model_downloads import RequestModelDownload
from domain.errors import NotFound, Refused, Remedy, Unavailable
from domain.ids import UNBRANCHED, token
from domain.ports import Stream
from domain.ports.downloads import Source, SourceError
from domain.ports.model_files import FilesError, ModelFiles
from domain.studio.model import CATEGORY, Model, entry_of, unknown_model
from domain.studio.model_entry import Entry
from domain.tables import Reader
from projections.reading import View
from projections.studio.model_catalogue import ListModels, ShowModel, list_models, show_model
from services.dispatcher import Receipt
from services.models.judging import NotThat, judged
from services.models.settled import settled
from services.studio import Asker, Looked, Studio

INSTALLED_LIMIT: Final = 2000
"""Most files that the list of what is installed shows."""


def shelf(studio: Studio) -> tuple[ModelFiles, Source]:
    """The models folder and the web; raises ``Unavailable`` for a studio that was opened without."""
    if studio.model_files is None or studio.source is None:
        raise Unavailable(
            "This studio was opened without a models folder.", error="no_models_folder",
            remediation=[Remedy("Start it with `comfyvn serve`.", "serve")],
        )
    return studio.model_files, studio.source


async def entry_now(studio: Studio, project: str, model_id: str) -> Entry:
    """An entry by id, as it stands now; raises ``NotFound``."""
    return entry_of(model_id, await model_now(studio, project, model_id))


async def model_now(studio: Studio, project: str, model_id: str) -> Model:
    """What has happened to a model, also through other processes. Raises ``NotFound`` for what can be no id."""
    try:
        stream = Stream(project, UNBRANCHED, CATEGORY, token(model_id))
    except ValueError:
        raise unknown_model(model_id) from None
    aggregates = studio.dispatcher.aggregates
    loaded = await aggregates.load(stream)
    newest = await studio.log.last(stream)
    if (newest.position if newest else 0) != loaded.position:
        aggregates.forget(stream)
        loaded = await aggregates.load(stream)
    if not loaded.position:
        aggregates.forget(stream)  # whoever guesses ids must not fill the memory
    state: Model = loaded.state
    return state


# --- looking --------------------------------------------------------------------------------------------------------


async def listed(studio: Studio, query: ListModels) -> Looked:
    """A page of the catalogue, with what stands on the disk."""
    def answer(reader: Reader, asked: ListModels) -> dict[str, Any]:
        return _live(studio, list_models(reader, asked, lambda entry: standing(studio, entry)))

    return await studio.look_closely(View("ListModels", "", ListModels, answer, ("models",), "model:read"), query)


async def shown(studio: Studio, query: ShowModel) -> Looked:
    """One entry; raises ``NotFound``."""
    def answer(reader: Reader, asked: ShowModel) -> dict[str, Any]:
        one = show_model(reader, asked, lambda entry: standing(studio, entry))
        return dict(_live(studio, {"items": [one]})["items"][0])

    return await studio.look_closely(View("ShowModel", "", ShowModel, answer, ("models",), "model:read"), query)


def standing(studio: Studio, entry: Entry) -> dict[str, Any]:
    """Whether the file is there. A file of another size is another file."""
    files = studio.model_files
    found = files.found(entry.folder, entry.filename) if files is not None else None
    if found is None:
        return {"installed": False, "installed_size_bytes": None, "another_file": False}
    fits = entry.size_bytes in (None, found.size)
    return {"installed": fits, "installed_size_bytes": found.size, "another_file": not fits}


def _live(studio: Studio, page: dict[str, Any]) -> dict[str, Any]:
    """Downloads that run show how many bytes are there now, not when it was recorded last."""
    for one in page["items"]:
        download = one.get("download")
        if download is None or download["status"] != "running" or studio.model_files is None:
            continue
        folder, _, filename = download["path"].partition("/")
        if (there := studio.model_files.coming(folder, filename)) is not None:
            download["progress"]["done"] = max(download["progress"]["done"], there)
    return page


async def installed(studio: Studio, project: str) -> dict[str, Any]:
    """The files in the models folder, each with the entry of the catalogue that it is, by name and size."""
    files, _ = shelf(studio)
    page = await listed(studio, ListModels(project=project, installed=True, limit=500))
    known = {one["path"]: one["id"] for one in page.answer["items"]}
    found = await asyncio.to_thread(lambda: list(files.listed(INSTALLED_LIMIT + 1)))
    items = [
        {"path": f"{one.folder}/{one.filename}", "folder": one.folder, "filename": one.filename,
         "size_bytes": one.size, "model": known.get(f"{one.folder}/{one.filename}")}
        for one in found[:INSTALLED_LIMIT]
    ]
    return {"folder": files.root, "items": items, "next": None, "truncated": len(found) > INSTALLED_LIMIT,
            "free_bytes": await asyncio.to_thread(files.free)}


# --- downloads ------------------------------------------------------------------------------------------------------


async def requested(
    studio: Studio, project: str, command: RequestModelDownload, asker: Asker, *, expected_version: int | None = None,
) -> Receipt:
    """Asks for a download, once it is sure that the address may be asked at all. Raises as the command does."""
    _, source = shelf(studio)
    _allowed(source, await entry_now(studio, project, command.model_id))
    return await studio.ask(command, asker, project=project, expected_version=expected_version)


async def planned(studio: Studio, project: str, command: RequestModelDownload) -> dict[str, Any]:
    """What a download would do: size, licence, target, free space, what would have to be acknowledged. Does nothing."""
    files, source = shelf(studio)
    state = await model_now(studio, project, command.model_id)
    entry = entry_of(command.model_id, state)
    there = await asyncio.to_thread(standing, studio, entry)
    free = await asyncio.to_thread(files.free, entry.folder)
    coming = await asyncio.to_thread(files.coming, entry.folder, entry.filename) or 0
    accepted = state.accepted(entry) | set(command.acknowledge)
    missing = [risk for risk in entry.risks() if risk not in accepted]
    hindrances = []
    try:
        _allowed(source, entry)
    except Refused as error:
        hindrances.append({"code": error.code, "message": error.message})
    size = entry.size_bytes
    if size is not None and size > studio.settings.model_limit:
        hindrances.append({"code": "FILE_REFUSED", "message": "It is larger than the setting model_limit allows."})
    if size is not None and size - coming > free and not there["installed"]:
        hindrances.append({"code": "INSUFFICIENT_DISK_SPACE", "message": (
            f"{size - coming:,} bytes are still to come, and the disk has {free:,} for them: make room for "
            f"{size - coming - free:,} more.")})
    if there["another_file"]:
        hindrances.append({"code": "TARGET_EXISTS", "message": "Another file has that name."})
    return {
        "ok": not missing and not hindrances, "dry_run": True, "id": command.model_id, "name": entry.name,
        "url": entry.url, "license": entry.license, "license_url": entry.license_url, "sha256": entry.sha256,
        "size_bytes": size, "have_bytes": coming, "target": f"{files.root}/{entry.path}", "free_bytes": free,
        "warnings": entry.warnings(), "to_acknowledge": missing, "hindrances": hindrances, **there,
    }


def _allowed(source: Source, entry: Entry) -> None:
    try:
        source.check(entry.url)
    except SourceError as error:
        raise Refused(
            f"{entry.url} is not downloaded: {error.fault.message}", error="address_not_allowed",
            remediation=[
                Remedy("Use a public https address.", "change_model"),
                Remedy("Or let an operator name its origin in the setting model_origins.", "check_settings"),
            ],
            detail={"url": entry.url},
        ) from None


async def verified(studio: Studio, project: str, model_id: str) -> dict[str, Any]:
    """Whether the file that is there is the one that the catalogue means, read byte by byte. Raises ``NotFound``."""
    files, _ = shelf(studio)
    state = await model_now(studio, project, model_id)
    entry = entry_of(model_id, state)
    if files.found(entry.folder, entry.filename) is None:
        raise NotFound(
            f"{entry.path} is not in the models folder.", error="not_installed",
            remediation=[Remedy("Download it.", "download_model")], detail={"model": model_id, "path": entry.path},
        )
    expected = entry.sha256 or (state.download.result.sha256 if state.download.kind == "finished"
                                and state.download.result.path == entry.path else None)

    def look() -> tuple[str, int, str, str]:
        with files.read(entry.folder, entry.filename) as file:
            size = file.seek(0, 2)
            file.seek(0)
            found = sha256()
            while piece := file.read(2**20):
                found.update(piece)
            try:
                return found.hexdigest(), size, judged(file, size, entry.filename, pickle=True).format, ""
            except NotThat as error:
                return found.hexdigest(), size, "", error.fault.message

    try:
        digest, size, format_, trouble = await settled(look)
    except FilesError as error:
        raise Unavailable(
            error.fault.message, error="unreadable_model",
            remediation=[Remedy("Look at the file and its permissions.", "fix_permissions")],
        ) from error
    same = None if expected is None else digest == expected
    if same is False:
        message = "It is another file than the catalogue means: move it away and download it again."
    elif trouble:
        message = trouble
    else:
        message = "It is the right file." if same else "It is sound; no checksum says whether it is the right file."
    return {"ok": same is not False and not trouble, "id": model_id, "path": entry.path, "sha256": digest,
            "expected": expected, "matches": same, "size_bytes": size, "format": format_, "message": message}

