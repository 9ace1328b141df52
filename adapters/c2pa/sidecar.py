"""Credentials beside a file: a JSON statement signed with our own key, for formats that C2PA cannot write into.

``{"credentials": "comfyvn.credentials@1", "claim": {…}, "signature": {"alg": "ES256", "certificates": […],
"value": …}}``; the signature is ECDSA with SHA-256 (r and s, 32 bytes each, base64) over the canonical JSON (RFC 8785)
of ``claim``. It is no C2PA manifest, and other tools do not read it; it says of a file's hash what a manifest would.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from adapters.c2pa.keys import Chain, issued
from domain.canonical import canonical
from domain.errors import ComfyVNError
from domain.ports.credentials import Claim, Finding, Reading, ReadIngredient, State
from domain.texts import sayable

FORM: Final = "comfyvn.credentials@1"
SIZE_LIMIT: Final = 2**20
MEDIA_TYPE: Final = "application/json"
_STATES: Final = ("valid", "marked", "expired", "invalid", "none", "unreadable")


def written(claim: Claim, chain: Chain, generator: str, time: datetime, below: Sequence[ReadIngredient]) -> bytes:
    """The sidecar of a claim; ``below`` says how each ingredient stood when this was signed."""
    said: dict[str, Any] = {
        "title": claim.title, "media_type": claim.media_type,
        "content": {"sha256": claim.digest, "bytes": claim.size}, "generator": generator,
        "time": time.isoformat().replace("+00:00", "Z"),
        "actions": [
            {"action": one.name, **({"digitalSourceType": one.source_type} if one.source_type else {}),
             **({"ingredients": list(one.ingredients)} if one.ingredients else {})}
            for one in claim.actions
        ],
        "ingredients": [
            {"title": one.title, "relationship": one.relationship, "uid": one.uid, "sha256": one.digest,
             "media_type": one.media_type, "state": found.state,
             "findings": [finding._asdict() for finding in found.findings]}
            for one, found in zip(claim.ingredients, below, strict=True)
        ],
        "assertions": dict(claim.assertions),
    }
    first, second = decode_dss_signature(chain.key.sign(canonical(said), ec.ECDSA(hashes.SHA256())))
    signature = {
        "alg": "ES256", "certificates": [_text(chain.leaf), _text(chain.root)],
        "value": b64encode(first.to_bytes(32, "big") + second.to_bytes(32, "big")).decode(),
    }
    return json.dumps({"credentials": FORM, "claim": said, "signature": signature}, indent=2).encode() + b"\n"


def read(path: str, sidecar: str, roots: Sequence[x509.Certificate], now: datetime) -> Reading:
    """What a sidecar says of a file, and whether it holds."""
    try:
        if Path(sidecar).stat().st_size > SIZE_LIMIT:
            return _unreadable(f"it is larger than {SIZE_LIMIT} bytes")
        told = json.loads(Path(sidecar).read_bytes())
        if not isinstance(told, dict) or told.get("credentials") != FORM:
            return _unreadable("it is no sidecar of credentials")
        claim, signature = told["claim"], told["signature"]
        certificates = [x509.load_pem_x509_certificate(one.encode()) for one in signature["certificates"][:8]]
        raw = b64decode(signature["value"], validate=True)
        leaf, signed = certificates[0], canonical(claim)
        reading, key = _said(claim, leaf), leaf.public_key()
        content = _content(path, claim)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, UnsupportedAlgorithm,
            ComfyVNError) as error:
        return _unreadable(f"{type(error).__name__}: {error}"[:200])
    findings = [*_signature(key, raw, signed), *content, *_validity(leaf, now)]
    trusted = any(issued(leaf, root) for root in roots)
    if not trusted:
        findings.append(Finding("signingCredential.untrusted", "The certificate leads to no root that is known here."))
    codes = {one.code for one in findings} - {"signingCredential.untrusted"}
    state: State = "valid"
    if codes - {"signingCredential.expired"}:
        state = "invalid"
    elif codes:
        state = "expired"
    elif any(one.state in ("invalid", "marked", "unreadable") for one in reading.ingredients):
        state = "marked"
    return Reading(**{
        **{name: getattr(reading, name) for name in Reading.__dataclass_fields__}, "state": state, "trusted": trusted,
        "findings": tuple(findings), "manifest": sayable(told),
    })


def _said(claim: dict[str, Any], leaf: x509.Certificate) -> Reading:
    ingredients = tuple(
        ReadIngredient(
            str(one["title"]), str(one["relationship"]), one["state"] if one["state"] in _STATES else "unreadable",
            tuple(Finding(str(found["code"]), str(found["message"])) for found in one["findings"]), str(one["uid"]),
        )
        for one in claim["ingredients"]
    )
    issuer = leaf.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return Reading(
        state="valid", form="sidecar", ingredients=ingredients, issuer=str(issuer[0].value) if issuer else "",
        generator=str(claim["generator"]), label=hashlib.sha256(canonical(claim)).hexdigest(),
        title=str(claim["title"]),
        source_types=tuple(str(one["digitalSourceType"]) for one in claim["actions"] if "digitalSourceType" in one),
        assertions=dict(claim["assertions"]),
    )


def _signature(key: object, raw: bytes, signed: bytes) -> list[Finding]:
    try:
        if not isinstance(key, ec.EllipticCurvePublicKey) or len(raw) != 64:
            raise InvalidSignature
        whole = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        key.verify(whole, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return [Finding("claimSignature.mismatch", "The statement is not what was signed.")]
    return []


def _content(path: str, claim: dict[str, Any]) -> list[Finding]:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(2**20):
            found.update(piece)
    content = claim.get("content")
    if not isinstance(content, dict) or content.get("sha256") != found.hexdigest():
        return [Finding("assertion.dataHash.mismatch", "The file is not the one that was signed.")]
    return []


def _validity(leaf: x509.Certificate, now: datetime) -> list[Finding]:
    if leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        return []
    return [Finding("signingCredential.expired", f"The certificate was valid until {leaf.not_valid_after_utc}.")]


def _unreadable(why: str) -> Reading:
    return Reading("unreadable", "sidecar", findings=(Finding("sidecar.unreadable", f"It cannot be read: {why}."),))


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
