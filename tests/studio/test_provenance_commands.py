"""Asking for credentials and recording them: accepted, refused, repeated, raced."""

from __future__ import annotations

import pytest
from behaviour import given

from commands.studio.provenance import RecordSigning, RecordSigningFailure, SignAsset
from domain.errors import NotFound, Refused
from domain.studio.asset import Described, Registered, Removed, Unregistered
from domain.studio.provenance import (
    CONTEXT,
    AssetSigned,
    Failed,
    Signed,
    SignedIngredient,
    SigningFailed,
    SigningRequested,
    signed,
    words,
)

UID, DIGEST = "ab" * 8, "ab" * 32
ASSET = Registered(
    digest=DIGEST, size=3, media_type="image/png", content="image", described=Described(), references=()
)
REQUESTED = SigningRequested(uid=UID)
FAILED = SigningFailed(uid=UID, digest=DIGEST, reason="unreadable_file", message="It ends too early.")


def made(number: int = 1, standing: str = "valid") -> AssetSigned:
    return AssetSigned(
        uid=UID, digest=DIGEST, form="embedded", signed_digest=f"{number:064x}", signed_size=9, media_type="image/png",
        label=f"urn:c2pa:{number}", source_type="trainedAlgorithmicMedia",
        actions=({"action": "c2pa.created"},), assertion={"seed": "7"}, issuer="ComfyVN studio", certificate="cd" * 32,
        valid_until="2027-01-01T00:00:00Z", standing=standing,  # type: ignore[arg-type]
        ingredients=(SignedIngredient(uid="", title="a", relationship="parentOf", state="none", codes=(), depth=1),),
        generations=1,
    )


def test_whoever_asks_is_recorded_once() -> None:
    given(others=[ASSET]).when(SignAsset(uid=UID)).then(REQUESTED).and_again_nothing()


@pytest.mark.parametrize(("asset", "error", "kind"), [
    (Unregistered(), "unknown_asset", NotFound), (Removed(was=ASSET), "asset_removed", Refused),
])
def test_only_an_asset_that_is_offered_is_signed(asset: object, error: str, kind: type) -> None:
    given(others=[asset]).when(SignAsset(uid=UID)).then_refused(error, kind)


def test_what_is_signed_is_signed_again_only_when_that_is_said() -> None:
    given(made(), others=[ASSET]).when(SignAsset(uid=UID)).then_nothing()
    given(made(), others=[ASSET]).when(SignAsset(uid=UID, again=True)).then(REQUESTED)
    given(FAILED, others=[ASSET]).when(SignAsset(uid=UID)).then(REQUESTED)


def test_of_two_workers_that_signed_one_is_recorded() -> None:
    given().when(RecordSigning(signing=made(1))).then(made(1)).and_again_nothing()
    given(made(1)).when(RecordSigning(signing=made(2))).then_nothing()
    given(made(1), REQUESTED).when(RecordSigning(signing=made(2))).then(made(2))


def test_a_failure_is_recorded_once_and_takes_nothing_away() -> None:
    failure = RecordSigningFailure(uid=UID, digest=DIGEST, reason="unreadable_file", message="It ends too early.")
    given(REQUESTED).when(failure).then(FAILED).and_again_nothing()
    given(made()).when(failure).then_nothing()
    state = CONTEXT.initial
    for event in (made(), REQUESTED, FAILED):
        state = CONTEXT.evolve(state, event)
    assert isinstance(state, Signed)
    assert isinstance(CONTEXT.evolve(CONTEXT.initial, FAILED), Failed)


def test_credentials_stand_while_new_ones_are_wanted() -> None:
    state = CONTEXT.evolve(CONTEXT.evolve(CONTEXT.initial, made(1)), REQUESTED)
    found = signed(state)
    assert found is not None
    assert found.signed_digest == made(1).signed_digest


def test_words_promise_no_more_than_there_is() -> None:
    assert "untrusted outside" in words("valid", "embedded", [])
    assert "no C2PA manifest" in words("valid", "sidecar", [])
    marked = words("marked", "embedded", [{"title": "tram.png", "uid": "", "state": "invalid"}])
    assert "tram.png" in marked
    assert "not what was signed" in marked
    assert "nothing is claimed" in words("", "", [])
