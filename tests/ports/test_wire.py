"""Every event crosses the wire and comes back, and no value can say more than itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.nats import wire
from adapters.nats.connection import frame
from adapters.nats.following import matcher
from domain.errors import Invalid
from domain.ports import Proposed, Recorded, Stream

TOKENS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True)
TEXT = st.text(max_size=60) | st.text("\r\n: %\"\x00é🎭vn-actor", max_size=60)
EVENTS = st.builds(
    Proposed, type=TOKENS, schema=st.integers(1, 99), data=st.binary(max_size=200), event_id=TEXT,
    version=st.integers(1, 10**9), time=TEXT, actor=TEXT, command_id=TEXT, request=TEXT, correlation_id=TEXT,
    causation_id=TEXT,
)
STREAMS = st.builds(Stream, TOKENS, TOKENS, TOKENS, TOKENS)


def given_out(stream: Stream, event: Proposed, position: int) -> bytes:
    """The header block of a stored event as JetStream gives it out."""
    added = f"Nats-Stream: S\r\nNats-Subject: {stream.subject}\r\nNats-Sequence: {position}\r\n\r\n"
    return wire.VERSION_LINE + wire.event_headers(stream, event) + added.encode()


@given(STREAMS, EVENTS, st.integers(1, 2**53))
def test_an_event_comes_back_as_it_was_sent(stream: Stream, event: Proposed, position: int) -> None:
    block = given_out(stream, event, position)
    assert wire.recorded(block, event.data) == Recorded(position, stream, *event)


@given(EVENTS)
def test_no_value_can_end_its_line_or_add_a_header(event: Proposed) -> None:
    block = wire.event_headers(Stream("p", "main", "scene", "s"), event)
    lines = block.split(b"\r\n")
    assert lines.pop() == b""
    assert all(0x20 <= octet <= 0x7E for line in lines for octet in line)
    names = [line.split(b": ")[0] for line in lines]
    assert len(set(names)) == len(names) <= 13


@given(st.text(max_size=100))
def test_any_text_can_be_a_header_value(text: str) -> None:
    value = wire.escaped(text)
    assert wire.unescaped(value) == text
    assert all(0x21 <= ord(one) <= 0x7E for one in value)


def test_half_a_surrogate_survives_too() -> None:
    assert wire.unescaped(wire.escaped("\ud83c!")) == "\ud83c!"


def test_headers_without_end_are_refused() -> None:
    event = Proposed("T", 1, b"", "e", 1, "t", "a" * 20_000, "c", "r", "", "")
    with pytest.raises(Invalid) as caught:
        wire.event_headers(Stream("p", "main", "scene", "s"), event)
    assert caught.value.code == "event_too_large"
    assert caught.value.remediation


def test_the_stored_headers_are_the_documented_ones() -> None:
    event = Proposed("SceneOpened", 2, b"{}", "e1", 7, "2026-01-02T03:04:05Z", "Ana María", "c1", "r1", "k1", "")
    assert wire.event_headers(Stream("demo", "main", "scene", "s"), event).decode().splitlines() == [
        "ce-specversion: 1.0", "ce-id: e1", "ce-type: SceneOpened", "ce-source: /demo",
        "content-type: application/json", "vn-schema: 2", "vn-version: 7", "ce-time: 2026-01-02T03:04:05Z",
        "vn-actor: Ana%20Mar%C3%ADa", "vn-command: c1", "vn-request: r1", "vn-correlation: k1",
    ]


@given(st.binary(max_size=300))
def test_a_message_that_is_not_ours_is_an_event_of_an_unknown_type(noise: bytes) -> None:
    lines = b"".join(b"x-noise: " + line + b"\r\n" for line in noise.split(b"\r\n"))
    block = wire.VERSION_LINE + lines + b"vn-version: many\r\nNats-Subject: vn.a.b.c.d\r\nNats-Sequence: 9\r\n\r\n"
    found = wire.recorded(block, noise)
    assert (found.position, found.type, found.version, found.data) == (9, "", 0, noise)


def test_a_frame_states_its_sizes_in_bytes() -> None:
    assert frame("a.b", b"", b"", "é".encode()) == b"PUB a.b 2\r\n\xc3\xa9\r\n"
    sent = frame("a.b", b"inbox.1", b"x: 1\r\n", b"body")
    assert sent == b"HPUB a.b inbox.1 18 22\r\nNATS/1.0\r\nx: 1\r\n\r\nbody\r\n"


@pytest.mark.parametrize(("pattern", "subject", "matches"), [
    ("vn.>", "vn.a.b.c.d", True), ("vn.a.>", "vn.a.b.c.d", True), ("vn.a.>", "vn.b.b.c.d", False),
    ("vn.*.>", "vn.a.b.c.d", True),
    ("vn.*.*.c.*", "vn.a.b.c.d", True), ("vn.*.*.c.*", "vn.a.b.x.d", False), ("vn.*.*.c", "vn.a.b.c.d", False),
    ("vn.a.b.c.d.>", "vn.a.b.c.d", False), ("vn.*.*.*.*.*", "vn.a.b.c.d", False), ("vn.a.b.c.d", "vn.a.b.c.d", True),
    ("vn.a.b.c.*", "vn.a.b.c.d", True), ("vn.a.b.c.>", "vn.a.b.c.d", True),
])
def test_patterns_match_as_nats_matches_them(pattern: str, subject: str, matches: bool) -> None:
    assert matcher(pattern)(Stream.of(subject)) is matches
