"""Chats as JSON lines, one message each, made into a scene: one node a message, in their order.

The first line may be a header; its names are often placeholders, so speakers are taken from the messages. Other takes
of a message (swipes) stay with its node. Lines of a player that begin with ``>`` or ``Choice:`` become choices, their
options parted by ``|``. The ids of nodes are the messages' numbers, so that a chat that went on gives the same ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from typing import Any, Final

from domain.bounded_json import check_json, json_size
from domain.story.scene_model import CHOICES_LIMIT, NODES_LIMIT, TEXT_LIMIT, SceneDocument
from domain.story.scene_rules import graph_problems
from services.intake.json_reading import read_json, refused, whole

FILE_LIMIT: Final = 64 * 2**20
"""Largest chat file in bytes."""

LINE_LIMIT: Final = 8 * 2**20
"""Longest line in bytes."""

KEPT: Final = 64 * 1024
"""Bytes of what is kept of a message, or of the header, besides texts."""

TAKES: Final = 96 * 1024
"""Bytes of the other takes of one message."""

NAMED: Final = 20
"""Most fields of one line that are named because they are left out."""

WARNINGS: Final = 1000
"""Most warnings of one file."""

_BREAK: Final = re.compile(r"\s*(?:-{3,}|\*{3,})\s*\Z")
_CHOICE: Final = re.compile(r"\s*(?:>|choice:)\s*(.*)\Z", re.IGNORECASE)
_PLACEHOLDERS: Final = ("", "unused")
_READ: Final = frozenset({"name", "mes", "is_user", "is_system", "swipes", "swipe_id"})


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat that was read: a scene document by our own rules, who speaks in it, and what was left aside."""

    document: dict[str, Any]
    speakers: tuple[str, ...]
    messages: int
    warnings: tuple[str, ...]


def read_chat(data: bytes, *, scene_id: str, title: str) -> Chat:
    """The scene that a chat file makes. Raises ``Invalid`` with the line, what is wrong there, and what to do."""
    if len(data) > FILE_LIMIT:
        raise refused(f"A chat file has at most {FILE_LIMIT} bytes", "too_large", "Import it in parts.")
    warnings: list[str] = []
    header, messages = _parted(list(_lines(data)), warnings)
    if not messages:
        raise refused("The chat has no messages", "empty_chat", "Choose a chat with at least one message.")
    if len(messages) >= NODES_LIMIT:
        raise refused(
            f"A scene has at most {NODES_LIMIT} nodes, and this chat {len(messages)} messages", "too_large",
            "Split the file and import its parts.", line=messages[NODES_LIMIT - 1][0],
        )
    nodes = _nodes(messages, header, warnings)
    document = {
        "id": scene_id, "title": title, "start": nodes[0]["id"],
        "metadata": {"imported": {"format": "chat.jsonl", "messages": len(messages), "header": header}},
        "nodes": nodes,
    }
    _must_be_a_scene(document)
    speakers = dict.fromkeys(node["speaker"] for node in nodes if node.get("speaker"))
    if len(warnings) > WARNINGS:
        warnings[WARNINGS:] = [f"and {len(warnings) - WARNINGS} more"]
    return Chat(document, tuple(speakers), len(messages), tuple(warnings))


def _lines(data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    # Only the line feed ends a line: texts may hold U+2028 and its like, which splitlines would cut at.
    count = 0
    for number, line in enumerate(BytesIO(data.removeprefix(b"\xef\xbb\xbf")), start=1):
        if not line.strip():
            continue
        if (count := count + 1) > NODES_LIMIT:  # told before millions of lines are held
            raise refused(
                f"A scene has at most {NODES_LIMIT} nodes, and this chat more messages", "too_large",
                "Split the file and import its parts.", line=number,
            )
        found = read_json(line.strip(), "The line", limit=LINE_LIMIT, line=number)
        if not isinstance(found, dict):
            raise refused("A line of a chat is a JSON object", "not_a_chat", "Choose a chat file.", line=number)
        yield number, found


def _parted(
    lines: list[tuple[int, dict[str, Any]]], warnings: list[str]
) -> tuple[dict[str, Any], list[tuple[int, dict[str, Any]]]]:
    """The header (empty without one) and the messages; every message has a text."""
    header: dict[str, Any] = {}
    if lines and "mes" not in lines[0][1]:
        number, first = lines.pop(0)
        if not {"user_name", "character_name", "chat_metadata", "create_date"} & first.keys():
            raise refused(
                "This is no chat: its first line is neither a header nor a message", "not_a_chat",
                "Choose a chat in JSON lines.", line=number,
            )
        header = _kept(first, number, warnings)
    for number, message in lines:
        if not isinstance(message.get("mes"), str):
            raise refused("A message has no text in `mes`", "not_a_message", "Mend or remove the line.", line=number)
    return header, lines


def _nodes(
    messages: list[tuple[int, dict[str, Any]]], header: dict[str, Any], warnings: list[str]
) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = []
    broken = False
    for index, (number, message) in enumerate(messages, start=1):
        text = whole(message["mes"])
        if _BREAK.match(text):
            broken = True
            continue
        node = _node(f"m{index:05d}", number, message, text, header, warnings)
        if broken:
            node["data"]["scene_break"] = True
            broken = False
        nodes.append(node)
    if not nodes:
        raise refused("The chat has only scene breaks", "empty_chat", "Choose a chat with at least one message.")
    nodes.append({"id": "end", "type": "end", "end": True})
    for node, following in pairwise(nodes):
        options = node.pop("options", [])
        node["choices"] = [
            {"id": f"option-{place}", "label": label, "target": following["id"]}
            for place, label in enumerate(options, start=1)
        ] or [{"target": following["id"]}]
    return nodes


def _node(
    id_: str, number: int, message: dict[str, Any], text: str, header: dict[str, Any], warnings: list[str]
) -> dict[str, Any]:
    player = message.get("is_user") is True
    options: list[str] = []
    if player:
        text, options = _options(text)
    if len(text) > TEXT_LIMIT:
        raise refused(f"A message is longer than {TEXT_LIMIT} characters", "too_large", "Split it.", line=number)
    if len(options) > CHOICES_LIMIT:
        raise refused(f"A message offers more than {CHOICES_LIMIT} options", "too_large", "Split it.", line=number)
    system = message.get("is_system") is True
    data: dict[str, Any] = {"line": number, "player": player}
    if system:
        data["system"] = True
    if takes := _takes(message, number, warnings):
        data["takes"] = takes
    if rest := _kept({key: value for key, value in message.items() if key not in _READ}, number, warnings):
        data["source"] = rest
    return {
        "id": id_, "type": "narration" if system else "dialogue", "text": text,
        "speaker": _speaker(message, number, header, warnings), "data": data, "options": options,
    }


def _options(text: str) -> tuple[str, list[str]]:
    """What a player says, and what a player may choose."""
    said, options = [], []
    for line in text.split("\n"):
        found = _CHOICE.match(line)
        offered = [part.strip() for part in found.group(1).split("|") if part.strip()] if found else []
        if offered:
            options += [option[:10_000] for option in offered]
        else:
            said.append(line)
    return "\n".join(said).strip("\n") if options else text, options


def _speaker(message: dict[str, Any], number: int, header: dict[str, Any], warnings: list[str]) -> str:
    name = message.get("name")
    if not isinstance(name, str) or not name.strip():
        name = header.get("user_name" if message.get("is_user") is True else "character_name")
        if not isinstance(name, str) or name in _PLACEHOLDERS:
            warnings.append(f"line {number}: nobody is named as the speaker")
            return ""
    name = whole(name).strip()
    if len(name) > 200:
        warnings.append(f"line {number}: the speaker's name is shortened to 200 characters")
    return name[:200]


def _takes(message: dict[str, Any], number: int, warnings: list[str]) -> dict[str, Any] | None:
    """Alternative takes of a message as ``{"texts": […], "chosen": index or null}``."""
    swipes = message.get("swipes")
    if not isinstance(swipes, list) or not all(isinstance(one, str) for one in swipes) or len(swipes) < 2:
        return None
    texts = [whole(one) for one in swipes]
    chosen = message.get("swipe_id")
    known = isinstance(chosen, int) and not isinstance(chosen, bool) and 0 <= chosen < len(texts)
    try:
        check_json(texts, size=TAKES)
    except ValueError:
        warnings.append(f"line {number}: other takes are left out, they are larger than {TAKES} bytes")
        return None
    return {"texts": texts, "chosen": chosen if known else None}


def _kept(found: dict[str, Any], number: int, warnings: list[str]) -> dict[str, Any]:
    """The fields that fit into a document; what does not is left aside and named."""
    kept: dict[str, Any] = {}
    size = left_out = 0
    for key, value in found.items():
        try:
            check_json({key: value}, depth=24, size=KEPT)
            if (size := size + json_size({key: value})) > KEPT:
                raise ValueError(f"would make more than {KEPT} bytes with the rest")
        except ValueError as error:
            if (left_out := left_out + 1) <= NAMED:
                warnings.append(f"line {number}: {whole(key)[:80]} is left out, it {whole(str(error))}")
        else:
            kept[key] = value
    if left_out > NAMED:
        warnings.append(f"line {number}: {left_out - NAMED} more fields are left out")
    return kept


def _must_be_a_scene(document: dict[str, Any]) -> None:
    # What comes in is held to the same rules as what is written here.
    SceneDocument.model_validate(document)
    if problems := graph_problems(document):
        raise refused(f"The chat makes no scene: {problems[0].message}", "invalid_scene", "Import it in parts.")
