"""Kling AI: videos and pictures as tasks of an account with resource packs, at a host of its region.

The key is made by us: a token signed with the secret key that lives half an hour. Errors are numbers in the body; the
HTTP status misleads (429 also says that a pack is used up). Our attempt is its ``external_task_id``, by which a task
can be asked for: that is how a submission whose answer was lost is found again.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

import jwt

from adapters.engines.remote.asking import (
    Answer,
    Asking,
    connected,
    found_object,
    keys,
    odd,
    refused,
    said,
    told,
    unwell,
    with_status,
)
from adapters.engines.remote.models import base64_of, filled, handed, listed, put
from adapters.outgoing import Outgoing
from domain.ports.engines import (
    Accepted,
    Balance,
    Cancelling,
    Done,
    EngineError,
    Failed,
    Health,
    Lost,
    Offer,
    Outcome,
    Product,
    Reading,
    Submission,
    Task,
    Traits,
    Waiting,
    Working,
)
from domain.ports.secrets import Secrets
from domain.studio.fault import Fault, fault

ID: Final = "provider_kling"
NAME: Final = "Kling AI"
MODELS: Final = listed(NAME, "kling")

TOKEN_SECONDS: Final = 1800
"""Longest life of a token."""

EARLY_SECONDS: Final = 5
"""How long before now a token begins, for clocks that differ a little."""

WINDOW_SECONDS: Final = 360 * 24 * 3600
"""Packs are listed by when they were bought: the window reaches back far enough for any that may still be valid."""

CODES: Final[dict[int, str]] = {
    1000: "AUTH_INVALID", 1001: "AUTH_INVALID", 1002: "AUTH_INVALID", 1003: "AUTH_EXPIRED", 1004: "AUTH_EXPIRED",
    1100: "INSUFFICIENT_FUNDS", 1101: "INSUFFICIENT_FUNDS", 1102: "INSUFFICIENT_FUNDS",
    1103: "AUTH_INSUFFICIENT_PERMISSIONS",
    1200: "VALIDATION_ERROR", 1201: "VALIDATION_ERROR", 1202: "CONTRACT_MISMATCH", 1203: "DEPENDENCY_MISSING",
    1300: "SAFETY_FILTER", 1301: "SAFETY_FILTER", 1302: "RATE_LIMIT_EXCEEDED", 1303: "RATE_LIMIT_EXCEEDED",
    1304: "AUTH_INSUFFICIENT_PERMISSIONS",
    5000: "ENGINE_ERROR", 5001: "SERVICE_UNAVAILABLE", 5002: "ENGINE_TIMEOUT",
}
"""Numbers in answers → fault codes, whatever the HTTP status beside them."""

MEANINGS: Final[dict[int, str]] = {
    1100: "The account has a problem.", 1101: "The account is in arrears.",
    1102: "The resource pack is used up or has expired.", 1303: "As many tasks run as the resource pack allows.",
    1304: "This machine's address is not on the account's list.",
}

_RENEWED: Final = frozenset({1003, 1004})
_ABSENT: Final = re.compile(r"not (?:be )?found|not exist|no such", re.I)
_UNSAFE: Final = re.compile(r"risk control|sensitive|safety|moderation|violat|content security", re.I)


class _Token(NamedTuple):
    key: str
    value: str
    until: float


class Kling:
    """Kling AI behind the engine protocol. ``secrets`` gives ``access_key`` and ``secret_key``, or one ``api_key``.

    ``costs_seconds`` is how long an answer about packs is kept: it may be asked for once a second.
    """

    traits: Final = Traits(ID, NAME, "remote", paid=True, finds_attempts=True, slots=3, poll_seconds=5.0)

    def __init__(
        self, secrets: Secrets, *, url: str = "https://api-singapore.klingai.com", patience_seconds: float = 30.0,
        costs_seconds: float = 1.05, outgoing: Outgoing | None = None,
    ) -> None:
        self._secrets = secrets
        self._url = url.rstrip("/")
        self._asking = Asking(NAME, url, patience_seconds=patience_seconds, outgoing=outgoing)
        self._token: _Token | None = None
        self._ahead = 0.0  # seconds that the service's clock is ahead of ours
        self._costs_seconds = costs_seconds
        self._costs: tuple[float, str, Answer] | None = None
        self._costing = asyncio.Lock()

    async def verify(self) -> None:
        """Asks for the account's packs: a key that may see them is good."""
        await self._packs()

    async def balance(self) -> Balance | None:
        """Units left in packs that are valid now; the service tells that up to twelve hours late."""
        left = [one.get("remaining_quantity") for one in await self._packs()
                if one.get("status", "online") == "online"]
        units = sum(float(one) for one in left if isinstance(one, int | float) and not isinstance(one, bool))
        return Balance(units, "units", "Kling tells this up to 12 hours late.")

    async def health(self) -> Health:
        try:
            await self._packs()
        except EngineError as error:
            return unwell(error)
        return Health("connected")

    async def offers(self) -> Sequence[Offer]:
        return MODELS.offers()

    async def estimate(self, task: Task) -> None:
        """Nothing: the service has no route for it."""

    async def submit(self, task: Task, reading: Reading) -> Accepted:
        model = MODELS.of(task)
        body = filled(model, task)
        files = await handed(model, task, reading)
        for name, several in files.items():
            put(body, model.inputs[name].field, base64_of(several[0]))
        # An attempt may have been taken already although nobody heard of it: it must not be paid for twice.
        known = await self._found(model.path, task.attempt)
        if known is not None:
            return known
        body |= {"model_name": model.id, "external_task_id": task.attempt}
        if task.callback_url:
            body["callback_url"] = task.callback_url
        answer = await self._ask("POST", model.path, json=body, submitting=True)
        request = told(self._data(answer, submitting=True), "task_id")
        if not request or len(request) > 200:
            raise odd(NAME, submitting=True)
        return Accepted(request, {"path": model.path, "model": model.id})

    async def find(self, attempt: str) -> Accepted | None:
        for path in dict.fromkeys(model.path for model in MODELS.all):
            if (found := await self._found(path, attempt)) is not None:
                return found
        return None

    async def poll(self, accepted: Accepted) -> Outcome:
        data = await self._task(self._path(accepted), accepted.external_id)
        if data is None:
            return Lost()
        match told(data, "task_status"):
            case "submitted":
                return Waiting()
            case "processing":
                return Working()
            case "failed":
                why = said(told(data, "task_status_msg")) or "Kling gave no reason."
                return Failed(fault("SAFETY_FILTER" if _UNSAFE.search(why) else "ENGINE_ERROR", f"Kling AI: {why}"))
            case "succeed":
                return self._done(accepted, data)
        raise odd(NAME)

    async def cancel(self, accepted: Accepted) -> Cancelling:
        """The service cannot: a task that was taken runs to its end."""
        data = await self._task(self._path(accepted), accepted.external_id)
        if data is None:
            return Cancelling.UNKNOWN_TASK
        return Cancelling.TOO_LATE if told(data, "task_status") in ("succeed", "failed") else Cancelling.UNSUPPORTED

    def fetch(self, accepted: Accepted, product: Product) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._asking.fetched(product)

    async def close(self) -> None:
        await self._asking.close()

    # --- asking ---------------------------------------------------------------------------------------------------

    async def _ask(self, method: str, path: str, **given: Any) -> Answer:
        answer = await self._once(method, path, **given)
        if _number(answer) in _RENEWED:
            # The token's time is wrong: the clocks differ, or it lay about. Such an answer has taken nothing.
            self._token = None
            self._ahead = _clock(answer) - time.time() if _clock(answer) else self._ahead
            answer = await self._once(method, path, **given)
        return answer

    async def _once(self, method: str, path: str, **given: Any) -> Answer:
        token = await self._bearer()
        headers = {"Authorization": f"Bearer {token}"}
        return await self._asking.ask(method, f"{self._url}{path}", headers=headers, **given)

    async def _bearer(self) -> str:
        secrets = await keys(self._secrets, ID, NAME)
        if secrets.get("api_key"):
            return secrets["api_key"]
        secrets = await connected(self._secrets, ID, NAME, "access_key", "secret_key")
        now = time.time() + self._ahead
        key = f"{secrets['access_key']}\n{secrets['secret_key']}"
        if self._token is None or self._token.key != key or self._token.until - 120 < now:
            begin = int(now)
            claims = {"iss": secrets["access_key"], "exp": begin + TOKEN_SECONDS, "nbf": begin - EARLY_SECONDS}
            value = jwt.encode(claims, secrets["secret_key"], algorithm="HS256", headers={"typ": "JWT"})
            self._token = _Token(key, value, begin + TOKEN_SECONDS)
        return self._token.value

    async def _packs(self) -> list[dict[str, Any]]:
        secrets = await keys(self._secrets, ID, NAME)
        whose = "\n".join(f"{name}={value}" for name, value in sorted(secrets.items()))
        async with self._costing:
            began, same = (self._costs[0], self._costs[1] == whose) if self._costs else (0.0, False)
            left = began + self._costs_seconds - time.monotonic()
            if self._costs is None or not same or left <= 0:
                await asyncio.sleep(max(0.0, left if began else 0.0))
                now = int(time.time() * 1000)
                query = urlencode({"start_time": now - WINDOW_SECONDS * 1000, "end_time": now})
                answered = await self._ask("GET", f"/account/costs?{query}")
                # From its end: the pause counts where they are asked, and a request may be long on its way.
                self._costs = (time.monotonic(), whose, answered)
            answer = self._costs[2]
        packs = found_object(self._data(answer)).get("resource_pack_subscribe_infos")
        if not isinstance(packs, list):
            raise odd(NAME)
        return [one for one in packs[:1000] if isinstance(one, dict)]

    async def _found(self, path: str, attempt: str) -> Accepted | None:
        data = await self._task(path, attempt)
        if data is None:
            return None
        request = told(data, "task_id")
        if not request:
            raise odd(NAME)
        ours = told(found_object(data.get("task_info")), "external_task_id")
        if ours and ours != attempt:
            raise odd(NAME)
        return Accepted(request, {"path": path})

    async def _task(self, path: str, id_: str) -> dict[str, Any] | None:
        """A task by its id or by ours; ``None``: the service says that it has none of that name."""
        answer = await self._ask("GET", f"{path}/{quote(id_, safe='')}")
        number = _number(answer)
        if number == 1203 or (answer.status == 404 and number is not None):
            return None
        if number in (1200, 1201) and _ABSENT.search(told(answer.json, "message")):
            return None
        data = self._data(answer)
        # An answer without a task is an odd way to say that there is none; it must not be taken for certain.
        if not isinstance(data, dict) or not data:
            raise odd(NAME)
        return data

    def _data(self, answer: Answer, submitting: bool = False) -> Any:
        number = _number(answer)
        if number is None:
            if answer.status >= 400:
                found = fault(_by_status(answer.status), f"Kling AI answered {answer.status}.", status=answer.status)
                raise EngineError(found, _after(answer.status, submitting))
            raise odd(NAME, submitting)
        if number != 0:
            after = Submission.UNKNOWN if submitting and number in (5000, 5002) else Submission.REFUSED
            raise EngineError(_fault(answer, number), after)
        return answer.json.get("data")

    # --- what it says -----------------------------------------------------------------------------------------------

    @staticmethod
    def _path(accepted: Accepted) -> str:
        known = {model.path for model in MODELS.all}
        path = str(accepted.memo.get("path", ""))
        if path not in known:
            raise refused("CONTRACT_MISMATCH", "This task was not taken by Kling AI as it is known here.")
        return path

    @staticmethod
    def _done(accepted: Accepted, data: Mapping[str, Any]) -> Outcome:
        result = found_object(data.get("task_result"))
        products: list[Product] = []
        facts: dict[str, Any] = {}
        if isinstance(model := accepted.memo.get("model"), str):
            facts["model"] = model
        for kind, media in (("videos", "video/mp4"), ("images", "image/png")):
            several = result.get(kind)
            for number, one in enumerate(several[:20] if isinstance(several, list) else []):
                if url := told(one, "url"):
                    products.append(Product(f"{kind[:-1]}-{number + 1}", media, {"url": url}))
                if seconds := told(one, "duration"):
                    facts.setdefault("seconds", seconds[:20])
        if not products:
            return Failed(fault("ENGINE_ERROR", "Kling AI has finished and delivered no file."))
        units = told(data, "final_unit_deduction")
        cost = float(units) if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", units) else None
        return Done(products, cost, "units" if cost is not None else "", facts)


def _number(answer: Answer) -> int | None:
    code = found_object(answer.json).get("code")
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def _clock(answer: Answer) -> float:
    try:
        return parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _by_status(status: int) -> str:
    known = {401: "AUTH_INVALID", 402: "INSUFFICIENT_FUNDS", 403: "AUTH_INSUFFICIENT_PERMISSIONS",
             404: "CONTRACT_MISMATCH", 413: "VALIDATION_ERROR", 429: "RATE_LIMIT_EXCEEDED", 504: "ENGINE_TIMEOUT"}
    return known.get(status, "SERVICE_UNAVAILABLE" if status >= 500 else "VALIDATION_ERROR")


def _after(status: int, submitting: bool) -> Submission:
    return Submission.UNKNOWN if submitting and status >= 500 else Submission.REFUSED


def _fault(answer: Answer, number: int) -> Fault:
    code = CODES.get(number) or {1: "AUTH_INVALID", 5: "ENGINE_ERROR"}.get(number // 1000, "ENGINE_ERROR")
    if number not in CODES and answer.status in (429, 402, 403):
        code = _by_status(answer.status)
    words = MEANINGS.get(number) or said(told(answer.json, "message")) or "It refused without saying why."
    found = fault(code, f"Kling AI: {words}", number=number)
    wait = answer.retry_after or (5.0 if number in (1302, 1303) else None)
    if wait is not None and found.retryable:
        found = found.model_copy(update={"retry_after_seconds": wait})
    return with_status(found, answer.status)
