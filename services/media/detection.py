"""What a file is, by its bytes alone: a client's file name or Content-Type is never believed."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Final, NamedTuple

import filetype

from domain.studio.asset_values import Kind

HEAD: Final = 64 * 1024
"""Bytes that are looked at to tell what a file is."""

PARSED: Final = 16 * 2**20
"""Largest text that is parsed to tell whether it is JSON; a larger one counts as plain text."""


class Detected(NamedTuple):
    """What a file is. ``extension`` has no dot; ``cautions`` are codes for what a person should know of it."""

    media_type: str
    kind: Kind
    extension: str
    cautions: tuple[str, ...] = ()


_RENAMED: Final = {
    "audio/x-wav": "audio/wav", "audio/x-flac": "audio/flac", "audio/x-aiff": "audio/aiff", "audio/x-m4a": "audio/mp4",
    "audio/m4a": "audio/mp4", "video/x-matroska": "video/matroska", "video/x-m4v": "video/mp4",
    "video/x-msvideo": "video/vnd.avi", "application/font-woff": "font/woff", "application/font-woff2": "font/woff2",
    "application/font-sfnt": "font/sfnt", "image/x-icon": "image/vnd.microsoft.icon",
    "application/x-rar-compressed": "application/vnd.rar",
}
_FONTS: Final = {b"\0\1\0\0": ("font/ttf", "ttf"), b"OTTO": ("font/otf", "otf"), b"true": ("font/ttf", "ttf"),
                 b"ttcf": ("font/collection", "ttc"), b"wOFF": ("font/woff", "woff"), b"wOF2": ("font/woff2", "woff2")}
_ARCHIVES: Final = frozenset({
    "application/zip", "application/x-tar", "application/vnd.rar", "application/gzip", "application/x-bzip2",
    "application/x-7z-compressed", "application/x-xz", "application/zstd", "application/x-lz4", "application/x-lzip",
    "application/x-compress",
})
_OTHER: Final = Detected("application/octet-stream", "other", "bin")
_TEXT_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_NAME = re.compile(r"<([A-Za-z_][\w:.-]*)")
# Possessive, so that a long run of blanks is walked once: a file of nothing else must not hold everybody up.
_ACTIVE = re.compile(
    rb"<\s*+(?:[\w-]+:)?(?:script|foreignObject|iframe|embed|object|handler|set|animate\w*)\b|\son[a-z]++\s*+=|javascript:",
    re.IGNORECASE,
)
_ENTITY = re.compile(rb"<!ENTITY", re.IGNORECASE)
_OUTSIDE = re.compile(
    rb"""(?:href|src)\s*+=\s*+(?:["']\s*+)?(?:https?:|ftp:|file:|//)|url\(\s*+(?:["']\s*+)?(?:https?:|//)|@import""",
    re.IGNORECASE,
)


def detect(path: Path) -> Detected:
    """What a file is. Blocking: call it from a thread. Raises ``OSError``."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    found = _binary(head)
    if found is not None:
        return found
    text = _text(head)
    return _OTHER if text is None else _written(path, text)


def _binary(head: bytes) -> Detected | None:
    if head[:4] in _FONTS and (head[:4] != b"true" or b"\0" in head[:16]):
        media_type, extension = _FONTS[head[:4]]
        return Detected(media_type, "font", extension)
    if head[:4] == b"OggS" and b"\x80theora" in head[:256]:
        return Detected("video/ogg", "video", "ogv")
    if head[:4] in (b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return Detected("audio/wav", "audio", "wav")
    if head.startswith(b"ID3") and head[_after_id3(head) :].startswith(b"fLaC"):
        return Detected("audio/flac", "audio", "flac")  # as signing leaves it: the manifest stands in an ID3 tag
    if head.startswith(b"%PDF-"):
        return Detected("application/pdf", "other", "pdf")
    # A magic number of two letters ("BM", "MZ") also begins ordinary sentences, so text is believed first.
    if _text(head) is not None:
        return None
    guess = filetype.guess(head)
    if guess is None:
        return None
    media_type = _RENAMED.get(guess.mime, guess.mime)
    return Detected(media_type, _kind(media_type), guess.extension)


def _after_id3(head: bytes) -> int:
    size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
    return 10 + size + (10 if head[5:6] and head[5] & 0x10 else 0)


def _kind(media_type: str) -> Kind:
    family = media_type.partition("/")[0]
    if family in ("image", "audio", "video", "font", "text"):
        return family  # type: ignore[return-value]
    return "archive" if media_type in _ARCHIVES else "other"


def _text(head: bytes) -> str | None:
    """The head as text, or nothing when it is none."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig" if head.startswith(codecs.BOM_UTF8) else "utf-8"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)  # a character cut off at the end is no error
    except UnicodeDecodeError:
        return None
    return None if _TEXT_CONTROL.search(text) else text


def _written(path: Path, text: str) -> Detected:
    name = _root(text)
    if name:
        if name == "svg":
            return Detected("image/svg+xml", "image", "svg", svg_cautions(path))
        if name in ("html", "head", "body", "script") or "<!doctype html" in text[:1024].lower():
            return Detected("text/html", "text", "html", ("active_content",))
        if text.lstrip().startswith("<?xml"):
            return Detected("application/xml", "text", "xml")
    if text.lstrip()[:1] in ("{", "[") and _parses(path):
        return Detected("application/json", "json", "json")
    return Detected("text/plain", "text", "txt")


def _root(text: str) -> str:
    """The local name of the first element of a marked-up text in lower case; empty when there is none.

    Step by step, since one pattern for all of it takes exponential time on a text made for that.
    """
    place = 0
    while True:
        while place < len(text) and text[place].isspace():
            place += 1
        if text.startswith("<!--", place):
            end = text.find("-->", place + 4)
        elif text.startswith("<?", place):
            end = text.find("?>", place)
        elif text[place : place + 9].lower() == "<!doctype":
            bracket, close = text.find("[", place), text.find(">", place)
            end = text.find("]", bracket) if 0 <= bracket < close else close
            end = text.find(">", end) if end >= 0 else -1
        else:
            found = _NAME.match(text, place)
            return found.group(1).lower().rpartition(":")[2] if found else ""
        if end < 0:
            return ""
        place = text.find(">", end) + 1


def _parses(path: Path) -> bool:
    if path.stat().st_size > PARSED:
        return False
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return True


def svg_cautions(path: Path) -> tuple[str, ...]:
    """What a drawing brings along besides shapes: scripts and the like, entities, things from outside.

    Codes only: the file is kept as it is, and is served so that none of it can act.
    """
    cautions = set()
    before = b""
    with path.open("rb") as file:
        while piece := file.read(2**20):
            window = (before + piece).replace(b"\0", b"")  # UTF-16 reads like ASCII then
            for pattern, caution in ((_ACTIVE, "active_content"), (_ENTITY, "entities"), (_OUTSIDE, "outside_links")):
                if pattern.search(window):
                    cautions.add(caution)
            before = piece[-200:]
    return tuple(sorted(cautions))
