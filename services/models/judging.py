"""What a model file really is, read from its bytes: nothing is loaded, nothing is run, and little is believed.

Formats: safetensors (https://github.com/huggingface/safetensors#format), GGUF
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), ONNX (a protobuf ``ModelProto``), and pickles, plain or in
the zip archive that torch writes.
"""

from __future__ import annotations

import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO, Final, NamedTuple

from domain.studio.fault import Fault, fault
from domain.studio.model_values import PICKLE_FORMATS, extension
from domain.texts import sayable
from services.models.pickles import dangers

HEAD_BYTES: Final = 512
"""Enough to see what a file is not."""

HEADER_LIMIT: Final = 32 * 2**20
"""Largest safetensors header. Real ones have some megabytes at most; the format's own limit is 100 MB."""

PICKLE_BYTES: Final = 256 * 2**20
"""Largest pickle inside an archive; the numbers lie beside it."""

LIST_BYTES: Final = 64 * 2**20
"""Largest list of what an archive holds; some thousand files take some hundred thousand bytes."""

TENSORS_LIMIT: Final = 500_000

_BITS: Final[Mapping[str, int]] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "U16": 16, "I16": 16, "F16": 16,
    "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64, "F4": 4,
    "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
}

_ZIP: Final = b"PK\x03\x04"
_EXECUTABLES: Final = (b"\x7fELF", b"MZ", b"#!", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xce")


class Judged(NamedTuple):
    """What the file is: ``safetensors``, ``gguf``, ``onnx`` or ``pickle``, and what can be told of it."""

    format: str
    detail: dict[str, Any]


class NotThat(Exception):
    """The file is not what it should be; ``fault`` says what it is instead."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def sniffed(head: bytes, filename: str, *, pickle: bool) -> None:
    """Looks at the first bytes, so that nobody waits an hour for a web page. Raises ``NotThat``."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise _not("The server sends a web page, not a model: perhaps it wants a key, or its terms accepted there.")
    if head.startswith(_EXECUTABLES):
        raise _not("That is a program, not a model.")
    if head.startswith(b"version https://git-lfs"):
        raise _not("That is a pointer of Git LFS, not the file itself: use the address that downloads it.")
    wanted = extension(filename)
    if wanted not in PICKLE_FORMATS and (_is_pickle(head) or head.startswith(_ZIP)):
        raise _not(f"That is a pickle, which can run code, although it is called {wanted}.")
    if wanted in PICKLE_FORMATS and not pickle:
        raise NotThat(fault("PICKLE_REFUSED", "Files of this format run code when they are loaded."))
    if wanted == ".gguf" and len(head) >= 4 and head[:4] != b"GGUF":
        raise _not("That is no GGUF file.")
    if wanted in (".safetensors", ".sft") and len(head) >= 9 and head[8:9] != b"{":
        raise _not("That is no safetensors file.")


def judged(file: BinaryIO, size: int, filename: str, *, pickle: bool) -> Judged:
    """What a whole file is. Raises ``NotThat`` when that is not what its name says, or it is damaged."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    sniffed(head, filename, pickle=pickle)
    match extension(filename):
        case ".safetensors" | ".sft":
            return _safetensors(file, size)
        case ".gguf":
            return _gguf(head, size)
        case ".onnx":
            return _onnx(file, size)
        case _:
            return _pickle(file, head)


def _safetensors(file: BinaryIO, size: int) -> Judged:
    file.seek(0)
    start = file.read(8)
    if len(start) < 8:
        raise _not("That is no safetensors file: it is too short.")
    (length,) = struct.unpack("<Q", start)
    if length < 2 or length > HEADER_LIMIT or 8 + length > size:
        raise _not("That is no safetensors file: its header has an impossible length.")
    text = file.read(length)
    if text.count(b"{") + text.count(b"[") > 4 * TENSORS_LIMIT:  # each takes more memory than it takes bytes
        raise _not("The header of the safetensors file names more tensors than any model has.")
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise _not("That is no safetensors file: its header is no JSON object with each name once.") from None
    if not isinstance(header, dict):
        raise _not("That is no safetensors file: its header is no JSON object.")
    about = header.pop("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(value, str) for value in about.values()):
        raise _not("The header of the safetensors file is damaged: its metadata are no texts.")
    if len(header) > TENSORS_LIMIT:
        raise _not("The header of the safetensors file names more tensors than any model has.")
    _tensors(header, size - 8 - length)
    kinds = sorted({one["dtype"] for one in header.values()})
    told = {name[:60]: sayable(about[name][:200]) for name in ("modelspec.architecture", "modelspec.title", "format")
            if name in about}
    return Judged("safetensors", {"tensors": len(header), "dtypes": kinds[:20], **({"metadata": told} if told else {})})


def _tensors(header: Mapping[str, Any], size: int) -> None:
    """The tensors lie side by side, without holes, and fill the file: anything else is damaged, or hides something."""
    spans = []
    for name, one in header.items():
        if not isinstance(one, dict) or one.keys() != {"dtype", "shape", "data_offsets"}:
            raise _damaged(name)
        shape, offsets = one["shape"], one["data_offsets"]
        known = isinstance(one["dtype"], str) and one["dtype"] in _BITS
        if not known or not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
            raise _damaged(name)
        bits = _BITS[one["dtype"]]
        for side in shape:
            bits *= side
            if bits > 8 * size:  # before it grows into a number that takes for ever
                raise _damaged(name)
        if bits % 8 or offsets[1] - offsets[0] != bits // 8:
            raise _damaged(name)
        spans.append((offsets[0], offsets[1]))
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            raise _not("The safetensors file is damaged: its tensors overlap, or leave holes.")
        at = end
    if at != size:
        raise _not("The safetensors file is cut off, or something is hidden behind its end.")


def _counts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 64 and all(type(one) is int and one >= 0 for one in value)


def _damaged(name: str) -> NotThat:
    return _not(f"The header of the safetensors file is damaged at {name[:100]!r}.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) != len(pairs):
        raise ValueError("a name stands twice")
    return told


def _gguf(head: bytes, size: int) -> Judged:
    if len(head) < 24:
        raise _not("That is no GGUF file: it is too short.")
    version, tensors, entries = struct.unpack("<IQQ", head[4:24])
    # Each tensor and each entry takes 13 bytes at least, so a small file cannot hold many.
    if not 2 <= version <= 3 or (tensors + entries) * 13 > size:
        raise _not("The GGUF file is damaged: its head does not fit it.")
    return Judged("gguf", {"version": version, "tensors": tensors})


def _onnx(file: BinaryIO, size: int) -> Judged:
    """A protobuf message whose fields are those of a model, and which ends where the file does."""
    at = 0
    seen: set[int] = set()
    fields = 0
    while at < size:
        file.seek(at)
        start = file.read(20)
        tag, used = _varint(start)
        number, wire = tag >> 3, tag & 7
        if number not in (1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26):
            raise _not("That is no ONNX model.")
        value, more = _varint(start[used:])
        at += used + more + (value if wire == 2 else 0)
        fields += 1
        if wire not in (0, 2) or fields > 100_000:
            raise _not("That is no ONNX model.")
        seen.add(number)
    if at != size or 7 not in seen:
        raise _not("The ONNX model is cut off, or holds no graph.")
    return Judged("onnx", {})


def _varint(data: bytes) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(data[:10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, place + 1
    raise _not("That is no ONNX model.")


def _pickle(file: BinaryIO, head: bytes) -> Judged:
    """A pickle that was acknowledged. What it would call when it is loaded is looked at all the same."""
    names: set[str] = set()
    if head.startswith(_ZIP):
        try:
            with zipfile.ZipFile(_Pieces(file)) as archive:  # type: ignore[arg-type] - what it reads by
                pickles = [one for one in archive.infolist() if one.filename.endswith(".pkl")]
                if not pickles:
                    raise _not("That archive holds no model.")
                if len(pickles) > 16 or any(one.file_size > PICKLE_BYTES for one in pickles):
                    raise _not("The archive holds more of a pickle than any model does.")
                for one in pickles:
                    with archive.open(one) as inside:
                        names |= _dangers(inside)  # type: ignore[arg-type]
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, OSError,
                ValueError, struct.error, LookupError):
            raise _not("The archive of the model is damaged.") from None
    elif _is_pickle(head):
        file.seek(0)
        names = _dangers(file)
    else:
        raise _not("That is no model that torch has written.")
    if names:
        raise NotThat(fault(
            "FILE_REFUSED", f"Loading this file would call {', '.join(sorted(names)[:5])}: no model needs that.",
            calls=sorted(names)[:20],
        ))
    return Judged("pickle", {})


class _Pieces:
    """A file that is read in pieces: an archive says itself how long its list is, and that is anybody's word."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > LIST_BYTES:
            raise zipfile.BadZipFile("its list is longer than any model's")
        return self._file.read(LIST_BYTES if size < 0 else size)


def _dangers(file: BinaryIO) -> set[str]:
    try:
        return dangers(file)
    except ValueError as error:
        raise _not(f"The pickle is damaged: {error}.") from None


def _is_pickle(head: bytes) -> bool:
    return len(head) >= 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def _not(message: str) -> NotThat:
    return NotThat(fault("FILE_REFUSED", message))
