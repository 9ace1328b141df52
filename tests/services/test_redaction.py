"""Redaction: a registered secret survives in no spelling, and what is none stays as it was written."""

from __future__ import annotations

import base64
import html
import json
import time
import traceback
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.redaction import MASK, Redactor, names_a_secret

KEY = 'a9f/3+K=b"Zq\\7é<&>%41'
PLAIN = "k-0123456789abcdefghij"


def knowing(*secrets: str) -> Redactor:
    made = Redactor()
    made.register(secrets)
    return made


@pytest.mark.parametrize("name", [
    "author", "authority", "keyboard", "key", "key_signature", "keyframe", "tokenizer", "tokens", "max_tokens",
    "next_token", "page_token", "monkey", "idempotency_key", "secretary", "passwords_count", "cookiecutter", "turkey",
    "eos_token", "token_count", "api_key_name", "secret_id", "authored_by", "passenger", "credentials_missing",
])
def test_innocent_names_are_left_alone(name: str) -> None:
    assert not names_a_secret(name)
    assert Redactor().redact({name: "a monkey in a garden"}) == {name: "a monkey in a garden"}


@pytest.mark.parametrize("name", [
    "api_key", "apiKey", "API-KEY", "x-api-key", "X-Api-Key", "apikey", "access_key", "accessKey", "secret_key",
    "secret", "client_secret", "password", "db_password", "Authorization", "cookie", "Set-Cookie", "token",
    "access_token", "refreshToken", "fal_api_key", "credentials", "private_key", "auth", "jwt", "passphrase",
])
def test_names_of_secrets_are_masked_in_every_spelling(name: str) -> None:
    assert names_a_secret(name)
    told = Redactor().redact({name: "value", "deep": [{name: ["one", {"two": 3}]}], "note": "kept"})
    assert told == {name: MASK, "deep": [{name: [MASK, {"two": MASK}]}], "note": "kept"}


@pytest.mark.parametrize("text", [
    "A monkey in a garden", "The author's keyboard", "the tokenizer of the model", "key signature: D minor",
    "Bearer of the ring", "the secret: the butler did it", "password: ask the innkeeper", "token gesture",
    "a key = the small one", "http://example.org/a?page=2&sort=key", "mail ada@example.org about https://example.org",
    "api_key: this field is needed", "Authorship = shared", "she whispered the password, swordfish, twice",
    '{"author": "Ada", "keyboard": "qwertz", "tokenizer": "bpe"}', "basic lighting, key light from the left",
    "Remember: 50% of \\alpha & omega", "",
])
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert knowing(PLAIN, KEY).text(text) == text


@pytest.mark.parametrize(("text", "left"), [
    ("Authorization: Bearer abc123def456", "Authorization: Bearer ***"),
    ("authorization: Key 12ab-34cd:ffee00", "authorization: Key ***"),
    ("sent with Bearer 0123456789abcdef01 today", "sent with Bearer *** today"),
    ("https://ada:pa55@example.org/x", "https://***@example.org/x"),
    ("GET /v1?api_key=abcdef12&n=1", "GET /v1?api_key=***&n=1"),
    ("GET /o?X-Amz-Signature=00ff00ff00ff&n=1", "GET /o?X-Amz-Signature=***&n=1"),
    ('{"api_key": "short", "n": 1}', '{"api_key": "***", "n": 1}'),
    ('said {\\"secret_key\\": \\"open sesame\\"}', 'said {\\"secret_key\\": \\"***\\"}'),
    ("{'password': 'two words'}", "{'password': '***'}"),
    ("x-api-key: sk0123456789", "x-api-key: ***"),
    ("a eyJhbGciOiJIUzI1.eyJpc3MiOiJhYmMi.c2lnbmF0dXJl z", "a *** z"),
])
def test_what_looks_like_nothing_but_a_secret_is_masked_without_being_known(text: str, left: str) -> None:
    assert Redactor().text(text) == left


def spellings(secret: str) -> list[str]:
    raw = secret.encode()
    double = quote(quote(secret, safe=""), safe="")
    each = "".join(f"%{byte:02x}" for byte in raw)
    found = [
        secret, quote(secret, safe=""), quote(secret), quote_plus(secret), double, each, each.upper(),
        json.dumps(secret), json.dumps(secret, ensure_ascii=False), json.dumps(json.dumps(secret)), repr(secret),
        repr(raw), ascii(secret), html.escape(secret), urlencode({"k": secret}), raw.hex(), raw.hex().upper(),
        "".join(f"&#{ord(one)};" for one in secret), "".join(f"&#x{ord(one):X};" for one in secret),
        "".join(f"\\u{ord(one):04x}" for one in secret), json.dumps({"body": json.dumps({"k": secret})}),
    ]
    for before in (b"", b"u:", b"user:", b"abc:"):
        for after in (b"", b":", b"@x"):
            sealed = before + raw + after
            found += [base64.b64encode(sealed).decode(), base64.urlsafe_b64encode(sealed).decode(),
                      base64.b64encode(sealed).decode().rstrip("=")]
    return found


@pytest.mark.parametrize("secret", [KEY, PLAIN, "ключ-от-замка-99", "with space and 'quote'", "🔑🔑🔑🔑-emoji"])
def test_a_known_secret_disappears_in_every_spelling(secret: str) -> None:
    redactor = knowing(secret)
    for spelt in spellings(secret):
        for around in ("{}", "https://x.example/v1/{}/jobs?n=1", "error: {} refused", '{{"message": "{}"}}'):
            text = around.format(spelt)
            told = redactor.known(text)
            assert MASK in told, spelt
            assert spelt not in told
            assert secret not in told
            assert not redactor.knows(told)


SECRET = st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=8, max_size=40)


@settings(max_examples=150, deadline=None)
@given(SECRET, SECRET, st.text(max_size=30), st.text(max_size=30), st.data())
def test_no_spelling_of_any_secret_survives(one: str, other: str, before: str, after: str, data: Any) -> None:
    redactor = knowing(one, other)
    spelt = data.draw(st.sampled_from(spellings(one)))
    told = redactor.redact({"note": before + spelt + after, "list": [spelt, {spelt: 1}], "raw": one.encode()})
    text = json.dumps(told, ensure_ascii=False)
    assert one not in told["note"]
    assert other not in told["note"]
    assert one not in text
    assert redactor.redact(told) == told, "redacting twice is redacting once"


@settings(max_examples=200, deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abcdefg hijklmnop.,!?%\\&;-", max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["author", "prompt", "keyboard", "note", "seed"]), inner, max_size=3),
    max_leaves=10,
))
def test_values_without_secrets_are_unchanged(value: Any) -> None:
    assert knowing(PLAIN, KEY + "0").redact(value) == value


def test_a_traceback_and_a_providers_error_are_cleaned() -> None:
    redactor = knowing(KEY, PLAIN)

    def fails(key: str) -> None:
        raise ValueError(f"GET https://u:{quote(key, safe='')}@api.example/v1?key={quote(key, safe='')}: {key!r}")

    for key in (KEY, PLAIN):
        try:
            fails(key)
        except ValueError as error:
            text = "".join(traceback.format_exception(error))
        assert not redactor.knows(redactor.text(text))
        body = json.dumps({"code": 1002, "message": f"Incorrect key provided: {key}", "request": {"header": [key]}})
        told = redactor.text(body)
        assert json.loads(told)["code"] == 1002
        assert not redactor.knows(told)


def test_short_values_are_not_registered() -> None:
    assert knowing("key", "", "12345").text("the key is 12345") == "the key is 12345"


def test_it_is_fast_enough_for_every_line() -> None:
    redactor = knowing(*(f"{PLAIN}{number}" for number in range(20)))
    line = json.dumps({"event": "job_progress", "note": "a monkey in a garden % & \\ " * 20, "n": list(range(50))})
    redactor.text(line)
    began = time.thread_time()
    for _ in range(100):
        assert redactor.text(line) == line
    assert time.thread_time() - began < 2.0


@pytest.mark.parametrize("text", ["%" * 50_000, "\\" * 50_000, "api_key" * 8_000, '"' * 50_000, "a-" * 30_000,
                                  "k-" * 30_000, "eyJ" * 20_000, "://" * 20_000, "&amp;" * 20_000, "A" * 100_000])
def test_no_text_makes_it_slow(text: str) -> None:
    redactor = knowing(KEY, PLAIN, "k-k-k-k-k-k-k-k-0")
    began = time.thread_time()
    redactor.text(text)
    assert time.thread_time() - began < 3.0


KEPT = 'fk-9f8e7d6c:S3cr3t/"Väl&ue"+With=Signs'


@pytest.mark.parametrize("written", [
    KEPT, quote(KEPT, safe=""), quote(quote(KEPT, safe=""), safe=""), KEPT.encode().hex(), KEPT.encode().hex().upper(),
    base64.b64encode(KEPT.encode()).decode(), base64.b64encode(f"me:{KEPT}".encode()).decode(),
    base64.urlsafe_b64encode(f"u:{KEPT}".encode()).decode(), html.escape(KEPT),
])
def test_what_is_to_be_recorded_is_looked_through_in_every_usual_writing(written: str) -> None:
    redactor = Redactor()
    redactor.keep_out([KEPT])
    assert redactor.stands_in(json.dumps({"inputs": {"prompt": f"see {written} there"}}).encode())
    assert redactor.stands_in(json.dumps([written], ensure_ascii=False).encode())
    assert not redactor.stands_in(json.dumps({"prompt": "A monkey in a garden, by the author's keyboard"}).encode())


LONG = "fal-4f1f9c3e-8d2b7a6f5e4d3c2b1a09876543210fedc"


@pytest.mark.parametrize("cut", [
    lambda key: f"The key {key[:-1]}… is refused", lambda key: "x" * 50 + key[:20],
    lambda key: key[20:] + " is refused",
    lambda key: f"…{key[5:30]}…", lambda key: f"{key[:22]}\n{key[22:]}", lambda key: " ".join((key[:16], key[16:])),
    lambda key: base64.b64encode(key.encode()).decode()[:30], lambda key: key.encode().hex()[7:60],
    lambda key: "Basic " + base64.b64encode(f"user:{key}".encode()).decode()[:40] + "…",
    lambda key: "".join(f"\\u{ord(one):04x}" for one in key[:25]),
    lambda key: "".join(f"%{ord(one):02x}" for one in key[:30]),
], ids=range(11))
def test_what_is_left_of_a_key_in_a_shortened_text_is_masked(cut: Any) -> None:
    redactor = Redactor()
    redactor.register([LONG, "another-secret-0123456789"])
    told = redactor.text(cut(LONG))
    assert "***" in told
    plain = [LONG[at : at + 15] for at in range(len(LONG) - 14)]
    hexed = [LONG.encode().hex()[at : at + 15] for at in range(len(LONG) * 2 - 14)]
    coded = [one for spell in (LONG, f"user:{LONG}") for one in [base64.b64encode(spell.encode()).decode()[8:23]]]
    for part in (*plain, *hexed, *coded, "\\u0066\\u0061\\u006c", "%66%61%6c"):
        assert part not in told


@given(st.text("abcdef0123456789-", min_size=16, max_size=60), st.data())
def test_any_long_enough_part_of_a_key_is_masked(secret: str, data: Any) -> None:
    redactor = Redactor()
    redactor.register([secret])
    begin = data.draw(st.integers(0, len(secret) - 15))
    end = data.draw(st.integers(begin + 15, len(secret)))
    before, after = (data.draw(st.text("xyz ", max_size=9)) for _ in range(2))
    assert redactor.text(before + secret[begin:end] + after) in (
        f"{before}***{after}", before + "***" * 2 + after)
    assert redactor.text(secret[:8] + "zz" + secret[-4:]) == secret[:8] + "zz" + secret[-4:]


def test_a_short_part_is_left_alone_and_parts_do_not_make_it_slow() -> None:
    redactor = Redactor()
    redactor.register([LONG, *(f"{number:04}-key-of-somebody-{number * 7919:08}" for number in range(40))])
    assert redactor.text(f"The key begins with {LONG[:8]}.") == f"The key begins with {LONG[:8]}."
    text = "A monkey in a garden said nothing of any key. " * 2000
    began = time.thread_time()
    assert redactor.text(text) == text
    assert time.thread_time() - began < 5
