"""The public JSON form of a recorded event: one line, the same in exports, streams, answers and on the console.

The body travels as the bytes that were appended, never decoded and encoded again, so that a number such as ``1E5`` or
``0.10`` is the same after an export and an import and every hash over it still holds. A body that cannot stand inside
a line (it has line breaks in it, or is not JSON) travels as ``data_base64``, as in the JSON format of CloudEvents.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from json import JSONDecodeError, JSONDecoder
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Final

import orjson

from domain.errors import Invalid, Remedy
from domain.ids import UNBRANCHED, token
from domain.ports import Recorded, Stream

DATA_LIMIT: Final = 16 * 2**20
"""Largest body in bytes that a line may hold; a log's own limit (``event_limit``) is at most half of it."""

LINE_LIMIT: Final = DATA_LIMIT * 4 // 3 + 64 * 2**10
"""Longest line in bytes: a body of ``DATA_LIMIT`` in base64 and all that stands before it."""

TEXT_LIMIT: Final = 16 * 2**10
"""Longest text of any field but the body, in characters: what the headers of a message can hold."""

FIELDS: Final = (
    "position", "id", "type", "schema", "project", "worldline", "category", "stream", "version", "time", "actor",
    "command_id", "correlation_id", "causation_id", "request",
)
"""The keys of a line before its body, in order. ``stream`` is the id of the aggregate."""

_NUMBERS: Final = frozenset({"position", "schema", "version"})
_NAMES: Final = ("project", "worldline", "category", "stream")
_BODY: Final = b',"data":'
_BODY_BASE64: Final = b',"data_base64":"'
_TIME: Final = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(\.\d{1,9})?(Z|[+-][0-2]\d:[0-5]\d)\Z")
_SUBJECT_TOKEN: Final = re.compile(r"[^\s.*>\x00-\x1f\x7f]{1,255}\Z")
_BLANK: Final = re.compile(r"[ \t\n\r]*")


def event_line(recorded: Recorded) -> bytes:
    """One JSON object in one line, without the line's end."""
    try:
        head = orjson.dumps(_head(recorded))[:-1]
    except TypeError:
        head = orjson.dumps(_mended(_head(recorded)))[:-1]
    data = recorded.data
    if stands_in_line(data):
        return b"".join((head, _BODY, data, b"}"))
    return b"".join((head, _BODY_BASE64, b64encode(data), b'"}'))


def event_object(recorded: Recorded) -> dict[str, Any]:
    """The same as a dictionary whose ``data`` is decoded: for answers that are made of more than events."""
    try:
        return _head(recorded) | {"data": orjson.loads(recorded.data)}
    except orjson.JSONDecodeError:
        return _head(recorded) | {"data_base64": b64encode(recorded.data).decode()}


def stands_in_line(data: bytes) -> bool:
    """Whether a body is JSON that can be written into a line as it is."""
    if not data or b"\n" in data or b"\r" in data or data[0] in b" \t" or data[-1] in b" \t":
        return False
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def parse_line(line: bytes, *, number: int = 1) -> Recorded:
    """The event of a line: ``event_line(parse_line(line)) == line`` for every line that ``event_line`` wrote.

    A line that another tool laid out again (blanks, order of keys) is understood too; the bytes of its body are kept
    as they stand. ``number`` is the line's, counted from 1, for the error. Raises ``Invalid``.
    """
    if len(line) > LINE_LIMIT:
        raise _wrong(number, f"it is longer than {LINE_LIMIT} bytes")
    line = line.strip(b" \t\r\n")
    head, data = _split(line) or _scanned(line, number)
    _check_keys(head, number)
    if len(data) > DATA_LIMIT:
        raise _wrong(number, f"its body is larger than {DATA_LIMIT} bytes")
    return Recorded(
        head["position"],
        _stream(head, number),
        head["type"], head["schema"], data, head["id"], head["version"], head["time"], head["actor"],
        head["command_id"], head["request"], head["correlation_id"], head["causation_id"],
    )


def _head(recorded: Recorded) -> dict[str, Any]:
    stream = recorded.stream
    return {
        "position": recorded.position, "id": recorded.event_id, "type": recorded.type, "schema": recorded.schema,
        "project": stream.project, "worldline": stream.worldline, "category": stream.category, "stream": stream.id,
        "version": recorded.version, "time": recorded.time, "actor": recorded.actor,
        "command_id": recorded.command_id, "correlation_id": recorded.correlation_id,
        "causation_id": recorded.causation_id, "request": recorded.request,
    }


def _mended(head: dict[str, Any]) -> dict[str, Any]:
    # Only a message that somebody published by hand can carry half a surrogate pair; UTF-8 cannot.
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in head.items()
    }


def _split(line: bytes) -> tuple[dict[str, Any], bytes] | None:
    """Head and body of a line exactly as ``event_line`` writes it; nothing for any other."""
    # Inside a string every quotation mark is escaped, so the first unescaped `,"data` can only be the key itself.
    at, encoded = line.find(_BODY), False
    if at < 0:
        at, encoded = line.find(_BODY_BASE64), True
    if at < 0:
        return None
    try:
        head = orjson.loads(line[:at] + b"}")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(head, dict) or tuple(head) != FIELDS or orjson.dumps(head) != line[:at] + b"}":
        return None
    if not encoded:
        plain = line[at + len(_BODY) : -1]
        return (head, plain) if line.endswith(b"}") and stands_in_line(plain) else None
    text = line[at + len(_BODY_BASE64) : -2]
    data = _from_base64(text)
    return (head, data) if line.endswith(b'"}') and data is not None and b64encode(data) == text else None


def _scanned(line: bytes, number: int) -> tuple[dict[str, Any], bytes]:
    """Head and body of any JSON object, with the body's bytes as they stand in the line."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise _wrong(number, f"byte {error.start + 1} is not UTF-8") from error
    try:
        members = dict(_members(text))
    except (JSONDecodeError, RecursionError, ValueError) as error:
        told = f"{error.msg}, character {error.pos + 1}" if isinstance(error, JSONDecodeError) else str(error)
        raise _wrong(number, f"it is not the JSON of an event ({told})") from error
    if ("data" in members) == ("data_base64" in members):
        raise _wrong(number, "it has no body, or two: one of data and data_base64 belongs there")
    head = {name: value for name, (value, _) in members.items() if not name.startswith("data")}
    if "data" in members:
        data: bytes | None = members["data"][1].encode()
    else:
        encoded = members["data_base64"][0]
        data = _from_base64(encoded.encode()) if isinstance(encoded, str) else None
    if data is None:
        raise _wrong(number, "its data_base64 is not base64")
    return head, data


def _members(text: str) -> list[tuple[str, tuple[Any, str]]]:
    """Key -> (value, the value as it is written), for every member of one JSON object."""
    decoder = JSONDecoder(parse_constant=_no_constant)
    at = _past(text, 0, "{")
    found: list[tuple[str, tuple[Any, str]]] = []
    while True:
        at = _past(text, at, '"')
        name, at = scanstring(text, at, True)
        start = _BLANK.match(text, _past(text, at, ":")).end()  # type: ignore[union-attr]
        value, at = decoder.raw_decode(text, start)
        if any(name == known for known, _ in found):
            raise JSONDecodeError(f"{name} stands there twice", text, start)
        found.append((name, (value, text[start:at])))
        at = _BLANK.match(text, at).end()  # type: ignore[union-attr]
        if text[at : at + 1] == "}":
            break
        at = _past(text, at, ",")
    if _BLANK.match(text, at + 1).end() != len(text):  # type: ignore[union-attr]
        raise JSONDecodeError("more follows after the object", text, at + 1)
    return found


def _past(text: str, at: int, mark: str) -> int:
    at = _BLANK.match(text, at).end()  # type: ignore[union-attr]
    if text[at : at + 1] != mark:
        raise JSONDecodeError(f"{mark} expected", text, at)
    return at + 1


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _from_base64(text: bytes) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _check_keys(head: dict[str, Any], number: int) -> None:
    if head.keys() != set(FIELDS):
        missing, unknown = sorted(set(FIELDS) - head.keys()), sorted(head.keys() - set(FIELDS))
        told = [f"lacks {', '.join(missing)}"] if missing else []
        told += [f"has unknown {', '.join(name[:40] for name in unknown[:5])}"] if unknown else []
        raise _wrong(number, "it " + " and ".join(told))
    for name in FIELDS:
        value = head[name]
        if name in _NUMBERS:
            least = 1 if name == "position" or head["type"] else 0
            if type(value) is not int or not least <= value < 2**63:
                raise _wrong(number, f"{name} is not a whole number from {least}")
        elif not isinstance(value, str) or len(value) > TEXT_LIMIT or _halved(value):
            raise _wrong(number, f"{name} is not a text of at most {TEXT_LIMIT} characters")
    if head["type"] and not head["id"]:
        raise _wrong(number, "id is empty")
    if head["type"] and not _TIME.match(head["time"]):
        raise _wrong(number, "time is not a time as in RFC 3339")


def _halved(text: str) -> bool:
    return not text.isprintable() and any(0xD800 <= ord(one) <= 0xDFFF for one in text)


def _stream(head: dict[str, Any], number: int) -> Stream:
    for name in _NAMES:
        value = head[name]
        # A message without a type was published by hand: its names must fit a subject, more is not asked.
        if not head["type"] and _SUBJECT_TOKEN.match(value):
            continue
        if name == "worldline" and value == UNBRANCHED:
            continue
        try:
            token(value)
        except ValueError as error:
            raise _wrong(number, f"{name}: {error}") from error
    return Stream(head["project"], head["worldline"], head["category"], head["stream"])


def _wrong(number: int, what: str) -> Invalid:
    return Invalid(
        f"Line {number} is not an event: {what}.",
        error="invalid_event_line",
        remediation=[Remedy("Import a file as `comfyvn log export` wrote it.", "export_again")],
        detail={"line": number},
    )
