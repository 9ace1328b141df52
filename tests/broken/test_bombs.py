"""Small files that would take all memory or all time: each is told in a moment, and held in little."""

from __future__ import annotations

import io
import os
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from intake_files import HEADER, chat, chunk, picture

from adapters.engines.local_comfy.importing import document_of
from adapters.engines.local_comfy.workflows import NotAWorkflow
from domain.bounded_json import check_json
from domain.errors import Invalid
from domain.ports.engines import EngineError
from domain.story.scene_model import NODES_LIMIT
from services.generation.artifacts import BOXES, _whole_boxes
from services.intake.cards import read_card
from services.intake.chats import WARNINGS, read_chat
from services.media.detection import detect
from services.media.stripping import Unstrippable, stripped
from services.models.judging import NotThat, judged

SECONDS = 20.0
"""Nothing here takes a tenth of it; what is meant by it took minutes."""


@contextmanager
def little(memory: int = 64 * 2**20) -> Iterator[None]:
    """What is done within takes little memory."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < memory
    finally:
        tracemalloc.stop()


@contextmanager
def soon() -> Iterator[None]:
    """What is done within takes little time of the processor."""
    began = time.process_time()
    yield
    assert time.process_time() - began < SECONDS


def test_places_in_json_are_put_into_words_only_for_an_error() -> None:
    value: Any = [0] * 20_000
    for _ in range(30):
        value = {"k" * 490: value}
    with little(), pytest.raises(ValueError, match="larger than"):
        check_json(value, size=1000)
    with pytest.raises(ValueError, match=r"integer that does not fit into 64 bits at a\[1\]\.b$"):
        check_json({"a": [None, {"b": 2**63}]})
    with pytest.raises(ValueError, match=r"surrogate pair at a key of a\[0\]$"):
        check_json({"a": [{"\ud800": 1}]})


@pytest.mark.parametrize("hostile", [
    b'<svg><a href="', b"<svg><a href=", b"<svg><a style=url(", b"<svg><a onload", b"<svg><", b'<svg><a href=" \t',
])
def test_a_drawing_of_blanks_is_looked_through_once(tmp_path: Path, hostile: bytes) -> None:
    (tmp_path / "file").write_bytes(hostile + b" " * 300_000 + b"x></svg>")
    with soon():
        assert detect(tmp_path / "file").media_type == "image/svg+xml"


def test_the_texts_of_a_picture_are_bounded_in_all() -> None:
    bomb = chunk(b"zTXt", b"x\0\0" + zlib.compress(b"A" * 15 * 2**20))
    with little(128 * 2**20), pytest.raises(Invalid, match="texts of the picture are larger"):
        read_card(picture(*[bomb] * 40))


def test_a_graph_is_taken_out_of_a_picture_whose_pixels_nobody_unpacks() -> None:
    head = struct.pack(">IIBBBBB", 2**30, 2**30, 8, 6, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(
        b"tEXt", b'prompt\0{"1": {"class_type": "A", "inputs": {}}}') + chunk(b"IEND", b"")
    assert document_of(data) == {"1": {"class_type": "A", "inputs": {}}}
    with pytest.raises(NotAWorkflow, match="damaged"):
        document_of(data[:-20])


def test_a_chat_of_too_many_lines_is_not_read_to_its_end() -> None:
    data = chat(HEADER) + b'\n{"mes":"","a":[[],[],[],[],[]]}' * 300_000
    with little(), pytest.raises(Invalid, match=f"at most {NODES_LIMIT} nodes"):
        read_chat(data, scene_id="one", title="One")


def test_warnings_about_a_chat_are_some_and_a_number() -> None:
    wrong = {f"k{number}": 1e999 for number in range(2000)}
    text = chat(*[{"name": "Mira", "mes": "x", **wrong}] * 60).replace(b"Infinity", b"1e999")
    found = read_chat(text, scene_id="one", title="One")
    assert len(found.warnings) == WARNINGS + 1
    assert found.warnings[20] == "line 1: 1980 more fields are left out"
    assert found.warnings[-1].startswith("and ")


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def _nested(times: int) -> bytes:
    body = b""
    for _ in range(times):
        body = _box(b"moov", body)
    return body


def _extents(sizes: int, count: int, extents: int, one: bytes) -> bytes:
    items = b"".join(struct.pack(">HHH", 1, 0, extents) + one * (1 if not one else extents) for _ in range(count))
    iloc = _box(b"iloc", b"\0\0\0\0" + struct.pack(">HH", sizes, count) + items)
    infe = _box(b"infe", b"\2\0\0\0" + struct.pack(">HH", 1, 0) + b"Exif\0")
    return _box(b"meta", b"\0\0\0\0" + _box(b"iinf", b"\0\0\0\0\0\1" + infe) + iloc) + _box(b"mdat", bytes(4_000_000))


@pytest.mark.parametrize(("media_type", "make"), [
    ("video/mp4", lambda: _nested(3000)),
    ("video/mp4", lambda: _box(b"udta", b"") * 150_000),
    ("image/avif", lambda: _extents(0, 60_000, 65_535, b"")),
    ("image/avif", lambda: _extents(0x4400, 20, 60_000, struct.pack(">II", 0, 4_000_000))),
    ("image/png", lambda: b"\x89PNG\r\n\x1a\n" + chunk(b"abCD", b"") * 150_000 + chunk(b"IEND", b"")),
    ("audio/wav", lambda: b"RIFF" + struct.pack("<I", 4_000_000) + b"WAVE" + b"LIST\0\0\0\0" * 150_000),
    ("image/jpeg", lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 150_000 + b"\xff\xda\0\2\xff\xd9"),
])
def test_stripping_is_over_soon(media_type: str, make: Callable[[], bytes]) -> None:
    data = make()
    with soon(), pytest.raises(Unstrippable) as caught:
        stripped(data, media_type)
    assert caught.value.reason == "damaged"


def test_the_boxes_of_a_film_are_counted(tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(b"".join(_box(struct.pack(">I", number), b"") for number in range(BOXES + 5)))
    with soon(), pytest.raises(EngineError):
        _whole_boxes(tmp_path / "film", (BOXES + 5) * 8)


class Endless(io.RawIOBase):
    """A file of any size that takes no memory: the same bytes again and again, after some of its own."""

    def __init__(self, begin: bytes, filler: bytes, size: int, end: bytes = b"") -> None:
        self._parts, self.size, self.at = (begin, filler, end), size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, place: int, how: int = os.SEEK_SET) -> int:
        self.at = place + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[how]
        return self.at

    def readinto(self, into: Any) -> int:
        begin, filler, end = self._parts
        count = min(len(into), self.size - self.at, 2**16)
        if self.at < len(begin):
            piece = begin[self.at : self.at + count]
        elif self.at >= self.size - len(end):
            piece = end[self.at - self.size + len(end) :][:count]
        else:
            count = min(count, self.size - len(end) - self.at)
            piece = (filler * (count // len(filler) + 1))[:count]
        into[: len(piece)] = piece
        self.at += len(piece)
        return len(piece)


@pytest.mark.parametrize(("name", "begin", "filler", "end"), [
    ("x.ckpt", b"\x80\x02c", b"\xff", b""),  # the name of what is called does not end
    ("x.ckpt", b"\x80\x04\x8e" + struct.pack("<Q", 2**62), b"\xff", b""),  # nor do its numbers
    ("x.ckpt", b"\x80\x02X\xf0\xff\xff\x0f", b"\xff", b""),
    ("x.pt", b"PK\x03\x04", b"\0", b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, 2**28, 0, 0)),
])
def test_lengths_in_a_model_are_not_believed(name: str, begin: bytes, filler: bytes, end: bytes) -> None:
    size = 300 * 2**20
    file = io.BufferedReader(Endless(begin, filler, size, end))
    with little(160 * 2**20), pytest.raises(NotThat):
        judged(file, size, name, pickle=True)  # type: ignore[arg-type] - what it reads by


def test_many_small_texts_of_a_pickle_are_not_kept() -> None:
    data = b"\x80\x04" + b"\x8c\x06abcdef" * 200_000 + b"."
    with little(8 * 2**20):
        assert judged(io.BytesIO(data), len(data), "x.ckpt", pickle=True).format == "pickle"


def test_a_header_of_empty_lists_is_not_unpacked() -> None:
    text = b'{"a":[' + b"[]," * 3_000_000 + b"[]]}"
    with little(), pytest.raises(NotThat):
        judged(io.BytesIO(data := struct.pack("<Q", len(text)) + text), len(data), "x.safetensors", pickle=False)
