"""The gate before an export: what the policy is asked about it, and the no that nothing is written after."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from commands.trust.policy import EnforcePolicy
from domain.errors import ComfyVNError
from domain.exchange.renpy.material import Asset
from domain.trust.policy_rules import Thing
from services.exports.gathering import Gathered
from services.studio import Asker, Studio

ACTION: Final = "export.renpy"

PARTS: Final = 400
PARTS_BYTES: Final = 90 * 1024
"""Most things, and most JSON, of one question; a larger export asks several, and each has to allow it."""

_RISKY: Final = ("M", "Adult")


def questions(project: str, gathered: Gathered) -> list[EnforcePolicy]:
    """What the policy is asked: the project with its rating, every asset that leaves, every scene that is risky."""
    order = gathered.order
    facts: dict[str, Any] = {"mode": order.mode, "nsfw_acknowledged": order.nsfw_acknowledged}
    if gathered.rating:
        facts["rating"] = gathered.rating
    subject = Thing(kind="project", id=project, facts=facts)
    return [
        EnforcePolicy(action=ACTION, subject=subject, parts=tuple(parts), source="export")
        for parts in _portions(_parts(gathered))
    ]


def _parts(gathered: Gathered) -> Iterator[Thing]:
    leaving = {asset.uid: asset for asset in gathered.assets.values() if not asset.trouble}
    for uid in sorted(leaving):
        yield Thing(kind="asset", id=uid, facts=_facts(leaving[uid]))
    for scene, rating in sorted(gathered.ratings.items()):
        if rating in _RISKY:
            yield Thing(kind="scene", id=scene, facts={"rating": rating})


def _facts(asset: Asset) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if asset.licence:
        facts["licence"] = asset.licence[:500]
    if asset.origin:
        facts["origin"] = asset.origin[:500]
    if asset.nsfw:
        facts["nsfw"] = True
    if any(one.get("how") == "generate" for one in asset.sources):
        facts["generated"] = True
    return facts


def _portions(things: Iterator[Thing]) -> Iterator[list[Thing]]:
    portion: list[Thing] = []
    size = 0
    for thing in things:
        more = len(json.dumps(thing.model_dump(mode="json"), ensure_ascii=False).encode())
        if portion and (len(portion) >= PARTS or size + more > PARTS_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(thing)
        size += more
    yield portion


async def enforced(studio: Studio, project: str, gathered: Gathered, asker: Asker) -> tuple[str, ...]:
    """The ids of the decisions that allow the export, which are recorded; raises ``Locked`` when one does not."""
    found: list[str] = []
    problem: ComfyVNError | None = None
    for receipt in await studio.ask_all(questions(project, gathered), asker, project=project):
        found.append(str(receipt.told["decision_id"]))
        problem = problem or receipt.problem
    if problem is not None:
        raise problem
    return tuple(found)


async def foreseen(studio: Studio, project: str, gathered: Gathered, asker: Asker) -> Sequence[dict[str, Any]]:
    """What the gate would decide, without a record."""
    receipts = await studio.ask_all(questions(project, gathered), asker, project=project, dry_run=True)
    return [
        {name: receipt.told[name] for name in ("allow", "blocked", "requires_ack", "findings", "counts")}
        for receipt in receipts
    ]
