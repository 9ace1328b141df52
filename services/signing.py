"""From an asset and its lineage to signed bytes: the claim, its ingredients, the signing, and what is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from commands.declaration import Command
from commands.studio.provenance import RecordSigning, RecordSigningFailure
from domain.errors import NotFound, Remedy, Unavailable
from domain.ids import UNBRANCHED
from domain.ports import Stream
from domain.ports.credentials import Action, Claim, Credentials, Ingredient, Reading, Signed, Unsignable
from domain.studio import asset as assets
from domain.studio import generated, provenance
from domain.studio.generated import Generation
from domain.studio.source_types import address
from services.scratch import no_room, scratch
from services.studio import Studio

ASSERTION: Final = "org.comfyvn.generation"
"""Label of what we say of a generation in every signed statement."""

DEEPEST: Final = 64
"""Most manifests inside a file that is embedded in what is made from it; beyond that a hash of it has to do."""

PATIENCE_SECONDS: Final = 10.0
"""How long signing waits for an ingredient that is being signed itself."""


class Parent(NamedTuple):
    """An ingredient with what is kept of it: its asset and its credentials, where there are any."""

    uid: str
    role: str
    asset: assets.Registered | None
    signed: provenance.Signed | None


async def signing(studio: Studio, project: str, uid: str) -> list[Command]:
    """Signs an asset and stores what came of it; the command that records it, or why there is nothing to record.

    Raises ``Unavailable`` for what may be otherwise in a moment (keys, disk, blobs).
    """
    asset = await _asset(studio, project, uid)
    if asset is None:
        return []
    generation = generated.generation_of(asset.described.sources, asset.described.metadata, uid=uid)
    parents = await _parents(studio, project, uid, asset, generation)
    try:
        with scratch(studio.settings, "sign") as folder:
            return [await _signed(studio, folder, uid, asset, generation, parents)]
    except Unsignable as error:
        return [_failure(uid, asset, error.reason, error.message)]
    except NotFound:
        return [_failure(uid, asset, "blob_missing", "The bytes of the asset are not kept here.")]
    except OSError as error:
        raise no_room(error, studio.settings.data, asset.size) from error


async def _signed(
    studio: Studio, folder: Path, uid: str, asset: assets.Registered, generation: Generation | None,
    parents: Sequence[Parent],
) -> RecordSigning:
    credentials = _credentials(studio)
    source, destination = folder / "asset", folder / "signed"
    await _fetched(studio, asset.digest, asset.size, source)
    ingredients = [await _ingredient(studio, credentials, folder, number, one) for number, one in enumerate(parents)]
    own = await asyncio.to_thread(_present, credentials, source, asset.media_type)
    terms = {one.uid: one.signed.source_type for one in parents if one.signed is not None}
    steps = generated.steps(generation._replace(ingredients=tuple(
        generated.Ingredient(one.uid, "parent" if one.role == "parent" else "component") for one in parents
    )), terms) if generation else ()
    if own is not None or generation is None:
        # The file itself is what was opened: nothing is claimed about how it came to be, and a manifest that it
        # brought along stays inside.
        was = Ingredient(uid, asset.described.name or uid, "parentOf", asset.media_type, asset.digest, str(source))
        ingredients = [was, *(_component(one) for one in ingredients)]
        steps = _opened(steps)
    claim = Claim(
        title=asset.described.name or uid, media_type=asset.media_type, digest=asset.digest, size=asset.size,
        actions=[Action(one.action, address(one.term) if one.term else "", one.ingredients) for one in steps],
        ingredients=ingredients, assertions={ASSERTION: assertion(uid, asset, generation, ingredients)},
    )
    told = await asyncio.to_thread(credentials.sign, str(source), str(destination), claim)
    stored = await studio.blobs.put_file(str(destination))
    return RecordSigning(signing=provenance.AssetSigned(
        uid=uid, digest=asset.digest, form=told.form, signed_digest=stored.digest, signed_size=stored.size,
        media_type=told.media_type, label=told.reading.label[:200], source_type=generated.term_of(steps),
        actions=tuple(_action(one) for one in claim.actions), assertion=dict(claim.assertions[ASSERTION]),
        issuer=told.reading.issuer[:200], certificate=told.certificate, valid_until=told.valid_until,
        standing="marked" if told.reading.state == "marked" else "valid", ingredients=_stood(told, ingredients),
        generations=1 + max((one.signed.generations for one in parents if one.signed is not None), default=0),
    ))


def assertion(
    uid: str, asset: assets.Registered, generation: Generation | None, ingredients: Sequence[Ingredient]
) -> dict[str, Any]:
    """What we say in our own words: how it was generated, of what, and the hash of the bytes before signing."""
    return {
        "asset": uid, "content_sha256": asset.digest, "content_bytes": asset.size,
        **(generation.told() if generation else {}),
        "ingredients": [
            {"uid": one.uid, "sha256": one.digest, "relationship": one.relationship} for one in ingredients
        ],
    }


def _opened(steps: Sequence[generated.Step]) -> tuple[generated.Step, ...]:
    """The same actions on a file that is its own parent, at place 0 before all others."""
    later = [
        one._replace(action="c2pa.edited" if one.action == "c2pa.created" else one.action,
                     ingredients=tuple(place + 1 for place in one.ingredients))
        for one in steps if one.action != "c2pa.opened"
    ]
    return (generated.Step("c2pa.opened", "", (0,)), *later)


def _component(one: Ingredient) -> Ingredient:
    return Ingredient(one.uid, one.title, "componentOf", one.media_type, one.digest, one.path)


def _action(one: Action) -> dict[str, Any]:
    return {"action": one.name, **({"digitalSourceType": one.source_type} if one.source_type else {}),
            **({"ingredients": list(one.ingredients)} if one.ingredients else {})}


def _stood(told: Signed, ingredients: Sequence[Ingredient]) -> tuple[provenance.SignedIngredient, ...]:
    return tuple(
        provenance.SignedIngredient(
            uid=one.uid, title=one.title[:200], relationship=one.relationship[:40], state=one.state,
            codes=tuple(dict.fromkeys(finding.code[:120] for finding in one.findings))[:40], depth=one.depth,
        )
        for one in told.reading.ingredients[: provenance.INGREDIENT_LIMIT]
    )


def _present(credentials: Credentials, source: Path, media_type: str) -> Reading | None:
    """The credentials that a file brought along, whatever they are worth; nothing where there are none."""
    found = credentials.read(str(source), media_type) if credentials.embeds_into(media_type) else Reading("none")
    if found.state == "unreadable":
        why = "; ".join(one.message for one in found.findings)
        raise Unsignable("unreadable_file", f"The file cannot be read for signing: {why}"[:400])
    return None if found.state == "none" else found


async def _asset(studio: Studio, project: str, uid: str) -> assets.Registered | None:
    state = await newest(studio, project, assets.CATEGORY, uid)
    return state if isinstance(state, assets.Registered) else None


async def standing(studio: Studio, project: str, uid: str) -> provenance.State:
    """How an asset stands with its credentials, from the log."""
    state: provenance.State = await newest(studio, project, provenance.CATEGORY, uid)
    return state


async def newest(studio: Studio, project: str, category: str, uid: str) -> Any:
    """The state of an aggregate as the log has it now: another process may have moved it on since this one looked."""
    stream = Stream(project, UNBRANCHED, category, uid)
    studio.dispatcher.aggregates.forget(stream)
    return (await studio.dispatcher.aggregates.load(stream)).state


async def _parents(
    studio: Studio, project: str, uid: str, asset: assets.Registered, generation: Generation | None
) -> list[Parent]:
    wanted = list(generation.ingredients) if generation else [
        generated.Ingredient(one, "component") for one in
        generated.parents_of(asset.described.sources, asset.described.metadata, uid=uid)[:generated.INGREDIENT_LIMIT]
    ]
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    found = []
    for one in wanted:
        there = await newest(studio, project, assets.CATEGORY, one.uid)
        kept = there.was if isinstance(there, assets.Removed) else there
        known = kept if isinstance(kept, assets.Registered) else None
        state = await standing(studio, project, one.uid)
        while known is not None and state.kind == "unsigned" and _will_be_signed(known, one.uid) and (
            asyncio.get_running_loop().time() < deadline
        ):
            await asyncio.sleep(0.1)  # another task or another worker signs it, and tells nobody but the log
            state = await standing(studio, project, one.uid)
        found.append(Parent(one.uid, one.role, known, provenance.signed(state)))
    return found


def _will_be_signed(asset: assets.Registered, uid: str) -> bool:
    return generated.generation_of(asset.described.sources, asset.described.metadata, uid=uid) is not None


async def _ingredient(
    studio: Studio, credentials: Credentials, folder: Path, number: int, one: Parent
) -> Ingredient:
    relationship: Any = "parentOf" if one.role == "parent" else "componentOf"
    if one.asset is None:
        return Ingredient(one.uid, one.uid, relationship, "application/octet-stream", "")
    kept, path = one.asset, None
    signed = one.signed
    embedded = signed is not None and signed.form == "embedded" and signed.generations < DEEPEST
    if credentials.embeds_into(kept.media_type) and (signed is None or embedded):
        path = folder / f"ingredient{number}"
        try:
            if signed is not None:
                await _fetched(studio, signed.signed_digest, signed.signed_size, path)
            else:
                await _fetched(studio, kept.digest, kept.size, path)
        except NotFound:
            path = None  # its hash still says which bytes it was
    if path is not None and await asyncio.to_thread(_is_broken, credentials, path, kept.media_type):
        path = None
    return Ingredient(one.uid, kept.described.name or one.uid, relationship, kept.media_type, kept.digest,
                      None if path is None else str(path))


def _is_broken(credentials: Credentials, path: Path, media_type: str) -> bool:
    return credentials.read(str(path), media_type).state == "unreadable"


async def _fetched(studio: Studio, digest: str, size: int, path: Path) -> None:
    with open(path, "wb") as file:  # noqa: ASYNC230 - opening is quick; the writing is done in a thread
        async for piece in studio.blobs.stream(digest, 0, size):
            await asyncio.to_thread(file.write, piece)


def _failure(uid: str, asset: assets.Registered, reason: str, message: str) -> RecordSigningFailure:
    return RecordSigningFailure(uid=uid, digest=asset.digest, reason=reason, message=message[:500])


def _credentials(studio: Studio) -> Credentials:
    if studio.credentials is None:
        raise Unavailable(
            "This process has no signing keys.", error="no_signing_keys",
            remediation=[Remedy("Ask the studio's worker.", "retry")],
        )
    return studio.credentials


async def read_file(
    credentials: Credentials, path: Path, media_type: str, sidecar: Path | None = None
) -> Reading:
    """What the credentials in a file, or beside it, say; off the event loop."""
    return await asyncio.to_thread(
        credentials.read, str(path), media_type, None if sidecar is None else str(sidecar)
    )


async def read_kept(studio: Studio, project: str, uid: str) -> tuple[provenance.Signed | None, Reading]:
    """The credentials that an asset has, read again from the bytes that are kept. Exports may use it for what they
    write beside a file. Raises ``NotFound`` for an unknown asset and for bytes that are not kept here."""
    there = await newest(studio, project, assets.CATEGORY, uid)
    kept = there.was if isinstance(there, assets.Removed) else there
    if not isinstance(kept, assets.Registered):
        raise NotFound(
            f"There is no asset {uid}.", error="unknown_asset",
            remediation=[Remedy("List the assets of the project.", "list_assets")], detail={"uid": uid},
        )
    signed = provenance.signed(await standing(studio, project, uid))
    credentials = _credentials(studio)
    with scratch(studio.settings, "credentials") as folder:
        try:
            source = folder / "asset"
            if signed is None or signed.form == "sidecar":
                await _fetched(studio, kept.digest, kept.size, source)
            else:
                await _fetched(studio, signed.signed_digest, signed.signed_size, source)
            beside = None
            if signed is not None and signed.form == "sidecar":
                beside = folder / "sidecar"
                await _fetched(studio, signed.signed_digest, signed.signed_size, beside)
        except OSError as error:
            raise no_room(error, folder, kept.size) from error
        return signed, await read_file(credentials, source, kept.media_type, beside)


WORDS: Final[Mapping[str, str]] = {
    "valid": "The file is as it was signed.",
    "marked": "The file is as it was signed, but something that it was made from is not what was signed once.",
    "expired": "The file is as it was signed, by a certificate that is over; without a trusted timestamp nobody can "
               "tell whether it was signed in time.",
    "invalid": "The file, or what is said of it, was changed after signing.",
    "none": "There are no credentials in this file: nothing is claimed about how it came to be.",
    "unreadable": "The file cannot be read for credentials.",
}


def judgement(found: Reading) -> str:
    """What a reading amounts to, as one says it to a person who is to believe it."""
    said = WORDS[found.state]
    if found.state in ("valid", "marked"):
        said += (" The signature leads to this studio's own root: trusted here, valid and untrusted outside."
                 if found.trusted else " Who signed it is on no list that is known here: valid, untrusted.")
    return said


def shown(found: Reading) -> dict[str, Any]:
    """A reading as JSON."""
    return {
        "state": found.state, "form": found.form, "trusted": found.trusted, "words": judgement(found),
        "issuer": found.issuer, "generator": found.generator, "label": found.label, "title": found.title,
        "digital_source_types": list(found.source_types),
        "findings": [one._asdict() for one in found.findings],
        "ingredients": [
            {"uid": one.uid, "title": one.title, "relationship": one.relationship, "state": one.state,
             "depth": one.depth, "findings": [finding._asdict() for finding in one.findings]}
            for one in found.ingredients
        ],
        "assertions": dict(found.assertions), "manifest": dict(found.manifest),
    }
