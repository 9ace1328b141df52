"""Somebody tries to get a provider's key out: through every door, in every place of a request, in every spelling."""

from __future__ import annotations

import asyncio
import base64
import html
import io
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from door import Door, door, run

from services import journal

KEY = 'fal-7c1e9d20/b4a5+4f1f-9c3e:8d2b7a"6f5e&4d3c'
"""With every sign that is spelt otherwise somewhere."""

SPELT: dict[str, Callable[[str], str]] = {
    "raw": str, "percent": lambda key: quote(key, safe=""), "twice": lambda key: quote(quote(key, safe=""), safe=""),
    "json": lambda key: json.dumps(key)[1:-1], "unicode": lambda key: "".join(f"\\u{ord(one):04x}" for one in key),
    "html": html.escape, "hex": lambda key: key.encode().hex(),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 in the middle": lambda key: base64.b64encode(f"a:{key}:b".encode()).decode(),
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(f"xy{key}".encode()).decode().rstrip("="),
    "basic": lambda key: "Basic " + base64.b64encode(f"user:{key}".encode()).decode(),
    "repr": lambda key: repr(key.encode()),
    "cut at the end": lambda key: "x" * 150 + key[:-1], "cut at the beginning": lambda key: key[1:] + "x" * 10,
}

HEAD, TAIL = KEY[:14], KEY[-14:]


def shown(text: str) -> list[str]:
    """The spellings in which the key, or most of it, stands in a text."""
    found = [name for name, spell in SPELT.items() if "cut" not in name and spell(KEY) in text]
    found += [part for part in (HEAD, TAIL, json.dumps(HEAD)[1:-1], quote(HEAD, safe=""), quote(TAIL, safe=""))
              if part in text]
    middle = base64.b64encode(KEY.encode()).decode()[4:40]
    return found + [middle] * (middle in text)


def requests(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Requests with that text wherever something of a request is repeated, judged or kept."""
    address, line = quote(text, safe=""), text.encode("ascii", "backslashreplace").decode()
    body = json.dumps({"id": text})
    return [
        ("GET", f"/api/{address}", {}), ("GET", f"/{address}/x", {}), ("GET", f"/api/jobs/{address}", {}),
        ("GET", f"/api/assets/{address}", {}), ("GET", f"/api/presets/{address}", {}),
        ("GET", f"/api/workflows/{address}", {}), ("GET", f"/api/providers/{address}", {}),
        ("GET", f"/api/jobs?q={address}", {}), ("GET", f"/api/jobs?{address}=1", {}),
        ("GET", f"/api/jobs?cursor={address}", {}), ("GET", f"/api/timeline?category={address}", {}),
        ("GET", f"/api/analytics/{address}", {}), ("GET", f"/api/scenes/{address}?as_of={address}", {}),
        ("GET", f"/api/project?worldline={address}", {}), ("POST", f"/api/commands/{address}", {"json": {}}),
        ("POST", f"/api/providers/{address}/test", {}),
        ("POST", "/api/providers/provider_fal/connect", {"json": {"api_key": text[:20] + " " + text}}),
        ("POST", "/api/providers/provider_fal/connect", {"json": {text: "1"}}),
        ("POST", "/api/providers/provider_fal/connect", {"content": "{" + text, "headers": JSON}),
        ("POST", "/api/presets/photoreal_portrait_v1/run", {"json": {"inputs": {"prompt": text, text: 1}}}),
        ("POST", "/api/presets/photoreal_portrait_v1/run", {"json": {"inputs": {"prompt": text, "draft": True}}}),
        ("POST", "/api/presets", {"json": {"id": "p", "name": text, text: text}}),
        ("POST", "/api/models/custom", {"json": {"name": text, "type": text, "url": f"https://{text}@x/{text}"}}),
        ("POST", "/api/policy/ack", {"json": {"user": text, "notes": text}}),
        ("POST", "/api/policy/evaluate", {"json": {"action": "export", "subject": {
            "kind": "project", "facts": {"rating": text}}}}),
        ("POST", "/api/policy/evaluate", {"json": {"action": text}}),
        ("POST", "/api/scenes", {"json": {"id": "s", "start": "a", "title": text,
                                          "nodes": [{"id": "a", "text": text, "end": True}]}}),
        ("POST", "/api/scenes", {"content": body[:-3], "headers": JSON}),
        ("POST", "/api/scenes", {"content": body, "headers": {"content-type": line}}),
        ("POST", "/api/scenes", {"content": body, "headers": JSON | {"idempotency-key": line}}),
        ("POST", "/api/scenes", {"content": body, "headers": JSON | {"if-match": line}}),
        ("GET", "/api/jobs", {"headers": {"x-request-id": line, "x-comfyvn-actor": line, "if-none-match": line,
                                          "accept": line, "origin": line, "authorization": f"Bearer {line}"}}),
        ("GET", "/api/jobs", {"headers": {"host": line}}), ("PUT", "/api/jobs", {"content": text}),
        ("POST", "/api/jobs/x/retry", {"json": {"engine": text, "without": [text]}}),
        ("GET", f"/events/sse?after=0&category={address}", {}), ("GET", f"/events/sse?{address}", {}),
        ("GET", f"/api/jobs/x/events?after={address}", {}), ("POST", f"/replay/start?{address}=1", {"json": {}}),
        ("POST", f"/webhooks/provider_fal/{address}", {"content": text}),
        ("POST", "/api/webhooks/provider_fal/demo/job/attempt/sign", {"content": text, "headers": {"x-sign": line}}),
    ]


JSON = {"content-type": "application/json"}


async def everything(at: Door) -> str:
    return "".join([one.data.decode() async for batch in at.log.read(after=0, upto=await at.log.head())
                    for one in batch])


async def sent(at: Door, method: str, url: str, given: dict[str, Any]) -> str:
    """All of an answer: status, headers and body; of one that never ends its beginning."""
    try:
        async with asyncio.timeout(3), at.client.stream(method, url, **given) as answer:
            said = f"{answer.status_code} {list(answer.headers.multi_items())}"
            assert answer.status_code != 500, url
            async for piece in answer.aiter_text():
                said += piece
                if len(said) > 100_000 or "event-stream" in answer.headers.get("content-type", ""):
                    break
            return said
    except TimeoutError:
        return ""
    except (httpx.InvalidURL, UnicodeEncodeError, httpx.LocalProtocolError):
        return ""


@pytest.mark.parametrize("spelling", SPELT)
def test_no_door_gives_a_key_away(spelling: str) -> None:
    lines = io.StringIO()
    text = SPELT[spelling](KEY)

    async def scenario() -> None:
        async with door() as at:
            await at.studio.vault.put("provider_fal", {"api_key": KEY}, "2026-01-01T00:00:00Z")
            for method, url, given in requests(text):
                answer = await sent(at, method, url, given)
                if "cut" not in spelling or answer[:1] != "2":  # what is left of one may be kept, as somebody's words
                    assert not shown(answer), f"{method} {url[:80]}: {answer[:2000]}"
            for url in ("/api/setup/diagnostics", "/api/setup/healthcheck", "/api/timeline?changes=true", "/api/jobs",
                        "/api/policy/audit", "/api/providers", "/api/presets/own", "/api/models/catalog", "/metrics"):
                answer = await sent(at, "GET", url, {})
                if "cut" not in spelling:
                    assert not shown(answer), f"GET {url}: {answer[:2000]}"
            recorded = await everything(at)
            if "cut" not in spelling:
                assert not shown(recorded), "a key is recorded"

    journal.configure("debug", "json")
    handler = logging.StreamHandler(lines)
    handler.setFormatter(logging.getLogger().handlers[0].formatter)
    logging.getLogger().addHandler(handler)
    try:
        run(scenario)
    finally:
        logging.getLogger().removeHandler(handler)
    assert not shown(lines.getvalue()), [line for line in lines.getvalue().splitlines() if shown(line)][:3]
