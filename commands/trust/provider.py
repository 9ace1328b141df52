"""What the registry of providers records when a key has gone into the vault, or out of it.

Nothing of it has a door: whoever could ask these by hand could claim a connection that is none.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from commands.declaration import Asking, Command
from commands.envelope import Asked
from domain.ids import Token
from domain.trust.provider import (
    Connected,
    Fingerprint,
    Names,
    ProviderConnected,
    ProviderDisconnected,
    ProviderEvent,
    ProviderKeyRotated,
    ProviderVerified,
    Unconnected,
)


class RecordConnection(Command):
    """A key is in the vault."""

    provider_id: Token
    fields: Names
    fingerprint: Fingerprint
    verified: bool


class RecordDisconnection(Command):
    """The key is out of it."""

    provider_id: Token
    reason: Annotated[str, Field(max_length=500)] = ""


def connection(command: RecordConnection, state: Unconnected | Connected, asked: Asked) -> list[ProviderEvent]:
    """Nothing for the same key again, unless the provider has now said that it is good."""
    told = {
        "provider_id": command.provider_id, "fields": tuple(sorted(command.fields)),
        "fingerprint": command.fingerprint, "verified": command.verified, "connected_by": asked.actor[:200],
        "connected_at": asked.time,
    }
    if isinstance(state, Unconnected):
        return [ProviderConnected.model_validate(told)]
    if state.fingerprint != command.fingerprint:
        return [ProviderKeyRotated.model_validate(told | {"previous": state.fingerprint})]
    if command.verified and not state.verified:
        return [ProviderVerified(provider_id=command.provider_id, fingerprint=command.fingerprint)]
    return []


def disconnection(command: RecordDisconnection, state: Unconnected | Connected, asked: Asked) -> list[ProviderEvent]:
    """Nothing where nothing is connected."""
    if isinstance(state, Unconnected):
        return []
    return [ProviderDisconnected(
        provider_id=command.provider_id, fingerprint=state.fingerprint, reason=command.reason
    )]


COMMANDS: tuple[Asking, ...] = ()
"""None has a door."""

INNER = (
    Asking(RecordConnection, connection, id_field="provider_id", scope="provider:write"),
    Asking(RecordDisconnection, disconnection, id_field="provider_id", scope="provider:write"),
)
"""What a service asks."""
