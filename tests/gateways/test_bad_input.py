"""Whatever comes to the door, the answer is a problem that says what to do: never a 500, never a stack trace."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog
from door import Door, door, on_socket, run
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import Invalid
from gateways.http.bodies import DEPTH_LIMIT, read_object

COMMAND = "/api/commands/ForkWorldline?project=demo"
JSON = {"Content-Type": "application/json"}


def check(answer: httpx.Response, status: int, error: str) -> dict[str, Any]:
    """A whole problem with that status and code."""
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told.keys() >= {"type", "title", "status", "error", "message", "remediation", "detail", "request_id"}
    assert (told["status"], told["type"]) == (status, f"urn:comfyvn:problem:{error}")
    assert told["remediation"], "it does not say what to do next"
    assert all(one.keys() == {"text", "action"} for one in told["remediation"])
    assert answer.headers["x-request-id"] == told["request_id"]
    assert "Traceback" not in answer.text
    return told


def posting(body: bytes, status: int, error: str, *, headers: dict[str, str] | None = None, url: str = COMMAND) -> None:
    async def scenario() -> None:
        async with door(projecting=False, body_limit=4096) as here:
            answer = await here.client.post(url, content=body, headers=JSON if headers is None else headers)
            check(answer, status, error)
            assert here.log.events == []

    run(scenario)


@pytest.mark.parametrize("body", [
    b"{", b"nonsense", b'{"a":1} x', b"{'a':1}", b'{"a":01}', b"\xff\xfe{}", b"\xef\xbb\xbf{}",
    '{"notes":"ä"}'.encode("latin-1"),
    '{"notes":"ä"}'.encode("utf-16"), b'{"notes":"a\x00b"}', b'{"notes":"a\nb"}',
    b'{"notes":"a","notes":"b"}', b'{"metadata":{"a":{"b":1,"b":2}}}',
    b'{"metadata":{"a":NaN}}', b'{"metadata":{"a":Infinity}}', b'{"metadata":{"a":1e999}}',
    b'{"metadata":{"a":9223372036854775808}}', b'{"metadata":{"a":' + b"9" * 3000 + b"}}",
    b'{"metadata":{"a":"\\ud800"}}', b'{"metadata":{"\\udfff":1}}', b'{"notes":"\\ud83d"}',
    b'{"metadata":' + b'{"a":' * 70 + b"1" + b"}" * 70 + b"}", b"[" * 2000, b"[" * 2000 + b"]" * 2000,
], ids=lambda body: repr(body[:24]))
def test_a_body_that_is_no_usable_json_is_a_400(body: bytes) -> None:
    posting(body, 400, "malformed_json")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"3", b"true"])
def test_json_that_is_no_object_does_not_fit(body: bytes) -> None:
    posting(body, 422, "invalid_fields")


@pytest.mark.parametrize("body", [{"at": False}, {"at": "3"}, {"at": 3.0}, {"notes": 3}, {"label": True}])
def test_json_is_not_bent_until_it_fits(body: dict[str, Any]) -> None:
    posting(json.dumps(body).encode(), 422, "invalid_fields")
    inside = {"commands": [{"command": "ForkWorldline", **body}]}
    posting(json.dumps(inside).encode(), 422, "invalid_fields", url="/api/commands")


def test_every_wrong_field_is_named_by_its_path() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            body = {"worldline_id": "not good", "at": "soon", "colour": 1, "lane": "fast", "metadata": []}
            told = check(await here.client.post(COMMAND, json=body), 422, "invalid_fields")
            paths = {field["path"] for field in told["detail"]["fields"]}
            assert paths == {"worldline_id", "at", "colour", "lane", "metadata"}
            colour = next(field for field in told["detail"]["fields"] if field["path"] == "colour")
            assert colour["message"] == "there is no such field"
            many = {f"field{number}": 1 for number in range(200)}
            told = check(await here.client.post(COMMAND, json=many), 422, "invalid_fields")
            assert (len(told["detail"]["fields"]), told["detail"]["more"]) == (50, 150)

    run(scenario)


@pytest.mark.parametrize("content_type", [
    "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml",
    "application/json; charset=utf-16", "application/json; charset=latin-1", "json", "",
])
def test_another_media_type_is_refused(content_type: str) -> None:
    posting(b'{"worldline_id":"night"}', 415, "unsupported_media_type", headers={"Content-Type": content_type})


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "x"])
def test_an_encoded_body_is_refused(encoding: str) -> None:
    posting(b'{"worldline_id":"night"}', 415, "unsupported_media_type", headers={"Content-Encoding": encoding})


def test_json_may_say_that_it_is_utf_8() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            for kind in ("application/json; charset=utf-8", 'APPLICATION/JSON;charset="UTF-8"', "application/x+json"):
                answer = await here.client.post(COMMAND, content=b"{}", headers={"Content-Type": kind})
                assert answer.status_code == 201, answer.text

    run(scenario)


def test_a_body_over_the_limit_is_refused_however_it_is_sent() -> None:
    large = json.dumps({"notes": "x" * 9000}).encode()
    posting(large, 413, "body_too_large")

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 1000):
            yield large[start : start + 1000]

    async def scenario() -> None:
        async with (
            door(projecting=False, body_limit=4096) as here, on_socket(here.app) as url,
            httpx.AsyncClient(base_url=url) as client,
        ):
            check(await client.post(COMMAND, content=pieces(), headers=JSON), 413, "body_too_large")
            check(await client.post(COMMAND, content=large, headers=JSON), 413, "body_too_large")
            assert (await client.post(COMMAND, json={"worldline_id": "after"})).status_code == 201

    run(scenario)


def test_a_large_body_within_the_limit_is_taken() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            body = {"metadata": {str(number): "x" * 100 for number in range(5000)}}
            answer = await here.client.post(COMMAND, json=body)
            assert answer.status_code in (201, 413), answer.text
            twice = json.dumps(body).encode()[:-1] + b',"metadata":{}}'
            check(await here.client.post(COMMAND, content=twice, headers=JSON), 400, "malformed_json")

    run(scenario)


def test_a_content_length_that_is_no_number_is_refused() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            for length in (b"-1", b"1_0", b"9" * 40, b"\xb2"):
                status, _ = await raw(here, "POST", COMMAND, [(b"content-length", length)])
                assert status in (400, 413)

    run(scenario)


@pytest.mark.parametrize(("query", "path"), [
    ("project=not%20good", "project"), ("project=", "project"), ("project=" + "x" * 97, "project"),
    ("project=-", "project"),
    ("project=a.b", "project"), ("project=%2a", "project"), ("project=a&project=b", "project"),
    ("projekt=a", "projekt"),
    ("worldline=-", "worldline"), ("worldline=%00", "worldline"), ("dry_run=", "dry_run"), ("dry_run=yes", "dry_run"),
    ("as_of=3", "as_of"),
])
def test_a_parameter_that_does_not_fit_is_named(query: str, path: str) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            answer = await here.client.post(f"/api/commands/ForkWorldline?{query}", json={})
            told = check(answer, 422, "invalid_parameters")
            assert told["detail"]["fields"][0]["path"] == path

    run(scenario)


@pytest.mark.parametrize("query", ["project=%ff", "project=" + "x" * 20_000, "&".join(f"a{n}=1" for n in range(300))])
def test_a_query_string_that_cannot_be_read_is_a_problem(query: str) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            check(await here.client.post(f"/api/commands/ForkWorldline?{query}", json={}), 422, "invalid_parameters")
            check(await here.client.get(f"/api/pov/worlds?{query}"), 422, "invalid_parameters")

    run(scenario)


def test_unknown_addresses_and_methods() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            for path in ("/nowhere", "/api", "/api/pov/worlds/", "/a%00b",
                         "/api/pov/worlds/../..", "/%ff"):
                check(await here.client.get(path), 404, "unknown_path")
            check(await here.client.post("/api/commands/Nothing", json={}), 404, "unknown_command")
            told = check(await here.client.delete("/api/pov/worlds"), 405, "method_not_allowed")
            assert told["detail"]["allowed"] == ["GET", "HEAD", "POST"]
            answer = await here.client.request("BREW", "/api/pov/worlds")
            check(answer, 405, "method_not_allowed")
            assert answer.headers["allow"] == "GET, HEAD, POST"
            check(await here.client.options("/api/pov/worlds"), 405, "method_not_allowed")

    run(scenario)


def test_half_of_a_surrogate_pair_is_refused_at_every_door_that_takes_json() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            for path, methods in here.app.openapi()["paths"].items():
                for method, operation in methods.items():
                    if "application/json" not in operation.get("requestBody", {}).get("content", {}):
                        continue
                    url = re.sub(r"\{[^}]*\}", "abc", path)
                    for body in (b'{"quality":"\\ud800"}', b'{"\\uDFFF":1}'):
                        answer = await here.client.request(method, url, content=body, headers=JSON)
                        assert 400 <= answer.status_code < 500, (method, path, answer.text)
            assert here.log.events == []

    run(scenario)


def test_no_number_is_too_long_for_the_doors_that_take_one() -> None:
    async def scenario() -> None:
        async with door() as here:
            made = await here.fork("one", status=201)
            await here.client.get("/api/pov/worlds", params={"min_position": made.json()["position"]})
            for path, methods in here.app.openapi()["paths"].items():
                for method, operation in methods.items():
                    for one in operation.get("parameters", ()):
                        if one["in"] != "query" or one["schema"].get("type") != "integer":
                            continue
                        answer = await here.client.request(
                            method, re.sub(r"\{[^}]*\}", "abc", path), params={one["name"]: "9" * 5000},
                            **({"content": b"{}", "headers": JSON} if "requestBody" in operation else {}),
                        )
                        assert answer.status_code < 500, (method, path, one["name"], answer.text)

    run(scenario)


@pytest.mark.parametrize(("path", "body"), [
    ("/api/vars/set", {"scope": "scene", "scene": "s", "name": ".".join("a" * 50), "value": 1}),
    ("/api/vars/set", {"scope": "scene", "scene": "s", "values": {f"a.b{n}": "x" * 200_000 for n in range(3)}}),
    ("/api/export/renpy/preview", {"scene": "s", "pov": "one", "povs": [f"p{n}" for n in range(50)]}),
    ("/api/generate/image", {"preset_id": "photoreal_portrait_v1", "prompt": "x" * 2000,
                             "inputs": {"a": "x" * (256 * 1024 - 20)}}),
], ids=["deep", "large", "points of view", "inputs"])
def test_what_is_too_much_only_together_is_refused(path: str, body: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with door() as here:
            scene = {"id": "s", "title": "S", "start": "a", "nodes": [{"id": "a", "end": True}]}
            made = await here.client.post("/api/scenes", json=scene)
            assert made.status_code == 201, made.text
            await here.client.get("/api/scenes/s", params={"min_position": made.json()["position"]})
            answer = await here.client.post(path, json=body)
            check(answer, 422, answer.json()["error"])
            assert answer.json()["detail"]["fields"]

    run(scenario)


def test_a_key_that_stands_twice_among_very_many_is_found_at_once() -> None:
    many = ",".join(f'"k{number}":0' for number in range(200_000))
    with pytest.raises(Invalid, match="'k199999' stands twice"):
        read_object(f'{{{many},"k199999":1}}'.encode())


def test_a_bug_is_a_500_with_an_error_id_and_the_trace_stays_in_the_log() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            async def broken() -> int:
                raise RuntimeError("a secret detail")

            here.log.head = broken
            with structlog.testing.capture_logs() as logged:
                answer = await here.client.get("/api/log")
            told = check(answer, 500, "internal_error")
            assert "secret" not in answer.text
            (line,) = logged
            assert line["error_id"] == told["detail"]["error_id"]
            assert line["exc_info"]

    run(scenario)


def test_a_client_that_leaves_while_it_sends_is_no_error() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            async def leaving() -> dict[str, Any]:
                return {"type": "http.disconnect"}

            with structlog.testing.capture_logs() as logged:
                status, _ = await raw(here, "POST", COMMAND, [], receive=leaving)
            assert (status, logged) == (0, [])

    run(scenario)


async def raw(
    here: Door, method: str, url: str, headers: list[tuple[bytes, bytes]], *, receive: Any = None
) -> tuple[int, bytes]:
    """One request straight into the app, for what no client would send."""
    path, _, query = url.partition("?")
    sent: list[Any] = []

    async def nothing() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(),
             "headers": [(b"host", b"localhost"), *headers]}
    await here.app(scope, receive or nothing, send)
    return (sent[0]["status"], sent[1]["body"]) if sent else (0, b"")


@settings(max_examples=20, deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(
        st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4), max_leaves=12,
))
def test_any_json_that_is_stored_comes_back_the_same(value: Any) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            answer = await here.client.post(COMMAND, json={"metadata": {"value": value}})
            assert answer.status_code == 201, answer.text
            logged = await here.client.get("/api/log/1")
            assert logged.json()["data"]["metadata"]["value"] == value

    asyncio.run(scenario())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        read_object(body)
    except Invalid as error:
        assert error.code in ("malformed_json", "invalid_fields")  # noqa: PT017 (nothing need be raised)


@pytest.mark.parametrize(("depth", "good"), [(DEPTH_LIMIT, True), (DEPTH_LIMIT + 1, False)])
def test_nesting_has_a_limit(depth: int, good: bool) -> None:
    body = b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    if good:
        assert read_object(body)
    else:
        with pytest.raises(Invalid):
            read_object(body)
