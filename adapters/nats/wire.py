"""How an event looks on NATS: one message, its JSON body as it is, everything else in CloudEvents headers.

Header values follow the rule that CloudEvents sets for headers (HTTP binding, 3.1.3.2): UTF-8, with every byte
outside ``!`` to ``~``, and ``"`` and ``%``, written as ``%XX``. So any text survives and no value can end its line.
An empty value is left out, since headers are stored for ever.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from domain.errors import Invalid, Remedy
from domain.ports import Proposed, Recorded, Stream

VERSION_LINE: Final = b"NATS/1.0\r\n"

SUBJECTS: Final = "vn.*.*.*.*"
"""What the log's stream stores: subjects of five tokens and no others, so that every message has a ``Stream``."""

EVERYTHING: Final = "vn.>"

HEADER_ROOM: Final = 16 * 1024
"""Bytes that the headers of one event may take, on top of the limit for its body."""

def numbered(subjects: str) -> str:
    """A pattern as the target of a republish, where each ``*`` says which token of the source it takes."""
    count = 0
    parts = []
    for part in subjects.split("."):
        count += part == "*"
        parts.append(f"{{{{wildcard({count})}}}}" if part == "*" else part)
    return ".".join(parts)


_PLAIN = re.compile(r"[!#$&-~]*\Z")


def escaped(value: str) -> str:
    """A header value that is printable ASCII without spaces, quotes or line ends, whatever ``value`` holds."""
    if _PLAIN.match(value):
        return value
    octets = value.encode("utf-8", "surrogatepass")
    return "".join(chr(one) if 0x21 <= one <= 0x7E and one not in b'"%' else f"%{one:02X}" for one in octets)


def unescaped(value: str) -> str:
    """What ``escaped`` was given. Text that was never escaped comes back as it is."""
    return unquote_to_bytes(value).decode("utf-8", "surrogatepass") if "%" in value else value


def event_headers(stream: Stream, event: Proposed) -> bytes:
    """The header lines of an event, without the version line and the closing empty line; raises ``Invalid``."""
    lines = [
        "ce-specversion: 1.0\r\n"
        f"ce-id: {escaped(event.event_id)}\r\n"
        f"ce-type: {escaped(event.type)}\r\n"
        f"ce-source: /{escaped(stream.project)}\r\n"
        "content-type: application/json\r\n"
        f"vn-schema: {event.schema}\r\n"
        f"vn-version: {event.version}\r\n"
    ]
    for name, value in (
        ("ce-time", event.time), ("vn-actor", event.actor), ("vn-command", event.command_id),
        ("vn-request", event.request), ("vn-correlation", event.correlation_id), ("vn-causation", event.causation_id),
    ):
        if value:
            lines.append(f"{name}: {escaped(value)}\r\n")
    headers = "".join(lines).encode("ascii")
    if len(headers) > HEADER_ROOM - 512:
        raise Invalid(
            f"What goes with an event (actor, ids) may take {HEADER_ROOM} bytes; here it is {len(headers)}.",
            error="event_too_large",
            remediation=[Remedy("Use a shorter actor name and shorter ids.", "shorten")],
            detail={"limit": HEADER_ROOM, "size": len(headers)},
        )
    return headers


def parsed(block: bytes) -> dict[str, str]:
    """Header name -> value as sent, for a block of NATS headers; the last of repeated names wins."""
    found: dict[str, str] = {}
    for line in block.decode("utf-8", "replace").split("\r\n")[1:]:
        name, separator, value = line.partition(":")
        if separator:
            found[name] = value.strip()
    return found


def status(block: bytes) -> int:
    """The status in the version line (204, 404, 503 …), 0 when there is none."""
    line = block[8 : block.find(b"\r\n")].split()
    return int(line[0]) if line and line[0].isdigit() else 0


def recorded(block: bytes, data: bytes) -> Recorded:
    """The event in a message that the stream gave out (direct get or republish).

    What is not one of our events (somebody published by hand) comes back as an event of an unknown type, so that
    positions stay without holes and one stray message stops nobody.
    """
    try:
        # The form in which this and every server writes headers; anything else takes the careful way.
        told = dict([line.split(": ", 1) for line in block.decode("ascii").split("\r\n")[1:-2]])
    except ValueError:
        told = parsed(block)
    return event_of(told["Nats-Subject"], int(told["Nats-Sequence"]), told, data)


def event_of(subject: str, position: int, told: dict[str, str], data: bytes) -> Recorded:
    """The event of a message whose place is known from elsewhere than its headers."""
    get = told.get
    tokens = subject.split(".", 4)
    text = [
        unescaped(value) if "%" in value else value
        for value in (
            get("ce-type", ""), get("ce-id", ""), get("ce-time", ""), get("vn-actor", ""), get("vn-command", ""),
            get("vn-request", ""), get("vn-correlation", ""), get("vn-causation", ""),
        )
    ]
    return Recorded(
        position, Stream(tokens[1], tokens[2], tokens[3], tokens[4]), text[0], _number(get("vn-schema", "")), data,
        text[1], _number(get("vn-version", "")), text[2], text[3], text[4], text[5], text[6], text[7],
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
