"""From what c2pa-rs reports of a manifest store to a reading: the file, and every ingredient however deep, judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from domain.ports.credentials import Finding, Reading, ReadIngredient, State
from domain.texts import sayable

UNTRUSTED: Final = frozenset({"signingCredential.untrusted"})
"""Failures that say no more than that a certificate is on no list: ours is self-made."""

EXPIRED: Final = frozenset({"signingCredential.expired", "claimSignature.outsideValidity"})
"""Failures that time alone brings about."""

DEPTH: Final = 64
"""Deepest ingredient of an ingredient that is looked at."""

ASSET: Final = "urn:comfyvn:asset:"
"""What begins the instance id of an ingredient that is an asset; the asset's id follows."""

_FINDINGS: Final = 40


def read_store(store: Mapping[str, Any]) -> Reading:
    """The reading of a manifest store as c2pa-rs gives it out as JSON; one that is made otherwise is unreadable."""
    try:
        return _read(sayable(store))
    except (AttributeError, TypeError, LookupError, ValueError) as error:
        why = f"What it says of itself is not made as manifests are ({type(error).__name__})."
        return Reading("unreadable", "embedded", findings=(Finding("unreadable_manifest", why),))


def _read(store: Mapping[str, Any]) -> Reading:
    manifests = store.get("manifests") or {}
    label = str(store.get("active_manifest") or "")
    manifest = manifests[label]
    results = store.get("validation_results") or {}
    active = results.get("activeManifest") or {}
    findings = tuple(_failures(active))
    ingredients = tuple(_ingredients(manifests, label, results))
    signature = manifest.get("signature_info") or {}
    generators = manifest.get("claim_generator_info") or [{}]
    return Reading(
        state=_whole(judged(findings), ingredients), form="embedded", findings=findings, ingredients=ingredients,
        trusted="signingCredential.trusted" in _codes(active.get("success")),
        issuer=str(signature.get("issuer") or ""),
        generator=" ".join(str(generators[0].get(name) or "") for name in ("name", "version")).strip(),
        label=label, title=str(manifest.get("title") or ""), source_types=tuple(_source_types(manifest)),
        assertions={one["label"]: one.get("data") for one in manifest.get("assertions") or ()
                    if not str(one.get("label", "")).startswith("c2pa.")},
        manifest=dict(store),
    )


def judged(findings: Iterable[Finding]) -> State:
    """What failures other than that a certificate is on no list amount to."""
    codes = {one.code for one in findings} - UNTRUSTED
    if codes - EXPIRED:
        return "invalid"
    return "expired" if codes else "valid"


def _whole(own: State, ingredients: Iterable[ReadIngredient]) -> State:
    if own in ("invalid", "expired"):
        return own
    marked = any(one.state in ("invalid", "unreadable", "marked") for one in ingredients)
    return "marked" if marked else own


def _ingredients(
    manifests: Mapping[str, Any], label: str, results: Mapping[str, Any]
) -> Iterator[ReadIngredient]:
    """Every ingredient of every manifest, outermost first; a manifest that two were made from is looked at once.

    What c2pa-rs finds wrong with a store inside (the deltas) is added to the ingredient that it belongs to.
    """
    deltas: dict[tuple[str, str], list[Finding]] = {}
    for one in results.get("ingredientDeltas") or ():
        place = _place(str(one.get("ingredientAssertionURI") or ""), label)
        deltas.setdefault(place, []).extend(_failures(one.get("validationDeltas") or {}))
    seen = {label}
    level = [label]
    for depth in range(1, DEPTH + 1):
        below: list[str] = []
        for name in level:
            manifest = manifests.get(name) or {}
            for one in manifest.get("ingredients") or ():
                inner = str(one.get("active_manifest") or "")
                checks = one.get("validation_results") or {}
                findings = [*_failures(checks.get("activeManifest") or {}),
                            *deltas.get((name, str(one.get("label") or "")), ())]
                known = bool(inner or findings)
                yield ReadIngredient(
                    title=str(one.get("title") or ""), relationship=str(one.get("relationship") or ""),
                    state=judged(findings) if known else "none", findings=tuple(dict.fromkeys(findings)),
                    uid=_uid(str(one.get("instance_id") or "")), depth=depth,
                )
                if inner and inner not in seen:
                    seen.add(inner)
                    below.append(inner)
        level = below
        if not level:
            return


def _uid(instance: str) -> str:
    return instance.removeprefix(ASSET)[:16] if instance.startswith(ASSET) else ""


def _place(uri: str, label: str) -> tuple[str, str]:
    """(manifest, assertion) of a JUMBF address such as ``self#jumbf=/c2pa/<manifest>/c2pa.assertions/<assertion>``."""
    parts = uri.partition("#jumbf=")[2].strip("/").split("/")
    manifest = parts[1] if len(parts) > 2 and parts[0] == "c2pa" else label
    return manifest, parts[-1]


def _failures(results: Mapping[str, Any]) -> Iterator[Finding]:
    for one in (results.get("failure") or ())[:_FINDINGS]:
        yield Finding(str(one.get("code") or "general.error")[:120], str(one.get("explanation") or "")[:500])


def _codes(findings: Any) -> set[str]:
    return {str(one.get("code")) for one in findings or ()}


def _source_types(manifest: Mapping[str, Any]) -> Iterator[str]:
    for one in manifest.get("assertions") or ():
        if str(one.get("label", "")).startswith("c2pa.actions") and isinstance(one.get("data"), Mapping):
            for action in one["data"].get("actions") or ():
                if isinstance(action, Mapping) and action.get("digitalSourceType"):
                    yield str(action["digitalSourceType"])
