"""Provenance of assets: a request for credentials, the signed file that came of it, or why there is none.

One aggregate per asset, under the asset's id. The asset itself is never changed: the signed bytes are a blob of their
own.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, assert_never

from pydantic import Field, JsonValue

from domain.context import Context
from domain.studio.asset_values import Code, Digest, MediaType, Name, Uid
from domain.values import Event, Value

CATEGORY = "provenance"
INGREDIENT_LIMIT: Final = 1000

Form = Literal["embedded", "sidecar"]
Standing = Literal["valid", "marked"]
"""Of what was signed: as it should be, or with something in it that is not (a tampered parent)."""

IngredientState = Literal["valid", "marked", "expired", "invalid", "none", "unreadable"]
Why = Annotated[str, Field(max_length=500)]


class SignedIngredient(Value):
    """How an ingredient stood when something made from it was signed; ``depth`` 1 is what it was made from itself."""

    uid: Annotated[str, Field(pattern=r"^([0-9a-f]{16})?\z")]
    title: Annotated[str, Field(max_length=200)]
    relationship: Annotated[str, Field(max_length=40)]
    state: IngredientState
    codes: Annotated[tuple[Annotated[str, Field(max_length=120)], ...], Field(max_length=40)]
    depth: int = Field(ge=1)


class SigningRequested(Event):
    """Somebody wants credentials for the asset, or new ones."""

    uid: Uid


class AssetSigned(Event):
    """The asset's bytes (``digest``) were signed; what came of it is kept under ``signed_digest``.

    ``embedded``: the same file with a C2PA manifest in it. ``sidecar``: a signed JSON statement beside the file.
    ``source_type`` is an IPTC term; ``actions`` and ``assertion`` are what the statement says; ``certificate`` is the
    SHA-256 of the one that signed, which ends at ``valid_until``. ``generations`` counts the manifests inside.
    """

    uid: Uid
    digest: Digest
    form: Form
    signed_digest: Digest
    signed_size: int = Field(ge=1)
    media_type: MediaType
    label: Annotated[str, Field(max_length=200)]
    source_type: Annotated[str, Field(max_length=60)]
    actions: Annotated[tuple[dict[str, JsonValue], ...], Field(max_length=200)]
    assertion: dict[str, JsonValue]
    issuer: Name
    certificate: Digest
    valid_until: Annotated[str, Field(max_length=40)]
    standing: Standing
    ingredients: Annotated[tuple[SignedIngredient, ...], Field(max_length=INGREDIENT_LIMIT)]
    generations: int = Field(ge=1)


class SigningFailed(Event):
    """No credentials could be made: ``reason`` is a code, ``message`` a sentence."""

    uid: Uid
    digest: Digest
    reason: Code
    message: Why


ProvenanceEvent = SigningRequested | AssetSigned | SigningFailed


class Unsigned(Value):
    """Nobody has asked for credentials."""

    kind: Literal["unsigned"] = "unsigned"


class Signed(Value):
    """There are credentials."""

    kind: Literal["signed"] = "signed"
    digest: Digest
    form: Form
    signed_digest: Digest
    signed_size: int
    media_type: MediaType
    source_type: str
    valid_until: str
    generations: int


class Failed(Value):
    """There could be made none."""

    kind: Literal["failed"] = "failed"
    reason: str


class Requested(Value):
    """Credentials are wanted; ``was`` stands until they are made."""

    kind: Literal["requested"] = "requested"
    was: Annotated[Unsigned | Signed | Failed, Field(discriminator="kind")]


State = Unsigned | Requested | Signed | Failed
ProvenanceState = Annotated[State, Field(discriminator="kind")]


def evolve(state: State, event: ProvenanceEvent) -> State:
    """What an event makes of it; credentials once made stand until there are others."""
    match event:
        case SigningRequested():
            return state if isinstance(state, Requested) else Requested(was=state)
        case AssetSigned():
            return Signed(
                digest=event.digest, form=event.form, signed_digest=event.signed_digest,
                signed_size=event.signed_size, media_type=event.media_type, source_type=event.source_type,
                valid_until=event.valid_until, generations=event.generations,
            )
        case SigningFailed():
            before = state.was if isinstance(state, Requested) else state
            return before if isinstance(before, Signed) else Failed(reason=event.reason)
        case _:
            assert_never(event)


def signed(state: State) -> Signed | None:
    """The credentials that stand, also while new ones are wanted."""
    state = state.was if isinstance(state, Requested) else state
    return state if isinstance(state, Signed) else None


def words(standing: str, form: str, ingredients: list[dict[str, Any]]) -> str:
    """What credentials amount to, as one says it to a person who is to believe it."""
    if not standing:
        return "No credentials: nothing is claimed about how this file came to be."
    what = ("A C2PA manifest in the file" if form == "embedded"
            else "A signed statement beside the file (no C2PA manifest: this format or this installation has none)")
    trust = ("signed with this studio's self-made certificate: valid, and untrusted outside unless its root is "
             "trusted there; without a trusted timestamp")
    if standing == "marked":
        bad = [one["title"] or one["uid"] or "an ingredient" for one in ingredients
               if one["state"] in ("invalid", "marked", "unreadable")]
        return (f"{what}, {trust}. The file is as it was signed, but what it was made from is not what was signed "
                f"once: {', '.join(bad[:5])}.")
    return f"{what}, {trust}. The file is as it was signed."


CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(SigningRequested, AssetSigned, SigningFailed),
    state=ProvenanceState,
    initial=Unsigned(),
    evolve=evolve,
)
