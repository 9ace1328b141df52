"""What people ask for: a preset with inputs, and how far it may go. The same shape for every door."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from domain.bounded_json import BoundedObject
from domain.ids import MAIN, Token
from domain.studio.job_values import PRIORITY
from domain.values import Value

ACCOUNT: Final = "studio"
"""The account that pays when nobody names one."""

STATEMENT: Final = "I have the permission of the people shown to use their likeness."

EngineId = Annotated[str, Field(min_length=1, max_length=100)]
Named = Annotated[str, Field(max_length=200)]


class Terms(Value):
    """How far a run may go. ``engine`` goes before the others where it suits, ``without`` names engines that must not
    be used; ``spend_limit`` is the most that it may cost, in credits (a credit is a cent)."""

    consent_given: bool = False
    consent_statement: Annotated[str, Field(max_length=2000)] = ""
    engine: EngineId | None = None
    without: Annotated[tuple[EngineId, ...], Field(max_length=20)] = ()
    account: Token | None = None
    spend_limit: Annotated[float, Field(ge=0, le=1_000_000)] | None = None
    priority: Annotated[int, Field(ge=0, le=9)] = PRIORITY
    deadline_seconds: Annotated[int, Field(ge=10, le=7 * 86_400)] | None = None
    name: Named = ""


class Wish(Terms):
    """One run of a preset."""

    preset_id: Annotated[str, Field(min_length=1, max_length=100)]
    inputs: BoundedObject = {}
    quality: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    worldline: Token = MAIN
    nsfw_acknowledged: bool = False

    @property
    def given(self) -> dict[str, Any]:
        """The inputs that were given: what is null was not."""
        return {name: value for name, value in self.inputs.items() if value is not None}
