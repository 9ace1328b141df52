"""Who is let in: hosts, origins, tokens and their scopes, on loopback as well as beyond it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from door import Listener, door, on_socket, run
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateways.http.gate import Gate, OpenAccess
from services.access import TokenBook, scopes_of
from services.registry import REGISTRY

DAY = {"X-Comfyvn-Actor": "day"}


@dataclass
class Tokens:
    """A book with three tokens."""

    book: TokenBook
    author: str
    reader: str
    guest: str

    def bearer(self, secret: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    book = TokenBook(tmp_path / "tokens.json", scopes_of(REGISTRY))
    return Tokens(
        book, book.create("author", ["*"]), book.create("reader", ["*:read"]),
        book.create("guest", ["worldline:*", "log:read"], ["demo"]),
    )


def test_beyond_loopback_everything_but_health_and_the_documents_needs_a_token(tokens: Tokens) -> None:
    async def scenario() -> None:
        async with door(access=tokens.book, host="0.0.0.0") as here:
            for path in ("/health", "/openapi.json", "/asyncapi.json", "/"):
                assert (await here.client.get(path)).status_code == 200, path
            for path in ("/status", "/metrics", "/api/log", "/api/commands", "/api/pov/worlds", "/events/sse"):
                answer = await here.client.get(path)
                assert (answer.status_code, answer.json()["error"]) == (401, "unauthenticated"), path
                assert answer.headers["www-authenticate"].startswith("Bearer")
            await here.fork("night", status=401)
            made = await here.fork("night", headers=tokens.bearer(tokens.author), status=201)
            assert made.json()["position"] == 1
            assert here.log.events[0].actor == "author"

    run(scenario)


@pytest.mark.parametrize("header", [
    "", "Bearer", "Bearer ", "Basic YTpi", "Bearer nonsense", "Bearer cvn_" + "x" * 600, "Bearer a b",
])
def test_a_bad_token_is_refused_even_where_none_is_needed(tokens: Tokens, header: str) -> None:
    async def scenario() -> None:
        async with door(access=tokens.book, projecting=False) as here:
            for path in ("/api/pov/worlds", "/health"):
                answer = await here.client.get(path, headers={"Authorization": header})
                assert answer.status_code == 401, (path, answer.text)

    run(scenario)


def test_a_token_opens_only_what_its_scopes_and_projects_say(tokens: Tokens) -> None:
    async def scenario() -> None:
        async with door(access=tokens.book, host="0.0.0.0") as here:
            reader, guest = tokens.bearer(tokens.reader), tokens.bearer(tokens.guest)
            refused = await here.fork("night", headers=reader, status=403)
            assert refused.json()["error"] == "missing_scope"
            assert refused.json()["detail"] == {"scope": "worldline:write", "project": "demo"}
            await here.fork("night", headers=guest, status=201)
            await here.fork("night", headers=guest, params={"project": "other"}, status=403)
            one = {"commands": [{"command": "ForkWorldline"}]}
            batch = await here.client.post("/api/commands?project=other", json=one, headers=guest)
            assert batch.status_code == 403
            for path, status in (
                ("/api/log", 403), ("/api/log?project=other", 403), ("/api/log?project=demo,other", 403),
                ("/api/log?project=demo", 200), ("/api/log/1", 200), ("/status", 403), ("/metrics", 403),
                ("/api/pov/worlds?project=other", 403),
            ):
                answer = await here.client.get(path, headers=guest)
                assert answer.status_code == status, (path, answer.text)
            await here.fork("there", headers=tokens.bearer(tokens.author), params={"project": "other"}, status=201)
            assert (await here.client.get("/api/log/2", headers=guest)).status_code == 403

    run(scenario)


COLLECTIONS = {"ShowCharacterItem": "traits", "ShowTemplateItem": "parameters", "ShowTimelineItem": "entries"}
"""A collection that each kind of authored documents has."""


def test_a_token_of_one_project_sees_no_trace_of_another(tokens: Tokens) -> None:
    async def scenario() -> None:
        async with door(access=tokens.book, host="0.0.0.0") as here:
            author = tokens.bearer(tokens.author)
            await here.fork("night", headers=author, status=201)
            await here.fork("night", headers=author, params={"project": "hidden"}, status=201)
            bound = tokens.bearer(tokens.book.create("bound", ["*:read"], ["demo", "empty"]))
            for view in REGISTRY.views.values():
                named = {"{position}": "2", "{kind}": "worldline", "{collection}": COLLECTIONS.get(view.name, "rules")}
                path = "/".join(
                    named.get(part, "0123456789abcdef" if "{" in part else part) for part in view.path.split("/")
                )
                answer = await here.client.get(f"{path}?project=demo&min_position=2", headers=bound)
                needs = any(field.is_required() and f"{{{name}}}" not in view.path
                            for name, field in view.query.model_fields.items())
                assert answer.status_code in ((422,) if needs else (200, 404)), (view.name, answer.text)
                assert "hidden" not in answer.text, view.name

    run(scenario)


def test_a_token_lists_the_projects_that_it_may_see(tokens: Tokens) -> None:
    async def scenario() -> None:
        async with door(access=tokens.book, host="0.0.0.0") as here:
            author = tokens.bearer(tokens.author)
            for project in ("demo", "other", "third"):
                await here.fork("night", headers=author, params={"project": project}, status=201)
            bound = tokens.bearer(tokens.book.create("bound", ["registry:read"], ["demo", "third"]))

            async def listed(headers: dict[str, str], query: str = "") -> list[str]:
                answer = await here.client.get(f"/api/projects?min_position=3{query}", headers=headers)
                assert answer.status_code == 200, answer.text
                return [one["project"] for one in answer.json()["items"]]

            assert await listed(author) == ["demo", "other", "third"]
            assert await listed(author, "&among=other&among=nowhere") == ["other"]
            assert await listed(bound) == ["demo", "third"]
            assert await listed(bound, "&among=third") == ["third"]
            for headers, query, project in ((bound, "?among=third&among=other", "other"),
                                            (tokens.bearer(tokens.guest), "", None)):
                refused = await here.client.get(f"/api/projects{query}", headers=headers)
                assert refused.status_code == 403, refused.text
                assert refused.json()["detail"] == {"scope": "registry:read", "project": project}

    run(scenario)


def test_status_and_figures_open_to_a_token_made_for_them(tokens: Tokens) -> None:
    async def scenario() -> None:
        async with door(access=tokens.book, host="0.0.0.0", projecting=False) as here:
            watcher = tokens.bearer(tokens.book.create("watcher", ["operations:read"]))
            bound = tokens.bearer(tokens.book.create("bound", ["operations:read"], ["demo"]))
            for path in ("/status", "/metrics"):
                assert (await here.client.get(path, headers=watcher)).status_code == 200
                refused = await here.client.get(path, headers=bound)
                assert refused.json()["detail"] == {"scope": "operations:read", "project": None}
            assert (await here.client.get("/api/log", headers=watcher)).status_code == 403

    run(scenario)


def test_a_token_asks_under_its_own_name_alone(tokens: Tokens) -> None:
    async def scenario() -> None:
        async with door(access=tokens.book, projecting=False) as here:
            own = tokens.bearer(tokens.author)
            await here.fork("one", headers=own | {"X-Comfyvn-Actor": "author"}, status=201)
            answer = await here.fork("two", headers=own | DAY, status=403)
            assert answer.json()["error"] == "actor_not_yours"

    run(scenario)


def test_a_revoked_token_is_refused_from_then_on(tokens: Tokens) -> None:
    async def scenario() -> None:
        async with door(access=tokens.book, host="0.0.0.0", projecting=False) as here:
            await here.fork("one", headers=tokens.bearer(tokens.author), status=201)
            tokens.book.revoke("author")
            await here.fork("two", headers=tokens.bearer(tokens.author), status=401)

    run(scenario)


def test_streams_take_the_token_in_the_query_since_an_event_source_has_no_headers(tokens: Tokens) -> None:
    async def scenario() -> None:
        async with door(access=tokens.book, host="0.0.0.0") as here, on_socket(here.app) as url:
            await here.fork("night", headers=tokens.bearer(tokens.author), status=201)
            path = f"/events/sse?after=0&project=demo&access_token={tokens.guest}"
            listener = await Listener.at(url, path)
            assert (await listener.take(1))[0]["stream"] == "night"
            listener.close()
            for wrong in ("/events/sse", "/events/sse?access_token=x"):
                assert (await Listener.at(url, wrong)).status == 401
            every = f"/events/sse?access_token={tokens.guest}"
            assert (await Listener.at(url, every)).status == 403
            assert (await here.client.get(f"/api/log?access_token={tokens.author}")).status_code == 401
            with pytest.raises(InvalidStatus) as refused:
                await connect(url.replace("http", "ws") + "/events/ws")
            assert refused.value.response.status_code == 401
            async with connect(f"{url.replace('http', 'ws')}{path.replace('sse', 'ws')}") as socket:
                assert '"night"' in await socket.recv()

    run(scenario)


@pytest.mark.parametrize("host", [
    "localhost", "localhost:8001", "127.0.0.1", "127.0.0.1:8001", "[::1]:8001", "10.1.2.3", "LOCALHOST",
    "studio.example:443",
])
def test_own_hosts_are_answered(host: str) -> None:
    async def scenario() -> None:
        async with door(projecting=False, allowed_hosts=("studio.example",)) as here:
            assert (await here.client.get("/api/commands", headers={"Host": host})).status_code == 200

    run(scenario)


@pytest.mark.parametrize("host", [
    "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:8001", "user@localhost",
    "localhost/x",
    "localhost:port", "[::1", "localhost#", "",
])
def test_a_name_that_is_not_ours_is_refused(host: str) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            for path in ("/health", "/api/commands", "/nowhere"):
                answer = await here.client.get(path, headers={"Host": host})
                assert (answer.status_code, answer.json()["error"]) == (403, "host_not_allowed")

    run(scenario)


def test_exactly_one_host_is_needed() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            two = [("Host", "localhost"), ("Host", "localhost")]
            assert (await here.client.get("/health", headers=two)).status_code == 400

    run(scenario)


@pytest.mark.parametrize("origin", [
    "http://evil.example", "null", "http://localhost:9999", "https://localhost.evil.example", "file://", "",
    "localhost",
])
def test_a_foreign_page_is_refused_on_loopback_too(origin: str) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            answer = await here.fork("night", headers={"Origin": origin}, status=403)
            assert answer.json()["error"] == "origin_not_allowed"
            assert "access-control-allow-origin" not in answer.headers
            assert (await here.client.get("/api/log", headers={"Origin": origin})).status_code == 403
            assert here.log.events == []

    run(scenario)


def test_the_own_page_and_allowed_pages_are_answered() -> None:
    async def scenario() -> None:
        async with door(projecting=False, allowed_origins=("https://studio.example",)) as here:
            own = await here.fork("one", headers={"Origin": "http://localhost"}, status=201)
            assert "access-control-allow-origin" not in own.headers
            foreign = {"Origin": "https://studio.example"}
            answer = await here.fork("two", headers=foreign, status=201)
            assert answer.headers["access-control-allow-origin"] == "https://studio.example"
            assert "Location" in answer.headers["access-control-expose-headers"]
            before = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "content-type"}
            asked = await here.client.options("/api/pov/worlds/one", headers=foreign | before)
            assert (asked.status_code, asked.headers["access-control-allow-headers"]) == (204, "content-type")
            assert "PATCH" in asked.headers["access-control-allow-methods"]
            assert (await here.client.options("/api/pov/worlds/one")).status_code == 405

    run(scenario)


def test_a_page_of_another_origin_cannot_open_a_websocket() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here, on_socket(here.app) as url:
            with pytest.raises(InvalidStatus) as refused:
                await connect(url.replace("http", "ws") + "/events/ws", origin="http://evil.example")
            assert refused.value.response.status_code == 403
            assert b"origin_not_allowed" in refused.value.response.body

    run(scenario)


def test_answers_carry_headers_that_keep_browsers_from_guessing() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            for path in ("/health", "/", "/nowhere"):
                headers = (await here.client.get(path)).headers
                assert headers["x-content-type-options"] == "nosniff"
                assert "default-src 'none'" in headers["content-security-policy"]
                assert headers["cache-control"] == "no-store"
            page = (await here.client.get("/")).text
            assert "http://" not in page
            assert "https://" not in page

    run(scenario)


def test_verdicts_on_hosts_are_remembered_within_bounds() -> None:
    gate = Gate(OpenAccess(), host="127.0.0.1")
    for number in range(5000):
        gate.check_host([(b"host", f"10.0.{number // 250}.{number % 250}".encode())])
    assert len(gate._hosts_seen) <= 1025


def test_a_request_id_of_the_client_is_kept_when_it_is_a_plain_one() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            def told(answer: httpx.Response) -> str:
                return answer.headers["x-request-id"]

            assert told(await here.client.get("/health", headers={"X-Request-Id": "abc-1"})) == "abc-1"
            assert told(await here.client.get("/health", headers={"X-Request-Id": "a b"})) != "a b"
            assert told(await here.client.get("/health")) != told(await here.client.get("/health"))

    run(scenario)
