"""The registry of providers: bring your own key. A key is tried, sealed, and only the fact of it recorded."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from commands.trust.provider import RecordConnection, RecordDisconnection
from domain.errors import ComfyVNError, Invalid, NotFound, Refused, Remedy, Unavailable
from domain.ids import UNBRANCHED
from domain.ports import Stream
from domain.ports.engines import Balance, Engine, EngineError
from domain.ports.secrets import Kept
from domain.studio.fault import Fault, fault
from domain.trust.provider import CATEGORY, Connected
from services.generation.engines import KNOWN
from services.provider_remedies import remedies, unanswered
from services.redaction import SECRETS, redact
from services.studio import Asker, Studio

PROJECT: Final = "default"
"""Connections are the installation's. Their events stand in the project that every installation has."""

PATIENCE_SECONDS: Final = 20.0
"""How long a provider may take to say whether a key is good."""

_KEY: Final = re.compile(r"[\x21-\x7e]{8,4096}\Z")
"""Visible ASCII: what can stand in a header. Nothing that is to be kept secret is shorter."""


class KeyField(NamedTuple):
    """One part of a provider's key."""

    name: str
    about: str
    required: bool = True


class Provider(NamedTuple):
    """What a provider's key is made of, and where people get one."""

    id: str
    name: str
    fields: tuple[KeyField, ...]
    keys_at: str
    balance: str
    hub: bool = False
    """A hub gives files and does no work: nobody asks it whether its key is good until something is downloaded."""


PROVIDERS: Final[dict[str, Provider]] = {one.id: one for one in (
    Provider("provider_kling", "Kling AI", (
        KeyField("access_key", "Access key of the developer console."),
        KeyField("secret_key", "Secret key that belongs to it; requests are signed with it here, it is never sent."),
    ), "https://app.klingai.com/global/dev", "Resource packs; the provider tells up to 12 hours late."),
    Provider("provider_fal", "fal", (
        KeyField("api_key", "Key of the dashboard, as `id:secret`."),
        KeyField("admin_key", "Key with admin rights; only the balance needs one.", required=False),
    ), "https://fal.ai/dashboard/keys", "Told to an admin key alone."),
    Provider("provider_runware", "Runware", (
        KeyField("api_key", "Key of the dashboard."),
    ), "https://my.runware.ai/keys", "Told by the provider."),
    Provider("provider_synclabs", "Sync", (
        KeyField("api_key", "Key of the settings page."),
    ), "https://sync.so/settings/api-keys", "Not told by the provider."),
    Provider("hub_huggingface", "Hugging Face", (
        KeyField("api_key", "Access token that may read; sent to huggingface.co alone."),
    ), "https://huggingface.co/settings/tokens", "It gives files; there is nothing to pay.", hub=True),
    Provider("hub_civitai", "Civitai", (
        KeyField("api_key", "API key of the account; sent to civitai.com alone."),
    ), "https://civitai.com/user/account", "It gives files; there is nothing to pay.", hub=True),
)}
"""Providers that need a key, by their engine's id."""


@dataclass(slots=True)
class Providers:
    """The registry of one studio."""

    studio: Studio
    patience_seconds: float = PATIENCE_SECONDS
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    # --- looking ----------------------------------------------------------------------------------------------------

    async def list(self) -> dict[str, Any]:
        """Every provider and how the vault stands. Never fails because the vault cannot be opened: it says so."""
        state = await self.studio.vault.state()
        kept, trouble = await self._kept()
        items = [await self._told(PROVIDERS[id_], kept.get(id_), trouble) for id_ in PROVIDERS]
        vault = {"exists": state.exists, "lock": state.lock, "key_id": state.key_id, "keys": state.entries,
                 "trouble": state.trouble}
        return {"items": items, "next": None, "vault": vault}

    async def show(self, id_: str) -> dict[str, Any]:
        """One provider. Raises ``NotFound``."""
        provider = _provider(id_)
        kept, trouble = await self._kept()
        return await self._told(provider, kept.get(id_), trouble)

    async def _kept(self) -> tuple[Mapping[str, Kept], ComfyVNError | None]:
        try:
            return await self.studio.vault.all(), None
        except Unavailable as error:
            return {}, error

    async def _told(self, provider: Provider, kept: Kept | None, trouble: ComfyVNError | None) -> dict[str, Any]:
        recorded = await self._recorded(provider.id)
        engine = self.studio.engines.get(provider.id)
        look = self.studio.engines.seen(provider.id)
        remedy: Remedy | None
        if trouble is not None:
            status, message, remedy = "vault_locked", trouble.message, trouble.remediation[0]
        elif kept is None:
            status, message = "not_connected", "Not connected."
            remedy = Remedy(f"Connect {provider.name}: add its key.", "add_key")
        elif provider.hub:
            status, message = "connected", "Connected; the next download uses it."
            remedy = None
        elif engine is None:
            status, message = "no_engine", f"The key is kept, but this installation has no engine for {provider.name}."
            remedy = Remedy("Use a release that has it.", "upgrade")
        elif look is None:
            status, message, remedy = "connected", "Connected; not asked yet.", Remedy("Test the key.", "test")
        else:
            status, message = look.health.status, look.health.message or look.health.status.replace("_", " ")
            remedy = Remedy(*look.health.remedy) if look.health.remedy else None
        same = kept is not None and recorded is not None and recorded.fingerprint == kept.fingerprint
        return {
            "id": provider.id, "name": provider.name, "kind": "remote",
            "paid": not provider.hub and KNOWN[provider.id].paid,
            "fields": [one._asdict() for one in provider.fields], "keys_at": provider.keys_at,
            "connected": kept is not None, "engine_at_hand": engine is not None, "status": status,
            "message": redact(message), "remedy": remedy._asdict() if remedy else None,
            "key": None if kept is None else {
                "fields": list(kept.fields), "fingerprint": kept.fingerprint, "since": kept.since,
                "verified": recorded.verified if same and recorded else None,
                "connected_by": recorded.connected_by if same and recorded else None,
            },
            **_balance(look.balance if look else None), "balance_note": provider.balance,
            "last_check": look.checked_at if look else None,
        }

    async def _recorded(self, id_: str) -> Connected | None:
        stream = Stream(PROJECT, UNBRANCHED, CATEGORY, id_)
        state = (await self.studio.dispatcher.aggregates.load(stream)).state
        return state if isinstance(state, Connected) else None

    # --- connecting -------------------------------------------------------------------------------------------------

    async def connect(
        self, id_: str, values: Mapping[str, Any], asker: Asker, *, verify: bool = True, dry_run: bool = False
    ) -> dict[str, Any]:
        """Tries a key, seals it, records that. Connecting again is rotating. With ``dry_run`` it is only tried.

        Raises ``NotFound``, ``Invalid`` for parts that do not fit, ``Refused`` when the provider says no or there is no
        engine to ask it, ``Unavailable`` when the provider or the vault does not answer. Nothing is stored then.
        """
        provider = _provider(id_)
        key = checked_key(provider, values)
        verify = verify and not provider.hub
        async with self._locks.setdefault(id_, asyncio.Lock()):
            balance = None
            if verify:
                with self.studio.vault.trying(id_, key):
                    if (why := await self._asked(provider)) is not None:
                        raise _said_no(provider, why)
                    balance = await self._asked_balance(id_)
            if dry_run:
                return {"ok": True, "dry_run": True, "id": id_, **_balance(balance), "verified": verify, "key": None,
                        "message": ("The key is good. " if verify else "Nobody was asked whether the key is good. ")
                        + "Nothing was stored."}
            before = await self.studio.vault(id_)
            since_before = (await self.studio.vault.all()).get(id_)
            kept = await self.studio.vault.put(id_, key, self.studio.clock())
            try:
                await self.studio.ask(
                    RecordConnection(provider_id=id_, fields=kept.fields, fingerprint=kept.fingerprint,
                                     verified=verify), asker, project=PROJECT,
                )
            except BaseException:
                # What is not on the record is not done: the key that was there before is there again.
                if before is None:
                    await self.studio.vault.remove(id_)
                else:
                    await self.studio.vault.put(id_, before, since_before.since if since_before else "")
                raise
            finally:
                self.studio.engines.forget(id_)
        what = "Connected"
        if before is not None:
            what = "Connected as before" if before == key else "Connected with the new key"
        return {
            "ok": True, "id": id_, **_balance(balance), "message": f"{what}." if verify else f"{what}, unverified.",
            "verified": verify, "key": {"fields": list(kept.fields), "fingerprint": kept.fingerprint,
                                        "since": kept.since},
        }

    async def test(self, id_: str) -> dict[str, Any]:
        """Asks the provider whether the stored key is good. A no is an answer, not an error. Raises ``NotFound`` and,
        when the vault cannot be opened, ``Unavailable``."""
        provider = _provider(id_)
        key = await self.studio.vault(id_)
        if key is None:
            return _no(provider, fault("AUTH_MISSING", f"{provider.name} is not connected.", engine=id_))
        if provider.hub:
            return {"ok": True, "id": id_, **_balance(None), "error": None, "remediation": [],
                    "message": "There is a key. Whether it is good shows when something is downloaded."}
        self.studio.engines.forget(id_)
        try:
            if (why := await self._asked(provider)) is not None:
                return _no(provider, why)
        except Refused as error:
            return {
                "ok": False, "id": id_, **_balance(None), "message": SECRETS.text(error.message), "error": error.code,
                "remediation": [one._asdict() for one in error.remediation],
            }
        balance = await self._asked_balance(id_)
        recorded = await self._recorded(id_)
        if recorded is not None and not recorded.verified:
            told = RecordConnection(
                provider_id=id_, fields=tuple(sorted(key)), fingerprint=await self.studio.vault.fingerprint(id_, key),
                verified=True,
            )
            await self.studio.ask(told, Asker("registry"), project=PROJECT)
        return {"ok": True, "id": id_, **_balance(balance), "message": "The key is good.", "error": None,
                "remediation": []}

    async def remove(
        self, id_: str, asker: Asker, *, reason: str = "", dry_run: bool = False
    ) -> dict[str, Any]:
        """Takes the key out of the vault and records that; with ``dry_run`` it only looks whether there is one. Raises
        ``NotFound`` and ``Unavailable``."""
        provider = _provider(id_)
        async with self._locks.setdefault(id_, asyncio.Lock()):
            kept = self.studio.vault
            removed = (await kept.all()).get(id_) if dry_run else await kept.remove(id_)
            self.studio.engines.forget(id_)
            known = await self._recorded(id_)
            if removed is None and known is None:
                raise NotFound(
                    f"{provider.name} is not connected.", error="not_connected",
                    remediation=[Remedy("GET /api/providers lists what is.", "list_providers")],
                )
            if dry_run:
                return {"ok": True, "dry_run": True, "id": id_, "message": f"The key of {provider.name} would be "
                        "forgotten here; nobody could get it back from this studio."}
            await self.studio.ask(RecordDisconnection(provider_id=id_, reason=reason), asker, project=PROJECT)
        return {"ok": True, "id": id_, "message": f"{provider.name} is disconnected; its key is forgotten here. "
                "Revoke it at the provider if it may have leaked."}

    async def _asked(self, provider: Provider) -> Fault | None:
        """What the provider has against the key; raises ``Refused`` where there is no engine to ask."""
        engine = self._engine(provider)
        try:
            async with asyncio.timeout(self.patience_seconds):
                await engine.verify()
        except EngineError as error:
            return error.fault
        except TimeoutError:
            return fault("CONNECTION_TIMEOUT", f"{provider.name} did not answer in time.")
        return None

    async def _asked_balance(self, id_: str) -> Balance | None:
        try:
            async with asyncio.timeout(self.patience_seconds):
                return await self.studio.engines[id_].balance()
        except (EngineError, TimeoutError):
            return None  # a key may be good and yet not be told the balance

    def _engine(self, provider: Provider) -> Engine:
        engine = self.studio.engines.get(provider.id)
        if engine is None:
            raise Refused(
                f"This installation has no engine for {provider.name}, so nobody can ask whether the key is good.",
                error="engine_not_there",
                remediation=[
                    Remedy("Use a release that has it; GET /api/setup/healthcheck lists the engines.", "list_engines"),
                ],
                detail={"provider": provider.id},
            )
        return engine


def checked_key(provider: Provider, values: Mapping[str, Any]) -> dict[str, str]:
    """The parts of a key; raises ``Invalid`` that names every part that is missing, unknown or unfit, never a value."""
    declared = {one.name: one for one in provider.fields}
    wrong = [{"path": name[:100], "message": "this provider's key has no such part"} for name in values
             if name not in declared]
    found: dict[str, str] = {}
    for name, one in declared.items():
        value = values.get(name)
        if value is None or value == "":
            if one.required:
                wrong.append({"path": name, "message": "this field is needed"})
            continue
        text = value.strip() if isinstance(value, str) else value
        if not isinstance(text, str) or not _KEY.match(text):
            wrong.append({"path": name, "message": "this is no key: 8 to 4096 visible characters without blanks"})
            continue
        found[name] = text
    if wrong:
        raise Invalid(
            f"The key of {provider.name} does not fit: {wrong[0]['path']}: {wrong[0]['message']}.",
            error="invalid_fields",
            remediation=[Remedy(f"It consists of {', '.join(declared)}; get it at {provider.keys_at}.", "add_key")],
            detail={"fields": wrong[:50], "expected": [one._asdict() for one in provider.fields]},
        )
    return found


def _provider(id_: str) -> Provider:
    found = PROVIDERS.get(id_)
    if found is not None:
        return found
    if id_ in KNOWN:
        raise Refused(
            f"{KNOWN[id_].name} runs on this machine and needs no key.", error="no_key_needed",
            remediation=[Remedy(*KNOWN[id_].remedy)],
        )
    raise NotFound(
        f"There is no provider {id_[:96]!a}.", error="unknown_provider",
        remediation=[Remedy("GET /api/providers lists them.", "list_providers")], detail={"known": list(PROVIDERS)},
    )


def _said_no(provider: Provider, why: Fault) -> ComfyVNError:
    kind: type[ComfyVNError] = Unavailable if unanswered(why) else Refused
    return kind(
        _message(provider, why), error=why.code,
        remediation=remedies(provider.id, provider.name, provider.keys_at, why, "connect"),
        detail=redact({**why.detail, "retryable": why.retryable}),
    )


def _no(provider: Provider, why: Fault) -> dict[str, Any]:
    message = _message(provider, why)
    if unanswered(why):
        message += " The stored key stays as it is: nothing was said of it."
    found = remedies(provider.id, provider.name, provider.keys_at, why, "test")
    return {"ok": False, "id": provider.id, **_balance(None), "message": message, "error": why.code,
            "remediation": [one._asdict() for one in found]}


def _message(provider: Provider, why: Fault) -> str:
    message = str(redact(why.message))
    return message if provider.name in message else f"{provider.name}: {message}"


def _balance(balance: Balance | None) -> dict[str, Any]:
    return {
        "balance": balance.amount if balance else None, "balance_unit": balance.unit if balance else None,
        "balance_as_told": balance.note if balance else None,
    }
