"""Signs files and reads what is signed in them: C2PA manifests by c2pa-python, and sidecars for everything else.

Thumbnails are off (they cost a hundred milliseconds and half a megabyte), nothing is ever fetched from the network, and
what was signed is read back before it counts as signed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from adapters.c2pa import reading, sidecar
from adapters.c2pa.child import SETTINGS
from adapters.c2pa.guarded import GUARDED, Guarded
from adapters.c2pa.keys import Chain, KeyFolder, utc
from domain.ports.credentials import Claim, Finding, Reading, ReadIngredient, Signed, Unsignable

EMBEDDED: Final[Mapping[str, str]] = {
    "image/png": "image/png", "image/jpeg": "image/jpeg", "image/webp": "image/webp", "image/avif": "image/avif",
    "audio/wav": "audio/wav", "audio/mpeg": "audio/mpeg", "audio/flac": "audio/flac", "video/mp4": "video/mp4",
}
"""Media types that were tried, as c2pa-rs calls them. It reads more; what was not tried gets a sidecar."""

READ: Final[Mapping[str, str]] = {
    **EMBEDDED, "image/gif": "image/gif", "image/tiff": "image/tiff", "image/heic": "image/heic",
    "image/heif": "image/heif", "audio/mp4": "audio/mp4", "video/quicktime": "mov", "video/vnd.avi": "avi",
    "application/pdf": "application/pdf",
}
"""Media types in which somebody else's manifest is looked for."""


class OwnCredentials:
    """``domain.ports.credentials.Credentials`` with keys of our own. ``embedding`` of ``None``: where c2pa-python is
    installed; it is loaded when it is first needed."""

    def __init__(
        self, keys: KeyFolder, *, version: str = "", embedding: bool | None = None,
        clock: Callable[[], datetime] = utc, reader: Guarded = GUARDED,
    ) -> None:
        self._keys = keys
        self._version = version
        self._embedding = embedding
        self._clock = clock
        self._reader = reader

    @property
    def embeds(self) -> bool:
        if self._embedding is None:
            self._embedding = _installed()
        return self._embedding

    def embeds_into(self, media_type: str) -> bool:
        return self.embeds and media_type in EMBEDDED

    def roots(self) -> str:
        self._keys.chain()
        return self._keys.roots_pem()

    def sign(self, source: str, destination: str, claim: Claim) -> Signed:
        chain = self._keys.chain()
        if self.embeds_into(claim.media_type):
            self._embed(source, destination, claim, chain)
            found, form, media_type = self.read(destination, claim.media_type), "embedded", claim.media_type
        else:
            below = [self._stands(one.path, one.media_type, one.title, one.relationship, one.uid)
                     for one in claim.ingredients]
            made = sidecar.written(claim, chain, self._generator, self._clock(), below)
            Path(destination).write_bytes(made)
            found, form, media_type = self.read(source, claim.media_type, destination), "sidecar", sidecar.MEDIA_TYPE
        if found.state not in ("valid", "marked") or not found.trusted:
            why = "; ".join(one.message or one.code for one in found.findings) or found.state
            raise Unsignable("self_check", f"What was signed does not read back as it should: {why}"[:400])
        return Signed(form, media_type, chain.fingerprint, chain.valid_until, found)  # type: ignore[arg-type]

    def read(self, path: str, media_type: str, sidecar: str | None = None) -> Reading:
        if sidecar is not None:
            return self._sidecar(path, sidecar)
        if media_type not in READ:
            return Reading("none", findings=(Finding("unsupported", f"{media_type} holds no manifest."),))
        if not self.embeds:
            return Reading("unreadable", "embedded", findings=(Finding(
                "c2pa_missing", "c2pa-python is not installed here: pip install 'comfyvn[provenance]'."),))
        return self._embedded(path, READ[media_type])

    @property
    def _generator(self) -> str:
        return f"ComfyVN {self._version}".strip()

    def _sidecar(self, path: str, place: str) -> Reading:
        return sidecar.read(path, place, self._keys.roots(), self._clock())

    def _stands(
        self, path: str | None, media_type: str, title: str, relationship: str, uid: str
    ) -> ReadIngredient:
        found = Reading("none") if path is None or media_type not in EMBEDDED else self.read(path, media_type)
        state = "none" if found.state == "unreadable" and not self.embeds else found.state
        return ReadIngredient(title, relationship, state, found.findings, uid)

    # --- embedded -------------------------------------------------------------------------------------------------

    def _embedded(self, path: str, kind: str) -> Reading:
        told = self._reader.read(path, kind, self._keys.roots_pem())
        if "unreadable" in told:
            return _unreadable(told["unreadable"])
        store = told.get("store")
        if store is None:
            return Reading("none")
        return reading.read_store(store)

    def _embed(self, source: str, destination: str, claim: Claim, chain: Chain) -> None:
        c2pa = _c2pa()
        kind = EMBEDDED[claim.media_type]
        # Labels join ingredients to actions; instance ids carry our own ids through, whatever their order becomes.
        told = [
            {"title": one.title, "relationship": one.relationship, "label": _label(number),
             "instance_id": reading.ASSET + one.uid, "format": one.media_type}
            for number, one in enumerate(claim.ingredients)
        ]
        whole = {number for number, one in enumerate(claim.ingredients)
                 if one.path is not None and one.media_type in EMBEDDED}
        manifest = {
            "claim_version": 2, "title": claim.title, "format": kind,
            "claim_generator_info": [{"name": "ComfyVN", **({"version": self._version} if self._version else {})}],
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": [_action(one) for one in claim.actions]}},
                *({"label": label, "data": data} for label, data in claim.assertions.items()),
            ],
            "ingredients": [one for number, one in enumerate(told) if number not in whole],
        }
        info = c2pa.C2paSignerInfo(b"es256", chain.pem, chain.private_pem, None)
        try:
            with contextlib.ExitStack() as stack:
                context = stack.enter_context(c2pa.Context.from_dict(dict(SETTINGS)))
                builder = stack.enter_context(c2pa.Builder(manifest, context))
                for number in sorted(whole):
                    one = claim.ingredients[number]
                    file = stack.enter_context(open(str(one.path), "rb"))
                    builder.add_ingredient(told[number], EMBEDDED[one.media_type], file)
                signer = stack.enter_context(c2pa.Signer.from_info(info))
                before = stack.enter_context(open(source, "rb"))
                after = stack.enter_context(open(destination, "w+b"))
                builder.sign(signer, kind, before, after)
        except (c2pa.C2paError, ValueError) as error:
            raise Unsignable("unreadable_file", f"The file cannot be signed: {_words(error)}") from error


def _action(one: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"action": one.name}
    if one.source_type:
        told["digitalSourceType"] = one.source_type
    if one.ingredients:
        told["parameters"] = {"ingredientIds": [_label(number) for number in one.ingredients]}
    return told


def _label(number: int) -> str:
    return f"ingredient{number}"


def _c2pa() -> Any:
    import c2pa

    return c2pa


def _installed() -> bool:
    try:
        import c2pa  # noqa: F401 - whether its native part loads is known only then
    except (ImportError, OSError, RuntimeError):
        return False
    return True


def _unreadable(why: str) -> Reading:
    return Reading("unreadable", "embedded", findings=(Finding("unreadable_file", why),))


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
