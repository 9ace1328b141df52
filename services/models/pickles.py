"""What a pickle would call when it is loaded, read from its opcodes without loading it.

A pickle is a program for a small machine. What it calls stands in it by name; a name that gives away the whole machine
(a shell, ``eval``, the file system) has no place in a model. This finds what is written plainly. It is no proof that a
pickle is harmless: that is why they have to be acknowledged.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

STEPS_LIMIT: Final = 20_000_000
LINE_LIMIT: Final = 64 * 2**20
"""Longest line, which is how protocol 0 writes what is called, its texts and its numbers."""

HELD: Final = 2**20
"""Largest text or block of numbers that is held; of a larger one only its length is looked at."""

STREAMS_LIMIT: Final = 8
"""Legacy files of torch are several pickles one after the other."""

_MODULES: Final = frozenset({
    "os", "posix", "nt", "subprocess", "sys", "socket", "shutil", "runpy", "importlib", "pty", "ctypes", "pickle",
    "webbrowser", "requests", "urllib", "http", "commands", "multiprocessing", "asyncio", "code", "pdb", "timeit",
    "tempfile", "platform", "pip", "torch.hub", "torch.serialization", "numpy.testing", "cloudpickle", "dill",
})
_BUILTINS: Final = frozenset({
    "eval", "exec", "compile", "open", "__import__", "getattr", "setattr", "delattr", "globals", "locals", "vars",
    "input", "breakpoint", "apply", "execfile", "file", "memoryview", "help", "exit", "quit",
})
_SHELLS: Final = frozenset({"os", "posix", "nt", "subprocess", "runpy", "pty", "ctypes"})
_TELLING: Final = frozenset({"eval", "exec", "compile", "__import__", "execfile"})
_BUILT_IN: Final = frozenset({"builtins", "__builtin__", "__builtins__"})
_NAMED: Final = 1000
_WATCHED: Final = _SHELLS | _TELLING | _BUILT_IN


def dangers(file: BinaryIO) -> set[str]:
    """Names of what it would call and no model needs. Raises ``ValueError`` for what is no whole pickle."""
    found: set[str] = set()
    steps = 0
    bounded = _Bounded(file)
    for stream in range(STREAMS_LIMIT):
        words = _Words()
        try:
            for opcode, argument, _ in pickletools.genops(bounded):  # type: ignore[arg-type] - what it reads by
                steps += 1
                if steps > STEPS_LIMIT:
                    raise ValueError("it has more steps than any model")
                _look(opcode.name, argument, words, found)
        except (ValueError, OverflowError, IndexError, MemoryError) as error:
            if stream == 0 or str(error).startswith("it has more"):
                raise ValueError(str(error)[:200]) from None
            break  # behind the pickles of a legacy file lie the numbers themselves
    return found


class _Passed(bytes):
    """Bytes that were read past and are not held: as long as they were."""

    size = 0

    def __len__(self) -> int:
        return self.size


class _Bounded:
    """A file of which little is held at once, whatever lengths stand in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        if size <= HELD:
            return self._file.read(size)
        passed = _Passed()
        while passed.size < size and (piece := self._file.read(min(HELD, size - passed.size))):
            passed.size += len(piece)
        return passed

    def readline(self) -> bytes:
        line = self._file.readline(LINE_LIMIT)
        if len(line) == LINE_LIMIT:
            raise ValueError("it has more in one line than any model")
        return line


@dataclass(slots=True)
class _Words:
    """What matters of the texts so far: the last two, and those that are telling wherever they stand."""

    last: tuple[str, ...] = ()
    telling: set[str] = field(default_factory=set)

    def add(self, text: str) -> None:
        self.last = (*self.last[-1:], text)
        if text in _WATCHED:
            self.telling.add(text)


def _look(name: str, argument: Any, words: _Words, found: set[str]) -> None:
    if name in ("GLOBAL", "INST"):
        module, _, attribute = str(argument).partition(" ")
        _judge(module, attribute, found)
    elif name == "STACK_GLOBAL":
        # Its two names come from the stack, and through the memo from anywhere before: those that are telling by
        # themselves are suspected wherever they stand.
        if len(words.last) == 2:
            _judge(*words.last, found)
        told = words.telling
        found |= {f"builtins.{one}" for one in told & _TELLING} if told & _BUILT_IN else set()
        found |= told & _SHELLS
    elif isinstance(argument, str) and len(argument) <= 200:
        words.add(argument)


def _judge(module: str, attribute: str, found: set[str]) -> None:
    top = module.partition(".")[0]
    known = top in _MODULES or module in _MODULES or (module in _BUILT_IN and attribute.partition(".")[0] in _BUILTINS)
    if known and len(found) < _NAMED:
        found.add(f"{module}.{attribute}"[:200])
