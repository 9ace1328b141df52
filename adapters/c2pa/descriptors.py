"""Files that c2pa's native part reads and writes by itself, without asking Python for every piece.

c2pa-python gives its native part functions in Python for reading, writing and seeking. Signing one picture calls them
some two thousand times, and each call waits for the interpreter and takes it from whoever runs: on a busy machine the
event loop then waits for as long as the signing thread is not given a processor. The C library's own ``read``,
``write`` and ``lseek`` have the very same shape, with a file's descriptor as what they are told: unbuffered files are
handed over as that. Where anything is not as it was found in c2pa-python, nothing is changed, and files go the long
way.
"""

from __future__ import annotations

import ctypes
import io
import sys
from typing import Any, Final

_SIZE: Final = ctypes.c_ssize_t
_BYTES: Final = ctypes.POINTER(ctypes.c_uint8)
_SHAPES: Final = {
    "ReadCallback": (_SIZE, (ctypes.c_void_p, _BYTES, _SIZE)),
    "SeekCallback": (_SIZE, (ctypes.c_void_p, _SIZE, ctypes.c_int)),
    "WriteCallback": (_SIZE, (ctypes.c_void_p, _BYTES, _SIZE)),
    "FlushCallback": (_SIZE, (ctypes.c_void_p,)),
}
"""Function types of c2pa-python -> what they give and take; the first thing taken is what a stream was told."""


def hand_over(module: Any) -> bool:
    """Has ``c2pa.c2pa`` read and write unbuffered files by their descriptors; whether it does now."""
    stream = getattr(module, "Stream", None)
    if getattr(stream, "by_descriptor", False):
        return True
    if not isinstance(stream, type) or not _fits(module):
        return False
    module.Stream = _of(module, stream)
    return True


def _fits(module: Any) -> bool:
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False  # elsewhere a descriptor in the place of a pointer was not tried
    if not all(hasattr(module, name) for name in ("_lib", "record_owner_pid", "StreamContext")):
        return False
    found = {name: getattr(module, name, None) for name in _SHAPES}
    return all(
        (getattr(one, "_restype_", None), tuple(getattr(one, "_argtypes_", ()))) == _SHAPES[name]
        for name, one in found.items()
    ) and hasattr(module._lib, "c2pa_create_stream")


def _of(module: Any, stream: Any) -> Any:
    system = ctypes.CDLL(None)

    def native(name: str, function: str) -> Any:
        return ctypes.cast(getattr(system, function), getattr(module, name))

    class Stream(stream):  # type: ignore[misc]
        by_descriptor = True

        def __init__(self, file_like_stream: Any) -> None:
            super().__init__(file_like_stream)
            if not isinstance(file_like_stream, io.FileIO):
                return
            made = module._lib.c2pa_create_stream(
                ctypes.cast(ctypes.c_void_p(file_like_stream.fileno()), ctypes.POINTER(module.StreamContext)),
                native("ReadCallback", "read"), native("SeekCallback", "lseek"), native("WriteCallback", "write"),
                # Nothing is kept back that would have to be flushed; isatty takes a descriptor and gives 0 for files.
                native("FlushCallback", "isatty"),
            )
            if made:
                module._lib.c2pa_release_stream(self._stream)
                self._stream = made

    return Stream
