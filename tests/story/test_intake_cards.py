"""Character cards are read whatever wrote them, and refused where they are broken."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_files import HEAD, V1, V2, V3, chunk, packed, picture, text

from domain.errors import ComfyVNError, Invalid
from domain.exchange import png_text
from services.intake.cards import read_card


def refused(data: bytes) -> Invalid:
    with pytest.raises(Invalid) as caught:
        read_card(data)
    assert caught.value.remediation
    return caught.value


@pytest.mark.parametrize(("card", "spec"), [(V1, "chara_card_v1"), (V2, "chara_card_v2"), (V3, "chara_card_v3")])
def test_a_card_is_read_from_json_and_from_a_picture_and_kept_whole(card: dict[str, Any], spec: str) -> None:
    plain = read_card(b"\xef\xbb\xbf" + json.dumps(card, indent=2).encode())
    pictured = read_card(picture(text("chara", packed(card))))
    assert plain.spec == pictured.spec == spec
    assert plain.card == pictured.card == card
    assert (plain.name, plain.description, plain.picture, pictured.picture) == ("Mira", "A guard.", False, True)


def test_fields_of_the_card_are_those_of_its_data() -> None:
    card = read_card(json.dumps(V3).encode())
    assert card.tags == ("guard", "stern")
    assert card.greetings == ("Halt!", "Hm?")
    assert card.warnings == ()


def test_the_newer_chunk_wins_whatever_the_case_and_order_of_the_names() -> None:
    older = V2 | {"data": {**V2["data"], "name": "Older"}}
    found = read_card(picture(text("Chara", packed(older)), text("CCV3", packed(V3))))
    assert (found.name, found.spec) == ("Mira", "chara_card_v3")


def test_the_name_of_the_chunk_does_not_tell_what_the_card_is() -> None:
    assert read_card(picture(text("chara", packed(V3)))).spec == "chara_card_v3"
    assert read_card(picture(text("ccv3", packed(V2)))).spec == "chara_card_v2"


def test_a_broken_newer_chunk_gives_way_to_a_sound_older_one() -> None:
    assert read_card(picture(text("ccv3", b"%%%"), text("chara", packed(V2)))).spec == "chara_card_v2"


def test_packed_and_international_texts_are_read_too() -> None:
    squeezed = chunk(b"zTXt", b"chara\0\0" + zlib.compress(packed(V2)))
    international = chunk(b"iTXt", b"ccv3\0\1\0en\0\0" + zlib.compress(packed(V3)))
    bare = chunk(b"iTXt", b"ccv3\0\0\0\0\0" + packed(V3))
    assert read_card(picture(squeezed)).spec == "chara_card_v2"
    assert read_card(picture(squeezed, international)).spec == "chara_card_v3"
    assert read_card(picture(bare)).spec == "chara_card_v3"


def test_kinds_that_are_not_known_are_read_by_their_shape() -> None:
    newer = read_card(json.dumps(V3 | {"spec": "chara_card_v7"}).encode())
    assert newer.spec == "chara_card_v3"
    assert newer.card["spec"] == "chara_card_v7"
    assert newer.warnings
    unsaid = read_card(json.dumps({"data": V2["data"]}).encode())
    assert (unsaid.spec, len(unsaid.warnings)) == ("chara_card_v2", 1)


def test_fields_of_a_wrong_type_are_left_aside_and_named() -> None:
    odd = V2 | {"data": {**V2["data"], "description": 7, "tags": "guard", "alternate_greetings": ["a", 1]}}
    card = read_card(json.dumps(odd).encode())
    assert (card.description, card.tags, card.greetings) == ("", (), ("Halt!", "a"))
    assert len(card.warnings) == 3
    assert card.card == odd


@pytest.mark.parametrize(("data", "error"), [
    (b"", "not_json"), (b"\xff\xfe{", "not_utf8"), (b"[1]", "not_a_card"), (b"{}", "not_a_card"),
    (b'{"entries": {}}', "not_a_card"), (b'{"name": "x"}', "not_a_card"), (b'{"spec": "chara_card_v2"}', "not_a_card"),
    (b'{"data": {"name": ""}}', "no_name"), (b'{"data": {"name": 7}}', "no_name"),
    (b'{"data": {"name": "' + b"x" * 201 + b'"}}', "name_too_long"),
    (b'{"data": {"name": "x", "n": NaN}}', "bad_number"),
    (b'{"data": {"name": "x", "n": 1e999}}', "card_out_of_bounds"),
    (b'{"data": {"name": "x", "n": ' + b"9" * 30 + b"}}", "card_out_of_bounds"),
    (b'{"data": {"name": "x", "n": ' + b"9" * 9999 + b"}}", "bad_number"),
    (b'{"data": {"name": "\\ud800"}}', "card_out_of_bounds"),
    (b"[" * 200_000, "too_deep"),
    (b'{"data": {"name": "x", "d": ' + b"[" * 50 + b"]" * 50 + b"}}", "card_out_of_bounds"),
    (b'{"data": {"name": "x", "d": "' + b"x" * 700_000 + b'"}}', "card_out_of_bounds"),
    (b"\xff\xd8\xff\xe0", "not_a_card"), (b"PK\x03\x04", "not_a_card"),
])
def test_what_is_no_card_is_refused_with_the_reason(data: bytes, error: str) -> None:
    assert refused(data).code == error


def test_a_mistake_in_json_is_named_with_its_line_and_column() -> None:
    error = refused(b'{\n  "name": "x",\n  "data": oops\n}')
    assert (error.detail["line"], error.detail["column"]) == (3, 11)


def test_a_picture_without_a_card_says_so() -> None:
    assert refused(picture()).code == "no_card"
    assert refused(picture(text("Comment", b"hello"), chunk(b"tEXt", b"chara"))).code == "no_card"


@pytest.mark.parametrize(("data", "error"), [(b"%%%", "not_base64"), (b64encode(b"{"), "not_json"), (b"", "not_json")])
def test_a_broken_card_in_a_picture_is_named_with_its_offset(data: bytes, error: str) -> None:
    found = refused(picture(text("chara", data)))
    assert found.code == error
    assert found.detail["offset"] == len(HEAD)


def test_a_picture_that_was_cut_anywhere_is_refused() -> None:
    whole = picture(text("chara", packed(V2)))
    for length in range(len(png_text.SIGNATURE), len(whole)):
        assert refused(whole[:length]).code == "truncated_png"


def test_a_picture_with_a_wrong_checksum_is_refused() -> None:
    data = bytearray(picture(text("chara", packed(V2))))
    data[len(HEAD) + 20] ^= 1
    assert refused(bytes(data)).code == "damaged_png"


def test_a_text_that_unpacks_without_end_is_refused_before_it_is_unpacked() -> None:
    bomb = zlib.compress(b"A" * (png_text.TEXT_BYTES * 3))
    assert len(bomb) < 100_000
    assert refused(picture(chunk(b"zTXt", b"chara\0\0" + bomb))).code == "too_large"
    assert refused(picture(chunk(b"zTXt", b"chara\0\0not packed"))).code == "damaged_png"
    assert refused(picture(chunk(b"zTXt", b"chara\0\0" + zlib.compress(packed(V2))[:-9]))).code == "truncated_png"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_bytes_break_the_reader(data: st.DataObject) -> None:
    sound = picture(text("chara", packed(V2)))
    broken = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(broken) - 1))
        broken[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        card = read_card(bytes(broken))
    except ComfyVNError as error:
        assert error.remediation  # noqa: PT017
    else:
        assert card.name
