"""What a merge comes to: its record, what a preview shows, and what is told when it is applied or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from commands.story.merging import RecordMerge, merged_told
from domain.errors import ComfyVNError, Invalid, Refused, Remedy
from domain.story.merging.conflicts import Settled
from domain.story.merging.documents import Merged
from domain.story.merging.held import NOTHING
from domain.story.worldline import MergeBase, WorldlineMerged
from projections.boards.differing import document_told
from projections.boards.merging import Plan
from services.dispatcher import LARGEST, Receipt
from services.merging.asking import Merge

CONFLICTS_SHOWN: Final = 200
"""Most conflicts that one answer lists."""

DOCUMENTS_SHOWN: Final = 1_000

ADDRESS_SHOWN: Final = 300
"""Characters of an address that a recorded decision keeps."""


def recorded(asked: Merge, plan: Plan, shown: Mapping[str, Any], version: int) -> RecordMerge:
    """The record of a merge."""
    return RecordMerge(
        worldline_id=asked.target, version=version, source=asked.source, source_position=plan.source.position,
        position=plan.target.position,
        bases=tuple(MergeBase(worldline=one.worldline, position=one.position) for one in plan.common),
        fast_forward=plan.fast_forward, only=tuple(sorted(asked.wanted.only)), rule=asked.wanted.rule,
        by_rule=sum(one.by_rule for one in plan.settled), resolutions=tuple(_decided(plan.settled)),
        counts=counted(plan.changed), story=dict(shown),
    )


def _decided(settled: Sequence[Settled]) -> list[dict[str, Any]]:
    """Decisions that somebody made about single conflicts. A value by hand stands in its document's own event."""
    found = {}
    for conflict, decision, by_rule in settled:
        if not by_rule:
            shown = "/".join(conflict.path)[:ADDRESS_SHOWN]
            found[conflict.id] = {
                "conflict": conflict.id, "address": shown, "kind": conflict.kind, "take": decision.take,
            }
    return list(found.values())


def how(one: Merged) -> str:
    """What becomes of a document of the target."""
    if one.ours is NOTHING or not one.ours.alive:
        return "added" if one.alive else "changed"
    return "changed" if one.alive else "removed"


def counted(changed: Sequence[Merged]) -> dict[str, Any]:
    """How many documents are added, changed and removed, by category."""
    sums = Counter((one.category, how(one)) for one in changed)
    return {
        category: {name: sums[category, name] for name in ("added", "changed", "removed")}
        for category in sorted({one.category for one in changed})
    }


def told(asked: Merge, plan: Plan, shown: Mapping[str, Any]) -> dict[str, Any]:
    """What a merge that was not applied would be."""
    return {
        "ok": not plan.open, "source": asked.source, "target": asked.target,
        "source_position": plan.source.position, "position": plan.target.position,
        "bases": [one._asdict() for one in plan.common], "fast_forward": plan.fast_forward,
        "only": sorted(asked.wanted.only), "rule": asked.wanted.rule,
        "by_rule": sum(one.by_rule for one in plan.settled), "resolutions": _decided(plan.settled),
        "counts": counted(plan.changed), "story": dict(shown),
        "conflicts": [one.shown() for one in plan.open[:CONFLICTS_SHOWN]], "conflict_count": len(plan.open),
    }


def previewed(asked: Merge, plan: Plan, shown: Mapping[str, Any], receipts: Sequence[Receipt]) -> dict[str, Any]:
    """What applying it would do, document by document."""
    changed = plan.changed
    return told(asked, plan, shown) | {
        "applied": False, "dry_run": True, "events": sum(len(one.would or ()) for one in receipts),
        "documents": [
            document_told((one.category, one.id), one.ours, one.after) for one in changed[:DOCUMENTS_SHOWN]
        ],
        "settled": [
            {"conflict": one.conflict.id, "address": "/".join(one.conflict.path)[:ADDRESS_SHOWN],
             "kind": one.conflict.kind, "take": one.decision.take, "by_rule": one.by_rule}
            for one in plan.settled[:CONFLICTS_SHOWN]
        ],
        "target_preview": _after(asked, changed),
    }


def _after(asked: Merge, changed: Sequence[Merged]) -> dict[str, Any]:
    """The nodes of the target that would be otherwise."""
    nodes: dict[str, list[str]] = {"added": [], "changed": [], "removed": []}
    for one in changed:
        for path, value in one.writes.items() if one.category == "scene" else ():
            if path.startswith("nodes/"):
                kind = "removed" if value is None else "changed" if path in one.ours.fields else "added"
                nodes[kind].append(f"{one.id}/{path.removeprefix('nodes/')}")
    return {"id": asked.target, "nodes": {name: found[:DOCUMENTS_SHOWN] for name, found in nodes.items()}}


def applied(receipts: Sequence[Receipt]) -> dict[str, Any]:
    """What was merged."""
    first = receipts[0]
    return {**dict(first.told), "applied": True, "id": first.id, "version": first.version, "at": first.position,
            "repeated": first.repeated}


def repeated(event: WorldlineMerged, version: int, position: int) -> dict[str, Any]:
    """What was merged when this was asked for the first time."""
    return {**merged_told([event]), "applied": True, "id": event.worldline_id, "version": version, "at": position,
            "repeated": True}


# --- refusals ---------------------------------------------------------------------------------------------------------


def conflicting(asked: Merge, plan: Plan) -> Refused:
    """Something is undecided; the conflicts stand in the detail, as data."""
    count = len(plan.open)
    return Refused(
        f"{count} conflict{'s are' if count > 1 else ' is'} left between {asked.source} and {asked.target}.",
        error="merge_conflicts",
        remediation=[
            Remedy("Decide each by its id in `resolutions`: ours, theirs, base, newest, or a value.", "resolve"),
            Remedy("Settle all of them by one rule: ours, theirs or newest.", "settle_by_rule"),
            Remedy("Merge only documents without conflicts, by naming them in `only`.", "narrow"),
        ],
        detail=told(asked, plan, {"playable": None, "why": "Something is undecided."}),
    )


def unknown_decisions(names: Sequence[str]) -> Invalid:
    """Decisions about what is no conflict."""
    return Invalid(
        f"There is no conflict, and nothing that differs, at {names[0][:200]}.", error="unknown_conflict",
        remediation=[Remedy("Look at the preview for the conflicts that there are now.", "preview")],
        detail={"unknown": [one[:300] for one in names[:100]]},
    )


def too_many(documents: int) -> Refused:
    """More documents than one batch holds."""
    return Refused(
        f"The merge changes {documents} documents; one batch holds {LARGEST - 1}.", error="merge_too_large",
        remediation=[Remedy("Merge some of them at a time: name categories or documents in `only`.", "narrow")],
        detail={"documents": documents, "limit": LARGEST - 1},
    )


def too_large(error: Invalid, plan: Plan) -> ComfyVNError:
    """What the log says of a batch that is too large, in words about merging; any other error as it is."""
    if error.code != "append_too_large":
        return error
    return Refused(
        f"The merge is larger than one batch of {LARGEST} events.", error="merge_too_large",
        remediation=[Remedy("Merge some of it at a time: name categories or documents in `only`.", "narrow")],
        detail={"documents": len(plan.changed), "limit": LARGEST},
    )
