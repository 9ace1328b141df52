"""Provider: that somebody else's service was connected, by whom, and under which key's fingerprint. Never the key."""

from __future__ import annotations

from typing import Annotated, Final, Literal, assert_never

from pydantic import Field

from domain.context import Context, Fields
from domain.ids import Token
from domain.values import Event, Value

CATEGORY = "provider"

Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
"""A keyed hash of a key, in hex: two are equal when the keys are, and nobody gets from one to the key."""

Names = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=40)], ...], Field(max_length=10)]
Person = Annotated[str, Field(max_length=200)]


class ProviderConnected(Event):
    """A key of a provider is in the vault. ``fields`` are the names of its parts; ``verified``: the provider itself
    said that the key is good."""

    provider_id: Token
    fields: Names
    fingerprint: Fingerprint
    verified: bool
    connected_by: Person
    connected_at: str


class ProviderKeyRotated(Event):
    """Another key has taken the place of the one before."""

    provider_id: Token
    fields: Names
    fingerprint: Fingerprint
    previous: Fingerprint
    verified: bool
    connected_by: Person
    connected_at: str


class ProviderVerified(Event):
    """The provider said that the key which was stored without asking is good."""

    provider_id: Token
    fingerprint: Fingerprint


class ProviderDisconnected(Event):
    """The key is not in the vault any more."""

    provider_id: Token
    fingerprint: Fingerprint
    reason: Annotated[str, Field(max_length=500)]


ProviderEvent = ProviderConnected | ProviderKeyRotated | ProviderVerified | ProviderDisconnected


class Unconnected(Value):
    """Never connected, or not any more."""

    kind: Literal["unconnected"] = "unconnected"


class Connected(Value):
    """There is a key."""

    kind: Literal["connected"] = "connected"
    fields: Names
    fingerprint: Fingerprint
    verified: bool
    connected_by: Person
    connected_at: str


State = Annotated[Unconnected | Connected, Field(discriminator="kind")]


def evolve(state: Unconnected | Connected, event: ProviderEvent) -> Unconnected | Connected:
    """What an event makes of a connection."""
    match event:
        case ProviderConnected() | ProviderKeyRotated():
            return Connected(
                fields=event.fields, fingerprint=event.fingerprint, verified=event.verified,
                connected_by=event.connected_by, connected_at=event.connected_at,
            )
        case ProviderVerified():
            return state.model_copy(update={"verified": True}) if isinstance(state, Connected) else state
        case ProviderDisconnected():
            return Unconnected()
        case _:
            assert_never(event)


def fields(event: ProviderEvent) -> Fields:
    """The connection as a document: what is told of the key, by whom and when."""
    match event:
        case ProviderConnected() | ProviderKeyRotated():
            return {
                "fields": list(event.fields), "fingerprint": event.fingerprint, "verified": event.verified,
                "connected_by": event.connected_by, "connected_at": event.connected_at,
            }
        case ProviderVerified():
            return {"verified": True}
        case ProviderDisconnected():
            return {"fields": None, "fingerprint": None, "verified": None, "connected_by": None, "connected_at": None}
        case _:
            assert_never(event)


CONTEXT: Final = Context(
    category=CATEGORY,
    branches=False,
    events=(ProviderConnected, ProviderKeyRotated, ProviderVerified, ProviderDisconnected),
    state=State,
    initial=Unconnected(),
    evolve=evolve,
    fields=fields,
)
"""The connection of a provider."""
