"""Before a result is registered: whether its prompt and its metadata are kept, by the policy of the project.

What an engine has made is never lost for it: a file that nobody here can strip is registered as it is, and says so.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from domain.studio.job import Open
from domain.studio.job_values import Step
from domain.trust.policy_handling import ruled
from domain.values import Json
from services.generation.artifacts import Judged, Kept
from services.generation.recording import Hand
from services.handling import cleaned, gate_of

log = structlog.get_logger("jobs")


async def cleared(hand: Hand, job: Open, step: Step, found: Judged, *, remote: bool) -> tuple[Kept, Judged]:
    """What is kept of a result, and the result as it is registered: stripped in its place where the policy says so."""
    handlings = (await gate_of(hand.studio, hand.project)).handlings.values()
    action = f"generate.{found.detected.kind}"
    facts = _facts(job, step, found, remote)
    prompt, metadata = (ruled(handlings, what, action, facts) for what in ("prompt", "metadata"))
    told: dict[str, Json] = {}
    if prompt.by:
        told["prompt"] = {"then": prompt.then, "by": list(prompt.by)}
    if metadata.by:
        told["metadata"] = {"then": metadata.then, "by": list(metadata.by)}
    if metadata.strips:
        done = await cleaned(found.path, found.detected.media_type)
        told["metadata"] = {
            "then": "strip", "by": list(metadata.by), "state": done.state, "removed": list(done.removed),
            **({"reason": done.reason} if done.reason else {}),
        }
        if done.state == "unstrippable":
            log.warning("metadata_not_stripped", job=hand.job_id, media_type=found.detected.media_type,
                        reason=done.reason)
        if done.state == "stripped":
            digest, size = await asyncio.to_thread(_measured, found.path)
            found = found._replace(digest=digest, size=size)
    return Kept(not prompt.strips, told), found


def _facts(job: Open, step: Step, found: Judged, remote: bool) -> Mapping[str, Any]:
    return {
        "generated": True, "engine": step.engine, "remote": remote,
        "preset": job.request.preset, "face_reference": job.request.consent is not None,
        "kind": found.detected.kind, "media_type": found.detected.media_type,
    }


def _measured(place: Path) -> tuple[str, int]:
    whole = hashlib.sha256()
    size = 0
    with place.open("rb") as file:
        while piece := file.read(2**20):
            whole.update(piece)
            size += len(piece)
    return whole.hexdigest(), size
