"""Files are judged by what is in them: hostile headers, other formats under a model's name, pickles that call."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_server import safetensors, torch_archive

from services.models.judging import HEADER_LIMIT, NotThat, judged


def of(content: bytes, name: str = "x.safetensors", *, pickled: bool = False) -> Any:
    return judged(io.BytesIO(content), len(content), name, pickle=pickled)


def header(told: Any, data: bytes = b"") -> bytes:
    text = told if isinstance(told, bytes) else json.dumps(told).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(begin: int, end: int, shape: list[Any] | None = None, dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


class Shell:
    """What a hostile pickle holds."""

    def __reduce__(self) -> Any:
        return os.system, ("echo owned",)


class Evaluated:
    """The same by another name."""

    def __reduce__(self) -> Any:
        return eval, ("1",)


def test_sound_files_are_what_they_are() -> None:
    found = of(safetensors(1000, __metadata__={"format": "pt"}))
    assert (found.format, found.detail["tensors"], found.detail["dtypes"]) == ("safetensors", 1, ["U8"])
    told = {"b": tensor(4, 8, [1], "F32"), "a": tensor(0, 4, [2], "F16"), "empty": tensor(8, 8, [0, 5])}
    two = header(told, b"\0" * 8)
    assert of(two).detail["tensors"] == 3
    assert of(header({}), "none.safetensors").detail["tensors"] == 0
    gguf = b"GGUF" + struct.pack("<IQQ", 3, 2, 1) + b"\0" * 100
    assert of(gguf, "x.gguf").detail == {"version": 3, "tensors": 2}
    assert of(b"\x08\x09" + b"\x3a\x03abc" + b"\x42\x02xy", "x.onnx").format == "onnx"


@pytest.mark.parametrize("content", [
    b"", b"\0" * 7, struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", HEADER_LIMIT + 1) + b"{" * 100,
    struct.pack("<Q", 0), struct.pack("<Q", 500) + b"{}", header(b"[1]"), header(b'{"a":1}'), header(b"{" * 5000),
    header(b'{"a":' * 20000), header({"a": tensor(0, 4)}, b"\0" * 3), header({"a": tensor(0, 4)}, b"\0" * 5),
    header({"a": tensor(1, 5)}, b"\0" * 5), header({"a": tensor(0, 4), "b": tensor(2, 6)}, b"\0" * 6),
    header({"a": tensor(4, 0, [4])}, b"\0" * 4), header({"a": tensor(0, 4, [-4])}, b"\0" * 4),
    header({"a": tensor(0, 4, [2**62, 2**62])}, b"\0" * 4), header({"a": tensor(0, 4, [True])}, b"\0" * 4),
    header({"a": tensor(0, 4, [4], "PICKLE")}, b"\0" * 4), header({"a": {**tensor(0, 4), "run": "x"}}, b"\0" * 4),
    header({"a": tensor(0, 4), "__metadata__": {"a": {"b": 1}}}, b"\0" * 4),
    header({"a": tensor(0, 4, [1.0])}, b"\0" * 4),
    header(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
           b"\0"),
    header({"a": tensor(0, 4, [4] * 100)}, b"\0" * 4),
    header({"a": {**tensor(0, 1), "data_offsets": [0, 1, 2]}}, b"\0"),
])
def test_damaged_and_hostile_safetensors_are_refused(content: bytes) -> None:
    with pytest.raises(NotThat) as caught:
        of(content)
    assert caught.value.fault.code == "FILE_REFUSED"


@pytest.mark.parametrize("name", ["x.safetensors", "x.gguf", "x.onnx", "x.ckpt", "x.bin"])
@pytest.mark.parametrize("content", [
    b"<!DOCTYPE html><html>", b"\n <html>", b"\x7fELF" + b"\0" * 100, b"MZ" + b"\0" * 100, b"#!/bin/sh\nrm -rf /",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0", b"just a text",
])
def test_what_is_no_model_is_refused_whatever_it_is_called(name: str, content: bytes) -> None:
    with pytest.raises(NotThat) as caught:
        of(content, name, pickled=True)
    assert caught.value.fault.code == "FILE_REFUSED"


@pytest.mark.parametrize("content", [pickle.dumps({"w": [1.0]}), torch_archive(pickle.dumps({"w": 1}))])
def test_pickles_need_to_be_acknowledged_and_to_be_called_so(content: bytes) -> None:
    assert of(content, "x.ckpt", pickled=True).format == "pickle"
    with pytest.raises(NotThat) as caught:
        of(content, "x.ckpt")
    assert caught.value.fault.code == "PICKLE_REFUSED"
    with pytest.raises(NotThat) as caught:
        of(content, "x.safetensors", pickled=True)
    assert caught.value.fault.code == "FILE_REFUSED"


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("evil", [Shell(), Evaluated(), {"w": [1.0], "deep": [{"x": Shell()}]}])
def test_a_pickle_that_calls_a_shell_is_refused_although_it_was_acknowledged(evil: Any, protocol: int) -> None:
    for content in (pickle.dumps(evil, protocol), torch_archive(pickle.dumps(evil, protocol))):
        with pytest.raises(NotThat) as caught:
            of(content, "x.pt", pickled=True)
        assert caught.value.fault.code == "FILE_REFUSED"
        assert caught.value.fault.detail["calls"]


def test_a_pickle_with_what_models_hold_is_taken() -> None:
    assert of(pickle.dumps(OrderedDict(a=b"1", os=2, name="eval")), "x.pth", pickled=True).format == "pickle"


@pytest.mark.parametrize("content", [b"\x80\x02", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f", b"PK\x03\x04broken",
                                     torch_archive(b"\x80\x02"), b"\x80\x02" + b"\x8e" + b"\xff" * 8])
def test_damaged_pickles_are_refused(content: bytes) -> None:
    with pytest.raises(NotThat):
        of(content, "x.pt", pickled=True)


def outcome(content: bytes, name: str) -> str:
    try:
        return str(of(content, name, pickled=True).format)
    except NotThat as error:
        return error.fault.code


JUDGEMENTS = {"safetensors", "gguf", "onnx", "pickle", "FILE_REFUSED"}


@given(st.binary(max_size=300), st.sampled_from(["x.safetensors", "x.gguf", "x.onnx", "x.ckpt"]))
def test_no_bytes_lead_to_anything_but_a_judgement(content: bytes, name: str) -> None:
    assert outcome(content, name) in JUDGEMENTS


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                        st.sampled_from(["a", "dtype", "shape", "data_offsets", "__metadata__"]), inner, max_size=4)))
def test_no_header_leads_to_anything_but_a_judgement(told: Any) -> None:
    assert outcome(header(told, b"\0" * 8), "x.safetensors") in JUDGEMENTS
