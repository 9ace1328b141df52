"""The workflows that a project's presets, jobs and pictures were made with, given back as they are stored.

Bytes are found by their digest alone, whoever stored them. So a workflow is given to those only in whose project
something names it, and only when the bytes are a workflow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from domain.errors import Invalid, NotFound, Refused, Remedy
from domain.ids import UNBRANCHED, token
from domain.ports import Stream
from domain.studio.asset import CATEGORY as ASSET
from domain.studio.asset import Registered, Removed
from domain.studio.job import Closed, Open
from domain.studio.job_values import WORKFLOW_BYTES
from domain.studio.preset_model import Preset
from domain.tables import PAGE_LIMIT
from projections.studio.preset import ListOwnPresets
from services.generation.library import find_preset
from services.generation.materials import newest
from services.generation.planning import job_state
from services.studio import Studio

HEX: Final = frozenset("0123456789abcdef")


class Stored(NamedTuple):
    """A workflow as it is stored: its digest (SHA-256 in hex), its bytes, and what they say."""

    digest: str
    content: bytes
    document: Mapping[str, Any]

    @property
    def graph(self) -> Mapping[str, Any]:
        """The graph alone, which ComfyUI takes as it is."""
        graph: Mapping[str, Any] = self.document["graph"]
        return graph


async def stored_workflow(
    studio: Studio, project: str, digest: str, *, job: str | None = None, asset: str | None = None
) -> Stored:
    """The workflow of that digest. A preset of the project names it as it stands now; else the ``job`` that ran it or
    the ``asset`` that it made has to be named. Raises ``NotFound``, also where the bytes are gone, ``Invalid`` for what
    is no digest, ``Refused`` for bytes that are no workflow, ``Unavailable`` for damaged ones."""
    digest = digest.removeprefix("sha256:")
    if len(digest) != 64 or not set(digest) <= HEX:
        raise Invalid("A workflow is named by its digest: 64 hexadecimal digits.", error="invalid_digest",
                      remediation=[Remedy("Presets, plans of jobs and assets tell it.", "list_presets")])
    if not await _named(studio, project, digest, job, asset):
        raise _unknown(project, digest)
    return await _read(studio, digest)


async def workflow_of_preset(studio: Studio, project: str, preset_id: str) -> Stored:
    """The workflow that a preset runs. Raises ``NotFound``, and ``Refused`` where it runs none or several."""
    preset = (await find_preset(studio.dispatcher, project, preset_id)).preset
    digests = list(preset.workflows)
    if len(digests) != 1:
        several = f"runs {len(digests)} workflows: {', '.join(one[:12] for one in digests[:10])}"
        raise Refused(
            f"{preset.id} {several if digests else 'runs no stored workflow'}.",
            error="several_workflows" if digests else "no_workflow",
            remediation=[Remedy("Name one by its digest.", "name_workflow") if digests
                         else Remedy("Choose a preset that was made of a workflow.", "list_presets")],
            detail={"preset": preset.id, "workflows": digests[:50]},
        )
    return await _read(studio, digests[0])


async def _named(studio: Studio, project: str, digest: str, job: str | None, asset: str | None) -> bool:
    if job is not None and digest in await _of_job(studio, project, job):
        return True
    if asset is not None and digest in await _of_asset(studio, project, asset):
        return True
    return await _of_presets(studio, project, digest)


async def _of_job(studio: Studio, project: str, job: str) -> set[str]:
    state = await job_state(studio, project, job)
    was = state.was if isinstance(state, Closed) else state
    if not isinstance(was, Open):
        raise NotFound(f"Project {project} has no job {job[:100]}.", error="unknown_job",
                       remediation=[Remedy("GET /api/jobs lists them.", "list_jobs")], detail={"job": job[:100]})
    return {step.workflow.digest for step in was.steps if step.workflow is not None}


async def _of_asset(studio: Studio, project: str, uid: str) -> set[str]:
    try:
        state = await newest(studio.dispatcher, Stream(project, UNBRANCHED, ASSET, token(uid)))
    except ValueError:
        state = None
    found = state.was if isinstance(state, Removed) else state
    if not isinstance(found, Registered):
        raise NotFound(f"Project {project} has no asset {uid[:100]}.", error="unknown_asset",
                       remediation=[Remedy("GET /api/assets lists them.", "list_assets")], detail={"uid": uid[:100]})
    return {source.workflow_digest for source in found.described.sources if source.workflow_digest}


async def _of_presets(studio: Studio, project: str, digest: str) -> bool:
    async for document in _documents(studio, project):
        if digest in _digests(document):
            return True
    return False


async def _documents(studio: Studio, project: str) -> AsyncIterator[dict[str, Any]]:
    """Every preset of the project's own, also those that were deleted."""
    view = studio.registry.views[ListOwnPresets.__name__]
    for deleted in (False, True):
        cursor = ""
        while True:
            page = await studio.look(view, ListOwnPresets(
                project=project, deleted=deleted, limit=PAGE_LIMIT, cursor=cursor))
            for row in page["items"]:
                yield row["preset"]
            cursor = page["next"] or ""
            if not cursor:
                break


def _digests(document: Mapping[str, Any]) -> set[str]:
    try:
        return set(Preset.model_validate(document).workflows)
    except ValueError:  # of another release: it names what nobody here can run
        return set()


async def _read(studio: Studio, digest: str) -> Stored:
    info = await studio.blobs.head(digest)
    if info is None:
        raise NotFound(
            "The workflow is not among the stored files any more.", error="workflow_missing",
            remediation=[Remedy("Restore the blobs from a backup.", "restore_blob"),
                         Remedy("Or take the same workflow in again.", "import_workflow")], detail={"digest": digest},
        )
    if info.size > WORKFLOW_BYTES:
        raise _no_workflow(digest)
    content = await studio.blobs.get(digest)
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise _no_workflow(digest) from None
    graph = document.get("graph") if isinstance(document, dict) else None
    if not isinstance(graph, dict) or not graph or not all(
        isinstance(node, dict) and isinstance(node.get("class_type"), str) for node in graph.values()
    ):
        raise _no_workflow(digest)
    return Stored(digest, content, document)


def _unknown(project: str, digest: str) -> NotFound:
    return NotFound(
        f"No preset of project {project} names a workflow {digest[:12]}….", error="unknown_workflow",
        remediation=[Remedy("Name what ran it: `job`, or the `asset` that it made.", "name_user"),
                     Remedy("GET /api/presets/own tells the workflows of presets.", "list_presets")],
        detail={"digest": digest},
    )


def _no_workflow(digest: str) -> Refused:
    return Refused("What is stored under that digest is no workflow.", error="not_a_workflow",
                   remediation=[Remedy("Name the digest that a preset, a job or an asset tells.", "list_presets")],
                   detail={"digest": digest})
