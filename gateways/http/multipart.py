"""Forms with files, read as they come: files go to disk piece by piece and are never held in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import IO, Final, NamedTuple

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from domain.errors import Invalid, Remedy
from services.scratch import no_room

FIELD_LIMIT: Final = 256 * 1024
FIELDS_LIMIT: Final = 200
FILES_LIMIT: Final = 100
HEADER_LIMIT: Final = 8 * 1024
FRAME_ROOM: Final = 2**20
"""What fields, headers and boundaries may take beside the files."""


class FormFile(NamedTuple):
    """A file of a form: the field, the client's name for it, and where its bytes are."""

    field: str
    name: str
    path: Path


class Form(NamedTuple):
    """Fields (each with all its values) and files in the order in which they came."""

    fields: dict[str, list[str]]
    files: list[FormFile]


async def read_form(request: Request, folder: Path, limit: int) -> Form:
    """A whole form; ``limit`` is for all its files together, in bytes.

    Raises ``Invalid``: another media type (415), too large (413), malformed (400). Raises ``Unavailable`` when the disk
    is full.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise Invalid(
            "Files are uploaded as multipart/form-data.", error="unsupported_media_type",
            remediation=[Remedy("Send the file as a form field `file`.", "set_content_type")],
        )
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 200:
        raise _malformed("its boundary is missing")
    told = request.headers.get("content-length", "")
    if told.isascii() and told.isdigit() and int(told[:20]) > limit + FRAME_ROOM:
        raise too_large(limit)
    reading = _Reading(folder, limit)
    parser = MultipartParser(boundary, {
        "on_part_begin": reading.begin, "on_header_field": reading.header_name, "on_header_value": reading.header_value,
        "on_header_end": reading.header_end, "on_headers_finished": reading.headers_finished,
        "on_part_data": reading.data, "on_part_end": reading.end, "on_end": reading.finish,
    })
    try:
        async for piece in request.stream():
            reading.count(len(piece))
            await asyncio.to_thread(parser.write, piece)
    except FormParserError as error:
        raise _malformed(str(error)) from error
    except OSError as error:
        raise no_room(error, folder, int(told[:20]) if told.isascii() and told.isdigit() else None) from error
    finally:
        reading.close()
    if not reading.finished:
        raise _malformed("it ends too early")
    return reading.form


class _Reading:
    """What the parser has seen so far."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.form = Form({}, [])
        self.finished = False
        self._folder, self._limit = folder, limit
        self._seen = self._in_files = 0
        self._name = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._field = ""
        self._text = bytearray()
        self._file: IO[bytes] | None = None

    def count(self, size: int) -> None:
        self._seen += size
        if self._seen > self._limit + FRAME_ROOM:
            raise too_large(self._limit)

    def begin(self) -> None:
        self._headers, self._name, self._value = {}, b"", b""
        self._field, self._text = "", bytearray()

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name = self._bounded(self._name + data[start:end])

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value = self._bounded(self._value + data[start:end])

    def header_end(self) -> None:
        if len(self._headers) >= 20:
            raise _malformed("a part has too many headers")
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise _malformed("a part has no name")
        self._field = _decoded(options[b"name"])
        if b"filename" in options:
            if len(self.form.files) >= FILES_LIMIT:
                raise _malformed(f"it has more than {FILES_LIMIT} files")
            path = self._folder / f"file-{len(self.form.files)}"
            self._file = path.open("wb")
            self.form.files.append(FormFile(self._field, _decoded(options[b"filename"]), path))
        elif sum(len(values) for values in self.form.fields.values()) >= FIELDS_LIMIT:
            raise _malformed(f"it has more than {FIELDS_LIMIT} fields")

    def data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._in_files += end - start
            if self._in_files > self._limit:
                raise too_large(self._limit)
            self._file.write(data[start:end])
        else:
            self._text += data[start:end]
            if len(self._text) > FIELD_LIMIT:
                raise _malformed(f"the field {self._field[:40]} is longer than {FIELD_LIMIT} bytes")

    def end(self) -> None:
        if self._file is not None:
            self.close()
            return
        try:
            self.form.fields.setdefault(self._field, []).append(self._text.decode())
        except UnicodeDecodeError as error:
            raise _malformed(f"the field {self._field[:40]} is not UTF-8") from error

    def finish(self) -> None:
        self.finished = True

    def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _bounded(self, text: bytes) -> bytes:
        if len(text) > HEADER_LIMIT:
            raise _malformed("a header of a part is too long")
        return text


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def too_large(limit: int) -> Invalid:
    """An upload over its limit."""
    return Invalid(
        f"The upload is larger than {limit} bytes.", error="upload_too_large",
        remediation=[Remedy("Send smaller files, or raise `upload_limit`.", "send_less"),
                     Remedy("Or lay the file into the studio's inbox folder and register it.", "register_file")],
        detail={"limit": limit},
    )


def _malformed(why: str) -> Invalid:
    return Invalid(
        f"The form cannot be read: {why}.", error="malformed_form",
        remediation=[Remedy("Send a well-formed multipart/form-data body.", "fix_form")],
    )
