"""The line form of an event: every byte of a body survives, and a bad line says what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from domain.errors import Invalid
from domain.ports import Recorded, Stream
from services.wire import FIELDS, LINE_LIMIT, event_line, event_object, parse_line

EVENT = Recorded(
    7, Stream("demo", "main", "scene", "harbour"), "NodeEdited", 1, b'{"text":"Hello","weight":0.10}', "e7", 3,
    "2026-01-02T03:04:05.000006Z", "author", "c7", "r7", "k7", "",
)

names = some.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,30}", fullmatch=True)
texts = some.text(some.characters(exclude_categories=["Cs"]), max_size=60)
numbers = some.integers(1, 2**63 - 1)
written_numbers = some.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@some.composite
def json_texts(draw: Any, depth: int = 2) -> str:
    """JSON as it may be written: blanks anywhere, escapes or none, numbers in every form, keys twice."""
    kinds = ["number", "text", "escaped", "word"] + (["list", "object"] if depth else [])
    match draw(some.sampled_from(kinds)):
        case "number":
            return str(draw(written_numbers))
        case "text":
            return json.dumps(draw(texts), ensure_ascii=False)
        case "escaped":
            return json.dumps(draw(texts), ensure_ascii=True)
        case "word":
            return str(draw(some.sampled_from(["true", "false", "null"])))
        case kind:
            blanks = some.text(" \t\n\r", max_size=2)
            items = draw(some.lists(json_texts(depth - 1), max_size=4))
            if kind == "object":
                items = [json.dumps(draw(texts), ensure_ascii=False) + draw(blanks) + ":" + draw(blanks) + item
                         for item in items]
            inside = ",".join(draw(blanks) + item + draw(blanks) for item in items)
            return f"[{inside}]" if kind == "list" else "{" + inside + "}"


bodies = json_texts().map(str.encode) | some.binary(max_size=50)
events = some.builds(
    Recorded, numbers, some.builds(Stream, names, names | some.just("-"), names, names), names, numbers, bodies,
    texts.filter(bool), numbers, some.datetimes().map(lambda at: at.isoformat() + "Z"),
    texts, texts, texts, texts, texts,
)


@settings(max_examples=400, deadline=None)
@given(events)
def test_every_event_comes_back_from_its_line(event: Recorded) -> None:
    line = event_line(event)
    assert b"\n" not in line
    assert b"\r" not in line
    assert parse_line(line) == event
    assert event_line(parse_line(line)) == line
    assert list(json.loads(line))[:-1] == list(FIELDS)


@settings(max_examples=200, deadline=None)
@given(events.filter(lambda event: event_line(event).endswith(b"}")), some.randoms(use_true_random=False))
def test_a_line_that_another_tool_laid_out_again_is_the_same_event(event: Recorded, dice: Any) -> None:
    line = event_line(event)
    at = line.find(b',"data')
    members = [f"{json.dumps(name)} :\t{json.dumps(value)}" for name, value in json.loads(line[:at] + b"}").items()]
    members.append(" :\n".join(line[at + 1 : -1].decode().split(":", 1)))
    dice.shuffle(members)
    assert parse_line(("{ " + " , ".join(members) + " }").encode()) == event


@pytest.mark.parametrize("body", [
    b"1E5", b"0.10", b"-0", b"1e999", b"123456789012345678901234567890.000", b'{"a":1,"a":2}', b'"\\ud800"',
    b'{ "a" :\t[1 , 2] }', b"{\n}", b" {} ", b"", b"not json", b"\xff\xfe", b"[" * 2000 + b"]" * 2000,
    b'{"x":"}\\",\\"data\\":"}', '{"ü":"\u2028"}'.encode(), b"null",
])
def test_unusual_bodies_survive_byte_for_byte(body: bytes) -> None:
    line = event_line(EVENT._replace(data=body))
    assert parse_line(line).data == body
    assert event_line(parse_line(line)) == line
    assert line.count(b"\n") == 0


def test_a_text_that_looks_like_the_body_is_not_the_body() -> None:
    event = EVENT._replace(actor=',"data":{"forged":true}}', command_id='x","data":1', causation_id=',"data_base64":"')
    assert parse_line(event_line(event)) == event


def test_what_was_published_by_hand_keeps_its_place() -> None:
    stray = Recorded(3, Stream("demo", "x", "y", "ü"), "", 0, b"hello", "", 0, "", "", "", "", "", "")
    assert parse_line(event_line(stray)) == stray
    half = stray._replace(actor="\ud800")
    assert parse_line(event_line(half)).actor == "?"


def test_the_object_form_has_the_body_decoded() -> None:
    assert event_object(EVENT)["data"] == {"text": "Hello", "weight": 0.1}
    assert event_object(EVENT._replace(data=b"\xff"))["data_base64"] == "/w=="
    assert list(event_object(EVENT)) == [*FIELDS, "data"]


def changed(**fields: Any) -> bytes:
    told = orjson.loads(event_line(EVENT)) | fields
    return orjson.dumps({name: value for name, value in told.items() if value is not ...})


@pytest.mark.parametrize(("line", "told"), [
    (b"", "expected"),
    (b"nonsense", "expected"),
    (b"[]", "expected"),
    (b"\xff\xfe", "UTF-8"),
    (event_line(EVENT)[:-4], "not the JSON"),
    (event_line(EVENT) + b"{}", "more follows"),
    (event_line(EVENT)[:-1] + b',"data":1}', "twice"),
    (event_line(EVENT)[:-1] + b',"data_base64":""}', "two"),
    (b"{" + b'"a":' * 3000, "not the JSON"),
    (b'{"data":' + b"[" * 5000 + b"]" * 5000 + b"}", "not the JSON"),
    (changed(position=0), "position"),
    (changed(position="7"), "position"),
    (changed(position=True), "position"),
    (changed(position=1.0), "position"),
    (changed(version=-1), "version"),
    (changed(data=...), "no body"),
    (changed(actor=...), "lacks actor"),
    (changed(actor=None), "actor"),
    (changed(more=1), "unknown more"),
    (changed(project="a.b"), "project"),
    (changed(project="*"), "project"),
    (changed(stream="-x"), "stream"),
    (changed(category="-"), "category"),
    (changed(id=""), "id is empty"),
    (changed(time="yesterday"), "time"),
    (changed(actor="x" * 20_000), "actor"),
    (changed(type="", stream="a b"), "stream"),
    (changed(data=..., data_base64="?"), "base64"),
    (changed(data=..., data_base64=1), "base64"),
    (event_line(EVENT).replace(b"0.10", b"NaN"), "NaN"),
    (b" " * (LINE_LIMIT + 1), "longer"),
])
def test_a_bad_line_is_named_with_what_is_wrong(line: bytes, told: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_line(line, number=12)
    assert "Line 12" in caught.value.message
    assert told in caught.value.message
    assert caught.value.detail == {"line": 12}
    assert caught.value.remediation


@settings(max_examples=300, deadline=None)
@given(some.binary(max_size=200) | some.text(max_size=100).map(str.encode))
def test_no_bytes_make_it_fall_over(line: bytes) -> None:
    with pytest.raises(Invalid):
        parse_line(line)
