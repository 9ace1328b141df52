"""What a pickle would call when it is loaded, read from its opcodes without loading it.

A pickle is a program for a small machine. What it calls stands in it by name; a name that gives away the whole machine
(a shell, ``eval``, the file system) has no place in a model. This finds what is written plainly. It is no proof that a
pickle is harmless: that is why they have to be acknowledged.
"""

from __future__ import annotations

import pickletools
from typing import Any, BinaryIO, Final

STEPS_LIMIT: Final = 20_000_000
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


def dangers(file: BinaryIO) -> set[str]:
    """Names of what it would call and no model needs. Raises ``ValueError`` for what is no whole pickle."""
    found: set[str] = set()
    steps = 0
    for stream in range(STREAMS_LIMIT):
        texts: list[str] = []
        try:
            for opcode, argument, _ in pickletools.genops(file):
                steps += 1
                if steps > STEPS_LIMIT:
                    raise ValueError("it has more steps than any model")
                _look(opcode.name, argument, texts, found)
        except (ValueError, OverflowError, IndexError, MemoryError) as error:
            if stream == 0 or str(error).startswith("it has more"):
                raise ValueError(str(error)[:200]) from None
            break  # behind the pickles of a legacy file lie the numbers themselves
    return found


def _look(name: str, argument: Any, texts: list[str], found: set[str]) -> None:
    if name in ("GLOBAL", "INST"):
        module, _, attribute = str(argument).partition(" ")
        _judge(module, attribute, found)
    elif name == "STACK_GLOBAL":
        # Its two names come from the stack, and through the memo from anywhere before: those that are telling by
        # themselves are suspected wherever they stand.
        if len(texts) >= 2:
            _judge(texts[-2], texts[-1], found)
        told = set(texts)
        found |= {f"builtins.{one}" for one in told & _TELLING} if told & _BUILT_IN else set()
        found |= told & _SHELLS
        del texts[:-1000]
    elif isinstance(argument, str) and len(argument) <= 200:
        texts.append(argument)


def _judge(module: str, attribute: str, found: set[str]) -> None:
    top = module.partition(".")[0]
    if top in _MODULES or module in _MODULES or (module in _BUILT_IN and attribute.partition(".")[0] in _BUILTINS):
        found.add(f"{module}.{attribute}"[:200])
