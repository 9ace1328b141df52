"""Faults as problems: what could not be planned is told at the door with its code, its sentence and what to press."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from domain.errors import ComfyVNError, Invalid, NotFound, Refused, Remedy
from domain.studio.fault import Fault

INVALID: Final = frozenset({
    "CONTRACT_MISMATCH", "MISSING_REQUIRED_FIELD", "INVALID_FIELD_TYPE", "INVALID_FIELD_VALUE", "VALIDATION_ERROR",
    "CONSENT_MISSING",
})
"""What the request itself must mend."""


def raised(fault: Fault, *, more: Remedy | Sequence[Remedy] | None = None) -> ComfyVNError:
    """The error that a fault is; ``more`` is what else would help."""
    kind: type[ComfyVNError] = Refused
    if fault.code in INVALID:
        kind = Invalid
    elif fault.code == "FILE_NOT_FOUND":
        kind = NotFound
    others = [more] if isinstance(more, Remedy) else list(more or ())
    remedies = [Remedy(fault.meaning.text, fault.meaning.action), *others]
    return kind(fault.message, error=fault.code, remediation=remedies,
                detail={**fault.detail, "retryable": fault.retryable})
