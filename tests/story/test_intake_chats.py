"""Chats become scenes by our own rules, or are refused with the line that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_files import HEADER, chat, line

from domain.errors import ComfyVNError, Invalid
from domain.story.scene_rules import judge
from services.intake.chats import Chat, read_chat


def read(*lines: Any) -> Chat:
    found = read_chat(chat(*lines), scene_id="talk", title="Talk")
    verdict = judge(found.document)
    assert verdict["valid"], verdict
    return found


def refused(data: bytes) -> Invalid:
    with pytest.raises(Invalid) as caught:
        read_chat(data, scene_id="talk", title="Talk")
    assert caught.value.remediation
    return caught.value


def test_messages_become_nodes_in_their_order_with_the_speakers_of_the_lines() -> None:
    found = read(HEADER, line("Mira", "Halt!", send_date="2024-06-10T16:05:00Z"), line("You", "Me?"))
    nodes = found.document["nodes"]
    assert [(one["id"], one.get("speaker"), one.get("text")) for one in nodes] == [
        ("m00001", "Mira", "Halt!"), ("m00002", "You", "Me?"), ("end", None, None),
    ]
    assert [one.get("choices") for one in nodes] == [[{"target": "m00002"}], [{"target": "end"}], None]
    assert nodes[0]["data"] == {"line": 2, "player": False, "source": {"send_date": "2024-06-10T16:05:00Z"}}
    assert found.speakers == ("Mira", "You")
    assert found.document["metadata"]["imported"]["header"]["chat_metadata"]["integrity"] == "u-1"
    assert judge(found.document)["warnings"] == []


def test_the_header_and_its_names_are_optional() -> None:
    assert read(line("Mira", "Halt!")).speakers == ("Mira",)
    named = {"user_name": "Ann", "character_name": "Mira"}
    found = read(named, {"mes": "Halt!"}, {"mes": "Me?", "is_user": True})
    assert found.speakers == ("Mira", "Ann")
    nobody = read(HEADER, {"mes": "Halt!"})
    assert nobody.speakers == ()
    assert nobody.warnings


def test_other_takes_stay_with_their_node() -> None:
    taken = line("Mira", "two", swipes=["one", "two", "three"], swipe_id=1)
    found = read(HEADER, taken, line("Mira", "x", swipes=["x"]))
    assert found.document["nodes"][0]["data"]["takes"] == {"texts": ["one", "two", "three"], "chosen": 1}
    assert "takes" not in found.document["nodes"][1]["data"]


def test_a_players_marked_lines_become_choices() -> None:
    found = read(line("You", "Well…\n> Knock | Leave\nchoice: Shout\n"), line("Mira", "> not mine | at all"))
    player, other, _ = found.document["nodes"]
    assert player["text"] == "Well…"
    assert [(one["id"], one["label"], one["target"]) for one in player["choices"]] == [
        ("option-1", "Knock", "m00002"), ("option-2", "Leave", "m00002"), ("option-3", "Shout", "m00002"),
    ]
    assert (other["text"], other["choices"]) == ("> not mine | at all", [{"target": "end"}])


def test_rows_of_dashes_mark_a_scene_break_and_ids_stay_those_of_the_messages() -> None:
    found = read(line("Mira", "a"), line("Mira", "---"), line("Mira", "b"), line("Narrator", "***"))
    assert [one["id"] for one in found.document["nodes"]] == ["m00001", "m00003", "end"]
    assert found.document["nodes"][1]["data"]["scene_break"] is True


def test_a_chat_that_went_on_keeps_the_ids_of_its_nodes() -> None:
    lines = [HEADER, *[line("Mira", f"line {number}") for number in range(9)]]
    shorter, longer = read(*lines[:5]), read(*lines)
    assert [one["id"] for one in longer.document["nodes"][:4]] == [one["id"] for one in shorter.document["nodes"][:4]]
    assert longer.document["nodes"][:3] == shorter.document["nodes"][:3]


def test_system_lines_are_narration_and_unknown_fields_are_kept() -> None:
    found = read(line("System", "Rain.", is_system=True, extra={"model": "m", "branches": ["b"]}, gen_id=7))
    node = found.document["nodes"][0]
    assert (node["type"], node["data"]["system"]) == ("narration", True)
    assert node["data"]["source"] == {"extra": {"model": "m", "branches": ["b"]}, "gen_id": 7}


def test_what_is_too_large_to_keep_is_left_out_and_named() -> None:
    found = read(line("Mira", "a", extra={"image": "x" * 100_000}, big=10**30, swipes=["y" * 60_000] * 2))
    assert "source" not in found.document["nodes"][0]["data"]
    assert {one.split()[2] for one in found.warnings} == {"other", "extra", "big"}
    assert all(one.startswith("line 1: ") for one in found.warnings)


def test_half_a_surrogate_pair_is_replaced() -> None:
    data = b'{"name": "Mira", "mes": "\\ud83d cut", "is_user": false}'
    assert read_chat(data, scene_id="s", title="T").document["nodes"][0]["text"] == "\ufffd cut"


def test_line_separators_inside_texts_do_not_cut_lines() -> None:
    data = json.dumps(line("Mira", "one\u2028two\x85three"), ensure_ascii=False).encode() + b"\r\n\r\n"
    assert read_chat(data, scene_id="s", title="T").messages == 1


@pytest.mark.parametrize(("lines", "error", "number"), [
    ([b""], "empty_chat", None), ([json.dumps(HEADER).encode()], "empty_chat", None),
    ([b'{"name": "A", "mes": "---"}'], "empty_chat", None),
    ([b'{"entries": {}}'], "not_a_chat", 1), ([b"[]"], "not_a_chat", 1), ([b'"text"'], "not_a_chat", 1),
    ([b'{"mes": "a"}', b"", b'{"mes": 7}'], "not_a_message", 3),
    ([b'{"mes": "a"}', b'{"name": "b"}'], "not_a_message", 2),
    ([b'{"mes": "a"}', b'{"mes": "cut off'], "not_json", 2), ([b'{"mes": "a"}', b"\xff\xfe"], "not_utf8", 2),
    ([b'{"mes": "a", "x": NaN}'], "bad_number", 1), ([b'{"mes": "' + b"x" * 70_000 + b'"}'], "too_large", 1),
    ([b'{"mes": "a", "is_user": true}', b'{"is_user": true, "mes": "> ' + b"a|" * 201 + b'"}'], "too_large", 2),
    ([b"\x89PNG\r"], "not_utf8", 1), ([b"[" * 100_000], "too_deep", 1),
])
def test_a_bad_line_is_named(lines: list[bytes], error: str, number: int | None) -> None:
    found = refused(b"\n".join(lines))
    assert found.code == error
    assert found.detail.get("line") == number


def test_a_chat_longer_than_a_scene_is_refused() -> None:
    found = refused(b'{"name": "A", "mes": "x"}\n' * 10_000)
    assert found.code == "too_large"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(
    st.fixed_dictionaries(
        {"mes": st.text(max_size=30)},
        optional={"name": st.text(max_size=10), "is_user": st.booleans(), "swipes": st.lists(st.text(max_size=5)),
                  "swipe_id": st.integers(), "extra": st.dictionaries(st.text(max_size=5), st.floats())},
    ),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
), max_size=6))
def test_any_lines_make_a_valid_scene_or_a_clear_refusal(lines: list[Any]) -> None:
    try:
        found = read_chat(chat(*lines), scene_id="talk", title="Talk")
    except ComfyVNError as error:
        assert error.remediation  # noqa: PT017
    else:
        assert judge(found.document)["valid"]
