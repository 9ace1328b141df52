"""Runware: everything is a list of tasks sent to one address, each with an id that we choose.

The id is made from our attempt, so a submission whose answer was lost is asked for by it. An answer that is good as a
whole may hold an error for our task. What a task cost comes with its result.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid4

from adapters.engines.remote.asking import (
    Answer,
    Asking,
    connected,
    found_object,
    odd,
    said,
    told,
    unwell,
    with_status,
)
from adapters.engines.remote.models import data_uri, filled, handed, listed, put
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
    Working,
)
from domain.ports.secrets import Secrets
from domain.studio.fault import Fault, fault

ID: Final = "provider_runware"
NAME: Final = "Runware"
MODELS: Final = listed(NAME, "runware")

CODES: Final[tuple[tuple[str, str], ...]] = (
    (r"insufficient.?(credits|funds|balance)|paymentrequired|creditlimit", "INSUFFICIENT_FUNDS"),
    (r"(invalid|missing|wrong|expired).?api.?key|unauthori[sz]ed|authentication", "AUTH_INVALID"),
    (r"forbidden|permission|notallowed", "AUTH_INSUFFICIENT_PERMISSIONS"),
    (r"invalidprovidercontent|nsfw|content.?(policy|moderation|filter|violation)|safety|moderat", "SAFETY_FILTER"),
    (r"rate.?limit|toomany|concurren|throttl", "RATE_LIMIT_EXCEEDED"),
    (r"timeout", "ENGINE_TIMEOUT"),
    (r"(unknown|invalid|missing|unsupported|unavailable).?model|modelnotfound", "DEPENDENCY_MISSING"),
    (r"^(invalid|missing|unsupported|unknown|unrecogni[sz]ed|conflict|duplicate)|outofrange|validation",
     "VALIDATION_ERROR"),
    (r"unavailable|overload|capacity", "SERVICE_UNAVAILABLE"),
)
"""What error codes look like → fault codes. Runware names no full list and says that codes still change."""

_ABSENT: Final = re.compile(r"task.?not.?found|unknown.?task|not.?found|no.?such.?task|task.?does.?not.?exist", re.I)
_RESULTS: Final = (("imageURL", "image"), ("videoURL", "video"), ("audioURL", "audio"), ("mediaURL", "file"))


def task_uuid(attempt: str) -> str:
    """The id of an attempt's task: a UUID of version 4 to look at, always the same for the same attempt."""
    return str(UUID(bytes=sha256(f"comfyvn\n{attempt}".encode()).digest()[:16], version=4))


class Runware:
    """Runware behind the engine protocol. ``secrets`` gives ``api_key``."""

    traits: Final = Traits(ID, NAME, "remote", paid=True, finds_attempts=True, slots=4, poll_seconds=2.0)

    def __init__(
        self, secrets: Secrets, *, url: str = "https://api.runware.ai/v1", patience_seconds: float = 30.0,
        outgoing: Outgoing | None = None,
    ) -> None:
        self._secrets = secrets
        self._url = url.rstrip("/")
        self._asking = Asking(NAME, url, patience_seconds=patience_seconds, outgoing=outgoing)

    async def verify(self) -> None:
        """Asks for the account's details."""
        await self._account()

    async def balance(self) -> Balance | None:
        """What is left, in dollars."""
        account = await self._account()
        left = account.get("balance")
        if not isinstance(left, int | float) or isinstance(left, bool):
            raise odd(NAME)
        return Balance(float(left), "usd")

    async def health(self) -> Health:
        try:
            await self._account()
        except EngineError as error:
            return unwell(error)
        return Health("connected")

    async def offers(self) -> Sequence[Offer]:
        return MODELS.offers()

    async def estimate(self, task: Task) -> None:
        """Nothing: what a task costs is told with its result alone."""

    async def submit(self, task: Task, reading: Reading) -> Accepted:
        model = MODELS.of(task)
        body = filled(model, task)
        files = await handed(model, task, reading)
        for name, several in files.items():
            field, uris = model.inputs[name].field, [data_uri(one) for one in several]
            if field == "frameImages":
                put(body, field, [{"inputImage": uri, "frame": "first" if number == 0 else "last"}
                                  for number, uri in enumerate(uris)])
            else:
                put(body, field, uris if model.inputs[name].many else uris[0])
        # What became of an attempt that was sent before is looked at first: the id alone may not keep it from running.
        known = await self.find(task.attempt)
        if known is not None:
            return known
        uuid = task_uuid(task.attempt)
        body |= {"taskUUID": uuid, "deliveryMethod": "async", "includeCost": True, "outputType": "URL"}
        if task.callback_url:
            body["webhookURL"] = task.callback_url
        answer = await self._ask([body], submitting=True)
        if (error := _error_of(answer, uuid, alone=True)) is not None:
            raise EngineError(_fault(answer, error))
        if not _entries(answer, uuid):
            raise _unanswered(answer, submitting=True)
        return Accepted(uuid, {"model": model.id})

    async def find(self, attempt: str) -> Accepted | None:
        uuid = task_uuid(attempt)
        return Accepted(uuid) if await self._known(uuid) is not None else None

    async def poll(self, accepted: Accepted) -> Outcome:
        answer = await self._known(accepted.external_id)
        if answer is None:
            return Lost()
        entries = _entries(answer, accepted.external_id)
        error = _error_of(answer, accepted.external_id)
        running = [one for one in entries if told(one, "status") == "processing"]
        products = _products(entries)
        if running or (not products and error is None and entries and not any(_finished(one) for one in entries)):
            return Working()
        if products:
            return _done(accepted, entries, products)
        flagged = any(one.get("NSFWContent") is True for one in entries)
        if error is None and not entries:
            raise odd(NAME)
        found = fault("SAFETY_FILTER", "Runware's safety filter has refused what was made.") if flagged else \
            _fault(answer, error) if error else fault("ENGINE_ERROR", "Runware has finished and delivered no file.")
        return Failed(found, charged=_cost(entries) is not None)

    async def cancel(self, accepted: Accepted) -> Cancelling:
        """The service cannot: a task that was taken runs to its end."""
        outcome = await self.poll(accepted)
        if isinstance(outcome, Lost):
            return Cancelling.UNKNOWN_TASK
        return Cancelling.UNSUPPORTED if isinstance(outcome, Working) else Cancelling.TOO_LATE

    def fetch(self, accepted: Accepted, product: Product) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._asking.fetched(product)

    async def close(self) -> None:
        await self._asking.close()

    # --- asking ---------------------------------------------------------------------------------------------------

    async def _ask(self, tasks: list[dict[str, Any]], submitting: bool = False) -> Answer:
        secrets = await connected(self._secrets, ID, NAME, "api_key")
        headers = {"Authorization": f"Bearer {secrets['api_key']}"}
        answer = await self._asking.ask("POST", self._url, headers=headers, json=tasks, submitting=submitting)
        if not isinstance(answer.json, dict) or not ({"data", "errors"} & answer.json.keys()):
            raise _unanswered(answer, submitting)
        return answer

    async def _account(self) -> dict[str, Any]:
        uuid = str(uuid4())
        answer = await self._ask([{"taskType": "accountManagement", "taskUUID": uuid, "operation": "getDetails"}])
        if (error := _error_of(answer, uuid, alone=True)) is not None:
            raise EngineError(_fault(answer, error))
        entries = _entries(answer, uuid)
        if not entries:
            raise odd(NAME)
        return entries[0]

    async def _known(self, uuid: str) -> Answer | None:
        """What is known of a task; ``None`` only when neither the running ones nor the record of old ones has it."""
        answer = await self._ask([{"taskType": "getResponse", "taskUUID": uuid}])
        if not _is_absent(answer, uuid):
            return answer
        answer = await self._ask([{"taskType": "getTaskDetails", "taskUUID": uuid}])
        if _is_absent(answer, uuid):
            return None
        for one in _entries(answer, uuid):
            response = one.get("response")
            if isinstance(response, dict):
                return Answer(answer.status, answer.headers, response)
        raise odd(NAME)


def _entries(answer: Answer, uuid: str) -> list[dict[str, Any]]:
    data = found_object(answer.json).get("data")
    return [one for one in data[:100] if isinstance(one, dict) and one.get("taskUUID") == uuid] \
        if isinstance(data, list) else []


def _error_of(answer: Answer, uuid: str, alone: bool = False) -> dict[str, Any] | None:
    """The error that is about a task. With ``alone`` one that names no task is about it as well."""
    errors = found_object(answer.json).get("errors")
    for one in errors[:100] if isinstance(errors, list) else []:
        if isinstance(one, dict) and (one.get("taskUUID") == uuid or (alone and not one.get("taskUUID"))):
            return one
    return None


def _is_absent(answer: Answer, uuid: str) -> bool:
    if _entries(answer, uuid):
        return False
    error = _error_of(answer, uuid, alone=True)
    if error is None:
        # Neither the task nor an error about it: that says nothing certain.
        raise odd(NAME)
    code = told(error, "code")
    if answer.status == 404 or _ABSENT.search(code):
        return True
    if error.get("taskUUID") != uuid or answer.status in (401, 402, 403, 429) or answer.status >= 500:
        raise EngineError(_fault(answer, error))
    return False


def _unanswered(answer: Answer, submitting: bool) -> EngineError:
    if answer.status < 400:
        return odd(NAME, submitting)
    after = Submission.UNKNOWN if submitting and answer.status >= 500 else Submission.REFUSED
    return EngineError(_fault(answer, {}), after)


def _fault(answer: Answer, error: Mapping[str, Any]) -> Fault:
    code = told(error, "code")
    known = next((found for pattern, found in CODES if re.search(pattern, code, re.I)), None) if code else None
    if known is None or known == "VALIDATION_ERROR":
        by_status = {401: "AUTH_INVALID", 402: "INSUFFICIENT_FUNDS", 403: "AUTH_INSUFFICIENT_PERMISSIONS",
                     429: "RATE_LIMIT_EXCEEDED", 503: "SERVICE_UNAVAILABLE", 504: "ENGINE_TIMEOUT"}
        known = by_status.get(answer.status, known or ("VALIDATION_ERROR" if answer.status == 400 else "ENGINE_ERROR"))
    words = said(told(error, "message")) or f"It answered {answer.status}."
    detail: dict[str, Any] = {name: said(value, most=100) for name, value in (
        ("reason", code), ("parameter", told(error, "parameter")), ("task", told(error, "taskType"))) if value}
    found = fault(known, f"Runware: {words}", **detail)
    if answer.retry_after is not None:
        found = found.model_copy(update={"retry_after_seconds": answer.retry_after})
    return with_status(found, answer.status)


def _finished(entry: Mapping[str, Any]) -> bool:
    return told(entry, "status") in ("success", "error", "failed") or any(told(entry, name) for name, _ in _RESULTS)


def _products(entries: Sequence[Mapping[str, Any]]) -> list[Product]:
    found: list[Product] = []
    usual = {"image": "image/png", "video": "video/mp4", "audio": "audio/wav", "file": "application/octet-stream"}
    for one in entries:
        for field, kind in _RESULTS:
            if (url := told(one, field)) and one.get("NSFWContent") is not True:
                found.append(Product(f"{kind}-{len(found) + 1}", usual[kind], {"url": url}))
    return found


def _cost(entries: Sequence[Mapping[str, Any]]) -> float | None:
    costs = [one["cost"] for one in entries if isinstance(one.get("cost"), int | float)
             and not isinstance(one["cost"], bool) and one["cost"] >= 0]
    return round(sum(costs), 9) if costs else None


def _done(accepted: Accepted, entries: Sequence[Mapping[str, Any]], products: Sequence[Product]) -> Done:
    facts: dict[str, Any] = {}
    if isinstance(model := accepted.memo.get("model"), str):
        facts["model"] = model
    seed = next((one["seed"] for one in entries if isinstance(one.get("seed"), int)), None)
    if seed is not None:
        facts["seed"] = seed
    cost = _cost(entries)
    return Done(products, cost, "usd" if cost is not None else "", facts)
