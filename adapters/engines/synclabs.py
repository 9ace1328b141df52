"""Sync (sync.so, formerly Sync Labs): lips of a video moved to a voice.

Our attempt is the ``Idempotency-Key`` of a submission: the same task sent again under it is answered with the first
one, and nothing is made or paid for twice. There is no way to ask for a task by that key, so an attempt whose answer
was lost is sent again (``repeats_safely``), and never under another key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final
from urllib.parse import quote

import orjson

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
from adapters.engines.remote.models import Handed, filled, handed, listed
from adapters.outgoing import Outgoing
from domain.ports.engines import (
    Accepted,
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

ID: Final = "provider_synclabs"
NAME: Final = "Sync"
MODELS: Final = listed(NAME, "synclabs")

UPLOAD_SECONDS: Final = 300.0
"""How long handing over the files of a task may take."""

PIECE_BYTES: Final = 256 * 1024

_UNSAFE: Final = re.compile(r"moderation|safety|nsfw|content.?policy|prohibited", re.I)
_BAD_INPUT: Final = re.compile(r"input|_too_|unsupported|invalid|no_face|face_not|duration|resolution", re.I)


class SyncLabs:
    """Sync behind the engine protocol. ``secrets`` gives ``api_key``."""

    traits: Final = Traits(ID, NAME, "remote", paid=True, finds_attempts=False, slots=1, poll_seconds=5.0,
                           repeats_safely=True)

    def __init__(
        self, secrets: Secrets, *, url: str = "https://api.sync.so", patience_seconds: float = 30.0,
        upload_seconds: float = UPLOAD_SECONDS, outgoing: Outgoing | None = None,
    ) -> None:
        self._secrets = secrets
        self._url = url.rstrip("/")
        self._upload_seconds = upload_seconds
        self._asking = Asking(NAME, url, patience_seconds=patience_seconds, outgoing=outgoing)

    async def verify(self) -> None:
        """Asks for the newest task: an empty list is an answer too."""
        answer = await self._ask("GET", "/v2/generations?limit=1")
        if answer.status != 200:
            raise EngineError(_fault(answer))
        if not isinstance(answer.json, list) or not all(told(one, "id") for one in answer.json):
            raise odd(NAME)

    async def balance(self) -> None:
        """Nothing: the service has no route that tells it."""

    async def health(self) -> Health:
        try:
            await self.verify()
        except EngineError as error:
            return unwell(error)
        return Health("connected", facts={"balance": "is shown on Sync's own pages alone"})

    async def offers(self) -> Sequence[Offer]:
        return MODELS.offers()

    async def estimate(self, task: Task) -> None:
        """Nothing: the service estimates only files that lie at public addresses, and ours do not."""

    async def submit(self, task: Task, reading: Reading) -> Accepted:
        model = MODELS.of(task)
        fields: dict[str, Any] = {"model": model.id, **filled(model, task)}
        files = await handed(model, task, reading)
        if task.callback_url:
            fields["webhookUrl"] = task.callback_url
        # Made from the attempt, so that the very same bytes are sent when the same task is sent again.
        boundary = hashlib.sha256(f"form\n{task.attempt}".encode()).hexdigest()[:40]
        parts = _form(boundary, fields, {model.inputs[name].field: one[0] for name, one in files.items()})
        answer = await self._ask(
            "POST", "/v2/generate", submitting=True, patience_seconds=self._upload_seconds, content=_pieces(parts),
            named={"Idempotency-Key": task.attempt, "Content-Length": str(sum(map(len, parts))),
                   "Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        if answer.status not in (200, 201, 202):
            return self._not_taken(answer)
        return self._taken(told(answer.json, "id"))

    async def find(self, attempt: str) -> Accepted | None:
        raise EngineError(fault("OUTCOME_UNKNOWN", "Sync cannot be asked for an attempt; it is sent again instead."))

    async def poll(self, accepted: Accepted) -> Outcome:
        answer = await self._ask("GET", f"/v2/generate/{quote(accepted.external_id, safe='')}")
        if answer.status == 404 and isinstance(answer.json, dict):
            return Lost()
        if answer.status != 200:
            raise EngineError(_fault(answer))
        match told(answer.json, "status"):
            case "PENDING":
                return Waiting()
            case "PROCESSING":
                return Working()
            case "COMPLETED":
                return _done(answer.json)
            case "FAILED" | "REJECTED" | "TIMED_OUT" as status:
                return Failed(_ended(answer.json, status))
            case "CANCELED" | "CANCELLED":
                return Cancelled()
        raise odd(NAME)

    async def cancel(self, accepted: Accepted) -> Cancelling:
        """The service cannot: a task that was taken runs to its end."""
        outcome = await self.poll(accepted)
        if isinstance(outcome, Lost):
            return Cancelling.UNKNOWN_TASK
        return Cancelling.UNSUPPORTED if isinstance(outcome, Waiting | Working) else Cancelling.TOO_LATE

    def fetch(self, accepted: Accepted, product: Product) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._asking.fetched(product)

    async def close(self) -> None:
        await self._asking.close()

    # --- asking ---------------------------------------------------------------------------------------------------

    async def _ask(
        self, method: str, path: str, *, named: Mapping[str, str] | None = None, **given: Any
    ) -> Answer:
        secrets = await connected(self._secrets, ID, NAME, "api_key")
        headers = {"x-api-key": secrets["api_key"], **(named or {})}
        return await self._asking.ask(method, f"{self._url}{path}", headers=headers, **given)

    def _not_taken(self, answer: Answer) -> Accepted:
        code = _reason(answer.json)
        if code.upper().startswith("IDEMPOTENCY_"):
            # The key is known: what was sent under it runs, or may. Where the service says which it is, that is it.
            body = found_object(answer.json)
            first = told(body, "generationId") or told(found_object(body.get("details")), "generationId")
            if first:
                return self._taken(first)
            raise EngineError(_fault(answer), Submission.UNKNOWN)
        raise EngineError(_fault(answer), Submission.UNKNOWN if answer.status >= 500 else Submission.REFUSED)

    @staticmethod
    def _taken(id_: str) -> Accepted:
        if not id_ or len(id_) > 200:
            raise odd(NAME, submitting=True)
        return Accepted(id_)


def _form(boundary: str, fields: Mapping[str, Any], files: Mapping[str, Handed]) -> list[bytes]:
    parts: list[bytes] = []
    for name, value in fields.items():
        text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode())
    for name, one in files.items():
        ending = one.material.media_type.rpartition("/")[2]
        file = f"{one.material.digest.removeprefix('sha256:')[:24]}.{re.sub(r'[^a-z0-9]', '', ending)[:8]}"
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n'
                     f"Content-Type: {one.material.media_type}\r\n\r\n".encode())
        parts += [one.content, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return parts


async def _pieces(parts: Sequence[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        for start in range(0, len(part), PIECE_BYTES):
            yield part[start : start + PIECE_BYTES]


def _reason(body: Any) -> str:
    found = found_object(body)
    return told(found, "errorCode", "error_code", "code") or told(found_object(found.get("error")), "code")


def _fault(answer: Answer) -> Fault:
    code = _reason(answer.json)
    words = said(told(answer.json, "message", "error")) or f"It answered {answer.status}."
    by_status = {400: "VALIDATION_ERROR", 401: "AUTH_INVALID", 402: "INSUFFICIENT_FUNDS",
                 403: "AUTH_INSUFFICIENT_PERMISSIONS", 404: "CONTRACT_MISMATCH", 408: "ENGINE_TIMEOUT",
                 413: "VALIDATION_ERROR", 415: "VALIDATION_ERROR", 422: "VALIDATION_ERROR", 429: "RATE_LIMIT_EXCEEDED",
                 500: "ENGINE_ERROR", 504: "ENGINE_TIMEOUT"}
    known = by_status.get(answer.status, "SERVICE_UNAVAILABLE" if answer.status >= 500 else "ENGINE_ERROR")
    if code.upper().startswith("IDEMPOTENCY_"):
        # A key that is being worked on is free in a moment; one that was used for something else never is.
        known = "SERVICE_UNAVAILABLE" if "PROGRESS" in code.upper() else "OUTCOME_UNKNOWN"
    detail: dict[str, Any] = {"reason": said(code, most=100)} if code else {}
    found = fault(known, f"Sync: {words}", **detail)
    # Over the plan's concurrency nothing helps but an end of what runs; a rate is over within its minute.
    usual = (30.0 if "concurren" in code.lower() else 10.0) if answer.status == 429 else None
    wait = answer.retry_after if answer.retry_after is not None else usual
    if wait is not None:
        found = found.model_copy(update={"retry_after_seconds": wait})
    return with_status(found, answer.status)


def _ended(body: Mapping[str, Any], status: str) -> Fault:
    code, words = _reason(body), said(told(body, "error", "message")) or "It gave no reason."
    both = f"{code} {words}"
    if _UNSAFE.search(both):
        known = "SAFETY_FILTER"
    elif status == "TIMED_OUT" or "timeout" in code.lower():
        known = "ENGINE_TIMEOUT"
    elif status == "REJECTED" or _BAD_INPUT.search(code):
        known = "VALIDATION_ERROR"
    else:
        known = "ENGINE_ERROR"
    return fault(known, f"Sync: {words}", status=status, **({"reason": said(code, most=100)} if code else {}))


def _done(body: Mapping[str, Any]) -> Outcome:
    url = told(body, "outputMediaUrl", "outputUrl")
    if not url:
        return Failed(fault("ENGINE_ERROR", "Sync has finished and delivered no file."))
    facts: dict[str, Any] = {}
    if model := told(body, "model"):
        facts["model"] = model[:100]
    seconds = body.get("outputDuration")
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds >= 0:
        facts["seconds"] = seconds
    return Done([Product("video-1", "video/mp4", {"url": url})], facts=facts)
