"""What is risky about a model, and that somebody takes responsibility for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from commands.envelope import Asked
from commands.studio.model_refusals import unacknowledged, unknown_risk
from domain.studio.model import Model, ModelRisksAcknowledged
from domain.studio.model_entry import Entry
from domain.studio.model_values import GATED, Risk

Risks = Annotated[tuple[Risk, ...], Field(max_length=10)]


def acknowledged(
    model_id: str, entry: Entry, state: Model, risks: Sequence[Risk], asked: Asked
) -> list[ModelRisksAcknowledged]:
    """Nothing where all of it was acknowledged already. Raises ``Invalid`` for what is no risk of this entry."""
    known = entry.risks()
    for risk in risks:
        if risk not in known:
            raise unknown_risk(model_id, risk, known)
    new = {risk: entry.basis(risk) for risk in known if risk in risks and risk not in state.accepted(entry)}
    if not new:
        return []
    return [ModelRisksAcknowledged(
        model_id=model_id, risks=dict(new), license=entry.license, license_url=entry.license_url,
        acknowledged_by=asked.actor, acknowledged_at=asked.time,
    )]


def gate(model_id: str, entry: Entry, state: Model, given: Sequence[Risk]) -> None:
    """Raises ``Refused`` where an entry must not be written down before somebody has acknowledged what is risky."""
    missing = [risk for risk in entry.risks()
               if risk in GATED and risk not in given and risk not in state.accepted(entry)]
    if missing:
        raise unacknowledged(model_id, entry, missing)
