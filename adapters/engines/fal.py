"""fal: many models behind one durable queue. Asked at ``queue.fal.run``, paid by what it delivers.

A submission carries no id of ours and there is no way to ask for one, so an attempt whose answer was lost is not found
again: ``finds_attempts`` is false, and such an attempt waits for a person. ``COMPLETED`` means only that nothing more
will happen: whether there is a result is known when the result has been read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

from adapters.engines.remote.asking import (
    Answer,
    Asking,
    connected,
    found_object,
    odd,
    refused,
    said,
    told,
    unwell,
    with_status,
)
from adapters.engines.remote.models import Handed, Model, data_uri, filled, handed, listed, put
from adapters.outgoing import NotAllowed, Outgoing, Unreachable
from domain.ports.engines import (
    Accepted,
    Balance,
    Cancelled,
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
from domain.studio.pricing import Price, cost_of

ID: Final = "provider_fal"
NAME: Final = "fal"
MODELS: Final = listed(NAME, "fal")

INLINE_BYTES: Final = 3 * 2**20
"""Files together up to this size travel inside the request; larger ones are put into fal's own storage first."""

PRODUCTS_LIMIT: Final = 64

_TIMEOUTS: Final = frozenset({"request_timeout", "startup_timeout", "generation_timeout"})
_UNREACHED: Final = frozenset({
    "runner_scheduling_failure", "runner_connection_timeout", "runner_disconnected", "runner_connection_refused",
    "runner_connection_error", "runner_server_error", "runner_incomplete_response", "internal_error",
    "internal_server_error", "downstream_service_error", "downstream_service_unavailable",
})


class Fal:
    """fal behind the engine protocol. ``secrets`` gives ``api_key``, and ``admin_key`` where the balance is wanted."""

    traits: Final = Traits(ID, NAME, "remote", paid=True, finds_attempts=False, slots=2, poll_seconds=2.0)

    def __init__(
        self, secrets: Secrets, *, queue: str = "https://queue.fal.run", platform: str = "https://api.fal.ai",
        storage: str = "https://rest.fal.ai", patience_seconds: float = 30.0, outgoing: Outgoing | None = None,
    ) -> None:
        self._secrets = secrets
        self._queue, self._platform, self._storage = (one.rstrip("/") for one in (queue, platform, storage))
        self._asking = Asking(NAME, queue, platform, storage, patience_seconds=patience_seconds, outgoing=outgoing)

    async def verify(self) -> None:
        """Asks for a request that nobody has made: a good key hears that it is not there."""
        model = MODELS.all[0].id
        answer = await self._ask("GET", f"{self._queue}/{_app(model)}/requests/{uuid4()}/status")
        if answer.status in (401, 402, 403, 429) or answer.status >= 500:
            raise EngineError(self._fault(answer))
        if answer.status not in (400, 404, 422) or not isinstance(answer.json, dict):
            raise odd(NAME)

    async def balance(self) -> Balance | None:
        """What is left, with an admin key; an ordinary key may not see it."""
        secrets = await self._known()
        if not secrets.get("admin_key"):
            return None
        answer = await self._ask("GET", f"{self._platform}/v1/account/billing?expand=credits", key="admin_key")
        if answer.status != 200:
            raise EngineError(self._fault(answer))
        credits = found_object(found_object(answer.json).get("credits"))
        left = credits.get("current_balance")
        if not isinstance(left, int | float) or isinstance(left, bool):
            raise odd(NAME)
        return Balance(float(left), told(credits, "currency").lower()[:10] or "usd")

    async def health(self) -> Health:
        try:
            await self.verify()
        except EngineError as error:
            return unwell(error)
        facts = {"balance": "needs an admin key"} if not (await self._known()).get("admin_key") else {}
        return Health("connected", facts=facts)

    async def offers(self) -> Sequence[Offer]:
        return MODELS.offers()

    async def estimate(self, task: Task) -> tuple[float, str] | None:
        """What fal's own price list says now, in dollars; ``None`` where it says nothing that can be reckoned."""
        model = MODELS.of(task)
        try:
            query = urlencode({"endpoint_id": model.id})
            answer = await self._ask("GET", f"{self._platform}/v1/models/pricing?{query}")
        except EngineError:
            return None
        prices = found_object(answer.json).get("prices") if answer.status == 200 else None
        for price in prices if isinstance(prices, list) else []:
            found = found_object(price)
            amount = found.get("unit_price")
            if found.get("endpoint_id") == model.id and isinstance(amount, int | float) and amount >= 0 \
                    and told(found, "currency").upper() in ("USD", ""):
                cost = cost_of(Price(unit=told(found, "unit"), dollars=float(amount)), task.operation, task.parameters)
                return None if cost is None else (cost, "usd")
        return None

    async def submit(self, task: Task, reading: Reading) -> Accepted:
        model = MODELS.of(task)
        body = filled(model, task)
        files = await handed(model, task, reading)
        await self._known()
        await self._put_in(model, body, files)
        query = f"?{urlencode({'fal_webhook': task.callback_url})}" if task.callback_url else ""
        answer = await self._ask("POST", f"{self._queue}/{model.path or model.id}{query}", json=body, submitting=True)
        if answer.status not in (200, 201, 202):
            # Fal repeats what broke on its side by itself: such an answer does not say that nothing was begun.
            after = Submission.UNKNOWN if answer.status >= 500 else Submission.REFUSED
            raise EngineError(self._fault(answer), after)
        request = told(answer.json, "request_id")
        if not request or len(request) > 200:
            raise odd(NAME, submitting=True)
        named = found_object(answer.json)
        memo: dict[str, Any] = {"model": model.id}
        for name in ("status_url", "response_url", "cancel_url"):
            # Only an address on fal's own host is kept: the key goes there.
            if (url := self._asking.ours(named.get(name))) is not None and len(url) < 1000:
                memo[name] = url
        return Accepted(request, memo)

    async def find(self, attempt: str) -> Accepted | None:
        raise refused("OUTCOME_UNKNOWN", "fal cannot be asked for an attempt by our id.")

    async def poll(self, accepted: Accepted) -> Outcome:
        answer = await self._ask("GET", self._url(accepted, "status_url", "/status"))
        if answer.status == 404:
            return Lost()
        if answer.status not in (200, 202):
            raise EngineError(self._fault(answer))
        status = told(answer.json, "status")
        if status == "IN_QUEUE":
            ahead = answer.json.get("queue_position")
            return Waiting(ahead if isinstance(ahead, int) and ahead >= 0 else None)
        if status == "IN_PROGRESS":
            return Working()
        if status != "COMPLETED":
            raise odd(NAME)
        if answer.json.get("error") or answer.json.get("error_type"):
            return self._ended(answer)
        return await self._result(accepted)

    async def cancel(self, accepted: Accepted) -> Cancelling:
        answer = await self._ask("PUT", self._url(accepted, "cancel_url", "/cancel"))
        match told(answer.json, "status"):
            case "OK" | "CANCELLATION_REQUESTED":
                return Cancelling.REQUESTED
            case "ALREADY_COMPLETED":
                return Cancelling.TOO_LATE
            case "NOT_FOUND":
                return Cancelling.UNKNOWN_TASK
        if answer.status == 404 and isinstance(answer.json, dict):
            return Cancelling.UNKNOWN_TASK
        if answer.status >= 400:
            raise EngineError(self._fault(answer))
        raise odd(NAME)

    def fetch(self, accepted: Accepted, product: Product) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._asking.fetched(product)

    async def close(self) -> None:
        await self._asking.close()

    # --- asking ---------------------------------------------------------------------------------------------------

    async def _known(self) -> Mapping[str, str]:
        return await connected(self._secrets, ID, NAME, "api_key")

    async def _ask(self, method: str, url: str, *, key: str = "api_key", **given: Any) -> Answer:
        secrets = await self._known()
        return await self._asking.ask(method, url, headers={"Authorization": f"Key {secrets[key]}"}, **given)

    def _url(self, accepted: Accepted, name: str, last: str) -> str:
        known = self._asking.ours(accepted.memo.get(name))
        model = str(accepted.memo.get("model", ""))
        return known or f"{self._queue}/{_app(model)}/requests/{quote(accepted.external_id, safe='')}{last}"

    async def _put_in(self, model: Model, body: dict[str, Any], files: Mapping[str, list[Handed]]) -> None:
        inline = sum(len(one.content) for several in files.values() for one in several) <= INLINE_BYTES
        for name, several in files.items():
            told_as = [data_uri(one) if inline else await self._uploaded(one) for one in several]
            put(body, model.inputs[name].field, told_as if model.inputs[name].many else told_as[0])

    async def _uploaded(self, one: Handed) -> str:
        name = one.material.digest.removeprefix("sha256:")[:32] + "." + one.material.media_type.rpartition("/")[2]
        answer = await self._ask("POST", f"{self._storage}/storage/upload/initiate?storage_type=fal-cdn-v3",
                                 json={"content_type": one.material.media_type, "file_name": name})
        there, stored = told(answer.json, "upload_url"), told(answer.json, "file_url")
        if answer.status >= 400:
            raise EngineError(self._fault(answer))
        if not there or not stored:
            raise odd(NAME)
        try:
            status = await self._asking.outgoing.put(there, one.content, one.material.media_type)
        except (NotAllowed, Unreachable) as error:
            raise refused("SERVICE_UNAVAILABLE", f"A file could not be handed to fal: {said(error)}") from None
        if status >= 300:
            raise refused("SERVICE_UNAVAILABLE", "A file could not be handed to fal.", status=status)
        return stored

    # --- what it says -----------------------------------------------------------------------------------------------

    async def _result(self, accepted: Accepted) -> Outcome:
        answer = await self._ask("GET", self._url(accepted, "response_url", ""))
        if answer.status == 404:
            return Lost()
        if answer.status in (401, 402, 403, 429) or (answer.status >= 500 and not found_object(answer.json)):
            raise EngineError(self._fault(answer))  # about asking for it, not about the result
        if answer.status >= 400:
            return self._ended(answer)
        result = answer.json if answer.status == 200 else None
        if not isinstance(result, dict):
            raise odd(NAME)
        flags = result.get("has_nsfw_concepts")
        products = products_in(result)
        if isinstance(flags, list) and flags and all(flag is True for flag in flags):
            return Failed(fault("SAFETY_FILTER", "fal's safety filter has blackened what was made."), charged=True)
        if not products:
            return Failed(fault("ENGINE_ERROR", "fal has finished and delivered no file."))
        facts: dict[str, Any] = {"model": str(accepted.memo.get("model", ""))}
        if isinstance(result.get("seed"), int) and not isinstance(result["seed"], bool):
            facts["seed"] = result["seed"]
        return Done(products, facts=facts)

    def _ended(self, answer: Answer) -> Outcome:
        kind = told(answer.json, "error_type") or answer.headers.get("x-fal-error-type", "")
        if kind in ("client_cancelled", "client_disconnected"):
            return Cancelled()
        return Failed(self._fault(answer))

    @staticmethod
    def _fault(answer: Answer) -> Fault:
        code, words, fields = _read(answer)
        found = fault(code, f"fal: {words}" if words else "fal refused without saying why.")
        if fields:
            found = found.model_copy(update={"detail": {"fields": fields}})
        if answer.retry_after is not None:
            found = found.model_copy(update={"retry_after_seconds": answer.retry_after})
        return with_status(found, answer.status)


def _app(model: str) -> str:
    # Status, result and cancel are asked of owner and app, without the rest of the model's path.
    return "/".join(quote(part, safe="") for part in model.split("/")[:2])


def _read(answer: Answer) -> tuple[str, str, list[str]]:
    """Fault code, words and named fields of an error: one of two shapes, or neither."""
    body = found_object(answer.json)
    detail, kind = body.get("detail"), told(body, "error_type") or answer.headers.get("x-fal-error-type", "")
    fields: list[str] = []
    words = told(body, "error", "message") or (detail if isinstance(detail, str) else "")
    if isinstance(detail, list):
        entries = [one for one in detail[:20] if isinstance(one, dict)]
        kind = kind or next((told(one, "type") for one in entries if told(one, "type")), "")
        words = "; ".join(told(one, "msg") for one in entries) or words
        fields = [said(".".join(map(str, one["loc"][-2:])), most=100) for one in entries
                  if isinstance(one.get("loc"), list)]
    return _code(answer.status, kind, words), said(words), fields


def _code(status: int, kind: str, words: str) -> str:
    low = words.lower()
    if kind in ("content_policy_violation", "content_policy", "nsfw_content"):
        return "SAFETY_FILTER"
    if kind in _TIMEOUTS or status == 504:
        return "ENGINE_TIMEOUT"
    if status == 402 or (status == 403 and ("balance" in low or "locked" in low)):
        return "INSUFFICIENT_FUNDS"
    if kind in _UNREACHED:
        return "SERVICE_UNAVAILABLE"
    by_status = {401: "AUTH_INVALID", 403: "AUTH_INSUFFICIENT_PERMISSIONS", 404: "DEPENDENCY_MISSING",
                 408: "ENGINE_TIMEOUT", 429: "RATE_LIMIT_EXCEEDED", 400: "VALIDATION_ERROR", 422: "VALIDATION_ERROR"}
    if status in by_status:
        return by_status[status]
    return "SERVICE_UNAVAILABLE" if status in (502, 503) else "ENGINE_ERROR"


def products_in(result: Mapping[str, Any]) -> list[Product]:
    """The files that a result names, wherever it does: objects with a ``url``, in the order in which they come."""
    found: list[Product] = []

    def look(value: Any, name: str, depth: int) -> None:
        if depth > 6 or len(found) >= PRODUCTS_LIMIT:
            return
        if isinstance(value, list):
            for number, one in enumerate(value):
                look(one, f"{name}-{number + 1}" if len(value) > 1 else name, depth + 1)
        elif isinstance(value, dict):
            if isinstance(url := value.get("url"), str) and url.startswith(("https://", "http://")):
                media = told(value, "content_type") or _media_of(url, name)
                if "/" in media:
                    found.append(Product(name or "result", media.partition(";")[0][:100], {"url": url}))
                return
            for key, one in value.items():
                look(one, f"{name}-{key}" if name else str(key)[:60], depth + 1)

    look({key: value for key, value in result.items() if key != "timings"}, "", 0)
    return found


def _media_of(url: str, name: str) -> str:
    endings = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
               "mp4": "video/mp4", "webm": "video/webm", "wav": "audio/wav", "mp3": "audio/mpeg"}
    ending = urlsplit(url).path.rpartition(".")[2].lower()
    usual = {"image": "image/png", "video": "video/mp4", "audio": "audio/wav"}
    return endings.get(ending) or next((media for kind, media in usual.items() if name.startswith(kind)), "")
