"""Webhooks: engines that call us when something has moved. A call wakes whoever follows the job, and nothing more.

Nobody believes what a call says: the worker asks the engine itself, with our own key. So a forged call could at most
make somebody look, and a lost one only makes them look later. The address that an engine is given names the job and is
sealed, so that nobody can make one up.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal, NamedTuple

from domain.errors import Denied, NotFound, Remedy
from domain.ports.webhooks import Checking, Forged

CALLERS: Final = frozenset({"provider_kling", "provider_fal", "provider_runware", "provider_synclabs"})
"""Engines that call; of the others nobody is expected."""

REMEMBERED: Final = 4096
"""Deliveries whose repetition is told."""

TOKEN_LIMIT: Final = 1000


class Named(NamedTuple):
    """What an address was made for."""

    project: str
    job_id: str
    attempt: str


class Webhooks:
    """Makes addresses, and hears calls to them. ``wake`` is given the job as workers know it: ``project.job``."""

    def __init__(
        self, public_url: str, key: bytes, wake: Callable[[str], Awaitable[None]],
        checks: Mapping[str, Checking] | None = None,
    ) -> None:
        self._base = public_url.rstrip("/")
        self._key = key
        self._wake = wake
        self._checks = dict(checks or {})
        self._heard: OrderedDict[tuple[str, str], None] = OrderedDict()

    def address(self, engine: str, project: str, job_id: str, attempt: str) -> str | None:
        """Where an engine is to call about an attempt; nothing for engines that do not. Always the same for one."""
        if engine not in CALLERS:
            return None
        named = base64.urlsafe_b64encode("\n".join((project, job_id, attempt)).encode()).decode().rstrip("=")
        return f"{self._base}/api/webhooks/{engine}/{named}.{self._seal(engine, named)}"

    async def heard(
        self, engine: str, token: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> Literal["woken", "repeated"]:
        """A call to an address. Raises ``NotFound`` for an address that is none of ours, ``Denied`` for a call that
        is forged or stale."""
        named = self._opened(engine, token)
        check = self._checks.get(engine)
        if check is None:  # not signed: the address alone says that somebody was told of the job
            delivery = hashlib.sha256(token.encode() + b"\n" + body).hexdigest()
        else:
            try:
                delivery = await check(headers, body, now)
            except Forged as error:
                raise Denied(str(error), error="webhook_refused", remediation=[
                    Remedy("Nothing needs to be done: jobs are followed without webhooks too.", "none")]) from None
        if (engine, delivery) in self._heard:
            return "repeated"
        self._heard[engine, delivery] = None
        while len(self._heard) > REMEMBERED:
            self._heard.popitem(last=False)
        await self._wake(f"{named.project}.{named.job_id}")
        return "woken"

    def _opened(self, engine: str, token: str) -> Named:
        named, _, seal = token.partition(".")
        fits = len(token) <= TOKEN_LIMIT and engine in CALLERS and token.isascii() and \
            hmac.compare_digest(seal, self._seal(engine, named))
        if not fits:
            raise NotFound("Nobody is called there.", error="unknown_webhook")
        try:
            parts = base64.urlsafe_b64decode(named + "=" * (-len(named) % 4)).decode().split("\n")
        except (binascii.Error, ValueError):
            parts = []
        if len(parts) != 3:
            raise NotFound("Nobody is called there.", error="unknown_webhook")
        return Named(*parts)

    def _seal(self, engine: str, named: str) -> str:
        told = hmac.new(self._key, f"webhook\n{engine}\n{named}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(told[:18]).decode()
