"""Tokens open what they name and nothing else, and their secrets are nowhere but with their owners."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from domain.errors import ComfyVNError, Invalid, NotFound, Refused, Unavailable
from services.access import DOOR_SCOPES, Grant, TokenBook, is_loopback, scopes_of
from services.registry import REGISTRY

KNOWN = {"scene:read", "scene:write", "asset:read", "asset:write", "log:read"}


class Clock:
    now = "2026-01-02T03:04:05.000000Z"

    def __call__(self) -> str:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(tmp_path: Path, clock: Clock) -> TokenBook:
    return TokenBook(tmp_path / "data" / "tokens.json", KNOWN, clock=clock)


def test_a_secret_is_known_until_it_is_revoked(book: TokenBook) -> None:
    secret = book.create("editor", ["scene:*"], ["demo"])
    assert secret.startswith("cvn_")
    assert len(secret) >= 40
    assert book.check(secret) == Grant("editor", ("scene:*",), ("demo",))
    assert book.check(secret + "x") is None
    assert book.check("") is None
    assert book.check("\ud800") is None
    book.revoke("editor")
    assert book.check(secret) is None
    assert book.revoke("editor").revoked, "revoking again is harmless"


def test_the_secret_is_in_no_file_and_no_error(book: TokenBook, tmp_path: Path) -> None:
    secret = book.create("editor", ["*"])
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes()
    assert secret not in repr(book.check(secret))
    with pytest.raises(ComfyVNError) as caught:
        book.create("editor", ["*"])
    assert secret not in repr(caught.value.detail) + caught.value.message


def test_the_file_is_its_owners_alone(book: TokenBook) -> None:
    book.create("editor", ["*"])
    book.create("reader", ["*:read"])
    assert book.path.stat().st_mode & 0o777 == 0o600
    assert book.path.parent.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in book.path.parent.iterdir()} == {"tokens.json", "tokens.json.lock"}


@pytest.mark.parametrize(("held", "asked", "allowed"), [
    ("scene:write", "scene:write", True), ("scene:write", "scene:read", False), ("scene:*", "scene:read", True),
    ("scene:*", "asset:read", False), ("*:read", "asset:read", True), ("*:read", "asset:write", False),
    ("*", "anything:write", True), ("*:*", "scene:write", True), ("scene:read", "scene", False),
])
def test_stars_cover_what_they_say(held: str, asked: str, allowed: bool) -> None:
    assert Grant("x", (held,), ("*",)).allows(asked, "demo") is allowed


def test_a_grant_ends_at_its_projects() -> None:
    grant = Grant("x", ("*",), ("demo", "other"))
    assert grant.allows("scene:write", "demo")
    assert not grant.allows("scene:write", "third")
    assert not grant.allows("log:read", None), "every project is more than two"
    assert Grant("x", ("*",), ("*",)).allows("log:read", None)


@pytest.mark.parametrize("scopes", [["scene:paint"], ["scen:write"], ["scene"], ["scene:write:all"], [""], ["**"],
                                    ["Scene:write"], ["scene:write", "x:y"], []])
def test_unknown_scopes_are_refused_by_name(book: TokenBook, scopes: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        book.create("x", scopes)
    assert caught.value.code == "unknown_scope"
    assert all(one in caught.value.detail["known"] for one in KNOWN)
    assert caught.value.detail["unknown"] == [one for one in scopes if one not in KNOWN]
    assert book.list() == ()


@pytest.mark.parametrize(("name", "projects", "expires"), [
    ("a b", ["*"], None), ("", ["*"], None), ("x", ["de.mo"], None), ("x", [], None), ("x", ["*"], "tomorrow"),
    ("x", ["*"], "2026-01-02T03:04:05Z"), ("x", ["*"], "2026-13-02T03:04:05Z"), ("x", ["*"], "2027-01-01"),
])
def test_what_is_no_token_is_refused(book: TokenBook, name: str, projects: list[str], expires: str | None) -> None:
    with pytest.raises(Invalid) as caught:
        book.create(name, ["*"], projects, expires)
    assert caught.value.remediation
    assert book.list() == ()


def test_a_token_ends_when_it_was_said_to(book: TokenBook, clock: Clock) -> None:
    secret = book.create("guest", ["*:read"], expires="2026-01-02T04:00:00Z")
    clock.now = "2026-01-02T03:59:59.999999Z"
    assert book.check(secret)
    clock.now = "2026-01-02T04:00:00.000000Z"
    assert book.check(secret) is None
    assert book.check(book.create("guest", ["*:read"])), "an expired name can be given again"


def test_a_name_belongs_to_one_token(book: TokenBook) -> None:
    first = book.create("editor", ["*"])
    with pytest.raises(Refused) as caught:
        book.create("editor", ["*"])
    assert caught.value.code == "token_exists"
    book.revoke("editor")
    second = book.create("editor", ["scene:read"])
    assert book.check(first) is None
    assert book.check(second) == Grant("editor", ("scene:read",), ("*",))


def test_an_unknown_name_cannot_be_revoked(book: TokenBook) -> None:
    with pytest.raises(NotFound):
        book.revoke("nobody")


def test_another_process_sees_a_change_at_once(book: TokenBook, clock: Clock) -> None:
    server = TokenBook(book.path, KNOWN, clock=clock)
    assert not server.required("127.0.0.1")
    secret = book.create("editor", ["*"])
    assert server.check(secret)
    book.revoke("editor")
    assert server.check(secret) is None


def test_tokens_made_at_once_by_several_processes_all_exist(book: TokenBook) -> None:
    code = ("import sys; from pathlib import Path; from services.access import TokenBook;"
            "[TokenBook(Path(sys.argv[1])).create(f'{sys.argv[2]}-{n}', ['*']) for n in range(10)]")
    running = [subprocess.Popen([sys.executable, "-c", code, str(book.path), str(number)]) for number in range(3)]
    assert [one.wait(60) for one in running] == [0, 0, 0]
    assert len(book.list()) == 30


@pytest.mark.parametrize(("host", "loopback"), [
    ("127.0.0.1", True), ("127.9.9.9", True), ("localhost", True), ("LOCALHOST", True), ("::1", True), ("[::1]", True),
    ("0.0.0.0", False), ("", False), ("::", False), ("192.168.1.5", False), ("studio.example", False),
    ("localhost.example", False), ("127.0.0.1.example", False), ("*", False),
])
def test_loopback_is_known_from_everything_else(book: TokenBook, host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    assert book.required(host) is not loopback


def test_the_first_token_closes_loopback_too_and_it_stays_closed(book: TokenBook) -> None:
    assert not book.required("127.0.0.1")
    book.create("editor", ["*"])
    assert book.required("127.0.0.1")
    book.revoke("editor")
    assert book.required("127.0.0.1"), "revoking a leaked token must not open the door to everybody"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"tokens":[{}]}', b'{"tokens":[{"name":1}]}', b"\xff"])
def test_a_damaged_book_opens_no_door(book: TokenBook, content: bytes) -> None:
    secret = book.create("editor", ["*"])
    book.path.write_bytes(content)
    for act in (lambda: book.check(secret), lambda: book.required("127.0.0.1"), lambda: book.create("x", ["*"])):
        with pytest.raises(Unavailable) as caught:
            act()
        assert caught.value.code == "tokens_unusable"
        assert secret not in caught.value.message
    assert book.path.read_bytes() == content, "nothing is written over what may be mended"


def test_what_is_kept_is_a_digest(book: TokenBook) -> None:
    secret = book.create("editor", ["*"])
    (kept,) = orjson.loads(book.path.read_bytes())["tokens"]
    assert set(kept) == {"name", "digest", "scopes", "projects", "created", "expires", "revoked"}
    assert len(kept["digest"]) == 64
    assert secret[4:12] not in book.path.read_text()


def test_scopes_come_from_the_registry() -> None:
    found = scopes_of(REGISTRY)
    assert found >= DOOR_SCOPES | {"worldline:read", "worldline:write"}
    assert {"log:read", "operations:read"} <= DOOR_SCOPES
    assert all(one.count(":") == 1 for one in found)
