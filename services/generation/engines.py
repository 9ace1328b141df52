"""The engines of this installation: id → adapter, and how each stood when somebody last looked.

Looking costs network and time, so that nobody waits for it twice: what was seen is kept for a few seconds, one look at
an engine runs at a time, and a page shows what was seen last while a newer look runs behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final, Literal, NamedTuple

import structlog

from domain.ports.engines import Balance, Engine, EngineError, Health, Offer
from domain.studio.fault import Fault, fault

FRESH_SECONDS: Final = 15.0
"""How long a look is good enough for a page."""

PATIENCE_SECONDS: Final = 8.0
"""How long one look may take; an engine that is slower than that counts as not answering."""

READY: Final = frozenset({"running", "connected"})
"""What an engine must be for work to be planned on it."""

log = structlog.get_logger("engines")


class Known(NamedTuple):
    """An engine that this release can speak to: its name, where it is, and what to do when it is not there."""

    name: str
    kind: Literal["local", "remote"]
    paid: bool
    remedy: tuple[str, str]


KNOWN: Final[dict[str, Known]] = {
    "local_comfy": Known("ComfyUI", "local", False, (
        "Install ComfyUI and start it, or set COMFYVN_COMFY_URL to where it runs.", "start_engine")),
    "provider_kling": Known("Kling AI", "remote", True, (
        "Connect Kling AI with a key of yours: `comfyvn providers connect provider_kling`.", "add_key")),
    "provider_fal": Known("fal", "remote", True, (
        "Connect fal with a key of yours: `comfyvn providers connect provider_fal`.", "add_key")),
    "provider_runware": Known("Runware", "remote", True, (
        "Connect Runware with a key of yours: `comfyvn providers connect provider_runware`.", "add_key")),
    "provider_synclabs": Known("Sync", "remote", True, (
        "Connect Sync with a key of yours: `comfyvn providers connect provider_synclabs`.", "add_key")),
    "provider_liveportrait": Known("LivePortrait", "local", False, (
        "Install LivePortrait yourself and set COMFYVN_LIVEPORTRAIT_PATH to its folder.", "install_engine")),
    "studio_local": Known("Studio, built in", "local", False, (
        "It is part of the studio: `comfyvn doctor` says what it lacks.", "doctor")),
}
"""Every engine by id. What another id stands for nobody knows."""


@dataclass(frozen=True, slots=True)
class Look:
    """How an engine stood. ``offers`` is empty while it is away; ``fault`` says why something could not be learnt."""

    health: Health
    offers: tuple[Offer, ...] = ()
    balance: Balance | None = None
    checked_at: str = ""
    took_seconds: float = 0.0
    fault: Fault | None = None

    @property
    def ready(self) -> bool:
        return self.health.status in READY


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Engines(Mapping[str, Engine]):
    """The adapters by id, and what was last seen of each. ``close`` lets go of all of them."""

    def __init__(
        self, engines: Mapping[str, Engine] | None = None, *, patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], str] = _now, slots: Mapping[str, int] | None = None,
    ) -> None:
        self._engines = dict(engines or {})
        self._slots = dict(slots or {})
        self._patience = patience_seconds
        self._clock = clock
        self._seen: dict[str, tuple[float, Look]] = {}
        self._looking: dict[str, asyncio.Task[Look]] = {}

    def __getitem__(self, id_: str) -> Engine:
        return self._engines[id_]

    def __iter__(self) -> Iterator[str]:
        return iter(self._engines)

    def __len__(self) -> int:
        return len(self._engines)

    def add(self, engine: Engine) -> None:
        """An engine more, or another adapter for one that is there."""
        self._engines[engine.traits.id] = engine
        self.forget(engine.traits.id)

    def slots_of(self, id_: str) -> int:
        """How many tasks an engine is given at a time: what this installation says, else what the engine says."""
        engine = self._engines.get(id_)
        return 0 if engine is None else self._slots.get(id_, engine.traits.slots)

    def forget(self, id_: str) -> None:
        """What was seen of an engine does not hold any more: its key or address has changed."""
        self._seen.pop(id_, None)

    def seen(self, id_: str) -> Look | None:
        """What was last seen of an engine, however old."""
        known = self._seen.get(id_)
        return known[1] if known else None

    async def look(self, id_: str, *, within_seconds: float = FRESH_SECONDS) -> Look:
        """How an engine stands, not older than ``within_seconds``. Never raises for what goes wrong outside."""
        known = self._seen.get(id_)
        if known is not None and monotonic() - known[0] <= within_seconds:
            return known[1]
        return await asyncio.shield(self._begun(id_))

    async def around(
        self, ids: Iterable[str] | None = None, *, within_seconds: float = FRESH_SECONDS,
        wait_seconds: float = PATIENCE_SECONDS,
    ) -> dict[str, Look]:
        """How engines stand. What is too old is looked at again behind the answer; who was never seen is waited for,
        ``wait_seconds`` at most."""
        wanted = [id_ for id_ in (self._engines if ids is None else ids) if id_ in self._engines]
        old = [id_ for id_ in wanted if self._age(id_) > within_seconds]
        running = {id_: self._begun(id_) for id_ in old}
        new = [task for id_, task in running.items() if id_ not in self._seen]
        if new:
            await asyncio.wait(new, timeout=wait_seconds)
        looked = {id_: self.seen(id_) for id_ in wanted}
        silent = Look(Health("error", "It has not answered yet."), checked_at=self._clock())
        return {id_: one or silent for id_, one in looked.items()}

    async def close(self) -> None:
        """Ends looks that are under way, then every adapter."""
        for task in self._looking.values():
            task.cancel()
        await asyncio.gather(*self._looking.values(), return_exceptions=True)
        for id_, engine in self._engines.items():
            try:
                await engine.close()
            except Exception as error:
                log.warning("engine_not_closed", engine=id_, reason=type(error).__name__)

    def _age(self, id_: str) -> float:
        known = self._seen.get(id_)
        return float("inf") if known is None else monotonic() - known[0]

    def _begun(self, id_: str) -> asyncio.Task[Look]:
        task = self._looking.get(id_)
        if task is None or task.done():
            task = self._looking[id_] = asyncio.create_task(self._watched(id_), name=f"look-{id_}")
        return task

    async def _watched(self, id_: str) -> Look:
        began = monotonic()
        engine = self._engines[id_]
        try:
            async with asyncio.timeout(self._patience):
                found = await _looked(engine)
        except TimeoutError:
            found = Look(Health("error", f"It did not answer within {self._patience:.0f} seconds.",
                                ("Look whether it is stuck, and start it again.", "start_engine")))
        except Exception as error:  # an adapter that breaks its promise must not take the page with it
            log.exception("engine_not_looked_at", engine=id_)
            found = Look(Health("error", f"Looking at it failed ({type(error).__name__})."))
        took = round(monotonic() - began, 3)
        found = Look(found.health, found.offers, found.balance, self._clock(), took, found.fault)
        if self._engines.get(id_) is engine:
            self._seen[id_] = (monotonic(), found)
        return found


async def _looked(engine: Engine) -> Look:
    health = await engine.health()
    if health.status not in READY:
        return Look(health)
    offers: tuple[Offer, ...] = ()
    balance, trouble = None, None
    try:
        offers = tuple(await engine.offers())
    except EngineError as error:
        trouble = error.fault
        health = Health("error", error.fault.message, (error.fault.meaning.text, error.fault.meaning.action))
    try:
        balance = await engine.balance()
    except EngineError as error:
        trouble = trouble or error.fault
    return Look(health, offers, balance, fault=trouble)


def name_of(id_: str) -> str:
    """What people call an engine."""
    return KNOWN[id_].name if id_ in KNOWN else id_


def not_there(id_: str) -> Fault:
    """Why an engine that this installation has not cannot be used."""
    known = KNOWN.get(id_)
    if known is None:
        return fault("DEPENDENCY_MISSING", f"There is no engine {id_[:100]} in this release.", engine=id_[:100])
    code = "AUTH_MISSING" if known.kind == "remote" else "ENGINE_OFFLINE"
    return fault(code, f"{known.name} is not connected.", engine=id_)


def away(id_: str, look: Look) -> Fault:
    """Why an engine that does not stand ready cannot be used."""
    name = name_of(id_)
    code = "AUTH_MISSING" if look.health.status == "not_connected" else "ENGINE_OFFLINE"
    told = look.health.message or f"It is {look.health.status.replace('_', ' ')}."
    named = told if told.startswith(name) else f"{name}: {told}"
    return fault(code, named[:2000], engine=id_, status=look.health.status)


def remedy(id_: str, look: Look | None) -> tuple[str, str] | None:
    """The one thing that would help an engine, as a text and an action; nothing where it stands ready."""
    if look is not None and look.ready:
        return None
    known = KNOWN.get(id_)
    # Of a missing key the studio knows where to put it; of anything else the adapter knows more.
    if look is None or look.health.status == "not_connected" or look.health.remedy is None:
        return known.remedy if known else look.health.remedy if look else None
    return look.health.remedy


def told(id_: str, engine: Engine | None, look: Look | None, slots: int | None = None) -> dict[str, Any]:
    """An engine as pages show it."""
    known = KNOWN.get(id_)
    traits = engine.traits if engine is not None else None
    helps = remedy(id_, look if engine is not None else None)
    if look is not None and look.ready:  # what stands ready may still have a word of advice
        helps = look.health.remedy
    return {
        "id": id_,
        "name": traits.name if traits else known.name if known else id_,
        "kind": traits.kind if traits else known.kind if known else "remote",
        "paid": traits.paid if traits else known.paid if known else True,
        "at_hand": engine is not None,
        "ready": look is not None and look.ready,
        "status": look.health.status if look else "not_connected",
        "message": look.health.message if look else "It is not set up here.",
        "remedy": {"text": helps[0], "action": helps[1]} if helps else None,
        "facts": dict(look.health.facts) if look else {},
        "slots": slots if slots is not None else traits.slots if traits else 0,
        "finds_attempts": traits.finds_attempts if traits else False,
        "balance": _balance(look.balance) if look else None,
        "offers": [
            {"operation": one.operation, "model": one.model, "parameters": dict(one.parameters),
             "missing": list(one.missing)} for one in look.offers
        ] if look else [],
        "fault": look.fault.model_dump(mode="json") | {"remediation": look.fault.remediation()}
        if look and look.fault else None,
        "checked_at": look.checked_at if look else None,
        "took_seconds": look.took_seconds if look else None,
    }


def _balance(balance: Balance | None) -> dict[str, Any] | None:
    return {"amount": balance.amount, "unit": balance.unit, "note": balance.note} if balance else None
