"""Asking for an export at a door: the gate first, so that a no is told at once, then the request for a worker."""

from __future__ import annotations

from typing import Any

from commands.exchange.export import RequestExport
from domain.errors import Invalid, Remedy
from domain.exchange.export import CATEGORY, Order, State, Unrequested
from domain.ids import UNBRANCHED, derived_id
from domain.ports import Stream
from services.dispatcher import Receipt
from services.exports.exporting import export_preview, home
from services.exports.gate import enforced, foreseen
from services.exports.gathering import gathered
from services.studio import Asker, Studio


async def requested(studio: Studio, project: str, order: Order, asker: Asker) -> tuple[Receipt | None, str]:
    """Asks for an export, which a worker then makes; the receipt and the export's id.

    No receipt when the same was asked for under the same key before. Raises ``Locked`` where the policy says no, which
    is recorded, and what ``gathered`` raises.
    """
    export_id = None
    if asker.key is not None:
        export_id = derived_id(CATEGORY, project, asker.actor, asker.key, length=16)
        if await _asked_before(studio, project, export_id, order):
            return None, export_id
    plain = Asker(asker.actor, None, asker.correlation_id, asker.causation_id)
    found = await gathered(studio, project, order)
    decisions = await enforced(studio, project, found, plain)
    command = RequestExport(export_id=export_id, order=found.order, decisions=decisions)
    receipt = await studio.ask(command, plain, project=project)
    return receipt, receipt.id


async def _asked_before(studio: Studio, project: str, export_id: str, order: Order) -> bool:
    state = await latest(studio, project, export_id)
    if isinstance(state, Unrequested):
        return False
    pinned = {"position": order.position or state.order.position}
    if state.order != order.model_copy(update=pinned):
        raise Invalid(
            "This Idempotency-Key was used before for another request.", error="idempotency_key_reused",
            remediation=[Remedy("Use a new key for a new request.", "new_key")],
        )
    return True


async def previewed(studio: Studio, project: str, order: Order, asker: Asker) -> dict[str, Any]:
    """What an export would do to the studio's own folder of it, and what the gate would say; touches nothing."""
    found = await gathered(studio, project, order)
    told = await export_preview(found, home(studio.settings, project, found.order))
    plain = Asker(asker.actor, None, asker.correlation_id, asker.causation_id)
    gate = await foreseen(studio, project, found, plain)
    return {"ok": True, "dry_run": True, "project": project, "order": found.order.model_dump(mode="json"),
            "gate": {"allow": all(one["allow"] for one in gate), "decisions": list(gate)}, **told}


async def latest(studio: Studio, project: str, export_id: str) -> State:
    """An export as the log has it: another process works on it."""
    stream = Stream(project, UNBRANCHED, CATEGORY, export_id)
    studio.dispatcher.aggregates.forget(stream)
    state: State = (await studio.dispatcher.aggregates.load(stream)).state
    return state
