"""Asking for an asset to be signed, and recording what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from commands.declaration import Asking, Command
from commands.envelope import Asked
from domain.errors import NotFound, Refused, Remedy
from domain.ids import UNBRANCHED
from domain.ports import BlobInfo, Stream
from domain.studio.asset_values import Code, Digest, Uid
from domain.studio.provenance import (
    AssetSigned,
    ProvenanceEvent,
    Requested,
    SigningFailed,
    SigningRequested,
    State,
    Why,
    signed,
)

ASSETS = "asset"
"""The category of the streams whose states say what may be signed."""


class SignAsset(Command):
    """Sign an asset. ``again``: also where there are credentials already, to have newer ones."""

    uid: Uid
    again: bool = False


class RecordSigning(Command):
    """Record credentials that were made and stored as a blob."""

    signing: AssetSigned

    @property
    def uid(self) -> str:
        return self.signing.uid


class RecordSigningFailure(Command):
    """Record why no credentials could be made."""

    uid: Uid
    digest: Digest
    reason: Code
    message: Why = ""


def sign(command: SignAsset, state: State, asked: Asked, others: Sequence[Any]) -> list[ProvenanceEvent]:
    """Nothing where it is signed or wanted already; a removed asset is not signed."""
    (asset,) = others
    if asset.kind == "unregistered":
        raise NotFound(
            f"There is no asset {command.uid}.", error="unknown_asset",
            remediation=[Remedy("List the assets of the project.", "list_assets")], detail={"uid": command.uid},
        )
    if asset.kind == "removed":
        raise Refused(
            f"Asset {command.uid} has been removed.", error="asset_removed",
            remediation=[Remedy("Restore it first.", "restore_asset")], detail={"uid": command.uid},
        )
    if isinstance(state, Requested) or (signed(state) and not command.again):
        return []
    return [SigningRequested(uid=command.uid)]


def record(command: RecordSigning, state: State, asked: Asked) -> list[ProvenanceEvent]:
    """The first credentials stand until others are asked for: of two workers one records its own."""
    return [] if _done(state) else [command.signing]


def record_failure(command: RecordSigningFailure, state: State, asked: Asked) -> list[ProvenanceEvent]:
    """A failure takes no credentials away, and the same one is told once."""
    if _done(state) or (state.kind == "failed" and state.reason == command.reason):
        return []
    return [SigningFailed(
        uid=command.uid, digest=command.digest, reason=command.reason, message=command.message
    )]


def _done(state: State) -> bool:
    return state.kind == "signed"


def asset_of(command: SignAsset, asked: Asked) -> Sequence[Stream]:
    """The stream of the asset that is to be signed."""
    return [Stream(asked.project, UNBRANCHED, ASSETS, command.uid)]


def stored(command: RecordSigning) -> Sequence[BlobInfo]:
    """What must be stored before it is recorded."""
    return [BlobInfo(command.signing.signed_digest, command.signing.signed_size)]


COMMANDS = (
    Asking(SignAsset, sign, id_field="uid", scope="provenance:write", route="POST /api/assets/{uid}/sign",
           others=asset_of),
)

INNER = (
    Asking(RecordSigning, record, id_field="uid", scope="provenance:write", blobs=stored),
    Asking(RecordSigningFailure, record_failure, id_field="uid", scope="provenance:write"),
)
"""What the worker records; nobody else may say what was signed, so no door leads here."""
